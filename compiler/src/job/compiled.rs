//! What a compilation gives.

use serde_json::{Value, json};
use thinfer::artifact::Artifact;
use thinfer::tools::inspect::Description;
use thinfer::tools::latency::LatencyTable;

use super::clock::Measured;
use super::layers::{LayerReport, TimedLayer};
use super::progress::Note;
use crate::error::Result;
use crate::import::{Checkpoint, Rewrite};

/// A compiled network: the artifact, what was decided for each layer and why, and notes for the user.
#[derive(Debug)]
pub struct Compiled {
    /// What goes into the `.thin` file.
    pub artifact: Artifact,
    /// The cut network as a checkpoint with layers as factors, if it was asked for.
    pub factors: Option<Checkpoint>,
    /// What became of each layer with a weight, in their order.
    pub layers: Vec<LayerReport>,
    /// How the nodes of an ONNX file became layers; `None` for a network of the zoo.
    pub rewrites: Option<Vec<Rewrite>>,
    /// Where the clock decided, or helped to: what the network takes on the device.
    pub times: Option<Times>,
    /// Values that were denormal as f32 and are written as zero.
    pub denormals: usize,
    /// Notes on the result for the user. Those already passed to the progress callback are not repeated.
    pub notes: Vec<Note>,
}

/// What a network takes on a device.
#[derive(Debug)]
pub struct Times {
    /// The times of the device.
    pub table: LatencyTable,
    /// What a run of the batch is predicted to take, milliseconds.
    pub predicted_ms: f64,
    /// The same for the dense network.
    pub dense_ms: f64,
    /// The candidates of each layer with a weight.
    pub layers: Vec<TimedLayer>,
    /// What a run took, if it was measured ([`Compiled::measure`]).
    pub measured: Option<Measured>,
    pub(super) dense: Artifact,
}

impl Compiled {
    /// The artifact in figures.
    pub fn description(&self) -> Description {
        Description::of(&self.artifact)
    }

    /// Measures what the network takes on the device whose times decided, if they did and this machine has it.
    ///
    /// # Errors
    /// [`crate::Error::Runtime`] when the device fails.
    pub fn measure(&mut self) -> Result<()> {
        if let Some(times) = &mut self.times {
            times.measured = Measured::new(&times.table, &self.artifact, &times.dense)?;
        }
        Ok(())
    }

    /// Everything in figures, as `thinferc compile --json` writes it.
    pub fn figures(&self) -> Value {
        let mut figures = json!(self.description());
        if let Some(times) = &self.times {
            figures["predicted_ms"] = json!(times.predicted_ms);
            figures["predicted_dense_ms"] = json!(times.dense_ms);
            figures["adapter"] = json!(times.table.adapter);
            figures["batch"] = json!(times.table.batch);
            if let Some(measured) = &times.measured {
                figures["measured_ms"] = json!(measured.ms);
                figures["measured_dense_ms"] = json!(measured.dense_ms);
            }
        }
        figures
    }
}
