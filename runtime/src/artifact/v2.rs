//! Version 2 of the format: what the postcard header says, a [`Model`] and behind it a list of [`Section`]s. What version 1
//! said in the same way is taken from there; new are the arrays that the network takes and gives, as its source declared
//! them. Types, fields and variants keep their order; what is added later is a variant at an enum's end, a [`Section`] above
//! all, so that files written before stay readable. There int8 has its room, too: a [`Dtype`], and a section of scales.

mod activation;
mod fit;
mod op;
mod primitive;
mod recurrent;

use serde::{Deserialize, Serialize};

use super::bounded::bounded;
use super::v1;
pub use super::v1::{
    AccuracyNote, Dtype, LayerNote, Nested, PoolKind, Provenance, Residual, Stride, TensorId, TensorInfo, TimeNote, ValueId, Weight, Window,
};
pub use activation::Activation;
pub use fit::{Anchor, Filter, Fit, FitMethod};
pub use op::{Layer, Op};
pub use primitive::{
    Binary, Instruction, Lookup, Map, MatMul, Pick, PickAxis, Primitive, Reduce, ReduceKind, Resample, Run, SoftmaxOver, Unary, Walk,
};
pub use recurrent::{Cell, Recurrent};

/// A whole network: layers in execution order, each reading earlier values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The architecture's name (`fcn8`).
    pub name: String,
    /// The arrays that it takes: the first values.
    #[serde(deserialize_with = "bounded")]
    pub inputs: Vec<Input>,
    /// The arrays that it gives, in the order of its source.
    #[serde(deserialize_with = "bounded")]
    pub outputs: Vec<Output>,
    /// Class names by output index; may be empty.
    #[serde(deserialize_with = "bounded")]
    pub classes: Vec<String>,
    /// Layers in execution order.
    #[serde(deserialize_with = "bounded")]
    pub layers: Vec<Layer>,
    /// The tensors, in the order in which they stand in the file.
    #[serde(deserialize_with = "bounded")]
    pub tensors: Vec<TensorInfo>,
    /// Where the network came from and what is known of it.
    pub provenance: Provenance,
}

/// What stands behind the [`Model`], each kind at most once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Section {
    /// What layers need for smaller ranks.
    Nested(#[serde(deserialize_with = "bounded")] Vec<Nested>),
    /// Outputs that are inputs of the next run.
    State(#[serde(deserialize_with = "bounded")] Vec<State>),
    /// How layers are best run, as it was timed on devices.
    Tuned(#[serde(deserialize_with = "bounded")] Vec<Tuned>),
    /// How images of other sizes are brought to those of inputs.
    Fit(#[serde(deserialize_with = "bounded")] Vec<Fit>),
}

/// An output that is an input of the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Index into [`Model::outputs`].
    pub output: u32,
    /// Index into [`Model::inputs`]: an array of the same shape. Before the first run it is zeros.
    pub input: u32,
}

/// How layers are best run on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuned {
    /// The device, its driver and the version of the kernels, as the tool that timed them calls it.
    pub device: String,
    /// Samples a run.
    pub batch: u32,
    /// One for each layer, in their order.
    #[serde(deserialize_with = "bounded")]
    pub layers: Vec<TunedLayer>,
}

/// How a layer is best run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunedLayer {
    /// The form of its weight: `dense`, `two-stage` or `fused`.
    pub form: String,
    /// The kernel of each of its steps; empty where the runtime's own estimate is as good.
    #[serde(deserialize_with = "bounded")]
    pub kernels: Vec<String>,
}

/// An array that the network takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// As its source declared it.
    pub spec: TensorSpec,
    /// Shape of one sample as layers read it: [channels, height, width] of an image, [features], or up to 6 axes.
    pub value_shape: Vec<u32>,
    /// What its numbers are.
    pub kind: InputKind,
    /// How 8-bit pixels become them.
    pub preprocess: Preprocess,
}

/// What an input's numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputKind {
    /// Numbers of any meaning.
    #[default]
    Features,
    /// The pixels of an image of one channel (grey) or three (colours).
    Image,
}

/// An array that the network gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// As its source declared it.
    pub spec: TensorSpec,
    /// The value that it is.
    pub value: ValueId,
    /// What its numbers are.
    pub meaning: Meaning,
}

/// What an output's numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meaning {
    /// No scores of classes, or nothing is known of them.
    #[default]
    Values,
    /// Scores of classes whose softmax are probabilities.
    Logits,
    /// Probabilities of classes of which one is right: behind a softmax.
    Probabilities,
    /// Their logarithms.
    LogProbabilities,
    /// Probabilities of classes each for itself: behind a sigmoid.
    Independent,
}

/// Name, element type and shape of an array as a network's source declared them, and how its elements lie in the network's
/// own value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// As the source calls it.
    pub name: String,
    /// The declared type; values are f32 all the same.
    pub element: Element,
    /// Length of each axis, outermost first; 0 on the sample axis stands for any number.
    pub shape: Vec<u32>,
    /// The axis along which samples stand; `None` for an array that has none: it is the same for all samples of a run.
    pub sample_axis: Option<u32>,
    /// Where elements of one sample lie: element n, counted along the declared axes without the sample axis, the last one
    /// fastest, is element Σ iₖ · strideₖ of the network's value, n counting the steps' indices iₖ in the same way. Empty
    /// where both count alike.
    #[serde(deserialize_with = "bounded")]
    pub order: Vec<Stride>,
}

/// Element type of a declared array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Element {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary64.
    F64,
    /// The upper half of a binary32.
    Bf16,
    /// 0 or 1.
    Bool,
    /// 8 bits without sign.
    U8,
    /// 8 bits.
    I8,
    /// 16 bits without sign.
    U16,
    /// 16 bits.
    I16,
    /// 32 bits without sign.
    U32,
    /// 32 bits.
    I32,
    /// 64 bits without sign.
    U64,
    /// 64 bits.
    I64,
}

/// How 8-bit images, whose colours come as red, green, blue, become inputs: x = (pixel · scale − mean[c]) / std[c] for each
/// channel c of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Multiplies the pixel first; 1/255 for the usual range 0…1.
    pub scale: f32,
    /// Subtracted from each channel; empty for none, one value for all channels, or one a channel.
    pub mean: Vec<f32>,
    /// Divides each channel; empty for none, one value for all channels, or one a channel.
    pub std: Vec<f32>,
    /// Which colours the network's channels are; older checkpoints do not say it.
    #[serde(default)]
    pub channels: Channels,
}

/// The order in which a network takes the three channels of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// Red, green, blue; also of images of one channel.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl Preprocess {
    /// Numbers as they are: of an input that is no image.
    pub fn none() -> Self {
        Self { scale: 1.0, mean: Vec::new(), std: Vec::new(), channels: Channels::Rgb }
    }
}

impl Default for Preprocess {
    /// Pixels to 0…1, nothing else.
    fn default() -> Self {
        v1::Preprocess::default().into()
    }
}

impl From<v1::Preprocess> for Preprocess {
    fn from(old: v1::Preprocess) -> Self {
        let v1::Preprocess { scale, mean, std } = old;
        Self { scale, mean, std, channels: Channels::Rgb }
    }
}

impl From<v1::Model> for Model {
    /// What version 1 meant: `input` and `output`, samples along the first axis, images channels first and RGB. The output
    /// is left out, as its shape follows from the layers: `Model::complete` puts it in.
    fn from(old: v1::Model) -> Self {
        let v1::Model { name, input, preprocess, classes, layers, tensors, provenance } = old;
        let input = Input { preprocess: preprocess.into(), ..Input::new(&input) };
        let layers = layers.into_iter().map(Into::into).collect();
        Self { name, inputs: vec![input], outputs: Vec::new(), classes, layers, tensors, provenance }
    }
}
