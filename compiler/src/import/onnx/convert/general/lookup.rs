//! Elements at computed indices: rows of a table, above all.

use thinfer::artifact::{Lookup, Primitive};

use super::super::{Converter, Step};
use super::lengths::small;
use crate::import::onnx::node::Node;
use crate::import::onnx::sizes;
use crate::import::onnx::view::View;

impl<'a> Converter<'a> {
    /// Gather: slices of input 0 along an axis.
    pub(super) fn looked_up(&mut self, node: &'a Node) -> Step<View> {
        let (values, indices) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let axis = sizes::axis(node.int("axis", 0), values.rank())?;
        let own = self.own_axis(&values, axis as i64)?;
        let more = indices.rank();
        let sample = match (values.sample, indices.sample) {
            (None, None) => None,
            (None, Some(at)) => Some(axis + at),
            (Some(at), None) if at < axis => Some(at),
            (Some(at), None) => Some(at - 1 + more),
            _ => return Err("looks up each sample's indices in all samples".into()),
        };
        let (table, places) = (values.sizes(), indices.sizes());
        let inputs = vec![self.shaped(node, &values, &table)?, self.shaped(node, &indices, &places)?];
        let base = self.primitive(node.label().into(), Primitive::Lookup(Lookup { axis: small(own)?, elements: false }), inputs)?;
        let shape = [&table[..own], &places, &table[own + 1..]].concat();
        Ok(View::plain(base, &shape).sampled(sample))
    }

    pub(super) fn elements_looked_up(&mut self, node: &'a Node) -> Step<View> {
        let (values, indices) = (self.operand(node, 0)?, self.operand(node, 1)?);
        if values.sample.is_some() && indices.sample.is_none() {
            return Err("has indices for a fixed number of samples, but values of any number".into());
        }
        let values = values.beside(&indices).unwrap_or(values);
        if values.rank() != indices.rank() || values.sample != indices.sample {
            return Err("looks up indices that have other samples than the values".into());
        }
        let own = self.own_axis(&values, node.int("axis", 0))?;
        let (table, places) = (values.sizes(), indices.sizes());
        let inputs = vec![self.shaped(node, &values, &table)?, self.shaped(node, &indices, &places)?];
        let base = self.primitive(node.label().into(), Primitive::Lookup(Lookup { axis: small(own)?, elements: true }), inputs)?;
        Ok(View::plain(base, &places).sampled(indices.sample))
    }
}

#[cfg(test)]
mod tests {
    use crate::import::onnx::array::Array;
    use crate::import::onnx::convert::attempts::convert;
    use crate::import::onnx::rules::tests::model;

    #[test]
    fn stated_indices_give_as_many_rows_as_they_have() {
        let mut model = model(&[("GatherElements", &["x", "at"], "e"), ("Relu", &["e"], "y")]);
        model.nodes[0].attributes.insert("axis".into(), 1.into());
        model.constants.insert("at".into(), Array::ints(vec![0, 2]).reshaped(vec![1, 2]).into());
        assert!(convert(&model, "net").is_ok());
        model.inputs[0].dims[0] = None;
        let faults = convert(&model, "net").map(drop).unwrap_err();
        assert!(faults.nodes[0].contains("for a fixed number of samples"), "{faults:?}");
    }
}
