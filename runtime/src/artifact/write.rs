//! Writing: tensors laid out one after the other, the header in front, the preamble last.

use std::path::Path;

use super::preamble::{ALIGN, LEN, Preamble, VERSION};
use super::{Artifact, Dtype, FormatError, Model, Nested, Sections, TensorInfo, check, write_atomic};
use crate::error::{Error, Result};

/// A tensor on its way into a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorData {
    /// A name for tables and messages.
    pub name: String,
    /// The type in which it is stored.
    pub dtype: Dtype,
    /// Axis lengths, outermost first.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub values: Vec<f32>,
}

impl TensorData {
    /// A tensor that is stored as f32.
    pub fn f32(name: impl Into<String>, shape: &[usize], values: Vec<f32>) -> Self {
        Self { name: name.into(), dtype: Dtype::F32, shape: shape.to_vec(), values }
    }
}

impl Artifact {
    /// Lays out `tensors` behind `model`, whose own table of tensors is replaced, and checks the result as a reader
    /// would: what comes back is byte for byte what [`Artifact::save`] writes. A network that names no output gives what its
    /// last layer gives, called `output`.
    ///
    /// # Errors
    /// The first fault of the network, as a reader would report it.
    pub fn build(model: Model, tensors: Vec<TensorData>) -> Result<Self, FormatError> {
        Self::build_nested(model, tensors, Vec::new())
    }

    /// The same with what layers need for smaller ranks.
    ///
    /// # Errors
    /// As [`Artifact::build`].
    pub fn build_nested(model: Model, tensors: Vec<TensorData>, nested: Vec<Nested>) -> Result<Self, FormatError> {
        Self::build_with_sections(model, tensors, Sections { nested, ..Sections::default() })
    }

    /// The same with all that may stand behind the network.
    ///
    /// # Errors
    /// As [`Artifact::build`].
    pub fn build_with_sections(model: Model, tensors: Vec<TensorData>, sections: Sections) -> Result<Self, FormatError> {
        Self::build_with(model, tensors, sections, |_| ())
    }

    /// As [`Artifact::build`]; `change` may alter the header before it is encoded, so that tests can write lies.
    pub(super) fn build_with(
        mut model: Model,
        tensors: Vec<TensorData>,
        sections: Sections,
        change: impl FnOnce(&mut Model),
    ) -> Result<Self, FormatError> {
        let mut data = Vec::new();
        model.tensors = tensors.into_iter().enumerate().map(|(i, t)| lay_out(i, t, &mut data)).collect::<Result<_, _>>()?;
        // Faults of the layers are found when the result is checked.
        if let Some(last) = check::check_layers(&model).ok().and_then(|mut values| values.shapes.pop()) {
            model.complete(&last);
        }
        change(&mut model);
        let encoding = |e: postcard::Error| FormatError::Header { why: e.to_string() };
        let mut header = postcard::to_stdvec(&model).map_err(encoding)?;
        header.extend(postcard::to_stdvec(&sections.list()).map_err(encoding)?);
        let header_len = u32::try_from(header.len()).map_err(|_| FormatError::Header { why: "is longer than 4 GiB".into() })?;
        let preamble = Preamble { version: VERSION, header_len, data_len: data.len() as u64 };
        let mut file = Vec::with_capacity(preamble.data_start() as usize + data.len());
        file.resize(LEN, 0);
        file.extend(header);
        file.resize(preamble.data_start() as usize, 0);
        file.extend(data);
        preamble.seal(&mut file);
        Self::from_bytes(file)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        write_atomic(path, self.as_bytes()).map_err(Error::io(path))
    }
}

/// Appends a tensor's bytes to `data`, aligned, and describes it.
fn lay_out(index: usize, tensor: TensorData, data: &mut Vec<u8>) -> Result<TensorInfo, FormatError> {
    let fail = |why: String| FormatError::Tensor { index, tensor: tensor.name.clone(), why };
    if tensor.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(tensor.values.len()) {
        return Err(fail(format!("{} values do not fill shape {:?}", tensor.values.len(), tensor.shape)));
    }
    let shape = tensor.shape.iter().map(|&d| u32::try_from(d)).collect::<Result<_, _>>().map_err(|e| fail(e.to_string()))?;
    data.resize(data.len().next_multiple_of(ALIGN as usize), 0);
    let offset = data.len() as u64;
    match tensor.dtype {
        Dtype::F32 => data.extend(tensor.values.iter().flat_map(|x| x.to_le_bytes())),
        Dtype::F16 => data.extend(tensor.values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes())),
    }
    Ok(TensorInfo { name: tensor.name, dtype: tensor.dtype, shape, offset })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Activation, Layer, Op, Weight};
    use super::*;

    /// 6 → 4 dense, 4 → 3 at rank 2.
    pub(in super::super) fn sample() -> Model {
        let layer = |name: &str, input, weight, bias| Layer {
            name: name.into(),
            inputs: vec![input],
            op: Op::Linear { weight, bias, activation: Activation::Relu },
        };
        let low_rank = Weight::LowRank { v: 2, u: 3, sigma: 4, tail_energy: 0.5 };
        Model::new("sample", &[6], vec![layer("a", 0, Weight::Dense(0), Some(1)), layer("b", 1, low_rank, None)])
    }

    pub(in super::super) fn sample_tensors() -> Vec<TensorData> {
        let t = |name: &str, shape: &[usize]| TensorData::f32(name, shape, (0..shape.iter().product()).map(|i| i as f32).collect());
        vec![t("a.weight", &[4, 6]), t("a.bias", &[4]), t("b.v", &[2, 4]), t("b.u", &[2, 3]), t("b.sigma", &[2])]
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.thin");
        let built = Artifact::build(sample(), sample_tensors()).unwrap();
        built.save(&path).unwrap();
        let read = Artifact::open(&path).unwrap();
        assert_eq!(read.model(), built.model());
        assert_eq!(read.shapes(), [vec![6], vec![4], vec![3]]);
        for (i, t) in sample_tensors().into_iter().enumerate() {
            assert_eq!(read.tensor(i as u32), t.values);
            assert_eq!(read.model().tensors[i].offset % 64, 0);
        }
    }

    #[test]
    fn half_precision_is_stored_in_half_the_bytes() {
        let mut tensors = sample_tensors();
        tensors[0].dtype = Dtype::F16;
        let artifact = Artifact::build(sample(), tensors).unwrap();
        assert_eq!(artifact.tensor(0), sample_tensors()[0].values);
        assert_eq!(artifact.model().tensors[1].offset, 64);
    }

    #[test]
    fn truncated_grown_or_flipped_files_are_refused() {
        let bytes = Artifact::build(sample(), sample_tensors()).unwrap().as_bytes().to_vec();
        // All of them take Miri hours.
        let step = if cfg!(miri) { 97 } else { 1 };
        for len in (0..bytes.len()).step_by(step) {
            assert!(Artifact::from_bytes(bytes[..len].to_vec()).is_err(), "cut to {len}");
        }
        assert!(Artifact::from_bytes([&bytes[..], &[0]].concat()).is_err());
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Artifact::from_bytes(flipped).is_err(), "bit {bit}");
        }
    }
}
