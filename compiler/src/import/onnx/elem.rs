//! ONNX's element types: their numbers, how their elements lie in bytes, and what a value becomes in each.

/// An element type that is read. Text and complex numbers are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    F64,
    F32,
    F16,
    BF16,
    /// Small floats by their bits of exponent and mantissa; "Uz" has no negative zero and a NaN in its place.
    E4M3,
    E4M3Uz,
    E5M2,
    E5M2Uz,
    E2M3,
    E3M2,
    E2M1,
    /// Powers of two, without a sign.
    E8M0,
    I64,
    I32,
    I16,
    I8,
    I4,
    I2,
    U64,
    U32,
    U16,
    U8,
    U4,
    U2,
    Bool,
}

use Type::*;

/// What the largest codes of a small float mean.
#[derive(Clone, Copy, PartialEq)]
enum Top {
    /// Infinities and NaNs, as IEEE 754 has them.
    Infinite,
    /// The one code of all ones is NaN.
    OneNan,
    /// The code of negative zero is NaN.
    ZeroNan,
    /// Nothing: every code is a number.
    Finite,
}

/// A float with a sign: bits of the exponent and of the mantissa, and the exponent's bias.
struct Format(u32, u32, i32, Top);

impl Type {
    /// By ONNX's number (`TensorProto.DataType`).
    pub(super) fn of(code: i64) -> Option<Self> {
        Some(match code {
            1 => F32,
            2 => U8,
            3 => I8,
            4 => U16,
            5 => I16,
            6 => I32,
            7 => I64,
            9 => Bool,
            10 => F16,
            11 => F64,
            12 => U32,
            13 => U64,
            16 => BF16,
            17 => E4M3,
            18 => E4M3Uz,
            19 => E5M2,
            20 => E5M2Uz,
            21 => U4,
            22 => I4,
            23 => E2M1,
            24 => E8M0,
            25 => U2,
            26 => I2,
            27 => E2M3,
            28 => E3M2,
            _ => return None,
        })
    }

    /// ONNX's number of it.
    pub(super) fn number(self) -> i64 {
        (1..=28).find(|&code| Self::of(code) == Some(self)).unwrap_or(0)
    }

    /// As ONNX writes it in text.
    pub(super) fn name(self) -> &'static str {
        match self {
            F64 => "double",
            F32 => "float",
            F16 => "float16",
            BF16 => "bfloat16",
            E4M3 => "float8e4m3fn",
            E4M3Uz => "float8e4m3fnuz",
            E5M2 => "float8e5m2",
            E5M2Uz => "float8e5m2fnuz",
            E2M3 => "float6e2m3",
            E3M2 => "float6e3m2",
            E2M1 => "float4e2m1",
            E8M0 => "float8e8m0",
            I64 => "int64",
            I32 => "int32",
            I16 => "int16",
            I8 => "int8",
            I4 => "int4",
            I2 => "int2",
            U64 => "uint64",
            U32 => "uint32",
            U16 => "uint16",
            U8 => "uint8",
            U4 => "uint4",
            U2 => "uint2",
            Bool => "bool",
        }
    }

    /// Bits of an element in a file's raw data; those of less than a byte lie side by side, the first one lowest.
    pub(super) fn bits(self) -> usize {
        match self {
            F64 | I64 | U64 => 64,
            F32 | I32 | U32 => 32,
            F16 | BF16 | I16 | U16 => 16,
            E4M3 | E4M3Uz | E5M2 | E5M2Uz | E8M0 | I8 | U8 | Bool => 8,
            E2M3 | E3M2 => 6,
            E2M1 | I4 | U4 => 4,
            I2 | U2 => 2,
        }
    }

    /// Bytes of `len` elements in a file's raw data.
    pub(super) fn bytes(self, len: usize) -> Option<usize> {
        Some(len.checked_mul(self.bits())?.div_ceil(8))
    }

    pub(super) fn is_float(self) -> bool {
        !self.is_integer() && self != Bool
    }

    /// Whether elements are whole numbers; booleans are not.
    pub(super) fn is_integer(self) -> bool {
        matches!(self, I64 | I32 | I16 | I8 | I4 | I2 | U64 | U32 | U16 | U8 | U4 | U2)
    }

    /// Whether elements can be negative.
    pub(super) fn is_signed(self) -> bool {
        !matches!(self, U64 | U32 | U16 | U8 | U4 | U2 | Bool | E8M0)
    }

    /// The smallest and largest integer of the type.
    pub(super) fn range(self) -> (i128, i128) {
        match self {
            Bool => (0, 1),
            _ if self.is_signed() => (-(1 << (self.bits() - 1)), (1 << (self.bits() - 1)) - 1),
            _ => (0, (1 << self.bits()) - 1),
        }
    }

    /// What `value` is in an integer type, higher bits dropped; of uint64 the bits.
    pub(super) fn wrap(self, value: i128) -> i64 {
        match self {
            Bool => i64::from(value != 0),
            I64 | U64 => value as i64,
            _ if self.is_signed() => {
                let shift = 64 - self.bits();
                ((value as i64) << shift) >> shift
            }
            _ => (value as i64) & ((1 << self.bits()) - 1),
        }
    }

    /// The integer that an element stored as `bits` is.
    pub(super) fn widen(self, bits: i64) -> i128 {
        if self == U64 { i128::from(bits as u64) } else { i128::from(bits) }
    }

    fn format(self) -> Option<Format> {
        Some(match self {
            F16 => Format(5, 10, 15, Top::Infinite),
            BF16 => Format(8, 7, 127, Top::Infinite),
            E4M3 => Format(4, 3, 7, Top::OneNan),
            E4M3Uz => Format(4, 3, 8, Top::ZeroNan),
            E5M2 => Format(5, 2, 15, Top::Infinite),
            E5M2Uz => Format(5, 2, 16, Top::ZeroNan),
            E2M3 => Format(2, 3, 1, Top::Finite),
            E3M2 => Format(3, 2, 3, Top::Finite),
            E2M1 => Format(2, 1, 1, Top::Finite),
            _ => return None,
        })
    }

    /// The largest finite value of a float type.
    pub(super) fn largest(self) -> f64 {
        match self {
            F64 => f64::MAX,
            F32 => f64::from(f32::MAX),
            F16 => 65504.0,
            BF16 => f64::from(half::bf16::MAX.to_f32()),
            E4M3 => 448.0,
            E4M3Uz => 240.0,
            E5M2 | E5M2Uz => 57344.0,
            E2M3 => 7.5,
            E3M2 => 28.0,
            E2M1 => 6.0,
            _ => 2f64.powi(127),
        }
    }

    /// Whether the type has a NaN.
    pub(super) fn has_nan(self) -> bool {
        self.is_float() && !matches!(self, E2M3 | E3M2 | E2M1)
    }

    /// The value of a float type nearest to `x`, ties to even. Beyond the largest: that one if it is to `saturate`, else an
    /// infinity or, where there is none, NaN. Of E8M0 the power of two nearest to a positive `x`, ties upwards.
    pub(super) fn round(self, x: f64, saturate: bool) -> f64 {
        let Some(Format(_, mantissa, bias, top)) = self.format() else {
            return match self {
                F32 => f64::from(x as f32),
                E8M0 => power(x, saturate, Way::Nearest),
                _ => x,
            };
        };
        if x.is_nan() || (x == 0.0 && top != Top::ZeroNan) {
            return x;
        }
        let exponent = exponent_of(x).max(1 - bias);
        let quantum = 2f64.powi(exponent - mantissa as i32);
        let near = (x / quantum).round_ties_even() * quantum;
        if near.abs() <= self.largest() {
            return if near == 0.0 && top == Top::ZeroNan { 0.0 } else { near };
        }
        match top {
            _ if saturate => self.largest().copysign(x),
            Top::Infinite => f64::INFINITY.copysign(x),
            Top::OneNan | Top::ZeroNan => f64::NAN,
            Top::Finite => self.largest().copysign(x),
        }
    }

    /// The bits of element `i`, of a byte or less.
    pub(super) fn code(self, bytes: &[u8], i: usize) -> u32 {
        let at = i * self.bits();
        let byte = |i: usize| u32::from(bytes.get(i).copied().unwrap_or(0));
        ((byte(at / 8) | byte(at / 8 + 1) << 8) >> (at % 8)) & ((1 << self.bits()) - 1)
    }

    /// The float of these bits.
    pub(super) fn small_float(self, code: u32) -> f32 {
        let Some(Format(exponents, mantissa, bias, top)) = self.format() else {
            return if code == 0xff { f32::NAN } else { 2f64.powi(code as i32 - 127) as f32 };
        };
        let sign = 1u32 << (exponents + mantissa);
        let (ones, above) = ((1 << mantissa) - 1, (1 << exponents) - 1);
        let (low, exponent) = (code & ones, (code & (sign - 1)) >> mantissa);
        let share = f64::from(low) / f64::from(1u32 << mantissa);
        let size = match top {
            Top::ZeroNan if code == sign => f64::NAN,
            Top::Infinite if exponent == above => {
                if low == 0 {
                    f64::INFINITY
                } else {
                    f64::NAN
                }
            }
            Top::OneNan if exponent == above && low == ones => f64::NAN,
            _ if exponent == 0 => share * 2f64.powi(1 - bias),
            _ => (1.0 + share) * 2f64.powi(exponent as i32 - bias),
        };
        if code & sign != 0 { -size as f32 } else { size as f32 }
    }
}

/// How a value between two powers of two is rounded.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Way {
    Up,
    Down,
    Nearest,
}

/// The power of two of E8M0 that a positive `x` becomes.
pub(super) fn power(x: f64, saturate: bool, way: Way) -> f64 {
    let (low, high) = (2f64.powi(-127), 2f64.powi(127));
    if x.is_nan() || (!saturate && !(low..=high).contains(&x)) {
        return f64::NAN;
    }
    if x <= low || x >= high {
        return x.clamp(low, high);
    }
    let below = 2f64.powi(exponent_of(x));
    let up = x > below && (way == Way::Up || (way == Way::Nearest && x >= 1.5 * below));
    if up { 2.0 * below } else { below }
}

/// The exponent of the power of two at or below a finite |x|; far below every format's for zero.
fn exponent_of(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_small_code_is_rounded_to_itself() {
        for ty in [F16, BF16, E4M3, E4M3Uz, E5M2, E5M2Uz, E2M3, E3M2, E2M1, E8M0] {
            for code in 0..1u32 << ty.bits() {
                let x = f64::from(ty.small_float(code));
                let same = ty.round(x, false);
                assert!(same.to_bits() == x.to_bits() || (x.is_nan() && same.is_nan()), "{} {code}: {x} {same}", ty.name());
                assert!(x.is_nan() || x.is_infinite() || x.abs() <= ty.largest(), "{} {code}", ty.name());
            }
        }
        for code in (0..=u16::MAX).step_by(7) {
            let (f, b) = (half::f16::from_bits(code).to_f32(), half::bf16::from_bits(code).to_f32());
            assert!(f.is_nan() || f == F16.small_float(code.into()));
            assert!(b.is_nan() || b == BF16.small_float(code.into()));
        }
    }

    #[test]
    fn values_are_rounded_to_even_and_kept_within_bounds() {
        for x in [0.1, 1.0 + 1.0 / 2048.0, 65519.0, 65520.0, 6e-8, -2.9e-8, 1e9, f64::INFINITY] {
            assert_eq!(F16.round(x, false), f64::from(half::f16::from_f64(x).to_f32()), "{x}");
            assert_eq!(BF16.round(x, false), f64::from(half::bf16::from_f64(x).to_f32()), "{x}");
        }
        assert_eq!((E4M3.round(500.0, true), E4M3.round(17.0, true), E2M1.round(2.5, true)), (448.0, 16.0, 2.0));
        assert!(E4M3.round(500.0, false).is_nan() && E5M2.round(1e6, false).is_infinite() && E5M2Uz.round(1e6, false).is_nan());
        assert!(E4M3.round(-0.0, true).is_sign_negative() && E4M3Uz.round(-0.0, true).is_sign_positive());
        let ways = [Way::Up, Way::Down, Way::Nearest].map(|way| power(5.0, true, way));
        assert_eq!((ways, power(0.0, true, Way::Up), power(6.0, true, Way::Nearest)), ([8.0, 4.0, 4.0], 2f64.powi(-127), 8.0));
    }

    #[test]
    fn integers_wrap_as_twos_complement() {
        assert_eq!((I8.wrap(200), U8.wrap(-1), I4.wrap(9), U2.wrap(7), Bool.wrap(-3)), (-56, 255, -7, 3, 1));
        assert_eq!((U64.widen(U64.wrap(u64::MAX.into())), I64.wrap(1 << 63)), (u64::MAX.into(), i64::MIN));
        assert_eq!((I2.range(), U64.range().1, Bool.range()), ((-2, 1), u64::MAX.into(), (0, 1)));
    }
}
