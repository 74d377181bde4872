//! Loops whose number of turns is known when compiling, turn after turn, and scans over the elements of an axis.

use super::super::{Converter, Step};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::{Attribute, Node};
use crate::import::onnx::sizes;

/// The most turns.
const MOST_TURNS: i64 = 4096;

impl<'a> Converter<'a> {
    pub(super) fn unrolled(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        if node.op == "Loop" { self.turns(node) } else { self.scan(node) }
    }

    fn turns(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let Some(Attribute::Graph(graph)) = node.attributes.get("body") else { return Err("has no body".into()) };
        let known = |this: &Self, name: &str, what: &str| -> Step<Array> {
            let array =
                this.constant_called(name).ok_or_else(|| format!("has {what} that depends on the input, which is not supported"))?;
            Ok(array.as_ref().clone())
        };
        let most = match node.input(0) {
            Some(name) => {
                known(self, name, "a number of turns")?.as_ints().and_then(|m| m.first().copied()).ok_or("has no number of turns")?
            }
            None => i64::MAX,
        };
        let mut goes_on = match node.input(1) {
            Some(name) => known(self, name, "a condition")?.scalar().ok_or("has no condition")? != 0.0,
            None => true,
        };
        let carried_count = node.inputs.len().saturating_sub(2);
        let scanned = node.outputs.len().checked_sub(carried_count).ok_or("gives fewer outputs than it carries values")?;
        let mut carried = (2..node.inputs.len()).map(|i| self.input_name(node, i)).collect::<Step<Vec<_>>>()?;
        let mut rows: Vec<Vec<&'a str>> = vec![Vec::new(); scanned];
        let mut turn = 0;
        while goes_on && turn < most {
            if turn >= MOST_TURNS {
                return Err(format!("takes more than {MOST_TURNS} turns").into());
            }
            let number = self.put_constant(node, Array { shape: vec![], data: Data::Ints(vec![turn]) });
            let condition = self.put_constant(node, Array::bools(vec![], [true].into_iter()));
            let inputs: Vec<&str> = [number, condition].into_iter().chain(carried.iter().copied()).collect();
            let outputs = self.put_graph(node, graph, &inputs, 1 + carried_count + scanned)?;
            goes_on = known(self, outputs[0], "a condition")?.scalar().ok_or("has a condition of several elements")? != 0.0;
            carried = outputs[1..=carried_count].to_vec();
            rows.iter_mut().zip(&outputs[1 + carried_count..]).for_each(|(rows, row)| rows.push(row));
            turn += 1;
        }
        for rows in rows {
            if rows.is_empty() {
                return Err("takes no turn, so that an output has no elements".into());
            }
            carried.push(self.stacked(node, &rows, 0)?);
        }
        Ok(carried)
    }

    fn scan(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        if self.model.opset < 9 {
            return Err("is of an operator set below 9, which is not supported".into());
        }
        let Some(Attribute::Graph(graph)) = node.attributes.get("body") else { return Err("has no body".into()) };
        let read = usize::try_from(node.int("num_scan_inputs", 0)).ok().filter(|n| (1..=node.inputs.len()).contains(n));
        let read = read.ok_or("has no inputs to go through")?;
        let states = node.inputs.len() - read;
        let given = node.outputs.len().checked_sub(states).ok_or("gives fewer outputs than it carries values")?;
        let list = |key: &str, i: usize| node.ints(key).and_then(|v| v.get(i).copied()).unwrap_or(0);
        let mut over = Vec::with_capacity(read);
        let mut turns = None;
        for i in 0..read {
            let name = self.input_name(node, states + i)?;
            let shape = self.shape_of(name)?;
            let axis = sizes::axis(list("scan_input_axes", i), shape.len())?;
            if *turns.get_or_insert(shape[axis]) != shape[axis] {
                return Err("goes through values of different lengths".into());
            }
            over.push((name, axis, list("scan_input_directions", i) != 0));
        }
        let turns = turns.filter(|t| *t as i64 <= MOST_TURNS).ok_or_else(|| format!("takes more than {MOST_TURNS} turns"))?;
        let mut carried = (0..states).map(|i| self.input_name(node, i)).collect::<Step<Vec<_>>>()?;
        let mut rows: Vec<Vec<&'a str>> = vec![Vec::new(); given];
        for turn in 0..turns {
            let mut inputs: Vec<&str> = carried.clone();
            for &(name, axis, backwards) in &over {
                let at = if backwards { turns - 1 - turn } else { turn };
                let at = self.put_constant(node, Array { shape: vec![], data: Data::Ints(vec![at as i64]) });
                inputs.push(self.put_with(node, "Gather", &[name, at], &[("axis", (axis as i64).into())])?);
            }
            let outputs = self.put_graph(node, graph, &inputs, states + given)?;
            carried = outputs[..states].to_vec();
            rows.iter_mut().zip(&outputs[states..]).for_each(|(rows, row)| rows.push(row));
        }
        for (i, mut rows) in rows.into_iter().enumerate() {
            if list("scan_output_directions", i) != 0 {
                rows.reverse();
            }
            let rank = rows.first().map_or(Ok(0), |row| self.shape_of(row).map(|s| s.len()))?;
            let axis = sizes::axis(list("scan_output_axes", i), rank + 1)?;
            carried.push(self.stacked(node, &rows, axis)?);
        }
        Ok(carried)
    }

    /// Values of one shape one after the other along a new axis.
    fn stacked(&mut self, node: &Node, rows: &[&str], axis: usize) -> Step<&'a str> {
        let rows = rows.iter().map(|row| self.put_unsqueeze(node, row, &[axis])).collect::<Step<Vec<_>>>()?;
        self.put_with(node, "Concat", &rows, &[("axis", (axis as i64).into())])
    }
}
