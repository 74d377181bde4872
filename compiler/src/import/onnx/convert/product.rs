//! Products of two computed values, where no rule found an attention: both repeated to one shape, multiplied and summed. That
//! takes as many elements as multiplications, so only small products are converted.

use super::{Converter, Step};
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;
use crate::import::onnx::view::View;

impl<'a> Converter<'a> {
    /// a·b over the last two axes of each, the others broadcast.
    pub(super) fn product(&mut self, node: &Node, a: &View, b: &View) -> Step<View> {
        if a.rank() < 2 || b.rank() < 2 {
            return Err("multiplies computed vectors, which is not supported".into());
        }
        let rank = a.rank().max(b.rank());
        let (a, b) = (a.raised(rank), b.raised(rank));
        let [rows, columns] = [rank - 2, rank - 1];
        if a.sample != b.sample || a.sample.is_some_and(|s| s >= rows) {
            return Err(
                format!("multiplies samples with each other (values of {:?} and {:?})", self.full_shape(&a), self.full_shape(&b)).into()
            );
        }
        let own = |view: &View, axis: usize| view.own(axis).unwrap_or(axis);
        let (sizes_a, sizes_b) = (a.sizes(), b.sizes());
        let (m, k, n) = (sizes_a[own(&a, rows)], sizes_a[own(&a, columns)], sizes_b[own(&b, columns)]);
        if sizes_b[own(&b, rows)] != k {
            return Err(format!("multiplies values of {:?} and {:?}", self.full_shape(&a), self.full_shape(&b)).into());
        }
        let outer = sizes::broadcast(&sizes_a[..own(&a, rows)], &sizes_b[..own(&b, rows)])?;
        let elements = outer.iter().chain(&[m, n, k]).try_fold(1usize, |all, d| all.checked_mul(*d)).filter(|all| *all <= sizes::MOST);
        if elements.is_none() {
            return Err(format!(
                "multiplies computed values of {:?} and {:?}, more than is supported outside of an attention",
                self.full_shape(&a),
                self.full_shape(&b)
            )
            .into());
        }
        // a as [.., m, 1, k], b as [.., 1, n, k]: the sum is over the last axis.
        let all = [&outer[..], &[m, n, k]].concat();
        let last = all.len() - 1;
        let mut left = a.clone();
        left.axes.insert(last - 1, Vec::new());
        let mut right = b.clone();
        right.axes.swap(last - 2, last - 1);
        right.axes.insert(last - 2, Vec::new());
        let (left, right) = (self.expanded(node, &left, &all)?, self.expanded(node, &right, &all)?);
        let products = self.multiplied(node, &left, &right)?;
        let mut sum = self.sum_over(node, &products, &[last])?;
        sum.axes.remove(last);
        Ok(sum)
    }
}
