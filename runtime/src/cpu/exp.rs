//! e^x in plain arithmetic, so that loops over it become vectors; a library's is called for each element.

/// Added to a small number it rounds that to a whole one, which then stands in its last bits.
const ROUND: f32 = 12_582_912.0;

/// e^x for x in −87…88, off by at most two units in the last place (Cephes' polynomial); beyond, e to the nearest bound.
/// NaN stays NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let (fraction, n) = parts(x.clamp(-87.3, 88.0));
    fraction * two_to(n)
}

/// e^x of any x as exactly: 0 below the smallest normal number, infinite above the largest.
#[inline(always)]
pub(super) fn exp_of_any(x: f32) -> f32 {
    let (fraction, n) = parts(x.clamp(-104.0, 89.0));
    // In two steps: at the ends the whole power has no exponent.
    let half = (n * 0.5 + ROUND) - ROUND;
    fraction * two_to(half) * two_to(n - half)
}

/// e^r and n for which x = r + n·ln 2, r being small and n a whole number.
#[inline(always)]
fn parts(x: f32) -> (f32, f32) {
    // ln 2 in two parts, the first exact in few bits.
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = x - n * LN2[0] - n * LN2[1];
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_65;
    let p = p * r + 0.5;
    (p * r * r + r + 1.0, n)
}

/// 2ⁿ for whole n in −126…127.
#[inline(always)]
fn two_to(n: f32) -> f32 {
    f32::from_bits(((n + ROUND).to_bits() << 23).wrapping_add(127 << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_librarys_to_two_units() {
        for i in -8730..=8800 {
            let x = i as f32 / 100.0;
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got - want).abs() <= 2.5e-7 * want, "{x}: {got} {want}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1.3e-38 && exp(1e30) > 1e38 && exp(1e30).is_finite());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn that_of_any_number_is_the_librarys() {
        for i in -8730..=8872 {
            let x = i as f32 / 100.0;
            let (got, want) = (f64::from(exp_of_any(x)), f64::from(x).exp());
            assert!((got - want).abs() <= 3e-7 * want, "{x}: {got} {want}");
        }
        assert!(exp_of_any(f32::NAN).is_nan());
        assert!([-104.0, -1e30, f32::NEG_INFINITY].iter().all(|&x| exp_of_any(x) < f32::MIN_POSITIVE));
        assert!([88.73, 1e30, f32::INFINITY].iter().all(|&x| exp_of_any(x) == f32::INFINITY));
        assert_eq!([0.0, -0.0].map(exp_of_any), [1.0; 2]);
    }
}
