//! What this machine allows: how many multiply–adds a second, and how many bytes a second from its memory.

use std::hint::black_box;

#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Base, Level, Vector, level};
use super::threads;
use crate::clock::Instant;
use crate::lock::lock;

/// Floats that a thread reads: more than caches hold.
const FLOATS: usize = 8 << 20;
const ROUNDS: usize = 200_000;
/// Sums that one loop works on: enough to hide how long a multiply–add takes, few enough for registers.
const SUMS: usize = 10;

/// Multiply–adds and bytes a second of all threads together, the best of several tries.
pub(crate) fn measure() -> (f64, f64) {
    let count = threads::count();
    let data: Vec<Vec<f32>> = (0..count).map(|_| vec![1.0; FLOATS]).collect();
    let best = |work: &(dyn Fn(usize) -> f64 + Sync)| {
        let mut best = 0f64;
        for _ in 0..5 {
            let start = Instant::now();
            let done = std::sync::Mutex::new(0f64);
            threads::for_each(std::iter::once, |_, n| {
                let work = work(n);
                *lock(&done) += work;
            });
            let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            best = best.max(done / start.elapsed().as_secs_f64());
        }
        best
    };
    let adds = best(&|_| match level() {
        // SAFETY: the level says that the features are there.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2() },
        Level::Base => multiply::<Base>(),
    });
    let bytes = best(&|n| {
        // Eight sums, for the compiler to keep in vectors.
        let mut sums = [0f32; 64];
        for part in data[n].chunks_exact(64) {
            sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        black_box(sums);
        (FLOATS * 4) as f64
    });
    (adds, bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
fn avx512() -> f64 {
    multiply::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2() -> f64 {
    multiply::<Avx2>()
}

#[inline(always)]
fn multiply<V: Vector>() -> f64 {
    let (by, add) = (V::splat(black_box(0.5)), V::splat(black_box(1.0)));
    let mut sums = [add; SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = sum.mul_add(by, add);
        }
    }
    let mut out = [0f32; 16];
    for sum in sums {
        sum.store(&mut out);
        black_box(&out);
    }
    (ROUNDS * SUMS * V::LANES) as f64
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_computes_and_reads() {
        let (adds, bytes) = super::measure();
        assert!(adds > 1e8 && bytes > 1e8 && adds.is_finite() && bytes.is_finite(), "{adds} {bytes}");
    }
}
