//! Many values made one, in lanes side by side: vectors, and roundings that do not add up.

/// How many lanes there are.
pub(super) const LANES: usize = 16;

/// Gives each lane `join` of it and every [`LANES`]th element of `x`.
#[inline(always)]
pub(super) fn add<T: Copy>(lanes: &mut [T; LANES], x: &[f32], join: impl Fn(T, f32) -> T) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    // By value, and with no index that is unknown: registers.
    let mut sums = *lanes;
    for chunk in chunks {
        for i in 0..LANES {
            sums[i] = join(sums[i], chunk[i]);
        }
    }
    *lanes = sums;
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = join(*lane, x);
    }
}

/// Makes one of all lanes, halving their number each time.
#[inline(always)]
pub(super) fn halved<T: Copy>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = join(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

/// Σx.
#[inline(always)]
pub(super) fn sum(x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    add(&mut lanes, x, |sum, x| sum + x);
    halved(lanes, |a, b| a + b)
}

/// The largest of x, each first given to `term`; NaN where one is, −∞ of none.
#[inline(always)]
pub(super) fn largest(x: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    add(&mut lanes, x, |most, x| larger(most, term(x)));
    halved(lanes, larger)
}

/// The larger one, or NaN where one is.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if (b > a) | b.is_nan() { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_in_a_lane() {
        for len in 0..70 {
            let x: Vec<f32> = (0..len).map(|i| (i * 29 % 64) as f32).collect();
            assert_eq!(sum(&x), x.iter().sum::<f32>());
            assert_eq!(largest(&x, |x| -x), x.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(-x)));
            for at in 0..len {
                let mut x = x.clone();
                x[at] = f32::NAN;
                assert!(largest(&x, |x| x).is_nan());
            }
        }
    }
}
