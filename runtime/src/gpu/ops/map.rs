//! A function of each element: a kernel for each expression.

use thinfer_shaders::Kernel;

use super::expression::Expression;
use super::table::{Table, fours};
use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::device::Gpu;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid};
use crate::gpu::pipeline::Epilogue;
use crate::gpu::shape::{Shape, Values};
use crate::plan::{MapStep, Operand, Slot, Step};

/// Of `KIND` in wgsl/map.wgsl: one element serves all four, or the four are a vec4.
const ONE: u32 = 1;
const VECTOR: u32 = 2;
/// No operand needs an index of each element.
const WHOLE: u32 = 1 << 31;

/// The kernel for as many operands.
pub(super) fn candidates(gpu: &Gpu, operands: usize) -> Vec<Candidate> {
    let fits = |k: &&Kernel| k.define("OPERANDS") == Some(operands as u32);
    gpu.variants("map").filter(fits).map(|kernel| Candidate { kernel, time: 0 }).collect()
}

/// What the pipeline of `map` fixes: the expression, and how its operands are read.
pub(super) fn ending(map: &MapStep, output: Slot) -> Epilogue {
    Epilogue { kind: kind(map, output), expression: Some(Expression::new(&map.instructions).text), ..Epilogue::default() }
}

/// Binds the step.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, step: &Step, map: &MapStep) -> Result<Dispatch> {
    let mut shape = Shape::new(values, &Window::POINT);
    shape.number = f32::NAN;
    let Expression { numbers, .. } = Expression::new(&map.instructions);
    let mut table = Table::default();
    table.whole([map.sizes.len() as i64, (2 + 2 * map.operands.len() + numbers.len()) as i64]);
    map.operands.iter().zip(&step.inputs).for_each(|(operand, &slot)| table.start(operand, slot));
    table.numbers(&numbers);
    table.axes(&map.sizes, &map.operands.iter().map(|o| &o.strides[..]).collect::<Vec<_>>());
    let grid = Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() };
    // A remainder takes up to 32 rounds.
    let trip_count = 40 * map.instructions.len() as u64 + map.sizes.len() as u64;
    context.bind(kernel, shape, grid, trip_count, &step.inputs, &[table.words()], step.output)
}

fn kind(map: &MapStep, output: Slot) -> u32 {
    let channels = output.channels;
    let inner = map.sizes.last().copied().unwrap_or(1);
    // The four elements of a vec4 of the output are in one row of the innermost axis; at a multiple of 4 in it.
    let (together, aligned) = if inner.is_multiple_of(4) && channels.is_multiple_of(4) {
        (true, true)
    } else {
        (inner.is_multiple_of(channels), inner == channels)
    };
    let way = |operand: &Operand| match operand.strides.split_last() {
        _ if !together => 0,
        Some((0, _)) => ONE,
        Some((1, outer)) if aligned && fours(&[operand.offset]) && fours(outer) => VECTOR,
        _ => 0,
    };
    let ways: Vec<u32> = map.operands.iter().map(way).collect();
    let whole = if ways.contains(&0) { 0 } else { WHOLE };
    ways.iter().enumerate().fold(whole, |kind, (at, way)| kind | way << (2 * at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Instruction;

    fn kind_of(sizes: &[usize], strides: &[&[i64]], output: [usize; 3]) -> u32 {
        let operands = strides.iter().map(|s| Operand { offset: 0, strides: s.to_vec(), per_sample: true }).collect();
        let map = MapStep { sizes: sizes.to_vec(), operands, instructions: vec![Instruction::Operand(0)] };
        let [channels, height, width] = output;
        kind(&map, Slot { buffer: 0, channels, height, width })
    }

    #[test]
    fn operands_are_read_by_vectors_where_their_elements_are_together() {
        // A plain value and a number for all of it.
        assert_eq!(kind_of(&[7], &[&[1], &[0]], [7, 1, 1]), WHOLE | VECTOR | ONE << 2);
        // Rows of 3 begin anywhere; rows of 8 do not, but what is read backwards is no vec4.
        assert_eq!(kind_of(&[5, 3], &[&[3, 1], &[1, 0]], [15, 1, 1]), 0);
        assert_eq!(kind_of(&[5, 8], &[&[8, 1], &[1, 0], &[8, -1]], [40, 1, 1]), VECTOR | ONE << 2);
        assert_eq!(kind_of(&[5, 8], &[&[9, 1]], [40, 1, 1]), 0);
        // An image of 3 channels: its own layout, a number a channel, a number a pixel.
        assert_eq!(kind_of(&[20, 3], &[&[4, 1], &[0, 1], &[1, 0]], [3, 4, 5]), WHOLE | VECTOR | VECTOR << 2 | ONE << 4);
        assert_eq!(kind_of(&[60], &[&[1]], [3, 4, 5]), 0);
        assert_eq!(kind_of(&[80], &[&[1]], [4, 4, 5]), WHOLE | VECTOR);
    }
}
