//! ln x in plain arithmetic, so that loops over it become vectors; a library's is called for each element.

/// ln x, off by at most two units in the last place (Cephes' polynomial); −∞ for what is below the smallest normal number, NaN for
/// negative numbers.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    // The exponent from which the fraction is in √½…√2.
    const HALF_ROOT: u32 = 0x3f35_04f3;
    // ln 2 in two parts, the first exact in few bits.
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let above = x.to_bits().wrapping_sub(HALF_ROOT);
    let exponent = (above.cast_signed() >> 23) as f32;
    let fraction = f32::from_bits((above & 0x007f_ffff) + HALF_ROOT) - 1.0;
    let square = fraction * fraction;
    let p = 7.037_683_6e-2;
    let p = p * fraction - 0.115_146_1;
    let p = p * fraction + 0.116_769_984;
    let p = p * fraction - 0.124_201_41;
    let p = p * fraction + 0.142_493_23;
    let p = p * fraction - 0.166_680_58;
    let p = p * fraction + 0.200_007_15;
    let p = p * fraction - 0.249_999_94;
    let p = p * fraction + 0.333_333_3;
    let tail = p * fraction * square + exponent * LN2[1] - 0.5 * square;
    let ln = fraction + tail + exponent * LN2[0];
    let ln = if x < f32::MIN_POSITIVE { f32::NEG_INFINITY } else { ln };
    let ln = if x < 0.0 { f32::NAN } else { ln };
    // Infinity and NaN are their own.
    if x < f32::INFINITY { ln } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_librarys_to_two_units() {
        let near_one = (-10_000..=10_000).map(|i| 1.0 + i as f32 / 20_000.0);
        let everywhere = (f32::MIN_POSITIVE.to_bits()..f32::INFINITY.to_bits()).step_by(50_021).map(f32::from_bits);
        for x in near_one.chain(everywhere) {
            let (got, want) = (f64::from(ln(x)), f64::from(x).ln());
            assert!((got - want).abs() <= 2.5e-7 * want.abs(), "{x}: {got} {want}");
        }
        assert_eq!([1.0, 0.0, -0.0, f32::INFINITY].map(ln), [0.0, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY]);
        assert!([-1.0, f32::NEG_INFINITY, f32::NAN].iter().all(|&x| ln(x).is_nan()));
    }
}
