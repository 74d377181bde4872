//! Sums and products of all elements up to each.

use crate::import::onnx::node::Node;

/// Whether the element at the first index is part of the result at the second one.
pub(super) fn is_part(node: &Node) -> impl Fn(usize, usize) -> bool + use<> {
    let (reverse, exclusive) = (node.int("reverse", 0) != 0, node.int("exclusive", 0) != 0);
    move |from, to| match (reverse, exclusive) {
        (false, false) => from <= to,
        (false, true) => from < to,
        (true, false) => from >= to,
        (true, true) => from > to,
    }
}
