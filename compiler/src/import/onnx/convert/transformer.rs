//! What transformers are made of: layer normalisation, attention, class tokens and positions. Tokens are the pixels of
//! images, their features the channels.

use super::channels::Front;
use super::{Converter, OnnxValue, Step};
use crate::graph::{Attention, Embed, Op, Positions, ValueId};
use crate::import::onnx::array::Array;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;
use crate::import::onnx::{eval, sizes};

impl<'a> Converter<'a> {
    /// The view at input `i` and the element of its value that it begins with.
    pub(super) fn seen(&self, node: &Node, i: usize) -> Step<(View, usize)> {
        match self.value(node, i)? {
            OnnxValue::Part(view, offset) => Ok((view.clone(), *offset)),
            _ => Ok((self.computed(node, i)?, 0)),
        }
    }

    /// Queries, keys and values behind their front, each with where it begins, and that front.
    fn read(&self, node: &Node) -> Step<(Front, Vec<(View, usize)>)> {
        let seen = (0..3).map(|i| self.seen(node, i)).collect::<Step<Vec<_>>>()?;
        let rank = seen[0].0.rank();
        if seen.iter().any(|(view, _)| view.rank() != rank) || !(3..=4).contains(&rank) {
            let shapes: Vec<_> = seen.iter().map(|(view, _)| self.full_shape(view)).collect();
            return Err(format!("attends over values of {shapes:?}, which are no tokens or heads of tokens").into());
        }
        let mut read = Vec::with_capacity(3);
        let mut fronts = Vec::with_capacity(3);
        for (view, offset) in seen {
            let (front, view) = self.behind_front(&view)?;
            fronts.push(front);
            read.push((view, offset));
        }
        Ok((fronts[0], read))
    }

    /// Attention as the rules put it together.
    pub(super) fn attention_written_out(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let (front, mut read) = self.read(node)?;
        let (rank, tokens) = (read[0].0.axes.len() + 1, read[0].0.axes.len());
        let mut scale = 1.0;
        for (i, &power) in node.ints("powers").unwrap_or_default().iter().enumerate() {
            let by = self.constant(node, 3 + i)?;
            let number = by.scalar().filter(|_| by.shape.len() <= rank);
            let number = number.ok_or_else(|| format!("scales its products by a constant of {:?}", by.shape))?;
            scale *= if power < 0 { 1.0 / number } else { number };
        }
        if node.int("mask_axes", 0) > rank as i64 || sizes::axis(node.int("axis", -1), rank)? + 1 != rank {
            return Err("takes its softmax over another axis than the last".into());
        }
        for (view, _) in &mut read {
            if tokens == 2 {
                view.axes.insert(0, Vec::new());
            }
        }
        // As heads, channels, tokens; keys are that already.
        for which in [0, 2] {
            read[which].0 = read[which].0.permuted(&[0, 2, 1]).ok_or("names no axis")?;
        }
        let value = self.attend(node, read, scale)?;
        let (shape, heads) = (self.shapes[value].clone(), self.heads_of(value));
        let mut view = View::plain(value, &[heads, shape[0] / heads, shape[1] * shape[2]]).permuted(&[0, 2, 1]).ok_or("names no axis")?;
        if tokens == 2 {
            view.axes.remove(0);
        }
        Ok(OnnxValue::Computed(front.before(view)))
    }

    /// Operator set 23's own attention, of [tokens, channels] or [heads, tokens, channels].
    pub(super) fn attention(&mut self, node: &'a Node) -> Step<OnnxValue> {
        if (3..6).any(|i| node.input(i).is_some())
            || node.int("is_causal", 0) != 0
            || node.float("softcap", 0.0) != 0.0
            || node.outputs.iter().skip(1).any(|o| !o.is_empty())
        {
            return Err("has a mask, earlier keys or further outputs, which are not supported".into());
        }
        let (front, mut read) = self.read(node)?;
        let rank = read[0].0.axes.len();
        let heads = |key: &str| usize::try_from(node.int(key, 1)).ok().filter(|h| *h > 0).ok_or("has no heads");
        for ((view, _), key) in read.iter_mut().zip(["q_num_heads", "kv_num_heads", "kv_num_heads"]) {
            if let [tokens, channels] = view.sizes()[..] {
                let heads = heads(key)?;
                if !channels.is_multiple_of(heads) {
                    return Err(format!("has {channels} channels for {heads} heads").into());
                }
                let apart = view.reshaped(&[tokens, heads, channels / heads]).and_then(|v| v.permuted(&[1, 2, 0]));
                *view = apart.ok_or_else(|| format!("has {channels} channels for {heads} heads"))?;
            } else {
                *view = view.permuted(&[0, 2, 1]).ok_or("reads neither tokens nor heads of tokens")?;
            }
        }
        let size = read[0].0.sizes()[1];
        let scale = node.float("scale", (size as f32).sqrt().recip());
        let value = self.attend(node, read, scale)?;
        let (shape, heads) = (self.shapes[value].clone(), self.heads_of(value));
        let view = View::plain(value, &[heads, shape[0] / heads, shape[1] * shape[2]]);
        let order: &[usize] = if rank == 2 { &[2, 0, 1] } else { &[0, 2, 1] };
        let view = view.permuted(order).ok_or("names no axis")?;
        let sizes = view.sizes();
        let view = if rank == 2 { view.reshaped(&[sizes[0], sizes[1] * sizes[2]]) } else { Some(view) };
        Ok(OnnxValue::Computed(front.before(view.ok_or("has heads that cannot be put together")?)))
    }

    fn heads_of(&self, value: ValueId) -> usize {
        match self.graph.producer(value).map(|node| &node.op) {
            Some(Op::Attention(a)) => a.heads,
            _ => 1,
        }
    }

    /// Appends attention over queries, keys and values as (heads, channels, tokens), each with where it begins.
    fn attend(&mut self, node: &'a Node, read: Vec<(View, usize)>, scale: f32) -> Step<ValueId> {
        let sizes: Vec<Vec<usize>> = read.iter().map(|(view, _)| view.sizes()).collect();
        let [q, k, v] = [&sizes[0], &sizes[1], &sizes[2]];
        if k != v || q[..2] != k[..2] {
            return Err(format!(
                "has queries of {q:?}, keys of {k:?} and values of {v:?} (heads, channels, tokens), which is not supported"
            )
            .into());
        }
        let channels = q[0] * q[1];
        // A view of all of so many channels of an image of so many pixels.
        let lies = |this: &Self, i: usize, all: usize| {
            let shape = &this.shapes[read[i].0.base];
            let image = shape.len() == 3 && shape[0] == all && shape[1] * shape[2] == sizes[i][2];
            image && read[i].0.axes == View::plain(read[i].0.base, &sizes[i]).axes
        };
        let len = channels * q[2];
        let one_value = (0..3).all(|i| read[i].0.base == read[0].0.base && read[i].1 == i * len && lies(self, i, 3 * channels));
        let mut inputs = Vec::with_capacity(3);
        if one_value {
            inputs.push(read[0].0.base);
        } else {
            for i in 0..3 {
                let (view, offset) = &read[i];
                inputs.push(match *offset == 0 && lies(self, i, channels) {
                    true => view.base,
                    false => self.rearranged(node, view.base, vec![channels, sizes[i][2], 1], *offset, &view.atoms())?,
                });
            }
        }
        let name = self.fresh(node.label().into());
        self.push(&name, Op::Attention(Attention { heads: q[0], scale }), inputs, Vec::new())
    }

    /// `view`, an image's tokens, with a constant for each element added (`sign` times); `None` where it is something else.
    pub(super) fn positioned(&mut self, node: &'a Node, view: &View, constant: &Array, sign: f32) -> Step<Option<OnnxValue>> {
        let Ok((_, bare)) = self.behind_front(view) else { return Ok(None) };
        let Some(at) = (0..bare.axes.len()).find(|&at| bare.axes.len() == 2 && self.has_channels(&bare, &[at])) else { return Ok(None) };
        let pixels = bare.len() / bare.sizes()[at].max(1);
        let aligned = self.aligned(view, constant)?;
        if pixels == 1 || self.shapes[view.base].len() != 3 || view.of_channels(pixels, &aligned.shape).is_some() {
            return Ok(None);
        }
        let channels = self.shapes[view.base][0];
        let (values, mut table) = (aligned.to_floats(), vec![0.0; view.len()]);
        for (place, from) in view.offsets().into_iter().zip(eval::broadcast_offsets(&aligned.shape, &view.sizes())) {
            table[place % pixels * channels + place / pixels] = sign * values[from];
        }
        let base = self.embed(node, view.base, 0, table)?;
        Ok(Some(OnnxValue::Computed(View { base, ..view.clone() })))
    }

    fn embed(&mut self, node: &'a Node, base: ValueId, first: usize, table: Vec<f32>) -> Step<ValueId> {
        let shape = self.shapes[base].clone();
        let name = self.fresh(node.label().into());
        let positions = Positions::Learned(format!("{name}.positions"));
        let embed = Embed { channels: shape[0], pixels: shape[1] * shape[2], first, class: None, positions, batched: false };
        self.push(&name, Op::Embed(embed), vec![base], vec![table])
    }

    /// Constants put before a value's tokens along axis `at`: class tokens.
    pub(super) fn with_class_tokens(&mut self, node: &'a Node, axis: usize) -> Step<OnnxValue> {
        let last = node.inputs.len() - 1;
        let full_view = self.computed(node, last)?;
        let (front, view) = self.behind_front(&full_view)?;
        let at = axis.checked_sub(usize::from(front == Front::One)).filter(|_| view.axes.len() == 2);
        let at = at.ok_or("puts a constant before a value that is no row of tokens, which is not supported")?;
        let other = 1 - at;
        // Pixels in the order of the tokens, so that more can stand before them.
        let view = self.over_channels(node, &view, &[other])?;
        let sizes = view.sizes();
        let in_order = self.shapes[view.base].len() == 3 && view.axes[at] == View::plain(view.base, &[sizes[at]]).axes[0];
        let view = if in_order {
            view
        } else {
            let turned = view.permuted(&[other, at]).ok_or("names no axis")?;
            let base = self.moved_to(node, &turned, vec![sizes[other], sizes[at], 1])?;
            let plain = View::plain(base, &[sizes[other], sizes[at]]);
            if other == 0 { plain } else { plain.permuted(&[1, 0]).ok_or("names no axis")? }
        };
        let channels = self.channels_along(&view, &[other]);
        let mut before = Vec::new();
        for i in 0..last {
            let constant = self.constant(node, i)?;
            let misfit = || format!("puts a constant of {:?} before a value of {:?}", constant.shape, self.full_shape(&full_view));
            // All samples begin with the same tokens.
            let mut expected = self.full_shape(&full_view);
            let along = full_view.axis_of(axis);
            expected[along] = constant.shape.get(along).copied().filter(|_| constant.shape.len() == expected.len()).ok_or_else(misfit)?;
            if constant.shape != expected {
                return Err(misfit().into());
            }
            let constant = super::arithmetic::of_one_sample(&constant, full_view.sample).ok_or_else(misfit)?;
            let (count, values) = (expected[along], constant.to_floats());
            for token in 0..count {
                let mut row = vec![0.0; channels.len()];
                for (c, &channel) in channels.iter().enumerate() {
                    row[channel] = values[if at == 0 { token * channels.len() + c } else { c * count + token }];
                }
                before.extend(row);
            }
        }
        let first = before.len() / channels.len().max(1);
        before.resize((first + sizes[at]) * channels.len(), 0.0);
        self.note("constants before tokens are class tokens", node);
        let base = self.embed(node, view.base, first, before)?;
        let tokens = first + sizes[at];
        let mut axes = view.axes.clone();
        axes[at] = View::plain(base, &[tokens]).axes[0].clone();
        // Channels are as many tokens apart as there are now.
        axes[other].iter_mut().for_each(|a| a.stride = a.stride / sizes[at] * tokens);
        Ok(OnnxValue::Computed(front.before(View { base, axes, sample: None })))
    }
}
