//! From a primitive to the step that computes it, by the layouts of what it reads and writes.

use super::StepKind;
use super::operand::{LaidOut, Operand, coalesce};
use super::primitive_steps::{JoinStep, LookupStep, MapStep, MatMulStep, PickStep, ReduceStep, ResampleStep, SoftmaxStep};
use crate::artifact::{Lookup, Map, MatMul, Pick, Primitive, Reduce, ReduceKind, Resample, SoftmaxOver, Walk};

/// What a step is told of a value that it reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) laid_out: LaidOut,
    /// Whether it is the same for all samples.
    pub(super) constant: bool,
}

/// What must be plain for a step, and is an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    Input(usize),
    Output,
}

/// The step of `primitive` over values of `shapes`, `reads` in their layouts, whose output is laid out as `output`.
pub(super) fn step(primitive: &Primitive, shapes: &[&[usize]], reads: &[Seen], output: LaidOut) -> Result<StepKind, Misfit> {
    let walk =
        |at: usize, walk: &Walk, sizes: &[u32]| Operand::new(walk, sizes, reads[at].laid_out, reads[at].constant).ok_or(Misfit::Input(at));
    let per_sample = |at: usize| !reads[at].constant;
    let writes_plain = matches!(primitive, Primitive::Reduce(_) | Primitive::Softmax(_) | Primitive::MatMul(_) | Primitive::Lookup(_));
    if writes_plain && is_image(output) {
        return Err(Misfit::Output);
    }
    Ok(match primitive {
        Primitive::Map(map) => StepKind::Map(mapped(map, reads, output)?),
        Primitive::Reduce(Reduce { kind, shape, over, operand }) => {
            let operand = walk(0, operand, &[&shape[..], over].concat())?;
            StepKind::Reduce(reduced(*kind, wide(shape), wide(over), operand))
        }
        Primitive::Softmax(SoftmaxOver { shape, axis, log, operand }) => {
            let (mut sizes, axis) = (wide(shape), *axis as usize);
            let mut operand = walk(0, operand, shape)?;
            let mut output = Operand { offset: 0, strides: row_major(&sizes), per_sample: true };
            let (length, from, to) = (sizes.remove(axis), operand.strides.remove(axis), output.strides.remove(axis));
            if !sizes.is_empty() {
                coalesce(&mut sizes, &mut [&mut operand.strides, &mut output.strides]);
            }
            sizes.push(length);
            operand.strides.push(from);
            output.strides.push(to);
            StepKind::SoftmaxOver(SoftmaxStep { sizes, log: *log, operand, output })
        }
        Primitive::MatMul(product) => {
            let MatMul { batch, rows, columns, inner, a, b } = product;
            let a = walk(0, a, &[&batch[..], &[*rows, *inner]].concat())?;
            let b = walk(1, b, &[&batch[..], &[*inner, *columns]].concat())?;
            let [rows, columns, inner] = [*rows, *columns, *inner].map(|n| n as usize);
            StepKind::MatMul(MatMulStep { batch: wide(batch), rows, columns, inner, a, b })
        }
        Primitive::Pick(Pick { axes, fill }) => {
            let tables: Vec<Vec<i32>> = axes.iter().map(|axis| axis.table()).collect();
            let mut tables = Operand::tables(&tables, reads[0].laid_out).ok_or(Misfit::Input(0))?;
            channels_last(&mut tables, output);
            StepKind::Pick(PickStep { tables, fill: *fill, per_sample: per_sample(0) })
        }
        Primitive::Resample(Resample { axis, taps, indices, weights }) => {
            let [outer, inputs, inner] = around(0, *axis as usize, shapes, reads, output)?;
            let (indices, weights) = (indices.clone(), weights.clone());
            StepKind::Resample(ResampleStep { outer, inputs, inner, taps: *taps as usize, indices, weights, per_sample: per_sample(0) })
        }
        Primitive::Join { axis } => {
            let parts = (0..reads.len()).map(|at| around(at, *axis as usize, shapes, reads, output)).collect::<Result<Vec<_>, _>>()?;
            let blocks = parts.iter().map(|[_, count, inner]| count * inner).collect();
            let per_sample = (0..reads.len()).map(per_sample).collect();
            StepKind::Join(JoinStep { outer: parts.first().map_or(1, |p| p[0]), blocks, per_sample })
        }
        Primitive::Lookup(lookup) => StepKind::Lookup(looked_up(*lookup, shapes, reads)?),
    })
}

fn mapped(map: &Map, reads: &[Seen], output: LaidOut) -> Result<MapStep, Misfit> {
    let mut sizes = wide(&map.shape);
    let mut operands = Vec::with_capacity(reads.len());
    for (at, (operand, seen)) in map.operands.iter().zip(reads).enumerate() {
        operands.push(Operand::new(operand, &map.shape, seen.laid_out, seen.constant).ok_or(Misfit::Input(at))?);
    }
    channels_last(&mut sizes, output);
    operands.iter_mut().for_each(|o| channels_last(&mut o.strides, output));
    coalesce(&mut sizes, &mut operands.iter_mut().map(|o| &mut o.strides).collect::<Vec<_>>());
    Ok(MapStep { sizes, operands, instructions: map.instructions.clone() })
}

fn reduced(kind: ReduceKind, mut sizes: Vec<usize>, mut over: Vec<usize>, mut operand: Operand) -> ReduceStep {
    let mut vanishing = operand.strides.split_off(sizes.len());
    coalesce(&mut sizes, &mut [&mut operand.strides]);
    coalesce(&mut over, &mut [&mut vanishing]);
    operand.strides.append(&mut vanishing);
    ReduceStep { kind, sizes, over, operand }
}

/// What stands before axis `axis` of input `at`, the axis, and what is behind it, as input and output lie: both plain, or both images.
fn around(at: usize, axis: usize, shapes: &[&[usize]], reads: &[Seen], output: LaidOut) -> Result<[usize; 3], Misfit> {
    let (shape, [channels, height, width]) = (shapes[at], reads[at].laid_out);
    let padded = channels.next_multiple_of(4);
    match (is_image(reads[at].laid_out), is_image(output), axis) {
        (false, false, _) => Ok([shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]),
        (true, true, 1) if shape.len() == 3 && shape[1..] == [height, width] => Ok([1, height, width * padded]),
        (true, true, 2) if shape.len() == 3 && shape[1..] == [height, width] => Ok([height, width, padded]),
        (_, true, _) => Err(Misfit::Output),
        _ => Err(Misfit::Input(at)),
    }
}

fn is_image([_, height, width]: LaidOut) -> bool {
    height * width > 1
}

fn looked_up(lookup: Lookup, shapes: &[&[usize]], reads: &[Seen]) -> Result<LookupStep, Misfit> {
    if let Some(at) = reads.iter().position(|r| is_image(r.laid_out)) {
        return Err(Misfit::Input(at));
    }
    let (axis, values, indices) = (lookup.axis as usize, shapes[0], shapes[1]);
    let (of_values, of_indices) = (row_major(values), row_major(indices));
    let none = |shape: &[usize]| vec![0; shape.len()];
    let (sizes, data, index) = if lookup.elements {
        let mut data = of_values.clone();
        data[axis] = 0;
        (indices.to_vec(), data, of_indices)
    } else {
        let (before, behind) = (&values[..axis], &values[axis + 1..]);
        let sizes = [before, indices, behind].concat();
        let data = [of_values[..axis].to_vec(), none(indices), of_values[axis + 1..].to_vec()].concat();
        (sizes, data, [none(before), of_indices, none(behind)].concat())
    };
    let operand = |at: usize, strides| Operand { offset: 0, strides, per_sample: !reads[at].constant };
    let (mut sizes, mut data, mut index) = (sizes, operand(0, data), operand(1, index));
    coalesce(&mut sizes, &mut [&mut data.strides, &mut index.strides]);
    Ok(LookupStep { sizes, data, index, count: values[axis], stride: of_values[axis] as usize })
}

/// Axes [channels, height, width] in the order in which an image lies.
fn channels_last<T>(axes: &mut [T], output: LaidOut) {
    if is_image(output) && axes.len() == 3 {
        axes.rotate_left(1);
    }
}

fn wide(axes: &[u32]) -> Vec<usize> {
    axes.iter().map(|&d| d as usize).collect()
}

/// Elements from one index to the next along each axis of a plain value.
fn row_major(sizes: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; sizes.len()];
    for at in (1..sizes.len()).rev() {
        strides[at - 1] = strides[at] * sizes[at] as i64;
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Instruction, PickAxis, Run};

    fn seen(laid_out: LaidOut) -> Seen {
        Seen { laid_out, constant: false }
    }

    fn walk(strides: &[i32]) -> Walk {
        Walk { offset: 0, strides: strides.to_vec() }
    }

    #[test]
    fn an_image_is_mapped_in_the_order_in_which_it_lies() {
        let map =
            Map { shape: vec![3, 4, 5], operands: vec![walk(&[20, 5, 1]), walk(&[1, 0, 0])], instructions: vec![Instruction::Operand(0)] };
        let reads = [seen([3, 4, 5]), Seen { laid_out: [3, 1, 1], constant: true }];
        let MapStep { sizes, operands, .. } = mapped(&map, &reads, [3, 4, 5]).unwrap();
        assert_eq!((&sizes[..], &operands[0].strides[..], &operands[1].strides[..]), (&[20, 3][..], &[4, 1][..], &[0, 1][..]));
        assert!(operands[0].per_sample && !operands[1].per_sample);
        // Plain values are one row.
        let plain = mapped(&Map { operands: vec![walk(&[20, 5, 1])], ..map }, &[seen([60, 1, 1])], [60, 1, 1]).unwrap();
        assert_eq!((plain.sizes, plain.operands[0].strides.clone()), (vec![60], vec![1]));
    }

    #[test]
    fn what_carries_between_axes_of_an_image_must_be_plain() {
        let reduce = |over: u32| {
            let operand = walk(&[60 / over as i32, 1]);
            Primitive::Reduce(Reduce { kind: ReduceKind::Max, shape: vec![60 / over], over: vec![over], operand })
        };
        let shapes: [&[usize]; 1] = [&[3, 4, 5]];
        assert_eq!(step(&reduce(2), &shapes, &[seen([3, 4, 5])], [30, 1, 1]), Err(Misfit::Input(0)));
        assert_eq!(step(&reduce(2), &shapes, &[seen([60, 1, 1])], [3, 2, 5]), Err(Misfit::Output));
        assert!(step(&reduce(2), &shapes, &[seen([60, 1, 1])], [30, 1, 1]).is_ok());
        let channels = Primitive::Reduce(Reduce { kind: ReduceKind::Max, shape: vec![4, 5], over: vec![3], operand: walk(&[5, 1, 20]) });
        let Ok(StepKind::Reduce(r)) = step(&channels, &shapes, &[seen([3, 4, 5])], [20, 1, 1]) else { panic!("reads an image") };
        assert_eq!((r.sizes, r.over, r.operand.strides), (vec![20], vec![3], vec![4, 1]));
    }

    #[test]
    fn images_are_joined_picked_and_resampled_where_they_lie() {
        let image = [seen([3, 4, 5]), seen([3, 4, 2])];
        let shapes: [&[usize]; 2] = [&[3, 4, 5], &[3, 4, 2]];
        let joined = step(&Primitive::Join { axis: 2 }, &shapes, &image, [3, 4, 7]).unwrap();
        assert_eq!(joined, StepKind::Join(JoinStep { outer: 4, blocks: vec![20, 8], per_sample: vec![true; 2] }));
        assert_eq!(step(&Primitive::Join { axis: 0 }, &shapes, &image, [6, 4, 5]), Err(Misfit::Output));
        assert_eq!(step(&Primitive::Join { axis: 0 }, &shapes, &image, [120, 1, 1]), Err(Misfit::Input(0)));
        let run = |step: i32, count: u32, each: u32| PickAxis { runs: vec![Run { start: 0, step, count, each }] };
        let twice = Primitive::Pick(Pick { axes: vec![run(20, 3, 1), run(5, 4, 2), run(1, 5, 1)], fill: 0.0 });
        let Ok(StepKind::Pick(p)) = step(&twice, &shapes[..1], &image[..1], [3, 8, 5]) else { panic!("reads an image") };
        assert_eq!(
            (p.tables[0].len(), &p.tables[0][..4], &p.tables[1][..2], &p.tables[2][..]),
            (8, &[0, 0, 20, 20][..], &[0, 4][..], &[0, 1, 2][..])
        );
        let half = Primitive::Resample(Resample { axis: 1, taps: 1, indices: vec![0, 2], weights: vec![1.0; 2] });
        let Ok(StepKind::Resample(r)) = step(&half, &shapes[..1], &image[..1], [3, 2, 5]) else { panic!("reads an image") };
        assert_eq!((r.outer, r.inputs, r.inner), (1, 4, 20));
    }

    #[test]
    fn slices_and_elements_are_looked_up_by_strides() {
        let plain = |n: usize| seen([n, 1, 1]);
        let shapes: [&[usize]; 2] = [&[2, 9, 4], &[5]];
        let rows = looked_up(Lookup { axis: 1, elements: false }, &shapes, &[plain(72), plain(5)]).unwrap();
        assert_eq!((rows.sizes, rows.data.strides, rows.index.strides), (vec![2, 5, 4], vec![36, 0, 1], vec![0, 1, 0]));
        assert_eq!((rows.count, rows.stride), (9, 4));
        let shapes: [&[usize]; 2] = [&[3, 9], &[2, 7]];
        let each = looked_up(Lookup { axis: 1, elements: true }, &shapes, &[plain(27), plain(14)]).unwrap();
        assert_eq!((each.sizes, each.data.strides, each.index.strides, each.stride), (vec![2, 7], vec![9, 0], vec![7, 1], 1));
    }
}
