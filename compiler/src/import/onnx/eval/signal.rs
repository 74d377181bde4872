//! Windows of signals, as networks of sound have them among their constants.

use std::f64::consts::PI;

use super::super::array::Array;
use super::super::elem::Type;
use super::given::{Given, Outcome, one};

pub(super) fn evaluate(given: &Given) -> Outcome {
    // The window as a sum of cosines.
    let terms: &[f64] = match given.op() {
        "HannWindow" => &[0.5, -0.5],
        "HammingWindow" => &[25.0 / 46.0, -21.0 / 46.0],
        "BlackmanWindow" => &[0.42, -0.5, 0.08],
        _ => return None,
    };
    one(window(given, terms))
}

fn window(given: &Given, terms: &[f64]) -> Result<Array, String> {
    let size = usize::try_from(given.int(0)?).map_err(|_| "has a negative size")?;
    let len = given.afford(&[size])?;
    let ty = given.type_of("output_datatype")?.unwrap_or(Type::F32);
    let over = if given.node.int("periodic", 1) != 0 { len } else { len.saturating_sub(1) }.max(1) as f64;
    let at = |i: usize| terms.iter().enumerate().map(|(k, t)| t * (2.0 * PI * (k * i) as f64 / over).cos()).sum();
    let made = Array::floats_of(Type::F64, vec![len], (0..len).map(at).collect());
    super::cast::converted(&made, ty, true)
}

#[cfg(test)]
mod tests {
    use super::super::super::array::Data;
    use super::super::super::node::Attribute;
    use super::super::tests::run;
    use super::*;

    #[test]
    fn windows_are_sums_of_cosines() {
        let made = |op: &str, periodic: i64| {
            let size = Array { shape: vec![], data: Data::Ints(vec![4]) };
            let values = run(op, &[("periodic", Attribute::Int(periodic))], &[size]).unwrap().to_floats();
            values.iter().map(|v| (v * 1e4).round() / 1e4).collect::<Vec<_>>()
        };
        assert_eq!((made("HannWindow", 1), made("HannWindow", 0)), (vec![0.0, 0.5, 1.0, 0.5], vec![0.0, 0.75, 0.75, 0.0]));
        assert_eq!((made("HammingWindow", 1), made("BlackmanWindow", 1)), (vec![0.087, 0.5435, 1.0, 0.5435], vec![-0.0, 0.34, 1.0, 0.34]));
    }
}
