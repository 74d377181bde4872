//! The functions of a map's instructions on the CPU, each a loop over a block.

use super::simd::vectorized;
use crate::artifact::{Binary, Unary};

/// y = `function` of x, element by element; all are as long.
pub(super) fn unary(function: Unary, x: &[f32], y: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || match function {
            Unary::Neg => each(x, y, |x| -x),
            // Of 0 and NaN themselves, and 0 of what is too small.
            Unary::Sign => each(x, y, |x| if x.abs() > 0.0 { 1f32.copysign(x) } else { x * 0.0 }),
            Unary::Floor => each(x, y, f32::floor),
            Unary::Ceil => each(x, y, f32::ceil),
            Unary::Round => each(x, y, f32::round_ties_even),
            Unary::Not => each(x, y, |x| truth(x == 0.0)),
            Unary::IsNan => each(x, y, |x| truth(x.is_nan())),
            Unary::IsInf => each(x, y, |x| truth(x.abs() == f32::INFINITY)),
            _ => by_library(function, x, y),
        },
    );
}

/// Those that a library is called for, an element at a time.
#[inline(never)]
fn by_library(function: Unary, x: &[f32], y: &mut [f32]) {
    let f: fn(f32) -> f32 = match function {
        Unary::Sin => f32::sin,
        Unary::Cos => f32::cos,
        Unary::Tan => f32::tan,
        Unary::Asin => f32::asin,
        Unary::Acos => f32::acos,
        Unary::Atan => f32::atan,
        Unary::Sinh => f32::sinh,
        Unary::Cosh => f32::cosh,
        Unary::Asinh => f32::asinh,
        Unary::Acosh => f32::acosh,
        Unary::Atanh => f32::atanh,
        Unary::Neg | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Not | Unary::IsNan | Unary::IsInf => {
            return unary(function, x, y);
        }
    };
    each(x, y, f);
}

/// y = `function` of a and b, element by element; all are as long.
pub(super) fn binary(function: Binary, a: &[f32], b: &[f32], y: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || match function {
            Binary::Add => both(a, b, y, |a, b| a + b),
            Binary::Sub => both(a, b, y, |a, b| a - b),
            Binary::Mul => both(a, b, y, |a, b| a * b),
            Binary::Div => both(a, b, y, |a, b| a / b),
            Binary::Max => both(a, b, y, |a, b| if (a > b) | a.is_nan() { a } else { b }),
            Binary::Min => both(a, b, y, |a, b| if (a < b) | a.is_nan() { a } else { b }),
            Binary::Less => both(a, b, y, |a, b| truth(a < b)),
            Binary::LessOrEqual => both(a, b, y, |a, b| truth(a <= b)),
            Binary::Equal => both(a, b, y, |a, b| truth(a == b)),
            Binary::And => both(a, b, y, |a, b| truth((a != 0.0) & (b != 0.0))),
            Binary::Or => both(a, b, y, |a, b| truth((a != 0.0) | (b != 0.0))),
            Binary::Xor => both(a, b, y, |a, b| truth((a != 0.0) ^ (b != 0.0))),
            Binary::Pow => power(a, b, y),
            Binary::Mod => remainder(a, b, y, true),
            Binary::Fmod => remainder(a, b, y, false),
        },
    );
}

/// y = a where `which` is not 0, else b.
pub(super) fn select(which: &[f32], a: &[f32], b: &[f32], y: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for ((y, which), (a, b)) in y.iter_mut().zip(which).zip(a.iter().zip(b)) {
                *y = if *which != 0.0 { *a } else { *b };
            }
        },
    );
}

#[inline(always)]
fn each(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x));
}

#[inline(always)]
fn both(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = f(*a, *b));
}

#[inline(always)]
fn truth(is: bool) -> f32 {
    f32::from(u8::from(is))
}

/// a to the power b. Exponents that networks have, the same for the whole block, do without the library.
#[inline(always)]
fn power(a: &[f32], b: &[f32], y: &mut [f32]) {
    // All are looked at, which vectors do faster than a branch finds the first that differs.
    let exponent = b.first().copied().filter(|first| b.iter().fold(true, |same, b| same & (b == first)));
    match exponent {
        Some(1.0) => y.copy_from_slice(a),
        Some(2.0) => each(a, y, |x| x * x),
        Some(3.0) => each(a, y, |x| x * x * x),
        Some(-1.0) => each(a, y, |x| 1.0 / x),
        Some(0.5) => each(a, y, root),
        Some(-0.5) => each(a, y, |x| 1.0 / root(x)),
        _ => by_library_power(a, b, y),
    }
}

/// x to the power ½, which is +0 for −0 and +∞ for −∞.
#[inline(always)]
fn root(x: f32) -> f32 {
    if x == f32::NEG_INFINITY { f32::INFINITY } else { (x + 0.0).sqrt() }
}

#[inline(never)]
fn by_library_power(a: &[f32], b: &[f32], y: &mut [f32]) {
    both(a, b, y, f32::powf);
}

/// a less a multiple of b, exactly: with a's sign, or with b's if `floored`. The processor has no such instruction.
#[inline(never)]
fn remainder(a: &[f32], b: &[f32], y: &mut [f32], floored: bool) {
    both(a, b, y, |a, b| {
        let rest = a % b;
        if floored && rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;

    /// As bits, but for NaN, so that the signs of zeros count.
    fn same(got: &[f32], want: &[f32]) -> bool {
        got.len() == want.len() && got.iter().zip(want).all(|(g, w)| g.to_bits() == w.to_bits() || g.is_nan() && w.is_nan())
    }

    #[test]
    fn functions_of_one_number() {
        let of = |function, x: &[f32]| {
            let mut y = vec![7.0; x.len()];
            unary(function, x, &mut y);
            y
        };
        assert!(same(&of(Unary::Neg, &[1.5, 0.0, -INF]), &[-1.5, -0.0, INF]));
        assert!(same(&of(Unary::Sign, &[-3.0, 0.0, 1e-30, INF, -INF, NAN]), &[-1.0, 0.0, 1.0, 1.0, -1.0, NAN]));
        assert!(same(&of(Unary::Floor, &[-1.5, 1.5, -INF, NAN, 3e9]), &[-2.0, 1.0, -INF, NAN, 3e9]));
        assert!(same(&of(Unary::Ceil, &[-1.5, 1.5, INF, NAN]), &[-1.0, 2.0, INF, NAN]));
        assert!(same(&of(Unary::Round, &[0.5, 1.5, 2.5, -0.5, -1.5, 2.4, NAN, 1e20]), &[0.0, 2.0, 2.0, -0.0, -2.0, 2.0, NAN, 1e20]));
        assert!(same(&of(Unary::Not, &[0.0, -0.0, 2.0, NAN]), &[1.0, 1.0, 0.0, 0.0]));
        assert!(same(&of(Unary::IsNan, &[0.0, NAN, INF]), &[0.0, 1.0, 0.0]));
        assert!(same(&of(Unary::IsInf, &[0.0, NAN, INF, -INF]), &[0.0, 0.0, 1.0, 1.0]));
        let known = [
            (Unary::Sin, 1.0, 0.841_471),
            (Unary::Cos, 1.0, 0.540_302_3),
            (Unary::Tan, 1.0, 1.557_407_7),
            (Unary::Asin, 0.5, std::f32::consts::FRAC_PI_6),
            (Unary::Acos, 0.5, std::f32::consts::FRAC_PI_3),
            (Unary::Atan, 1.0, std::f32::consts::FRAC_PI_4),
            (Unary::Sinh, 1.0, 1.175_201_2),
            (Unary::Cosh, 1.0, 1.543_080_7),
            (Unary::Asinh, 1.0, 0.881_373_6),
            (Unary::Acosh, 2.0, 1.316_957_8),
            (Unary::Atanh, 0.5, 0.549_306_15),
        ];
        for (function, x, want) in known {
            let got = of(function, &[x, NAN]);
            assert!((got[0] - want).abs() < 1e-6 && got[1].is_nan(), "{function:?} {got:?}");
        }
        assert!(of(Unary::Asin, &[1.5])[0].is_nan() && of(Unary::Acosh, &[0.5])[0].is_nan());
        assert!(same(&of(Unary::Atanh, &[1.0, -1.0]), &[INF, -INF]));
    }

    #[test]
    fn functions_of_two_numbers() {
        let of = |function, a: &[f32], b: &[f32]| {
            let mut y = vec![7.0; a.len()];
            binary(function, a, b, &mut y);
            y
        };
        assert!(same(&of(Binary::Add, &[1.0, INF], &[2.0, -INF]), &[3.0, NAN]));
        assert!(same(&of(Binary::Sub, &[1.0, INF], &[2.0, 1.0]), &[-1.0, INF]));
        assert!(same(&of(Binary::Mul, &[3.0, 0.0], &[2.0, INF]), &[6.0, NAN]));
        assert!(same(&of(Binary::Div, &[3.0, 1.0, -1.0, 0.0], &[2.0, 0.0, 0.0, 0.0]), &[1.5, INF, -INF, NAN]));
        assert!(same(&of(Binary::Max, &[1.0, NAN, 1.0, -INF], &[2.0, 1.0, NAN, 0.0]), &[2.0, NAN, NAN, 0.0]));
        assert!(same(&of(Binary::Min, &[1.0, NAN, 1.0, -INF], &[2.0, 1.0, NAN, 0.0]), &[1.0, NAN, NAN, -INF]));
        let (a, b) = (&[7.0, -7.0, 7.0, -7.0, 6.0, -6.0, 5.5, 1.0, INF], &[3.0, 3.0, -3.0, -3.0, 3.0, 3.0, INF, 0.0, 1.0]);
        assert!(same(&of(Binary::Mod, a, b), &[1.0, 2.0, -2.0, -1.0, 0.0, -0.0, 5.5, NAN, NAN]));
        assert!(same(&of(Binary::Fmod, a, b), &[1.0, -1.0, 1.0, -1.0, 0.0, -0.0, 5.5, NAN, NAN]));
        assert!(same(&of(Binary::Less, &[1.0, 2.0, NAN, 1.0], &[2.0, 2.0, 1.0, NAN]), &[1.0, 0.0, 0.0, 0.0]));
        assert!(same(&of(Binary::LessOrEqual, &[3.0, 2.0, NAN, 1.0], &[2.0, 2.0, 1.0, NAN]), &[0.0, 1.0, 0.0, 0.0]));
        assert!(same(&of(Binary::Equal, &[1.0, 0.0, NAN, INF], &[2.0, -0.0, NAN, INF]), &[0.0, 1.0, 0.0, 1.0]));
        let (a, b) = (&[0.0, 0.0, 2.0, NAN], &[0.0, -3.0, 0.0, 0.5]);
        assert!(same(&of(Binary::And, a, b), &[0.0, 0.0, 0.0, 1.0]));
        assert!(same(&of(Binary::Or, a, b), &[0.0, 1.0, 1.0, 1.0]));
        assert!(same(&of(Binary::Xor, a, b), &[0.0, 1.0, 1.0, 0.0]));
        let mut y = [0.0; 4];
        select(&[0.0, 1.0, NAN, -0.0], &[1.0; 4], &[2.0; 4], &mut y);
        assert!(same(&y, &[2.0, 1.0, 1.0, 2.0]));
    }

    #[test]
    fn powers_are_the_librarys_whether_the_block_shares_an_exponent_or_not() {
        let bases = [-2.0, 0.0, -0.0, 3.0, 0.25, INF, -INF, NAN, 1.0, -1.0];
        for exponent in [0.0, 1.0, 2.0, 3.0, -1.0, 0.5, -0.5, -3.0, 2.5, INF, -INF] {
            let mut y = bases;
            binary(Binary::Pow, &bases, &[exponent; 10], &mut y);
            for (got, base) in y.iter().zip(bases) {
                let want = base.powf(exponent);
                let near = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan() || (got - want).abs() <= 1e-6 * want.abs();
                assert!(near, "{base}^{exponent} = {got}, not {want}");
            }
        }
        let mut y = [0.0; 4];
        binary(Binary::Pow, &[-2.0, -2.0, -2.0, 4.0], &[3.0, -2.0, 0.5, 1.5], &mut y);
        assert!(same(&y, &[-8.0, 0.25, NAN, 8.0]));
    }
}
