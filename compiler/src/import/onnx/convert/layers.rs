//! Nodes with weights.

use super::super::array::Array;
use super::super::model::Node;
use super::super::view::{Atom, View, canonical};
use super::{Converter, Step, Value};
use crate::graph::{BatchNorm, Conv2d, Linear, Op};

impl<'a> Converter<'a> {
    pub(super) fn conv(&mut self, node: &'a Node) -> Step<Value> {
        let (view, zeros) = self.padded(node)?;
        let (weight, bias) = (self.constant(node, 1)?, self.optional(node, 2)?);
        let &[outputs, inputs, height, width] = &weight.shape[..] else {
            return Err(format!("has a kernel of {:?}; convolutions over two axes are supported", weight.shape).into());
        };
        let groups = usize::try_from(node.int("group", 1)).map_err(|_| "has a negative number of groups")?;
        let channels = inputs.checked_mul(groups).ok_or("has more channels than can be counted")?;
        if view.sizes() == [channels, 1, 1] && self.shapes[view.base].len() == 1 && [height, width, groups] == [1; 3] && zeros == [0; 4] {
            self.note("1×1 convolutions of vectors are linear layers", node);
            return self.linear(node, &view, &weight, (inputs, outputs), false, bias.as_deref().map(Array::to_floats));
        }
        let base = self.image(node, &view)?;
        let size = [self.shapes[base][1], self.shapes[base][2]];
        let mut window = super::pools::window(node, Some([height, width]), size)?;
        (0..4).for_each(|i| window.padding[i] = window.padding[i].saturating_add(zeros[i]));
        if zeros != [0; 4] {
            self.note("zero padding taken in", node);
        }
        let conv = Conv2d { inputs: channels, outputs, window, groups, bias: bias.is_some() };
        let name = self.layer_name(node, 1);
        let mut tensors = vec![weight.to_floats()];
        tensors.extend(bias.map(|b| b.to_floats()));
        let value = self.push(&name, Op::Conv2d(conv), vec![base], tensors)?;
        Ok(Value::Computed(View::plain(value, &self.shapes[value])))
    }

    pub(super) fn gemm(&mut self, node: &'a Node) -> Step<Value> {
        let (view, weight, bias) = (self.computed(node, 0)?, self.constant(node, 1)?, self.optional(node, 2)?);
        if node.int("transA", 0) != 0 {
            return Err("transposes the batch".into());
        }
        let &[rows, columns] = &weight.shape[..] else { return Err(format!("has a weight of {:?}", weight.shape).into()) };
        let transposed = node.int("transB", 0) != 0;
        let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        let bias = match bias {
            Some(b) if b.len() == outputs || b.len() == 1 => {
                Some((0..outputs).map(|i| beta * b.to_floats()[if b.len() == 1 { 0 } else { i }]).collect())
            }
            Some(b) => return Err(format!("adds a constant of {:?} to {outputs} outputs", b.shape).into()),
            None => None,
        };
        let scaled = if alpha == 1.0 { weight } else { std::sync::Arc::new(times(&weight, alpha)) };
        self.linear(node, &view, &scaled, (inputs, outputs), !transposed, bias)
    }

    /// A product by a constant matrix, which may have a bias as its third input (see the rules).
    pub(super) fn matmul(&mut self, node: &'a Node) -> Step<Value> {
        let (view, weight, bias) = (self.computed(node, 0)?, self.constant(node, 1)?, self.optional(node, 2)?);
        let &[inputs, outputs] = &weight.shape[..] else {
            return Err(format!("multiplies by a constant of {:?}, not by one matrix", weight.shape).into());
        };
        let bias = bias.map(|b| b.to_floats());
        self.linear(node, &view, &weight, (inputs, outputs), true, bias)
    }

    /// A linear layer over the one axis of `view` that has elements; `by_rows` says that the weight is [inputs, outputs].
    fn linear(
        &mut self,
        node: &'a Node,
        view: &View,
        weight: &Array,
        (inputs, outputs): (usize, usize),
        by_rows: bool,
        bias: Option<Vec<f32>>,
    ) -> Step<Value> {
        let mut view = view.clone();
        let sizes = view.sizes();
        // A 1×1 kernel's features are its channels, a matrix's are the last axis.
        let at = if weight.shape.len() == 4 { 0 } else { sizes.len().saturating_sub(1) };
        if sizes.get(at) != Some(&inputs) {
            let full = self.full_shape(&view);
            return Err(format!("multiplies a value of {full:?}, where its weight takes {inputs} features").into());
        }
        // More than one row a sample are tokens, the pixels of an image.
        let is_tokens = view.len() != inputs;
        let (base, places) = if is_tokens {
            view = self.tokens(node, &view, at)?;
            (view.base, self.channels_along(&view, at))
        } else {
            (self.flattened(node, view.base)?, view.places())
        };
        let elements = weight.to_floats();
        // Column i of the weight meets the element that is read i-th, which lies at places[i].
        let mut turned = vec![0.0; elements.len()];
        if !places.iter().enumerate().all(|(i, p)| i == *p) {
            self.note("layouts turned into weights", node);
        }
        for o in 0..outputs {
            for (i, &place) in places.iter().enumerate() {
                turned[o * inputs + place] = if by_rows { elements[i * outputs + o] } else { elements[o * inputs + i] };
            }
        }
        let name = self.layer_name(node, 1);
        let op = Op::Linear(Linear { inputs, outputs, bias: bias.is_some() });
        let tensors = std::iter::once(turned).chain(bias).collect();
        let value = self.push(&name, op, vec![base], tensors)?;
        let mut axes = if is_tokens { view.axes } else { vec![Vec::new(); sizes.len()] };
        let stride = self.shapes[value][1..].iter().product();
        axes[at] = canonical([Atom { size: outputs, stride }]);
        Ok(Value::Computed(View { base: value, axes }))
    }

    pub(super) fn batch_norm(&mut self, node: &'a Node) -> Step<Value> {
        let view = self.computed(node, 0)?;
        if node.int("training_mode", 0) != 0 || node.int("spatial", 1) == 0 {
            return Err("normalises by the batch at hand or each pixel by itself; only running statistics of channels are supported".into());
        }
        let eps = node.float("epsilon", 1e-5);
        let constants = (1..5).map(|i| self.constant(node, i)).collect::<Step<Vec<_>>>()?;
        let channels = view.sizes().first().copied().unwrap_or(0);
        if constants.iter().any(|c| c.len() != channels) {
            return Err(
                format!("has statistics of {:?} for {channels} channels", constants.iter().map(|c| c.len()).collect::<Vec<_>>()).into()
            );
        }
        // The channel axis is the first behind the batch.
        let mut shape = vec![1; view.sizes().len()];
        shape[0] = channels;
        let mut tensors = Vec::with_capacity(4);
        let mut base = view.base;
        for constant in &constants {
            let (onto, values) = self.per_channel(node, &view, &constant.reshaped(shape.clone()))?;
            base = onto;
            tensors.push(values);
        }
        if tensors[3].iter().any(|v| v + eps <= 0.0) {
            return Err("has a variance that is not positive".into());
        }
        let norm = BatchNorm { channels: tensors[0].len(), eps, momentum: 1.0 - node.float("momentum", 0.9) };
        let name = self.layer_name(node, 1);
        let value = self.push(&name, Op::BatchNorm(norm), vec![base], tensors)?;
        Ok(Value::Computed(View { base: value, axes: view.axes }))
    }
}

fn times(array: &Array, by: f32) -> Array {
    let data = super::super::array::Data::Floats(array.to_floats().into_iter().map(|x| x * by).collect());
    Array { shape: array.shape.clone(), data }
}
