//! Discrete Fourier transforms, as products with matrices of cosines and sines.

use super::super::{Converter, Step};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;

/// The longest transform.
const LONGEST: usize = 4096;

/// What is transformed into what.
#[derive(Clone, Copy)]
struct Transform {
    length: usize,
    inverse: bool,
    /// Half of the frequencies stand for all, since they are of real numbers.
    one_sided: bool,
}

impl<'a> Converter<'a> {
    pub(super) fn signal(&mut self, node: &'a Node) -> Step<&'a str> {
        let x = self.input_name(node, 0)?;
        let stated = |this: &Self, i: usize, what: &str| -> Step<Option<i64>> {
            let Some(name) = node.input(i) else { return Ok(None) };
            let known = this.constant_called(name).and_then(|a| a.as_ints()?.first().copied());
            known.map(Some).ok_or_else(|| format!("has {what} that is no constant").into())
        };
        let size = |n: i64| usize::try_from(n).ok().filter(|n| (1..=LONGEST).contains(n)).ok_or_else(|| format!("transforms {n} elements"));
        let shape = self.shape_of(x)?;
        if shape.len() < 2 {
            return Err(format!("transforms a value of {shape:?}").into());
        }
        if node.op == "STFT" {
            let step = stated(self, 1, "a frame_step")?.ok_or("has no frame_step")?;
            let window = node.input(2).map(|_| self.input_name(node, 2)).transpose()?;
            let length = match (stated(self, 3, "a frame_length")?, window) {
                (Some(length), _) => size(length)?,
                (None, Some(window)) => size(self.shape_of(window)?.iter().product::<usize>() as i64)?,
                (None, None) => return Err("has no frame_length".into()),
            };
            return self.short_time(node, x, (size(step)?, length), window);
        }
        let (inverse, one_sided) = (node.int("inverse", 0) != 0, node.int("onesided", 0) != 0);
        let axis = if self.model.opset < 20 { node.int("axis", 1) } else { stated(self, 2, "an axis")?.unwrap_or(-2) };
        let axis = sizes::axis(axis, shape.len())?;
        let default = if inverse && one_sided { 2 * (shape[axis] - 1) } else { shape[axis] };
        let length = size(stated(self, 1, "a length")?.unwrap_or(default as i64))?;
        self.transformed(node, x, axis, Transform { length, inverse, one_sided })
    }

    /// Transforms along `axis` of a value whose last axis is real numbers, or real and imaginary parts.
    fn transformed(&mut self, node: &'a Node, x: &str, axis: usize, t: Transform) -> Step<&'a str> {
        let shape = self.shape_of(x)?;
        let last = shape.len() - 1;
        if axis == last || !matches!(shape[last], 1 | 2) {
            return Err(format!("transforms axis {axis} of a value of {shape:?}").into());
        }
        let is_complex = shape[last] == 2;
        if !t.inverse && t.one_sided && is_complex {
            return Err("gives half of the frequencies of complex numbers".into());
        }
        let half = t.length / 2 + 1;
        let (read, given) = match (t.inverse, t.one_sided) {
            (true, true) => (half, t.length),
            (false, true) => (t.length, half),
            _ => (t.length, t.length),
        };
        // Elements beyond the transform's are not read, missing ones are 0.
        let rows = shape[axis].min(read);
        let scale = if t.inverse { 1.0 / t.length as f64 } else { 1.0 };
        let sign = if t.inverse { 1.0 } else { -1.0 };
        let weight = |k: usize| match t.inverse && t.one_sided {
            true if k == 0 || 2 * k == t.length => scale,
            true => 2.0 * scale,
            false => scale,
        };
        let mut table = |f: fn(f64) -> f64, factor: f64| {
            let angle = |n: usize, k: usize| std::f64::consts::TAU * ((n * k % t.length) as f64 / t.length as f64);
            let values = (0..rows * given).map(|at| (factor * weight(at / given) * f(angle(at / given, at % given))) as f32).collect();
            self.put_constant(node, Array { shape: vec![rows, given], data: Data::Floats(values) })
        };
        let (cosines, sines) = (table(f64::cos, 1.0), table(f64::sin, sign));
        let minus = table(f64::sin, -sign);
        // The axis last; the parts apart.
        let mut order: Vec<usize> = (0..last).filter(|&i| i != axis).collect();
        order.push(axis);
        let mut back = vec![0; last];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        let mut parts = Vec::new();
        for part in 0..shape[last] {
            let one = self.put_slice(node, x, last, part..part + 1)?;
            let one = self.put_reshape(node, one, &shape[..last])?;
            let mut one = self.put_transpose(node, one, &order)?;
            if rows < shape[axis] {
                one = self.put_slice(node, one, last - 1, 0..rows)?;
            }
            parts.push(one);
        }
        // (a + bi)(c + si) = (ac − bs) + (as + bc)i.
        let mut real = self.put(node, "MatMul", &[parts[0], cosines])?;
        if is_complex {
            let other = self.put(node, "MatMul", &[parts[1], minus])?;
            real = self.put(node, "Add", &[real, other])?;
        }
        let mut all = vec![real];
        if !(t.inverse && t.one_sided) {
            let mut imaginary = self.put(node, "MatMul", &[parts[0], sines])?;
            if is_complex {
                let other = self.put(node, "MatMul", &[parts[1], cosines])?;
                imaginary = self.put(node, "Add", &[imaginary, other])?;
            }
            all.push(imaginary);
        }
        for part in &mut all {
            let turned = self.put_transpose(node, part, &back)?;
            *part = self.put_unsqueeze(node, turned, &[last])?;
        }
        if all.len() == 1 { Ok(all[0]) } else { self.put_with(node, "Concat", &all, &[("axis", (last as i64).into())]) }
    }

    /// Transforms of overlapping frames (`step`, `length`) along axis 1.
    fn short_time(&mut self, node: &'a Node, x: &str, (step, length): (usize, usize), window: Option<&'a str>) -> Step<&'a str> {
        let shape = self.shape_of(x)?;
        let (batch, all, parts) = match shape[..] {
            [batch, all] => (batch, all, 1),
            [batch, all, parts] => (batch, all, parts),
            _ => return Err(format!("transforms a value of {shape:?}").into()),
        };
        let x = self.put_reshape(node, x, &[batch, all, parts])?;
        let frames = all.checked_sub(length).ok_or("has frames longer than its signal")? / step + 1;
        let places = (0..frames).flat_map(|f| (0..length).map(move |i| (f * step + i) as i64)).collect();
        let places = self.put_constant(node, Array { shape: vec![frames, length], data: Data::Ints(places) });
        let mut framed = self.put_with(node, "Gather", &[x, places], &[("axis", 1.into())])?;
        if let Some(window) = window {
            if self.shape_of(window)? != [length] {
                return Err(format!("has a window of {:?} for frames of {length}", self.shape_of(window)?).into());
            }
            let column = self.put_reshape(node, window, &[length, 1])?;
            framed = self.put(node, "Mul", &[framed, column])?;
        }
        let one_sided = node.int("onesided", 1) != 0;
        self.transformed(node, framed, 2, Transform { length, inverse: false, one_sided })
    }
}
