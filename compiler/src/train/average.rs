//! An exponential moving average of what is trained and of the running statistics, which is judged and written in their
//! place. Early in a run it forgets faster, so that it does not drag the initial weights along.

use rayon::prelude::*;

use crate::tensor::Params;

/// Elements a parallel task; the arithmetic is elementwise, so the cut does not change the result.
const CHUNK: usize = 1 << 15;

/// Share of the average that stays in step `step`, counted from 1: min(`decay`, (1 + step)/(10 + step)), as TensorFlow's
/// and timm's averages have it.
pub(super) fn kept(decay: f64, step: u64) -> f64 {
    let step = step as f64;
    decay.min((1.0 + step) / (10.0 + step))
}

/// average ← kept · average + (1 − kept) · now, for every tensor of `average`.
pub(super) fn follow(average: &mut Params, now: &Params, kept: f64) {
    let share = (1.0 - kept) as f32;
    for (name, a) in average {
        let Some(x) = now.get(name) else { continue };
        let chunks = a.data_mut().par_chunks_mut(CHUNK).zip(x.data().par_chunks(CHUNK));
        chunks.for_each(|(a, x)| a.iter_mut().zip(x).for_each(|(a, x)| *a += share * (x - *a)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn it_follows_by_the_formula_and_faster_at_the_start() {
        let of = |x: f32| Params::from([("w".to_string(), Tensor::full([2], x))]);
        let (mut average, mut expected) = (of(0.0), 0.0f64);
        for step in 1..=100u64 {
            let now = (step as f64 * 0.1).sin();
            follow(&mut average, &of(now as f32), kept(0.9, step));
            let d = if step < 80 { (1.0 + step as f64) / (10.0 + step as f64) } else { 0.9 };
            expected = d.min(0.9) * expected + (1.0 - d.min(0.9)) * now;
        }
        assert!((f64::from(average["w"].data()[1]) - expected).abs() < 1e-5);
        assert_eq!(kept(0.9, 1), 2.0 / 11.0);
        assert_eq!(kept(0.9, 1000), 0.9);
    }
}
