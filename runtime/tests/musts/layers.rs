//! What layers read, and how windows, groups and residuals fit.

use thinfer::artifact::{Activation, Op, PoolKind, Residual, Stride, Weight, Window};

use super::writer::{AS_IS, File, LOW_RANK, WINDOW, conv, layer, moved};
use super::{Case, case};

const COUNT: &str = "A layer MUST read as many values as said here";
const KIND: &str = "and they MUST be of the kinds said here";
const AXES: &str = "The output has the stated `shape`, which MUST have 1 to 8 axes";
const REACHED: &str = "every element that they reach MUST be one of the input";
const HEADS: &str = "`heads` MUST be at least 1 and divide the queries' channels";
const TABLE: &str = "The table MUST be [channels, tokens]";
const EPS: &str = "`eps` of a `LayerNorm` MUST be finite and not negative";
const ONE: &str = "Kernel, stride and dilation MUST be at least 1";
const BOUND: &str = "they and the padding MUST be at most 4096";
const PADDING: &str = "padding MUST be below s on every side";
const GROUPS: &str = "`groups` MUST be at least 1 and divide the input channels and `outputs`";
const FITS: &str = "r MUST have at most channels − offset channels and n rows (columns) such that ⌈n / stride⌉ is the height (width)";
const STRIDE: &str = "stride MUST be 1 to 4096";
const SAME: &str = "Values of 2 or of more than 3 axes MUST have the same shape";

/// Layer 0 makes [6, 9, 7] of the input, layer 1 is this.
fn second(inputs: &[u32], op: Op) -> Vec<u8> {
    File::new(vec![layer(&[0], conv(Weight::Dense(0))), layer(inputs, op)]).bytes()
}

/// Behind a vector of 6, value 2, as layer 2.
fn third(inputs: &[u32], op: Op) -> Vec<u8> {
    File::new(vec![layer(&[0], conv(Weight::Dense(0))), layer(&[1], Op::GlobalAveragePool), layer(inputs, op)]).bytes()
}

fn one(op: Op) -> Vec<u8> {
    File::of_one(op).bytes()
}

fn add(stride: u32, offset: u32) -> Op {
    Op::Add { residual: Residual { stride, offset }, activation: Activation::None }
}

fn rearrange(shape: &[u32], offset: u32, steps: &[(u32, u32)]) -> Op {
    let steps = steps.iter().map(|&(size, stride)| Stride { size, stride }).collect();
    Op::Rearrange { shape: shape.to_vec(), offset, steps }
}

fn attention(heads: u32, scale: f32) -> Op {
    Op::Attention { heads, scale }
}

fn max_pool(window: Window) -> Op {
    Op::Pool { kind: PoolKind::Max, window }
}

pub(crate) fn cases() -> Vec<Case> {
    [reading(), shapes(), windows(), residuals()].into_iter().flatten().collect()
}

fn reading() -> Vec<Case> {
    let none = Activation::None;
    let affine = Op::Affine { scale: 1, shift: 1, activation: none };
    let norm = Op::LayerNorm { scale: 1, shift: 1, eps: 0.0 };
    let linear = Op::Linear { weight: Weight::Dense(15), bias: None, activation: none };
    let residual = |residual| {
        let Op::Conv { window, outputs, groups, weight, bias, activation, .. } = conv(Weight::Dense(0)) else { panic!("a convolution") };
        Op::Conv { window, outputs, groups, weight, bias, residual, activation }
    };
    let square = rearrange(&[2, 3], 0, &[(6, 1)]);
    // Value 1 of a file whose first layer makes [2, 3] of the input: neither image nor vector.
    let of_square = |op| File::new(vec![layer(&[0], square.clone()), layer(&[1], op)]).bytes();
    vec![
        case(COUNT, "Layer 0", "a linear layer reads 1 value, not 2", File::new(vec![layer(&[0, 0], linear)]).bytes()),
        case(COUNT, "Layer 0", "a convolution reads 1 value, not 0", File::new(vec![layer(&[], residual(None))]).bytes()),
        case(COUNT, "Layer 0", "a convolution with a residual reads 2 values, not 1", one(residual(Some(AS_IS)))),
        case(COUNT, "Layer 1", "a pool reads 1 value, not 2", second(&[1, 1], max_pool(WINDOW))),
        case(COUNT, "Layer 1", "a global average pool reads 1 value, not 0", second(&[], Op::GlobalAveragePool)),
        case(COUNT, "Layer 1", "a sum reads 2 values, not 1", second(&[1], add(1, 0))),
        case(COUNT, "Layer 1", "an activation reads 1 value, not 3", second(&[1, 1, 1], Op::Activate(none))),
        case(COUNT, "Layer 1", "a scale and shift reads 1 value, not 0", second(&[], affine)),
        case(COUNT, "Layer 1", "a concatenation reads 2 values, not 3", second(&[1, 1, 1], Op::Concat { activation: none })),
        case(COUNT, "Layer 1", "a softmax reads 1 value, not 2", second(&[1, 1], Op::Softmax { log: true })),
        case(COUNT, "Layer 1", "a rearrangement reads 1 value, not 2", second(&[1, 1], rearrange(&[6], 0, &[(6, 1)]))),
        case(COUNT, "Layer 1", "a product reads 2 values, not 1", second(&[1], Op::Multiply { activation: none })),
        case(COUNT, "Layer 1", "a layer normalisation reads 1 value, not 2", second(&[1, 1], norm.clone())),
        case(COUNT, "Layer 1", "attention reads 1 or 3 values, not 2", second(&[1, 1], attention(1, 1.0))),
        case(COUNT, "Layer 1", "an embedding reads 1 value, not 0", second(&[], Op::Embed { table: 14 })),
        case(KIND, "Layer 2", "reads images, its input has shape [6]", third(&[2], conv(Weight::Dense(0)))),
        case(KIND, "Layer 2", "reads images, its input has shape [6]", third(&[2], max_pool(WINDOW))),
        case(KIND, "Layer 2", "reads images, its input has shape [6]", third(&[2], Op::GlobalAveragePool)),
        case(KIND, "Layer 2", "reads images, its input has shape [6]", third(&[2], attention(1, 1.0))),
        case(KIND, "Layer 2", "reads images, its input has shape [6]", third(&[2], Op::Embed { table: 14 })),
        case(KIND, "Layer 1", "reads images or vectors, its input has shape [2, 3]", of_square(Op::Softmax { log: false })),
        case(KIND, "Layer 1", "reads images or vectors, its input has shape [2, 3]", of_square(norm)),
        case(KIND, "Layer 2", "cannot stand side by side", third(&[1, 2], Op::Concat { activation: none })),
        case(KIND, "Layer 2", "cannot multiply values of [6] and [6, 9, 7]", third(&[2, 1], Op::Multiply { activation: none })),
    ]
}

fn shapes() -> Vec<Case> {
    let norm = |eps| second(&[1], Op::LayerNorm { scale: 1, shift: 1, eps });
    let vector = |shape: &[u32], offset, steps: &[(u32, u32)]| second(&[1], rearrange(shape, offset, steps));
    vec![
        case(AXES, "Layer 1", "has 0 axes", vector(&[], 0, &[])),
        case(AXES, "Layer 1", "has 9 axes", vector(&[1; 9], 0, &[])),
        case("there MUST be at most 8 steps", "Layer 1", "9 steps", vector(&[1], 0, &[(1, 1); 9])),
        case("their sizes MUST multiply to its elements", "Layer 1", "gives 5 elements for a shape of [6]", vector(&[6], 0, &[(5, 1)])),
        case("their sizes MUST multiply to its elements", "Layer 1", "gives 0 elements", vector(&[6], 0, &[(0, 1)])),
        case(REACHED, "Layer 1", "reaches element 378 of 378", vector(&[6], 373, &[(6, 1)])),
        case(REACHED, "Layer 1", "of 378", vector(&[2, 2], u32::MAX, &[(2, u32::MAX), (2, u32::MAX)])),
        case(HEADS, "Layer 1", "0 heads do not divide 6 channels", second(&[1, 1, 1], attention(0, 1.0))),
        case(HEADS, "Layer 1", "4 heads do not divide 6 channels", second(&[1, 1, 1], attention(4, 1.0))),
        case("One value MUST have 3·d channels", "Layer 0", "4 channels are no queries, keys and values", one(attention(1, 1.0))),
        case("of three, keys and values MUST have one shape", "Layer 1", "keys of [4, 9, 7]", second(&[1, 0, 1], attention(1, 1.0))),
        case("of three, keys and values MUST have one shape", "Layer 1", "queries of [4, 9, 7]", second(&[0, 1, 1], attention(1, 1.0))),
        case("`scale` MUST be finite", "Layer 1", "multiplies its products by inf", second(&[1], attention(1, f32::INFINITY))),
        case(TABLE, "Layer 1", "6 channels for 3 tokens does not fit [6, 9, 7]", second(&[1], Op::Embed { table: 14 })),
        case(TABLE, "Layer 0", "5 channels for 6 tokens does not fit [4, 9, 7]", one(Op::Embed { table: 3 })),
        case(TABLE, "Layer 1", "table has shape [6], not two axes", second(&[1], Op::Embed { table: 1 })),
        case(EPS, "Layer 1", "adds NaN to its variance", norm(f32::NAN)),
        case(EPS, "Layer 1", "adds -1 to its variance", norm(-1.0)),
    ]
}

fn windows() -> Vec<Case> {
    let w = |change: fn(&mut Window)| {
        let mut window = WINDOW;
        change(&mut window);
        one(moved(window))
    };
    let grouped = |groups, outputs, weight| {
        one(Op::Conv { window: WINDOW, outputs, groups, weight, bias: None, residual: None, activation: Activation::None })
    };
    let average = |kind| one(Op::Pool { kind, window: Window { dilation: [2, 1], ..WINDOW } });
    let row = Window { kernel: [9, 1], padding: [0; 4], ..WINDOW };
    let past = Window { kernel: [2, 2], dilation: [9, 1], padding: [8, 0, 9, 0], ..WINDOW };
    vec![
        case(ONE, "Layer 0", "its kernel is [3, 0]", w(|w| w.kernel[1] = 0)),
        case(ONE, "Layer 0", "its stride is [0, 1]", w(|w| w.stride[0] = 0)),
        case(ONE, "Layer 0", "its dilation is [1, 0]", w(|w| w.dilation[1] = 0)),
        case(BOUND, "Layer 0", "a window of 4097 is larger than 4096", w(|w| w.kernel[0] = 4097)),
        case(BOUND, "Layer 0", "a window of 4294967295", w(|w| w.stride[1] = u32::MAX)),
        case(BOUND, "Layer 0", "a window of 4294967295", w(|w| w.dilation[0] = u32::MAX)),
        case(BOUND, "Layer 0", "a window of 4097", w(|w| w.padding[2] = 4097)),
        case(PADDING, "Layer 0", "not below the 3 elements", w(|w| w.padding[3] = 3)),
        case(PADDING, "Layer 0", "not below the 3 elements", w(|w| w.padding[0] = 4096)),
        case("and that MUST be at least 1", "Layer 0", "its padded input has fewer along axis 1", w(|w| w.dilation[1] = 5)),
        case("An average pool MUST have dilation 1", "Layer 0", "an average pool has no dilation", average(PoolKind::Average)),
        case("An average pool MUST have dilation 1", "Layer 0", "an average pool has no dilation", average(PoolKind::AverageWithPadding)),
        case(
            "A window of a max pool MUST hold an element",
            "Layer 1",
            "holds nothing but padding",
            File::new(vec![layer(&[0], max_pool(row)), layer(&[1], max_pool(past))]).bytes(),
        ),
        case(GROUPS, "Layer 0", "0 groups do not divide", grouped(0, 6, Weight::Dense(0))),
        case(GROUPS, "Layer 0", "3 groups do not divide 4 input and 6 output channels", grouped(3, 6, Weight::Dense(0))),
        case(GROUPS, "Layer 0", "4 groups do not divide", grouped(4, 6, Weight::Dense(0))),
        case(GROUPS, "Layer 0", "no output channels", grouped(1, 0, Weight::Dense(0))),
        case("It MUST be 1 unless the weight is dense", "Layer 0", "only dense weights", grouped(2, 6, LOW_RANK)),
    ]
}

fn residuals() -> Vec<Case> {
    let square = |op| {
        File::new(vec![layer(&[0], rearrange(&[2, 3], 0, &[(6, 1)])), layer(&[0], rearrange(&[1, 3], 0, &[(3, 1)])), layer(&[1, 2], op)])
            .bytes()
    };
    vec![
        case(FITS, "Layer 1", "does not fit [4, 9, 7]", second(&[0, 1], add(1, 0))),
        case(FITS, "Layer 1", "does not fit [6, 9, 7]", second(&[1, 0], add(1, 3))),
        case(FITS, "Layer 1", "does not fit [6, 9, 7]", second(&[1, 0], add(1, u32::MAX))),
        case(FITS, "Layer 1", "does not fit [6, 9, 7]", second(&[1, 0], add(2, 0))),
        case(FITS, "Layer 2", "does not fit [6]", third(&[2, 1], add(1, 0))),
        case(STRIDE, "Layer 1", "its residual has stride 0", second(&[1, 0], add(0, 0))),
        case(STRIDE, "Layer 1", "its residual has stride 4097", second(&[1, 0], add(4097, 0))),
        case(SAME, "Layer 2", "does not fit [2, 3]", square(add(1, 0))),
        case(SAME, "Layer 2", "does not fit [2, 3]", square(add(1, 1))),
    ]
}
