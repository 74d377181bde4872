//! The layout of each value of a network: an image (channels last, padded to a multiple of 4) or plain (row-major). The
//! layers that write and read a value decide.

use super::operand::{LaidOut, Operand};
use crate::artifact::{Artifact, Layer, Map, Op, Pick, Primitive, Resample, Residual, Walk};

/// The layout of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Row-major, padded to a multiple of 4 at the end.
    #[default]
    Plain,
    /// [height, width, channels], the channels of each pixel padded to a multiple of 4.
    Image,
}

/// Which layout a layer needs of the values that it reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Images, if they have more than one pixel.
    Image,
    /// Any.
    Either,
    /// Any, but the same for all, since it goes element by element.
    Alike,
}

fn needs(artifact: &Artifact, layer: &Layer) -> Needs {
    let same_shape = || {
        let mut shapes = layer.inputs.iter().map(|&v| artifact.shapes().get(v as usize));
        shapes.next().is_some_and(|first| shapes.all(|other| other == first))
    };
    match &layer.op {
        Op::Linear { .. } | Op::Rearrange { .. } | Op::Constant { .. } | Op::Primitive(_) => Needs::Either,
        Op::Activate(_) => Needs::Alike,
        Op::Multiply { .. } if same_shape() => Needs::Alike,
        Op::Add { residual: Residual { stride: 1, offset: 0 }, .. } if same_shape() => Needs::Alike,
        _ => Needs::Image,
    }
}

/// The values that primitive `p`, which gives `output`, can read and write as images if all of them are: those whose elements it
/// passes on to the same channel, row and column, or to others that follow from each alone.
fn passed_on(artifact: &Artifact, layer: &Layer, p: &Primitive, output: usize) -> Vec<usize> {
    let shapes = artifact.shapes();
    let &[channels, height, width] = &shapes[output][..] else { return Vec::new() };
    let reads = || layer.inputs.iter().map(|&v| v as usize);
    let is_constant = |v: usize| v.checked_sub(artifact.inputs().len()).is_some_and(|at| artifact.model().layers[at].op.is_constant());
    match p {
        Primitive::Map(Map { operands, .. }) => {
            let same = [height * width, width, 1].map(|s| s as i32);
            let as_it_is = |(v, walk): (usize, &Walk)| {
                // An axis of one element may have any stride.
                let alike = shapes[output].iter().zip(&walk.strides).zip(same).all(|((&d, &s), t)| d == 1 || s == t);
                (shapes[v] == [channels, height, width] && walk.offset == 0 && alike).then_some(v)
            };
            reads().zip(operands).filter_map(as_it_is).filter(|&v| !is_constant(v)).collect()
        }
        Primitive::Pick(Pick { axes, .. }) => {
            let tables: Vec<Vec<i32>> = axes.iter().map(|axis| axis.table()).collect();
            let follows = |v: &usize| shapes[*v].len() == 3 && Operand::tables(&tables, image(&shapes[*v])).is_some();
            reads().filter(|&v| follows(&v) && !is_constant(v)).collect()
        }
        Primitive::Resample(Resample { axis: 1 | 2, .. }) | Primitive::Join { axis: 1 | 2 } if !reads().any(is_constant) => {
            reads().collect()
        }
        _ => Vec::new(),
    }
}

/// Channels, height and width of a value of `shape` as an image; a value of other axes has one pixel.
pub(super) fn image(shape: &[usize]) -> LaidOut {
    match *shape {
        [channels, height, width] => [channels, height, width],
        _ => plain(shape),
    }
}

fn plain(shape: &[usize]) -> LaidOut {
    [shape.iter().product(), 1, 1]
}

/// The laid-out shape of every value of `artifact`: an image where a layer that writes or reads it needs one, or where
/// elementwise layers connect it with such a value; plain everywhere else. So an image that only fully connected layers read
/// stays a vector: padding a few channels to 4 would multiply their work.
pub(super) fn laid_out(artifact: &Artifact) -> Vec<LaidOut> {
    let layers = &artifact.model().layers;
    let shapes = artifact.shapes();
    let mut is_image = vec![false; shapes.len()];
    // The values of each layer that goes element by element.
    let mut alike: Vec<Vec<usize>> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let values = || layer.inputs.iter().map(|&v| v as usize).chain([artifact.value_of(index)]);
        match needs(artifact, layer) {
            Needs::Image => values().for_each(|v| is_image[v] = true),
            Needs::Either => {
                if let Op::Primitive(p) = &layer.op {
                    let read = passed_on(artifact, layer, p, artifact.value_of(index));
                    if !read.is_empty() {
                        alike.push(read.into_iter().chain([artifact.value_of(index)]).collect());
                    }
                }
            }
            Needs::Alike => alike.push(values().collect()),
        }
    }
    // Passes alternate between forwards and backwards, so that a chain of such layers is done in one pass each.
    let mut changed = true;
    while changed {
        changed = false;
        for pass in 0..2 {
            for at in 0..alike.len() {
                let values = &alike[if pass == 0 { at } else { alike.len() - 1 - at }];
                let images = values.iter().filter(|&&v| is_image[v]).count();
                if images > 0 && images < values.len() {
                    values.iter().for_each(|&v| is_image[v] = true);
                    changed = true;
                }
            }
        }
    }
    shapes.iter().zip(is_image).map(|(shape, is_image)| if is_image { image(shape) } else { plain(shape) }).collect()
}

/// Whether a layer only gives the elements of its input another shape.
pub(super) fn is_reshape(op: &Op, elements: usize) -> bool {
    let Op::Rearrange { offset: 0, steps, .. } = op else { return false };
    let mut reached = 1u64;
    for step in steps.iter().rev().filter(|s| s.size != 1) {
        if u64::from(step.stride) != reached {
            return false;
        }
        reached = reached.saturating_mul(u64::from(step.size));
    }
    reached == elements as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Activation, Model, PoolKind, Stride, Window};

    fn network(input: &[u32], ops: Vec<(Vec<u32>, Op)>) -> Artifact {
        let layers = ops.into_iter().map(|(inputs, op)| Layer { name: "l".into(), inputs, op }).collect();
        Artifact::build(Model::new("layouts", input, layers), Vec::new()).unwrap()
    }

    fn reshape(shape: &[u32]) -> Op {
        let size = shape.iter().product();
        Op::Rearrange { shape: shape.to_vec(), offset: 0, steps: vec![Stride { size, stride: 1 }] }
    }

    #[test]
    fn readers_decide_and_elementwise_layers_pass_it_on() {
        let add = Op::Add { residual: Residual { stride: 1, offset: 0 }, activation: Activation::None };
        let relu = || Op::Activate(Activation::Relu);
        let pool = Op::Pool { kind: PoolKind::Max, window: Window::POINT };
        // Nobody needs an image: four axes and three alike.
        let plain = network(&[2, 3, 4], vec![(vec![0], relu()), (vec![1], reshape(&[2, 3, 2, 2])), (vec![2], relu())]);
        assert_eq!(laid_out(&plain), [[24, 1, 1]; 4]);
        // A pool behind two elementwise layers makes images of all before it, and of what is added.
        let images =
            network(&[24], vec![(vec![0], reshape(&[2, 3, 4])), (vec![1], relu()), (vec![1], relu()), (vec![3, 2], add), (vec![4], pool)]);
        assert_eq!(laid_out(&images), [[24, 1, 1], [2, 3, 4], [2, 3, 4], [2, 3, 4], [2, 3, 4], [2, 3, 4]]);
    }

    #[test]
    fn a_reshape_counts_all_elements_in_their_order() {
        let op = |offset, steps: &[(u32, u32)]| {
            let steps = steps.iter().map(|&(size, stride)| Stride { size, stride }).collect();
            Op::Rearrange { shape: vec![6], offset, steps }
        };
        assert!(is_reshape(&op(0, &[(6, 1)]), 6) && is_reshape(&op(0, &[(2, 3), (1, 9), (3, 1)]), 6));
        assert!(!is_reshape(&op(0, &[(3, 1), (2, 3)]), 6) && !is_reshape(&op(0, &[(6, 1)]), 7) && !is_reshape(&op(1, &[(6, 1)]), 7));
        assert!(!is_reshape(&Op::GlobalAveragePool, 1));
    }
}
