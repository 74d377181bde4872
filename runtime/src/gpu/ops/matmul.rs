//! Products of matrices that are both computed.

use thinfer_shaders::Kernel;

use super::table::{Table, fours};
use crate::artifact::Window;
use crate::error::Result;
use crate::gpu::device::Gpu;
use crate::gpu::launch::{Candidate, Context, Dispatch, Grid};
use crate::gpu::shape::{Shape, Values};
use crate::plan::{MatMulStep, Operand};

/// Flags of wgsl/matmul.wgsl: the four elements are of one row; beside each other in the second input; whole vec4s along the sum in both.
const ROW: u32 = 1;
const BESIDE: u32 = 2;
const DOTS: u32 = 4;
/// Of wgsl/matmul_tile.wgsl: what neighbouring invocations read of each input lies along the sum.
const A_ALONG: u32 = 8;
const B_ALONG: u32 = 16;
/// Fewer rows or columns than this leave most of a tile empty.
const TILED: usize = 8;

/// Every kernel; a software adapter, to which barriers are dear, takes the one without.
pub(super) fn candidates(gpu: &Gpu, product: &MatMulStep) -> Vec<Candidate> {
    let tiled = !gpu.is_software() && product.rows >= TILED && product.columns >= TILED;
    let time = |k: &Kernel| u64::from((k.kernel == "matmul_tile") != tiled);
    gpu.variants("matmul").chain(gpu.variants("matmul_tile")).map(|kernel| Candidate { kernel, time: time(kernel) }).collect()
}

/// Binds the step.
pub(super) fn step(context: &Context<'_>, kernel: &'static Kernel, values: &Values, product: &MatMulStep) -> Result<Dispatch> {
    let MatMulStep { batch, rows, columns, inner, a, b } = product;
    let second = values.second.unwrap_or(values.input);
    let mut shape = Shape::new(values, &Window::POINT);
    let products: usize = batch.iter().product();
    shape.column_groups = products as u32;
    shape.flags = flags(product);
    let mut table = Table::default();
    table.whole([batch.len(), *rows, *columns, *inner].map(|n| n as i64));
    for (operand, slot) in [(a, values.input), (b, second)] {
        table.start(operand, slot);
        table.whole(operand.strides[batch.len()..].iter().copied());
    }
    table.axes(batch, &[&a.strides, &b.strides]);
    let grid = match kernel.define("EACH").map(|each| each as usize * 8) {
        Some(tile) => {
            let tiles = products as u64 * rows.div_ceil(tile) as u64 * columns.div_ceil(tile) as u64;
            context.at_most("tiles of a product", tiles, u32::MAX.into())?;
            Grid { pixels: tiles as u32, rows: 1, columns: 1, units: 1 }
        }
        None => Grid { pixels: shape.pixels, rows: 1, columns: shape.outputs4, units: kernel.invocations() },
    };
    let trip_count = (*inner + inner / 64 + batch.len() + 2) as u64;
    context.bind(kernel, shape, grid, trip_count, &[values.input, second], &[table.words()], values.output)
}

fn flags(product: &MatMulStep) -> u32 {
    let MatMulStep { batch, columns, inner, a, b, .. } = product;
    let axes = batch.len();
    let matrix = |operand: &Operand| [operand.strides[axes], operand.strides[axes + 1]];
    let ([a_row, a_column], [b_row, b_column]) = (matrix(a), matrix(b));
    let starts = |operand: &Operand| fours(&[operand.offset]) && fours(&operand.strides[..axes]);
    let row = columns.is_multiple_of(4);
    let beside = row && b_column == 1 && fours(&[b_row]) && starts(b);
    let dots = inner.is_multiple_of(4) && a_column == 1 && b_row == 1 && fours(&[a_row, b_column]) && starts(a) && starts(b);
    let set = [(row, ROW), (beside, BESIDE), (dots, DOTS), (a_column == 1, A_ALONG), (b_row == 1, B_ALONG)];
    set.into_iter().filter(|s| s.0).fold(0, |flags, s| flags | s.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_read_by_vectors_where_their_elements_are_together() {
        let operand = |strides: &[i64]| Operand { offset: 0, strides: strides.to_vec(), per_sample: true };
        let product =
            |columns, inner, a: &[i64], b: &[i64]| MatMulStep { batch: vec![2], rows: 3, columns, inner, a: operand(a), b: operand(b) };
        assert_eq!(flags(&product(8, 5, &[15, 5, 1], &[40, 8, 1])), ROW | BESIDE | A_ALONG);
        assert_eq!(flags(&product(7, 8, &[24, 8, 1], &[56, 1, 8])), DOTS | A_ALONG | B_ALONG);
        assert_eq!(flags(&product(7, 5, &[15, 1, 3], &[35, 7, 1])), 0);
    }
}
