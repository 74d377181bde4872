//! Without a clock: what is known of a class of devices.

#[cfg(feature = "wgpu")]
use super::software;
use super::ways::Allowed;
use crate::artifact::Artifact;
use crate::device::DeviceClass;
use crate::engine::{Choice, Device, Options};
use crate::error::Result;
use crate::plan::{Factored, Form};

/// A form for every layer of `artifact`; where kernels are compiled at the first run and that takes as long as many runs,
/// kernels as well, few different ones.
pub(super) fn choose(
    device: &Device,
    artifact: &Artifact,
    options: &Options,
    factored: &[Option<Factored>],
    allowed: Allowed<'_>,
) -> Result<Vec<Choice>> {
    #[cfg(feature = "wgpu")]
    if let Some(gpu) = device.gpu().filter(|gpu| gpu.compiles_slowly()) {
        return software::choose(gpu, artifact, options, factored, allowed);
    }
    let class = device.info().class;
    let form = |f: &Option<Factored>| match f {
        None => Form::Dense,
        Some(f) => Some(form(class, f, options.batch)).filter(|&form| allowed(f, form)).unwrap_or(Form::TwoStage),
    };
    // Forms follow from what is known of each layer; only kernels need the artifact.
    let _ = artifact;
    Ok(factored.iter().map(|f| Choice::of(form(f))).collect())
}

/// Dense where factors save nothing; else fused where a batch gives it enough rows to share out.
///
/// On the CPU a fused step shares out blocks of rows, so it needs some for every thread. On a GPU the fused kernel has
/// one workgroup a few rows, which leaves a wide GPU idle at small batches; a software adapter has only a few cores.
fn form(class: DeviceClass, layer: &Factored, batch: usize) -> Form {
    let enough_rows = match class {
        DeviceClass::Cpu => 24,
        DeviceClass::Software => 16,
        DeviceClass::Integrated => 256,
        DeviceClass::Discrete | DeviceClass::Other => 1024,
    };
    if layer.thin_macs as f64 > 0.9 * layer.dense_macs as f64 {
        Form::Dense
    } else if batch.saturating_mul(layer.pixels) >= enough_rows {
        Form::Fused
    } else {
        Form::TwoStage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_where_there_are_rows_for_it() {
        let layer =
            |pixels, thin_macs| Factored { layer: 0, inputs: 64, outputs: 64, rank: 8, pixels, dense_macs: 100, thin_macs, fused: None };
        assert_eq!(form(DeviceClass::Cpu, &layer(64, 95), 1), Form::Dense);
        assert_eq!(form(DeviceClass::Cpu, &layer(64, 20), 1), Form::Fused);
        assert_eq!(form(DeviceClass::Cpu, &layer(1, 20), 1), Form::TwoStage);
        assert_eq!(form(DeviceClass::Discrete, &layer(64, 20), 1), Form::TwoStage);
        assert_eq!(form(DeviceClass::Discrete, &layer(64, 20), 16), Form::Fused);
    }
}
