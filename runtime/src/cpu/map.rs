//! Functions of each element on the CPU: a block of elements an instruction, so that each is one loop over memory in the nearest
//! cache.

use std::sync::{Mutex, PoisonError};

use super::map_functions::{binary, select, unary};
use super::pieces::{Piece, Pieces};
use super::walk::Walk;
use super::{activation, threads};
use crate::artifact::{Activation, Binary, Instruction, Unary};
use crate::lock::lock;
use crate::plan::{MapStep, Operand, Slot};

/// Elements of a block.
pub(super) const BLOCK: usize = 512;

/// A map with its instructions' numbers in registers of a block each.
#[derive(Debug)]
pub(super) struct Map {
    operands: Vec<Walk>,
    lines: Vec<Line>,
    /// The first registers; they never change.
    constants: Vec<f32>,
    /// Whether the padding of pixels is computed like a channel, and set to 0 afterwards.
    with_padding: bool,
    output: Slot,
    /// The registers of each thread.
    scratches: Vec<Mutex<Vec<Vec<f32>>>>,
}

/// What is computed, and the register that it goes to.
#[derive(Clone, Copy, Debug)]
struct Line {
    work: Work,
    to: usize,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    /// The elements of an operand that do not lie side by side.
    Load(usize),
    Copy(Source),
    Unary(Unary, Source),
    Binary(Binary, Source, Source),
    Select(Source, Source, Source),
    Activate(Activation, Source),
}

/// Where the elements of a block are read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Register(usize),
    /// An operand whose elements lie side by side.
    Operand(usize),
}

impl Map {
    /// Prepares `step`, which reads values in `inputs` and writes one in `output`.
    pub(super) fn new(step: &MapStep, inputs: &[Slot], output: Slot) -> Self {
        let sizes = padded(step, inputs, output);
        let with_padding = sizes.is_some();
        let sizes = sizes.as_ref().unwrap_or(&step.sizes);
        let operands: Vec<Walk> = step.operands.iter().zip(inputs).map(|(o, &slot)| Walk::new(o, sizes, slot)).collect();
        let (lines, constants, registers) = compile(&step.instructions, &operands);
        let scratch = || (0..registers).map(|r| vec![constants.get(r).copied().unwrap_or(0.0); BLOCK]).collect();
        let scratches = (0..threads::count()).map(|_| Mutex::new(scratch())).collect();
        Self { operands, lines, constants, with_padding, output, scratches }
    }

    /// Fills everything that a run must write before it reads with NaN.
    pub(super) fn poison(&mut self) {
        for scratch in &mut self.scratches {
            let registers = scratch.get_mut().unwrap_or_else(PoisonError::into_inner);
            registers[self.constants.len()..].iter_mut().for_each(|r| r.fill(f32::NAN));
        }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let slot = self.output;
        let (channels, stride) = (slot.channels, slot.channel_stride());
        let cost = self.lines.iter().map(Line::cost).sum();
        if slot.is_vector() || channels == stride || self.with_padding {
            let (len, unit) = if self.with_padding { (slot.stride(), stride) } else { (slot.len(), 1) };
            return Pieces { len, stride: slot.stride(), unit, cost }.each(output, |thread, Piece { sample, first, y }| {
                let registers = &mut *lock(&self.scratches[thread]);
                for (at, y) in (first..).step_by(BLOCK).zip(y.chunks_mut(BLOCK)) {
                    self.block(inputs, sample, at, registers, y);
                }
                if self.with_padding {
                    y.chunks_exact_mut(stride).for_each(|pixel| pixel[channels..].fill(0.0));
                }
            });
        }
        // Padding lies between the pixels, and not all operands have it.
        Pieces { len: slot.stride(), stride: slot.stride(), unit: stride, cost }.each(output, |thread, Piece { sample, first, y }| {
            let registers = &mut *lock(&self.scratches[thread]);
            let mut block = [0f32; BLOCK];
            let (first, count) = (first / stride * channels, y.len() / stride * channels);
            for at in (0..count).step_by(BLOCK) {
                let block = &mut block[..BLOCK.min(count - at)];
                self.block(inputs, sample, first + at, registers, block);
                spread(block, at, [channels, stride], y);
            }
        });
    }

    /// Elements of a sample from element `first` on, at most [`BLOCK`].
    fn block(&self, inputs: &[&[f32]], sample: usize, first: usize, registers: &mut [Vec<f32>], to: &mut [f32]) {
        let Some((last, lines)) = self.lines.split_last() else { return };
        for line in lines {
            // Out of the others, which are read meanwhile.
            let mut register = std::mem::take(&mut registers[line.to]);
            self.line(line.work, inputs, sample, first, registers, &mut register[..to.len()]);
            registers[line.to] = register;
        }
        self.line(last.work, inputs, sample, first, registers, to);
    }

    fn line(&self, work: Work, inputs: &[&[f32]], sample: usize, first: usize, registers: &[Vec<f32>], to: &mut [f32]) {
        let len = to.len();
        let read = |source: Source| match source {
            Source::Register(r) => &registers[r][..len],
            Source::Operand(o) => &inputs[o][self.operands[o].start(sample) as usize + first..][..len],
        };
        match work {
            Work::Load(o) => self.operands[o].gather(inputs[o], sample, first, to),
            Work::Copy(x) => to.copy_from_slice(read(x)),
            Work::Unary(function, x) => unary(function, read(x), to),
            Work::Binary(function, a, b) => binary(function, read(a), read(b), to),
            Work::Select(which, a, b) => select(read(which), read(a), read(b), to),
            Work::Activate(activation, x) => {
                to.copy_from_slice(read(x));
                activation::apply(activation, to);
            }
        }
    }
}

impl Line {
    /// In additions, roughly.
    fn cost(&self) -> usize {
        match self.work {
            Work::Load(_) | Work::Copy(_) | Work::Select(..) => 1,
            Work::Unary(Unary::Neg | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round, _) => 1,
            Work::Unary(Unary::Not | Unary::IsNan | Unary::IsInf, _) => 1,
            Work::Unary(..) => 20,
            Work::Binary(Binary::Pow | Binary::Mod | Binary::Fmod, ..) => 20,
            Work::Binary(..) => 1,
            Work::Activate(Activation::None | Activation::Relu | Activation::Relu6 | Activation::Clip { .. }, _) => 1,
            Work::Activate(..) => 5,
        }
    }
}

/// The sizes of a map to an image whose pixels are padded, with the padding for channels, where every operand has as many: those that
/// lie side by side, or one for all.
fn padded(step: &MapStep, inputs: &[Slot], output: Slot) -> Option<Vec<usize>> {
    let mut sizes = step.sizes.clone();
    if output.is_vector() || output.channels == output.channel_stride() || *sizes.last()? != output.channels {
        return None;
    }
    *sizes.last_mut()? = output.channel_stride();
    let has = |(operand, slot): (&Operand, &Slot)| {
        let last = operand.strides.last().copied();
        let reach = sizes.iter().zip(&operand.strides).map(|(&size, &stride)| stride.max(0) * (size as i64 - 1));
        last == Some(0) || last == Some(1) && operand.offset + reach.sum::<i64>() < slot.stride() as i64
    };
    step.operands.iter().zip(inputs).all(has).then_some(sizes)
}

/// Puts elements `first`, … of pixels of `channels` elements where they lie, `stride` from pixel to pixel, and 0 behind each pixel.
fn spread(values: &[f32], first: usize, [channels, stride]: [usize; 2], y: &mut [f32]) {
    let (mut left, mut pixel, mut channel) = (values, first / channels, first % channels);
    while !left.is_empty() {
        let (run, rest) = left.split_at((channels - channel).min(left.len()));
        let to = &mut y[pixel * stride..][..stride];
        to[channel..][..run.len()].copy_from_slice(run);
        to[channels..].fill(0.0);
        (left, pixel, channel) = (rest, pixel + 1, 0);
    }
}

/// Lines that compute the last of `instructions`, the constants in the first registers, and how many registers there are. A
/// register serves again once its number was read for the last time.
fn compile(instructions: &[Instruction], operands: &[Walk]) -> (Vec<Line>, Vec<f32>, usize) {
    let last = instructions.len().saturating_sub(1);
    // The instruction that reads each one last; those that nothing reads are left out.
    let mut until = vec![None; instructions.len()];
    let mut constants = Vec::new();
    for (at, instruction) in instructions.iter().enumerate().rev() {
        if at == last || until[at].is_some() {
            reads(instruction).into_iter().flatten().for_each(|n| _ = until[n].get_or_insert(at));
        }
    }
    let mut sources = vec![Source::Register(0); instructions.len()];
    for (source, instruction) in sources.iter_mut().zip(instructions) {
        if let Instruction::Constant(value) = *instruction {
            *source = Source::Register(constants.len());
            constants.push(value);
        }
    }
    let (mut lines, mut registers, mut free) = (Vec::new(), constants.len(), Vec::new());
    for (at, instruction) in instructions.iter().enumerate() {
        if at != last && until[at].is_none() {
            continue;
        }
        let from = |n: u8| sources[usize::from(n)];
        let work = match *instruction {
            Instruction::Constant(_) => Work::Copy(sources[at]),
            Instruction::Operand(o) if operands[usize::from(o)].is_contiguous() => Work::Copy(Source::Operand(o.into())),
            Instruction::Operand(o) => Work::Load(o.into()),
            Instruction::Unary(function, x) => Work::Unary(function, from(x)),
            Instruction::Binary(function, a, b) => Work::Binary(function, from(a), from(b)),
            Instruction::Select(which, a, b) => Work::Select(from(which), from(a), from(b)),
            Instruction::Activate(activation, x) => Work::Activate(activation, from(x)),
        };
        if at != last
            && let Work::Copy(source) = work
        {
            sources[at] = source;
            continue;
        }
        // Before the numbers that it reads are let go: no line writes where it reads.
        let to = free.pop().unwrap_or(registers);
        registers = registers.max(to + 1);
        sources[at] = Source::Register(to);
        lines.push(Line { work, to });
        let mut done: Vec<usize> = reads(instruction).into_iter().flatten().filter(|&n| until[n] == Some(at)).collect();
        done.sort_unstable();
        done.dedup();
        for n in done {
            if let Source::Register(r) = sources[n]
                && r >= constants.len()
            {
                free.push(r);
            }
        }
    }
    (lines, constants, registers)
}

/// The instructions that one reads.
fn reads(instruction: &Instruction) -> [Option<usize>; 3] {
    let n = |n: u8| Some(usize::from(n));
    match *instruction {
        Instruction::Operand(_) | Instruction::Constant(_) => [None; 3],
        Instruction::Unary(_, x) | Instruction::Activate(_, x) => [n(x), None, None],
        Instruction::Binary(_, a, b) => [n(a), n(b), None],
        Instruction::Select(a, b, c) => [n(a), n(b), n(c)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Operand;

    fn plain(n: usize) -> Slot {
        Slot { buffer: 0, channels: n, height: 1, width: 1 }
    }

    fn operand(strides: &[i64], per_sample: bool) -> Operand {
        Operand { offset: 0, strides: strides.to_vec(), per_sample }
    }

    #[test]
    fn operands_are_broadcast_and_registers_serve_again() {
        // (x + b)·2 − (x + b)·x, where b is the same for a row.
        let instructions = vec![
            Instruction::Operand(0),
            Instruction::Operand(1),
            Instruction::Constant(2.0),
            Instruction::Binary(Binary::Add, 0, 1),
            Instruction::Unary(Unary::Sin, 3),
            Instruction::Binary(Binary::Mul, 3, 2),
            Instruction::Binary(Binary::Mul, 3, 0),
            Instruction::Binary(Binary::Sub, 5, 6),
        ];
        for (rows, columns) in [(2, 3), (3, 700), (90, 401)] {
            let count = rows * columns;
            let sizes = vec![rows, columns];
            let step = MapStep {
                sizes,
                operands: vec![operand(&[columns as i64, 1], true), operand(&[1, 0], false)],
                instructions: instructions.clone(),
            };
            let (x, b) = (plain(count), plain(rows));
            let mut map = Map::new(&step, &[x, b], x);
            // Load b, add, two products: the sine is not read.
            assert_eq!(map.lines.len(), 5);
            assert_eq!(map.scratches[0].get_mut().unwrap().len(), 1 + 3);
            map.poison();
            let data: Vec<f32> = (0..2 * x.stride()).map(|i| (i % 37) as f32).collect();
            let bias: Vec<f32> = (0..b.stride()).map(|i| i as f32 - 1.0).collect();
            let mut y = vec![f32::NAN; 2 * x.stride()];
            map.run(&[&data, &bias], &mut y);
            for (n, got) in y.iter().enumerate() {
                let (at, x) = (n % x.stride(), data[n]);
                let sum = x + bias.get(at / columns).copied().unwrap_or(0.0);
                assert_eq!(*got, if at < count { sum * 2.0 - sum * x } else { 0.0 });
            }
        }
    }

    #[test]
    fn the_padding_of_pixels_is_zero() {
        // −x + b, where b is one a channel: with padding behind it, or without.
        let instructions = vec![
            Instruction::Operand(0),
            Instruction::Unary(Unary::Neg, 0),
            Instruction::Operand(1),
            Instruction::Binary(Binary::Add, 1, 2),
        ];
        for (channels, pixels) in [(3, 2), (1, 5), (5, 40_000), (1001, 3)] {
            let slot = Slot { buffer: 0, channels, height: 1, width: pixels };
            let stride = slot.channel_stride();
            let x: Vec<f32> = (0..slot.stride()).map(|i| if i % stride < channels { (i % 1000 + 1) as f32 } else { 0.0 }).collect();
            for offset in [0, 4 * stride - channels] {
                let bias = Operand { offset: offset as i64, ..operand(&[0, 1], false) };
                let operands = vec![operand(&[stride as i64, 1], true), bias];
                let step = MapStep { sizes: vec![pixels, channels], operands, instructions: instructions.clone() };
                let of_bias = plain(offset + channels);
                let mut map = Map::new(&step, &[slot, of_bias], slot);
                assert_eq!(map.with_padding, offset == 0);
                map.poison();
                let b: Vec<f32> = (0..of_bias.stride()).map(|i| i as f32).collect();
                let mut y = vec![f32::NAN; slot.stride()];
                map.run(&[&x, &b], &mut y);
                for (n, got) in y.iter().enumerate() {
                    assert_eq!(*got, if n % stride < channels { (offset + n % stride) as f32 - x[n] } else { 0.0 });
                }
            }
        }
    }

    #[test]
    fn the_last_instruction_may_be_an_operand_or_a_constant() {
        let run = |instruction, strides: &[i64]| {
            let step = MapStep { sizes: vec![5], operands: vec![operand(strides, true)], instructions: vec![instruction] };
            let mut y = [f32::NAN; 8];
            Map::new(&step, &[plain(5)], plain(5)).run(&[&[1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0]], &mut y);
            y
        };
        assert_eq!(run(Instruction::Operand(0), &[1]), [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0]);
        assert_eq!(run(Instruction::Operand(0), &[0]), [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(run(Instruction::Constant(f32::INFINITY), &[1])[3..6], [f32::INFINITY, f32::INFINITY, 0.0]);
    }
}
