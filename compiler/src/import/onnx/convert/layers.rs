//! Nodes with weights.

use super::{Converter, OnnxValue, Pads, Step};
use crate::graph::{Conv2d, Linear, Op, Window};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::{Atom, View, canonical};

impl<'a> Converter<'a> {
    pub(super) fn conv(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let (weight, bias) = (self.constant(node, 1)?, self.optional(node, 2)?);
        let [outputs, inputs, ref kernel @ ..] = weight.shape[..] else { return Err(format!("has a kernel of {:?}", weight.shape).into()) };
        if !(1..=2).contains(&kernel.len()) {
            return Err(format!("has a kernel of {:?}; convolutions over one or two axes are supported", weight.shape).into());
        }
        if bias.as_ref().is_some_and(|b| b.shape != [outputs]) {
            return Err(format!("has a bias of {:?} for {outputs} outputs", bias.map(|b| b.shape.clone()).unwrap_or_default()).into());
        }
        let groups = usize::try_from(node.int("group", 1)).map_err(|_| "has a negative number of groups")?;
        let channels = inputs.checked_mul(groups).ok_or("has more channels than can be counted")?;
        let mut source = self.windowed(node, kernel.len(), |fill| fill == 0.0)?;
        let (height, width) = if let [h, w] = *kernel { (h, w) } else { (1, kernel[0]) };
        let mut window = super::pools::window(node, Some([height, width]), source.padded_size(), kernel.len())?;
        let view = &source.view;
        let is_vector = view.sizes() == [channels, 1, 1] && self.shapes[view.base].len() == 1;
        if is_vector && [height, width, groups] == [1; 3] && source.zeros == [0; 4] && window.padding == [0; 4] {
            self.note("1×1 convolutions of vectors are linear layers", node);
            let view = source.view.clone();
            let matrix = weight.reshaped(vec![outputs, inputs]);
            let y = self.linear(node, &view, 0, &matrix, false, bias.as_deref().map(Array::to_floats))?;
            return Ok(OnnxValue::Computed(source.restored(y)));
        }
        let extents = [0, 1].map(|axis| (window.kernel[axis].saturating_sub(1)).saturating_mul(window.dilation[axis]).saturating_add(1));
        if (0..4).any(|i| window.padding[i].saturating_add(source.zeros[i]) >= extents[i % 2]) {
            // The runtime's windows reach into every row of padding: what is beyond is computed.
            let all = Window { padding: std::array::from_fn(|i| window.padding[i].saturating_add(source.zeros[i])), ..window };
            let [top, left, bottom, right] = all.padding;
            source.view = self.with_pads(node, &source.view, &Pads { amounts: vec![(0, 0), (top, bottom), (left, right)], fill: 0.0 })?;
            (source.zeros, window.padding) = ([0; 4], [0; 4]);
        }
        let base = self.image(node, &source.view)?;
        (0..4).for_each(|i| window.padding[i] = window.padding[i].saturating_add(source.zeros[i]));
        if source.zeros != [0; 4] {
            self.note("zero padding taken in", node);
        }
        let conv = Conv2d { inputs: channels, outputs, window, groups, bias: bias.is_some() };
        let name = self.layer_name(node, 1);
        let mut tensors = vec![weight.to_floats()];
        tensors.extend(bias.map(|b| b.to_floats()));
        let value = self.push(&name, Op::Conv2d(conv), vec![base], tensors)?;
        let view = View::plain(value, &self.shapes[value]);
        Ok(OnnxValue::Computed(source.restored(view)))
    }

    pub(super) fn gemm(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let flipped = |name: &str| node.int(name, 0) != 0;
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        let turned = |view: View| view.transposed(&[1, 0]).ok_or("multiplies values that are no matrices");
        let (first, second) = (self.is_constant(node, 0), self.is_constant(node, 1));
        for i in 0..2 {
            if !self.is_constant(node, i) {
                let view = self.computed(node, i)?;
                if view.rank() != 2 {
                    return Err(format!("multiplies a value of {:?}, which is no matrix", self.full_shape(&view)).into());
                }
            }
        }
        // A bias of one value an output belongs to the layer.
        let addend = match self.value_if_given(node, 2)? {
            Some(OnnxValue::Constant(c)) if beta == 0.0 || c.to_floats().iter().all(|x| *x == 0.0) && c.shape.len() <= 1 => None,
            other => other,
        };
        let mut bias = None;
        let y = match (first, second) {
            (false, true) => {
                let (view, weight) = (self.computed(node, 0)?, self.constant(node, 1)?);
                let view = if flipped("transA") { turned(view)? } else { view };
                let &[rows, columns] = &weight.shape[..] else { return Err(format!("has a weight of {:?}", weight.shape).into()) };
                let outputs = if flipped("transB") { rows } else { columns };
                if let Some(OnnxValue::Constant(c)) = &addend
                    && (c.len() == 1 || c.shape.last() == Some(&outputs) && c.len() == outputs)
                    && c.shape.len() <= 2
                {
                    let values = c.to_floats();
                    bias = Some((0..outputs).map(|i| beta * values[if values.len() == 1 { 0 } else { i }]).collect::<Vec<f32>>());
                }
                let weight = times(&weight, alpha);
                self.linear(node, &view, 1, &weight, !flipped("transB"), bias.clone())?
            }
            (true, false) => {
                let (weight, view) = (self.constant(node, 0)?, self.computed(node, 1)?);
                if weight.shape.len() != 2 {
                    return Err(format!("has a weight of {:?}", weight.shape).into());
                }
                let view = if flipped("transB") { turned(view)? } else { view };
                self.linear(node, &view, 0, &times(&weight, alpha), flipped("transA"), None)?
            }
            _ => {
                let (a, b) = (self.computed(node, 0)?, self.computed(node, 1)?);
                let (a, b) = (if flipped("transA") { turned(a)? } else { a }, if flipped("transB") { turned(b)? } else { b });
                let y = self.product(node, &a, &b)?;
                if alpha == 1.0 { y } else { self.scaled_evenly(format!("{}.alpha", node.label()), &y, alpha, 0.0)? }
            }
        };
        match addend {
            Some(addend) if bias.is_none() => self.plus(node, y, addend, beta).map(OnnxValue::Computed),
            _ => Ok(OnnxValue::Computed(y)),
        }
    }

    /// y + β·c of one shape, c a constant or computed.
    fn plus(&mut self, node: &'a Node, y: View, addend: OnnxValue, beta: f32) -> Step<View> {
        match addend {
            OnnxValue::Constant(c) => {
                let scaled = times(&c, beta);
                if self.broadcast_shape(&y, &scaled.shape)? != self.full_shape(&y) {
                    return Err(format!("adds a constant of {:?} to a value of {:?}", c.shape, self.full_shape(&y)).into());
                }
                match self.positioned(node, &y, &scaled, 1.0)? {
                    Some(OnnxValue::Computed(view)) => Ok(view),
                    _ => self.by_constant(node, &y, &scaled, |v| (1.0, v)),
                }
            }
            OnnxValue::Computed(c) => {
                let c = if beta == 1.0 { c } else { self.scaled_evenly(format!("{}.beta", node.label()), &c, beta, 0.0)? };
                self.added(node, &y, &c)
            }
            _ => Err("adds a value that is neither a constant nor computed".into()),
        }
    }

    /// Input `i` as it is, if it is given.
    fn value_if_given(&self, node: &Node, i: usize) -> Step<Option<OnnxValue>> {
        node.input(i).map(|_| self.value(node, i).cloned()).transpose()
    }

    /// A product by a constant matrix on either side, which on the right may have a bias as its third input (see the rules),
    /// or of two computed values.
    pub(super) fn matmul(&mut self, node: &'a Node) -> Step<OnnxValue> {
        match (self.is_constant(node, 0), self.is_constant(node, 1)) {
            (false, true) => {
                let (view, weight, bias) = (self.computed(node, 0)?, self.constant(node, 1)?, self.optional(node, 2)?);
                let last = view.rank().checked_sub(1).ok_or("multiplies a single number")?;
                if bias.as_ref().is_some_and(|b| b.shape.len() > view.rank()) {
                    return Err("adds a constant with more axes than the product has".into());
                }
                let matrix = matrix(&weight, view.rank())?;
                let is_vector = weight.shape.len() == 1;
                let matrix = if is_vector { matrix.reshaped(vec![weight.len(), 1]) } else { matrix };
                let mut y = self.linear(node, &view, last, &matrix, true, bias.map(|b| b.to_floats()))?;
                if is_vector {
                    let own = y.own(last).ok_or("multiplies the samples")?;
                    y.axes.remove(own);
                }
                Ok(OnnxValue::Computed(y))
            }
            (true, false) => {
                let (weight, view) = (self.constant(node, 0)?, self.computed(node, 1)?);
                if weight.shape.len() < 2 || view.rank() < 2 {
                    return Err("multiplies a constant vector by a computed value, which is not supported".into());
                }
                let matrix = matrix(&weight, view.rank())?;
                self.linear(node, &view, view.rank() - 2, &matrix, false, None).map(OnnxValue::Computed)
            }
            _ => {
                let (a, b) = (self.computed(node, 0)?, self.computed(node, 1)?);
                self.product(node, &a, &b).map(OnnxValue::Computed)
            }
        }
    }

    /// A linear layer over the file's axis `axis` of `view`; `by_rows` says that the weight is [inputs, outputs].
    fn linear(&mut self, node: &'a Node, view: &View, axis: usize, weight: &Array, by_rows: bool, bias: Option<Vec<f32>>) -> Step<View> {
        let &[rows, columns] = &weight.shape[..] else { return Err(format!("has a weight of {:?}", weight.shape).into()) };
        let (inputs, outputs) = if by_rows { (rows, columns) } else { (columns, rows) };
        let full = self.full_shape(view);
        let at = view.own(axis).ok_or_else(|| format!("multiplies the samples (axis {axis} of {full:?})"))?;
        let sizes = view.sizes();
        if sizes.get(at) != Some(&inputs) {
            return Err(format!("multiplies a value of {full:?}, where its weight takes {inputs} features").into());
        }
        // More than one row a sample are tokens, the pixels of an image.
        let is_tokens = view.len() != inputs;
        let mut view = view.clone();
        let (base, places) = if is_tokens {
            view = self.over_channels(node, &view, &[at])?;
            (view.base, self.channels_along(&view, &[at]))
        } else {
            (self.flattened(node, view.base)?, view.offsets())
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
        Ok(View { base: value, axes, sample: view.sample })
    }
}

/// A constant as one matrix: axes of one element in front of it go away, if the value that it meets has as many axes.
fn matrix(weight: &Array, rank: usize) -> Step<Array> {
    let mut shape = &weight.shape[..];
    if shape.len() > rank.max(2) {
        return Err(format!("multiplies by a constant of {:?}, which gives its product more axes than the value has", weight.shape).into());
    }
    while let [1, rest @ ..] = shape
        && shape.len() > 2
    {
        shape = rest;
    }
    match shape.len() {
        1 | 2 => Ok(weight.reshaped(shape.to_vec())),
        _ => Err(format!("multiplies by a constant of {:?}, not by one matrix", weight.shape).into()),
    }
}

fn times(array: &Array, by: f32) -> Array {
    if by == 1.0 {
        return array.clone();
    }
    Array { shape: array.shape.clone(), data: Data::Floats(array.to_floats().into_iter().map(|x| x * by).collect()) }
}
