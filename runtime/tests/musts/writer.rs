//! Files by the page alone: a preamble, a postcard header, padding and tensors. Of version 2 unless a case asks for version 1.

use thinfer::artifact::{
    Activation, Dtype, Input, Layer, Meaning, Model, Nested, Op, Output, Provenance, Residual, Section, TensorInfo, TensorSpec, Weight,
    Window, v1,
};

/// What a file is made of; everything may be a lie.
pub(crate) struct File {
    pub(crate) model: Model,
    pub(crate) sections: Vec<Section>,
    pub(crate) data: Vec<u8>,
    /// Stands in the header behind all else.
    pub(crate) behind: Vec<u8>,
}

pub(crate) const WINDOW: Window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4], dilation: [1, 1] };
pub(crate) const LOW_RANK: Weight = Weight::LowRank { v: 2, u: 3, sigma: 4, tail_energy: 0.0 };
pub(crate) const SPATIAL: Weight = Weight::Spatial { v: 5, u: 6, sigma: 4, tail_energy: 0.0 };
pub(crate) const TUCKER: Weight = Weight::Tucker2 { a: 7, core: 8, b: 9, tail_energy: 0.0 };
pub(crate) const AS_IS: Residual = Residual { stride: 1, offset: 0 };

/// The table: a 3×3 kernel from 4 to 6 channels in every form, then odd ones.
const SHAPES: [&[u32]; 20] = [
    &[6, 4, 3, 3],
    &[6],
    &[5, 4, 3, 3],
    &[5, 6],
    &[5],
    &[5, 4, 3],
    &[5, 6, 3],
    &[2, 4],
    &[3, 2, 3, 3],
    &[3, 6],
    &[6, 2, 3, 3],
    &[7, 4, 3, 3],
    &[7, 6],
    &[7],
    // 14: a table of three tokens, 15: a matrix from 252 features, 16 and 17: factors of a rank above both of its sides.
    &[6, 3],
    &[3, 252],
    &[4, 252],
    &[4, 3],
    // 18: of a GRU from 6 channels, 19: of an LSTM from 4.
    &[6, 2],
    &[4, 1],
];

impl File {
    /// The table above behind these layers over an image [4, 9, 7].
    pub(crate) fn new(layers: Vec<Layer>) -> Self {
        let mut data = Vec::new();
        let tensors = SHAPES
            .iter()
            .enumerate()
            .map(|(i, shape)| {
                data.resize(data.len().next_multiple_of(64), 0);
                let offset = data.len() as u64;
                data.extend((0..shape.iter().product::<u32>()).flat_map(|_| 0.5f32.to_le_bytes()));
                TensorInfo { name: format!("t{i}"), dtype: Dtype::F32, shape: shape.to_vec(), offset }
            })
            .collect();
        let value = layers.len() as u32;
        let model = Model {
            name: "hostile".into(),
            inputs: vec![Input::new(&[4, 9, 7])],
            outputs: vec![Output { spec: TensorSpec::new("output", &[6]), value, meaning: Meaning::Values }],
            classes: Vec::new(),
            layers,
            tensors,
            provenance: Provenance::default(),
        };
        Self { model, sections: Vec::new(), data, behind: Vec::new() }
    }

    /// The same with an output of this shape; else it is [6].
    pub(crate) fn giving(self, shape: &[u32]) -> Self {
        self.with(|f| f.model.outputs[0].spec = TensorSpec::new("output", shape))
    }

    /// One layer that reads the input.
    pub(crate) fn of_one(op: Op) -> Self {
        Self::new(vec![layer(&[0], op)])
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut header = postcard::to_stdvec(&self.model).unwrap();
        header.extend(postcard::to_stdvec(&self.sections).unwrap());
        self.file(2, header)
    }

    /// The same network as a file of version 1, with this list behind it.
    pub(crate) fn bytes_of_version_1(&self, nested: &[Nested]) -> Vec<u8> {
        let (model, input) = (self.model.clone(), &self.model.inputs[0]);
        let pixels = input.preprocess.clone();
        let old = v1::Model {
            name: model.name,
            input: input.value_shape.clone(),
            preprocess: v1::Preprocess { scale: pixels.scale, mean: pixels.mean, std: pixels.std },
            classes: model.classes,
            // Version 2 writes what version 1 had in the same way.
            layers: postcard::from_bytes(&postcard::to_stdvec(&model.layers).unwrap()).unwrap(),
            tensors: model.tensors,
            provenance: model.provenance,
        };
        let mut header = postcard::to_stdvec(&old).unwrap();
        if !nested.is_empty() {
            header.extend(postcard::to_stdvec(nested).unwrap());
        }
        self.file(1, header)
    }

    fn file(&self, version: u8, mut header: Vec<u8>) -> Vec<u8> {
        header.extend(&self.behind);
        let mut file = vec![0; 32];
        file[..6].copy_from_slice(&[b'T', b'H', b'I', b'N', version, 0]);
        file[8..12].copy_from_slice(&(header.len() as u32).to_le_bytes());
        file[16..24].copy_from_slice(&(self.data.len() as u64).to_le_bytes());
        file.extend(header);
        file.resize(file.len().next_multiple_of(64), 0);
        file.extend(&self.data);
        sealed(file)
    }
}

/// With the checksum that these bytes have.
pub(crate) fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    file[12..16].fill(0);
    let sum = crc32fast::hash(&file);
    file[12..16].copy_from_slice(&sum.to_le_bytes());
    file
}

/// A network of several layers that breaks no rule.
pub(crate) fn network() -> File {
    File::new(vec![
        layer(&[0], conv(Weight::Dense(0))),
        layer(&[1, 1], Op::Add { residual: AS_IS, activation: Activation::None }),
        layer(&[2], Op::GlobalAveragePool),
    ])
}

pub(crate) fn layer(inputs: &[u32], op: Op) -> Layer {
    Layer { name: "layer".into(), inputs: inputs.to_vec(), op }
}

/// 3×3 from 4 to 6 channels.
pub(crate) fn conv(weight: Weight) -> Op {
    Op::Conv { window: WINDOW, outputs: 6, groups: 1, weight, bias: Some(1), residual: None, activation: Activation::Relu }
}

/// The same by a window of its own.
pub(crate) fn moved(window: Window) -> Op {
    let Op::Conv { outputs, groups, weight, bias, residual, activation, .. } = conv(Weight::Dense(0)) else { panic!("a convolution") };
    Op::Conv { window, outputs, groups, weight, bias, residual, activation }
}
