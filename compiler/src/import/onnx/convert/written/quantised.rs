//! Integers that stand for floats, computed as floats where those hold them exactly: products of 8-bit integers whose sums stay below 2²⁴.

use super::super::names::{PRODUCT, QUOTIENT};
use super::super::{Converter, Step};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::elem::Type;
use crate::import::onnx::node::{Attribute, Node};
use crate::import::onnx::sizes;

/// The integers from 0 on that an f32 holds.
const EXACT: f64 = (1 << 24) as f64;
/// The largest difference of two 8-bit integers.
const WIDEST: f64 = 255.0;

impl<'a> Converter<'a> {
    pub(super) fn quantised(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let x = self.input_name(node, 0)?;
        let y = match node.op.as_str() {
            "QuantizeLinear" => {
                let (scale, zero, ty) = self.quantisation(node, x, 1)?;
                self.quantised_by(node, x, scale, zero, ty)?
            }
            "DequantizeLinear" => {
                let (scale, zero, _) = self.quantisation(node, x, 1)?;
                self.dequantised_by(node, x, scale, zero)?
            }
            "DynamicQuantizeLinear" => return self.quantised_by_its_range(node, x),
            "MatMulInteger" => {
                let b = self.input_name(node, 1)?;
                let (zero_a, zero_b) = (node.input(2), node.input(3));
                let sum = self.integer_product(node, (x, zero_a), (b, zero_b))?;
                self.put_with(node, "Cast", &[sum], &[("to", 6.into())])?
            }
            "QLinearMatMul" => {
                let b = self.input_name(node, 3)?;
                let sum = self.integer_product(node, (x, node.input(2)), (b, node.input(5)))?;
                let scales = [self.input_name(node, 1)?, self.input_name(node, 4)?, self.input_name(node, 6)?];
                self.requantised(node, sum, scales, 7, None)?
            }
            "ConvInteger" => {
                let sum = self.integer_conv(node, (x, node.input(2)), (self.input_name(node, 1)?, node.input(3)), None)?;
                self.put_with(node, "Cast", &[sum], &[("to", 6.into())])?
            }
            _ => {
                let sum = self.integer_conv(node, (x, node.input(2)), (self.input_name(node, 3)?, node.input(5)), node.input(8))?;
                let scales = [self.input_name(node, 1)?, self.input_name(node, 4)?, self.input_name(node, 6)?];
                self.requantised(node, sum, scales, 7, Some(1))?
            }
        };
        Ok(vec![y])
    }

    /// Scale and zero point, inputs `at` and the next, brought to the axes of `x`, and the type of the integers.
    fn quantisation(&mut self, node: &'a Node, x: &str, at: usize) -> Step<(&'a str, Option<&'a str>, Type)> {
        let shape = self.shape_of(x)?;
        let scale = self.input_name(node, at)?;
        let zero = node.input(at + 1).map(|_| self.input_name(node, at + 1)).transpose()?;
        let known = zero.map(|zero| self.constant_called(zero).ok_or("has a zero point that is no constant")).transpose()?;
        let ty = match (known, node.int("output_dtype", 0)) {
            (Some(zero), _) => zero.ty(),
            (None, 0) => Type::U8,
            (None, code) => Type::of(code).ok_or_else(|| format!("has output_dtype {code}"))?,
        };
        let scale = self.along_blocks(node, scale, &shape)?;
        let zero = match zero {
            Some(zero) => {
                let floats = self.put_floats(node, zero)?;
                Some(self.along_blocks(node, floats, &shape)?)
            }
            None => None,
        };
        Ok((scale, zero, ty))
    }

    /// A scale of one number, of one along an axis, or of one for each block along it, so that it broadcasts to `shape`.
    fn along_blocks(&mut self, node: &'a Node, name: &'a str, shape: &[usize]) -> Step<&'a str> {
        let own = self.shape_of(name)?;
        if own.iter().product::<usize>() == 1 {
            return self.put_reshape(node, name, &[]);
        }
        let axis = sizes::axis(node.int("axis", 1), shape.len())?;
        let block = usize::try_from(node.int("block_size", 0)).map_err(|_| "has a negative block_size")?;
        match own[..] {
            [length] if block == 0 && length == shape[axis] => {
                let mut line = vec![1; shape.len()];
                line[axis] = length;
                self.put_reshape(node, name, &line)
            }
            _ if block > 0 && own.len() == shape.len() && own[axis] * block == shape[axis] => {
                let apart = self.put_unsqueeze(node, name, &[axis + 1])?;
                let mut to: Vec<i64> = own.iter().map(|&d| d as i64).collect();
                to.insert(axis + 1, block as i64);
                let to = self.put_ints(node, to);
                let repeated = self.put(node, "Expand", &[apart, to])?;
                let mut whole = own.clone();
                whole[axis] *= block;
                self.put_reshape(node, repeated, &whole)
            }
            _ => Err(format!("has a scale of {own:?} for a value of {shape:?} (axis {axis}, block_size {block})").into()),
        }
    }

    /// round(x/scale) + zero, held within the type.
    fn quantised_by(&mut self, node: &'a Node, x: &str, scale: &str, zero: Option<&str>, ty: Type) -> Step<&'a str> {
        let quotient = self.put(node, QUOTIENT, &[x, scale])?;
        self.rounded_into(node, quotient, zero, ty)
    }

    /// round(x) + zero as integers of a type, the nearest where it has no such.
    fn rounded_into(&mut self, node: &'a Node, x: &str, zero: Option<&str>, ty: Type) -> Step<&'a str> {
        if !ty.is_integer() || ty.bits() > 16 {
            return Err(format!("makes integers of the type {}, which is not supported", ty.name()).into());
        }
        let mut y = self.put(node, "Round", &[x])?;
        if let Some(zero) = zero {
            y = self.put(node, "Add", &[y, zero])?;
        }
        let (low, high) = ty.range();
        let (low, high) = (self.put_number(node, low as f32), self.put_number(node, high as f32));
        let above = self.put(node, "Max", &[y, low])?;
        let held = self.put(node, "Min", &[above, high])?;
        // Whole numbers already; they are integers from here on.
        self.put_with(node, "Cast", &[held], &[("to", 6.into())])
    }

    /// (x − zero)·scale.
    fn dequantised_by(&mut self, node: &'a Node, x: &str, scale: &str, zero: Option<&str>) -> Step<&'a str> {
        let mut y = self.put_floats(node, x)?;
        if let Some(zero) = zero {
            y = self.put(node, "Sub", &[y, zero])?;
        }
        self.put(node, "Mul", &[y, scale])
    }

    /// By the least and largest element, of which one is 0 (ONNX, "DynamicQuantizeLinear").
    fn quantised_by_its_range(&mut self, node: &'a Node, x: &str) -> Step<Vec<&'a str>> {
        let zero = self.put_number(node, 0.0);
        let mut ends = Vec::with_capacity(2);
        for (reduce, join) in [("ReduceMin", "Min"), ("ReduceMax", "Max")] {
            let end = self.put_with(node, reduce, &[x], &[("keepdims", 0.into())])?;
            ends.push(self.put(node, join, &[end, zero])?);
        }
        let range = self.put(node, "Sub", &[ends[1], ends[0]])?;
        let steps = self.put_number(node, 255.0);
        let scale = self.put(node, QUOTIENT, &[range, steps])?;
        let (is_zero, one) = (self.put(node, "Equal", &[scale, zero])?, self.put_number(node, 1.0));
        let divisor = self.put(node, "Where", &[is_zero, one, scale])?;
        let first = self.put(node, QUOTIENT, &[ends[0], divisor])?;
        let first = self.put(node, "Neg", &[first])?;
        let zero_point = self.rounded_into(node, first, None, Type::U8)?;
        let as_float = self.put_floats(node, zero_point)?;
        Ok(vec![self.quantised_by(node, x, divisor, Some(as_float), Type::U8)?, scale, zero_point])
    }

    /// x − zero as floats, and the largest magnitude that a sum over all but the axes `kept` of the constant it is may have; that of one
    /// element where it is computed. `line` brings a zero point of several numbers to its axes.
    fn centred(&mut self, node: &'a Node, x: (&str, Option<&'a str>), line: &[usize]) -> Step<&'a str> {
        let mut y = self.put_floats(node, x.0)?;
        if let Some(zero) = x.1 {
            let mut zero = self.put_floats(node, zero)?;
            if self.shape_of(zero)?.len() == 1 {
                let count = self.shape_of(zero)?[0];
                let line: Vec<usize> = if count == 1 { vec![] } else { line.iter().map(|&d| if d == 0 { count } else { 1 }).collect() };
                zero = self.put_reshape(node, zero, &line)?;
            }
            y = self.put(node, "Sub", &[y, zero])?;
        }
        Ok(y)
    }

    fn check_exact(&self, largest: f64) -> Step<()> {
        if largest < EXACT {
            return Ok(());
        }
        Err("sums products of integers beyond 2^24, which floats do not hold (export the network before it was quantised)".into())
    }

    /// The largest sum of magnitudes of a row of `rows` elements of a constant, times 255; of a computed value, of its largest elements.
    fn bound(&self, name: &str, inner: usize, of_row: impl Fn(usize) -> usize) -> f64 {
        let Some(known) = self.constant_called(name) else { return inner as f64 * WIDEST * WIDEST };
        let mut sums: std::collections::BTreeMap<usize, f64> = std::collections::BTreeMap::new();
        for (n, value) in known.to_floats().iter().enumerate() {
            *sums.entry(of_row(n)).or_default() += f64::from(value.abs());
        }
        sums.values().fold(0.0, |m: f64, s| m.max(*s)) * WIDEST
    }

    fn integer_product(&mut self, node: &'a Node, a: (&str, Option<&'a str>), b: (&str, Option<&'a str>)) -> Step<&'a str> {
        let (a, b) = (self.centred(node, a, &[0, 1])?, self.centred(node, b, &[1, 0])?);
        let (of_a, of_b) = (self.shape_of(a)?, self.shape_of(b)?);
        let inner = of_a.last().copied().ok_or("multiplies a single number")?;
        // Rows of a, columns of b.
        let columns = if of_b.len() > 1 { of_b[of_b.len() - 1] } else { 1 };
        let largest = match self.constant_called(b) {
            Some(_) => self.bound(b, inner, |n| n / (inner * columns) * columns + n % columns),
            None => self.bound(a, inner, |n| n / inner),
        };
        self.check_exact(largest)?;
        self.put(node, "MatMul", &[a, b])
    }

    fn integer_conv(
        &mut self,
        node: &'a Node,
        x: (&str, Option<&'a str>),
        w: (&str, Option<&'a str>),
        bias: Option<&'a str>,
    ) -> Step<&'a str> {
        let line: Vec<usize> = (0..self.shape_of(w.0)?.len()).map(|i| usize::from(i != 0)).collect();
        let (x, w) = (self.centred(node, x, &[1])?, self.centred(node, w, &line)?);
        let of_w = self.shape_of(w)?;
        let inner: usize = of_w.iter().skip(1).product();
        let mut largest = self.bound(w, inner, |n| n / inner.max(1));
        let bias = match bias {
            Some(bias) => {
                let known = self.constant_called(bias).ok_or("has a bias that is no constant")?;
                largest += known.to_floats().iter().fold(0.0f64, |m, b| m.max(f64::from(b.abs())));
                Some(self.put_floats(node, bias)?)
            }
            None => None,
        };
        self.check_exact(largest)?;
        let keys: Vec<(&str, Attribute)> = node.attributes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let inputs: Vec<&str> = [x, w].into_iter().chain(bias).collect();
        self.put_with(node, "Conv", &inputs, &keys)
    }

    /// A sum of products as integers again: times both scales over that of the result, whose zero point is input `at`.
    fn requantised(&mut self, node: &'a Node, sum: &str, scales: [&'a str; 3], at: usize, channel: Option<usize>) -> Step<&'a str> {
        let zero = self.input_name(node, at)?;
        let ty = self.constant_called(zero).ok_or("has a zero point that is no constant")?.ty();
        let mut known = Vec::with_capacity(3);
        for scale in scales {
            let array = self.constant_called(scale).ok_or("has a scale that is no constant")?;
            known.push(array.to_floats());
        }
        let count = known[1].len();
        if known[0].len() != 1 || known[2].len() != 1 || (count > 1 && channel.is_none()) {
            return Err("has scales of several numbers, which is not supported".into());
        }
        // Factor and product are rounded as the runtimes round them: where that lies half-way, the last digit decides.
        let factors: Vec<f32> = known[1].iter().map(|w| known[0][0] * w / known[2][0]).collect();
        let rank = self.shape_of(sum)?.len();
        let mut shape = vec![1; rank];
        if let (Some(axis), true) = (channel, count > 1) {
            shape[axis] = count;
        }
        let factors = self.put_constant(node, Array { shape, data: Data::Floats(factors) });
        let scaled = self.put(node, PRODUCT, &[sum, factors])?;
        let zero = self.put_floats(node, zero)?;
        let zero = self.put_reshape(node, zero, &[])?;
        self.rounded_into(node, scaled, Some(zero), ty)
    }
}
