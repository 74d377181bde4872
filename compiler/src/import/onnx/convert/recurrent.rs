//! LSTM, GRU and RNN. What the input gives the gates of all steps is a linear layer; what goes from step to step is another node, one for
//! each direction.

use thinfer::artifact::{Activation, Cell, Primitive};

use super::arithmetic::of_one_sample;
use super::{Converter, OnnxValue, Step};
use crate::graph::{Linear, Op, Recurrent, ValueId};
use crate::import::onnx::array::Array;
use crate::import::onnx::node::{Attribute, Node};
use crate::import::onnx::view::{Atom, View, canonical};

/// Whether `op` is recurrent.
pub(super) fn is_one(op: &str) -> bool {
    matches!(op, "LSTM" | "GRU" | "RNN")
}

/// What the attributes say.
struct Settings {
    cell: Cell,
    /// For each direction whether it goes backwards, and its activations.
    directions: Vec<(bool, Vec<Activation>)>,
    /// Whether the sequences stand before the steps.
    batch_first: bool,
}

/// What a node reads, its weights apart.
struct Sequences {
    /// The image [features, steps, sequences].
    input: ValueId,
    features: usize,
    steps: usize,
    sequences: usize,
    /// Whether the sequences are the samples, one each.
    sampled: bool,
}

/// The weights of one direction, each of its shape without that axis.
struct Weights {
    w: Vec<f32>,
    r: Vec<f32>,
    /// Beside W.
    bias: Option<Vec<f32>>,
    /// Beside R.
    recurrent_bias: Option<Vec<f32>>,
    peepholes: Option<Vec<f32>>,
}

impl<'a> Converter<'a> {
    /// The outputs of a recurrent node: all hidden states, and where somebody reads them the last states.
    pub(super) fn recurrent(&mut self, node: &'a Node) -> Step<Vec<OnnxValue>> {
        let settings = Settings::of(node)?;
        let (cell, count) = (settings.cell, settings.directions.len());
        let (w, r) = (self.constant(node, 1)?, self.constant(node, 2)?);
        let (outputs, features, hidden) = match (&w.shape[..], &r.shape[..]) {
            (&[d, outputs, features], &[e, rows, hidden])
                if d == count && e == count && rows == outputs && hidden > 0 && hidden.checked_mul(cell.gates()) == Some(outputs) =>
            {
                (outputs, features, hidden)
            }
            (w, r) => return Err(format!("has weights of {w:?} and {r:?} for {count} directions of {} gates", cell.gates()).into()),
        };
        let of_shape = |what: &str, array: &Array, shape: [usize; 2]| match array.shape == shape {
            true => Ok(()),
            false => Err(format!("has {what} of {:?}, not {shape:?}", array.shape)),
        };
        let (bias, peepholes) = (self.optional(node, 3)?, if cell.states() == 2 { self.optional(node, 7)? } else { None });
        bias.as_ref().map_or(Ok(()), |b| of_shape("a bias", b, [count, outputs.saturating_mul(2)]))?;
        peepholes.as_ref().map_or(Ok(()), |p| of_shape("peepholes", p, [count, hidden.saturating_mul(3)]))?;
        let read = self.sequences(node, settings.batch_first)?;
        if read.features != features {
            return Err(format!("reads {} features, its weight takes {features}", read.features).into());
        }
        let lengths = self.lengths(node, &read)?;
        let states = node.outputs.iter().skip(1).any(|o| self.is_read(o));
        let slice = |array: &Array, d: usize| -> Vec<f32> {
            let (values, each) = (array.to_floats(), array.len() / count);
            values[d * each..(d + 1) * each].to_vec()
        };
        let mut bases = Vec::with_capacity(count);
        for (d, (reverse, activations)) in settings.directions.iter().enumerate() {
            let (beside_w, beside_r) = match &bias {
                None => (None, None),
                Some(b) => biases(cell, &slice(b, d), outputs),
            };
            let weights = Weights {
                w: slice(&w, d),
                r: slice(&r, d),
                bias: beside_w,
                recurrent_bias: beside_r,
                peepholes: peepholes.as_ref().map(|p| slice(p, d)).filter(|p| p.iter().any(|x| *x != 0.0)),
            };
            let initial = self.initial_states(node, &settings, &read, d, hidden)?;
            let op = Recurrent {
                cell,
                hidden,
                reverse: *reverse,
                states,
                bias: weights.recurrent_bias.is_some(),
                peepholes: weights.peepholes.is_some(),
                initial: initial.is_some(),
                lengths: lengths.is_some(),
                activations: activations.clone(),
            };
            let suffix = if count == 1 { "" } else { [".forward", ".reverse"][d] };
            bases.push(self.direction(node, suffix, &read, weights, op, [initial, lengths])?);
        }
        let base = match bases[..] {
            [one] => one,
            _ => {
                let name = self.fresh(format!("{}.directions", node.label()));
                self.push(&name, Op::Concat, bases, Vec::new())?
            }
        };
        self.given(node, base, &settings, &read, hidden, states)
    }

    /// Appends one direction of a node; the value it gives.
    fn direction(
        &mut self,
        node: &Node,
        suffix: &str,
        read: &Sequences,
        weights: Weights,
        op: Recurrent,
        more: [Option<ValueId>; 2],
    ) -> Step<ValueId> {
        let linear = Linear { inputs: read.features, outputs: op.outputs(), bias: weights.bias.is_some() };
        let name = self.fresh(format!("{}{suffix}.input", node.label()));
        let tensors = std::iter::once(weights.w).chain(weights.bias).collect();
        let gates = self.push(&name, Op::Linear(linear), vec![read.input], tensors)?;
        let name = self.fresh(format!("{}{suffix}", node.label()));
        let tensors = std::iter::once(weights.r).chain(weights.recurrent_bias).chain(weights.peepholes).collect();
        let inputs = std::iter::once(gates).chain(more.into_iter().flatten()).collect();
        self.push(&name, Op::Recurrent(op), inputs, tensors)
    }

    /// The outputs, of which `base` is the image [directions · hidden, steps and states, sequences].
    fn given(
        &mut self,
        node: &Node,
        base: ValueId,
        settings: &Settings,
        read: &Sequences,
        hidden: usize,
        states: bool,
    ) -> Step<Vec<OnnxValue>> {
        let (count, &Sequences { steps, sequences, sampled, .. }) = (settings.directions.len(), read);
        let rows = self.shapes[base][1] * sequences;
        let atom = |size: usize, stride: usize| canonical([Atom { size, stride }]);
        // Y is [steps, directions, sequences, hidden], a state [directions, sequences, hidden]; or sequences come first.
        let seen = |base: ValueId, rows: usize, steps: Option<usize>| {
            let mut axes = vec![atom(count, hidden * rows), atom(hidden, rows)];
            axes.splice(0..0, steps.map(|steps| atom(steps, sequences)));
            let at = if settings.batch_first { 0 } else { axes.len() - 1 };
            if !sampled {
                axes.insert(at, atom(sequences, 1));
            }
            View { base, axes, sample: sampled.then_some(at) }
        };
        if !states {
            return Ok(vec![OnnxValue::Computed(seen(base, rows, Some(steps)))]);
        }
        let mut all = Vec::new();
        let is_read = |at: usize| node.outputs.get(at).is_some_and(|o| self.is_read(o));
        if is_read(0) {
            let (channels, pixels) = (count * hidden, steps * sequences);
            let steps_alone = [atom(channels, rows), atom(pixels, 1)].concat();
            let y = self.rearranged(node, base, vec![channels, steps, sequences], 0, &steps_alone)?;
            all.push(OnnxValue::Computed(seen(y, pixels, Some(steps))));
        } else {
            all.push(OnnxValue::Part(seen(base, rows, Some(steps)), 0));
        }
        for state in 0..settings.cell.states() {
            all.push(OnnxValue::Part(seen(base, rows, None), (steps + state) * sequences));
        }
        Ok(all)
    }

    /// The input as an image of its features, a row a step.
    fn sequences(&mut self, node: &Node, batch_first: bool) -> Step<Sequences> {
        let view = self.computed(node, 0)?;
        let full = self.full_shape(&view);
        if full.len() != 3 {
            return Err(format!("reads a value of {full:?}, not of steps, sequences and features").into());
        }
        let view = if batch_first { view.transposed(&[1, 0, 2]).ok_or("names no axis")? } else { view };
        let sampled = match view.sample {
            None => false,
            Some(1) => true,
            Some(_) => return Err(format!("goes from sample to sample (a value of {full:?})").into()),
        };
        let mut axes = view.axes.clone();
        if sampled {
            axes.insert(1, Vec::new());
        }
        let turned = View { base: view.base, axes, sample: None }.permuted(&[2, 0, 1]).ok_or("names no axis")?;
        let shape = turned.sizes();
        let is_it = self.shapes[turned.base] == shape && turned.is_plain(&shape);
        let input = if is_it { turned.base } else { self.moved_to(node, &turned, shape.clone())? };
        Ok(Sequences { input, features: shape[0], steps: shape[1], sequences: shape[2], sampled })
    }

    /// The value [sequences] of how many steps each sequence has; `None` where it is all of them.
    fn lengths(&mut self, node: &'a Node, read: &Sequences) -> Step<Option<ValueId>> {
        let &Sequences { steps, sequences, sampled, .. } = read;
        if node.input(4).is_none() {
            return Ok(None);
        }
        if let OnnxValue::Constant(array) = self.value(node, 4)? {
            let array = array.clone();
            let own = of_one_sample(&array, sampled.then_some(0)).filter(|a| a.shape == [sequences]);
            let own = own.ok_or_else(|| format!("has lengths of {:?} that differ from sample to sample or do not fit", array.shape))?;
            let lengths = own.to_floats();
            if let Some(length) = lengths.iter().find(|l| !(0.0..=steps as f32).contains(*l)) {
                return Err(format!("has a sequence of {length} steps, where its input has {steps}").into());
            }
            if lengths.iter().all(|l| *l == steps as f32) {
                return Ok(None);
            }
            let constant = self.constant_value(format!("{}.lengths", node.label()), &[sequences], lengths)?;
            return self.picked(node, &constant, &[None], 0.0).map(|view| Some(view.base));
        }
        let view = self.computed(node, 4)?;
        if view.rank() != 1 || view.sample.is_some() != sampled || view.len() != sequences {
            return Err(format!("has lengths of {:?} for its sequences", self.full_shape(&view)).into());
        }
        self.rearranged(node, view.base, vec![sequences], 0, &view.atoms()).map(Some)
    }

    /// The value [states · sequences, hidden] of what direction `d` begins with; `None` where that is zeros.
    fn initial_states(&mut self, node: &'a Node, settings: &Settings, read: &Sequences, d: usize, hidden: usize) -> Step<Option<ValueId>> {
        let shape = [read.sequences, hidden];
        let mut found = Vec::new();
        for i in 5..5 + settings.cell.states() {
            found.push(if node.input(i).is_some() { self.initial_state(node, i, settings, read, d, hidden)? } else { None });
        }
        if found.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut parts = Vec::new();
        for state in found {
            parts.push(match state {
                Some(state) => state,
                None => self.constant_value(format!("{}.zeros", node.label()), &shape, vec![0.0; shape[0] * shape[1]])?.base,
            });
        }
        match parts[..] {
            [one] if matches!(self.graph.producer(one).map(|n| &n.op), Some(Op::Constant { .. })) => {
                // Only primitives read constants.
                self.picked(node, &View::plain(one, &shape), &[None, None], 0.0).map(|view| Some(view.base))
            }
            [one] => Ok(Some(one)),
            _ => self.primitive(format!("{}.initial", node.label()), Primitive::Join { axis: 0 }, parts).map(Some),
        }
    }

    /// The value [sequences, hidden] of input `i` for direction `d`; `None` of constant zeros.
    fn initial_state(
        &mut self,
        node: &'a Node,
        i: usize,
        settings: &Settings,
        read: &Sequences,
        d: usize,
        hidden: usize,
    ) -> Step<Option<ValueId>> {
        let (count, &Sequences { sequences, sampled, .. }) = (settings.directions.len(), read);
        let [of_directions, of_sequences] = if settings.batch_first { [1, 0] } else { [0, 1] };
        let misfit = |shape: &[usize]| format!("has an initial state of {shape:?} for {count} directions of {hidden} elements");
        let mut wanted = [0, 0, hidden];
        (wanted[of_directions], wanted[of_sequences]) = (count, sequences);
        if let OnnxValue::Constant(array) = self.value(node, i)? {
            let array = array.clone();
            if array.shape.len() == 3 && array.to_floats().iter().all(|x| *x == 0.0) {
                return Ok(None);
            }
            let own = of_one_sample(&array, (sampled && array.shape.len() == 3).then_some(of_sequences));
            let own = own.filter(|a| a.shape == wanted).ok_or_else(|| misfit(&array.shape))?;
            let values = own.to_floats();
            let at = |n: usize, h: usize| {
                let row = if settings.batch_first { n * count + d } else { d * sequences + n };
                values[row * hidden + h]
            };
            let rows = (0..sequences * hidden).map(|k| at(k / hidden, k % hidden)).collect();
            let name = format!("{}.state", node.label());
            return self.constant_value(name, &[sequences, hidden], rows).map(|view| Some(view.base));
        }
        let view = self.computed(node, i)?;
        let full = self.full_shape(&view);
        if full.len() != 3 {
            return Err(misfit(&full).into());
        }
        let view = if settings.batch_first { view.transposed(&[1, 0, 2]).ok_or("names no axis")? } else { view };
        let mut axes = view.axes.clone();
        match (view.sample, sampled) {
            (Some(1), true) => axes.insert(1, Vec::new()),
            // One state for all samples.
            (None, _) => {}
            _ => return Err(misfit(&full).into()),
        }
        let view = View { base: view.base, axes, sample: None };
        if view.sizes() != [count, sequences, hidden] {
            return Err(misfit(&full).into());
        }
        let (part, offset) = self.part_along(node, &view, 0, (d, 1, 1))?;
        self.rearranged(node, part.base, vec![sequences, hidden], offset, &part.atoms()).map(Some)
    }
}

/// What is added beside W and beside R, of both one after the other: all beside W where that is the same.
fn biases(cell: Cell, both: &[f32], outputs: usize) -> (Option<Vec<f32>>, Option<Vec<f32>>) {
    let (w, r) = both.split_at(outputs);
    let mut sum: Vec<f32> = w.iter().zip(r).map(|(w, r)| w + r).collect();
    if cell != (Cell::Gru { reset_after: true }) {
        return (Some(sum), None);
    }
    // Of the last gate R·h + b is multiplied by the reset gate.
    let last = outputs / 3 * 2;
    sum[last..].copy_from_slice(&w[last..]);
    let beside: Vec<f32> = std::iter::repeat_n(0.0, last).chain(r[last..].iter().copied()).collect();
    (Some(sum), beside.iter().any(|b| *b != 0.0).then_some(beside))
}

impl Settings {
    fn of(node: &Node) -> Step<Self> {
        let cell = match node.op.as_str() {
            "LSTM" => Cell::Lstm { coupled: node.int("input_forget", 0) != 0 },
            "GRU" => Cell::Gru { reset_after: node.int("linear_before_reset", 0) != 0 },
            _ => Cell::Rnn,
        };
        if let Some(Attribute::Float(clip)) = node.attributes.get("clip")
            && clip.is_finite()
        {
            return Err(format!("clips what its activations read to {clip}, which is not supported").into());
        }
        let reverse: &[bool] = match node.text("direction").unwrap_or("forward") {
            "forward" => &[false],
            "reverse" => &[true],
            "bidirectional" => &[false, true],
            other => return Err(format!("has direction {other:?}").into()),
        };
        let count = cell.activations();
        let defaults = if cell == Cell::Rnn { vec!["Tanh"] } else { vec!["Sigmoid", "Tanh", "Tanh"] };
        let names: Vec<String> = match node.attributes.get("activations") {
            Some(Attribute::Texts(names)) if !names.is_empty() => names.clone(),
            _ => reverse.iter().flat_map(|_| defaults[..count].iter().map(|s| s.to_string())).collect(),
        };
        if names.len() != count * reverse.len() {
            return Err(format!("has {} activations for {} directions of {count}", names.len(), reverse.len()).into());
        }
        let floats = |key: &str| match node.attributes.get(key) {
            Some(Attribute::Floats(v)) => v.clone(),
            _ => Vec::new(),
        };
        let (alphas, betas) = (floats("activation_alpha"), floats("activation_beta"));
        let (mut alphas, mut betas) = (alphas.into_iter(), betas.into_iter());
        let functions = names.iter().map(|name| activation(name, &mut alphas, &mut betas)).collect::<Step<Vec<_>>>()?;
        let directions = reverse.iter().zip(functions.chunks(count)).map(|(&reverse, f)| (reverse, f.to_vec())).collect();
        Ok(Self { cell, directions, batch_first: node.int("layout", 0) != 0 })
    }
}

/// An activation by ONNX's name, with the next numbers of those that it takes.
fn activation(name: &str, alphas: &mut impl Iterator<Item = f32>, betas: &mut impl Iterator<Item = f32>) -> Step<Activation> {
    let unsupported = |settings: String| Err(format!("has the activation {name}{settings}, which is not supported").into());
    Ok(match name.to_ascii_lowercase().as_str() {
        "relu" => Activation::Relu,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "softsign" => Activation::Softsign,
        "softplus" => Activation::Softplus,
        "leakyrelu" => Activation::LeakyRelu(alphas.next().unwrap_or(0.01)),
        "thresholdedrelu" => Activation::ThresholdedRelu(alphas.next().unwrap_or(1.0)),
        "elu" => Activation::Elu(alphas.next().unwrap_or(1.0)),
        "hardsigmoid" => match (alphas.next().unwrap_or(0.2), betas.next().unwrap_or(0.5)) {
            (alpha, 0.5) if (alpha - 1.0 / 6.0).abs() <= 1e-7 => Activation::HardSigmoid,
            (alpha, beta) => return unsupported(format!(" ({alpha}, {beta})")),
        },
        "affine" => match (alphas.next().unwrap_or(1.0), betas.next().unwrap_or(0.0)) {
            (1.0, 0.0) => Activation::None,
            (alpha, beta) => return unsupported(format!(" ({alpha}, {beta})")),
        },
        "scaledtanh" => match (alphas.next().unwrap_or(1.0), betas.next().unwrap_or(1.0)) {
            (1.0, 1.0) => Activation::Tanh,
            (alpha, beta) => return unsupported(format!(" ({alpha}, {beta})")),
        },
        _ => return unsupported(String::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_go_where_they_mean_the_same() {
        let both: Vec<f32> = (1..=12).map(|i| i as f32).collect();
        assert_eq!(biases(Cell::Gru { reset_after: false }, &both, 6).0.unwrap(), [8.0, 10.0, 12.0, 14.0, 16.0, 18.0]);
        let (w, r) = biases(Cell::Gru { reset_after: true }, &both, 6);
        assert_eq!((w.unwrap(), r.unwrap()), (vec![8.0, 10.0, 12.0, 14.0, 5.0, 6.0], vec![0.0, 0.0, 0.0, 0.0, 11.0, 12.0]));
    }

    #[test]
    fn activations_take_their_numbers_in_turn() {
        let (mut alphas, mut betas) = ([0.25, 1.0 / 6.0, 3.0].into_iter(), [0.5].into_iter());
        let names = ["LeakyRelu", "Tanh", "hardsigmoid", "Elu", "ThresholdedRelu"];
        let found: Vec<_> = names.iter().map(|n| activation(n, &mut alphas, &mut betas).ok()).collect();
        let expected = [
            Activation::LeakyRelu(0.25),
            Activation::Tanh,
            Activation::HardSigmoid,
            Activation::Elu(3.0),
            Activation::ThresholdedRelu(1.0),
        ];
        assert_eq!(found, expected.map(Some));
        let none = || std::iter::empty();
        assert!(activation("HardSigmoid", &mut none(), &mut none()).is_err() && activation("Swish", &mut none(), &mut none()).is_err());
    }
}
