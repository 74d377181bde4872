//! Networks of primitives drawn by key: walks that transpose, slice, repeat and go backwards, images among plain values, and constants.
//! Knows no executor.

use super::cases::Draw;
use super::expression_cases::expression;
use crate::artifact::{
    Artifact, Input, InputKind, Layer, Lookup, Map, MatMul, Meaning, Model, Op, Output, Pick, PickAxis, PoolKind, Primitive, Reduce,
    ReduceKind, Resample, Run, SoftmaxOver, TensorData, TensorSpec, Walk, Window,
};

const SIZES: &[usize] = &[1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 33, 64, 70];
/// The most elements of a drawn value.
const MOST: usize = 6000;

/// A network with what is given to it.
#[derive(Debug)]
pub(crate) struct PrimitiveCase {
    pub(crate) key: u64,
    pub(crate) artifact: Artifact,
    pub(crate) batch: usize,
    /// Samples of each input.
    pub(crate) inputs: Vec<Vec<f32>>,
}

/// What is known of a value of the network.
#[derive(Clone, Debug)]
struct Known {
    shape: Vec<usize>,
    /// The largest magnitude.
    bound: f32,
    /// Whether its elements are multiples of a quarter that no operation rounds.
    exact: bool,
    constant: bool,
}

impl Known {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A view of a value: the lengths of its axes and the walk over them.
#[derive(Clone)]
struct View {
    sizes: Vec<u32>,
    walk: Walk,
}

impl PrimitiveCase {
    /// Case `key`: one to five layers.
    pub(crate) fn draw(key: u64) -> Self {
        // Keys one apart would give sequences that are one number apart.
        let mut draw = Draw::new(Draw::new(key).next());
        let count = 1 + draw.below(2);
        let inputs: Vec<Known> =
            (0..count).map(|_| Known { shape: shape(&mut draw, MOST), bound: 2.0, exact: true, constant: false }).collect();
        let mut net = Net { draw, count, values: inputs, layers: Vec::new(), tensors: Vec::new() };
        for _ in 0..1 + net.draw.below(4) {
            net.layer();
        }
        if net.draw.below(8) == 0 {
            net.lookup(true);
        } else {
            // What a pool makes of NaN is the device's.
            net.image();
        }
        let batch = net.draw.pick(&[1, 1, 2, 3, 5]);
        let rows = 1 + net.draw.below(batch);
        let inputs = net.values[..count].iter().map(Known::len).collect::<Vec<_>>();
        let inputs = inputs.iter().map(|n| quarters(&mut net.draw, rows * n, 2.0)).collect();
        Self { key, artifact: net.build(), batch, inputs }
    }
}

/// Multiples of a quarter up to `bound`.
fn quarters(draw: &mut Draw, n: usize, bound: f32) -> Vec<f32> {
    let steps = (bound * 4.0) as usize;
    (0..n).map(|_| (draw.below(2 * steps + 1) as f32 - steps as f32) / 4.0).collect()
}

/// One to four axes, three of which make an image.
fn shape(draw: &mut Draw, most: usize) -> Vec<usize> {
    let axes = draw.pick(&[1, 2, 3, 3, 3, 4]);
    let mut left = most;
    let mut shape: Vec<usize> = (0..axes).map(|_| draw.pick(SIZES)).collect();
    for size in &mut shape {
        *size = (*size).min(left);
        left /= *size;
    }
    shape
}

struct Net {
    draw: Draw,
    /// Inputs of the network.
    count: usize,
    values: Vec<Known>,
    layers: Vec<Layer>,
    tensors: Vec<TensorData>,
}

impl Net {
    fn push(&mut self, inputs: &[usize], op: Op, known: Known) -> usize {
        let inputs = inputs.iter().map(|&v| v as u32).collect();
        self.layers.push(Layer { name: format!("layers.{}", self.layers.len()), inputs, op });
        self.values.push(known);
        self.values.len() - 1
    }

    fn primitive(&mut self, inputs: &[usize], primitive: Primitive, bound: f32, exact: bool) -> usize {
        let shapes: Vec<&[usize]> = inputs.iter().map(|&v| &self.values[v].shape[..]).collect();
        let shape = primitive.output_shape(&shapes).unwrap_or_else(|e| panic!("{primitive:?} of {shapes:?}: {e}"));
        let shape = shape.iter().map(|&d| d as usize).collect();
        self.push(inputs, Op::Primitive(primitive), Known { shape, bound, exact, constant: false })
    }

    fn constant(&mut self, shape: &[usize], values: Vec<f32>) -> usize {
        let tensor = self.tensors.len() as u32;
        let bound = values.iter().fold(0f32, |m, x| m.max(x.abs()));
        self.tensors.push(TensorData::f32(format!("tensors.{tensor}"), shape, values));
        self.push(&[], Op::Constant { tensor }, Known { shape: shape.to_vec(), bound, exact: true, constant: true })
    }

    /// The last value most often, or any other.
    fn any(&mut self) -> usize {
        let last = self.values.len() - 1;
        if self.draw.below(3) > 0 && !self.values[last].constant { last } else { self.draw.below(last + 1) }
    }

    /// A value that differs from sample to sample.
    fn computed(&mut self) -> usize {
        let from = self.any();
        if self.values[from].constant { 0 } else { from }
    }

    fn layer(&mut self) {
        match self.draw.below(12) {
            0 => self.image(),
            1..=3 => self.map(),
            4 | 5 => self.reduce(),
            6 => self.softmax(),
            7 => self.matmul(),
            8 => self.pick(),
            9 => self.resample(),
            10 => self.join(),
            _ => self.lookup(false),
        }
    }

    /// A pool of one pixel, which makes an image of the last value of three axes and of all that it is connected with.
    fn image(&mut self) {
        let last = self.values.len() - 1;
        if self.values[last].shape.len() == 3 && !self.values[last].constant {
            let known = self.values[last].clone();
            self.push(&[last], Op::Pool { kind: PoolKind::Max, window: Window::POINT }, known);
        }
    }

    /// A value transposed, sliced, turned round or repeated.
    fn view(&mut self, value: usize) -> View {
        let shape = self.values[value].shape.clone();
        let mut strides = vec![1i32; shape.len()];
        (1..shape.len()).rev().for_each(|at| strides[at - 1] = strides[at] * shape[at] as i32);
        let mut axes: Vec<(u32, i32)> = shape.iter().map(|&d| d as u32).zip(strides).collect();
        let mut offset = 0;
        for _ in 0..self.draw.below(4) {
            let at = self.draw.below(axes.len());
            let (size, stride) = axes[at];
            match self.draw.below(6) {
                0 => axes.rotate_left(at),
                1 => axes.swap(0, at),
                // Backwards.
                2 => {
                    offset += (size as i32 - 1) * stride;
                    axes[at].1 = -stride;
                }
                3 => {
                    let by = self.draw.pick(&[2, 3]);
                    axes[at] = (size.div_ceil(by), stride * by as i32);
                }
                4 => {
                    let first = self.draw.below(size as usize) as u32;
                    axes[at].0 = 1 + self.draw.below((size - first) as usize) as u32;
                    offset += first as i32 * stride;
                }
                _ if axes.iter().map(|a| a.0 as usize).product::<usize>() * 5 < MOST && axes.len() < 5 => axes.insert(at, (5, 0)),
                _ => {}
            }
        }
        let (sizes, strides) = axes.into_iter().unzip();
        View { sizes, walk: Walk { offset: offset as u32, strides } }
    }

    /// Any walk over `sizes` that stays within `len` elements.
    fn walk(&mut self, sizes: &[u32], len: usize) -> Walk {
        let (mut left, mut offset) = (len - 1, 0);
        let mut strides = vec![0; sizes.len()];
        for at in (0..sizes.len()).rev() {
            let steps = sizes[at] as usize - 1;
            let most = left.checked_div(steps).unwrap_or(3);
            // As a matrix would be walked, repeated, or anything.
            let natural = sizes[at + 1..].iter().map(|&d| d as usize).product::<usize>();
            let stride = if natural <= most && self.draw.below(3) > 0 { natural } else { self.draw.below(most.min(40) + 1) };
            left -= steps * stride;
            strides[at] = stride as i32;
            if self.draw.below(6) == 0 {
                offset += steps * stride;
                strides[at] = -strides[at];
            }
        }
        Walk { offset: (offset + self.draw.below(left.min(5) + 1)) as u32, strides }
    }

    fn map(&mut self) {
        let first = self.computed();
        let view = self.view(first);
        // As it is, so that an image stays one.
        let whole = self.values[first].shape.len() == 3 && self.draw.below(2) == 0;
        let sizes = if whole { self.values[first].shape.iter().map(|&d| d as u32).collect() } else { view.sizes };
        let (mut inputs, mut operands) = (vec![first], vec![view.walk]);
        if whole {
            operands[0] = Walk { offset: 0, strides: vec![(sizes[1] * sizes[2]) as i32, sizes[2] as i32, 1] };
        }
        for _ in 0..self.draw.below(4) {
            let other = if self.draw.below(3) == 0 {
                let n = self.draw.pick(&[1, 3, 40]);
                let values = quarters(&mut self.draw, n, 2.0);
                self.constant(&[n], values)
            } else {
                self.any()
            };
            let len = self.values[other].len();
            operands.push(self.walk(&sizes, len));
            inputs.push(other);
        }
        let bounds: Vec<f32> = inputs.iter().map(|&v| self.values[v].bound).collect();
        let instructions = expression(&mut self.draw, &bounds);
        self.primitive(&inputs, Primitive::Map(Map { shape: sizes, operands, instructions }), 4.0, false);
    }

    fn reduce(&mut self) {
        let mut from = self.computed();
        let mut view = self.view(from);
        let mut kinds = vec![
            ReduceKind::Sum,
            ReduceKind::Mean,
            ReduceKind::Max,
            ReduceKind::Min,
            ReduceKind::L1,
            ReduceKind::L2,
            ReduceKind::SumSquare,
            ReduceKind::LogSumExp,
            ReduceKind::LogSum,
            ReduceKind::Product,
        ];
        if self.values[from].exact {
            let last = self.draw.below(2) == 0;
            kinds.extend([ReduceKind::ArgMax { last }, ReduceKind::ArgMin { last }]);
        }
        let kind = self.draw.pick(&kinds);
        if kind == ReduceKind::LogSum {
            from = self.positive(from);
            view = self.view(from);
        }
        let mut kept = self.draw.below(view.sizes.len());
        if kind == ReduceKind::Product {
            // The last axis alone: more factors would overflow.
            kept = view.sizes.len() - 1;
            view.sizes[kept] = view.sizes[kept].min(5);
        }
        let (shape, over) = (view.sizes[..kept].to_vec(), view.sizes[kept..].to_vec());
        let shape = if shape.is_empty() { vec![1] } else { shape };
        let mut walk = view.walk;
        if kept == 0 {
            walk.strides.insert(0, 0);
        }
        let (count, bound) = (over.iter().product::<u32>() as f32, self.values[from].bound.max(1.0));
        let bound = match kind {
            ReduceKind::Product => bound.powf(count),
            ReduceKind::SumSquare => count * bound * bound,
            _ => count * bound + count,
        };
        let exact = matches!(kind, ReduceKind::Max | ReduceKind::Min) && self.values[from].exact;
        self.primitive(&[from], Primitive::Reduce(Reduce { kind, shape, over, operand: walk }), bound, exact);
    }

    /// |x| + 1/4 of a value, as it is.
    fn positive(&mut self, value: usize) -> usize {
        use crate::artifact::{Activation, Binary, Instruction};
        let len = self.values[value].len();
        let instructions = vec![
            Instruction::Operand(0),
            Instruction::Activate(Activation::Abs, 0),
            Instruction::Constant(0.25),
            Instruction::Binary(Binary::Add, 1, 2),
        ];
        let walk = Walk { offset: 0, strides: vec![1] };
        let bound = self.values[value].bound + 0.25;
        self.primitive(&[value], Primitive::Map(Map { shape: vec![len as u32], operands: vec![walk], instructions }), bound, false)
    }

    fn softmax(&mut self) {
        let from = self.computed();
        let View { sizes: shape, walk: operand } = self.view(from);
        let (axis, log) = (self.draw.below(shape.len()) as u32, self.draw.below(2) == 0);
        let bound = if log { 2.0 * self.values[from].bound + 10.0 } else { 1.0 };
        self.primitive(&[from], Primitive::Softmax(SoftmaxOver { shape, axis, log, operand }), bound, false);
    }

    fn matmul(&mut self) {
        let (a, b) = (self.computed(), self.any());
        let batch: Vec<u32> = (0..self.draw.below(3)).map(|_| self.draw.pick(&[1, 2, 3])).collect();
        let mut size = || self.draw.pick(SIZES) as u32;
        let (rows, inner, columns) = (size(), size(), size());
        let walk_a = self.walk(&[&batch[..], &[rows, inner]].concat(), self.values[a].len());
        let walk_b = self.walk(&[&batch[..], &[inner, columns]].concat(), self.values[b].len());
        let bound = inner as f32 * self.values[a].bound * self.values[b].bound;
        let product = MatMul { batch, rows, columns, inner, a: walk_a, b: walk_b };
        self.primitive(&[a, b], Primitive::MatMul(product), bound, false);
    }

    /// Each axis by runs of its own indices, nothing at some of them; sometimes in another order of axes.
    fn pick(&mut self) {
        let from = self.computed();
        let shape = self.values[from].shape.clone();
        let mut stride = self.values[from].len();
        let mut axes = Vec::new();
        for &size in &shape {
            stride /= size;
            let mut runs = Vec::new();
            for _ in 0..1 + self.draw.below(3) {
                let (first, last) = (self.draw.below(size), self.draw.below(size));
                let count = 1 + first.abs_diff(last).min(12);
                let step = if last < first { -1 } else { 1 };
                let start = (first * stride) as i32;
                runs.push(Run { start, step: step * stride as i32, count: count as u32, each: self.draw.pick(&[1, 1, 1, 2]) });
            }
            if self.draw.below(4) == 0 {
                runs.insert(self.draw.below(runs.len() + 1), Run { start: -1, step: 0, count: 1, each: self.draw.pick(&[1, 2]) });
            }
            axes.push(PickAxis { runs });
        }
        if self.draw.below(3) == 0 {
            axes.reverse();
        }
        let fill = self.draw.pick(&[0.0, -1.5]);
        let (bound, exact) = (self.values[from].bound.max(1.5), self.values[from].exact);
        self.primitive(&[from], Primitive::Pick(Pick { axes, fill }), bound, exact);
    }

    fn resample(&mut self) {
        let from = self.computed();
        let axis = self.draw.below(self.values[from].shape.len());
        let (size, taps, outputs) = (self.values[from].shape[axis], self.draw.pick(&[1, 2, 2, 4]), self.draw.pick(SIZES).min(17));
        let indices = (0..taps * outputs).map(|_| self.draw.below(size) as u32).collect();
        let weights = self.draw.values(taps * outputs);
        let bound = taps as f32 * self.values[from].bound;
        self.primitive(&[from], Primitive::Resample(Resample { axis: axis as u32, taps: taps as u32, indices, weights }), bound, false);
    }

    /// A value with itself, parts of it and constants of its other axes.
    fn join(&mut self) {
        let from = self.computed();
        let shape = self.values[from].shape.clone();
        let axis = self.draw.below(shape.len());
        let mut parts = vec![from];
        for _ in 0..1 + self.draw.below(4) {
            let part = match self.draw.below(3) {
                0 => from,
                1 => {
                    let mut shape = shape.clone();
                    shape[axis] = self.draw.pick(&[1, 2, 5]);
                    let values = quarters(&mut self.draw, shape.iter().product(), 2.0);
                    self.constant(&shape, values)
                }
                _ => self.part(from, axis),
            };
            parts.insert(self.draw.below(parts.len() + 1), part);
        }
        let bound = parts.iter().fold(0f32, |m, &v| m.max(self.values[v].bound));
        let exact = parts.iter().all(|&v| self.values[v].exact);
        self.primitive(&parts, Primitive::Join { axis: axis as u32 }, bound, exact);
    }

    /// Some elements along one axis.
    fn part(&mut self, from: usize, axis: usize) -> usize {
        let shape = self.values[from].shape.clone();
        let count = 1 + self.draw.below(shape[axis]);
        let (mut stride, mut axes) = (self.values[from].len(), Vec::new());
        for (at, &size) in shape.iter().enumerate() {
            stride /= size;
            let count = if at == axis { count } else { size } as u32;
            axes.push(PickAxis { runs: vec![Run { start: 0, step: stride as i32, count, each: 1 }] });
        }
        let Known { bound, exact, .. } = self.values[from];
        self.primitive(&[from], Primitive::Pick(Pick { axes, fill: 0.0 }), bound, exact)
    }

    /// By constant indices, or by an input's own values; `outside` some of them name no element.
    fn lookup(&mut self, outside: bool) {
        let from = self.computed();
        let shape = self.values[from].shape.clone();
        let axis = self.draw.below(shape.len());
        let elements = self.draw.below(2) == 0;
        let size = shape[axis];
        let of_indices = if elements {
            let mut of_indices: Vec<usize> = shape.iter().map(|&d| 1 + self.draw.below(d)).collect();
            of_indices[axis] = self.draw.pick(&[1, 3, 9]);
            of_indices
        } else {
            self.draw.pick(&[&[1usize][..], &[4], &[2, 3]]).to_vec()
        };
        let count: usize = of_indices.iter().product();
        if count * self.values[from].len() / size > 4 * MOST || shape.len() + of_indices.len() > 8 {
            return;
        }
        let reach = size + usize::from(outside);
        let indices: Vec<f32> = (0..count).map(|_| self.draw.below(2 * reach) as f32 - reach as f32).collect();
        let indices = self.constant(&of_indices, indices);
        // An index that differs from sample to sample: the constant, or 0 where an input is negative.
        let input = self.draw.below(self.count);
        let indices = if self.draw.below(2) == 0 { self.where_positive(input, indices) } else { indices };
        let bound = self.values[from].bound;
        let exact = self.values[from].exact && !outside;
        self.primitive(&[from, indices], Primitive::Lookup(Lookup { axis: axis as u32, elements }), bound, exact);
    }

    /// Elements of `value` where those of an input are not negative, else 0.
    fn where_positive(&mut self, input: usize, value: usize) -> usize {
        use crate::artifact::{Binary, Instruction};
        let shape: Vec<u32> = self.values[value].shape.iter().map(|&d| d as u32).collect();
        let condition = self.walk(&shape, self.values[input].len());
        let mut strides = vec![1i32; shape.len()];
        (1..shape.len()).rev().for_each(|at| strides[at - 1] = strides[at] * shape[at] as i32);
        let operands = vec![condition, Walk { offset: 0, strides }];
        let instructions = vec![
            Instruction::Operand(0),
            Instruction::Constant(0.0),
            Instruction::Binary(Binary::LessOrEqual, 1, 0),
            Instruction::Operand(1),
            Instruction::Select(2, 3, 1),
        ];
        let bound = self.values[value].bound;
        self.primitive(&[input, value], Primitive::Map(Map { shape, operands, instructions }), bound, true)
    }

    fn build(mut self) -> Artifact {
        // A constant is no output, and every input is an end.
        if self.values.last().is_some_and(|v| v.constant) || self.layers.is_empty() {
            self.part(0, 0);
        }
        let axes = |shape: &[usize]| shape.iter().map(|&d| d as u32).collect::<Vec<u32>>();
        let spec = |name: String, shape: &[usize]| TensorSpec::new(&name, &axes(shape));
        let input = |at: usize| {
            let shape = &self.values[at].shape;
            Input { spec: spec(format!("x{at}"), shape), kind: InputKind::Features, ..Input::new(&axes(shape)) }
        };
        let inputs = (0..self.count).map(input).collect();
        let last = self.values.len() - 1;
        let outputs = vec![Output { spec: spec("y".into(), &self.values[last].shape), value: last as u32, meaning: Meaning::Values }];
        let model = Model { inputs, outputs, ..Model::new("case", &[1], self.layers) };
        Artifact::build(model, self.tensors).unwrap_or_else(|e| panic!("{e}"))
    }
}
