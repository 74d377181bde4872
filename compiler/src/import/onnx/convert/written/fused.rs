//! Operations of ONNX Runtime's own domain that are a few of ONNX's (its "contrib operators").

use super::super::{Converter, Step};
use crate::import::onnx::node::{Attribute, Node};

impl<'a> Converter<'a> {
    pub(super) fn fused(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let x = self.input_name(node, 0)?;
        let bare = node.op.strip_prefix("com.microsoft.").unwrap_or(&node.op);
        let y = match bare {
            "Gelu" => self.put(node, "Gelu", &[x])?,
            "BiasGelu" => {
                let bias = self.input_name(node, 1)?;
                let sum = self.put(node, "Add", &[x, bias])?;
                self.put(node, "Gelu", &[sum])?
            }
            "FastGelu" => {
                let sum = match node.input(1) {
                    Some(bias) => self.put(node, "Add", &[x, bias])?,
                    None => x,
                };
                self.put_with(node, "Gelu", &[sum], &[("approximate", "tanh".into())])?
            }
            "QuickGelu" => {
                let alpha = self.put_number(node, node.float("alpha", 1.702));
                let scaled = self.put(node, "Mul", &[x, alpha])?;
                let gate = self.put(node, "Sigmoid", &[scaled])?;
                self.put(node, "Mul", &[x, gate])?
            }
            "BiasSplitGelu" => {
                let bias = self.input_name(node, 1)?;
                let sum = self.put(node, "Add", &[x, bias])?;
                let shape = self.shape_of(sum)?;
                let axis = shape.len().checked_sub(1).ok_or("reads a single number")?;
                let half = shape[axis] / 2;
                let (left, right) = (self.put_slice(node, sum, axis, 0..half)?, self.put_slice(node, sum, axis, half..2 * half)?);
                let gate = self.put(node, "Gelu", &[right])?;
                self.put(node, "Mul", &[left, gate])?
            }
            "FusedConv" | "FusedGemm" => self.with_its_activation(node, if bare == "FusedConv" { "Conv" } else { "Gemm" })?,
            "FusedMatMul" => self.fused_matmul(node, x)?,
            "MultiHeadAttention" => self.multi_head_attention(node)?,
            "SimplifiedLayerNormalization" => {
                let y = self.rms_of(node, x, node.int("axis", -1), node.float("epsilon", 1e-5))?;
                self.scaled_within(node, y, 1)?
            }
            _ => return self.skip_norm(node, x, bare == "SkipSimplifiedLayerNormalization"),
        };
        Ok(vec![y])
    }

    /// A layer and the function behind it.
    fn with_its_activation(&mut self, node: &'a Node, op: &str) -> Step<&'a str> {
        let keys: Vec<(&str, Attribute)> = node
            .attributes
            .iter()
            .filter(|(key, _)| !key.starts_with("activation"))
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        let layer: Vec<&str> = (0..3).map_while(|i| node.inputs.get(i).map(String::as_str)).collect();
        let mut y = self.put_with(node, op, &layer, &keys)?;
        if let Some(sum) = node.input(3) {
            y = self.put(node, "Add", &[y, sum])?;
        }
        let numbers = match node.attributes.get("activation_params") {
            Some(Attribute::Floats(v)) => v.clone(),
            _ => Vec::new(),
        };
        let number = |at: usize, key: &str, default: f32| numbers.get(at).copied().unwrap_or_else(|| node.float(key, default));
        match node.text("activation").unwrap_or("") {
            "" => Ok(y),
            f @ ("Relu" | "Sigmoid" | "Tanh" | "HardSwish") => self.put(node, f, &[y]),
            "LeakyRelu" => {
                let alpha = number(0, "activation_alpha", 0.01);
                self.put_with(node, "LeakyRelu", &[y], &[("alpha", alpha.into())])
            }
            "HardSigmoid" => {
                let (alpha, beta) = (number(0, "activation_alpha", 0.2), number(1, "activation_beta", 0.5));
                self.put_with(node, "HardSigmoid", &[y], &[("alpha", alpha.into()), ("beta", beta.into())])
            }
            "Clip" if numbers.len() == 2 => {
                let (low, high) = (self.put_number(node, numbers[0]), self.put_number(node, numbers[1]));
                self.put(node, "Clip", &[y, low, high])
            }
            other => Err(format!("has the activation {other:?}, which is not supported").into()),
        }
    }

    /// α·A·B, the last two axes of each transposed as it says.
    fn fused_matmul(&mut self, node: &'a Node, a: &'a str) -> Step<&'a str> {
        if node.int("transBatchA", 0) != 0 || node.int("transBatchB", 0) != 0 {
            return Err("transposes batches, which is not supported".into());
        }
        let b = self.input_name(node, 1)?;
        let turned = |this: &mut Self, name: &'a str, key: &str| -> Step<&'a str> {
            let rank = this.shape_of(name)?.len();
            if node.int(key, 0) == 0 || rank < 2 {
                return Ok(name);
            }
            let mut order: Vec<usize> = (0..rank).collect();
            order.swap(rank - 2, rank - 1);
            this.put_transpose(node, name, &order)
        };
        let (a, b) = (turned(self, a, "transA")?, turned(self, b, "transB")?);
        let y = self.put(node, "MatMul", &[a, b])?;
        let alpha = self.put_number(node, node.float("alpha", 1.0));
        self.put(node, "Mul", &[y, alpha])
    }

    /// The norm of a sum of values; its fourth output is that sum.
    fn skip_norm(&mut self, node: &'a Node, x: &str, is_rms: bool) -> Step<Vec<&'a str>> {
        if node.outputs.iter().skip(1).take(2).any(|o| !o.is_empty() && self.model.reads(o)) {
            return Err("gives its mean or deviation to somebody, which is not supported".into());
        }
        let skip = self.input_name(node, 1)?;
        let mut sum = self.put(node, "Add", &[x, skip])?;
        let (shift, bias) = if is_rms { (None, node.input(3)) } else { (node.input(3), node.input(4)) };
        if let Some(bias) = bias {
            sum = self.put(node, "Add", &[sum, bias])?;
        }
        let (scale, eps) = (self.input_name(node, 2)?, node.float("epsilon", 1e-12));
        let y = if is_rms {
            let y = self.rms_of(node, sum, -1, eps)?;
            self.scaled_within(node, y, 2)?
        } else {
            let inputs: Vec<&str> = [sum, scale].into_iter().chain(shift).collect();
            self.put_with(node, "LayerNormalization", &inputs, &[("axis", (-1).into()), ("epsilon", eps.into())])?
        };
        Ok(vec![y, sum, sum, sum])
    }

    /// Queries, keys and values of [batch, tokens, heads·size].
    fn multi_head_attention(&mut self, node: &'a Node) -> Step<&'a str> {
        let [mut q, mut k, mut v] = [self.input_name(node, 0)?, self.input_name(node, 1)?, self.input_name(node, 2)?];
        if [q, k, v].iter().any(|name| self.shape_of(name).map_or(true, |s| s.len() != 3)) {
            return Err("reads packed queries, keys or values, which is not supported".into());
        }
        if (4..node.inputs.len()).any(|i| i != 5 && node.input(i).is_some()) || node.int("unidirectional", 0) != 0 {
            return Err("has a padding mask, earlier keys or a direction, which are not supported".into());
        }
        if let Some(bias) = node.input(3) {
            let mut start = 0;
            for name in [&mut q, &mut k, &mut v] {
                let size = self.shape_of(name)?[2];
                let part = self.put_slice(node, bias, 0, start..start + size)?;
                start += size;
                *name = self.put(node, "Add", &[name, part])?;
            }
        }
        let heads = node.int("num_heads", 0);
        let mut inputs = vec![q, k, v];
        inputs.extend(node.input(5));
        let mut attributes = vec![("q_num_heads", heads.into()), ("kv_num_heads", heads.into())];
        attributes.extend(node.attributes.get("scale").filter(|s| **s != Attribute::Float(0.0)).map(|s| ("scale", s.clone())));
        self.put_with(node, "Attention", &inputs, &attributes)
    }
}
