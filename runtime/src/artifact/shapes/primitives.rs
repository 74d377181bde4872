//! The shape that each primitive gives, and what must hold for it: every element that it reaches exists.

use super::inputs::check_activation;
use super::windows::narrow;
use crate::artifact::{Instruction, Limits, Lookup, Map, MatMul, Pick, Primitive, Reduce, Resample, Run, SoftmaxOver, Walk};

/// Elements of a value.
fn len(shape: &[usize]) -> u64 {
    shape.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64))
}

impl Primitive {
    /// The output's shape for values of `inputs`.
    ///
    /// # Errors
    /// What does not fit, as a phrase that follows the layer's name.
    pub fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<u32>, String> {
        match (self, inputs) {
            (Self::Map(map), _) => map.output_shape(inputs),
            (Self::Reduce(reduce), [input]) => reduce.output_shape(input),
            (Self::Softmax(softmax), [input]) => softmax.output_shape(input),
            (Self::MatMul(product), [a, b]) => product.output_shape(a, b),
            (Self::Pick(pick), [input]) => pick.output_shape(input),
            (Self::Resample(resample), [input]) => resample.output_shape(input),
            (Self::Join { axis }, _) => joined(*axis, inputs),
            (Self::Lookup(lookup), [values, indices]) => lookup.output_shape(values, indices),
            (Self::MatMul(_) | Self::Lookup(_), _) => Err(format!("a {} reads 2 values, not {}", self.name(), inputs.len())),
            _ => Err(format!("a {} reads 1 value, not {}", self.name(), inputs.len())),
        }
    }

    /// As messages and tables call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Map(_) => "map",
            Self::Reduce(_) => "reduction",
            Self::Softmax(_) => "softmax over an axis",
            Self::MatMul(_) => "matrix product",
            Self::Pick(_) => "pick",
            Self::Resample(_) => "resampling",
            Self::Join { .. } => "join",
            Self::Lookup(_) => "lookup",
        }
    }
}

/// Axes that a primitive states.
fn check_axes(what: &str, axes: &[u32]) -> Result<(), String> {
    if axes.is_empty() || axes.len() > Limits::AXES || axes.contains(&0) {
        return Err(format!("{what} is {axes:?}; 1 to {} axes of at least 1 are allowed", Limits::AXES));
    }
    Ok(())
}

impl Walk {
    /// Every element that the walk over `axes` reaches is one of a value of `len` elements.
    fn check(&self, axes: &[u32], len: u64) -> Result<(), String> {
        if self.strides.len() != axes.len() {
            return Err(format!("a walk of {} strides goes over {} axes", self.strides.len(), axes.len()));
        }
        let (mut least, mut most) = (i128::from(self.offset), i128::from(self.offset));
        for (&stride, &axis) in self.strides.iter().zip(axes) {
            let reach = i128::from(stride) * i128::from(axis.saturating_sub(1));
            least += reach.min(0);
            most += reach.max(0);
        }
        if least < 0 || most >= i128::from(len) {
            return Err(format!("a walk reaches elements {least} to {most} of a value of {len}"));
        }
        Ok(())
    }
}

impl Map {
    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<u32>, String> {
        check_axes("the shape of a map", &self.shape)?;
        if self.operands.is_empty() || self.operands.len() > Limits::OPERANDS || self.operands.len() != inputs.len() {
            let (operands, values) = (self.operands.len(), inputs.len());
            return Err(format!("a map of {operands} operands reads {values} values; it has one for each, 1 to {}", Limits::OPERANDS));
        }
        for (operand, input) in self.operands.iter().zip(inputs) {
            operand.check(&self.shape, len(input))?;
        }
        if self.instructions.is_empty() || self.instructions.len() > Limits::INSTRUCTIONS {
            return Err(format!("a map has 1 to {} instructions, not {}", Limits::INSTRUCTIONS, self.instructions.len()));
        }
        for (at, instruction) in self.instructions.iter().enumerate() {
            self.check_instruction(at, instruction)?;
        }
        Ok(self.shape.clone())
    }

    fn check_instruction(&self, at: usize, instruction: &Instruction) -> Result<(), String> {
        let earlier = |numbers: &[u8]| match numbers.iter().find(|&&n| usize::from(n) >= at) {
            Some(n) => Err(format!("instruction {at} reads number {n}, which no earlier one computes")),
            None => Ok(()),
        };
        match *instruction {
            Instruction::Operand(n) if usize::from(n) >= self.operands.len() => Err(format!("instruction {at} reads operand {n}")),
            Instruction::Operand(_) => Ok(()),
            Instruction::Constant(value) if value.is_nan() => Err(format!("instruction {at} is NaN")),
            Instruction::Constant(_) => Ok(()),
            Instruction::Unary(_, a) => earlier(&[a]),
            Instruction::Binary(_, a, b) => earlier(&[a, b]),
            Instruction::Select(a, b, c) => earlier(&[a, b, c]),
            Instruction::Activate(activation, a) => {
                check_activation(activation)?;
                earlier(&[a])
            }
        }
    }
}

impl Reduce {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<u32>, String> {
        check_axes("the shape of a reduction", &self.shape)?;
        check_axes("what a reduction runs over", &self.over)?;
        if self.over.iter().fold(1u64, |n, &d| n.saturating_mul(d.into())) > Limits::SAMPLE_LEN {
            return Err(format!("a reduction runs over {:?}", self.over));
        }
        self.operand.check(&[&self.shape[..], &self.over].concat(), len(input))?;
        Ok(self.shape.clone())
    }
}

impl SoftmaxOver {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<u32>, String> {
        check_axes("the shape of a softmax", &self.shape)?;
        if self.axis as usize >= self.shape.len() {
            return Err(format!("a softmax of {:?} runs along axis {}", self.shape, self.axis));
        }
        self.operand.check(&self.shape, len(input))?;
        Ok(self.shape.clone())
    }
}

impl MatMul {
    fn output_shape(&self, a: &[usize], b: &[usize]) -> Result<Vec<u32>, String> {
        let matrix = |rows: u32, columns: u32| [&self.batch[..], &[rows, columns]].concat();
        let shape = matrix(self.rows, self.columns);
        check_axes("the shape of a matrix product", &shape)?;
        if !(1..=Limits::SAMPLE_LEN).contains(&self.inner.into()) {
            return Err(format!("a matrix product sums {} products", self.inner));
        }
        self.a.check(&matrix(self.rows, self.inner), len(a))?;
        self.b.check(&matrix(self.inner, self.columns), len(b))?;
        Ok(shape)
    }
}

impl Pick {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<u32>, String> {
        let lens = self.axes.iter().map(|axis| u32::try_from(axis.len()).map_err(|_| "picks more elements than can be counted"));
        let shape = lens.collect::<Result<Vec<_>, _>>()?;
        check_axes("the shape of a pick", &shape)?;
        if self.fill.is_nan() {
            return Err("fills with NaN".into());
        }
        let mut most = 0u64;
        for run in self.axes.iter().flat_map(|axis| &axis.runs) {
            let Run { start, step, count, each } = *run;
            let last = i64::from(start) + i64::from(step) * i64::from(count.saturating_sub(1));
            let nothing = start == -1 && step == 0;
            if count == 0 || each == 0 || !nothing && (start < 0 || last < 0 || last > i64::from(i32::MAX)) {
                return Err(format!("a pick has {run:?}"));
            }
        }
        for axis in &self.axes {
            let last = |r: &Run| i64::from(r.start).max(i64::from(r.start) + i64::from(r.step) * i64::from(r.count - 1));
            most = most.saturating_add(axis.runs.iter().map(last).max().unwrap_or(0).max(0) as u64);
        }
        if most >= len(input) { Err(format!("a pick reaches element {most} of {}", len(input))) } else { Ok(shape) }
    }
}

impl Resample {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<u32>, String> {
        let mut shape = narrow(input)?;
        let axis = shape.get_mut(self.axis as usize).ok_or_else(|| format!("resamples axis {} of {input:?}", self.axis))?;
        let (taps, entries) = (self.taps as usize, self.indices.len());
        if taps == 0 || entries == 0 || !entries.is_multiple_of(taps) || self.weights.len() != entries {
            return Err(format!("a resampling of {taps} elements each has {entries} indices and {} weights", self.weights.len()));
        }
        if let Some(index) = self.indices.iter().find(|&&i| i >= *axis) {
            return Err(format!("a resampling reads index {index} of an axis of {axis}"));
        }
        if let Some(weight) = self.weights.iter().find(|w| !w.is_finite()) {
            return Err(format!("a resampling multiplies by {weight}"));
        }
        *axis = (entries / taps) as u32;
        Ok(shape)
    }
}

fn joined(axis: u32, inputs: &[&[usize]]) -> Result<Vec<u32>, String> {
    let at = axis as usize;
    if !(2..=Limits::OPERANDS).contains(&inputs.len()) {
        return Err(format!("a join reads 2 to {} values, not {}", Limits::OPERANDS, inputs.len()));
    }
    let mut shape = narrow(inputs[0])?;
    for input in &inputs[1..] {
        let other = narrow(input)?;
        let alike = other.len() == shape.len() && at < shape.len() && (0..shape.len()).all(|i| i == at || shape[i] == other[i]);
        if !alike {
            return Err(format!("values of {inputs:?} cannot be joined along axis {axis}"));
        }
        shape[at] = shape[at].checked_add(other[at]).ok_or("joins more than can be counted")?;
    }
    Ok(shape)
}

impl Lookup {
    fn output_shape(&self, values: &[usize], indices: &[usize]) -> Result<Vec<u32>, String> {
        let at = self.axis as usize;
        let misfit = || format!("indices of {indices:?} cannot be looked up along axis {at} of {values:?}");
        if at >= values.len() {
            return Err(misfit());
        }
        if self.elements {
            let fits = indices.len() == values.len() && (0..values.len()).all(|i| i == at || indices[i] <= values[i]);
            return if fits { narrow(indices) } else { Err(misfit()) };
        }
        let shape = [&values[..at], indices, &values[at + 1..]].concat();
        if shape.len() > Limits::AXES { Err(misfit()) } else { narrow(&shape) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Binary, PickAxis, ReduceKind};

    fn walk(offset: u32, strides: &[i32]) -> Walk {
        Walk { offset, strides: strides.to_vec() }
    }

    #[test]
    fn a_walk_reaches_only_elements() {
        assert!(walk(0, &[3, 1]).check(&[2, 3], 6).is_ok() && walk(2, &[3, -1]).check(&[2, 3], 6).is_ok());
        assert!(walk(0, &[0, 1]).check(&[u32::MAX, 3], 3).is_ok());
        for (offset, strides, why) in
            [(0, &[3, -1][..], "-2 to 3"), (3, &[3, 1], "3 to 8"), (0, &[1], "1 strides"), (0, &[i32::MIN, i32::MAX], "-2147483648 to")]
        {
            assert!(walk(offset, strides).check(&[2, 3], 6).is_err_and(|e| e.contains(why)), "{why}");
        }
    }

    #[test]
    fn shapes_follow_and_misfits_are_told() {
        let shape = |p: Primitive, inputs: &[&[usize]]| p.output_shape(inputs);
        let sum = |instructions: Vec<Instruction>| {
            Primitive::Map(Map { shape: vec![2, 3], operands: vec![walk(0, &[3, 1]), walk(0, &[0, 1])], instructions })
        };
        let add = vec![Instruction::Operand(0), Instruction::Operand(1), Instruction::Binary(Binary::Add, 0, 1)];
        assert_eq!(shape(sum(add.clone()), &[&[2, 3], &[3]]), Ok(vec![2, 3]));
        assert!(shape(sum(add), &[&[2, 3], &[2]]).unwrap_err().contains("0 to 2 of a value of 2"));
        assert!(shape(sum(vec![Instruction::Operand(2)]), &[&[6], &[3]]).unwrap_err().contains("operand 2"));
        assert!(shape(sum(vec![Instruction::Select(0, 0, 0)]), &[&[6], &[3]]).unwrap_err().contains("no earlier"));
        let reduce = Reduce { kind: ReduceKind::Sum, shape: vec![2], over: vec![3], operand: walk(0, &[3, 1]) };
        assert_eq!(shape(Primitive::Reduce(reduce), &[&[6]]), Ok(vec![2]));
        let product = MatMul { batch: vec![], rows: 2, columns: 4, inner: 3, a: walk(0, &[3, 1]), b: walk(0, &[4, 1]) };
        assert_eq!(shape(Primitive::MatMul(product.clone()), &[&[2, 3], &[3, 4]]), Ok(vec![2, 4]));
        assert!(shape(Primitive::MatMul(product), &[&[2, 3]]).unwrap_err().contains("reads 2 values"));
        let run = |start, step, count| PickAxis { runs: vec![Run { start, step, count, each: 1 }] };
        let pick = |axes| Primitive::Pick(Pick { axes, fill: 0.0 });
        assert_eq!(shape(pick(vec![run(3, -3, 2), run(-1, 0, 2)]), &[&[2, 3]]), Ok(vec![2, 2]));
        assert!(shape(pick(vec![run(3, -3, 3)]), &[&[2, 3]]).is_err());
        assert!(shape(pick(vec![run(3, 0, 1), run(0, 1, 4)]), &[&[2, 3]]).unwrap_err().contains("element 6 of 6"));
        let resample = |indices| Primitive::Resample(Resample { axis: 1, taps: 1, weights: vec![1.0; 2], indices });
        assert_eq!(shape(resample(vec![0, 2]), &[&[5, 3]]), Ok(vec![5, 2]));
        assert!(shape(resample(vec![0, 3]), &[&[5, 3]]).unwrap_err().contains("index 3"));
        let join = |axis| Primitive::Join { axis };
        assert_eq!(shape(join(1), &[&[5, 3], &[5, 4]]), Ok(vec![5, 7]));
        assert!(shape(join(0), &[&[5, 3], &[5, 4]]).is_err() && shape(join(0), &[&[5]]).is_err());
        let lookup = |axis, elements| Primitive::Lookup(Lookup { axis, elements });
        assert_eq!(shape(lookup(0, false), &[&[9, 4], &[2, 7]]), Ok(vec![2, 7, 4]));
        assert_eq!(shape(lookup(1, true), &[&[9, 4], &[2, 7]]), Ok(vec![2, 7]));
        assert!(shape(lookup(1, true), &[&[9, 4], &[10, 7]]).is_err());
    }
}
