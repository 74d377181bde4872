//! Nodes that are made while a network is converted, kept for as long as that takes: values are known by their names.

use std::cell::OnceCell;

use crate::import::onnx::node::Node;

/// The end of a list of [`Made`], where the next one goes.
pub(super) type End = OnceCell<Box<Made>>;

/// All that was made, one after the other.
#[derive(Default)]
pub(super) struct Kept {
    first: End,
}

/// A node, and names of constants beside it.
pub(super) struct Made {
    pub(super) node: Option<Node>,
    pub(super) names: Vec<String>,
    next: End,
}

impl Kept {
    /// Where the first one goes.
    pub(super) fn end(&self) -> &End {
        &self.first
    }
}

impl Drop for Kept {
    // One after the other: dropped within each other, many would overflow the stack.
    fn drop(&mut self) {
        let mut next = self.first.take();
        while let Some(mut made) = next {
            next = made.next.take();
        }
    }
}

/// Keeps what was made at `end`, which moves on.
pub(super) fn keep<'k>(end: &mut &'k End, node: Option<Node>, names: Vec<String>) -> &'k Made {
    let made: &'k Made = end.get_or_init(|| Box::new(Made { node, names, next: End::new() }));
    *end = &made.next;
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_stays_where_it_is() {
        let kept = Kept::default();
        let mut end = kept.end();
        let all: Vec<&Made> = (0..200_000).map(|i| keep(&mut end, None, vec![i.to_string()])).collect();
        assert!(all.iter().enumerate().all(|(i, made)| made.names == [i.to_string()]));
    }
}
