//! What a byte appends to a network: one operation, or the several that exporters write one as, whole or with something else in
//! one place.

use super::{Data, Draw, Drawn, Value};

/// The plain functions of an element.
const PLAIN: [&str; 8] = ["Relu", "Sigmoid", "Tanh", "Abs", "Identity", "Neg", "HardSigmoid", "LeakyRelu"];

impl Drawn {
    /// Appends a step behind value `at`; the place of what it gives, `None` where it does not fit.
    pub(super) fn step(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        match draw.below(26) {
            0 | 1 => self.conv(draw, at),
            2 => self.pool(draw, at),
            3 => self.global(draw, at),
            4 => self.batch_norm(draw, at),
            5 => self.gemm(draw, at),
            6 | 7 => self.product(draw, at),
            8 | 9 => self.beside_constant(draw, at),
            10 => self.beside_value(draw, at),
            11 => self.plain(draw, at),
            12 => self.clip(draw, at),
            13 => self.softmax(draw, at),
            14 => self.transpose(draw, at),
            15 => self.reshape(draw, at),
            16 => self.axes(draw, at),
            17 => self.slice(draw, at),
            18 => self.gather(draw, at),
            19 => self.concat(draw, at),
            20 => self.pad(draw, at),
            21 => self.split(draw, at),
            22 => self.gelu(draw, at),
            23 => self.gate(draw, at),
            24 => self.layer_norm(draw, at),
            _ => self.attention(draw, at),
        }
    }

    fn read(&self, at: usize) -> (String, Vec<usize>) {
        self.values[at].clone()
    }

    fn then(&mut self, op: &'static str, inputs: &[&str], like: usize) -> Option<usize> {
        let shape = self.values[like].1.clone();
        self.node(op, inputs, &shape, Vec::new())
    }

    fn name_at(&self, at: usize) -> String {
        self.values[at].0.clone()
    }

    /// An axis, seldom that of the batch, seldom counted from the end.
    fn axis(&self, draw: &mut Draw, rank: usize) -> (usize, i64) {
        let at = if rank < 2 || draw.seldom(40) { 0 } else { 1 + draw.below(rank - 1) };
        (at, if self.opset >= 11 && draw.seldom(3) { at as i64 - rank as i64 } else { at as i64 })
    }

    /// Kernel, attributes and the sizes that come out of a window over `size`.
    #[allow(clippy::type_complexity, reason = "read once, here")]
    fn window(&self, draw: &mut Draw, size: &[usize], pool: bool) -> Option<(Vec<usize>, Vec<(&'static str, Value)>, Vec<usize>)> {
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

    fn conv(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
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

    fn pool(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let op = draw.one_of(&["MaxPool", "AveragePool"]);
        let [batch, channels, size @ ..] = &shape[..] else { return None };
        let (_, mut attributes, out) = if size.is_empty() { return None } else { self.window(draw, size, true)? };
        if op == "AveragePool" && draw.seldom(3) {
            attributes.push(("count_include_pad", Value::Int(1)));
        }
        self.node(op, &[&x], &[&[*batch, *channels], &out[..]].concat(), attributes)
    }

    fn global(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        if shape.len() > 2 && draw.seldom(2) {
            let out: Vec<usize> = shape.iter().enumerate().map(|(i, &d)| if i < 2 { d } else { 1 }).collect();
            return self.node(draw.one_of(&["GlobalAveragePool", "GlobalMaxPool"]), &[&x], &out, Vec::new());
        }
        self.mean(draw, at)
    }

    /// A mean over one or two axes.
    fn mean(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
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

    fn batch_norm(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let &[_, channels, ..] = &shape[..] else { return None };
        let constants =
            [self.positive(draw, channels), self.floats(draw, &[channels]), self.floats(draw, &[channels]), self.positive(draw, channels)];
        let [scale, shift, mean, variance] = &constants;
        self.node("BatchNormalization", &[&x, scale, shift, mean, variance], &shape, Vec::new())
    }

    fn gemm(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
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

    fn product(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
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

    /// The shape of a constant beside a value of `shape`, in one of the forms that files hold.
    fn own_shape(draw: &mut Draw, shape: &[usize]) -> Vec<usize> {
        let kind = draw.below(7);
        let mut own: Vec<usize> = match kind {
            0 => return Vec::new(),
            1 => return vec![1],
            2 => vec![*shape.last().unwrap_or(&1)],
            3 if shape.len() > 1 => std::iter::once(shape[1]).chain(std::iter::repeat_n(1, shape.len() - 2)).collect(),
            4 => shape.to_vec(),
            _ => shape.iter().enumerate().map(|(i, &d)| if i > 0 && draw.seldom(2) { d } else { 1 }).collect(),
        };
        let front = if draw.seldom(8) { 1 } else { 0 };
        (0..front).for_each(|_| own.insert(0, 1));
        own
    }

    fn beside_constant(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let own = Self::own_shape(draw, &shape);
        let both = broadcast(&shape, &own)?;
        let constant = if draw.seldom(3) { self.filled(&own, draw.number()) } else { self.floats(draw, &own) };
        let op = draw.one_of(&["Add", "Sub", "Mul", "Max", "Min"]);
        let read = if draw.seldom(2) { [&constant, &x] } else { [&x, &constant] };
        self.node(op, &[read[0], read[1]], &both, Vec::new())
    }

    fn beside_value(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let (y, other) = self.read(draw.below(self.values.len()));
        let both = broadcast(&shape, &other)?;
        self.node(draw.one_of(&["Add", "Mul", "Sub"]), &[&x, &y], &both, Vec::new())
    }

    fn plain(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let x = self.name_at(at);
        self.then(draw.one_of(&PLAIN), &[&x], at)
    }

    fn clip(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let (a, b) = (draw.number(), draw.number());
        let (low, high) = (a.min(b), a.max(b));
        if self.opset < 11 {
            return self.node("Clip", &[&x], &shape, vec![("min", Value::Float(low)), ("max", Value::Float(high))]);
        }
        let (low, high) = (self.filled(&[], low), self.filled(&[], high));
        match draw.below(3) {
            0 => self.node("Clip", &[&x, &low], &shape, Vec::new()),
            1 => self.node("Clip", &[&x, "", &high], &shape, Vec::new()),
            _ => self.node("Clip", &[&x, &low, &high], &shape, Vec::new()),
        }
    }

    fn softmax(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let axis = self.axis(draw, shape.len()).1;
        self.node(draw.one_of(&["Softmax", "LogSoftmax"]), &[&x], &shape, vec![("axis", Value::Int(axis))])
    }

    fn transpose(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let mut order: Vec<usize> = (0..shape.len()).collect();
        for i in 2..order.len() {
            let other = 1 + draw.below(i);
            order.swap(i, other);
        }
        let perm = Value::Ints(order.iter().map(|&i| i as i64).collect());
        self.node("Transpose", &[&x], &order.iter().map(|&i| shape[i]).collect::<Vec<_>>(), vec![("perm", perm)])
    }

    fn reshape(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let mut left: usize = shape.iter().skip(1).product();
        if draw.seldom(5) {
            return self.node("Flatten", &[&x], &[shape[0], left], vec![("axis", Value::Int(1))]);
        }
        let mut out = vec![*shape.first()?];
        for _ in 0..draw.below(4) {
            let divisors: Vec<usize> = (1..=left).filter(|d| left.is_multiple_of(*d)).collect();
            let d = draw.one_of(&divisors);
            out.push(d);
            left /= d;
        }
        out.push(left);
        let mut target: Vec<i64> = out.iter().map(|&d| d as i64).collect();
        if draw.seldom(2) {
            let open = draw.below(target.len());
            target[open] = -1;
        }
        let target = self.ints(&target);
        self.node("Reshape", &[&x, &target], &out, Vec::new())
    }

    /// Squeeze and Unsqueeze.
    fn axes(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, mut shape) = self.read(at);
        let squeezes = draw.seldom(2);
        let (axis, named) = self.axis(draw, if squeezes { shape.len() } else { shape.len() + 1 });
        if squeezes {
            if shape.get(axis) != Some(&1) || shape.len() < 2 {
                return None;
            }
            shape.remove(axis);
        } else {
            shape.insert(axis, 1);
        }
        let op = if squeezes { "Squeeze" } else { "Unsqueeze" };
        if self.opset < 13 {
            return self.node(op, &[&x], &shape, vec![("axes", Value::Ints(vec![named]))]);
        }
        let axes = self.ints(&[named]);
        self.node(op, &[&x, &axes], &shape, Vec::new())
    }

    fn slice(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, mut shape) = self.read(at);
        let (axis, named) = self.axis(draw, shape.len());
        let n = shape[axis];
        let start = draw.below(n);
        let end = start + 1 + draw.below(n - start);
        let step = if self.opset >= 10 { 1 + draw.below(3) } else { 1 };
        shape[axis] = (end - start).div_ceil(step);
        let end = if end == n && draw.seldom(2) { i64::MAX } else { end as i64 };
        if self.opset < 10 {
            let one = |v: i64| Value::Ints(vec![v]);
            return self.node("Slice", &[&x], &shape, vec![("starts", one(start as i64)), ("ends", one(end)), ("axes", one(axis as i64))]);
        }
        let bounds = [start as i64, end, named, step as i64].map(|v| self.ints(&[v]));
        let [starts, ends, axes, steps] = &bounds;
        self.node("Slice", &[&x, starts, ends, axes, steps], &shape, Vec::new())
    }

    fn gather(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let (axis, named) = self.axis(draw, shape.len());
        let own: &[usize] = draw.one_of(&[&[], &[1], &[2], &[1, 1]]);
        let index = (0..own.iter().product()).map(|_| draw.below(shape[axis]) as i64).collect();
        let index = self.constant(own, Data::Ints(index));
        let out = [&shape[..axis], own, &shape[axis + 1..]].concat();
        self.node("Gather", &[&x, &index], &out, vec![("axis", Value::Int(named))])
    }

    fn concat(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, mut shape) = self.read(at);
        let (axis, named) = self.axis(draw, shape.len());
        let (mut y, mut other) = self.read(draw.below(self.values.len()));
        if draw.seldom(4) {
            other.clone_from(&shape);
            other[axis] = 1 + draw.below(2);
            y = self.floats(draw, &other);
        }
        if other.len() != shape.len() || (0..shape.len()).any(|i| i != axis && shape[i] != other[i]) {
            return None;
        }
        shape[axis] += other[axis];
        let read = if draw.seldom(2) { [&y, &x] } else { [&x, &y] };
        self.node("Concat", &[read[0], read[1]], &shape, vec![("axis", Value::Int(named))])
    }

    fn pad(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, mut shape) = self.read(at);
        let rank = shape.len();
        let mut pads = vec![0i64; 2 * rank];
        for axis in (1..rank).rev().take(1 + draw.below(3)) {
            (pads[axis], pads[axis + rank]) = (draw.below(3) as i64, draw.below(3) as i64);
            shape[axis] += (pads[axis] + pads[axis + rank]) as usize;
        }
        let value = draw.one_of(&[0.0, 0.0, 0.0, 1.0]);
        if self.opset < 11 {
            return self.node("Pad", &[&x], &shape, vec![("pads", Value::Ints(pads)), ("value", Value::Float(value))]);
        }
        let (pads, value) = (self.ints(&pads), self.filled(&[], value));
        self.node("Pad", &[&x, &pads, &value], &shape, Vec::new())
    }

    /// Two parts, put together the other way round or added.
    fn split(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let (axis, _) = self.axis(draw, shape.len());
        if shape[axis] < 2 {
            return None;
        }
        let first = 1 + draw.below(shape[axis] - 1);
        let (mut low, mut high) = (shape.clone(), shape.clone());
        (low[axis], high[axis]) = (first, shape[axis] - first);
        let sizes = vec![low[axis] as i64, high[axis] as i64];
        let mut attributes = vec![("axis", Value::Int(axis as i64))];
        let mut inputs = vec![x];
        if self.opset < 13 {
            attributes.push(("split", Value::Ints(sizes)));
        } else {
            inputs.push(self.ints(&sizes));
        }
        let outputs = vec![self.name("p"), self.name("q")];
        self.nodes.push(super::Node { op: "Split", inputs, outputs: outputs.clone(), attributes });
        self.values.push((outputs[0].clone(), low.clone()));
        self.values.push((outputs[1].clone(), high));
        if draw.seldom(2) {
            return self.node("Concat", &[&outputs[1], &outputs[0]], &shape, vec![("axis", Value::Int(axis as i64))]);
        }
        self.node("Relu", &[&outputs[0]], &low, Vec::new())
    }

    /// A number, seldom another one.
    fn about(&mut self, draw: &mut Draw, number: f32) -> String {
        let number = if draw.seldom(6) { draw.number() } else { number };
        let shape: &[usize] = if draw.seldom(4) { &[1] } else { &[] };
        self.filled(shape, number)
    }

    fn gelu(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let x = self.name_at(at);
        let inner = if draw.seldom(2) {
            let cube = self.then("Mul", &[&x, &x], at).and_then(|v| self.then("Mul", &[&self.name_at(v), &x], at))?;
            let k = self.about(draw, 0.044715);
            let k = self.then("Mul", &[&self.name_at(cube), &k], at)?;
            let sum = self.then("Add", &[&x, &self.name_at(k)], at)?;
            let by = self.about(draw, 0.797_884_6);
            let z = self.then("Mul", &[&self.name_at(sum), &by], at)?;
            self.then("Tanh", &[&self.name_at(z)], at)?
        } else {
            let by = self.about(draw, std::f32::consts::FRAC_1_SQRT_2);
            let z = self.then("Mul", &[&x, &by], at)?;
            self.then("Erf", &[&self.name_at(z)], at)?
        };
        let one = self.about(draw, 1.0);
        let one = self.then("Add", &[&self.name_at(inner), &one], at)?;
        let half = self.about(draw, 0.5);
        let product = self.then("Mul", &[&x, &self.name_at(one)], at)?;
        self.then("Mul", &[&self.name_at(product), &half], at)
    }

    /// SiLU and hard swish.
    fn gate(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let gate = match draw.below(3) {
            0 => self.then("Sigmoid", &[&x], at)?,
            1 => {
                let numbers = [draw.one_of(&[1.0 / 6.0, 1.0 / 6.0, 0.2]), draw.one_of(&[0.5, 0.5, 0.4])];
                self.node("HardSigmoid", &[&x], &shape, vec![("alpha", Value::Float(numbers[0])), ("beta", Value::Float(numbers[1]))])?
            }
            _ => {
                let three = self.about(draw, 3.0);
                let sum = self.then("Add", &[&x, &three], at)?;
                let clip = self.clip(draw, sum)?;
                let by = self.about(draw, 1.0 / 6.0);
                self.then("Mul", &[&self.name_at(clip), &by], at)?
            }
        };
        let other = if draw.seldom(6) { draw.below(self.values.len()) } else { at };
        let both = broadcast(&shape, &self.values[other].1)?;
        self.node("Mul", &[&self.name_at(other), &self.name_at(gate)], &both, Vec::new())
    }

    fn layer_norm(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let last = shape.len() - 1;
        let (axis, named) = if draw.seldom(4) { self.axis(draw, shape.len()) } else { (last, last as i64) };
        let mean = |this: &mut Self, of: &str| {
            let mut out = shape.clone();
            out[axis] = 1;
            if this.opset < 18 {
                return this.node("ReduceMean", &[of], &out, vec![("axes", Value::Ints(vec![named]))]);
            }
            let axes = this.ints(&[named]);
            this.node("ReduceMean", &[of, &axes], &out, Vec::new())
        };
        let middle = mean(self, &x)?;
        let centred = self.then("Sub", &[&x, &self.name_at(middle)], at)?;
        let square = self.then("Mul", &[&self.name_at(centred), &self.name_at(centred)], at)?;
        let variance = mean(self, &self.name_at(square))?;
        let eps = self.filled(&[], draw.one_of(&[1e-2, 1e-3, 0.5]));
        let sum = self.then("Add", &[&self.name_at(variance), &eps], variance)?;
        let root = self.then("Sqrt", &[&self.name_at(sum)], variance)?;
        let mut y = self.then("Div", &[&self.name_at(centred), &self.name_at(root)], at)?;
        for op in ["Mul", "Add"] {
            let own = if draw.seldom(3) { Self::own_shape(draw, &shape) } else { vec![shape[last]] };
            let constant = self.floats(draw, &own);
            let both = broadcast(&self.values[y].1, &own)?;
            y = self.node(op, &[&self.name_at(y), &constant], &both, Vec::new())?;
        }
        Some(y)
    }

    fn attention(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        let (x, shape) = self.read(at);
        let [before @ .., tokens, features] = &shape[..] else { return None };
        let size = 1 + draw.below(4);
        let mut parts = Vec::new();
        for _ in 0..3 {
            let weight = self.floats(draw, &[*features, size]);
            parts.push(self.node("MatMul", &[&x, &weight], &[before, &[*tokens, size]].concat(), Vec::new())?);
        }
        let rank = shape.len() as i64;
        let perm = Value::Ints((0..rank - 2).chain([rank - 1, rank - 2]).collect());
        let keys = self.node("Transpose", &[&self.name_at(parts[1])], &[before, &[size, *tokens]].concat(), vec![("perm", perm)])?;
        let scores = [before, &[*tokens, *tokens]].concat();
        let mut s = self.node("MatMul", &[&self.name_at(parts[0]), &self.name_at(keys)], &scores, Vec::new())?;
        if draw.seldom(2) {
            let by = self.about(draw, 0.5);
            s = self.then("Mul", &[&self.name_at(s), &by], s)?;
        }
        if draw.seldom(3) {
            let mask = if draw.seldom(2) { self.floats(draw, &[*tokens, *tokens]) } else { self.filled(&[1, *tokens], 0.0) };
            s = self.then("Add", &[&self.name_at(s), &mask], s)?;
        }
        let axis = if draw.seldom(6) { rank - 2 } else { rank - 1 };
        let mut p = self.node("Softmax", &[&self.name_at(s)], &scores, vec![("axis", Value::Int(axis))])?;
        if self.opset >= 9 && draw.seldom(5) {
            let truths = (0..tokens * tokens).map(|i| u8::from(i % 3 != 0)).collect();
            let condition = self.constant(&[*tokens, *tokens], Data::Truths(truths));
            let zero = self.filled(&[], 0.0);
            p = self.then("Where", &[&condition, &self.name_at(p), &zero], p)?;
        }
        self.node("MatMul", &[&self.name_at(p), &self.name_at(parts[2])], &[before, &[*tokens, size]].concat(), Vec::new())
    }
}

/// The shape that two broadcast to; `None` where they do not.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    let one = |i: usize| match (dim(a, i), dim(b, i)) {
        (x, y) if x == y || y == 1 => Some(x),
        (1, y) => Some(y),
        _ => None,
    };
    (0..rank).map(one).collect()
}
