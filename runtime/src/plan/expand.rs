//! From a layer and a form to primitive steps.

use super::layout::image;
use super::operand::LaidOut;
use super::{AttentionStep, ConvStep, Form, LayerNormStep, LinearStep, Matrix, PoolStep, RearrangeStep, RecurrentStep, StepKind};
use crate::artifact::{Activation, Artifact, Op, Recurrent, Residual, Stride, TensorId, Weight, Window, layer_macs};

/// A step before it has buffers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) kind: StepKind,
    /// Channels, height and width of the output.
    pub(super) shape: LaidOut,
    /// What it reads.
    pub(super) reads: Vec<From>,
}

/// What a step of a layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// An input of the layer, by its place.
    Layer(usize),
    /// The output of the step before.
    Previous,
}

/// A factored layer: all that the choice of its form depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Factored {
    /// Index of the layer in the model.
    pub layer: usize,
    /// Features or channels in.
    pub inputs: usize,
    /// Features or channels out.
    pub outputs: usize,
    /// Components: of the factor pair, or the output rank.
    pub rank: usize,
    /// Pixels of the output; 1 for a vector.
    pub pixels: usize,
    /// Multiply–accumulates for one sample of the dense form.
    pub dense_macs: u64,
    /// The same of the factored forms.
    pub thin_macs: u64,
    /// The step that two matrices are fused into; `None` where the scheme allows none.
    pub fused: Option<StepKind>,
}

/// Describes layer `index`; `None` where it is not stored as factors.
pub(super) fn factored(artifact: &Artifact, index: usize) -> Option<Factored> {
    let rank = artifact.model().layers[index].op.weight()?.rank(artifact)?;
    let (thin_macs, dense_macs) = layer_macs(artifact.model(), artifact.shapes(), index);
    let natural = |value: usize| image(&artifact.shapes()[value]);
    let (dense, thin) = (expand(artifact, &natural, index, Form::Dense), expand(artifact, &natural, index, Form::Fused));
    let (inputs, outputs) = match &dense.first()?.kind {
        StepKind::Linear(l) => (l.inputs, l.outputs),
        StepKind::Conv(c) => (c.inputs, c.outputs),
        StepKind::Recurrent(r) => (r.hidden, r.cell.gates() * r.hidden),
        _ => return None,
    };
    let has_second = |kind: &StepKind| match kind {
        StepKind::Linear(l) => l.second.is_some(),
        StepKind::Conv(c) => c.second.is_some(),
        _ => false,
    };
    let fused = thin.iter().map(|p| &p.kind).find(|k| has_second(k)).cloned();
    let [_, height, width] = dense.last()?.shape;
    Some(Factored { layer: index, inputs, outputs, rank, pixels: height * width, dense_macs, thin_macs, fused })
}

/// The steps of layer `index` in `form`; `laid_out` gives the shape of each value in its layout. A scheme without a fused
/// form becomes separate steps.
pub(super) fn expand(artifact: &Artifact, laid_out: &dyn Fn(usize) -> LaidOut, index: usize, form: Form) -> Vec<Part> {
    let layer = &artifact.model().layers[index];
    let (input, output) = (layer.inputs.first().map_or([0; 3], |&v| laid_out(v as usize)), laid_out(artifact.value_of(index)));
    let all = || (0..layer.inputs.len()).map(From::Layer).collect();
    let one = |kind| vec![Part { kind, shape: output, reads: all() }];
    match &layer.op {
        Op::Linear { weight, bias, activation } => {
            let inputs = input.iter().product();
            linear(artifact, weight, (inputs, output[0]), (*bias, *activation), form)
        }
        Op::Conv { window, groups, weight, bias, residual, activation, .. } => {
            let stages = conv(artifact, weight, *window, form);
            let last = stages.len() - 1;
            let mut shape = input;
            let mut parts = Vec::with_capacity(stages.len());
            for (i, Stage { window, matrix, second, rank, outputs }) in stages.into_iter().enumerate() {
                let before = shape[0];
                shape = [if i == last { output[0] } else { outputs }, window.output(0, shape[1]), window.output(1, shape[2])];
                let (bias, residual, activation) = if i == last { (*bias, *residual, *activation) } else { (None, None, Activation::None) };
                let groups = *groups as usize;
                let step = ConvStep { inputs: before, outputs: shape[0], window, groups, matrix, second, rank, bias, residual, activation };
                let mut reads = vec![if i == 0 { From::Layer(0) } else { From::Previous }];
                reads.extend(residual.map(|_| From::Layer(1)));
                parts.push(Part { kind: StepKind::Conv(step), shape, reads });
            }
            parts
        }
        Op::Pool { kind, window } => one(StepKind::Pool(PoolStep { kind: *kind, window: *window })),
        Op::GlobalAveragePool => one(StepKind::GlobalAveragePool),
        Op::Add { residual, activation } => one(StepKind::Add { residual: *residual, activation: *activation }),
        Op::Activate(activation) => one(StepKind::Activate(*activation)),
        // A kernel of one element for each channel.
        Op::Affine { scale, shift, activation } => one(StepKind::Conv(ConvStep {
            inputs: output[0],
            outputs: output[0],
            window: Window::POINT,
            groups: output[0],
            matrix: Matrix::Whole(Weight::Dense(*scale)),
            second: None,
            rank: 0,
            bias: Some(*shift),
            residual: None,
            activation: *activation,
        })),
        // The first value widened by channels of zeros, to which the second value is added.
        Op::Concat { activation } => {
            one(StepKind::Add { residual: Residual { stride: 1, offset: input[0] as u32 }, activation: *activation })
        }
        Op::Softmax { log } => one(StepKind::Softmax { log: *log }),
        Op::Rearrange { offset, steps, .. } => one(StepKind::Rearrange(RearrangeStep { offset: *offset, steps: steps.clone() })),
        Op::Multiply { activation } => one(StepKind::Multiply { activation: *activation }),
        Op::LayerNorm { scale, shift, eps } => one(StepKind::LayerNorm(LayerNormStep { scale: *scale, shift: *shift, eps: *eps })),
        Op::Attention { heads, scale } => {
            let (heads, inner) = (*heads as usize, output[0]);
            let first = if layer.inputs.len() == 1 { [0, inner, 2 * inner] } else { [0; 3] };
            let size = inner / heads.max(1);
            let step = StepKind::Attention(AttentionStep { heads, size, scale: *scale, first });
            attention(
                Part { kind: step, shape: [heads * size.next_multiple_of(4), output[1], output[2]], reads: all() },
                heads,
                size,
                output,
            )
        }
        Op::Embed { table } => one(StepKind::Embed(*table)),
        Op::Recurrent(layer) => one(StepKind::Recurrent(recurrent(artifact, layer, input, form))),
        // The draft makes their steps.
        Op::Constant { .. } | Op::Primitive(_) => Vec::new(),
    }
}

/// Heads are written padded to whole vec4s; where that leaves gaps, one more step closes them.
fn attention(attend: Part, heads: usize, size: usize, [channels, height, width]: LaidOut) -> Vec<Part> {
    let padded = size.next_multiple_of(4);
    if padded * heads == channels {
        return vec![attend];
    }
    let pixels = height * width;
    let step = |size: usize, stride: usize| Stride { size: size as u32, stride: stride as u32 };
    let steps = vec![step(heads, padded * pixels), step(size * pixels, 1)];
    let kind = StepKind::Rearrange(RearrangeStep { offset: 0, steps });
    vec![attend, Part { kind, shape: [channels, height, width], reads: vec![From::Previous] }]
}

fn linear(
    artifact: &Artifact,
    weight: &Weight,
    (inputs, outputs): (usize, usize),
    (bias, activation): (Option<TensorId>, Activation),
    form: Form,
) -> Vec<Part> {
    let whole = LinearStep { inputs, outputs, matrix: Matrix::Whole(weight.clone()), second: None, rank: 0, bias, activation };
    let part = |step: LinearStep, from| Part { shape: [step.outputs, 1, 1], kind: StepKind::Linear(step), reads: vec![from] };
    let input = From::Layer(0);
    match (form, weight) {
        (Form::Fused, &Weight::LowRank { v, u, .. }) => {
            let rank = weight.rank(artifact).unwrap_or(0);
            vec![part(LinearStep { matrix: Matrix::V(v), second: Some(Matrix::U(u)), rank, ..whole }, input)]
        }
        (Form::TwoStage, &Weight::LowRank { v, u, .. }) => {
            let rank = weight.rank(artifact).unwrap_or(0);
            let first = LinearStep { outputs: rank, matrix: Matrix::V(v), bias: None, activation: Activation::None, ..whole.clone() };
            vec![part(first, input), part(LinearStep { inputs: rank, matrix: Matrix::U(u), ..whole }, From::Previous)]
        }
        _ => vec![part(whole, input)],
    }
}

/// Both factors are multiplied by in one step whatever the form: the next step of a sequence needs what they give.
fn recurrent(artifact: &Artifact, layer: &Recurrent, [channels, steps, sequences]: LaidOut, form: Form) -> RecurrentStep {
    let &Recurrent { cell, reverse, states, bias, peepholes, initial, lengths, .. } = layer;
    let (matrix, second, rank) = match (form, &layer.weight) {
        (Form::TwoStage | Form::Fused, &Weight::LowRank { v, u, .. }) => {
            (Matrix::V(v), Some(Matrix::U(u)), layer.weight.rank(artifact).unwrap_or(0))
        }
        (_, weight) => (Matrix::Whole(weight.clone()), None, 0),
    };
    let (hidden, activations) = (channels / cell.gates(), layer.activations.clone());
    RecurrentStep { cell, hidden, steps, sequences, reverse, states, matrix, second, rank, bias, peepholes, initial, lengths, activations }
}

/// One of the convolutions that a factored one consists of.
struct Stage {
    window: Window,
    matrix: Matrix,
    second: Option<Matrix>,
    rank: usize,
    /// Channels out; the last stage's are the layer's.
    outputs: usize,
}

fn conv(artifact: &Artifact, weight: &Weight, window: Window, form: Form) -> Vec<Stage> {
    let stage = |window, matrix, outputs| Stage { window, matrix, second: None, rank: 0, outputs };
    let rank = weight.rank(artifact).unwrap_or(0);
    match (form, weight) {
        (Form::Dense, _) | (_, Weight::Dense(_)) => vec![stage(window, Matrix::Whole(weight.clone()), 0)],
        (Form::TwoStage, &Weight::LowRank { v, u, .. }) => {
            vec![stage(window, Matrix::V(v), rank), stage(Window::POINT, Matrix::U(u), 0)]
        }
        (Form::Fused, &Weight::LowRank { v, u, .. }) => {
            vec![Stage { second: Some(Matrix::U(u)), rank, ..stage(window, Matrix::V(v), 0) }]
        }
        (_, &Weight::Spatial { v, u, .. }) => {
            let Window { kernel: [height, width], stride: [down, right], padding: p, dilation: [dy, dx] } = window;
            let columns = Window { kernel: [height, 1], stride: [down, 1], padding: [p[0], 0, p[2], 0], dilation: [dy, 1] };
            let rows = Window { kernel: [1, width], stride: [1, right], padding: [0, p[1], 0, p[3]], dilation: [1, dx] };
            vec![stage(columns, Matrix::Columns(v), rank), stage(rows, Matrix::Rows(u), 0)]
        }
        (_, &Weight::Tucker2 { a, core, b, .. }) => {
            let first = stage(Window::POINT, Matrix::A(a), weight.input_rank(artifact).unwrap_or(0));
            if form == Form::Fused {
                vec![first, Stage { second: Some(Matrix::B(b)), rank, ..stage(window, Matrix::Core(core), 0) }]
            } else {
                vec![first, stage(window, Matrix::Core(core), rank), stage(Window::POINT, Matrix::B(b), 0)]
            }
        }
    }
}
