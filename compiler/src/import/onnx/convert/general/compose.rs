//! Operations that are a few primitives.

use thinfer::artifact::{Activation, Binary, ReduceKind};

use super::super::cumulative::is_part;
use super::super::{Converter, OnnxValue, Step};
use super::matmul::Product;
use super::operands::{Piece, Together};
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;
use crate::import::onnx::view::View;

/// The longest axis that is summed up by a matrix of ones and zeros.
const LONGEST_SUM: usize = 4096;

impl<'a> Converter<'a> {
    /// Sums of all elements before each: a product with a matrix of ones below its diagonal.
    pub(super) fn cumulative_sum(&mut self, node: &'a Node) -> Step<View> {
        let view = self.computed(node, 0)?;
        let axis = self.constant(node, 1)?.as_ints().and_then(|a| a.first().copied()).ok_or("has no axis")?;
        let own = self.own_axis(&view, axis)?;
        let size = view.sizes()[own];
        if size > LONGEST_SUM {
            return Err(format!("sums up an axis of {size} elements, more than {LONGEST_SUM}").into());
        }
        // Row j says which sums element j is part of.
        let is_part = is_part(node);
        let ones = (0..size * size).map(|n| f32::from(u8::from(is_part(n / size, n % size)))).collect();
        let matrix = self.constant_value(format!("{}.ones", node.label()), &[size, size], ones)?;
        let rank = view.axes.len();
        let order: Vec<usize> = (0..rank).filter(|&i| i != own).chain([own]).collect();
        let turned = view.permuted(&order).ok_or("names no axis")?;
        let rows = turned.len() / size;
        let a = self.reordered(node, &turned, &[rows, size])?;
        let y = self.matrices(node, Product { a, b: matrix, batch: Vec::new(), rows, columns: size, inner: size })?;
        let shape: Vec<usize> = order.iter().map(|&i| view.sizes()[i]).collect();
        Ok(View::plain(y, &shape).restored(&order).ok_or("names no axis")?.sampled(view.sample))
    }

    /// One number where an index is, another elsewhere, along a new axis.
    pub(super) fn one_hot(&mut self, node: &'a Node) -> Step<View> {
        let (indices, depth, values) = (self.computed(node, 0)?, self.constant(node, 1)?, self.constant(node, 2)?);
        let depth = depth.to_floats().first().map(|d| *d as usize).filter(|d| (1..=sizes::MOST).contains(d)).ok_or("has no depth")?;
        let [off, on] = values.to_floats()[..] else { return Err("has no two values".into()) };
        let axis = sizes::axis(node.int("axis", -1), indices.rank() + 1)?;
        let sample = indices.sample.map(|s| s + usize::from(s >= axis));
        let own = axis - usize::from(sample.is_some_and(|s| s < axis));
        let mut axes = indices.axes.clone();
        axes.insert(own, Vec::new());
        let indices = View { base: indices.base, axes, sample };
        let mut line = vec![1; indices.axes.len()];
        line[own] = depth;
        let places = self.constant_value(format!("{}.places", node.label()), &line, (0..depth).map(|i| i as f32).collect())?;
        let mut all = indices.sizes();
        all[own] = depth;
        let together = Together { sizes: all, sample, pieces: vec![Piece::View(indices), Piece::View(places.sampled(sample))] };
        self.mapped_by(node, together, |e, n| {
            // A negative index counts from the end.
            let (zero, depth) = (e.constant(0.0)?, e.constant(depth as f32)?);
            let (below, from_end) = (e.binary(Binary::Less, n[0], zero)?, e.binary(Binary::Add, n[0], depth)?);
            let index = e.select(below, from_end, n[0])?;
            let is_there = e.binary(Binary::Equal, index, n[1])?;
            let (on, off) = (e.constant(on)?, e.constant(off)?);
            let y = e.select(is_there, on, off)?;
            e.result(y)
        })
    }

    /// The elements of matrices above or below a diagonal, zeros elsewhere.
    pub(super) fn triangle(&mut self, node: &'a Node) -> Step<View> {
        let view = self.computed(node, 0)?;
        let k = match self.optional(node, 1)? {
            Some(k) => k.as_ints().and_then(|k| k.first().copied()).ok_or("has no diagonal")?,
            None => 0,
        };
        let sizes = view.sizes();
        let [.., rows, columns] = sizes[..] else { return Err(format!("reads a value of {sizes:?}, which holds no matrices").into()) };
        if view.sample.is_some_and(|s| s + 2 >= view.rank()) {
            return Err("has samples as rows or columns".into());
        }
        let upper = node.int("upper", 1) != 0;
        let is_kept = |n: usize| {
            let along = (n % columns) as i64 - (n / columns) as i64;
            if upper { along >= k } else { along <= k }
        };
        let mask = (0..rows * columns).map(|n| f32::from(u8::from(is_kept(n)))).collect();
        let shape = [vec![1; sizes.len() - 2], vec![rows, columns]].concat();
        let mask = self.constant_value(format!("{}.mask", node.label()), &shape, mask)?.sampled(view.sample);
        let together = Together { sizes, sample: view.sample, pieces: vec![Piece::View(view), Piece::View(mask)] };
        self.mapped_by(node, together, |e, n| {
            let zero = e.constant(0.0)?;
            let y = e.select(n[1], n[0], zero)?;
            e.result(y)
        })
    }

    /// x / (bias + α/size·Σx²)^β, the sum over neighbouring channels.
    pub(super) fn local_response_norm(&mut self, node: &'a Node) -> Step<View> {
        let view = self.computed(node, 0)?;
        let own = self.own_axis(&view, 1)?;
        let channels = view.sizes()[own];
        let size = usize::try_from(node.int("size", 0)).ok().filter(|s| (1..=sizes::MOST).contains(s)).ok_or("has no size")?;
        let (alpha, beta, bias) = (node.float("alpha", 1e-4), node.float("beta", 0.75), node.float("bias", 1.0));
        let alone = |view: &View| Together { sizes: view.sizes(), sample: view.sample, pieces: vec![Piece::View(view.clone())] };
        let squares = self.mapped_by(node, alone(&view), |e, n| e.binary(Binary::Mul, n[0], n[0]).map(drop))?;
        // Which channels each sum is of, as a matrix of ones.
        let (before, behind) = ((size - 1) / 2, size / 2);
        let is_near = |n: usize| {
            let (from, to) = (n / channels, n % channels);
            from + before >= to && from <= to + behind
        };
        let near = (0..channels * channels).map(|n| f32::from(u8::from(is_near(n)))).collect();
        let near = self.constant_value(format!("{}.near", node.label()), &[channels, channels], near)?;
        let order: Vec<usize> = (0..view.axes.len()).filter(|&i| i != own).chain([own]).collect();
        let turned = squares.permuted(&order).ok_or("names no axis")?;
        let rows = turned.len() / channels;
        let a = self.reordered(node, &turned, &[rows, channels])?;
        let sums = self.matrices(node, Product { a, b: near, batch: Vec::new(), rows, columns: channels, inner: channels })?;
        let shape: Vec<usize> = order.iter().map(|&i| view.sizes()[i]).collect();
        let sums = View::plain(sums, &shape).restored(&order).ok_or("names no axis")?.sampled(view.sample);
        let pieces = vec![Piece::View(view.clone()), Piece::View(sums)];
        self.mapped_by(node, Together { sizes: view.sizes(), sample: view.sample, pieces }, |e, n| {
            let (share, bias, beta) = (e.constant(alpha / size as f32)?, e.constant(bias)?, e.constant(beta)?);
            let scaled = e.binary(Binary::Mul, n[1], share)?;
            let sum = e.binary(Binary::Add, scaled, bias)?;
            let root = e.binary(Binary::Pow, sum, beta)?;
            e.binary(Binary::Div, n[0], root).map(drop)
        })
    }

    /// (Σ|x|^p)^(1/p) of each channel.
    pub(super) fn global_lp_pool(&mut self, node: &'a Node) -> Step<View> {
        let view = self.computed(node, 0)?;
        if view.rank() < 3 {
            return Err(format!("reads a value of {:?}, which is no image", self.full_shape(&view)).into());
        }
        let over = (2..view.rank()).map(|a| self.own_axis(&view, a as i64)).collect::<Step<Vec<_>>>()?;
        let p = node.int("p", 2);
        if let 1 | 2 = p {
            let kind = if p == 1 { ReduceKind::L1 } else { ReduceKind::L2 };
            return self.reduced_over(node, &view, &over, kind);
        }
        let powered = |this: &mut Self, view: &View, power: f32| {
            let together = Together { sizes: view.sizes(), sample: view.sample, pieces: vec![Piece::View(view.clone())] };
            this.mapped_by(node, together, |e, n| {
                let magnitude = e.activate(Activation::Abs, n[0])?;
                let power = e.constant(power)?;
                e.binary(Binary::Pow, magnitude, power).map(drop)
            })
        };
        let powers = powered(self, &view, p as f32)?;
        let sums = self.reduced_over(node, &powers, &over, ReduceKind::Sum)?;
        powered(self, &sums, 1.0 / p as f32)
    }

    /// A layer normalisation whose mean or inverse deviation is read, or whose scale is computed.
    pub(super) fn layer_norm_with_statistics(&mut self, node: &'a Node) -> Step<Vec<View>> {
        let view = self.computed(node, 0)?;
        let axes: Vec<i64> = (sizes::axis(node.int("axis", -1), view.rank())?..view.rank()).map(|a| a as i64).collect();
        let over = self.own_axes(&view, &axes)?;
        let eps = node.float("epsilon", 1e-5);
        let of = |views: &[&View]| Together {
            sizes: views[0].sizes(),
            sample: views[0].sample,
            pieces: views.iter().map(|v| Piece::View((*v).clone())).collect(),
        };
        let mean = self.reduced_over(node, &view, &over, ReduceKind::Mean)?;
        let centred = self.mapped_by(node, of(&[&view, &mean]), |e, n| e.binary(Binary::Sub, n[0], n[1]).map(drop))?;
        let squares = self.mapped_by(node, of(&[&centred]), |e, n| e.binary(Binary::Mul, n[0], n[0]).map(drop))?;
        let variance = self.reduced_over(node, &squares, &over, ReduceKind::Mean)?;
        let inverse = self.mapped_by(node, of(&[&variance]), |e, n| {
            let eps = e.constant(eps)?;
            let sum = e.binary(Binary::Add, n[0], eps)?;
            let root = e.activate(Activation::Sqrt, sum)?;
            e.activate(Activation::Reciprocal, root).map(drop)
        })?;
        let mut values = vec![OnnxValue::Computed(centred), OnnxValue::Computed(inverse.clone())];
        let given = [1, 2].map(|i| node.input(i).is_some());
        for i in (1..=2).filter(|&i| given[i - 1]) {
            values.push(self.value(node, i)?.clone());
        }
        let together = self.brought_together(node, &values)?;
        if !together.is_of(&values[0]) {
            return Err(format!("has a scale or shift that does not fit a value of {:?}", self.full_shape(&view)).into());
        }
        let y = self.mapped_by(node, together, |e, n| {
            let mut y = e.binary(Binary::Mul, n[0], n[1])?;
            if given[0] {
                y = e.binary(Binary::Mul, y, n[2])?;
            }
            if given[1] {
                y = e.binary(Binary::Add, y, n[2 + usize::from(given[0])])?;
            }
            e.result(y)
        })?;
        Ok(vec![y, mean, inverse])
    }
}
