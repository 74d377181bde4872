//! Layers: convolutions, pools, means, normalisations by constants, products.

use super::super::{Draw, Drawn, Value};

impl Drawn {
    pub(super) fn conv(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let [batch, channels, size @ ..] = &shape[..] else { return None };
        let (kernel, mut attributes, out) = if size.is_empty() { return None } else { self.window(draw, size, false)? };
        let groups = if draw.seldom(4) { *channels } else { 1 };
        let outputs = groups * (1 + draw.below(if groups > 1 { 2 } else { 5 }));
        attributes.push(("group", Value::Int(groups as i64)));
        let weight = self.floats(draw, &[&[outputs, channels / groups], &kernel[..]].concat());
        let mut read = vec![x, weight];
        if draw.seldom(2) {
            read.push(self.floats(draw, &[outputs]));
        }
        let read: Vec<&str> = read.iter().map(String::as_str).collect();
        self.node("Conv", &read, &[&[*batch, outputs], &out[..]].concat(), attributes)
    }

    pub(super) fn pool(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let op = draw.one_of(&["MaxPool", "AveragePool"]);
        let [batch, channels, size @ ..] = &shape[..] else { return None };
        let (_, mut attributes, out) = if size.is_empty() { return None } else { self.window(draw, size, true)? };
        if op == "AveragePool" && draw.seldom(3) {
            attributes.push(("count_include_pad", Value::Int(1)));
        }
        self.node(op, &[&x], &[&[*batch, *channels], &out[..]].concat(), attributes)
    }

    /// Kernel, attributes and the sizes that come out of a window over `size`.
    #[allow(clippy::type_complexity, reason = "read once, here")]
    pub(super) fn window(
        &self,
        draw: &mut Draw,
        size: &[usize],
        pool: bool,
    ) -> Option<(Vec<usize>, Vec<(&'static str, Value)>, Vec<usize>)> {
        let n = size.len();
        let kernel: Vec<usize> = (0..n).map(|_| 1 + draw.below(3)).collect();
        let stride: Vec<usize> = (0..n).map(|_| draw.one_of(&[1, 1, 2, 3])).collect();
        let longs = |v: &[usize]| Value::Ints(v.iter().map(|&i| i as i64).collect());
        let mut attributes = vec![("kernel_shape", longs(&kernel)), ("strides", longs(&stride))];
        let mode = draw.below(6);
        if mode >= 4 {
            attributes.push(("auto_pad", Value::Text(["SAME_UPPER", "SAME_LOWER"][mode - 4])));
            return Some((kernel, attributes, (0..n).map(|i| size[i].div_ceil(stride[i])).collect()));
        }
        let mut pads: Vec<usize> = vec![0; 2 * n];
        if mode > 0 {
            (0..2 * n).for_each(|i| pads[i] = if mode == 1 { kernel[i % n] / 2 } else { draw.below(kernel[i % n].max(1)) });
            attributes.push(("pads", longs(&pads)));
        }
        let rounds_up = pool && self.opset >= 10 && draw.seldom(4);
        if rounds_up {
            attributes.push(("ceil_mode", Value::Int(1)));
        }
        let out = (0..n).map(|i| {
            let over = (size[i] + pads[i] + pads[i + n]).checked_sub(kernel[i])?;
            let count = if rounds_up { over.div_ceil(stride[i]) } else { over / stride[i] } + 1;
            Some(count - usize::from(rounds_up && (count - 1) * stride[i] >= size[i] + pads[i]))
        });
        let out = out.collect::<Option<_>>()?;
        Some((kernel, attributes, out))
    }

    pub(super) fn global(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        if shape.len() > 2 && draw.seldom(2) {
            let out: Vec<usize> = shape.iter().enumerate().map(|(i, &d)| if i < 2 { d } else { 1 }).collect();
            return self.node(draw.one_of(&["GlobalAveragePool", "GlobalMaxPool"]), &[&x], &out, Vec::new());
        }
        self.mean(draw, at)
    }

    /// A mean over one or two axes.
    pub(super) fn mean(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let (first, named) = self.axis(draw, shape.len());
        let (second, more) = self.axis(draw, shape.len());
        let (gone, names) = if first == second { (vec![first], vec![named]) } else { (vec![first, second], vec![named, more]) };
        let keeps = draw.seldom(2);
        let kept = |(i, &d): (usize, &usize)| if !gone.contains(&i) { Some(d) } else { keeps.then_some(1) };
        let out: Vec<usize> = shape.iter().enumerate().filter_map(kept).collect();
        let keepdims = ("keepdims", Value::Int(i64::from(keeps)));
        if self.opset < 18 {
            return self.node("ReduceMean", &[&x], &out, vec![("axes", Value::Ints(names)), keepdims]);
        }
        let axes = self.ints(&names);
        self.node("ReduceMean", &[&x, &axes], &out, vec![keepdims])
    }

    pub(super) fn batch_norm(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let &[_, channels, ..] = &shape[..] else { return None };
        let constants =
            [self.positive(draw, channels), self.floats(draw, &[channels]), self.floats(draw, &[channels]), self.positive(draw, channels)];
        let [scale, shift, mean, variance] = &constants;
        self.node("BatchNormalization", &[&x, scale, shift, mean, variance], &shape, Vec::new())
    }

    pub(super) fn gemm(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let &[batch, inputs] = &shape[..] else { return None };
        let (outputs, turned) = (1 + draw.below(6), draw.seldom(2));
        let weight = self.floats(draw, &if turned { [outputs, inputs] } else { [inputs, outputs] });
        let own: &[usize] = match draw.below(7) {
            0 => &[],
            1 => &[1],
            2 => &[1, outputs],
            3 => &[batch, 1],
            4 => &[batch, outputs],
            _ => &[outputs],
        };
        let bias = self.floats(draw, own);
        let mut attributes = vec![("transB", Value::Int(i64::from(turned)))];
        if draw.seldom(4) {
            attributes.push((draw.one_of(&["alpha", "beta"]), Value::Float(draw.one_of(&[0.5, 2.0, 0.0]))));
        }
        self.node("Gemm", &[&x, &weight, &bias], &[batch, outputs], attributes)
    }

    pub(super) fn product(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let [before @ .., rows, inputs] = &shape[..] else { return None };
        let outputs = 1 + draw.below(6);
        match draw.below(5) {
            0 => {
                let weight = self.floats(draw, &[outputs, *rows]);
                self.node("MatMul", &[&weight, &x], &[before, &[outputs, *inputs]].concat(), Vec::new())
            }
            1 => {
                let lead = if draw.seldom(2) { before.to_vec() } else { vec![1; before.len()] };
                let weight = self.floats(draw, &[&lead[..], &[*inputs, outputs]].concat());
                self.node("MatMul", &[&x, &weight], &[before, &[*rows, outputs]].concat(), Vec::new())
            }
            _ => {
                let weight = self.floats(draw, &[*inputs, outputs]);
                let product = self.node("MatMul", &[&x, &weight], &[before, &[*rows, outputs]].concat(), Vec::new())?;
                if draw.seldom(2) { self.beside_constant(draw, product) } else { Some(product) }
            }
        }
    }
}
