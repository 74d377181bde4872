//! The CPU executor: the reference for the GPU's kernels, and what machines without a GPU run.

mod activation;
mod attention;
mod conv;
mod cores;
mod depthwise;
mod elementwise;
mod embed;
mod epilogue;
mod exp;
mod flush;
mod global_average;
mod join;
mod lanes;
mod layer_norm;
mod linear;
mod log;
mod lookup;
mod map;
mod map_functions;
mod matmul;
mod multiply;
mod packed;
#[cfg(any(test, feature = "tools"))]
mod peak;
mod pick;
mod pieces;
mod pool;
mod product;
mod rearrange;
mod recurrent;
mod reduce;
mod reduce_elements;
mod reduce_index;
mod resample;
mod simd;
mod softmax;
mod softmax_over;
mod tanh;
mod taps;
mod threads;
mod tile;
mod walk;
mod workspace;

use std::time::Duration;

pub(crate) use self::cores::cores;
#[cfg(any(test, feature = "tools"))]
pub(crate) use self::peak::measure as peak;
pub(crate) use self::workspace::workspace_bytes;

use self::epilogue::{Epilogue, Residual};
use self::flush::FlushToZero;
use crate::artifact::{Activation, Artifact, Limits};
use crate::clock::Instant;
use crate::device::{DeviceClass, DeviceInfo};
use crate::plan::{Fill, Plan, Read, RearrangeStep, Slot, Step, StepKind};

/// A plan with its weights packed and its buffers allocated.
#[derive(Debug)]
pub(crate) struct Executor {
    steps: Vec<(Step, Kernel)>,
    buffers: Vec<Vec<f32>>,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    /// Buffers of constants, which no step writes.
    constants: Vec<usize>,
}

#[derive(Debug)]
enum Kernel {
    Linear(linear::Linear),
    Conv(conv::Conv),
    Pool(pool::Pool),
    GlobalAverage,
    /// Adds, if the step has a residual, and applies this.
    Elementwise(Activation),
    /// The logarithm, if true.
    Softmax(bool),
    Rearrange(rearrange::Rearrange),
    /// Multiplies by the second input and applies this.
    Multiply(Activation),
    LayerNorm(layer_norm::LayerNorm),
    Attention(attention::Attention),
    Embed(embed::Embed),
    Recurrent(recurrent::Recurrent),
    Map(map::Map),
    Reduce(reduce::Reduce),
    SoftmaxOver(softmax_over::SoftmaxOver),
    MatMul(matmul::MatMul),
    Pick(pick::Pick),
    Resample(resample::Resample),
    Join(join::Join),
    Lookup(lookup::Lookup),
}

impl Executor {
    /// Packs every weight that `plan` names.
    pub(crate) fn new(artifact: &Artifact, plan: &Plan) -> Self {
        // Helper threads flush denormals as well, so that the result does not depend on which thread computes what.
        let _flush = FlushToZero::on();
        let (mut workspaces, mut factors) = (Vec::new(), Vec::new());
        let mut pack = |step: &Step| match &step.kind {
            StepKind::Linear(l) => Kernel::Linear(linear::Linear::new(artifact, step, l)),
            StepKind::Conv(c) => Kernel::Conv(conv::Conv::new(artifact, step, c)),
            StepKind::Pool(p) => Kernel::Pool(pool::Pool::new(p, step.input(), step.output)),
            StepKind::GlobalAveragePool => Kernel::GlobalAverage,
            StepKind::Add { activation, .. } | StepKind::Activate(activation) => Kernel::Elementwise(*activation),
            StepKind::Softmax { log } => Kernel::Softmax(*log),
            StepKind::Rearrange(r) => Kernel::Rearrange(rearrange::Rearrange::new(r, step.input(), step.output)),
            StepKind::Move => {
                let all = RearrangeStep::identity(step.output.len());
                Kernel::Rearrange(rearrange::Rearrange::new(&all, step.input(), step.output))
            }
            StepKind::Multiply { activation } => Kernel::Multiply(*activation),
            StepKind::LayerNorm(n) => Kernel::LayerNorm(layer_norm::LayerNorm::new(artifact, n)),
            StepKind::Attention(a) => Kernel::Attention(attention::Attention::new(a, step, plan.batch, &mut workspaces)),
            StepKind::Recurrent(r) => Kernel::Recurrent(recurrent::Recurrent::new(artifact, r, plan.batch)),
            StepKind::Embed(table) => Kernel::Embed(embed::Embed::new(artifact, *table, step.input(), step.output)),
            StepKind::Map(m) => Kernel::Map(map::Map::new(m, &step.inputs, step.output)),
            StepKind::Reduce(r) => Kernel::Reduce(reduce::Reduce::new(r, step.input(), step.output)),
            StepKind::SoftmaxOver(s) => Kernel::SoftmaxOver(softmax_over::SoftmaxOver::new(s, step.input(), step.output)),
            StepKind::MatMul(m) => Kernel::MatMul(matmul::MatMul::new(m, pair(step), step.output, plan.batch, &mut factors)),
            StepKind::Pick(p) => Kernel::Pick(pick::Pick::new(p, step.input(), step.output)),
            StepKind::Resample(r) => Kernel::Resample(resample::Resample::new(r, step.input(), step.output)),
            StepKind::Join(j) => Kernel::Join(join::Join::new(j, &step.inputs, step.output)),
            StepKind::Lookup(l) => Kernel::Lookup(lookup::Lookup::new(l, pair(step), step.output)),
        };
        let steps = plan.steps.iter().map(|step| (step.clone(), pack(step))).collect();
        let mut buffers: Vec<Vec<f32>> = plan.memory.buffers.iter().map(|&n| vec![0.0; n]).collect();
        for &(tensor, slot) in &plan.constants {
            slot.fill(&artifact.tensor(tensor), &mut buffers[slot.buffer]);
        }
        let constants = plan.constants.iter().map(|(_, slot)| slot.buffer).collect();
        Self { steps, buffers, inputs: plan.inputs.clone(), outputs: plan.outputs.clone(), constants }
    }

    /// Runs `rows` samples, at most the plan's batch. `fill` is called with the number and slot of each input and writes its
    /// samples in that layout; `read` reads those of each output in the same way.
    pub(crate) fn run(&mut self, rows: usize, mut fill: impl Fill, mut read: impl Read) {
        let _flush = FlushToZero::on();
        for (number, slot) in self.inputs.iter().enumerate() {
            fill(number, *slot, &mut self.buffers[slot.buffer][..rows * slot.stride()]);
        }
        for at in 0..self.steps.len() {
            self.step(at, rows);
        }
        for (number, slot) in self.outputs.iter().enumerate() {
            read(number, *slot, &self.buffers[slot.buffer][..rows * slot.stride()]);
        }
    }

    /// The first `rows` samples of what lies in `slot`, unpadded.
    pub(crate) fn value(&self, slot: Slot, rows: usize) -> Vec<f32> {
        let mut values = vec![0.0; rows * slot.len()];
        slot.read(&self.buffers[slot.buffer], &mut values);
        values
    }

    /// Whether the padding of the first `rows` samples in `slot` is zero.
    #[cfg(test)]
    pub(crate) fn padding_is_zero(&self, slot: Slot, rows: usize) -> bool {
        let pixels = self.buffers[slot.buffer].chunks_exact(slot.channel_stride()).take(rows * slot.pixels());
        pixels.into_iter().all(|p| p[slot.channels..].iter().all(|&x| x == 0.0))
    }

    /// What each step is computed with.
    pub(crate) fn kernels(&self) -> Vec<Vec<&'static str>> {
        vec![vec![simd::level().name()]; self.steps.len()]
    }

    /// Fills every buffer but those of constants with NaN, so that whatever a run does not write shows.
    pub(crate) fn poison(&mut self) {
        let written = self.buffers.iter_mut().enumerate().filter(|(at, _)| !self.constants.contains(at));
        written.for_each(|(_, buffer)| buffer.fill(f32::NAN));
        for (_, kernel) in &mut self.steps {
            match kernel {
                Kernel::Linear(linear) => linear.poison(),
                Kernel::Conv(conv) => conv.poison(),
                Kernel::Pool(_) | Kernel::GlobalAverage | Kernel::Elementwise(_) => {}
                Kernel::Softmax(_) | Kernel::Rearrange(_) | Kernel::Multiply(_) => {}
                Kernel::LayerNorm(_) | Kernel::Embed(_) => {}
                Kernel::Attention(attention) => attention.poison(),
                Kernel::Recurrent(recurrent) => recurrent.poison(),
                Kernel::Map(map) => map.poison(),
                Kernel::MatMul(product) => product.poison(),
                Kernel::Reduce(_) | Kernel::SoftmaxOver(_) | Kernel::Pick(_) => {}
                Kernel::Resample(_) | Kernel::Join(_) | Kernel::Lookup(_) => {}
            }
        }
    }

    /// Runs all steps `repeats` times on `rows` samples of whatever the buffers hold.
    pub(crate) fn time(&mut self, rows: usize, repeats: usize) -> Duration {
        let _flush = FlushToZero::on();
        let start = Instant::now();
        for _ in 0..repeats {
            for at in 0..self.steps.len() {
                self.step(at, rows);
            }
        }
        start.elapsed()
    }

    /// Times each step once on `rows` samples of whatever the buffers hold.
    pub(crate) fn step_times(&mut self, rows: usize) -> Vec<Duration> {
        let _flush = FlushToZero::on();
        let steps = self.steps.len();
        let timed = |at| {
            let start = Instant::now();
            self.step(at, rows);
            start.elapsed()
        };
        (0..steps).map(timed).collect()
    }

    fn step(&mut self, at: usize, rows: usize) {
        let (step, kernel) = &mut self.steps[at];
        // The plan never gives a step one buffer twice, so taking the written ones out leaves the input in place.
        let mut output = std::mem::take(&mut self.buffers[step.output.buffer]);
        // A constant has one sample for all.
        let read = |slot: Slot| {
            let buffer = &self.buffers[slot.buffer];
            &buffer[..buffer.len().min(rows * slot.stride())]
        };
        let input = read(step.input());
        let residual = step.residual().map(|(slot, how)| Residual::new(&self.buffers[slot.buffer], slot, step.output, how));
        let y = &mut output[..rows * step.output.stride()];
        match kernel {
            Kernel::Linear(linear) => linear.run(input, step, rows, y),
            Kernel::Conv(conv) => conv.run(input, residual, step, y),
            Kernel::Pool(pool) => pool.run(input, y),
            Kernel::GlobalAverage => global_average::run(input, step.input(), y),
            Kernel::Elementwise(activation) => {
                elementwise::run(input, step.input(), step.output, Epilogue { residual, activation: *activation, ..Epilogue::NONE }, y);
            }
            Kernel::Softmax(log) => softmax::run(input, step.output, *log, y),
            Kernel::Rearrange(rearrange) => rearrange.run(input, y),
            Kernel::Multiply(activation) => {
                let factors = step.inputs.get(1).copied().unwrap_or(step.input());
                multiply::run(input, (read(factors), factors), step.output, *activation, y);
            }
            Kernel::LayerNorm(norm) => norm.run(input, step.output, y),
            Kernel::Attention(attention) => {
                let operands = step.inputs[..].first_chunk().copied().unwrap_or([step.input(); 3]);
                attention.run(operands.map(read), rows, y);
            }
            Kernel::Embed(embed) => embed.run(input, y),
            Kernel::Recurrent(recurrent) => {
                let operands = [0, 1, 2].map(|at| step.inputs.get(at).map_or(&[][..], |&slot| read(slot)));
                recurrent.run(operands, step, rows, y);
            }
            Kernel::Map(map) => map.run(&reads(step, read), y),
            Kernel::Reduce(reduce) => reduce.run(input, y),
            Kernel::SoftmaxOver(softmax) => softmax.run(input, y),
            Kernel::MatMul(product) => product.run(pair(step).map(read), y),
            Kernel::Pick(pick) => pick.run(input, y),
            Kernel::Resample(resample) => resample.run(input, y),
            Kernel::Join(join) => join.run(&reads(step, read), y),
            Kernel::Lookup(lookup) => lookup.run(pair(step).map(read), y),
        }
        self.buffers[step.output.buffer] = output;
    }
}

/// The two values that `step` reads.
fn pair(step: &Step) -> [Slot; 2] {
    step.inputs[..].first_chunk().copied().unwrap_or([step.input(); 2])
}

/// All values that `step` reads, and nothing behind them.
fn reads<'a>(step: &Step, read: impl Fn(Slot) -> &'a [f32]) -> [&'a [f32]; Limits::OPERANDS] {
    let mut all: [&[f32]; Limits::OPERANDS] = [&[]; Limits::OPERANDS];
    all.iter_mut().zip(&step.inputs).for_each(|(all, &slot)| *all = read(slot));
    all
}

/// The level of vector instructions that the kernels are compiled for.
pub(crate) fn level() -> &'static str {
    simd::level().name()
}

/// This machine's CPU.
pub(crate) fn info() -> DeviceInfo {
    let threads = threads::count();
    let name = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_string())
    });
    let name = name.unwrap_or_else(|| std::env::consts::ARCH.to_string());
    DeviceInfo { name: format!("{name}, {threads} threads"), backend: "cpu".into(), driver: String::new(), class: DeviceClass::Cpu }
}

#[cfg(test)]
mod tests {
    use crate::artifact::{Artifact, TensorData};
    use crate::plan::Form;
    use crate::tools::bench::{interleaved, layer_artifact, noise};
    use crate::{Device, Forms, Options, Session};

    /// 192 → 192 at rank 48 without bias, V's and U's entries about as large as `v` and `u`.
    fn layer(v: f32, u: f32) -> Artifact {
        let plain = layer_artifact("linear:192,192".parse().unwrap(), Some(48)).unwrap();
        let scaled = |(id, info): (usize, &crate::artifact::TensorInfo)| {
            let scale = [0.0, 14.0 * v, 7.0 * u, 1.0][id];
            let values = plain.tensor(id as u32).iter().map(|x| x * scale).collect();
            TensorData::f32(&info.name, &info.shape.iter().map(|&n| n as usize).collect::<Vec<_>>(), values)
        };
        let tensors = plain.model().tensors.iter().enumerate().map(scaled).collect();
        Artifact::build(plain.model().clone(), tensors).unwrap()
    }

    fn session(artifact: &Artifact, form: Form) -> Session {
        let options = Options { batch: 64, forms: Forms::All(form), keep_factors: true, ..Options::default() };
        Session::new(&Device::cpu(), artifact, &options).unwrap()
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn denormal_values_and_weights_are_zero_and_the_caller_keeps_its_own() {
        let input = noise(64 * 192);
        let (from_values, from_weights) = (layer(1e-20, 1e-22), layer(1e-41, 1e20));
        assert!(from_weights.tensor(1).iter().any(|w| w.is_subnormal()));
        for form in [Form::Dense, Form::TwoStage, Form::Fused] {
            let outputs = [&from_values, &from_weights].map(|artifact| session(artifact, form).run(&input).unwrap());
            // Multiplied back, in f64, the second is not small.
            let zero = |y: &[f32]| y.iter().all(|&y| y == 0.0);
            assert!(zero(&outputs[0]) && (form == Form::Dense || zero(&outputs[1])), "{form:?}");
        }
        let denormal = std::hint::black_box(1e-20f32) * std::hint::black_box(1e-20);
        assert!(denormal > 0.0);
    }

    #[test]
    fn denormal_values_cost_no_more_than_others() {
        // Without flushing, some thirty times as long on processors that leave denormals to microcode (Intel's; AMD's Zen 5 does not). A busy
        // machine does not do that to one of two in turn.
        for form in [Form::TwoStage, Form::Fused] {
            let (mut fading, mut plain) = (session(&layer(1e-20, 1e-22), form), session(&layer(0.1, 0.1), form));
            let times = interleaved(&mut [&mut fading, &mut plain], 3, 41).unwrap();
            assert!(times[0].p50() < 3.0 * times[1].p50(), "{form:?}: {} ms, else {}", times[0].p50(), times[1].p50());
        }
    }
}
