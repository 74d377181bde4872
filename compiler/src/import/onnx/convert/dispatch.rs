//! Which conversion a node is given to.

use super::operations::{PASSING, moves, never};
use super::{Converter, OnnxValue, Step, recurrent, written};
use crate::import::onnx::node::Node;
use crate::import::onnx::rules::attention::FUSED;

impl<'a> Converter<'a> {
    /// The outputs of `node`, in order.
    pub(super) fn outputs(&mut self, node: &'a Node) -> Step<Vec<OnnxValue>> {
        let is_constant = |name: &str| matches!(self.values.get(name), Some(OnnxValue::Constant(_)));
        if let Some(why) = never(node, is_constant) {
            return Err(why.into());
        }
        if let Some(values) = self.folded(node)? {
            return Ok(values);
        }
        if !PASSING.contains(&node.op.as_str()) {
            node.inputs.iter().try_for_each(|name| self.settle(node, name))?;
        }
        if recurrent::is_one(&node.op) {
            return self.recurrent(node);
        }
        if !moves(&node.op) && node.inputs.iter().any(|i| self.integers.contains_key(i.as_str())) {
            return Err("computes in integers that floats may not hold, which is not supported (cast the input to float first)".into());
        }
        if node.op == "Split" {
            return self.split(node);
        }
        let more = node.outputs.iter().skip(1).find(|o| !o.is_empty() && self.model.reads(o));
        if let Some(more) = more {
            return Err(format!("has a second output, '{more}', which is read and not supported").into());
        }
        self.output_of(node).map(|value| vec![value])
    }

    fn output_of(&mut self, node: &'a Node) -> Step<OnnxValue> {
        match node.op.as_str() {
            "Conv" => self.conv(node),
            "ConvTranspose" => self.transposed_conv(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.matmul(node),
            "BatchNormalization" => self.batch_norm(node),
            "LayerNormalization" => self.layer_norm(node),
            "InstanceNormalization" => self.instance_norm(node),
            "GroupNormalization" => self.group_norm(node),
            "RMSNormalization" => self.rms_norm(node),
            "LpNormalization" => self.lp_norm(node),
            "MeanVarianceNormalization" => self.mean_variance_norm(node),
            "Attention" => self.attention(node),
            FUSED => self.attention_written_out(node),
            "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Mean" => self.arithmetic(node),
            "Neg" => self.negated(node),
            "Pow" => self.power(node),
            "Max" | "Min" => self.bounded(node),
            "PRelu" => self.prelu(node),
            "Clip" => self.clip(node),
            "Softmax" | "LogSoftmax" => self.softmax(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(node),
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare" | "ReduceLogSum"
            | "ReduceLogSumExp" => self.reduce(node),
            "Concat" => self.concat(node),
            "Identity" | "Dropout" | "Cast" | "CastLike" => self.identity(node),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" => self.moved(node),
            "DepthToSpace" | "SpaceToDepth" => self.blocks(node),
            "Expand" => self.expand(node),
            "Tile" => self.tile(node),
            "Slice" => self.slice(node),
            "Gather" => self.gather(node),
            "Pad" => self.pad(node),
            "Resize" | "Upsample" => self.resize(node),
            "Shape" | "Size" => self.shape(node),
            _ => self.activation(node),
        }
    }

    /// The outputs of a node that reads nothing but constants.
    fn folded(&mut self, node: &Node) -> Step<Option<Vec<OnnxValue>>> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            match self.values.get(name.as_str()) {
                Some(OnnxValue::Constant(array)) => inputs.push(Some(array.clone())),
                Some(_) => return Ok(None),
                None if name.is_empty() => inputs.push(None),
                None => return Err(self.missing(name)),
            }
        }
        if inputs.iter().all(Option::is_none) && node.op != "Constant" || written::reads_graphs(&node.op) {
            return Ok(None);
        }
        match self.folding.evaluate(node, &inputs) {
            None => Err("is an operation on constants that is not computed when compiling".into()),
            Some(result) => {
                let values = result?.into_iter().map(|array| OnnxValue::Constant(array.into())).collect();
                self.note("constants folded", node);
                Ok(Some(values))
            }
        }
    }

    /// A value as it is: of other element types that hold the same numbers, too.
    fn identity(&mut self, node: &'a Node) -> Step<OnnxValue> {
        if node.op == "Cast" && !node.casts_to_float() && !node.input(0).is_some_and(|i| self.integers.contains_key(i)) {
            return Err("makes integers of a computed value, which is not supported".into());
        }
        if node.op == "Cast" && matches!(node.int("to", 1), 2..=9 | 12 | 13) {
            return Err("makes other integers of integers, which is not supported".into());
        }
        if node.op == "CastLike" {
            return Err("takes its element type from another value, which is not supported for computed values".into());
        }
        if node.op == "Dropout" && (self.optional(node, 2)?.is_some_and(|a| a.scalar() == Some(1.0))) {
            return Err("drops at random (training_mode)".into());
        }
        self.note("identities removed", node);
        self.value(node, 0).cloned()
    }
}
