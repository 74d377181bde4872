//! Elements taken from places, or put there, that several indices name together.

use super::super::{Converter, Step};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;

/// The most elements that a computed index counts: as many as an f32 does.
const MOST_COUNTED: usize = 1 << 24;
/// The most updates of one element.
const MOST_UPDATES: usize = 64;
/// The most elements of all tables that say which update an element takes.
const MOST_TABLES: usize = 1 << 24;

impl<'a> Converter<'a> {
    pub(super) fn by_indices(&mut self, node: &'a Node) -> Step<&'a str> {
        let x = self.input_name(node, 0)?;
        match node.op.as_str() {
            "Compress" => self.compressed(node, x),
            "GatherND" => self.gathered(node, x),
            "TensorScatter" => self.written_into(node, x),
            "ScatterND" => self.scattered_slices(node, x),
            _ => self.scattered_elements(node, x),
        }
    }

    /// The indices of input `i`, which must be constant.
    fn stated_indices(&self, node: &'a Node, i: usize) -> Step<(Vec<usize>, Vec<i64>)> {
        let name = self.input_name(node, i)?;
        let known = self.constant_called(name).ok_or("puts elements at indices that depend on the input, which is not supported")?;
        Ok((known.shape.clone(), known.as_ints().ok_or("has indices of no integers")?.to_vec()))
    }

    fn compressed(&mut self, node: &'a Node, x: &'a str) -> Step<&'a str> {
        let name = self.input_name(node, 1)?;
        let known = self.constant_called(name).ok_or("takes elements by a condition that depends on the input, which is not supported")?;
        let shape = self.shape_of(x)?;
        let (x, axis, length) = match node.attributes.contains_key("axis") {
            true => {
                let axis = sizes::axis(node.int("axis", 0), shape.len())?;
                (x, axis, shape[axis])
            }
            false => {
                let all = shape.iter().product();
                (self.put_reshape(node, x, &[all])?, 0, all)
            }
        };
        let taken: Vec<i64> =
            known.to_floats().iter().take(length).enumerate().filter(|(_, c)| **c != 0.0).map(|(i, _)| i as i64).collect();
        if taken.is_empty() {
            return Err("takes no elements".into());
        }
        let taken = self.put_ints(node, taken);
        self.put_with(node, "Gather", &[x, taken], &[("axis", (axis as i64).into())])
    }

    /// Slices that rows of indices name.
    fn gathered(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let indices = self.input_name(node, 1)?;
        let (shape, of_indices) = (self.shape_of(x)?, self.shape_of(indices)?);
        let batched = usize::try_from(node.int("batch_dims", 0)).ok().filter(|b| *b < of_indices.len().min(shape.len()));
        let batched = batched.ok_or("has batch_dims beyond its axes")?;
        let [ref rows @ .., named] = of_indices[..] else { return Err("has indices without axes".into()) };
        if named == 0 || batched + named > shape.len() || shape[..batched] != of_indices[..batched] {
            return Err(format!("takes elements of {shape:?} by indices of {of_indices:?}").into());
        }
        let (rest, along) = (&shape[batched + named..], &shape[batched..batched + named]);
        let (batch, places): (usize, usize) = (shape[..batched].iter().product(), along.iter().product());
        if batch * places >= MOST_COUNTED {
            return Err(format!("takes elements of {shape:?} by several indices, which is too large").into());
        }
        // Each row of indices as one, counted row-major.
        let mut flat: Option<&'a str> = None;
        let mut stride = places;
        for (i, &length) in along.iter().enumerate() {
            stride /= length;
            let one = self.put_slice(node, indices, rows.len(), i..i + 1)?;
            let one = self.put_floats(node, one)?;
            let (zero, all) = (self.put_number(node, 0.0), self.put_number(node, length as f32));
            let (below, more) = (self.put(node, "Less", &[one, zero])?, self.put(node, "Add", &[one, all])?);
            let one = self.put(node, "Where", &[below, more, one])?;
            let step = self.put_number(node, stride as f32);
            let part = self.put(node, "Mul", &[one, step])?;
            flat = Some(match flat {
                Some(flat) => self.put(node, "Add", &[flat, part])?,
                None => part,
            });
        }
        let mut flat = flat.ok_or("names no index")?;
        if batch > 1 {
            // Where each batch begins.
            let inner: usize = rows[batched..].iter().product();
            let starts = (0..batch).map(|b| (b * places) as f32).collect();
            let starts = self.put_constant(node, Array { shape: vec![batch, 1], data: Data::Floats(starts) });
            let apart = self.put_reshape(node, flat, &[batch, inner])?;
            flat = self.put(node, "Add", &[apart, starts])?;
        }
        let flat = self.put_reshape(node, flat, rows)?;
        let whole = self.put_with(node, "Cast", &[flat], &[("to", 7.into())])?;
        let table = self.put_reshape(node, x, &[&[batch * places][..], rest].concat())?;
        self.put_with(node, "Gather", &[table, whole], &[("axis", 0.into())])
    }

    /// `data` (a vector) with the elements of `updates` (a vector) at `places`, or joined to what is there by `reduction`.
    pub(super) fn scattered(&mut self, node: &Node, data: &'a str, updates: &str, places: &[usize], reduction: &str) -> Step<&'a str> {
        let count = self.shape_of(data)?.iter().product::<usize>();
        // Which update each element takes, turn after turn.
        let mut turns: Vec<Vec<Option<i64>>> = Vec::new();
        let mut done = vec![0usize; count];
        for (from, &to) in places.iter().enumerate() {
            let turn = done[to];
            done[to] += 1;
            if turn == turns.len() {
                if turn > 0 && reduction == "none" {
                    return Err("puts several elements at one place, of which ONNX does not say which stays".into());
                }
                if turn >= MOST_UPDATES || (turn + 1).saturating_mul(count) > MOST_TABLES {
                    return Err(
                        format!("joins {} elements at one place, which would take tables of {count} elements each", turn + 1).into()
                    );
                }
                turns.push(vec![None; count]);
            }
            turns[turn][to] = Some(from as i64);
        }
        let mut y = data;
        for turn in turns {
            let from = self.put_ints(node, turn.iter().map(|t| t.unwrap_or(0)).collect());
            let new = self.put_with(node, "Gather", &[updates, from], &[("axis", 0.into())])?;
            let is_put = self.put_constant(node, Array::bools(vec![count], turn.iter().map(Option::is_some)));
            let joined = match reduction {
                "none" => new,
                "add" => self.put(node, "Add", &[y, new])?,
                "mul" => self.put(node, "Mul", &[y, new])?,
                "max" => self.put(node, "Max", &[y, new])?,
                "min" => self.put(node, "Min", &[y, new])?,
                other => return Err(format!("has the reduction {other:?}").into()),
            };
            y = self.put(node, "Where", &[is_put, joined, y])?;
        }
        Ok(y)
    }

    /// The same of any shapes.
    fn scattered_as(&mut self, node: &'a Node, x: &'a str, updates: &'a str, places: &[usize], reduction: &str) -> Step<&'a str> {
        let (shape, of_updates) = (self.shape_of(x)?, self.shape_of(updates)?);
        if of_updates.iter().product::<usize>() != places.len() {
            return Err(format!("has updates of {of_updates:?} for {} places", places.len()).into());
        }
        let data = self.put_reshape(node, x, &[sizes::affordable(&shape)?])?;
        let updates = self.put_reshape(node, updates, &[places.len()])?;
        let y = self.scattered(node, data, updates, places, reduction)?;
        self.put_reshape(node, y, &shape)
    }

    fn scattered_elements(&mut self, node: &'a Node, x: &'a str) -> Step<&'a str> {
        let (of_indices, indices) = self.stated_indices(node, 1)?;
        let (shape, updates) = (self.shape_of(x)?, self.input_name(node, 2)?);
        let axis = sizes::axis(node.int("axis", 0), shape.len())?;
        let beyond = of_indices.len() != shape.len() || (0..shape.len()).any(|i| i != axis && of_indices[i] > shape[i]);
        if beyond || self.shape_of(updates)? != of_indices {
            return Err(format!("has indices of {of_indices:?} for a value of {shape:?}").into());
        }
        let mut places = Vec::with_capacity(indices.len());
        for (n, &index) in indices.iter().enumerate() {
            let index = sizes::axis(index, shape[axis])?;
            let (mut rest, mut place, mut stride) = (n, 0, 1);
            for i in (0..shape.len()).rev() {
                place += stride * if i == axis { index } else { rest % of_indices[i] };
                rest /= of_indices[i];
                stride *= shape[i];
            }
            places.push(place);
        }
        self.scattered_as(node, x, updates, &places, node.text("reduction").unwrap_or("none"))
    }

    fn scattered_slices(&mut self, node: &'a Node, x: &'a str) -> Step<&'a str> {
        let (of_indices, indices) = self.stated_indices(node, 1)?;
        let (shape, updates) = (self.shape_of(x)?, self.input_name(node, 2)?);
        let [ref rows @ .., named] = of_indices[..] else { return Err("has indices without axes".into()) };
        if named == 0 || named > shape.len() || self.shape_of(updates)? != [rows, &shape[named..]].concat() {
            return Err(format!("has indices of {of_indices:?} for a value of {shape:?}").into());
        }
        let inner: usize = shape[named..].iter().product();
        let mut places = Vec::with_capacity(indices.len() / named * inner);
        for row in indices.chunks(named) {
            let mut at = 0;
            for (&index, &length) in row.iter().zip(&shape) {
                at = at * length + sizes::axis(index, length)?;
            }
            places.extend((0..inner).map(|i| at * inner + i));
        }
        self.scattered_as(node, x, updates, &places, node.text("reduction").unwrap_or("none"))
    }

    /// A cache with new elements along an axis, from a place on that each batch says.
    fn written_into(&mut self, node: &'a Node, x: &'a str) -> Step<&'a str> {
        let updates = self.input_name(node, 1)?;
        let (shape, of_updates) = (self.shape_of(x)?, self.shape_of(updates)?);
        let axis = sizes::axis(node.int("axis", -2), shape.len())?;
        let starts = match node.input(2) {
            Some(_) => self.stated_indices(node, 2)?.1,
            None => vec![0; shape[0]],
        };
        let alike = shape.len() == of_updates.len() && (0..shape.len()).all(|i| i == axis || shape[i] == of_updates[i]);
        if !alike || axis == 0 || starts.len() != shape[0] || of_updates[axis] > shape[axis] {
            return Err(format!("writes {of_updates:?} into a cache of {shape:?}").into());
        }
        let is_circular = match node.text("mode").unwrap_or("linear") {
            "linear" => false,
            "circular" => true,
            other => return Err(format!("has mode {other:?}").into()),
        };
        let mut places = Vec::new();
        for n in 0..of_updates.iter().product() {
            let (mut rest, mut place, mut stride) = (n, 0, 1);
            let batch = n / of_updates[1..].iter().product::<usize>();
            for i in (0..shape.len()).rev() {
                let mut at = (rest % of_updates[i]) as i64;
                rest /= of_updates[i];
                if i == axis {
                    at += starts[batch];
                    at = if is_circular { at.rem_euclid(shape[axis] as i64) } else { at };
                }
                place += stride * usize::try_from(at).ok().filter(|at| *at < shape[i]).ok_or("writes beyond its cache")?;
                stride *= shape[i];
            }
            places.push(place);
        }
        self.scattered_as(node, x, updates, &places, "none")
    }
}
