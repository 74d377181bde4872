//! Attention with masks, earlier keys, groups of heads and further outputs, rotary positions, and attention without a softmax.

use super::super::{Converter, Step};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::Node;

/// The most tokens that are gone through one after the other.
const MOST_TOKENS: usize = 512;

impl<'a> Converter<'a> {
    pub(super) fn attention_of(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        match node.op.as_str() {
            "Attention" => self.attention_in_full(node),
            "CausalConvWithState" => self.causal_conv(node),
            "LinearAttention" => self.linear_attention(node),
            _ => self.rotary(node).map(|y| vec![y]),
        }
    }

    /// [batch, tokens, heads·size] as [batch, heads, tokens, size].
    fn heads_apart(&mut self, node: &Node, name: &'a str, heads: usize) -> Step<&'a str> {
        let shape = self.shape_of(name)?;
        let &[batch, tokens, all] = &shape[..] else { return Err(format!("has tokens of {shape:?}").into()) };
        if heads == 0 || !all.is_multiple_of(heads) {
            return Err(format!("has {all} channels for {heads} heads").into());
        }
        let apart = self.put_reshape(node, name, &[batch, tokens, heads, all / heads])?;
        self.put_transpose(node, apart, &[0, 2, 1, 3])
    }

    /// [batch, heads, tokens, size] as [batch, tokens, heads·size].
    fn heads_together(&mut self, node: &Node, name: &str) -> Step<&'a str> {
        let shape = self.shape_of(name)?;
        let &[batch, heads, tokens, size] = &shape[..] else { return Err(format!("has heads of {shape:?}").into()) };
        let turned = self.put_transpose(node, name, &[0, 2, 1, 3])?;
        self.put_reshape(node, turned, &[batch, tokens, heads * size])
    }

    /// Each head `times` times, one after the other.
    fn heads_repeated(&mut self, node: &Node, name: &'a str, times: usize) -> Step<&'a str> {
        let shape = self.shape_of(name)?;
        let &[batch, heads, tokens, size] = &shape[..] else { return Err(format!("has heads of {shape:?}").into()) };
        if times == 1 {
            return Ok(name);
        }
        let apart = self.put_unsqueeze(node, name, &[2])?;
        let to = self.put_ints(node, [batch, heads, times, tokens, size].map(|d| d as i64).to_vec());
        let repeated = self.put(node, "Expand", &[apart, to])?;
        self.put_reshape(node, repeated, &[batch, heads * times, tokens, size])
    }

    fn heads_stated(node: &Node, key: &str) -> Step<usize> {
        Ok(usize::try_from(node.int(key, 0)).ok().filter(|h| *h > 0).ok_or_else(|| format!("has no {key}"))?)
    }

    /// The operator sets' own attention (ONNX, "Attention", operator sets 23 to 25).
    fn attention_in_full(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let [mut q, mut k, mut v] = [self.input_name(node, 0)?, self.input_name(node, 1)?, self.input_name(node, 2)?];
        let is_flat = self.shape_of(q)?.len() == 3;
        if is_flat {
            let (queries, keys) = (Self::heads_stated(node, "q_num_heads")?, Self::heads_stated(node, "kv_num_heads")?);
            q = self.heads_apart(node, q, queries)?;
            k = self.heads_apart(node, k, keys)?;
            v = self.heads_apart(node, v, keys)?;
        }
        let past = match (node.input(4), node.input(5)) {
            (Some(keys), Some(values)) => {
                let before = self.shape_of(keys)?.get(2).copied().ok_or("has earlier keys without tokens")?;
                k = self.put_with(node, "Concat", &[keys, k], &[("axis", 2.into())])?;
                v = self.put_with(node, "Concat", &[values, v], &[("axis", 2.into())])?;
                Some(before)
            }
            (None, None) => None,
            _ => return Err("has earlier keys without values, or values without keys".into()),
        };
        let (present_key, present_value) = (k, v);
        let (shape_q, shape_k) = (self.shape_of(q)?, self.shape_of(k)?);
        let (&[_, heads, tokens, size], &[_, key_heads, keys, _]) = (&shape_q[..], &shape_k[..]) else {
            return Err(format!("has queries of {shape_q:?} and keys of {shape_k:?}").into());
        };
        if !heads.is_multiple_of(key_heads) {
            return Err(format!("has {heads} heads of queries for {key_heads} of keys").into());
        }
        let bias = self.attention_bias(node, past, tokens, keys)?;
        k = self.heads_repeated(node, k, heads / key_heads)?;
        v = self.heads_repeated(node, v, heads / key_heads)?;
        // Half of the scale on either side, as the operator has it.
        let scale = match node.attributes.contains_key("scale") {
            true => node.float("scale", 1.0),
            false => (size as f32).sqrt().recip(),
        };
        if scale < 0.0 {
            return Err("has a negative scale".into());
        }
        let root = self.put_number(node, scale.sqrt());
        let turned = self.put_transpose(node, k, &[0, 1, 3, 2])?;
        let (left, right) = (self.put(node, "Mul", &[q, root])?, self.put(node, "Mul", &[turned, root])?);
        let products = self.put(node, "MatMul", &[left, right])?;
        let mut capped = products;
        if node.float("softcap", 0.0) > 0.0 {
            let cap = self.put_number(node, node.float("softcap", 0.0));
            let ratio = self.put(node, "Div", &[products, cap])?;
            let bent = self.put(node, "Tanh", &[ratio])?;
            capped = self.put(node, "Mul", &[bent, cap])?;
        }
        let mut scores = capped;
        if let Some(bias) = bias {
            scores = self.put(node, "Add", &[capped, bias])?;
        }
        let mut shares = self.put_with(node, "Softmax", &[scores], &[("axis", (-1).into())])?;
        if let Some(bias) = bias {
            shares = self.without_masked_rows(node, shares, bias)?;
        }
        let mut y = self.put(node, "MatMul", &[shares, v])?;
        if is_flat {
            y = self.heads_together(node, y)?;
        }
        let fourth = match node.int("qk_matmul_output_mode", 0) {
            0 => products,
            1 => capped,
            2 => scores,
            3 => shares,
            mode => return Err(format!("has qk_matmul_output_mode {mode}").into()),
        };
        Ok(vec![y, present_key, present_value, fourth])
    }

    /// What is added to the products: 0 where a query sees a key, −∞ where it does not; `None` where all see all.
    fn attention_bias(&mut self, node: &'a Node, past: Option<usize>, tokens: usize, keys: usize) -> Step<Option<&'a str>> {
        let mut bias = None;
        if let Some(mut mask) = node.input(3).map(|_| self.input_name(node, 3)).transpose()? {
            let shape = self.shape_of(mask)?;
            let is_truth = self.holds_integers(mask);
            if is_truth {
                let (none, hidden) = (self.put_number(node, 0.0), self.put_number(node, f32::NEG_INFINITY));
                mask = self.put(node, "Where", &[mask, none, hidden])?;
            } else {
                mask = self.put_floats(node, mask)?;
            }
            // Keys beyond the mask are not seen.
            let last = shape.last().copied().ok_or("has a mask without axes")?;
            if last > keys || last == 1 && keys > 1 {
                return Err(format!("has a mask of {shape:?} for {keys} keys, which is not supported").into());
            }
            if last < keys {
                let mut more = shape.clone();
                if let Some(last) = more.last_mut() {
                    *last = keys - *last;
                }
                let hidden = self.filled(node, &more, f32::NEG_INFINITY);
                mask = self.put_with(node, "Concat", &[mask, hidden], &[("axis", (-1).into())])?;
            }
            bias = Some(mask);
        }
        let (left, right) = (node.int("left_window_size", -1), node.int("right_window_size", -1));
        let is_causal = node.int("is_causal", 0) != 0;
        let lengths = node.input(6).map(|_| self.input_name(node, 6)).transpose()?;
        if lengths.is_some() && past.is_some() {
            return Err("has earlier keys and lengths of keys".into());
        }
        if is_causal || left >= 0 || right >= 0 {
            let right = if is_causal { Some(if right >= 0 { right.min(0) } else { 0 }) } else { Some(right).filter(|r| *r >= 0) };
            let sees = |offset: i64| {
                move |n: usize| {
                    let (i, j) = ((n / keys) as i64 + offset, (n % keys) as i64);
                    (left < 0 || i - j <= left) && right.is_none_or(|right| j - i <= right)
                }
            };
            let offsets: Vec<i64> = match lengths {
                None => vec![past.unwrap_or(0) as i64],
                Some(name) => {
                    let known =
                        self.constant_called(name).ok_or("is causal behind lengths that depend on the input, which is not supported")?;
                    known.as_ints().ok_or("has lengths of no integers")?.iter().map(|l| l - tokens as i64).collect()
                }
            };
            let hidden = |is: bool| if is { 0.0 } else { f32::NEG_INFINITY };
            let values = offsets.iter().flat_map(|&offset| (0..tokens * keys).map(sees(offset)).map(hidden)).collect();
            let shape = if lengths.is_some() { vec![offsets.len(), 1, tokens, keys] } else { vec![tokens, keys] };
            let causal = self.put_constant(node, Array { shape, data: Data::Floats(values) });
            bias = Some(self.both_biases(node, bias, causal)?);
        }
        if let Some(lengths) = lengths {
            let batch = self.shape_of(lengths)?.iter().product::<usize>();
            let known = self.constant_called(lengths).ok_or("has lengths that depend on the input, which is not supported")?;
            let known = known.as_ints().ok_or("has lengths of no integers")?.to_vec();
            let hidden = |n: usize| if ((n % keys) as i64) < known[n / keys] { 0.0 } else { f32::NEG_INFINITY };
            let values = (0..batch * keys).map(hidden).collect();
            let padding = self.put_constant(node, Array { shape: vec![batch, 1, 1, keys], data: Data::Floats(values) });
            bias = Some(self.both_biases(node, bias, padding)?);
        }
        Ok(bias)
    }

    fn both_biases(&mut self, node: &'a Node, bias: Option<&'a str>, other: &'a str) -> Step<&'a str> {
        match bias {
            Some(bias) => self.put(node, "Add", &[bias, other]),
            None => Ok(other),
        }
    }

    /// A constant of one number.
    fn filled(&mut self, node: &Node, shape: &[usize], number: f32) -> &'a str {
        let values = vec![number; shape.iter().product()];
        self.put_constant(node, Array { shape: shape.to_vec(), data: Data::Floats(values) })
    }

    /// Shares of 0 where a query sees no key at all, which no softmax gives.
    fn without_masked_rows(&mut self, node: &'a Node, shares: &'a str, bias: &str) -> Step<&'a str> {
        let hides_all = |known: &Array| {
            let keys = known.shape.last().copied().unwrap_or(1).max(1);
            known.to_floats().chunks(keys).any(|row| row.iter().all(|x| *x == f32::NEG_INFINITY))
        };
        if self.constant_called(bias).is_some_and(|known| !hides_all(&known)) {
            return Ok(shares);
        }
        let last = self.shape_of(bias)?.len() - 1;
        let largest = self.put_reduce(node, "ReduceMax", bias, &[last])?;
        let lowest = self.put_number(node, f32::MIN);
        let hides = self.put(node, "Less", &[largest, lowest])?;
        let zero = self.put_number(node, 0.0);
        self.put(node, "Where", &[hides, zero, shares])
    }

    /// Rotary position embedding (ONNX, "RotaryEmbedding", operator set 23).
    fn rotary(&mut self, node: &'a Node) -> Step<&'a str> {
        let x = self.input_name(node, 0)?;
        let full = self.shape_of(x)?;
        // To [batch, tokens, heads, size].
        let apart = match full[..] {
            [_, _, _, _] => self.put_transpose(node, x, &[0, 2, 1, 3])?,
            [batch, tokens, all] => {
                let heads = Self::heads_stated(node, "num_heads")?;
                if !all.is_multiple_of(heads) {
                    return Err(format!("has {all} channels for {heads} heads").into());
                }
                self.put_reshape(node, x, &[batch, tokens, heads, all / heads])?
            }
            _ => return Err(format!("reads a value of {full:?}").into()),
        };
        let shape = self.shape_of(apart)?;
        let size = shape[3];
        let turned = match usize::try_from(node.int("rotary_embedding_dim", 0)) {
            Ok(0) => size,
            Ok(some) if some <= size => some,
            _ => return Err("turns more than a head has".into()),
        };
        let half = turned / 2;
        let mut tables = [self.input_name(node, 1)?, self.input_name(node, 2)?];
        for table in &mut tables {
            if let Some(positions) = node.input(3) {
                *table = self.put_with(node, "Gather", &[table, positions], &[("axis", 0.into())])?;
            }
            let shape = self.shape_of(table)?;
            if shape.len() != 3 || shape[2] != half || turned % 2 != 0 {
                return Err(format!("has angles of {shape:?} for {turned} channels of a head").into());
            }
            *table = self.put_unsqueeze(node, table, &[2])?;
        }
        let [cos, sin] = tables;
        let part = self.put_slice(node, apart, 3, 0..turned)?;
        let interleaved = node.int("interleaved", 0) != 0;
        let [batch, tokens, heads, _] = [shape[0], shape[1], shape[2], shape[3]];
        // Pairs side by side along one axis of two.
        let (pairs, axis) = match interleaved {
            true => (self.put_reshape(node, part, &[batch, tokens, heads, half, 2])?, 4),
            false => (self.put_reshape(node, part, &[batch, tokens, heads, 2, half])?, 3),
        };
        let mut sides = Vec::new();
        for side in 0..2 {
            let one = self.put_slice(node, pairs, axis, side..side + 1)?;
            sides.push(self.put_reshape(node, one, &[batch, tokens, heads, half])?);
        }
        let product = |this: &mut Self, a: &str, b: &str| this.put(node, "Mul", &[a, b]);
        let (a, b) = (product(self, cos, sides[0])?, product(self, sin, sides[1])?);
        let (c, d) = (product(self, sin, sides[0])?, product(self, cos, sides[1])?);
        let (real, imaginary) = (self.put(node, "Sub", &[a, b])?, self.put(node, "Add", &[c, d])?);
        let both = [self.put_unsqueeze(node, real, &[axis])?, self.put_unsqueeze(node, imaginary, &[axis])?];
        let both = self.put_with(node, "Concat", &both, &[("axis", (axis as i64).into())])?;
        let mut y = self.put_reshape(node, both, &[batch, tokens, heads, turned])?;
        if turned < size {
            let rest = self.put_slice(node, apart, 3, turned..size)?;
            y = self.put_with(node, "Concat", &[y, rest], &[("axis", 3.into())])?;
        }
        if full.len() == 4 { self.put_transpose(node, y, &[0, 2, 1, 3]) } else { self.put_reshape(node, y, &full) }
    }

    /// A convolution along time that sees earlier elements only, and those that the next run needs.
    fn causal_conv(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let (x, weight) = (self.input_name(node, 0)?, self.input_name(node, 1)?);
        let (shape, kernel) = (self.shape_of(x)?, self.shape_of(weight)?);
        let (&[batch, channels, length], &[_, _, size]) = (&shape[..], &kernel[..]) else {
            return Err(format!("reads a value of {shape:?} with a kernel of {kernel:?}").into());
        };
        let before = size.checked_sub(1).ok_or("has an empty kernel")?;
        let padded = match node.input(3) {
            _ if before == 0 => x,
            Some(past) => self.put_with(node, "Concat", &[past, x], &[("axis", 2.into())])?,
            None => {
                let zeros = self.filled(node, &[batch, channels, before], 0.0);
                self.put_with(node, "Concat", &[zeros, x], &[("axis", 2.into())])?
            }
        };
        let inputs: Vec<&str> = [padded, weight].into_iter().chain(node.input(2)).collect();
        let mut y =
            self.put_with(node, "Conv", &inputs, &[("group", (channels as i64).into()), ("kernel_shape", [size as i64][..].into())])?;
        match node.text("activation").unwrap_or("none") {
            "none" => {}
            "silu" | "swish" => {
                let gate = self.put(node, "Sigmoid", &[y])?;
                y = self.put(node, "Mul", &[y, gate])?;
            }
            other => return Err(format!("has the activation {other:?}").into()),
        }
        if before == 0 {
            return Ok(vec![y]);
        }
        Ok(vec![y, self.put_slice(node, padded, 2, length..length + before)?])
    }

    /// Attention by a state that goes from token to token (ONNX, "LinearAttention", operator set 27).
    fn linear_attention(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let rule = node.text("update_rule").unwrap_or("gated_delta");
        let (is_gated, has_delta) = match rule {
            "linear" => (false, false),
            "gated" => (true, false),
            "delta" => (false, true),
            "gated_delta" => (true, true),
            other => return Err(format!("has the update_rule {other:?}").into()),
        };
        let (heads, key_heads) = (Self::heads_stated(node, "q_num_heads")?, Self::heads_stated(node, "kv_num_heads")?);
        if !heads.is_multiple_of(key_heads) {
            return Err(format!("has {heads} heads of queries for {key_heads} of keys").into());
        }
        let [q, k, v] = [self.input_name(node, 0)?, self.input_name(node, 1)?, self.input_name(node, 2)?];
        let (q, k, v) = (self.heads_apart(node, q, heads)?, self.heads_apart(node, k, key_heads)?, self.heads_apart(node, v, key_heads)?);
        let (shape, of_values) = (self.shape_of(q)?, self.shape_of(v)?[3]);
        let [batch, _, tokens, size] = [shape[0], shape[1], shape[2], shape[3]];
        if tokens > MOST_TOKENS {
            return Err(format!("goes through {tokens} tokens, more than {MOST_TOKENS}").into());
        }
        let decay = match node.input(4).filter(|_| is_gated) {
            Some(decay) => {
                let apart = self.heads_apart(node, decay, key_heads)?;
                let decay = self.put(node, "Exp", &[apart])?;
                let each = self.shape_of(decay)?[3];
                if each != 1 && each != size {
                    return Err(format!("has a decay of {each} numbers for {size} channels of a head").into());
                }
                Some(decay)
            }
            None if is_gated => return Err("lacks its decay".into()),
            None => None,
        };
        let beta = match node.input(5).filter(|_| has_delta) {
            Some(beta) => Some(self.put_transpose_beta(node, beta)?),
            None if has_delta => return Err("lacks its beta".into()),
            None => None,
        };
        let scale = match node.float("scale", 0.0) {
            0.0 => (size as f32).sqrt().recip(),
            scale => scale,
        };
        let scale = self.put_number(node, scale);
        let mut state = match node.input(3) {
            Some(_) => self.input_name(node, 3)?,
            None => self.filled(node, &[batch, key_heads, size, of_values], 0.0),
        };
        let mut rows = Vec::with_capacity(tokens);
        for t in 0..tokens {
            // A row of each head: [batch, heads, 1, size]; keys as a column.
            let at = |this: &mut Self, name: &str| this.put_slice(node, name, 2, t..t + 1);
            let (query, key, mut value) = (at(self, q)?, at(self, k)?, at(self, v)?);
            let column = self.put_transpose(node, key, &[0, 1, 3, 2])?;
            if let Some(decay) = decay {
                let row = at(self, decay)?;
                let by = self.put_transpose(node, row, &[0, 1, 3, 2])?;
                state = self.put(node, "Mul", &[state, by])?;
            }
            if let Some(beta) = beta {
                let retrieved = self.put(node, "MatMul", &[key, state])?;
                let less = self.put(node, "Sub", &[value, retrieved])?;
                let by = at(self, beta)?;
                value = self.put(node, "Mul", &[less, by])?;
            }
            let written = self.put(node, "Mul", &[column, value])?;
            state = self.put(node, "Add", &[state, written])?;
            let read = self.heads_repeated(node, state, heads / key_heads)?;
            let row = self.put(node, "MatMul", &[query, read])?;
            rows.push(self.put(node, "Mul", &[row, scale])?);
        }
        let all = self.put_with(node, "Concat", &rows, &[("axis", 2.into())])?;
        Ok(vec![self.heads_together(node, all)?, state])
    }

    /// [batch, tokens, heads] as [batch, heads, tokens, 1].
    fn put_transpose_beta(&mut self, node: &'a Node, beta: &str) -> Step<&'a str> {
        let turned = self.put_transpose(node, beta, &[0, 2, 1])?;
        self.put_unsqueeze(node, turned, &[3])
    }
}
