//! Operations of a few nodes each: types taken from other values, masks of a dropout, products along an axis, cuts about the centre.

use super::super::cumulative::is_part;
use super::super::{Converter, Step};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::{Node, is_float};
use crate::import::onnx::sizes;

/// The longest axis whose products are computed.
const LONGEST_PRODUCT: usize = 256;

impl<'a> Converter<'a> {
    pub(super) fn small(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let x = self.input_name(node, 0)?;
        let y = match node.op.as_str() {
            "CastLike" => self.cast_like(node, x)?,
            "CenterCropPad" => self.about_the_centre(node, x)?,
            "CumProd" => self.products_along(node, x)?,
            "Dropout" => return self.dropped(node, x),
            "EyeLike" => self.eye(node, x)?,
            "ReverseSequence" => self.reversed(node, x)?,
            "SwiGLU" => {
                let gate = self.swish(node, x)?;
                let other = self.input_name(node, 1)?;
                self.put(node, "Mul", &[gate, other])?
            }
            _ => self.swish(node, x)?,
        };
        Ok(vec![y])
    }

    /// x · sigmoid(α·x).
    fn swish(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let alpha = self.put_number(node, node.float("alpha", 1.0));
        let scaled = self.put(node, "Mul", &[x, alpha])?;
        let gate = self.put(node, "Sigmoid", &[scaled])?;
        self.put(node, "Mul", &[x, gate])
    }

    /// The same numbers in the element type of another value.
    fn cast_like(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let like = self.input_name(node, 1)?;
        let to = match self.constant_called(like) {
            Some(array) => array.ty().number(),
            None => match self.model.input(like).map(|input| i64::from(input.element)).filter(|e| *e != 0) {
                Some(element) => element,
                // Of computed values only integers or not is known: all floats are computed alike.
                None if !self.integers.contains_key(like) => 1,
                None => return Err("takes its type from computed integers, which is not supported".into()),
            },
        };
        if self.constant_called(x).is_none() && !self.holds_integers(x) && is_float(to as i32) {
            return self.put(node, "Identity", &[x]);
        }
        self.put_with(node, "Cast", &[x], &[("to", to.into())])
    }

    /// A dropout that drops nothing, and its mask, which is true everywhere.
    fn dropped(&mut self, node: &'a Node, x: &str) -> Step<Vec<&'a str>> {
        let ratio = match node.input(1) {
            Some(name) => self.constant_called(name).and_then(|r| r.scalar()),
            None => Some(node.float("ratio", 0.5)),
        };
        let trains = match node.input(2) {
            Some(name) => self.constant_called(name).and_then(|t| t.scalar()).is_none_or(|t| t != 0.0),
            None => false,
        };
        if trains && ratio != Some(0.0) {
            return Err("drops at random (training_mode)".into());
        }
        let same = self.put(node, "Identity", &[x])?;
        let is_nan = self.put(node, "IsNaN", &[x])?;
        let is_none = self.put(node, "Not", &[is_nan])?;
        Ok(vec![same, self.put(node, "Or", &[is_nan, is_none])?])
    }

    /// Products of all elements up to each.
    fn products_along(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let axis = self.input_name(node, 1)?;
        let axis = self.constant_called(axis).and_then(|a| a.as_ints()?.first().copied()).ok_or("has no constant axis")?;
        let shape = self.shape_of(x)?;
        let axis = sizes::axis(axis, shape.len())?;
        let size = shape[axis];
        if size > LONGEST_PRODUCT {
            return Err(format!("multiplies up an axis of {size} elements, more than {LONGEST_PRODUCT}").into());
        }
        let is_part = is_part(node);
        // Which elements (the last axis) each product (the axis before) is of.
        let mut mask_shape = vec![1; shape.len() + 1];
        (mask_shape[axis], mask_shape[axis + 1]) = (size, size);
        let mask = Array::bools(mask_shape, (0..size * size).map(|n| is_part(n % size, n / size)));
        let (mask, one) = (self.put_constant(node, mask), self.put_number(node, 1.0));
        let apart = self.put_unsqueeze(node, x, &[axis])?;
        let factors = self.put(node, "Where", &[mask, apart, one])?;
        let axes = [axis as i64 + 1];
        self.put_with(node, "ReduceProd", &[factors], &[("axes", axes[..].into()), ("keepdims", 0.into())])
    }

    /// Ones along a diagonal, in the shape of a value.
    fn eye(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let shape = self.shape_of(x)?;
        let &[rows, columns] = &shape[..] else { return Err(format!("reads a value of {shape:?}, which is no matrix").into()) };
        sizes::affordable(&shape)?;
        let k = node.int("k", 0);
        let ones = (0..rows * columns).map(|n| f32::from(u8::from((n % columns) as i64 - (n / columns) as i64 == k))).collect();
        let eye = self.put_constant(node, Array { shape, data: Data::Floats(ones) });
        match node.int("dtype", 1) {
            to if is_float(to as i32) => self.put(node, "Identity", &[eye]),
            to => self.put_with(node, "Cast", &[eye], &[("to", to.into())]),
        }
    }

    /// Cut or padded with zeros to a shape, as much before as behind; behind one more.
    fn about_the_centre(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let wanted = self.input_name(node, 1)?;
        let wanted =
            self.constant_called(wanted).and_then(|w| w.as_ints().map(<[i64]>::to_vec)).ok_or("has a shape that is no constant")?;
        let shape = self.shape_of(x)?;
        let axes = match node.ints("axes") {
            Some(axes) => axes.iter().map(|&a| sizes::axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?,
            None => (0..shape.len()).collect(),
        };
        if axes.len() != wanted.len() {
            return Err(format!("has {} lengths for {} axes", wanted.len(), axes.len()).into());
        }
        let mut y = self.put(node, "Identity", &[x])?;
        let mut pads = vec![0i64; 2 * shape.len()];
        for (&axis, &to) in axes.iter().zip(&wanted) {
            let to = usize::try_from(to).ok().filter(|t| *t > 0).ok_or("has a length below 1")?;
            let from = shape[axis];
            if to < from {
                let before = (from - to) / 2;
                y = self.put_slice(node, y, axis, before..before + to)?;
            } else {
                let before = (to - from) / 2;
                (pads[axis], pads[axis + shape.len()]) = (before as i64, (to - from - before) as i64);
            }
        }
        if pads.iter().all(|p| *p == 0) {
            return Ok(y);
        }
        let pads = self.put_ints(node, pads);
        self.put(node, "Pad", &[y, pads])
    }

    /// The first elements along an axis in reverse, as many as each batch says.
    fn reversed(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let lengths = self.input_name(node, 1)?;
        let lengths =
            self.constant_called(lengths).and_then(|l| l.as_ints().map(<[i64]>::to_vec)).ok_or("has lengths that are no constant")?;
        let shape = self.shape_of(x)?;
        let batch = sizes::axis(node.int("batch_axis", 1), shape.len())?;
        let time = sizes::axis(node.int("time_axis", 0), shape.len())?;
        if lengths.len() != shape[batch] || batch == time {
            return Err(format!("has {} lengths for a value of {shape:?}", lengths.len()).into());
        }
        let mut rows = Vec::with_capacity(lengths.len());
        for (i, &length) in lengths.iter().enumerate() {
            let length = usize::try_from(length).ok().filter(|l| *l <= shape[time]).ok_or("has a length beyond its axis")?;
            let row = self.put_slice(node, x, batch, i..i + 1)?;
            let order: Vec<i64> = (0..length).rev().chain(length..shape[time]).map(|t| t as i64).collect();
            let order = self.put_ints(node, order);
            rows.push(self.put_with(node, "Gather", &[row, order], &[("axis", (time as i64).into())])?);
        }
        self.put_with(node, "Concat", &rows, &[("axis", (batch as i64).into())])
    }
}
