//! What transformers are made of: layer normalisation, attention, class tokens and positions. Tokens are the pixels of
//! images, their features the channels.

use super::super::array::Array;
use super::super::model::Node;
use super::super::view::View;
use super::super::{dims, eval};
use super::{Converter, Step, Value};
use crate::graph::{Attention, Embed, Op, Positions, ValueId};

impl<'a> Converter<'a> {
    /// The view at input `i` and the element of its value that it begins with.
    pub(super) fn seen(&self, node: &Node, i: usize) -> Step<(View, usize)> {
        match self.value(node, i)? {
            Value::Part(view, offset) => Ok((view.clone(), *offset)),
            _ => Ok((self.computed(node, i)?, 0)),
        }
    }

    /// `view` with the axis of its channels first, as an image of pixels in the order of the other axes, if it does not lie so.
    pub(super) fn tokens(&mut self, node: &Node, view: &View, at: usize) -> Step<View> {
        if self.has_channels_at(view, at) {
            return Ok(view.clone());
        }
        let rank = view.axes.len();
        let order: Vec<usize> = std::iter::once(at).chain((0..rank).filter(|&i| i != at)).collect();
        let turned = view.permuted(&order).ok_or("names no axis")?;
        let sizes = turned.sizes();
        let base = self.moved_to(node, &turned, vec![sizes[0], turned.len() / sizes[0].max(1), 1])?;
        let back: Vec<usize> = (0..rank).map(|i| order.iter().position(|&o| o == i).unwrap_or(i)).collect();
        Ok(View::plain(base, &sizes).permuted(&back).ok_or("names no axis")?)
    }

    /// Whether axis `at` of `view` is all channels of an image, in any order, and the other axes all its pixels.
    fn has_channels_at(&self, view: &View, at: usize) -> bool {
        let [channels, height, width] = self.shapes[view.base][..] else { return false };
        let (pixels, sizes) = (height * width, view.sizes());
        let over_channels = view.axes[at].iter().all(|a| a.stride.is_multiple_of(pixels) && a.stride > 0);
        let others = view.axes.iter().enumerate().filter(|(i, _)| *i != at).flat_map(|(_, atoms)| atoms);
        sizes[at] == channels
            && view.len() == channels * pixels
            && over_channels
            && others.into_iter().all(|a| a.stride < pixels && a.stride > 0)
    }

    /// The channel of the image at each place of axis `at`, which [`Converter::tokens`] made one of channels.
    pub(super) fn channels_along(&self, view: &View, at: usize) -> Vec<usize> {
        let pixels: usize = self.shapes[view.base][1..].iter().product();
        let line = View { base: view.base, axes: vec![view.axes[at].clone()] };
        line.places().into_iter().map(|p| p / pixels.max(1)).collect()
    }

    pub(super) fn layer_norm(&mut self, node: &'a Node) -> Step<Value> {
        let view = self.computed(node, 0)?;
        let rank = view.axes.len() + 1;
        let stated = node.ints("over").map_or_else(|| vec![node.int("axis", -1)], <[i64]>::to_vec);
        let mut axes = stated.iter().map(|&a| dims::axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        if node.ints("over").is_none() {
            axes = (axes[0]..rank).collect();
        }
        if axes[0] == 0 || axes.iter().rev().zip((0..rank).rev()).any(|(a, b)| *a != b) {
            return Err(format!("normalises over axes {stated:?}; the last ones of a sample are supported").into());
        }
        let eps = node.float("epsilon", 1e-5);
        let sizes = view.sizes();
        let count: usize = axes.iter().map(|a| sizes[a - 1]).product();
        let mut constants = [vec![1.0; count], vec![0.0; count]];
        for (i, values) in constants.iter_mut().enumerate() {
            let Some(array) = self.optional(node, i + 1)? else { continue };
            if array.len() != count {
                return Err(format!("has a constant of {:?} for {count} elements", array.shape).into());
            }
            *values = array.to_floats();
        }
        // All elements of a sample are a vector's; one axis of tokens is channels.
        let (base, places) = if axes[0] == 1 && (axes.len() > 1 || rank == 2) {
            (self.flattened(node, view.base)?, view.places())
        } else if let [at] = axes[..] {
            let tokens = self.tokens(node, &view, at - 1)?;
            return self.normalised(node, tokens.base, self.channels_along(&tokens, at - 1), &constants, eps, tokens);
        } else {
            return Err(format!("normalises over axes {stated:?} beside others, which is not supported").into());
        };
        self.normalised(node, base, places, &constants, eps, view)
    }

    fn normalised(
        &mut self,
        node: &'a Node,
        base: ValueId,
        places: Vec<usize>,
        constants: &[Vec<f32>; 2],
        eps: f32,
        view: View,
    ) -> Step<Value> {
        let lying = constants.each_ref().map(|values| {
            let mut lying = vec![0.0; values.len()];
            places.iter().zip(values).for_each(|(&place, &v)| lying[place] = v);
            lying
        });
        let name = self.layer_name(node, 1);
        let value = self.push(&name, Op::LayerNorm { channels: places.len(), eps }, vec![base], lying.to_vec())?;
        Ok(Value::Computed(View { base: value, axes: view.axes }))
    }

    /// Attention as the rules put it together.
    pub(super) fn attention_written_out(&mut self, node: &'a Node) -> Step<Value> {
        let mut scale = 1.0;
        for (i, &power) in node.ints("powers").unwrap_or_default().iter().enumerate() {
            let by = self.constant(node, 3 + i)?;
            let by = by.scalar().ok_or_else(|| format!("scales its products by a constant of {:?}", by.shape))?;
            scale *= if power < 0 { 1.0 / by } else { by };
        }
        let mut read = (0..3).map(|i| self.seen(node, i)).collect::<Step<Vec<_>>>()?;
        let rank = read[0].0.axes.len();
        if dims::axis(node.int("axis", -1), rank + 1)? != rank {
            return Err("takes its softmax over another axis than the last".into());
        }
        for (view, _) in &mut read {
            match view.axes.len() {
                2 => view.axes.insert(0, Vec::new()),
                3 => {}
                _ => return Err(format!("multiplies values of {:?}, which are no heads of tokens", self.full_shape(view)).into()),
            }
        }
        // As heads, channels, tokens; keys are that already.
        for which in [0, 2] {
            read[which].0 = read[which].0.permuted(&[0, 2, 1]).ok_or("names no axis")?;
        }
        let value = self.attend(node, read, scale)?;
        let (shape, heads) = (self.shapes[value].clone(), self.heads_of(value));
        let mut view = View::plain(value, &[heads, shape[0] / heads, shape[1] * shape[2]]).permuted(&[0, 2, 1]).ok_or("names no axis")?;
        if rank == 2 {
            view.axes.remove(0);
        }
        Ok(Value::Computed(view))
    }

    /// Operator set 23's own attention, of [tokens, channels] or [heads, tokens, channels].
    pub(super) fn attention(&mut self, node: &'a Node) -> Step<Value> {
        if (3..6).any(|i| node.input(i).is_some())
            || node.int("is_causal", 0) != 0
            || node.float("softcap", 0.0) != 0.0
            || node.outputs.len() > 1
        {
            return Err("has a mask, earlier keys or further outputs, which are not supported".into());
        }
        let mut read = (0..3).map(|i| self.seen(node, i)).collect::<Step<Vec<_>>>()?;
        let rank = read[0].0.axes.len();
        let heads = |key: &str| usize::try_from(node.int(key, 1)).ok().filter(|h| *h > 0).ok_or("has no heads");
        for ((view, _), key) in read.iter_mut().zip(["q_num_heads", "kv_num_heads", "kv_num_heads"]) {
            if let [tokens, channels] = view.sizes()[..] {
                let heads = heads(key)?;
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
        Ok(Value::Computed(view.ok_or("has heads that cannot be put together")?))
    }

    fn heads_of(&self, value: ValueId) -> usize {
        match value.checked_sub(1).map(|at| &self.graph.nodes[at].op) {
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
    pub(super) fn positioned(&mut self, node: &'a Node, view: &View, constant: &Array, sign: f32) -> Step<Option<Value>> {
        let Some(at) = (0..view.axes.len()).find(|&at| view.axes.len() == 2 && self.has_channels_at(view, at)) else { return Ok(None) };
        let pixels = view.len() / view.sizes()[at].max(1);
        let aligned = self.aligned(view, constant)?;
        if pixels == 1 || view.of_channels(pixels, &aligned).is_some() {
            return Ok(None);
        }
        let channels = self.shapes[view.base][0];
        let (values, mut table) = (constant.to_floats(), vec![0.0; view.len()]);
        for (place, from) in view.places().into_iter().zip(eval::spread(&aligned, &view.sizes())) {
            table[place % pixels * channels + place / pixels] = sign * values[from];
        }
        let value = self.embed(node, view.base, 0, table)?;
        Ok(Some(Value::Computed(View { base: value, axes: view.axes.clone() })))
    }

    fn embed(&mut self, node: &'a Node, base: ValueId, first: usize, table: Vec<f32>) -> Step<ValueId> {
        let shape = self.shapes[base].clone();
        let name = self.fresh(node.label().into());
        let positions = Positions::Learned(format!("{name}.positions"));
        let embed = Embed { channels: shape[0], pixels: shape[1] * shape[2], first, class: None, positions, batched: false };
        self.push(&name, Op::Embed(embed), vec![base], vec![table])
    }

    /// Constants put before a value's tokens along axis `at`: class tokens.
    pub(super) fn with_class_tokens(&mut self, node: &'a Node, at: usize) -> Step<Value> {
        let last = node.inputs.len() - 1;
        let Ok(view) = self.computed(node, last) else { return Err("puts a constant behind or between computed values".into()) };
        if view.axes.len() != 2 {
            return Err("puts a constant before a value that is no row of tokens".into());
        }
        let other = 1 - at;
        // Pixels in the order of the tokens, so that more can stand before them.
        let view = self.tokens(node, &view, other)?;
        let sizes = view.sizes();
        let in_order = view.axes[at] == View::plain(view.base, &[sizes[at]]).axes[0];
        let view = if in_order {
            view
        } else {
            let turned = view.permuted(&[other, at]).ok_or("names no axis")?;
            let base = self.moved_to(node, &turned, vec![sizes[other], sizes[at], 1])?;
            let plain = View::plain(base, &[sizes[other], sizes[at]]);
            if other == 0 { plain } else { plain.permuted(&[1, 0]).ok_or("names no axis")? }
        };
        let channels = self.channels_along(&view, other);
        let mut before = Vec::new();
        for i in 0..last {
            let constant = self.constant(node, i)?;
            let wanted: Vec<usize> = constant.shape.iter().copied().filter(|&d| d != 1).collect();
            let count = constant.len() / channels.len().max(1);
            let mut full = [count, channels.len()];
            full.swap(0, at);
            if count * channels.len() != constant.len() || full.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>() != wanted {
                return Err(format!("puts a constant of {:?} before a value of {:?}", constant.shape, self.full_shape(&view)).into());
            }
            let values = constant.to_floats();
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
        let value = self.embed(node, view.base, first, before)?;
        let tokens = first + sizes[at];
        let mut axes = view.axes.clone();
        axes[at] = View::plain(value, &[tokens]).axes[0].clone();
        // Channels are as many tokens apart as there are now.
        axes[other].iter_mut().for_each(|a| a.stride = a.stride / sizes[at] * tokens);
        Ok(Value::Computed(View { base: value, axes }))
    }
}
