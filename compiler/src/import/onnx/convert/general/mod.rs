//! Conversions by primitives, which run over tensors of any axes. They come last: what has a conversion of its own, by layers that
//! can be fused, cut or trained, is given to that first.

mod compose;
mod constants;
mod einsum;
mod expression;
mod join;
mod lengths;
mod lookup;
mod map;
mod matmul;
mod operands;
mod pick;
mod reduce;
mod resample;
mod softmax;
mod windows;

use super::names::{is_general, is_reduction};
use super::{Converter, OnnxValue, Step};
use crate::graph::{Op, ValueId};
use crate::import::onnx::node::Node;
use thinfer::artifact::Primitive;

/// Whether `op` gives right results for any integers, which are computed as floats: whatever it gives is one of its inputs, perhaps with
/// another sign, a truth or an index.
fn takes_integers(op: &str) -> bool {
    matches!(
        op,
        "Equal"
            | "Less"
            | "LessOrEqual"
            | "Greater"
            | "GreaterOrEqual"
            | "And"
            | "Or"
            | "Xor"
            | "Not"
            | "Where"
            | "Max"
            | "Min"
            | "Abs"
            | "Neg"
            | "Sign"
            | "Cast"
            | "Clip"
            | "Concat"
            | "Gather"
            | "GatherElements"
            | "OneHot"
            | "ReduceMax"
            | "ReduceMin"
            | "ArgMax"
            | "ArgMin"
            | "Trilu"
    )
}

impl<'a> Converter<'a> {
    /// The outputs of `node` by primitives; `None` of an operation that has none.
    pub(super) fn general(&mut self, node: &'a Node) -> Step<Option<Vec<OnnxValue>>> {
        if !is_general(&node.op) {
            return Ok(None);
        }
        node.inputs.iter().try_for_each(|name| self.settle(node, name))?;
        let reads_integers = node.inputs.iter().any(|i| self.integers.contains_key(i.as_str()));
        if reads_integers && !takes_integers(&node.op) && self.exact_arithmetic(node).is_none() {
            return Ok(None);
        }
        if self.overflows(node) {
            return Err("changes the sign of integers of a type that may not hold them then, which is not supported".into());
        }
        let view = match node.op.as_str() {
            "Softmax" | "LogSoftmax" => self.softmax_over(node)?,
            "Hardmax" => self.hardmax(node)?,
            "MatMul" => self.matrix_product(node)?,
            "Gemm" => self.general_gemm(node)?,
            "Einsum" => self.einsum(node)?,
            "Concat" => self.concatenated(node)?,
            "Gather" => self.looked_up(node)?,
            "GatherElements" => self.elements_looked_up(node)?,
            "Resize" | "Upsample" => self.resampled(node)?,
            "CumSum" => self.cumulative_sum(node)?,
            "OneHot" => self.one_hot(node)?,
            "Trilu" => self.triangle(node)?,
            "LRN" => self.local_response_norm(node)?,
            "GlobalLpPool" => self.global_lp_pool(node)?,
            "Conv" => self.general_conv(node)?,
            "ConvTranspose" => self.general_transposed_conv(node)?,
            "MaxPool" | "AveragePool" | "LpPool" => self.general_pool(node)?,
            "LayerNormalization" => {
                return self.layer_norm_with_statistics(node).map(|all| Some(all.into_iter().map(OnnxValue::Computed).collect()));
            }
            op if is_reduction(op) => self.reduced(node)?,
            _ => self.mapped(node)?,
        };
        self.note("by primitives", node);
        Ok(Some(vec![OnnxValue::Computed(view)]))
    }

    /// Appends a primitive.
    pub(super) fn primitive(&mut self, name: String, primitive: Primitive, inputs: Vec<ValueId>) -> Step<ValueId> {
        let name = self.fresh(name);
        self.push(&name, Op::Primitive(primitive), inputs, Vec::new())
    }
}
