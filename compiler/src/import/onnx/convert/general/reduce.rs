//! Reductions over any axes.

use thinfer::artifact::{Primitive, Reduce, ReduceKind};

use super::super::reduce::without;
use super::super::{Converter, Step};
use super::lengths::axes;
use super::operands::{coalesced, walk};
use crate::import::onnx::dims;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

fn kind(op: &str) -> Option<ReduceKind> {
    Some(match op {
        "ReduceSum" => ReduceKind::Sum,
        "ReduceMean" => ReduceKind::Mean,
        "ReduceMax" => ReduceKind::Max,
        "ReduceMin" => ReduceKind::Min,
        "ReduceProd" => ReduceKind::Product,
        "ReduceL1" => ReduceKind::L1,
        "ReduceL2" => ReduceKind::L2,
        "ReduceSumSquare" => ReduceKind::SumSquare,
        "ReduceLogSum" => ReduceKind::LogSum,
        "ReduceLogSumExp" => ReduceKind::LogSumExp,
        _ => return None,
    })
}

impl<'a> Converter<'a> {
    pub(super) fn reduced(&mut self, node: &'a Node) -> Step<View> {
        let view = self.computed(node, 0)?;
        let (kind, over) = match kind(&node.op) {
            None => {
                let last = node.int("select_last_index", 0) != 0;
                let kind = if node.op == "ArgMax" { ReduceKind::ArgMax { last } } else { ReduceKind::ArgMin { last } };
                (kind, self.own_axes(&view, &[node.int("axis", 0)])?)
            }
            Some(kind) => {
                let input = self.optional(node, 1)?;
                let named = dims::axes(node, input.as_deref())?.filter(|a| !a.is_empty());
                if named.is_none() && node.int("noop_with_empty_axes", 0) != 0 {
                    // Each element by itself.
                    (kind, Vec::new())
                } else {
                    let all = || (0..view.rank() as i64).collect();
                    (kind, self.own_axes(&view, &named.unwrap_or_else(all))?)
                }
            }
        };
        let y = self.reduced_over(node, &view, &over, kind)?;
        Ok(if node.int("keepdims", 1) != 0 { y } else { without(y, &over) })
    }

    /// The elements along the axes at `over`, which keep one element, made one.
    pub(super) fn reduced_over(&mut self, node: &Node, view: &View, over: &[usize], kind: ReduceKind) -> Step<View> {
        let sizes = view.sizes();
        let mut views = [view.clone()];
        // The axes that stay, then those that vanish.
        let order: Vec<usize> = (0..sizes.len()).filter(|i| !over.contains(i)).chain(over.iter().copied()).collect();
        let kept = order.len() - over.len();
        views[0] = views[0].permuted(&order).ok_or("names an axis twice")?;
        let ordered: Vec<usize> = order.iter().map(|&i| sizes[i]).collect();
        let staying = self.dims(node, &ordered[..kept], &mut [part(&views[0], 0..kept)])?;
        let vanishing = self.dims(node, &ordered[kept..], &mut [part(&views[0], kept..order.len())])?;
        let (staying, vanishing) = (coalesced(staying), coalesced(vanishing));
        let lengths = |dims: &[super::operands::Dim]| axes(&dims.iter().map(|d| d.size).collect::<Vec<_>>());
        let (shape, gone) = (lengths(&staying)?, lengths(&vanishing)?);
        let mut operand = walk(&staying, 0)?;
        operand.strides.extend(walk(&vanishing, 0)?.strides);
        let reduce = Primitive::Reduce(Reduce { kind, shape, over: gone, operand });
        let base = self.primitive(node.label().into(), reduce, vec![view.base])?;
        let left: Vec<usize> = (0..sizes.len()).map(|i| if over.contains(&i) { 1 } else { sizes[i] }).collect();
        Ok(View::plain(base, &left).sampled(view.sample))
    }
}

/// Some axes of a view.
fn part(view: &View, axes: std::ops::Range<usize>) -> View {
    View { axes: view.axes[axes].to_vec(), ..view.clone() }
}
