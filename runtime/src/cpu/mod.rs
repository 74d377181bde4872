//! The CPU executor: the reference for the GPU's kernels, and what machines without a GPU run.

mod gemm;
mod linear;

use std::time::{Duration, Instant};

use crate::artifact::Artifact;
use crate::device::{DeviceClass, DeviceInfo};
use crate::plan::{Plan, Slot, Step, StepKind};

/// A plan with its weights packed and its buffers allocated.
#[derive(Debug)]
pub(crate) struct Executor {
    steps: Vec<(Step, Kernel)>,
    buffers: Vec<Vec<f32>>,
    input: Slot,
    output: Slot,
}

#[derive(Debug)]
enum Kernel {
    Linear(linear::Linear),
}

impl Executor {
    /// Packs every weight that `plan` names.
    pub(crate) fn new(artifact: &Artifact, plan: &Plan) -> Self {
        let pack = |step: &Step| match &step.kind {
            StepKind::Linear(l) => Kernel::Linear(linear::Linear::new(artifact, l, plan.batch)),
        };
        let steps = plan.steps.iter().map(|step| (step.clone(), pack(step))).collect();
        let buffers = plan.memory.buffers.iter().map(|&n| vec![0.0; n]).collect();
        Self { steps, buffers, input: plan.input, output: plan.output }
    }

    /// Runs `rows` samples, at most the plan's batch: `input` and `output` hold them one after the other, unpadded.
    pub(crate) fn run(&mut self, input: &[f32], rows: usize, output: &mut [f32]) {
        let (from, to) = (self.input, self.output);
        for (row, line) in input.chunks_exact(from.len).take(rows).enumerate() {
            self.buffers[from.buffer][row * from.stride..][..from.len].copy_from_slice(line);
        }
        for at in 0..self.steps.len() {
            self.step(at, rows);
        }
        for (row, line) in output.chunks_exact_mut(to.len).take(rows).enumerate() {
            line.copy_from_slice(&self.buffers[to.buffer][row * to.stride..][..to.len]);
        }
    }

    /// What each step is computed with.
    pub(crate) fn kernels(&self) -> Vec<Vec<&'static str>> {
        vec![vec![gemm::features()]; self.steps.len()]
    }

    /// Fills every buffer with NaN, so that whatever a run does not write shows.
    pub(crate) fn poison(&mut self) {
        self.buffers.iter_mut().for_each(|b| b.fill(f32::NAN));
        for (_, Kernel::Linear(linear)) in &mut self.steps {
            linear.poison();
        }
    }

    /// Runs all steps `repeats` times on `rows` samples of whatever the buffers hold.
    pub(crate) fn time(&mut self, rows: usize, repeats: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..repeats {
            for at in 0..self.steps.len() {
                self.step(at, rows);
            }
        }
        start.elapsed()
    }

    /// Times each step once on `rows` samples of whatever the buffers hold.
    pub(crate) fn layer_times(&mut self, rows: usize) -> Vec<Duration> {
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
        let mut scratch = step.scratch.map(|s| std::mem::take(&mut self.buffers[s.buffer]));
        let input = &self.buffers[step.input.buffer];
        match kernel {
            Kernel::Linear(linear) => linear.run(input, step, rows, scratch.as_deref_mut(), &mut output),
        }
        self.buffers[step.output.buffer] = output;
        if let (Some(slot), Some(scratch)) = (step.scratch, scratch) {
            self.buffers[slot.buffer] = scratch;
        }
    }
}

/// This machine's CPU.
pub(crate) fn info() -> DeviceInfo {
    let threads = rayon::current_num_threads();
    let name = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_string())
    });
    let name = name.unwrap_or_else(|| std::env::consts::ARCH.to_string());
    DeviceInfo { name: format!("{name}, {threads} threads"), backend: "cpu".into(), driver: String::new(), class: DeviceClass::Cpu }
}
