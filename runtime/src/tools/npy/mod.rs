//! Numpy's .npy files: a strict reader of plain little-endian arrays in C order, and a writer.

mod header;

use half::f16;
use header::Header;

use crate::Array;

const MAGIC: &[u8] = b"\x93NUMPY";

/// An array.
#[derive(Clone, Debug, PartialEq)]
pub struct Npy {
    /// Length of each axis; empty for a single value.
    pub shape: Vec<usize>,
    /// The elements in C order (last axis fastest), as many as the product of `shape`.
    pub data: NpyData,
}

/// Elements, each kind of file widened or narrowed to one of three.
#[derive(Clone, Debug, PartialEq)]
pub enum NpyData {
    /// From `u1`, and from `b1` as 0 and 1.
    U8(Vec<u8>),
    /// From `f2`, `f4` and `f8`, the last rounded to nearest.
    F32(Vec<f32>),
    /// From `i1`, `i2`, `i4`, `i8`, `u2`, `u4` and `u8`.
    I64(Vec<i64>),
}

/// Reads a whole .npy file, format 1 to 3. Nothing of the array's size is allocated before that size was found to be
/// the file's own.
///
/// # Errors
/// One phrase: no .npy file, a malformed header, an element type or order not read here, a length that is not what the
/// shape asks for, a number beyond `f32` (from `f8`) or `i64` (from `u8`), a truth value other than 0 and 1.
pub fn parse(bytes: &[u8]) -> Result<Npy, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("no .npy file (it does not start with \\x93NUMPY)")?;
    let (header_len, rest) = match *rest {
        [1, 0, a, b, ref rest @ ..] => (u32::from(u16::from_le_bytes([a, b])), rest),
        [2 | 3, 0, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]), rest),
        [1..=3, 0, ..] | [] | [_] => return Err("the file ends within its header".into()),
        [major, minor, ..] => return Err(format!("format {major}.{minor} is not known (1.0 to 3.0 are)")),
    };
    let header_len = usize::try_from(header_len).map_err(|_| "the header is too long")?;
    let (header, body) = rest.split_at_checked(header_len).ok_or("the file ends within its header")?;
    let Header { descr, fortran, shape } = Header::parse(header)?;
    if fortran && shape.len() > 1 {
        return Err("fortran_order is not supported (save numpy.ascontiguousarray of it)".into());
    }
    let kind = element(descr)?;
    let wanted = shape.iter().try_fold(kind.size(), |n, &axis| n.checked_mul(axis)).ok_or("the shape overflows")?;
    if wanted != body.len() {
        return Err(format!("shape {shape:?} of {}-byte elements takes {wanted} bytes, the file has {}", kind.size(), body.len()));
    }
    Ok(Npy { shape, data: kind.read(body)? })
}

/// The .npy file (format 1.0) of an array of at most 64 axes, as `|u1`, `<f4` or `<i8`; the elements start at a multiple
/// of 64 bytes. `shape` is written as it is, whether or not the data fit it.
pub fn write(npy: &Npy) -> Vec<u8> {
    match &npy.data {
        NpyData::U8(v) => file("|u1", &npy.shape, v),
        NpyData::F32(v) => file("<f4", &npy.shape, &bytes(v, |x| x.to_le_bytes())),
        NpyData::I64(v) => file("<i8", &npy.shape, &bytes(v, |x| x.to_le_bytes())),
    }
}

/// The same of an array of any type, of `shape`. Numpy has no bfloat16: such an array is written as f32, which holds all its numbers.
pub fn write_array(shape: &[usize], array: &Array) -> Vec<u8> {
    match array {
        Array::F32(v) => file("<f4", shape, &bytes(v, |x| x.to_le_bytes())),
        Array::F64(v) => file("<f8", shape, &bytes(v, |x| x.to_le_bytes())),
        Array::F16(v) => file("<f2", shape, &bytes(v, |x| x.to_le_bytes())),
        Array::Bf16(v) => file("<f4", shape, &bytes(v, |x| x.to_f32().to_le_bytes())),
        Array::Bool(v) => file("|b1", shape, &bytes(v, |x| [u8::from(x)])),
        Array::U8(v) => file("|u1", shape, v),
        Array::I8(v) => file("|i1", shape, &bytes(v, |x| x.to_le_bytes())),
        Array::U16(v) => file("<u2", shape, &bytes(v, |x| x.to_le_bytes())),
        Array::I16(v) => file("<i2", shape, &bytes(v, |x| x.to_le_bytes())),
        Array::U32(v) => file("<u4", shape, &bytes(v, |x| x.to_le_bytes())),
        Array::I32(v) => file("<i4", shape, &bytes(v, |x| x.to_le_bytes())),
        Array::U64(v) => file("<u8", shape, &bytes(v, |x| x.to_le_bytes())),
        Array::I64(v) => file("<i8", shape, &bytes(v, |x| x.to_le_bytes())),
    }
}

fn bytes<T: Copy, const N: usize>(values: &[T], of: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&x| of(x)).collect()
}

/// A file of elements of type `descr`, whose bytes are `body`.
fn file(descr: &str, shape: &[usize], body: &[u8]) -> Vec<u8> {
    let axes: String = shape.iter().map(|n| format!("{n}, ")).collect();
    // Python's tuple of one needs its comma, the others look better without.
    let axes = if shape.len() == 1 { axes.trim_end() } else { axes.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}");
    let before = MAGIC.len() + 4;
    let padded = (before + header.len() + 1).next_multiple_of(64) - before;
    header.extend(std::iter::repeat_n(' ', padded - 1 - header.len()));
    header.push('\n');
    let len = u16::try_from(padded).unwrap_or(u16::MAX).to_le_bytes();
    [MAGIC, &[1, 0], &len, header.as_bytes(), body].concat()
}

#[derive(Clone, Copy)]
enum Element {
    Bool,
    F(usize),
    I(usize),
    U(usize),
}

fn element(descr: &[u8]) -> Result<Element, String> {
    let shown = || format!("{:?}", String::from_utf8_lossy(&descr[..descr.len().min(24)]));
    match descr {
        b"|b1" => Ok(Element::Bool),
        b"|u1" | b"<u1" => Ok(Element::U(1)),
        b"|i1" | b"<i1" => Ok(Element::I(1)),
        [b'<', kind, size @ (b'2' | b'4' | b'8')] if b"fiu".contains(kind) => {
            let size = usize::from(size - b'0');
            Ok(match kind {
                b'f' => Element::F(size),
                b'i' => Element::I(size),
                _ => Element::U(size),
            })
        }
        [b'>', ..] => Err(format!("element type {} is big-endian, which is not supported (save it as little-endian)", shown())),
        _ => {
            Err(format!("element type {} is not supported (b1, u1, i1 and little-endian f2, f4, f8, u2, i2, u4, i4, u8, i8 are)", shown()))
        }
    }
}

impl Element {
    fn size(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::F(n) | Self::I(n) | Self::U(n) => n,
        }
    }

    fn read(self, body: &[u8]) -> Result<NpyData, String> {
        Ok(match self {
            Self::Bool if body.iter().any(|&b| b > 1) => return Err("a truth value is neither 0 nor 1".into()),
            Self::Bool | Self::U(1) => NpyData::U8(body.to_vec()),
            Self::F(2) => NpyData::F32(each(body, |b| f16::from_le_bytes(b).to_f32())),
            Self::F(4) => NpyData::F32(each(body, f32::from_le_bytes)),
            Self::F(_) => {
                let narrowed = each(body, |b| {
                    let wide = f64::from_le_bytes(b);
                    // Infinities and NaN stay themselves; a finite number must not become one of them unseen.
                    ((wide as f32).is_finite() || !wide.is_finite()).then_some(wide as f32)
                });
                NpyData::F32(narrowed.into_iter().collect::<Option<_>>().ok_or("a value is too large for f32")?)
            }
            Self::I(1) => NpyData::I64(each(body, |b| i8::from_le_bytes(b).into())),
            Self::I(2) => NpyData::I64(each(body, |b| i16::from_le_bytes(b).into())),
            Self::I(4) => NpyData::I64(each(body, |b| i32::from_le_bytes(b).into())),
            Self::I(_) => NpyData::I64(each(body, i64::from_le_bytes)),
            Self::U(2) => NpyData::I64(each(body, |b| u16::from_le_bytes(b).into())),
            Self::U(4) => NpyData::I64(each(body, |b| u32::from_le_bytes(b).into())),
            Self::U(_) => {
                let signed = each(body, |b| i64::try_from(u64::from_le_bytes(b)).ok());
                NpyData::I64(signed.into_iter().collect::<Option<_>>().ok_or("a value is too large for i64")?)
            }
        })
    }
}

fn each<const N: usize, T>(body: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    body.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok()).map(from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(descr: &str, order: &str, shape: &str, body: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
        [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), body].concat()
    }

    #[test]
    fn what_numpy_writes_is_read_and_written_alike() {
        // By the specification of the format, what numpy.save makes of numpy.array([[1, 2, 3]], numpy.float32).
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }".to_vec();
        bytes.resize(127, b' ');
        bytes.extend(b"\n\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40");
        let npy = Npy { shape: vec![1, 3], data: NpyData::F32(vec![1.0, 2.0, 3.0]) };
        assert_eq!(parse(&bytes), Ok(npy.clone()));
        assert_eq!(write(&npy), bytes);
    }

    #[test]
    fn arrays_of_every_type_are_read_again() {
        let floats = [
            Array::F32(vec![0.5, -2.0]),
            Array::F64(vec![0.5, -2.0]),
            Array::F16([0.5, -2.0].map(f16::from_f32).to_vec()),
            Array::Bf16([0.5, -2.0].map(half::bf16::from_f32).to_vec()),
        ];
        for array in floats {
            let npy = Npy { shape: vec![2, 1], data: NpyData::F32(vec![0.5, -2.0]) };
            assert_eq!(parse(&write_array(&[2, 1], &array)), Ok(npy), "{array:?}");
        }
        let whole = [
            Array::I8(vec![7]),
            Array::I16(vec![7]),
            Array::I32(vec![7]),
            Array::I64(vec![7]),
            Array::U16(vec![7]),
            Array::U32(vec![7]),
            Array::U64(vec![7]),
        ];
        for array in whole {
            assert_eq!(parse(&write_array(&[], &array)).unwrap().data, NpyData::I64(vec![7]), "{array:?}");
        }
        for array in [Array::Bool(vec![true]), Array::U8(vec![1])] {
            assert_eq!(parse(&write_array(&[1], &array)).unwrap().data, NpyData::U8(vec![1]), "{array:?}");
        }
    }

    #[test]
    fn every_type_finds_its_kind() {
        let ints = |descr: &str, body: &[u8]| parse(&file(descr, "True", "(1,)", body)).map(|n| n.data);
        for (descr, n) in [("'|i1'", 1), ("'<i2'", 2), ("'<i4'", 4), ("\"<i8\"", 8)] {
            assert_eq!(ints(descr, &[255; 8][..n]), Ok(NpyData::I64(vec![-1])), "{descr}");
        }
        assert_eq!(ints("'<u2'", &[255; 2]), Ok(NpyData::I64(vec![65535])));
        assert_eq!(ints("'<u4'", &[255; 4]), Ok(NpyData::I64(vec![u32::MAX.into()])));
        assert_eq!(ints("'<u8'", &7u64.to_le_bytes()), Ok(NpyData::I64(vec![7])));
        assert_eq!(ints("'|b1'", &[1]), Ok(NpyData::U8(vec![1])));
        assert_eq!(ints("'<f2'", &f16::from_f32(0.5).to_le_bytes()), Ok(NpyData::F32(vec![0.5])));
        assert_eq!(ints("'<f8'", &0.1f64.to_le_bytes()), Ok(NpyData::F32(vec![0.1])));
        assert_eq!(ints("'<f8'", &f64::INFINITY.to_le_bytes()), Ok(NpyData::F32(vec![f32::INFINITY])));
        assert_eq!(parse(&file("'|u1'", "False", "()", &[9])), Ok(Npy { shape: vec![], data: NpyData::U8(vec![9]) }));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let huge = format!("({},)", usize::MAX);
        let many = format!("({})", "1, ".repeat(65));
        for (descr, order, shape, body, why) in [
            ("'>f4'", "False", "(1,)", &[0u8; 4][..], "big-endian"),
            ("'|O'", "False", "(1,)", &[0; 4], "not supported"),
            ("'<c8'", "False", "(1,)", &[0; 8], "not supported"),
            ("[('a', '<f4')]", "False", "(1,)", &[0; 4], "structured"),
            ("'<f4'", "True", "(1, 1)", &[0; 4], "fortran_order"),
            ("'<f4'", "0", "(1, 1)", &[0; 4], "fortran_order"),
            ("'<f4'", "False", "(2,)", &[0; 4], "takes 8 bytes"),
            ("'<f4'", "False", "(1,)", &[0; 5], "has 5"),
            ("'<f4'", "False", &huge, &[0; 4], "overflows"),
            ("'|u1'", "False", &huge, &[0; 4], "takes"),
            ("'|u1'", "False", &many, &[0; 1], "64 axes"),
            ("'|u1'", "False", "(99999999999999999999999,)", &[0; 1], "no length"),
            ("'|u1'", "False", "(-1,)", &[0; 1], "no length"),
            ("'|u1'", "False", "(1)", &[0; 1], "no tuple"),
            ("'|u1'", "False", "(1,), 'shape': (1,)", &[0; 1], "twice"),
            ("'|u1'", "False", "(1,), 'more': 1", &[0; 1], "other than"),
            ("'|u1'", "False", "(1,)} {", &[0; 1], "goes on"),
            ("'|u1", "False", "(1,)", &[0; 1], "lacks"),
            ("'<u8'", "False", "(1,)", &[255; 8], "i64"),
            ("'<f8'", "False", "(1,)", &1e300f64.to_le_bytes(), "f32"),
            ("'|b1'", "False", "(1,)", &[2], "truth"),
        ] {
            let said = parse(&file(descr, order, shape, body)).expect_err(why);
            assert!(said.contains(why) && !said.contains('\n'), "{descr} {order} {shape}: {said}");
        }
        assert!(parse(b"PK").is_err_and(|e| e.contains("NUMPY")));
        assert!(parse(b"\x93NUMPY\x04\x00abcd").is_err_and(|e| e.contains("4.0")));
        assert!(parse(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}").is_err_and(|e| e.contains("ends within")));
        assert!(parse(b"\x93NUMPY\x01\x00\x02\x00{}").is_err_and(|e| e.contains("descr")));
    }

    fn arrays() -> impl Strategy<Value = Npy> {
        prop::collection::vec(0usize..5, 0..4).prop_flat_map(|shape| {
            let n: usize = shape.iter().product();
            let data = prop_oneof![
                prop::collection::vec(any::<u8>(), n).prop_map(NpyData::U8),
                prop::collection::vec(-1e30f32..1e30, n).prop_map(NpyData::F32),
                prop::collection::vec(any::<i64>(), n).prop_map(NpyData::I64),
            ];
            data.prop_map(move |data| Npy { shape: shape.clone(), data })
        })
    }

    proptest! {
        #[test]
        fn a_round_trip_changes_nothing(npy in arrays()) {
            let bytes = write(&npy);
            prop_assert_eq!(parse(&bytes), Ok(npy));
        }

        #[test]
        fn no_bytes_make_it_panic(version in 0u8..5, tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&tail);
            let _ = parse(&[MAGIC, &[version, 0], &tail].concat());
        }

        #[test]
        fn no_mutation_makes_it_panic(npy in arrays(), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
            let mut bytes = write(&npy);
            let i = at.index(bytes.len().min(80));
            bytes[i] = byte;
            let _ = parse(&bytes);
            let _ = parse(&bytes[..cut.index(bytes.len())]);
        }
    }
}
