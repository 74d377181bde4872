//! Recurrent layers on the CPU: at each step one product with R for the sequences of all samples, then the gates of each sequence.

use super::activation::apply;
use super::epilogue::Epilogue;
use super::packed::Packed;
use super::product::{self, Rows, RowsMut, Scratches};
use crate::artifact::{Artifact, Cell};
use crate::plan::{RecurrentStep, Slot, Step, matrix};

/// A step with its weights packed.
#[derive(Debug)]
pub(super) struct Recurrent {
    step: RecurrentStep,
    /// V of a factored R.
    first: Option<Packed>,
    /// R or U, in two parts where a GRU multiplies the last gate's rows by another vector.
    parts: Vec<Part>,
    peepholes: Option<Vec<f32>>,
    states: States,
    scratches: Scratches,
    staging: Vec<f32>,
}

/// Rows of R with their share of the bias.
#[derive(Debug)]
struct Part {
    weight: Packed,
    bias: Option<Vec<f32>>,
}

/// What goes from step to step, and what a step computes on its way, a row a sequence of a sample.
#[derive(Debug, Default)]
struct States {
    /// The hidden states.
    hidden: Vec<f32>,
    /// An LSTM's cell states; of a GRU r ⊙ h.
    cell: Vec<f32>,
    /// The gates.
    gates: Vec<f32>,
    /// A GRU's last gate, where it is a product of its own.
    last: Vec<f32>,
}

impl States {
    fn all(&mut self) -> [&mut Vec<f32>; 4] {
        [&mut self.hidden, &mut self.cell, &mut self.gates, &mut self.last]
    }
}

/// Elements of [`States`] for one sequence of a sample.
fn lens(step: &RecurrentStep) -> [usize; 4] {
    let (hidden, gates) = (step.hidden, step.cell.gates() * step.hidden);
    match step.cell {
        Cell::Lstm { .. } => [hidden, hidden, gates, 0],
        Cell::Gru { reset_after: false } => [hidden, hidden, gates, hidden],
        Cell::Gru { reset_after: true } | Cell::Rnn => [hidden, 0, gates, 0],
    }
}

/// Bytes that `step` works in for `batch` samples, the scratch of factors apart.
pub(super) fn workspace_bytes(step: &RecurrentStep, batch: usize) -> u64 {
    let each: usize = lens(step).iter().sum();
    4 * (each as u64).saturating_mul(step.sequences as u64).saturating_mul(batch as u64)
}

impl Recurrent {
    /// Packs R, for runs of up to `batch` samples.
    pub(super) fn new(artifact: &Artifact, step: &RecurrentStep, batch: usize) -> Self {
        let (hidden, outputs) = (step.hidden, step.cell.gates() * step.hidden);
        let whole = matrix(artifact, &step.matrix);
        let (first, last, inputs) = match &step.second {
            None => (None, whole, hidden),
            Some(second) => {
                let v = Packed::new(step.rank, hidden, |o, i| whole[o * hidden + i]);
                (Some(v), matrix(artifact, second), step.rank)
            }
        };
        let bias = step.bias.map(|id| artifact.tensor(id));
        let part = |rows: std::ops::Range<usize>| Part {
            weight: Packed::new(rows.len(), inputs, |o, i| last[(rows.start + o) * inputs + i]),
            bias: bias.as_ref().map(|b| b[rows.clone()].to_vec()),
        };
        let parts = match step.cell {
            Cell::Gru { reset_after: false } => vec![part(0..2 * hidden), part(2 * hidden..outputs)],
            _ => vec![part(0..outputs)],
        };
        let peepholes = step.peepholes.map(|id| artifact.tensor(id).into_owned());
        let mut states = States::default();
        for (buffer, len) in states.all().into_iter().zip(lens(step)) {
            buffer.resize(batch * step.sequences * len, 0.0);
        }
        let scratches = Scratches::new(if first.is_some() { step.rank } else { 0 }, 0);
        Self { step: step.clone(), first, parts, peepholes, states, scratches, staging: Vec::new() }
    }

    /// Fills what a run must write before it reads with NaN.
    pub(super) fn poison(&mut self) {
        self.states.all().into_iter().for_each(|s| s.fill(f32::NAN));
        self.scratches.poison();
        self.staging.fill(f32::NAN);
    }

    /// Computes `samples` samples of `output`. `inputs` are the gates' inputs, then the initial states and the lengths, if they are inputs.
    pub(super) fn run(&mut self, inputs: [&[f32]; 3], step: &Step, samples: usize, output: &mut [f32]) {
        let RecurrentStep { cell, hidden, steps, sequences, reverse, .. } = self.step;
        let rows = samples * sequences;
        let [gates, initial, lengths] = inputs;
        let slot = |at: usize| step.inputs.get(at).copied().unwrap_or_default();
        let (from, to) = (slot(0), step.output);
        self.begin(self.step.initial.then_some((initial, slot(1))), rows);
        let lengths = self.step.lengths.then(|| (if self.step.initial { lengths } else { initial }, slot(self.step.reads() - 1).stride()));
        // Whether a sequence has a step.
        let has = |row: usize, t: usize| {
            let length = lengths.and_then(|(all, stride)| all.get(row / sequences * stride + row % sequences));
            length.is_none_or(|&length| (t as f32) < length)
        };
        for at in 0..steps {
            let t = if reverse { steps - 1 - at } else { at };
            let x = |row: usize| {
                let place = row / sequences * from.stride() + (t * sequences + row % sequences) * from.channel_stride();
                &gates[place..][..from.channels]
            };
            self.multiply(0, rows);
            if let Cell::Gru { reset_after: false } = cell {
                for row in (0..rows).filter(|&row| has(row, t)) {
                    self.reset(row, x(row));
                }
                self.multiply(1, rows);
            }
            for row in 0..rows {
                let there = has(row, t);
                if there {
                    self.advance(row, x(row));
                }
                let y = pixel(output, to, row, t * sequences, sequences);
                let (y, padding) = y.split_at_mut(hidden);
                match there {
                    true => y.copy_from_slice(&self.states.hidden[row * hidden..][..hidden]),
                    false => y.fill(0.0),
                }
                padding.fill(0.0);
            }
        }
        if self.step.states {
            for (number, state) in [&self.states.hidden, &self.states.cell].into_iter().take(cell.states()).enumerate() {
                for (row, state) in state.chunks_exact(hidden).take(rows).enumerate() {
                    let (y, padding) = pixel(output, to, row, (steps + number) * sequences, sequences).split_at_mut(hidden);
                    y.copy_from_slice(state);
                    padding.fill(0.0);
                }
            }
        }
    }

    /// The states before the first step.
    fn begin(&mut self, initial: Option<(&[f32], Slot)>, rows: usize) {
        let (hidden, sequences) = (self.step.hidden, self.step.sequences);
        let mut states = [&mut self.states.hidden, &mut self.states.cell];
        for (number, state) in states.iter_mut().take(self.step.cell.states()).enumerate() {
            for (row, state) in state.chunks_exact_mut(hidden).take(rows).enumerate() {
                match initial {
                    None => state.fill(0.0),
                    Some((values, slot)) => {
                        let at = row / sequences * slot.stride() + (number * sequences + row % sequences) * hidden;
                        state.copy_from_slice(&values[at..][..hidden]);
                    }
                }
            }
        }
    }

    /// Part `number` of R by the hidden states, or by what the reset gate left of them.
    fn multiply(&mut self, number: usize, rows: usize) {
        let (hidden, part) = (self.step.hidden, &self.parts[number]);
        let States { hidden: h, cell, gates, last } = &mut self.states;
        let (from, to, stride) = match number {
            0 => (h, gates, self.step.cell.gates() * hidden),
            _ => (cell, last, hidden),
        };
        let x = Rows { data: &from[..rows * hidden], stride: hidden, width: hidden };
        let y = RowsMut { data: &mut to[..rows * stride], stride };
        let epilogue = Epilogue { bias: part.bias.as_deref(), ..Epilogue::NONE };
        let (w, second) = self.first.as_ref().map_or((&part.weight, None), |v| (v, Some(&part.weight)));
        product::one_or_two(x, rows, (w, second), epilogue, y, &self.scratches, &mut self.staging);
    }

    /// A GRU's first two gates, and r ⊙ h.
    fn reset(&mut self, row: usize, x: &[f32]) {
        let hidden = self.step.hidden;
        let gates = &mut self.states.gates[row * 3 * hidden..][..2 * hidden];
        add(gates, &x[..2 * hidden]);
        apply(self.step.activations[0], gates);
        let (h, kept) = (&self.states.hidden[row * hidden..][..hidden], &mut self.states.cell[row * hidden..][..hidden]);
        for ((kept, r), h) in kept.iter_mut().zip(&gates[hidden..]).zip(h) {
            *kept = r * h;
        }
    }

    /// The states of sequence `row` behind a step, of which the products are there.
    fn advance(&mut self, row: usize, x: &[f32]) {
        let (hidden, activations) = (self.step.hidden, &self.step.activations);
        let all = self.step.cell.gates() * hidden;
        let gates = &mut self.states.gates[row * all..][..all];
        let h = &mut self.states.hidden[row * hidden..][..hidden];
        match self.step.cell {
            Cell::Rnn => {
                add(gates, x);
                apply(activations[0], gates);
                h.copy_from_slice(gates);
            }
            Cell::Gru { reset_after } => {
                let (gates, last) = gates.split_at_mut(2 * hidden);
                if reset_after {
                    add(gates, &x[..2 * hidden]);
                    apply(activations[0], gates);
                    for ((n, r), x) in last.iter_mut().zip(&gates[hidden..]).zip(&x[2 * hidden..]) {
                        *n = x + r * *n;
                    }
                } else {
                    last.copy_from_slice(&self.states.last[row * hidden..][..hidden]);
                    add(last, &x[2 * hidden..]);
                }
                apply(activations[1], last);
                for ((h, z), n) in h.iter_mut().zip(&gates[..hidden]).zip(last) {
                    *h = (1.0 - z) * *n + z * *h;
                }
            }
            Cell::Lstm { coupled } => {
                add(gates, x);
                let c = &mut self.states.cell[row * hidden..][..hidden];
                let (input, rest) = gates.split_at_mut(hidden);
                let (output, rest) = rest.split_at_mut(hidden);
                let (forget, candidate) = rest.split_at_mut(hidden);
                let peephole = |which: usize| self.peepholes.as_ref().map(|p| &p[which * hidden..][..hidden]);
                for (gate, p) in [(&mut *input, peephole(0)), (&mut *forget, peephole(2))] {
                    peep(gate, p, c);
                    apply(activations[0], gate);
                }
                apply(activations[1], candidate);
                for (((c, i), f), g) in c.iter_mut().zip(&*input).zip(&*forget).zip(&*candidate) {
                    let f = if coupled { 1.0 - i } else { *f };
                    *c = f * *c + i * g;
                }
                peep(output, peephole(1), c);
                apply(activations[0], output);
                candidate.copy_from_slice(c);
                apply(activations[2], candidate);
                for ((h, o), c) in h.iter_mut().zip(&*output).zip(&*candidate) {
                    *h = o * c;
                }
            }
        }
    }
}

impl RecurrentStep {
    /// Values that the step reads.
    fn reads(&self) -> usize {
        1 + usize::from(self.initial) + usize::from(self.lengths)
    }
}

/// The pixel of sequence `row`, counted over all samples, behind the first `before` ones of its sample.
fn pixel(output: &mut [f32], slot: Slot, row: usize, before: usize, sequences: usize) -> &mut [f32] {
    let place = row / sequences * slot.stride() + (before + row % sequences) * slot.channel_stride();
    &mut output[place..][..slot.channel_stride()]
}

fn add(values: &mut [f32], more: &[f32]) {
    values.iter_mut().zip(more).for_each(|(v, m)| *v += m);
}

fn peep(gate: &mut [f32], peepholes: Option<&[f32]>, state: &[f32]) {
    for ((gate, p), c) in gate.iter_mut().zip(peepholes.unwrap_or_default()).zip(state) {
        *gate += p * c;
    }
}
