//! The CPU executor: the reference for the GPU's kernels, and what machines without a GPU run.

mod activation;
mod gemm;
mod linear;

use std::time::{Duration, Instant};

use crate::artifact::Artifact;
use crate::device::{DeviceClass, DeviceInfo};
use crate::error::{Error, Result};
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
    pub(crate) fn new(artifact: &Artifact, plan: &Plan) -> Result<Self> {
        let pack = |step: &Step| match &step.kind {
            StepKind::Linear(l) => Ok(Kernel::Linear(linear::Linear::new(artifact, step, l, plan.batch))),
            other => Err(Error::invalid(&step.name, format!("has a step '{}', which is not on the CPU yet", other.name()))),
        };
        let steps = plan.steps.iter().map(|step| Ok((step.clone(), pack(step)?))).collect::<Result<_>>()?;
        let buffers = plan.memory.buffers.iter().map(|&n| vec![0.0; n]).collect();
        Ok(Self { steps, buffers, input: plan.input, output: plan.output })
    }

    /// Runs `rows` samples, at most the plan's batch: `input` and `output` hold them one after the other, unpadded.
    pub(crate) fn run(&mut self, input: &[f32], rows: usize, output: &mut [f32]) {
        let (from, to) = (self.input, self.output);
        from.fill(&input[..rows * from.len()], &mut self.buffers[from.buffer]);
        for at in 0..self.steps.len() {
            self.step(at, rows);
        }
        to.take(&self.buffers[to.buffer], &mut output[..rows * to.len()]);
    }

    /// The first `rows` samples of what lies in `slot`, unpadded.
    pub(crate) fn value(&self, slot: Slot, rows: usize) -> Vec<f32> {
        let mut values = vec![0.0; rows * slot.len()];
        slot.take(&self.buffers[slot.buffer], &mut values);
        values
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
    pub(crate) fn step_times(&mut self, rows: usize) -> Vec<Duration> {
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
        let input = &self.buffers[step.input.buffer];
        match kernel {
            Kernel::Linear(linear) => linear.run(input, step, rows, &mut output),
        }
        self.buffers[step.output.buffer] = output;
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
