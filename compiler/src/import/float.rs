//! Float types of stored tensors.

/// A float of 16 bits or more, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float {
    F16,
    BF16,
    F32,
    F64,
}

impl Float {
    /// Bytes of an element.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The element at `index`, which lies in `bytes`; else NaN.
    pub(super) fn at(self, bytes: &[u8], index: usize) -> f32 {
        fn one<const N: usize>(bytes: &[u8], index: usize, f: impl Fn([u8; N]) -> f32) -> f32 {
            bytes.as_chunks::<N>().0.get(index).map_or(f32::NAN, |&b| f(b))
        }
        match self {
            Self::F32 => one(bytes, index, f32::from_le_bytes),
            Self::F64 => one(bytes, index, |b| f64::from_le_bytes(b) as f32),
            Self::F16 => one(bytes, index, |b| half::f16::from_le_bytes(b).to_f32()),
            Self::BF16 => one(bytes, index, |b| half::bf16::from_le_bytes(b).to_f32()),
        }
    }

    /// The elements as f32; bytes that make no whole element are left out.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|&b| f(b)).collect()
        }
        match self {
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F16 => each(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
            Self::BF16 => each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_by_their_type() {
        assert_eq!(Float::F16.decode(&half::f16::from_f32(0.75).to_le_bytes()), [0.75]);
        assert_eq!(Float::BF16.decode(&half::bf16::from_f32(-3.0).to_le_bytes()), [-3.0]);
        assert_eq!(Float::F64.decode(&[(-2.25f64).to_le_bytes(), 1e300f64.to_le_bytes()].concat()), [-2.25, f32::INFINITY]);
        assert_eq!(Float::F32.decode(&[0, 0, 0x80, 0x3f, 7]), [1.0]);
        for float in [Float::F16, Float::BF16, Float::F32, Float::F64] {
            let bytes: Vec<u8> = (0..48).collect();
            for (at, value) in float.decode(&bytes).into_iter().enumerate() {
                assert_eq!(float.at(&bytes, at), value);
            }
            assert!(float.at(&bytes, 48).is_nan());
        }
    }
}
