//! How far what a network gives is from what another one gives for the same inputs: of a cut network from its dense one, where
//! there are no classes to judge it by.

use serde::Serialize;

use super::table::Table;
use crate::artifact::Output;
use crate::error::{Error, Result};
use crate::scores::top1;
use crate::session::Outputs;

/// The smallest norm that is divided by.
const LEAST: f64 = 1e-12;

/// How far one output of a network is from that of another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// The output's name.
    pub output: String,
    /// ‖y − y′‖ / ‖y′‖, the mean over samples; y′ is the other network's.
    pub relative_l2: f64,
    /// Samples whose largest element is the same one, the first of equals.
    pub same_largest: usize,
    /// Samples.
    pub count: usize,
}

impl Agreement {
    /// `same_largest` in percent; 0 of no samples.
    pub fn percent(&self) -> f64 {
        100.0 * self.same_largest as f64 / self.count.max(1) as f64
    }
}

/// The outputs of two networks, added up run by run.
#[derive(Clone, Debug)]
pub struct Comparison {
    specs: Vec<Output>,
    sums: Vec<Agreement>,
}

impl Comparison {
    /// Of a network that gives `ours` with one that gives `theirs`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for outputs that are not the same ones.
    pub fn new(ours: &[Output], theirs: &[Output]) -> Result<Self> {
        let like = |o: &Output| (o.spec.name.clone(), o.spec.sample_shape(), o.spec.sample_axis);
        if !ours.iter().map(like).eq(theirs.iter().map(like)) {
            let list = |outputs: &[Output]| outputs.iter().map(|o| o.spec.to_string()).collect::<Vec<_>>().join(", ");
            return Err(Error::invalid("--against", format!("gives {}, and the network {}", list(theirs), list(ours))));
        }
        let sum = |o: &Output| Agreement { output: o.spec.name.clone(), relative_l2: 0.0, same_largest: 0, count: 0 };
        Ok(Self { specs: ours.to_vec(), sums: ours.iter().map(sum).collect() })
    }

    /// Adds what both gave for the same samples.
    pub fn add(&mut self, ours: &Outputs, theirs: &Outputs) {
        for ((output, sum), (a, b)) in self.specs.iter().zip(&mut self.sums).zip(ours.iter().zip(theirs)) {
            let (a, b) = (a.data.to_f32(), b.data.to_f32());
            let len: usize = output.spec.sample_shape().iter().product();
            let (a, b) = (output.spec.by_sample(&a), output.spec.by_sample(&b));
            for (a, b) in a.chunks_exact(len.max(1)).zip(b.chunks_exact(len.max(1))) {
                sum.relative_l2 += relative_l2(a, b);
                sum.same_largest += usize::from(top1(a).is_some() && top1(a) == top1(b));
                sum.count += 1;
            }
        }
    }

    /// How far each output is from the other network's.
    pub fn agreements(&self) -> Vec<Agreement> {
        self.sums.iter().map(|sum| Agreement { relative_l2: sum.relative_l2 / sum.count.max(1) as f64, ..sum.clone() }).collect()
    }
}

/// A line for each output.
pub fn table(agreements: &[Agreement]) -> Table {
    let mut table = Table::new(["output", "relative L2", "same largest", "of"]);
    for a in agreements {
        table.row([
            a.output.clone(),
            format!("{:.2e}", a.relative_l2),
            format!("{} ({:.2} %)", a.same_largest, a.percent()),
            a.count.to_string(),
        ]);
    }
    table
}

/// ‖a − b‖ / ‖b‖. Infinities that are equal do not differ.
fn relative_l2(a: &[f32], b: &[f32]) -> f64 {
    let norm = |squares: &mut dyn Iterator<Item = f64>| squares.sum::<f64>().sqrt();
    let difference = |(&a, &b): (&f32, &f32)| if a == b { 0.0 } else { (f64::from(a) - f64::from(b)).powi(2) };
    let of_b = norm(&mut b.iter().filter(|x| !x.is_infinite()).map(|&x| f64::from(x).powi(2)));
    norm(&mut a.iter().zip(b).map(difference)) / of_b.max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Meaning, TensorSpec};
    use crate::session::{Array, NamedArray};

    fn outputs(values: &[f32]) -> Outputs {
        let shape = vec![values.len() / 2, 2];
        Outputs(vec![NamedArray { name: "y".into(), shape, data: Array::F32(values.to_vec()) }])
    }

    #[test]
    fn distances_are_means_over_samples() {
        let output = Output { spec: TensorSpec::new("y", &[2]), value: 1, meaning: Meaning::Values };
        let mut comparison = Comparison::new(std::slice::from_ref(&output), std::slice::from_ref(&output)).unwrap();
        comparison.add(&outputs(&[3.0, 4.0, 1.0, 0.0]), &outputs(&[3.0, 4.0, 0.0, 1.0]));
        comparison.add(&outputs(&[5.0, 0.0]), &outputs(&[4.0, 0.0]));
        let [found] = &comparison.agreements()[..] else { unreachable!("one output") };
        let expected = (0.0 + 2f64.sqrt() + 0.25) / 3.0;
        assert!((found.relative_l2 - expected).abs() < 1e-12, "{found:?}");
        assert_eq!((found.same_largest, found.count), (2, 3));
        assert!(table(&comparison.agreements()).to_string().contains("2 (66.67 %)"));
    }

    #[test]
    fn a_number_that_is_none_never_agrees_and_equal_infinities_do() {
        assert!(relative_l2(&[f32::NAN, 1.0], &[0.0, 1.0]).is_nan());
        assert_eq!(relative_l2(&[f32::NEG_INFINITY, 1.0], &[f32::NEG_INFINITY, 1.0]), 0.0);
        assert_eq!(relative_l2(&[f32::NEG_INFINITY, 1.0], &[-9.0, 1.0]), f64::INFINITY);
        assert_eq!(relative_l2(&[0.0], &[0.0]), 0.0);
    }

    #[test]
    fn other_outputs_are_refused() {
        let output = |name: &str, shape: &[u32]| Output { spec: TensorSpec::new(name, shape), value: 1, meaning: Meaning::Values };
        for other in [output("z", &[2]), output("y", &[3])] {
            let error = Comparison::new(&[output("y", &[2])], std::slice::from_ref(&other)).unwrap_err().to_string();
            assert!(error.contains(&other.spec.to_string()), "{error}");
        }
    }
}
