//! The table of times, as a file keeps it.
//!
//! A run is predicted as `fixed_us` + Σ over the layers of `us` + `dispatches` · `dispatch_us`.

use serde::{Deserialize, Serialize};

use super::variants::dtype;
use crate::artifact::{Artifact, Dtype};
use crate::device::DeviceClass;
use crate::engine::Device;
use crate::error::{Error, Result};
use crate::hash::fnv1a;
use crate::plan::Form;
use crate::tools::table::Table;
use crate::tune::key::shape_of;

/// The newest version of a table that this build reads and the one that it writes.
pub const VERSION: u32 = 1;
/// Layers, and candidates of one layer, at most.
const MOST: usize = 1 << 16;
/// No layer takes longer, microseconds.
const LONGEST_US: f64 = 1e12;

/// What a network's layers cost on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyTable {
    /// The table's version.
    pub latency_table: u32,
    /// The program that measured, with its version.
    pub tool: String,
    /// The version of the `.thin` format that it read.
    pub format: u16,
    /// The device's name.
    pub adapter: String,
    /// `vulkan`, `metal`, `dx12`, `webgpu` or `cpu`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// What sort of hardware it is, as [`DeviceClass::name`] has it.
    pub class: String,
    /// Name, driver and kernels as one line: what makes these times hold on another machine.
    pub fingerprint: String,
    /// The network's name.
    pub model: String,
    /// Samples a run.
    pub batch: usize,
    /// How weights were stored: `f32` or `f16`.
    pub dtype: String,
    /// `in place` (each layer by the device's clock while whole networks ran) or `alone` (each as a network of its own).
    pub method: String,
    /// Microseconds of a run beside its steps: upload, submission, readback.
    pub fixed_us: f64,
    /// Microseconds to add for each step. Negative where the device's clock counts more around a step than it takes.
    pub dispatch_us: f64,
    /// How far repeated measurements of a layer lay apart, as a share: the median of their absolute deviations.
    pub noise: f64,
    /// The layers in the network's order.
    pub layers: Vec<LayerTimes>,
}

/// What one layer costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerTimes {
    /// Its name.
    pub name: String,
    /// Its sizes, as one line.
    pub shape: String,
    /// Every form that was timed, dense first; one for a layer without a weight.
    pub candidates: Vec<CandidateTime>,
}

/// What one layer costs in one form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateTime {
    /// `dense`, `low-rank` (fully connected), `channel`, `spatial`, `tucker2`.
    pub scheme: String,
    /// Components, or Tucker's output rank; absent when dense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Tucker's input rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_rank: Option<usize>,
    /// How it was run, as [`Form::name`] has it.
    pub form: String,
    /// Steps that it takes.
    pub dispatches: u32,
    /// Microseconds a run of the batch, [`LatencyTable::dispatch_us`] left out.
    pub us: f64,
}

impl LatencyTable {
    /// Checks that the figures can be what they say; `at` names the table in messages.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first that cannot.
    pub fn check(&self, at: &str) -> Result<()> {
        let fail = |why: String| Err(Error::invalid(at, why));
        if self.latency_table != VERSION {
            return fail(newer(self.latency_table));
        }
        if self.batch == 0 || self.layers.is_empty() || self.layers.len() > MOST {
            return fail(format!("has batch {} and {} layers", self.batch, self.layers.len()));
        }
        if !["f32", "f16"].contains(&self.dtype.as_str()) {
            return fail(format!("has weights of type '{}'", self.dtype));
        }
        let time = |us: f64| us.is_finite() && (0.0..=LONGEST_US).contains(&us);
        if !time(self.fixed_us) || !time(self.dispatch_us.abs()) || !(0.0..=10.0).contains(&self.noise) {
            return fail(format!("has fixed_us {}, dispatch_us {}, noise {}", self.fixed_us, self.dispatch_us, self.noise));
        }
        for layer in &self.layers {
            let name = &layer.name;
            if layer.candidates.is_empty() || layer.candidates.len() > MOST {
                return fail(format!("layer '{name}' has {} candidates", layer.candidates.len()));
            }
            for c in &layer.candidates {
                let ranks = [c.rank, c.input_rank];
                let fits = match c.scheme.as_str() {
                    "dense" => ranks == [None, None],
                    "low-rank" | "channel" | "spatial" => matches!(ranks, [Some(1..), None]),
                    "tucker2" => matches!(ranks, [Some(1..), Some(1..)]),
                    other => return fail(format!("layer '{name}' has a candidate of the unknown scheme '{other}'")),
                };
                if !fits || Form::named(&c.form).is_none() || !time(c.us) || !(1..=64).contains(&c.dispatches) {
                    return fail(format!(
                        "layer '{name}' has an impossible candidate: {} ranks {ranks:?}, {}, {} µs in {} steps",
                        c.scheme, c.form, c.us, c.dispatches
                    ));
                }
            }
            if layer.candidates[0].scheme != "dense" {
                return fail(format!("layer '{name}' has no dense candidate in the first place"));
            }
        }
        Ok(())
    }

    /// Checks that the table is of this network, as `artifact` has it in whatever form, stored as `dtype`.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the first difference.
    pub fn fits(&self, at: &str, artifact: &Artifact, dtype: Dtype) -> Result<()> {
        let fail = |why: String| Err(Error::invalid(at, why));
        let layers = &artifact.model().layers;
        if self.layers.len() != layers.len() {
            let (has, wants) = (self.layers.len(), layers.len());
            return fail(format!("is of another network: '{}' with {has} layers, this one has {wants}", self.model));
        }
        for (i, (times, layer)) in self.layers.iter().zip(layers).enumerate() {
            let shape = shape_of(artifact, i);
            if times.name != layer.name || times.shape != shape {
                return fail(format!(
                    "is of another network: its layer {i} is '{}' ({}), this one's is '{}' ({shape})",
                    times.name, times.shape, layer.name
                ));
            }
        }
        if self.dtype != dtype_name(dtype) {
            return fail(format!("was measured with {} weights, wanted are {}", self.dtype, dtype_name(dtype)));
        }
        Ok(())
    }

    /// Whether these times were measured on such a device with such kernels.
    pub fn is_of(&self, device: &Device) -> bool {
        self.fingerprint == device.fingerprint()
    }

    /// Whether the device is the CPU.
    pub fn is_of_cpu(&self) -> bool {
        self.class == DeviceClass::Cpu.name()
    }

    /// What a candidate adds to a run, microseconds.
    pub fn cost_us(&self, candidate: &CandidateTime) -> f64 {
        (candidate.us + f64::from(candidate.dispatches) * self.dispatch_us).max(0.0)
    }

    /// The fastest candidate of layer `layer` with this scheme and these ranks; `None` where there is none.
    pub fn fastest(&self, layer: usize, scheme: &str, rank: Option<usize>, input_rank: Option<usize>) -> Option<&CandidateTime> {
        let alike = self.layers.get(layer)?.candidates.iter();
        let alike = alike.filter(|c| c.scheme == scheme && c.rank == rank && c.input_rank == input_rank);
        alike.min_by(|a, b| self.cost_us(a).total_cmp(&self.cost_us(b)))
    }

    /// What the dense network is predicted to take, microseconds.
    pub fn dense_us(&self) -> f64 {
        let layers = (0..self.layers.len()).filter_map(|i| self.fastest(i, "dense", None, None));
        self.fixed_us + layers.map(|c| self.cost_us(c)).sum::<f64>()
    }
}

impl std::fmt::Display for LatencyTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = Table::new(["layer", "dense µs", "candidates", "factors are faster up to", "µs"]);
        for (i, layer) in self.layers.iter().enumerate() {
            let dense = self.fastest(i, "dense", None, None).map(|c| self.cost_us(c));
            let us = |us: Option<f64>| us.map_or_else(|| "-".into(), |us| format!("{us:.1}"));
            // The largest that still saves time is what a choice of ranks is about.
            let faster = layer.candidates.iter().filter(|c| c.scheme != "dense" && dense.is_none_or(|dense| self.cost_us(c) < dense));
            let most = faster.max_by(|a, b| self.cost_us(a).total_cmp(&self.cost_us(b)));
            let named = |c: &CandidateTime| {
                let ranks: String = [c.input_rank, c.rank].into_iter().flatten().map(|r| format!(" {r}")).collect();
                format!("{}{ranks} {}", c.scheme, c.form)
            };
            let count = layer.candidates.len().to_string();
            shown.row([layer.name.clone(), us(dense), count, most.map_or_else(|| "-".into(), named), us(most.map(|c| self.cost_us(c)))]);
        }
        write!(f, "{}, batch {}\n\n{shown}\n", self.adapter, self.batch)?;
        write!(f, "all dense: {:.3} ms, of which {:.1} µs are no layer's own; ", self.dense_us() / 1e3, self.fixed_us)?;
        match self.dispatch_us {
            less if less < 0.0 => write!(f, "a step takes {:.1} µs less than its own clock says; ", -less)?,
            more => write!(f, "a step takes {more:.1} µs beside its own; ")?,
        }
        write!(f, "repeated measurements differ by {:.1} %", 100.0 * self.noise)
    }
}

/// The name of the file in [`crate::Options::cache`] that keeps the table of this network on this device.
pub fn cache_name(device: &Device, artifact: &Artifact, batch: usize) -> String {
    let shapes = (0..artifact.model().layers.len()).map(|i| format!("{} {}\n", artifact.model().layers[i].name, shape_of(artifact, i)));
    let key = format!("{VERSION}\n{}\n{batch}\n{}\n{}", device.fingerprint(), dtype_name(dtype(artifact)), shapes.collect::<String>());
    format!("latency-{:016x}.json", fnv1a(key.as_bytes()))
}

/// What to say of a table's version that this build does not read.
pub fn newer(found: u32) -> String {
    format!("latency table version {found} is not known here (this build reads {VERSION}): update thinfer, or measure again")
}

/// As tables call it.
pub(super) fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "f32",
        Dtype::F16 => "f16",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;
    use crate::tools::latency::measure;

    pub(super) fn table() -> LatencyTable {
        measure(&Device::cpu(), &two_layers(), 2, 1.0, &mut |_, _| ()).unwrap()
    }

    #[test]
    fn a_table_fits_its_own_network_only() {
        let (table, artifact) = (table(), two_layers());
        table.check("t.json").unwrap();
        table.fits("t.json", &artifact, Dtype::F32).unwrap();
        assert!(table.is_of(&Device::cpu()) && table.is_of_cpu());
        let error = table.fits("t.json", &artifact, Dtype::F16).unwrap_err().to_string();
        assert!(error.contains("t.json") && error.contains("f16"), "{error}");
        let other = crate::tools::bench::layer_artifact("linear:6,4".parse().unwrap(), None).unwrap();
        assert!(table.fits("t.json", &other, Dtype::F32).unwrap_err().to_string().contains("another network"));
        let mut moved = table.clone();
        moved.layers[1].shape = "linear 5 to 3".into();
        assert!(moved.fits("t.json", &artifact, Dtype::F32).unwrap_err().to_string().contains("'b'"));
    }

    #[test]
    fn impossible_figures_are_refused_by_name() {
        type Lie = (&'static str, fn(&mut LatencyTable));
        let lies: [Lie; 9] = [
            ("version 2", |t| t.latency_table = 2),
            ("batch 0", |t| t.batch = 0),
            ("0 layers", |t| t.layers.clear()),
            ("fixed_us", |t| t.fixed_us = f64::NAN),
            ("'b' has 0 candidates", |t| t.layers[1].candidates.clear()),
            ("unknown scheme 'magic'", |t| t.layers[0].candidates[0].scheme = "magic".into()),
            ("impossible", |t| t.layers[0].candidates[0].us = -1.0),
            ("impossible", |t| t.layers[0].candidates[0].rank = Some(3)),
            ("weights of type 'f8'", |t| t.dtype = "f8".into()),
        ];
        for (expected, lie) in lies {
            let mut table = table();
            lie(&mut table);
            let error = table.check("t.json").unwrap_err().to_string();
            assert!(error.starts_with("t.json") && error.contains(expected), "{expected:?} not in {error:?}");
        }
    }
}
