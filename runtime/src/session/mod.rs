//! The public API: a device, an artifact, and a session that runs the one on the other.

mod arrangement;
mod array;
mod inputs;
mod outputs;
mod run;
mod states;

use std::collections::VecDeque;
use std::time::Duration;

pub use array::{Array, ArrayView};
pub use inputs::RunInputs;
pub use outputs::{NamedArray, Outputs};

use crate::artifact::{Artifact, Input, Output};
use crate::device::Pipeline;
use crate::engine::{Device, Engine, LayerChoice, Options};
use crate::error::{Error, Result};
use crate::plan::Memory;
use crate::times::{interleaved, median};
use crate::tune;
use arrangement::Arrangement;
use states::Kept;

/// A network on a device, ready to run: weights packed, buffers allocated, kernels chosen.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// Between declared arrays and values, for all inputs and for all outputs.
    arrangements: [Vec<Arrangement>; 2],
    states: Vec<Kept>,
    input_len: usize,
    output_len: usize,
    /// Samples and outputs of submitted runs, on the CPU.
    done: VecDeque<(usize, Vec<Vec<f32>>)>,
}

/// Shares of the ranks that [`Session::within`] chooses from.
const SHARES: usize = 20;
/// Runs that it times each by, after some that are not counted.
const BUDGET_RUNS: (usize, usize) = (2, 15);

impl Session {
    /// Prepares `artifact` on `device`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options that make no sense, [`Error::Limit`] for a network that the device cannot hold,
    /// [`Error::Gpu`] when the device fails.
    pub fn new(device: &Device, artifact: &Artifact, options: &Options) -> Result<Self> {
        if options.ranks != 1.0 {
            let artifact = artifact.with_ranks(options.ranks)?;
            return Self::new(device, &artifact, &Options { ranks: 1.0, ..options.clone() });
        }
        let engine = Engine::new(device, artifact, options, tune::choose(device, artifact, options)?)?;
        let before = artifact.inputs().iter().map(|i| Arrangement::new(&i.spec)).collect();
        let behind = artifact.outputs().iter().map(|o| Arrangement::new(&o.spec)).collect();
        Ok(Self {
            engine,
            inputs: artifact.inputs().to_vec(),
            outputs: artifact.outputs().to_vec(),
            arrangements: [before, behind],
            states: states::of(artifact.sections()),
            input_len: artifact.input_len(),
            output_len: artifact.output_len(),
            done: VecDeque::new(),
        })
    }

    /// A session with the largest share of `artifact`'s ranks, in steps of 5 %, whose run of a full batch takes at most
    /// `budget` in the median on this device, and that share. [`Options::ranks`] is the most that is tried.
    ///
    /// # Errors
    /// [`Error::Invalid`] when even the smallest share takes longer, which says how long; else as [`Session::new`] and
    /// [`Session::run`].
    pub fn within(device: &Device, artifact: &Artifact, options: &Options, budget: Duration) -> Result<(Self, f64)> {
        let open = |step: usize| -> Result<(Self, f64, f64)> {
            let ranks = options.ranks * step as f64 / SHARES as f64;
            let mut session = Self::new(device, artifact, &Options { ranks, ..options.clone() })?;
            let noise = session.engine.noise();
            let run = |_: usize, engine: &mut &mut Engine| engine.run_noise(&noise);
            let ms = median(interleaved(&mut [&mut session.engine], BUDGET_RUNS.0, BUDGET_RUNS.1, run)?.concat());
            Ok((session, ranks, ms))
        };
        let wanted = budget.as_secs_f64() * 1e3;
        let (whole, ranks, ms) = open(SHARES)?;
        if ms <= wanted {
            return Ok((whole, ranks));
        }
        let (least, ranks, ms) = open(1)?;
        if ms > wanted {
            let why = format!("is too little: {} takes {ms:.3} ms at {:.0} % of its ranks", artifact.model().name, 100.0 * ranks);
            return Err(Error::invalid(format!("a time budget of {wanted} ms"), why));
        }
        let (mut best, mut fits, mut not) = ((least, ranks), 1, SHARES);
        while not - fits > 1 {
            let middle = usize::midpoint(fits, not);
            let (session, ranks, ms) = open(middle)?;
            if ms <= wanted {
                (best, fits) = ((session, ranks), middle);
            } else {
                not = middle;
            }
        }
        Ok(best)
    }

    /// What it runs on.
    pub fn device(&self) -> &Device {
        self.engine.device()
    }

    /// The most samples that go through the device at once.
    pub fn batch(&self) -> usize {
        self.engine.batch()
    }

    /// Values of one sample of the first input.
    pub fn input_len(&self) -> usize {
        self.input_len
    }

    /// Values of one sample of the first output.
    pub fn output_len(&self) -> usize {
        self.output_len
    }

    /// The arrays that [`Session::run`] takes.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The arrays that it gives.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The first array that [`Session::run`] takes, which is the only one of most networks.
    pub fn input(&self) -> &Input {
        &self.inputs[0]
    }

    /// The first array that it gives, which is the only one of most networks.
    pub fn output(&self) -> &Output {
        &self.outputs[0]
    }

    /// Resets all states to zeros, as before the first run.
    pub fn reset(&mut self) {
        self.states.iter_mut().for_each(|state| state.array.clear());
    }

    /// The numbers of the arrays that a run must be given: all but the states that the session keeps.
    pub fn given_inputs(&self) -> impl Iterator<Item = usize> {
        (0..self.inputs.len()).filter(|&number| self.states.iter().all(|state| state.input != number))
    }

    /// Outputs that are not states.
    fn free_outputs(&self) -> impl Iterator<Item = usize> {
        (0..self.outputs.len()).filter(|&number| self.states.iter().all(|state| state.output != number))
    }

    /// How each layer runs.
    pub fn layers(&self) -> &[LayerChoice] {
        self.engine.layers()
    }

    /// The pipelines that its steps are run by, each once; none on the CPU.
    pub fn pipelines(&self) -> Vec<Pipeline> {
        self.engine.pipelines()
    }

    /// The activation buffers.
    pub fn memory(&self) -> &Memory {
        self.engine.memory()
    }

    /// Wall time of `repeats` runs of a full batch back to back, without upload and readback: for tuning.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device fails.
    pub fn time(&mut self, repeats: usize) -> Result<Duration> {
        self.engine.time(repeats)
    }

    /// Time of each layer in one run of a full batch; `None` where the device has no timestamps.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device fails.
    pub fn layer_times(&mut self) -> Result<Option<Vec<Duration>>> {
        Ok(self.engine.layer_times()?.map(|(layers, _)| layers))
    }

    /// The share of [`Session::layer_times`] that moves between layouts take.
    ///
    /// # Errors
    /// As [`Session::layer_times`].
    pub fn move_time(&mut self) -> Result<Option<Duration>> {
        Ok(self.engine.layer_times()?.map(|(_, moves)| moves))
    }

    /// The output of layer `layer` in the last run ([channels, height, width] each sample, one after the other, whatever order of axes was
    /// declared; of the last part, where the input was more than a batch). `None` without [`Options::keep_values`], or for a layer that
    /// there is not.
    pub fn value(&self, layer: usize) -> Option<Vec<f32>> {
        self.engine.value(layer.checked_add(self.inputs.len())?)
    }

    /// Whether the padding of every kept value is zero, as the last run left it.
    #[cfg(test)]
    pub(crate) fn padding_is_zero(&self) -> bool {
        self.engine.padding_is_zero()
    }

    /// Fills every activation buffer with NaN, so that whatever a run fails to write shows in its result: for tests.
    pub fn poison(&mut self) {
        self.engine.poison();
    }
}
