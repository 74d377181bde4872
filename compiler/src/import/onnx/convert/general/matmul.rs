//! Products of two values, matrix by matrix, of which one may be a constant of any axes.

use thinfer::artifact::{Binary, MatMul, Primitive, Walk};

use super::super::{Converter, OnnxValue, Step};
use super::lengths::{axes, small};
use super::operands::{Piece, Together};
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;
use crate::import::onnx::view::View;

/// What a product is of: two values with axes [batch…, rows, inner] and [batch…, inner, columns], each axis one step.
pub(super) struct Product {
    pub(super) a: View,
    pub(super) b: View,
    /// What the axes before the matrices' broadcast to.
    pub(super) batch: Vec<usize>,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) inner: usize,
}

impl<'a> Converter<'a> {
    /// Input `i` as a view, a constant as a value of the graph.
    pub(super) fn operand(&mut self, node: &'a Node, i: usize) -> Step<View> {
        match self.value(node, i)?.clone() {
            OnnxValue::Constant(array) => {
                let name = format!("{}.constant", node.label());
                self.constant_value(name, &array.shape, array.held_floats()?)
            }
            _ => self.computed(node, i),
        }
    }

    pub(super) fn matrix_product(&mut self, node: &'a Node) -> Step<View> {
        let (a, b) = (self.operand(node, 0)?, self.operand(node, 1)?);
        self.product_of(node, a, b)
    }

    /// a·b as ONNX's MatMul has it: over the last two axes of each, the others broadcast, a vector being a row of a or a column of b.
    pub(super) fn product_of(&mut self, node: &Node, mut a: View, mut b: View) -> Step<View> {
        let (row, column) = (a.rank() == 1, b.rank() == 1);
        if a.rank() == 0 || b.rank() == 0 {
            return Err("multiplies a single number".into());
        }
        if row {
            a = a.raised(2);
        }
        if column {
            b.axes.push(Vec::new());
        }
        let rank = a.rank().max(b.rank());
        let (a, b) = (a.raised(rank), b.raised(rank));
        let [at_rows, at_columns] = [rank - 2, rank - 1];
        let (sample, a, b) = match (a.sample, b.sample) {
            (None, None) => (None, a, b),
            (Some(s), Some(t)) if s == t && s < at_rows => (Some(s), a, b),
            // One is the same for all samples; where those stand along the rows or columns of the other, each has one.
            (Some(s), None) if s == at_rows => (Some(s), with_one(a, s), b),
            (None, Some(s)) if s == at_columns => (Some(s), a, with_one(b, s)),
            (Some(s), None) if s < at_rows => {
                let beside = b.beside(&a).ok_or("brings the samples of one value to another axis of the other")?;
                (Some(s), a, beside)
            }
            (None, Some(s)) if s < at_rows => {
                let beside = a.beside(&b).ok_or("brings the samples of one value to another axis of the other")?;
                (Some(s), beside, b)
            }
            _ => return Err("multiplies samples with each other".into()),
        };
        let (sizes_a, sizes_b) = (a.sizes(), b.sizes());
        let [last_a, last_b] = [sizes_a.len(), sizes_b.len()];
        let (rows, inner, columns) = (sizes_a[last_a - 2], sizes_a[last_a - 1], sizes_b[last_b - 1]);
        if sizes_b[last_b - 2] != inner {
            return Err(format!("multiplies values of {sizes_a:?} and {sizes_b:?}").into());
        }
        let batch = sizes::broadcast(&sizes_a[..last_a - 2], &sizes_b[..last_b - 2])?;
        let y = self.matrices(node, Product { a, b, batch: batch.clone(), rows, columns, inner })?;
        let mut own = batch;
        // The axis of the samples is none of its own.
        if sample != Some(at_rows) && !row {
            own.push(rows);
        }
        if sample != Some(at_columns) && !column {
            own.push(columns);
        }
        let sample = sample.map(|s| s - usize::from(row && s > at_rows));
        Ok(View::plain(y, &own).sampled(sample))
    }

    /// The graph value of the product, [batch…, rows, columns].
    pub(super) fn matrices(&mut self, node: &Node, product: Product) -> Step<usize> {
        let Product { a, b, batch, rows, columns, inner } = product;
        let (a, b) = (self.in_order(node, &a)?, self.in_order(node, &b)?);
        let walk = |view: &View| -> Step<Walk> {
            // Axes that it lacks are repeated.
            let more = batch.len() + 2 - view.axes.len();
            let strides = view.axes.iter().map(|atoms| atoms.first().map_or(Ok(0), |a| i32::try_from(a.stride)));
            let strides = std::iter::repeat_n(Ok(0), more).chain(strides).collect::<Result<_, _>>();
            Ok(Walk { offset: 0, strides: strides.map_err(|_| "has a step of more elements than can be counted")? })
        };
        let (walk_a, walk_b) = (walk(&a)?, walk(&b)?);
        let batch = if batch.is_empty() { Vec::new() } else { axes(&batch)? };
        let product = MatMul { batch, rows: small(rows)?, columns: small(columns)?, inner: small(inner)?, a: walk_a, b: walk_b };
        self.primitive(node.label().into(), Primitive::MatMul(product), vec![a.base, b.base])
    }

    /// α·A·B + β·C of any values.
    pub(super) fn general_gemm(&mut self, node: &'a Node) -> Step<View> {
        let turned = |view: View, key: &str| match node.int(key, 0) {
            0 => Ok(view),
            _ => view.transposed(&[1, 0]).ok_or("multiplies values that are no matrices"),
        };
        let (a, b) = (self.operand(node, 0)?, self.operand(node, 1)?);
        if [&a, &b].iter().any(|v| v.rank() != 2) {
            return Err("multiplies values that are no matrices".into());
        }
        let (a, b) = (turned(a, "transA")?, turned(b, "transB")?);
        let y = self.product_of(node, a, b)?;
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        let mut values = vec![OnnxValue::Computed(y)];
        if node.input(2).is_some() {
            values.push(self.value(node, 2)?.clone());
        }
        let together: Together = self.brought_together(node, &values)?;
        if !together.is_of(&values[0]) {
            return Err("adds a value that does not fit its product".into());
        }
        if matches!(together.pieces[0], Piece::Number(_)) {
            return Err("multiplies numbers".into());
        }
        self.mapped_by(node, together, |e, n| {
            let alpha = e.constant(alpha)?;
            let mut y = e.binary(Binary::Mul, n[0], alpha)?;
            if let Some(&c) = n.get(1) {
                let beta = e.constant(beta)?;
                let c = e.binary(Binary::Mul, c, beta)?;
                y = e.binary(Binary::Add, y, c)?;
            }
            e.result(y)
        })
    }
}

/// A view whose axis of samples `at` is an axis of one element beside that, so that each sample is a matrix of one row or column.
fn with_one(view: View, at: usize) -> View {
    let mut axes = view.axes;
    axes.insert(at, Vec::new());
    View { axes, ..view }
}
