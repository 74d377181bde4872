//! Primitives and the constants that they read.

use thinfer::artifact::{
    Binary, Instruction, Lookup, Map, MatMul, Op, Pick, PickAxis, Primitive, Reduce, ReduceKind, Resample, Run, SoftmaxOver, Unary, Walk,
};

use super::writer::{File, layer};
use super::{Case, case};

const READ_BY_OTHERS: &str = "Layers other than primitives MUST NOT read it";
const IS_OUTPUT: &str = "and it MUST NOT be an output";
const STRIDES: &str = "A walk MUST have a stride for each of its axes";
const EXISTS: &str = "and every element that it reaches MUST exist";
const AXES: &str = "its shape, MUST be 1 to 8, none zero";
const OPERANDS: &str = "It MUST have an operand, which is a walk over the output's shape, for each value";
const INSTRUCTIONS: &str = "It MUST have 1 to 64 instructions";
const READS: &str = "An instruction MUST read operands that exist";
const EARLIER: &str = "and MUST name only earlier instructions";
const NAN: &str = "A constant in it MUST NOT be NaN";
const VANISHING: &str = "which MUST be 1 to 8 axes, none zero as well";
const SOFTMAX_AXIS: &str = "`Softmax`: its axis MUST be one of its shape's";
const INNER: &str = "`inner` MUST be 1 to 2²⁸";
const RUN: &str = "A run's `count` and `each` MUST be at least 1";
const ENTRIES: &str = "and its entries MUST be 0 to 2³¹ − 1, or all −1";
const LARGEST: &str = "The sum of the largest entries MUST be an element of the input";
const FILL: &str = "`fill` MUST NOT be NaN";
const RESAMPLE_AXIS: &str = "`Resample`: its axis MUST be one of the input's";
const TAPS: &str = "`taps` MUST be at least 1 and divide the number of `indices`";
const WEIGHTS: &str = "there MUST be as many `weights`";
const FINITE: &str = "and they MUST be finite. An index";
const INDEX: &str = "An index MUST be one of the axis";
const JOINED: &str = "it MUST read 2 to 6 values";
const ALIKE: &str = "whose axes but the joined one MUST be alike";
const LOOKUP_AXIS: &str = "`axis` MUST be one of the first value's";
const RANK: &str = "With `elements` the indices MUST have as many axes as the first value";
const LONGER: &str = "and along the others MUST NOT be longer";
const TOGETHER: &str = "else the axes of both, one less, MUST be at most 8";
const COUNT: &str = "A layer MUST read as many values as said here";

/// What begins as a map, a softmax and so on of the image [4, 9, 7] that breaks no rule.
fn walk(strides: &[i32]) -> Walk {
    Walk { offset: 0, strides: strides.to_vec() }
}

fn map(change: impl FnOnce(&mut Map)) -> Primitive {
    let mut map = Map { shape: vec![4, 63], operands: vec![walk(&[63, 1])], instructions: vec![Instruction::Operand(0)] };
    change(&mut map);
    Primitive::Map(map)
}

fn sum(change: impl FnOnce(&mut Reduce)) -> Primitive {
    let mut sum = Reduce { kind: ReduceKind::Sum, shape: vec![4], over: vec![63], operand: walk(&[63, 1]) };
    change(&mut sum);
    Primitive::Reduce(sum)
}

fn product(change: impl FnOnce(&mut MatMul)) -> Primitive {
    let mut product = MatMul { batch: Vec::new(), rows: 4, columns: 9, inner: 7, a: walk(&[63, 1]), b: walk(&[1, 7]) };
    change(&mut product);
    Primitive::MatMul(product)
}

fn pick(runs: &[Run], fill: f32) -> Primitive {
    Primitive::Pick(Pick { axes: vec![PickAxis { runs: runs.to_vec() }], fill })
}

fn run(start: i32, step: i32, count: u32, each: u32) -> Run {
    Run { start, step, count, each }
}

fn resample(axis: u32, taps: u32, indices: &[u32], weights: &[f32]) -> Primitive {
    Primitive::Resample(Resample { axis, taps, indices: indices.to_vec(), weights: weights.to_vec() })
}

fn lookup(axis: u32, elements: bool) -> Primitive {
    Primitive::Lookup(Lookup { axis, elements })
}

/// Of the image [4, 9, 7], as often as `inputs` says.
fn reading(inputs: &[u32], primitive: Primitive, output: &[u32]) -> Vec<u8> {
    File::new(vec![layer(inputs, Op::Primitive(primitive))]).giving(output).bytes()
}

fn of(primitive: Primitive) -> Vec<u8> {
    reading(&[0], primitive, &[4, 63])
}

/// Of the image and a constant of shape [6, 3].
fn with_constant(primitive: Primitive) -> Vec<u8> {
    File::new(vec![layer(&[], Op::Constant { tensor: 14 }), layer(&[0, 1], Op::Primitive(primitive))]).giving(&[4]).bytes()
}

pub(crate) fn cases() -> Vec<Case> {
    let constant = || layer(&[], Op::Constant { tensor: 1 });
    let pooled = File::new(vec![constant(), layer(&[1], Op::Softmax { log: false })]);
    let output = File::new(vec![layer(&[0], Op::GlobalAveragePool), constant()]);
    let softmax = Primitive::Softmax(SoftmaxOver { shape: vec![4, 63], axis: 2, log: false, operand: walk(&[63, 1]) });
    let axes = |shape: &[u32]| {
        let shape = shape.to_vec();
        move |m: &mut Map| (m.operands[0].strides, m.shape) = (vec![0; shape.len()], shape)
    };
    let long = vec![Instruction::Operand(0); 65];
    vec![
        case(READ_BY_OTHERS, "Layer 1", "reads value 1, a constant", pooled.bytes()),
        case(IS_OUTPUT, "Field output 'output'", "is a constant", output.bytes()),
        case(COUNT, "Layer 0", "a constant", File::of_one(Op::Constant { tensor: 1 }).bytes()),
        case(COUNT, "Layer 0", "a softmax over an axis reads 1 value, not 2", {
            let softmax = SoftmaxOver { shape: vec![4, 63], axis: 0, log: false, operand: walk(&[63, 1]) };
            reading(&[0, 0], Primitive::Softmax(softmax), &[4, 63])
        }),
        case(COUNT, "Layer 0", "a matrix product reads 2 values, not 1", of(product(|_| ()))),
        case(STRIDES, "Layer 0", "a walk of 1 strides goes over 2 axes", of(map(|m| m.operands[0] = walk(&[1])))),
        case(EXISTS, "Layer 0", "0 to 254 of a value of 252", of(map(|m| m.operands[0] = walk(&[64, 1])))),
        case(EXISTS, "Layer 0", "-3 to 62 of a value of 252", of(map(|m| m.operands[0] = walk(&[-1, 1])))),
        case(AXES, "Layer 0", "1 to 8 axes", of(map(axes(&[])))),
        case(AXES, "Layer 0", "1 to 8 axes", of(map(axes(&[4, 0])))),
        case(AXES, "Layer 0", "1 to 8 axes", of(map(axes(&[1; 9])))),
        case(OPERANDS, "Layer 0", "a map of 0 operands reads 1 values", of(map(|m| m.operands.clear()))),
        case(OPERANDS, "Layer 0", "a map of 1 operands reads 2 values", reading(&[0, 0], map(|_| ()), &[4, 63])),
        case(OPERANDS, "Layer 0", "1 to 6", reading(&[0; 7], map(|m| m.operands = vec![walk(&[63, 1]); 7]), &[4, 63])),
        case(INSTRUCTIONS, "Layer 0", "not 0", of(map(|m| m.instructions.clear()))),
        case(INSTRUCTIONS, "Layer 0", "not 65", of(map(|m| m.instructions = long))),
        case(READS, "Layer 0", "instruction 0 reads operand 1", of(map(|m| m.instructions[0] = Instruction::Operand(1)))),
        case(EARLIER, "Layer 0", "reads number 1", of(map(|m| m.instructions.push(Instruction::Unary(Unary::Neg, 1))))),
        case(EARLIER, "Layer 0", "reads number 9", of(map(|m| m.instructions.push(Instruction::Binary(Binary::Add, 0, 9))))),
        case(EARLIER, "Layer 0", "reads number 2", of(map(|m| m.instructions.push(Instruction::Select(0, 2, 0))))),
        case(NAN, "Layer 0", "instruction 1 is NaN", of(map(|m| m.instructions.push(Instruction::Constant(f32::NAN))))),
        case(VANISHING, "Layer 0", "what a reduction runs over", of(sum(|r| r.over = vec![63, 0]))),
        case(VANISHING, "Layer 0", "what a reduction runs over", of(sum(|r| r.over.clear()))),
        case(SOFTMAX_AXIS, "Layer 0", "runs along axis 2", of(softmax)),
        case(INNER, "Layer 0", "sums 0 products", reading(&[0, 0], product(|p| p.inner = 0), &[4, 9])),
        case(INNER, "Layer 0", "sums 268435457 products", reading(&[0, 0], product(|p| p.inner = (1 << 28) + 1), &[4, 9])),
        case(RUN, "Layer 0", "a pick has Run", of(pick(&[run(0, 1, 3, 1), run(0, 1, 0, 1)], 0.0))),
        case(RUN, "Layer 0", "a pick has Run", of(pick(&[run(0, 1, 3, 1), run(0, 1, 1, 0)], 0.0))),
        case(ENTRIES, "Layer 0", "a pick has Run", of(pick(&[run(2, -1, 4, 1)], 0.0))),
        case(ENTRIES, "Layer 0", "a pick has Run", of(pick(&[run(-1, 1, 2, 1)], 0.0))),
        case(ENTRIES, "Layer 0", "a pick has Run", of(pick(&[run(i32::MAX, 1, 2, 1)], 0.0))),
        case(LARGEST, "Layer 0", "reaches element 252 of 252", of(pick(&[run(0, 1, 253, 1)], 0.0))),
        case(FILL, "Layer 0", "fills with NaN", of(pick(&[run(0, 1, 3, 1)], f32::NAN))),
        case(RESAMPLE_AXIS, "Layer 0", "resamples axis 3", of(resample(3, 1, &[0], &[1.0]))),
        case(TAPS, "Layer 0", "of 0 elements each", of(resample(1, 0, &[0], &[1.0]))),
        case(TAPS, "Layer 0", "of 2 elements each", of(resample(1, 2, &[0, 1, 2], &[1.0; 3]))),
        case(WEIGHTS, "Layer 0", "2 indices and 1 weights", of(resample(1, 2, &[0, 1], &[1.0]))),
        case(FINITE, "Layer 0", "multiplies by inf", of(resample(1, 2, &[0, 1], &[1.0, f32::INFINITY]))),
        case(INDEX, "Layer 0", "index 9 of an axis of 9", of(resample(1, 1, &[9], &[1.0]))),
        case(JOINED, "Layer 0", "not 1", of(Primitive::Join { axis: 0 })),
        case(JOINED, "Layer 0", "not 7", reading(&[0; 7], Primitive::Join { axis: 0 }, &[4])),
        case(ALIKE, "Layer 1", "cannot be joined along axis 0", with_constant(Primitive::Join { axis: 0 })),
        case(LOOKUP_AXIS, "Layer 1", "along axis 3", with_constant(lookup(3, false))),
        case(RANK, "Layer 1", "indices of [6, 3]", with_constant(lookup(0, true))),
        case(LONGER, "Layer 1", "indices of [4, 9, 7] cannot be looked up along axis 0 of [4, 9, 3]", {
            let runs = |step, count| PickAxis { runs: vec![run(0, step, count, 1)] };
            let part = Primitive::Pick(Pick { axes: vec![runs(63, 4), runs(7, 9), runs(1, 3)], fill: 0.0 });
            let layers = vec![layer(&[0], Op::Primitive(part)), layer(&[1, 0], Op::Primitive(lookup(0, true)))];
            File::new(layers).giving(&[4]).bytes()
        }),
        case(TOGETHER, "Layer 2", "cannot be looked up", {
            let wide = map(|m| (m.operands[0], m.shape) = (walk(&[0, 0, 0, 0, 63, 1]), vec![1, 1, 1, 1, 4, 63]));
            let layers = vec![layer(&[0], Op::Primitive(wide)), layer(&[0, 1], Op::Primitive(lookup(0, false)))];
            let joined = layer(&[2, 1], Op::Primitive(lookup(0, false)));
            File::new([layers, vec![joined]].concat()).giving(&[4]).bytes()
        }),
    ]
}

#[test]
fn what_breaks_no_rule_opens() {
    thinfer::Artifact::from_bytes(of(map(|_| ()))).unwrap();
    thinfer::Artifact::from_bytes(reading(&[0], sum(|_| ()), &[4])).unwrap();
    thinfer::Artifact::from_bytes(reading(&[0, 0], product(|_| ()), &[4, 9])).unwrap();
    thinfer::Artifact::from_bytes(reading(&[0], resample(1, 1, &[8, 0], &[1.0; 2]), &[4, 2, 7])).unwrap();
    thinfer::Artifact::from_bytes(reading(&[0], pick(&[run(-1, 0, 2, 1), run(3, -1, 4, 1)], 0.5), &[6])).unwrap();
}
