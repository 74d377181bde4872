//! tanh x in plain arithmetic, so that loops over it become vectors; a library's is called for each element.

/// tanh x to 5·10⁻⁷ of itself, as a quotient of polynomials (the minimax coefficients that Eigen has). NaN stays NaN.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    // Beyond it, the nearest number is 1 or almost.
    const END: f32 = 7.905_311;
    let within = x.clamp(-END, END);
    let s = within * within;
    let p = s * -2.760_768_5e-16 + 2.000_188e-13;
    let p = p * s - 8.604_672e-11;
    let p = p * s + 5.122_297e-8;
    let p = p * s + 1.485_722_4e-5;
    let p = p * s + 6.372_619_4e-4;
    let p = p * s + 4.893_524_6e-3;
    let q = s * 1.198_258_4e-6 + 1.185_347e-4;
    let q = q * s + 2.268_434_6e-3;
    let q = q * s + 4.893_525e-3;
    let inside = within * p / q;
    if x.abs() > END { 1f32.copysign(x) } else { inside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_near_the_librarys() {
        let everywhere = (1e-30f32.to_bits()..20f32.to_bits()).step_by(20_011).map(f32::from_bits);
        for x in everywhere.flat_map(|x| [x, -x]) {
            let (got, want) = (f64::from(tanh(x)), f64::from(x).tanh());
            assert!((got - want).abs() <= 5e-7 * want.abs(), "{x}: {got} {want}");
        }
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!([0.0, f32::INFINITY, f32::NEG_INFINITY].map(tanh), [0.0, 1.0, -1.0]);
    }
}
