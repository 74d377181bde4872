//! Activations.

use super::super::array::Array;
use super::super::sizes::broadcast;
use super::given::{Given, Outcome, one};
use super::places::broadcast_offsets;
use super::unary::floats;

pub(super) fn evaluate(given: &Given) -> Outcome {
    let number = |name: &str, default: f32| f64::from(given.node.float(name, default));
    let alpha = |default: f32| number("alpha", default);
    one(match given.op() {
        "Relu" => clipped(given, Some(0.0), None),
        "Clip" => clip(given),
        "PRelu" => prelu(given),
        "LeakyRelu" => {
            let alpha = alpha(0.01);
            floats(given, |x| if x < 0.0 { alpha * x } else { x })
        }
        "Elu" => {
            let alpha = alpha(1.0);
            floats(given, |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        "Celu" => {
            let alpha = alpha(1.0);
            floats(given, |x| if x < 0.0 { alpha * (x / alpha).exp_m1() } else { x })
        }
        "Selu" => {
            let (alpha, gamma) = (alpha(1.673_263_2), number("gamma", 1.050_701));
            floats(given, |x| gamma * if x <= 0.0 { alpha * x.exp_m1() } else { x })
        }
        "Sigmoid" => floats(given, sigmoid),
        "HardSigmoid" => {
            let (alpha, beta) = (alpha(0.2), number("beta", 0.5));
            floats(given, |x| within(alpha * x + beta, 0.0, 1.0))
        }
        "HardSwish" => floats(given, |x| x * within(x / 6.0 + 0.5, 0.0, 1.0)),
        "Softplus" => floats(given, softplus),
        "Softsign" => floats(given, |x| x / (1.0 + x.abs())),
        "ThresholdedRelu" => {
            let alpha = alpha(1.0);
            floats(given, |x| if x <= alpha { 0.0 } else { x })
        }
        "Gelu" => match given.node.text("approximate").unwrap_or("none") {
            "none" => floats(given, |x| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))),
            "tanh" => floats(given, |x| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())),
            other => Err(format!("has the approximation '{other}', which is unknown")),
        },
        "Mish" => floats(given, |x| x * softplus(x).tanh()),
        "Swish" | "Silu" => {
            let alpha = alpha(1.0);
            floats(given, |x| x * sigmoid(alpha * x))
        }
        "SwiGLU" => swiglu(given, alpha(1.0)),
        "Shrink" => {
            let (lambd, bias) = (number("lambd", 0.5), number("bias", 0.0));
            floats(given, |x| if x < -lambd { x + bias } else { if x > lambd { x - bias } else { 0.0 * x } })
        }
        _ => return None,
    })
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `x` between bounds; the upper one counts where they are crossed, and NaN stays NaN.
fn within(x: f64, low: f64, high: f64) -> f64 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

fn clipped(given: &Given, low: Option<f64>, high: Option<f64>) -> Result<Array, String> {
    let x = given.input(0)?;
    if x.ty().is_float() {
        return floats(given, |x| within(x, low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY)));
    }
    let whole = |b: Option<f64>| b.map(|b| b as i128);
    let (low, high) = (whole(low).unwrap_or(i128::MIN), whole(high).unwrap_or(i128::MAX));
    super::unary::ints(given, |x| x.max(low).min(high))
}

fn clip(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let bound = |name: &str, i: usize| -> Result<Option<&Array>, String> {
        match given.optional(i) {
            Some(b) if b.len() != 1 => Err(format!("has {} elements as {name}, where one is needed", b.len())),
            Some(b) => given.same_type(&[x, b]).map(|_| Some(b)),
            None => Ok(None),
        }
    };
    let (low, high) = (bound("min", 1)?, bound("max", 2)?);
    if x.stored().is_some() {
        // Bounds of integers as they are, beyond 2⁵³ too.
        let exact = |b: Option<&Array>| b.and_then(|b| b.stored().and_then(|v| v.first().map(|v| b.ty().widen(*v))));
        let (low, high) = (exact(low).unwrap_or(i128::MIN), exact(high).unwrap_or(i128::MAX));
        return super::unary::ints(given, |x| x.max(low).min(high));
    }
    let number = |b: Option<&Array>| b.and_then(|b| b.to_doubles().first().copied());
    let attribute = |name: &str| given.node.attributes.contains_key(name).then(|| f64::from(given.node.float(name, 0.0)));
    clipped(given, number(low).or(attribute("min")), number(high).or(attribute("max")))
}

fn prelu(given: &Given) -> Result<Array, String> {
    let (x, slope) = (given.input(0)?, given.input(1)?);
    let ty = given.same_type(&[x, slope])?;
    if broadcast(&x.shape, &slope.shape)? != x.shape {
        return Err(format!("has a slope of {:?} for {:?}", slope.shape, x.shape));
    }
    let places = broadcast_offsets(&slope.shape, &x.shape);
    if let (Some(v), Some(slope)) = (x.stored(), slope.stored()) {
        let one = |(&v, &p): (&i64, &usize)| {
            let v = ty.widen(v);
            ty.wrap(if v < 0 { v.wrapping_mul(ty.widen(slope[p])) } else { v })
        };
        return Ok(Array::ints_of(ty, x.shape.clone(), v.iter().zip(&places).map(one).collect()));
    }
    let (v, slope) = (x.to_doubles(), slope.to_doubles());
    let made = v.iter().zip(&places).map(|(&v, &p)| if v < 0.0 { v * slope[p] } else { v });
    Ok(Array::floats_of(ty, x.shape.clone(), made.collect()))
}

fn swiglu(given: &Given, alpha: f64) -> Result<Array, String> {
    let (gate, x) = (given.input(0)?, given.input(1)?);
    let ty = given.same_type(&[gate, x])?;
    if gate.shape != x.shape || !ty.is_float() {
        return Err(format!("has inputs of {:?} and {:?}", gate.shape, x.shape));
    }
    let made = gate.to_doubles().into_iter().zip(x.to_doubles()).map(|(g, x)| g * sigmoid(alpha * g) * x);
    Ok(Array::floats_of(ty, x.shape.clone(), made.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::super::elem::Type;
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, of, run};

    #[test]
    fn activations_are_those_of_their_names() {
        // By their formulas in double precision, at −1.5 and 0.75.
        let values: [(&str, [f32; 2]); 17] = [
            ("Relu", [0.0, 0.75]),
            ("LeakyRelu", [-0.015, 0.75]),
            ("Elu", [-0.776_869_83, 0.75]),
            ("Celu", [-0.776_869_83, 0.75]),
            ("Selu", [-1.365_814_3, 0.788_025_74]),
            ("Sigmoid", [0.182_425_53, 0.679_178_7]),
            ("HardSigmoid", [0.2, 0.65]),
            ("HardSwish", [-0.375, 0.468_75]),
            ("Softplus", [0.201_413_27, 1.136_871]),
            ("Softsign", [-0.6, 0.428_571_43]),
            ("ThresholdedRelu", [0.0, 0.0]),
            ("Gelu", [-0.100_210_8, 0.580_029_5]),
            ("Mish", [-0.298_099_76, 0.610_018_3]),
            ("Swish", [-0.273_638_28, 0.509_384_04]),
            ("Silu", [-0.273_638_28, 0.509_384_04]),
            ("Shrink", [-1.5, 0.75]),
            ("Clip", [-1.5, 0.75]),
        ];
        for (op, wanted) in values {
            let made = run(op, &[], &[floats(&[2], &[-1.5, 0.75])]).unwrap().to_floats();
            assert!(made.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= 2e-7), "{op}: {made:?}, not {wanted:?}");
        }
        let tanh = run("Gelu", &[("approximate", Attribute::Text("tanh".into()))], &[floats(&[1], &[-1.5])]).unwrap();
        assert!((tanh.to_floats()[0] + 0.100_428_42).abs() < 2e-7, "{tanh:?}");
        let glu = run("SwiGLU", &[], &[floats(&[1], &[0.75]), floats(&[1], &[2.0])]).unwrap();
        assert!((glu.to_floats()[0] - 1.018_768).abs() < 2e-7, "{glu:?}");
    }

    #[test]
    fn bounds_are_inputs_or_attributes_and_nan_stays() {
        let x = floats(&[3], &[-5.0, f32::NAN, 5.0]);
        let by = [("min", Attribute::Float(-1.0)), ("max", Attribute::Float(1.0))];
        let made = run("Clip", &by, std::slice::from_ref(&x)).unwrap().to_floats();
        assert!(made[0] == -1.0 && made[1].is_nan() && made[2] == 1.0);
        let crossed = run("Clip", &[], &[floats(&[1], &[0.0]), floats(&[], &[2.0]), floats(&[], &[1.0])]).unwrap();
        assert_eq!(crossed.to_floats(), [1.0]);
        assert_eq!(run("Clip", &[], &[of(Type::I8, &[-9, 9]), of(Type::I8, &[-2])]).unwrap(), of(Type::I8, &[-2, 9]));
        assert!(run("Relu", &[], &[x]).unwrap().to_floats()[1].is_nan());
        assert_eq!(run("Relu", &[], &[of(Type::I32, &[-3, 3])]).unwrap(), of(Type::I32, &[0, 3]));
    }

    #[test]
    fn slopes_broadcast_to_the_input_alone() {
        let x = floats(&[2, 2], &[-1.0, -2.0, 3.0, -4.0]);
        let made = run("PRelu", &[], &[x.clone(), floats(&[2, 1], &[0.5, 2.0])]).unwrap();
        assert_eq!(made.to_floats(), [-0.5, -1.0, 3.0, -8.0]);
        assert!(run("PRelu", &[], &[x, floats(&[1, 2, 2], &[0.0; 4])]).unwrap_err().contains("slope of [1, 2, 2]"));
    }
}
