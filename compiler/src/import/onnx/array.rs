//! Constants: tensors of any element type as f32 or i64, from the file itself or from a file beside it.

use std::path::Path;

use super::external;
use super::proto::TensorProto;
use crate::import::float::Float;
use crate::tensor::count;

/// A constant, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

/// Elements: every float type as f32, integers and booleans as i64.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl Array {
    /// A vector of integers, as shapes are.
    pub(super) fn ints(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: Data::Ints(values) }
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Floats(v) => v.len(),
            Data::Ints(v) => v.len(),
        }
    }

    /// The elements as floats.
    pub(super) fn to_floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Floats(v) => v.clone(),
            Data::Ints(v) => v.iter().map(|&x| x as f32).collect(),
        }
    }

    /// The elements if they are integers.
    pub(super) fn as_ints(&self) -> Option<&[i64]> {
        if let Data::Ints(v) = &self.data { Some(v) } else { None }
    }

    /// The one element.
    pub(super) fn scalar(&self) -> Option<f32> {
        match &self.data {
            Data::Floats(v) if v.len() == 1 => Some(v[0]),
            Data::Ints(v) if v.len() == 1 => Some(v[0] as f32),
            _ => None,
        }
    }

    /// The same elements under another shape of as many.
    pub(super) fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self { shape, data: self.data.clone() }
    }

    /// Reads a tensor; `folder` is where the ONNX file lies.
    ///
    /// # Errors
    /// A phrase that says which claim of the tensor does not hold. Nothing is allocated beyond what the file holds.
    pub(super) fn read(tensor: &TensorProto, folder: &Path) -> Result<Self, String> {
        let shape = tensor.dims.iter().map(|&d| usize::try_from(d).map_err(|_| format!("has a dimension of {d}")));
        let shape: Vec<usize> = shape.collect::<Result<_, _>>()?;
        let len = count(&shape).ok_or_else(|| format!("has shape {shape:?}, more than can be counted"))?;
        let code = tensor.data_type.unwrap_or(0);
        let kind = Kind::of(code).ok_or_else(|| format!("has element type {code}, which is neither float nor integer"))?;
        let needed = len.checked_mul(kind.bytes()).ok_or_else(|| format!("has shape {shape:?}, more than can be counted"))?;
        let check = |bytes: usize| match bytes == needed {
            true => Ok(()),
            false => Err(format!("has {bytes} bytes, its shape {shape:?} needs {needed}")),
        };
        let data = if tensor.data_location == Some(1) {
            kind.decode(&external::read(&tensor.external_data, folder, needed)?)
        } else if let Some(raw) = &tensor.raw_data {
            check(raw.len())?;
            kind.decode(raw)
        } else {
            typed(tensor, kind)
        };
        let array = Self { shape, data };
        match array.len() == len {
            true => Ok(array),
            false => Err(format!("has {} elements, its shape {:?} needs {len}", array.len(), array.shape)),
        }
    }
}

/// Element types by ONNX's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Float(Float),
    /// Eight bits: exponent bits, mantissa bits, bias, and whether there are infinities (E5M2) or, of the "UZ" ones, no
    /// negative zero.
    F8 {
        mantissa: u32,
        bias: i32,
        infinities: bool,
        unsigned_zero: bool,
    },
    Int {
        bytes: usize,
        signed: bool,
    },
}

impl Kind {
    fn of(code: i32) -> Option<Self> {
        let int = |bytes, signed| Some(Self::Int { bytes, signed });
        let small = |mantissa, bias, infinities, unsigned_zero| Some(Self::F8 { mantissa, bias, infinities, unsigned_zero });
        match code {
            1 => Some(Self::Float(Float::F32)),
            2 | 9 => int(1, false),
            3 => int(1, true),
            4 => int(2, false),
            5 => int(2, true),
            6 => int(4, true),
            7 => int(8, true),
            10 => Some(Self::Float(Float::F16)),
            11 => Some(Self::Float(Float::F64)),
            12 => int(4, false),
            13 => int(8, false),
            16 => Some(Self::Float(Float::BF16)),
            17 => small(3, 7, false, false),
            18 => small(3, 8, false, true),
            19 => small(2, 15, true, false),
            20 => small(2, 16, false, true),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Float(float) => float.bytes(),
            Self::F8 { .. } => 1,
            Self::Int { bytes, .. } => bytes,
        }
    }

    fn decode(self, bytes: &[u8]) -> Data {
        match self {
            Self::Float(float) => Data::Floats(float.decode(bytes)),
            Self::F8 { .. } => Data::Floats(bytes.iter().map(|&b| self.small_float(b)).collect()),
            Self::Int { bytes: n, signed } => Data::Ints(bytes.chunks_exact(n).map(|b| wide(b, signed)).collect()),
        }
    }

    fn small_float(self, byte: u8) -> f32 {
        let Self::F8 { mantissa, bias, infinities, unsigned_zero } = self else { return f32::NAN };
        let sign = if byte & 0x80 != 0 { -1.0 } else { 1.0 };
        let (low, ones) = (u32::from(byte) & ((1 << mantissa) - 1), (1 << mantissa) - 1);
        let (exponent, top) = ((u32::from(byte) & 0x7f) >> mantissa, (1 << (7 - mantissa)) - 1);
        let share = low as f32 / (1 << mantissa) as f32;
        if unsigned_zero && byte == 0x80 {
            f32::NAN
        } else if infinities && exponent == top {
            if low == 0 { sign * f32::INFINITY } else { f32::NAN }
        } else if !infinities && !unsigned_zero && exponent == top && low == ones {
            f32::NAN
        } else if exponent == 0 {
            sign * share * 2f32.powi(1 - bias)
        } else {
            sign * (1.0 + share) * 2f32.powi(exponent as i32 - bias)
        }
    }
}

/// A little-endian integer of up to 8 bytes.
fn wide(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut full = [if negative { 0xff } else { 0 }; 8];
    full[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(full)
}

/// Elements from the field that holds those of this type.
fn typed(tensor: &TensorProto, kind: Kind) -> Data {
    let bits = |f: &dyn Fn(u16) -> f32| Data::Floats(tensor.int32_data.iter().map(|&x| f(x as u16)).collect());
    match kind {
        Kind::Float(Float::F32) => Data::Floats(tensor.float_data.clone()),
        Kind::Float(Float::F64) => Data::Floats(tensor.double_data.iter().map(|&x| x as f32).collect()),
        Kind::Float(Float::F16) => bits(&|x| half::f16::from_bits(x).to_f32()),
        Kind::Float(Float::BF16) => bits(&|x| half::bf16::from_bits(x).to_f32()),
        Kind::F8 { .. } => bits(&|x| kind.small_float(x as u8)),
        Kind::Int { bytes: 8, signed: true } => Data::Ints(tensor.int64_data.clone()),
        Kind::Int { bytes: 4 | 8, signed: false } => Data::Ints(tensor.uint64_data.iter().map(|&x| x as i64).collect()),
        Kind::Int { .. } => Data::Ints(tensor.int32_data.iter().map(|&x| i64::from(x)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: i32, dims: &[i64], raw: &[u8]) -> Result<Array, String> {
        let tensor =
            TensorProto { data_type: Some(code), dims: dims.to_vec(), raw_data: Some(raw.to_vec().into()), ..TensorProto::default() };
        Array::read(&tensor, Path::new("."))
    }

    #[test]
    fn every_type_is_read() {
        let floats = |code, raw: &[u8]| read(code, &[1], raw).unwrap().to_floats()[0];
        assert_eq!(floats(1, &1.5f32.to_le_bytes()), 1.5);
        assert_eq!(floats(11, &(-2.25f64).to_le_bytes()), -2.25);
        assert_eq!(floats(10, &half::f16::from_f32(0.75).to_le_bytes()), 0.75);
        assert_eq!(floats(16, &half::bf16::from_f32(-3.0).to_le_bytes()), -3.0);
        // E4M3: 0 1000 100 is 2·1.5; the largest is 448. E5M2: 0 10000 10 is 2·1.5. The UZ forms halve them.
        assert_eq!((floats(17, &[0x44]), floats(17, &[0x7e]), floats(18, &[0x44])), (3.0, 448.0, 1.5));
        assert_eq!((floats(19, &[0x42]), floats(20, &[0x42]), floats(19, &[0x7c])), (3.0, 1.5, f32::INFINITY));
        assert!(floats(17, &[0x7f]).is_nan() && floats(18, &[0x80]).is_nan() && floats(17, &[0x01]) == 2f32.powi(-9));
        let ints = |code, raw: &[u8]| read(code, &[1], raw).unwrap().as_ints().unwrap()[0];
        assert_eq!((ints(3, &[0xfe]), ints(2, &[0xfe]), ints(9, &[1])), (-2, 254, 1));
        assert_eq!((ints(6, &(-7i32).to_le_bytes()), ints(7, &i64::MIN.to_le_bytes())), (-7, i64::MIN));
    }

    #[test]
    fn typed_fields_are_read_too() {
        let tensor = TensorProto { data_type: Some(10), dims: vec![2], int32_data: vec![0x3c00, 0xc000], ..TensorProto::default() };
        assert_eq!(Array::read(&tensor, Path::new(".")).unwrap().data, Data::Floats(vec![1.0, -2.0]));
        let tensor = TensorProto { data_type: Some(1), dims: vec![], float_data: vec![4.0], ..TensorProto::default() };
        assert_eq!(Array::read(&tensor, Path::new(".")).unwrap().scalar(), Some(4.0));
    }

    #[test]
    fn claims_that_do_not_hold_are_refused() {
        let refused = |code, dims: &[i64], raw: &[u8]| read(code, dims, raw).unwrap_err();
        assert!(refused(1, &[2], &[0; 4]).contains("needs 8"));
        assert!(refused(1, &[1 << 30, 1], &[0; 4]).contains("needs 4294967296"));
        assert!(refused(1, &[1 << 62, 1 << 62], &[0; 4]).contains("more than can be counted"));
        assert!(refused(1, &[1 << 62], &[0; 4]).contains("more than can be counted"));
        assert!(refused(1, &[-1], &[0; 4]).contains("dimension of -1"));
        assert!(refused(8, &[1], &[0; 4]).contains("element type 8"));
        let tensor = TensorProto { data_type: Some(1), dims: vec![1 << 40], ..TensorProto::default() };
        assert!(Array::read(&tensor, Path::new(".")).unwrap_err().contains("has 0 elements"));
    }
}
