//! Adam and SGD over named host tensors, with PyTorch's formulas and defaults. Not Burn's: its optimiser keeps state by
//! random parameter ids, its constants differ, and a fused pass over host memory is faster than ten tensor operations.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::config::OptimizerKind;
use crate::error::{Error, Result};
use crate::tensor::{Params, Tensor};

/// Gradients by parameter name, elements row-major.
pub(super) type Gradients = BTreeMap<String, Vec<f32>>;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f32 = 1e-8;
const MOMENTUM: f32 = 0.9;
/// Elements a parallel task; the arithmetic is elementwise, so the cut does not change the result.
const CHUNK: usize = 1 << 15;

/// An optimiser's settings and state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Optimizer {
    kind: OptimizerKind,
    /// Coupled: gradient += weight_decay · parameter.
    weight_decay: f32,
    /// Steps taken.
    pub(super) steps: u64,
    /// Adam: first and second moment; SGD: momentum. Each holds every trained tensor's name.
    pub(super) moments: Vec<Params>,
}

impl Optimizer {
    /// With zero moments for every tensor of `trained`.
    pub(super) fn new(kind: OptimizerKind, weight_decay: f64, trained: &Params) -> Self {
        let zeros: Params = trained.iter().map(|(name, t)| (name.clone(), Tensor::full(t.shape(), 0.0))).collect();
        let moments = vec![zeros; Self::moment_count(kind)];
        Self { kind, weight_decay: weight_decay as f32, steps: 0, moments }
    }

    /// How many moments this kind keeps.
    pub(super) fn moment_count(kind: OptimizerKind) -> usize {
        match kind {
            OptimizerKind::Adam => 2,
            OptimizerKind::Sgd => 1,
        }
    }

    /// Moves every tensor of `trained` one step at learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a tensor without a gradient or moment: a method that forgot one, never a bad input.
    pub(super) fn step(&mut self, trained: &mut Params, gradients: &Gradients, lr: f64) -> Result<()> {
        self.steps += 1;
        let steps = self.steps.min(i32::MAX as u64) as i32;
        let missing = |name: &str| Error::invalid(name, "has no gradient of its shape");
        for (name, parameter) in trained {
            let p = parameter.data_mut();
            let g = gradients.get(name).filter(|g| g.len() == p.len()).ok_or_else(|| missing(name))?;
            let mut states = self.moments.iter_mut().map(|m| m.get_mut(name).map(Tensor::data_mut));
            let wd = self.weight_decay;
            match self.kind {
                OptimizerKind::Adam => {
                    let (Some(Some(m)), Some(Some(v))) = (states.next(), states.next()) else { return Err(missing(name)) };
                    let step_size = (lr / (1.0 - BETA1.powi(steps))) as f32;
                    let root2 = (1.0 - BETA2.powi(steps)).sqrt() as f32;
                    let chunks = p.par_chunks_mut(CHUNK).zip(m.par_chunks_mut(CHUNK)).zip(v.par_chunks_mut(CHUNK));
                    chunks.zip(g.par_chunks(CHUNK)).for_each(|(((p, m), v), g)| adam(p, m, v, g, wd, step_size, root2));
                }
                OptimizerKind::Sgd => {
                    let Some(Some(m)) = states.next() else { return Err(missing(name)) };
                    let chunks = p.par_chunks_mut(CHUNK).zip(m.par_chunks_mut(CHUNK)).zip(g.par_chunks(CHUNK));
                    chunks.for_each(|((p, m), g)| sgd(p, m, g, wd, lr as f32));
                }
            }
        }
        Ok(())
    }
}

/// torch.optim.Adam: m ← lerp(m, g, 1−β₁), v ← β₂v + (1−β₂)g², p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε).
fn adam(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], wd: f32, step_size: f32, root2: f32) {
    let (w1, b2, w2) = ((1.0 - BETA1) as f32, BETA2 as f32, (1.0 - BETA2) as f32);
    for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
        let g = g + wd * *p;
        *m += w1 * (g - *m);
        *v = b2 * *v + w2 * g * g;
        *p -= step_size * *m / (v.sqrt() / root2 + EPSILON);
    }
}

/// torch.optim.SGD without dampening: m ← 0.9·m + g, p ← p − lr·m.
fn sgd(p: &mut [f32], m: &mut [f32], g: &[f32], wd: f32, lr: f32) {
    for ((p, m), g) in p.iter_mut().zip(m).zip(g) {
        *m = MOMENTUM * *m + (g + wd * *p);
        *p -= lr * *m;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five steps on f(x) = Σ(x−1)²/2·k against the formulas of PyTorch's documentation, in f64.
    fn compare(kind: OptimizerKind, reference: impl Fn(usize, f64, f64, &mut f64, &mut f64) -> f64) {
        let (wd, lr) = (0.05, 0.1);
        let start = [2.0f32, -3.0, 0.25];
        let mut params = Params::from([("w".to_string(), Tensor::new([3], start.to_vec()).unwrap())]);
        let mut optimizer = Optimizer::new(kind, wd, &params);
        let mut expected = start.map(f64::from);
        let mut state = [(0.0, 0.0); 3];
        for t in 1..=5 {
            let gradient: Vec<f32> = params["w"].data().iter().enumerate().map(|(i, x)| (x - 1.0) * (i + 1) as f32).collect();
            optimizer.step(&mut params, &Gradients::from([("w".into(), gradient)]), lr).unwrap();
            for (i, x) in expected.iter_mut().enumerate() {
                let g = (*x - 1.0) * (i + 1) as f64 + wd * *x;
                *x -= reference(t, lr, g, &mut state[i].0, &mut state[i].1);
            }
            for (a, b) in params["w"].data().iter().zip(expected) {
                assert!((f64::from(*a) - b).abs() < 2e-6 * (1.0 + b.abs()), "{kind:?} step {t}: {a} {b}");
            }
        }
    }

    #[test]
    fn adam_with_coupled_decay_is_pytorchs() {
        compare(OptimizerKind::Adam, |t, lr, g, m, v| {
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            let (m_hat, v_hat) = (*m / (1.0 - 0.9f64.powi(t as i32)), *v / (1.0 - 0.999f64.powi(t as i32)));
            lr * m_hat / (v_hat.sqrt() + 1e-8)
        });
    }

    #[test]
    fn sgd_with_momentum_and_coupled_decay_is_pytorchs() {
        compare(OptimizerKind::Sgd, |t, lr, g, m, _| {
            *m = if t == 1 { g } else { 0.9 * *m + g };
            lr * *m
        });
    }

    #[test]
    fn a_tensor_without_a_gradient_is_an_error() {
        let mut params = Params::from([("w".to_string(), Tensor::full([2], 1.0))]);
        let mut optimizer = Optimizer::new(OptimizerKind::Adam, 0.0, &params);
        let error = optimizer.step(&mut params, &Gradients::new(), 0.1).unwrap_err().to_string();
        assert!(error.contains('w'), "{error}");
    }
}
