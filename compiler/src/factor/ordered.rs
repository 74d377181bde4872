//! Factors that were trained, put in order without ever forming their product: orthonormal bases of the outer sides by
//! QR, then the singular values (HOSVD for Tucker-2) of the small matrix between them. Nothing is cut.

use nalgebra::{DMatrix, QR};

use super::factors::{equal_norms, named};
use super::matrix::eigen;
use super::svd::Svd;
use super::{Factors, Rank};
use crate::error::{Error, Result};
use crate::tensor::Kernel;

impl Factors {
    /// The same weight with output o multiplied by `scale[o]`, most important component first, so that the first r' of a
    /// pair's components are its best cut to rank r'; both sides of a component are equally long. Tucker-2's outer
    /// factors become orthonormal and its core all-orthogonal, so that a prefix loses at most what both modes discard.
    /// Scheme and ranks stay, but for components beyond the weight's full rank, which hold nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `name` when a value is not finite or an iteration fails.
    pub fn ordered(&self, name: &str, scale: Option<&[f64]>) -> Result<Self> {
        if !self.tensors.iter().all(|t| t.values.iter().all(|x| x.is_finite())) {
            return Err(Error::invalid(format!("weight '{name}'"), "its factors hold a NaN or an infinity"));
        }
        let Kernel { outputs, inputs, height, width } = self.kernel;
        let scaled = |mut u: DMatrix<f64>, inner: usize| {
            let scale = scale.unwrap_or_default();
            u.row_iter_mut().enumerate().for_each(|(i, mut row)| row *= scale.get(i / inner).copied().unwrap_or(1.0));
            u
        };
        let (rank, parts, sigma) = match self.rank {
            Rank::One(rank) => {
                let (rows, inner) = self.sides();
                let v = QR::new(self.turned(0, rank, rows));
                let u = QR::new(scaled(self.turned(1, rank, outputs * inner), inner));
                let between = Svd::new(name, u.r() * v.r().transpose())?;
                let rank = between.energies.len();
                let (left, right) = between.truncate(rank);
                let (mut v, mut u) = (right * v.q().transpose(), (u.q() * left).transpose());
                equal_norms(&mut v, &mut u);
                (Rank::One(rank), vec![v, u], between.energies.iter().map(|e| e.sqrt() as f32).collect())
            }
            Rank::Two { output, input } => {
                let area = height * width;
                let a = QR::new(self.turned(0, input, inputs));
                let b = QR::new(scaled(self.turned(2, output, outputs), 1));
                // The core between the two bases, both its unfoldings with (other mode, position) as columns.
                let core = self.turned(1, output * input, area);
                let (a_r, b_r) = (a.r(), b.r());
                let by_output = DMatrix::from_fn(output, input * area, |p, qk| core[(qk % area, p * input + qk / area)]);
                let by_output = &b_r * by_output;
                let (n, m) = (b_r.nrows(), a_r.nrows());
                let by_input = DMatrix::from_fn(input, n * area, |q, pk| by_output[(pk / area, q * area + pk % area)]);
                let by_input = &a_r * by_input;
                let by_output = DMatrix::from_fn(n, m * area, |p, qk| by_input[(qk / area, p * area + qk % area)]);
                let Rank::Two { output: most_out, input: most_in } = self.scheme.full_rank(&self.kernel) else { return Ok(self.clone()) };
                let (output, input) = (n.min(most_out), m.min(most_in));
                let directions = |m: &DMatrix<f64>, rank: usize| {
                    let (_, vectors) = eigen(name, m * m.transpose())?;
                    Ok::<_, Error>(vectors.columns(0, rank).into_owned())
                };
                let (left, right) = (directions(&by_output, output)?, directions(&by_input, input)?);
                let by_output = left.transpose() * by_output;
                let by_input = DMatrix::from_fn(m, output * area, |q, pk| by_output[(pk / area, q * area + pk % area)]);
                let by_input = right.transpose() * by_input;
                let core = DMatrix::from_fn(output, input * area, |p, qk| by_input[(qk / area, p * area + qk % area)]);
                (Rank::Two { output, input }, vec![(a.q() * right).transpose(), core, (b.q() * left).transpose()], Vec::new())
            }
        };
        let tensors = named(self.scheme, rank, &self.kernel, &parts);
        Ok(Self { rank, tensors, sigma, tail_energy: 0.0, energy: 1.0, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{distance2, kernel, random};
    use super::super::{Factoring, NamedFactor, Scheme};
    use super::*;
    use proptest::prelude::*;

    /// Factors without any order, components of very different size among them.
    fn drawn(scheme: Scheme, kernel: Kernel, rank: Rank, seed: u64) -> Factors {
        let layout = scheme.layout(rank, &kernel).into_iter().enumerate();
        let tensor = |(at, (suffix, shape)): (usize, (&'static str, Vec<usize>))| {
            let mut values = random(shape.iter().product(), seed + at as u64);
            let row = values.len() / shape[0];
            values.chunks_exact_mut(row).enumerate().for_each(|(r, v)| v.iter_mut().for_each(|x| *x *= [0.1, 3.0, 1.0, 0.01][r % 4]));
            NamedFactor { suffix, shape, values }
        };
        let tensors = layout.map(tensor).collect();
        Factors::uncut(scheme, rank, kernel, tensors)
    }

    /// The first components alone.
    fn prefix(f: &Factors, rank: Rank) -> Factors {
        let mut cut = Factors { rank, ..f.clone() };
        for (t, (_, shape)) in cut.tensors.iter_mut().zip(f.scheme.layout(rank, &f.kernel)) {
            let inner: usize = t.shape[2..].iter().product();
            let rows = t.values.chunks(t.shape[1] * inner).take(shape[0]);
            t.values = rows.flat_map(|row| row[..shape[1] * inner].to_vec()).collect();
            t.shape = shape;
        }
        cut
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn order_changes_nothing_and_every_prefix_is_the_best_cut(o in 1usize..9, i in 1usize..7, side in 0usize..4, r in 1usize..10, q in 1usize..8, seed in 0u64..1 << 50) {
            let (kh, kw) = [(1, 1), (3, 3), (3, 2), (1, 3)][side];
            let k = kernel(o, i, kh, kw);
            let scale: Vec<f64> = random(o, seed + 9).into_iter().map(|x| 2.0 * f64::from(x)).collect();
            for scheme in Scheme::ALL.map(|s| s.of(&k)) {
                let rank = if scheme == Scheme::Tucker2 { Rank::Two { output: r, input: q } } else { Rank::One(r) };
                let before = drawn(scheme, k, rank, seed);
                let scaled: Vec<f32> = before.product_f64().iter().enumerate().map(|(at, w)| (w * scale[at / k.columns()]) as f32).collect();
                let after = before.ordered("w", Some(&scale)).unwrap();
                let norm = distance2(&scaled, &vec![0.0; k.len()]);
                prop_assert!(distance2(&scaled, &after.product()) <= 1e-12 * norm, "{scheme} {rank}");
                prop_assert_eq!(after.scheme, scheme);

                let best = Factoring::new("w", &scaled, k, scheme, None).unwrap();
                match (after.rank, scheme.full_rank(&k)) {
                    (Rank::One(now), Rank::One(full)) => {
                        prop_assert_eq!(now, r.min(full));
                        prop_assert!(after.sigma.is_sorted_by(|a, b| a >= b));
                        for cut in 1..=now {
                            let error = distance2(&scaled, &prefix(&after, Rank::One(cut)).product());
                            let tail: f64 = after.sigma[cut..].iter().map(|s| f64::from(*s).powi(2)).sum();
                            let least = distance2(&scaled, &best.truncate(Rank::One(cut), false).unwrap().product());
                            prop_assert!((error - tail).abs() <= 1e-6 * norm && (error - least).abs() <= 1e-6 * norm, "{} {} {}", error, tail, least);
                        }
                    }
                    (Rank::Two { output, input }, Rank::Two { output: most_out, input: most_in }) => {
                        prop_assert_eq!((output, input), (r.min(o).min(most_out), q.min(i).min(most_in)));
                        let core = |p: usize, q: usize| -> f64 {
                            let taps = &after.tensors[1].values[(p * input + q) * kh * kw..][..kh * kw];
                            taps.iter().map(|x| f64::from(*x).powi(2)).sum()
                        };
                        let rows: Vec<f64> = (0..output).map(|p| (0..input).map(|q| core(p, q)).sum()).collect();
                        let columns: Vec<f64> = (0..input).map(|q| (0..output).map(|p| core(p, q)).sum()).collect();
                        prop_assert!(rows.is_sorted_by(|a, b| *a >= b - 1e-6 * norm) && columns.is_sorted_by(|a, b| *a >= b - 1e-6 * norm));
                        for (a, b) in [(1, 1), (output, input.div_ceil(2)), (output.div_ceil(2), input)] {
                            let error = distance2(&scaled, &prefix(&after, Rank::Two { output: a, input: b }).product());
                            let kept: f64 = (0..a).map(|p| (0..b).map(|q| core(p, q)).sum::<f64>()).sum();
                            prop_assert!((error - (norm - kept)).abs() <= 1e-6 * norm);
                            let discarded: f64 = rows[a..].iter().sum::<f64>() + columns[b..].iter().sum::<f64>();
                            prop_assert!(error <= discarded + 1e-6 * norm);
                            // HOSVD's bound against the best there is, of which sweeps give an upper one.
                            let least = distance2(&scaled, &best.truncate(Rank::Two { output: a, input: b }, false).unwrap().product());
                            prop_assert!(error <= 2.0 * least + 1e-6 * norm, "{} {}", error, least);
                        }
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_not_finite_is_refused() {
        for scheme in Scheme::ALL {
            let k = kernel(4, 3, 3, 3);
            let rank = if scheme == Scheme::Tucker2 { Rank::Two { output: 2, input: 2 } } else { Rank::One(2) };
            let mut f = drawn(scheme, k, rank, 1);
            f.tensors[0].values.fill(0.0);
            assert!(f.ordered("w", None).unwrap().product().iter().all(|x| *x == 0.0));
            f.tensors[1].values[0] = f32::NAN;
            assert!(f.ordered("w", None).unwrap_err().to_string().contains("'w'"));
        }
    }
}
