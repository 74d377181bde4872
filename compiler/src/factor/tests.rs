//! What must hold of every scheme, with data and without.

use proptest::prelude::*;

use super::super::matrix::to_rows;
use super::super::testing::{distance2, kernel, random};
use super::super::{Moments, grid};
use super::*;

/// Correlated patches, so that data matter: white noise through a random mixing, with a mean.
fn patches(columns: usize, n: usize, seed: u64) -> Vec<f32> {
    let (mix, noise) = (random(columns * columns, seed), random(columns * n, seed + 1));
    noise
        .chunks_exact(columns)
        .flat_map(|z| {
            let decay = |j: usize| 1.0 / (1.0 + j as f32);
            (0..columns).map(|i| 0.3 + (0..columns).map(|j| mix[i * columns + j] * decay(j) * z[j]).sum::<f32>()).collect::<Vec<_>>()
        })
        .collect()
}

/// [n, len] as [len, n].
fn turned(data: &[f32], len: usize) -> Vec<f32> {
    (0..len).flat_map(|i| data.iter().skip(i).step_by(len).copied()).collect()
}

fn moments(data: &[f32], columns: usize) -> LayerMoments {
    let mut m = Moments::new(columns);
    m.add(&turned(data, columns));
    LayerMoments::Patches(m)
}

/// Mean over the vectors of ‖(W − W')·x − correction‖², and of the centred ‖W·x‖².
fn output_error(w: &[f32], cut: &Factors, data: &[f32], k: Kernel) -> f64 {
    let (product, columns) = (cut.product_f64(), k.columns());
    let zero = vec![0.0; k.outputs];
    let bias = cut.bias.as_ref().unwrap_or(&zero);
    let total: f64 = data
        .chunks_exact(columns)
        .map(|x| {
            (0..k.outputs)
                .map(|o| {
                    let row = o * columns..(o + 1) * columns;
                    let d: f64 =
                        w[row.clone()].iter().zip(&product[row]).zip(x).map(|((w, p), x)| (f64::from(*w) - p) * f64::from(*x)).sum();
                    (d - bias[o]).powi(2)
                })
                .sum::<f64>()
        })
        .sum();
    total / (data.len() / columns) as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_error_is_what_is_said_to_be_lost(o in 1usize..9, i in 1usize..7, kh in 1usize..4, kw in 1usize..4, seed: u64, share in 0.0f64..1.0) {
        let (k, w) = (kernel(o, i, kh, kw), random(o * i * kh * kw, seed));
        let norm = distance2(&w, &vec![0.0; w.len()]);
        for scheme in Scheme::ALL {
            let f = Factoring::new("w", &w, k, scheme, None).unwrap();
            let at = |n: usize| ((share * n as f64) as usize).max(1);
            let rank = match f.full_rank() {
                Rank::One(n) => Rank::One(at(n)),
                Rank::Two { output, input } => f.clamp(Rank::Two { output: at(output), input: at(input) }),
            };
            let cut = f.truncate(rank, false).unwrap();
            let error = distance2(&w, &cut.product());
            prop_assert!((error - cut.tail_energy).abs() <= 1e-6 * norm, "{} {}: {} {}", scheme, rank, error, cut.tail_energy);
            // Sweeps only gain on what the table says; pairs need none.
            let said = f.lost(rank).unwrap() * norm;
            prop_assert!(error <= said + 1e-6 * norm);
            if matches!(rank, Rank::One(_)) {
                prop_assert!((error - said).abs() <= 1e-6 * norm);
            }
            let whole = f.truncate(f.full_rank(), false).unwrap();
            prop_assert!(distance2(&w, &whole.product()) <= 1e-10 * norm, "{} is not exact at full rank", scheme);
        }
    }

    #[test]
    fn with_data_the_output_errs_by_what_is_said_and_never_more_than_without(o in 1usize..7, i in 1usize..5, kh in 1usize..4, kw in 1usize..4, seed in 0u64..1 << 60) {
        let (k, w) = (kernel(o, i, kh, kw), random(o * i * kh * kw, seed));
        let data = patches(k.columns(), 3 * k.columns() + 5, seed);
        let m = moments(&data, k.columns());
        for scheme in Scheme::ALL {
            let (plain, aware) = (Factoring::new("w", &w, k, scheme, None).unwrap(), Factoring::new("w", &w, k, scheme, Some(&m)).unwrap());
            prop_assert!(aware.is_data_aware() && !plain.is_data_aware());
            for (rank, lost) in aware.grid() {
                let cut = aware.truncate(rank, false).unwrap();
                let error = output_error(&w, &cut, &data, k);
                // The ridge and f32 blocks count as error, a little.
                prop_assert!((error - cut.tail_energy).abs() <= 1e-4 * aware.total, "{} {}: {} {}", scheme, rank, error, cut.tail_energy);
                prop_assert!(cut.tail_energy <= (lost + 1e-9) * aware.total);
                if scheme.of(&k) == Scheme::Channel {
                    let mut other = plain.truncate(rank, false).unwrap();
                    other.bias = aware.bias(&other, rank);
                    prop_assert!(error <= output_error(&w, &other, &data, k) + 1e-4 * aware.total);
                }
            }
            let whole = aware.truncate(aware.full_rank(), false).unwrap();
            prop_assert!(output_error(&w, &whole, &data, k) <= 1e-4 * aware.total, "{} is not exact at full rank", scheme);
        }
    }

    #[test]
    fn more_rank_never_errs_more(o in 1usize..9, i in 1usize..7, seed: u64, with_data: bool) {
        let (k, w) = (kernel(o, i, 3, 3), random(o * i * 9, seed));
        let m = with_data.then(|| moments(&patches(i * 9, 40, seed >> 1), i * 9));
        for scheme in Scheme::ALL {
            let f = Factoring::new("w", &w, k, scheme, m.as_ref()).unwrap();
            let all = f.grid();
            for (a, x) in &all {
                for (b, y) in &all {
                    let covers = match (*a, *b) {
                        (Rank::One(a), Rank::One(b)) => a >= b,
                        (Rank::Two { output: a, input: c }, Rank::Two { output: b, input: d }) => a >= b && c >= d,
                        _ => false,
                    };
                    prop_assert!(!covers || *x <= y + 1e-9, "{} {} {} {}", a, x, b, y);
                }
            }
        }
    }
}

#[test]
fn the_covariance_form_is_the_whitening_form() {
    let (k, w) = (kernel(5, 2, 3, 3), random(90, 7));
    let data = patches(18, 200, 8);
    let m = moments(&data, 18);
    let LayerMoments::Patches(inner) = &m else { return };
    // SVD of W·L with C = L·Lᵀ, cut, and unwhitened.
    let l = super::super::matrix::cholesky("c", inner.covariance()).unwrap();
    let svd = super::super::svd::Svd::new("wl", from_rows(5, 18, &w) * &l).unwrap();
    let f = Factoring::new("w", &w, k, Scheme::Channel, Some(&m)).unwrap();
    for rank in 1..=5 {
        let (left, right) = svd.truncate(rank);
        let whitened = to_rows(&(left * right * l.clone().try_inverse().unwrap()));
        let ours = f.truncate(Rank::One(rank), false).unwrap().product();
        assert!(distance2(&whitened, &ours) < 1e-9, "{rank}");
    }
}

#[test]
fn moments_of_outputs_cut_channels_as_those_of_patches_do() {
    let (k, w) = (kernel(4, 2, 3, 3), random(72, 1));
    let data = patches(18, 300, 2);
    let outputs: Vec<f32> =
        data.chunks(18).flat_map(|x| w.chunks(18).map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>()).collect::<Vec<_>>()).collect();
    let mut m = Moments::new(4);
    m.add(&turned(&outputs, 4));
    let a = Factoring::new("w", &w, k, Scheme::Channel, Some(&LayerMoments::Outputs(m.clone())))
        .unwrap()
        .truncate(Rank::One(2), false)
        .unwrap();
    let b = Factoring::new("w", &w, k, Scheme::Channel, Some(&moments(&data, 18))).unwrap().truncate(Rank::One(2), false).unwrap();
    assert!(distance2(&a.product(), &b.product()) < 1e-7);
    assert!(a.bias.unwrap().iter().zip(b.bias.unwrap()).all(|(a, b)| (a - b).abs() < 1e-3));
    let spatial = Factoring::new("w", &w, k, Scheme::Spatial, Some(&LayerMoments::Outputs(m))).unwrap();
    assert!(!spatial.is_data_aware());
}

#[test]
fn gain_keeps_the_energy_and_scales_follow_outputs() {
    let (k, w, scale) = (kernel(4, 3, 3, 3), random(108, 3), vec![2.0, 0.5, 0.0, 1.0]);
    let scaled: Vec<f32> = w.iter().enumerate().map(|(i, x)| x * scale[i / 27] as f32).collect();
    let norm = distance2(&w, &[0.0; 108]);
    for scheme in Scheme::ALL {
        let f = Factoring::new("w", &w, k, scheme, None).unwrap();
        let half = f.truncate(Rank::One(2), true).unwrap().product();
        assert!((distance2(&half, &[0.0; 108]) - norm).abs() < 1e-4 * norm, "{scheme}");
        let all = f.with_row_scale(scale.clone());
        assert!(distance2(&scaled, &all.truncate(all.full_rank(), false).unwrap().product()) < 1e-8);
    }
}

#[test]
fn what_is_no_weight_is_refused_and_zeros_do_no_harm() {
    let k = kernel(2, 3, 1, 1);
    assert!(Factoring::new("w", &[1.0; 5], k, Scheme::Channel, None).is_err());
    assert!(Factoring::new("w", &[f32::NAN; 6], k, Scheme::Channel, None).is_err());
    assert!(Factoring::new("w", &[1.0; 6], k, Scheme::Channel, Some(&LayerMoments::Patches(Moments::new(3)))).is_err());
    for scheme in Scheme::ALL {
        let zero = Factoring::new("w", &[0.0; 36], kernel(2, 2, 3, 3), scheme, None).unwrap();
        assert!(zero.truncate(Rank::One(2), true).unwrap().product().iter().all(|&x| x == 0.0));
        assert_eq!(zero.lost(Rank::One(1)).unwrap(), 0.0);
    }
    assert!(!grid(9, 32).is_empty());
}
