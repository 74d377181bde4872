//! Nodes that change the order or the shape in which elements are read, or say how many there are.

use super::{Converter, OnnxValue, Step};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;
use crate::import::onnx::{dims, eval, sizes};

impl<'a> Converter<'a> {
    /// A node that only changes the order or the shape in which elements are read.
    pub(super) fn moved(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let transposes = node.op == "Transpose";
        if !transposes
            && let Some(name) = node.inputs.first()
            && matches!(self.values.get(name.as_str()), Some(OnnxValue::Padded(..)))
        {
            self.settle(node, name)?;
        }
        let value = self.value(node, 0)?.clone();
        self.note("transposes, reshapes and flattens taken into views", node);
        match value {
            OnnxValue::Part(view, offset) if transposes => Ok(OnnxValue::Part(self.transposed(node, &view)?, offset)),
            OnnxValue::Padded(view, mut pads) if transposes => {
                let turned = self.transposed(node, &view)?;
                let order = dims::permutation(node, view.rank())?;
                pads.amounts = order.iter().filter_map(|&o| view.own(o)).map(|own| pads.amounts[own]).collect();
                Ok(OnnxValue::Padded(turned, pads))
            }
            OnnxValue::Computed(view) if transposes => self.transposed(node, &view).map(OnnxValue::Computed),
            OnnxValue::Part(view, offset) => self.reshaped(node, &view, Some(offset)),
            _ => {
                let view = self.computed(node, 0)?;
                self.reshaped(node, &view, None)
            }
        }
    }

    fn transposed(&self, node: &Node, view: &View) -> Step<View> {
        let order = dims::permutation(node, view.rank())?;
        Ok(view.transposed(&order).ok_or("names an axis twice")?)
    }

    /// Another shape of as many elements; of a part that begins with element `offset`, a part again.
    fn reshaped(&mut self, node: &'a Node, view: &View, offset: Option<usize>) -> Step<OnnxValue> {
        let full = self.full_shape(view);
        let second = self.optional(node, 1)?;
        let to = match node.op.as_str() {
            "Reshape" => match (second, node.ints("shape")) {
                (Some(target), _) => dims::target_shape(node, &full, &target)?,
                (None, Some(target)) => dims::target_shape(node, &full, &Array::ints(target.to_vec()))?,
                (None, None) => return Err("has no target shape".into()),
            },
            "Flatten" => {
                let at = match node.int("axis", 1) {
                    axis if axis < 0 => axis + full.len() as i64,
                    axis => axis,
                };
                let at =
                    usize::try_from(at).ok().filter(|at| *at <= full.len()).ok_or_else(|| format!("flattens {full:?} at axis {at}"))?;
                vec![full[..at].iter().product(), full[at..].iter().product()]
            }
            "Squeeze" => match dims::axes(node, second.as_deref())? {
                // Whether there is one sample is no property of the network.
                None => full.iter().enumerate().filter(|(i, d)| **d != 1 || view.sample == Some(*i)).map(|(_, d)| *d).collect(),
                Some(axes) => sizes::squeezed(&full, Some(&axes))?,
            },
            _ => sizes::unsqueezed(&full, dims::axes(node, second.as_deref())?.as_deref())?,
        };
        let sample = self.sample_of(view, &full, &to)?;
        let own: Vec<usize> = to.iter().enumerate().filter(|(i, _)| sample != Some(*i)).map(|(_, d)| *d).collect();
        Ok(match (view.reshaped(&own), offset) {
            (Some(view), None) => OnnxValue::Computed(view.sampled(sample)),
            (Some(view), Some(offset)) => OnnxValue::Part(view.sampled(sample), offset),
            // The cut goes across an order that was changed before: in a vector there is none.
            (None, _) => {
                let vector = self.rearranged(node, view.base, vec![view.len()], offset.unwrap_or(0), &view.atoms())?;
                OnnxValue::Computed(View::plain(vector, &own).sampled(sample))
            }
        })
    }

    /// Where the axis of the samples of `view`, of the file's shape `from`, is in the shape `to`: as many elements must stand
    /// before it.
    fn sample_of(&self, view: &View, from: &[usize], to: &[usize]) -> Step<Option<usize>> {
        let Some(sample) = view.sample else { return Ok(None) };
        let before: usize = from[..sample].iter().product();
        let fits = |&at: &usize| to[at] == from[sample] && to[..at].iter().product::<usize>() == before;
        match (0..to.len()).find(fits) {
            Some(at) => Ok(Some(at)),
            None => Err(format!("makes {to:?} of {from:?}, which mixes samples (axis {sample})").into()),
        }
    }

    pub(super) fn shape(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let mut full = match self.value(node, 0)? {
            OnnxValue::Constant(array) => array.shape.clone(),
            OnnxValue::Computed(view) | OnnxValue::Part(view, _) | OnnxValue::Padded(view, _) => self.full_shape(view),
        };
        if let OnnxValue::Padded(view, pads) = self.value(node, 0)? {
            for (own, amount) in pads.amounts.iter().enumerate() {
                full[view.axis_of(own)] += amount.0 + amount.1;
            }
        }
        self.note("shapes folded", node);
        let array = if node.op == "Size" {
            Array { shape: vec![], data: Data::Ints(vec![full.iter().product::<usize>() as i64]) }
        } else {
            eval::shape_of(node, &full)
        };
        Ok(OnnxValue::Constant(array.into()))
    }

    /// Blocks of pixels as channels, or channels as blocks of pixels.
    pub(super) fn blocks(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let view = self.computed(node, 0)?;
        let (front, bare) = self.behind_front(&view)?;
        let block = usize::try_from(node.int("blocksize", 0)).ok().filter(|b| *b > 0).ok_or("has no blocksize")?;
        let &[channels, height, width] = &bare.sizes()[..] else {
            return Err(format!("reads a value of {:?}, which is no image", self.full_shape(&view)).into());
        };
        let to_space = node.op == "DepthToSpace";
        let fits =
            if to_space { channels.is_multiple_of(block * block) } else { height.is_multiple_of(block) && width.is_multiple_of(block) };
        if !fits {
            return Err(format!("has blocks of {block} for an image of {:?}", bare.sizes()).into());
        }
        let (depth, order, sizes): ([usize; 5], [usize; 5], [usize; 3]) = if to_space {
            let depth = channels / (block * block);
            let sizes = [depth, height * block, width * block];
            match node.text("mode").unwrap_or("DCR") {
                "DCR" => ([block, block, depth, height, width], [2, 3, 0, 4, 1], sizes),
                "CRD" => ([depth, block, block, height, width], [0, 3, 1, 4, 2], sizes),
                mode => return Err(format!("has mode {mode:?}").into()),
            }
        } else {
            let sizes = [channels * block * block, height / block, width / block];
            let depth = [channels, height / block, block, width / block, block];
            match node.text("mode").unwrap_or("DCR") {
                "DCR" => (depth, [2, 4, 0, 1, 3], sizes),
                "CRD" => (depth, [0, 2, 4, 1, 3], sizes),
                mode => return Err(format!("has mode {mode:?}").into()),
            }
        };
        let apart = self.reordered(node, &bare, &depth)?;
        let turned = apart.permuted(&order).ok_or("names no axis")?;
        let view = self.reordered(node, &turned, &sizes)?;
        self.note("transposes, reshapes and flattens taken into views", node);
        Ok(OnnxValue::Computed(front.before(view)))
    }

    /// `view` with own axes of `sizes`; moved into a vector first where a cut goes across an order that was changed before.
    pub(super) fn reordered(&mut self, node: &Node, view: &View, sizes: &[usize]) -> Step<View> {
        if let Some(view) = view.reshaped(sizes) {
            return Ok(view);
        }
        let vector = self.moved_to(node, view, vec![view.len()])?;
        Ok(View::plain(vector, sizes).sampled(view.sample))
    }
}
