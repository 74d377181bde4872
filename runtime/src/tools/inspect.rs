//! What an artifact holds, for people and for scripts.

use serde::Serialize;

use super::table::{Table, bytes, count};
use crate::artifact::{Activation, Artifact, Fit, Input, InputKind, Op, Output, PoolKind, Preprocess, Weight, layer_macs};

/// An artifact in figures.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// The architecture's name.
    pub model: String,
    /// Shape of one sample as layers read it.
    pub input: Vec<usize>,
    /// Shape of its output as the last layer gives it.
    pub output: Vec<usize>,
    /// The arrays that it takes, as they were declared.
    pub inputs: Vec<Input>,
    /// The arrays that it gives.
    pub outputs: Vec<Output>,
    /// How images become inputs.
    pub preprocess: Preprocess,
    /// How images of other sizes are brought to those of inputs.
    pub fits: Vec<Fit>,
    /// Class names.
    pub classes: Vec<String>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Multiply–accumulates for one sample as stored.
    pub macs: u64,
    /// The same if every layer were dense.
    pub dense_macs: u64,
    /// Stored parameters.
    pub params: u64,
    /// The same if every layer were dense.
    pub dense_params: u64,
    /// The program that wrote the file.
    pub tool: String,
    /// The checkpoint that it was made from.
    pub source: String,
    /// How that was trained.
    pub method: String,
    /// How the ranks were chosen.
    pub policy: String,
    /// Layer by layer.
    pub layers: Vec<LayerDescription>,
}

/// A layer in figures.
#[derive(Clone, Debug, Serialize)]
pub struct LayerDescription {
    /// Its name.
    pub name: String,
    /// What it does: `linear`, `conv`, `max pool`…
    pub op: &'static str,
    /// Features or channels in and out.
    pub shape: [usize; 2],
    /// Height and width of its window, if it has one.
    pub kernel: Option<[u32; 2]>,
    /// Shape of its output.
    pub output: Vec<usize>,
    /// `dense`, `low-rank` (fully connected), `channel`, `spatial` or `tucker2`; `-` without a weight.
    pub scheme: &'static str,
    /// Components of its factors, or Tucker's output rank.
    pub rank: Option<usize>,
    /// Tucker's input rank.
    pub input_rank: Option<usize>,
    /// Its rank before the cut, if it was cut.
    pub full_rank: Option<u32>,
    /// Share of Σσ² kept, if it was cut.
    pub energy: Option<f32>,
    /// Multiply–accumulates for one sample as stored.
    pub macs: u64,
    /// The same if it were dense.
    pub dense_macs: u64,
    /// Stored parameters, bias included.
    pub params: u64,
    /// The same if it were dense.
    pub dense_params: u64,
    /// What follows the weight: `bias`, `residual`, an activation's name.
    pub epilogue: Vec<&'static str>,
}

impl Description {
    /// Describes `artifact`; every figure is counted from its tensors, none copied from what the file says of itself.
    pub fn of(artifact: &Artifact) -> Self {
        let model = artifact.model();
        let layers: Vec<LayerDescription> = (0..model.layers.len()).map(|i| layer(artifact, i)).collect();
        // A file may claim more than there are numbers for.
        let total = |of: &dyn Fn(&LayerDescription) -> u64| layers.iter().fold(0u64, |n, l| n.saturating_add(of(l)));
        Self {
            model: model.name.clone(),
            input: artifact.shapes()[0].clone(),
            output: artifact.shapes().last().cloned().unwrap_or_default(),
            inputs: model.inputs.clone(),
            outputs: model.outputs.clone(),
            preprocess: artifact.input().preprocess.clone(),
            fits: artifact.sections().fits.clone(),
            classes: model.classes.clone(),
            bytes: artifact.as_bytes().len() as u64,
            macs: total(&|l| l.macs),
            dense_macs: total(&|l| l.dense_macs),
            params: total(&|l| l.params),
            dense_params: total(&|l| l.dense_params),
            tool: model.provenance.tool.clone(),
            source: model.provenance.source.clone(),
            method: model.provenance.method.clone(),
            policy: model.provenance.policy.clone(),
            layers,
        }
    }
}

fn layer(artifact: &Artifact, index: usize) -> LayerDescription {
    let model = artifact.model();
    let layer = &model.layers[index];
    let shape = |value: usize| &artifact.shapes()[value];
    let none = Vec::new();
    let (input, output) = (layer.inputs.first().map_or(&none, |&v| shape(v as usize)), shape(artifact.value_of(index)));
    let channels = |shape: &[usize]| shape.first().copied().unwrap_or(1);
    let (op, kernel) = match &layer.op {
        Op::Linear { .. } => ("linear", None),
        Op::Conv { window, groups: 1, .. } => ("conv", Some(window.kernel)),
        Op::Conv { window, .. } => ("grouped conv", Some(window.kernel)),
        Op::Pool { kind: PoolKind::Max, window } => ("max pool", Some(window.kernel)),
        Op::Pool { window, .. } => ("average pool", Some(window.kernel)),
        Op::GlobalAveragePool => ("global average pool", None),
        Op::Add { .. } => ("add", None),
        Op::Activate(_) => ("activate", None),
        Op::Affine { .. } => ("scale and shift", None),
        Op::Concat { .. } => ("concatenate", None),
        Op::Softmax { log: false } => ("softmax", None),
        Op::Softmax { log: true } => ("log softmax", None),
        Op::Rearrange { .. } => ("rearrange", None),
        Op::Multiply { .. } => ("multiply", None),
        Op::LayerNorm { .. } => ("layer norm", None),
        Op::Attention { .. } => ("attention", None),
        Op::Embed { .. } => ("embed", None),
        Op::Constant { .. } => ("constant", None),
        Op::Primitive(p) => (p.name(), None),
        Op::Recurrent(r) => (r.cell.name(), None),
    };
    let (bias, residual, activation) = match &layer.op {
        Op::Linear { bias, activation, .. } => (*bias, false, *activation),
        Op::Conv { bias, residual, activation, .. } => (*bias, residual.is_some(), *activation),
        Op::Add { activation, .. }
        | Op::Affine { activation, .. }
        | Op::Concat { activation }
        | Op::Multiply { activation }
        | Op::Activate(activation) => (None, false, *activation),
        Op::Pool { .. } | Op::GlobalAveragePool | Op::Softmax { .. } | Op::Rearrange { .. } => (None, false, Activation::None),
        Op::LayerNorm { .. } | Op::Attention { .. } | Op::Embed { .. } => (None, false, Activation::None),
        Op::Constant { .. } | Op::Primitive(_) => (None, false, Activation::None),
        Op::Recurrent(r) => (r.bias, false, Activation::None),
    };
    let epilogue = [bias.map(|_| "bias"), residual.then_some("residual"), activation.name()].into_iter().flatten().collect();
    let weight = layer.op.weight();
    // Of a matrix as of a kernel: what it stores for one output, and how often it is multiplied for one sample.
    let (fan_in, outputs) = match &layer.op {
        Op::Conv { window, outputs, groups, .. } => {
            let taps = window.kernel[0] as usize * window.kernel[1] as usize;
            ((channels(input) / (*groups as usize).max(1)).saturating_mul(taps), *outputs as usize)
        }
        Op::Recurrent(_) => (channels(output), channels(input)),
        _ => (input.iter().product(), channels(output)),
    };
    let dense = weight.map_or(0, |_| (fan_in as u64).saturating_mul(outputs as u64));
    let singular = |w: &Weight| match *w {
        Weight::LowRank { sigma, .. } | Weight::Spatial { sigma, .. } => vec![sigma],
        Weight::Dense(_) | Weight::Tucker2 { .. } => Vec::new(),
    };
    let stored = weight.map_or(0, |w| {
        let skip = singular(w);
        w.tensors().into_iter().filter(|id| !skip.contains(id)).map(|id| model.tensors[id as usize].element_count()).sum::<u64>()
    });
    let biases = bias.map_or(0, |_| outputs as u64);
    let note = model.provenance.layers.iter().find(|n| n.layer == layer.name);
    let (macs, dense_macs) = layer_macs(model, artifact.shapes(), index);
    LayerDescription {
        name: layer.name.clone(),
        op,
        shape: [if matches!(layer.op, Op::Linear { .. }) { fan_in } else { channels(input) }, channels(output)],
        kernel,
        output: output.clone(),
        scheme: weight.map_or("-", |w| w.scheme(kernel.is_some())),
        rank: weight.and_then(|w| w.rank(artifact)),
        input_rank: weight.and_then(|w| w.input_rank(artifact)),
        full_rank: note.map(|n| n.full_rank),
        energy: note.map(|n| n.energy),
        macs,
        dense_macs,
        params: stored + biases,
        dense_params: dense.saturating_add(biases),
        epilogue,
    }
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = |what: &str| if what.is_empty() { "unknown".into() } else { what.to_string() };
        writeln!(f, "{}: {:?} → {:?}, {}", known(&self.model), self.input, self.output, bytes(self.bytes))?;
        // What the file does not say is left out.
        let said = [("from", &self.source), ("trained by", &self.method), ("ranks", &self.policy), ("written by", &self.tool)];
        let said: Vec<String> = said.iter().filter(|(_, what)| !what.is_empty()).map(|(by, what)| format!("{by} {what}")).collect();
        if !said.is_empty() {
            writeln!(f, "{}", said.join(", "))?;
        }
        for input in &self.inputs {
            writeln!(f, "takes {}{}", input.spec, if input.kind == InputKind::Image { ", an image" } else { "" })?;
        }
        for output in &self.outputs {
            writeln!(f, "gives {}, {}", output.spec, output.meaning.name())?;
        }
        writeln!(f, "input = {}", self.preprocess)?;
        for fit in &self.fits {
            let name = self.inputs.get(fit.input as usize).map_or("", |input| &input.spec.name);
            writeln!(f, "images of other sizes for '{name}': {fit}")?;
        }
        let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        writeln!(
            f,
            "{} MACs ({:.1} % of dense), {} parameters ({:.1} % of dense)\n",
            count(self.macs),
            share(self.macs, self.dense_macs),
            count(self.params),
            share(self.params, self.dense_params)
        )?;
        let mut table =
            Table::new(["layer", "op", "in", "out", "output", "weight", "rank", "of", "energy kept", "MACs", "parameters", "then"]);
        for l in &self.layers {
            let or_dash = |s: Option<String>| s.unwrap_or_else(|| "-".into());
            table.row([
                l.name.clone(),
                l.kernel.map_or_else(|| l.op.to_string(), |[h, w]| format!("{} {h}×{w}", l.op)),
                l.shape[0].to_string(),
                l.shape[1].to_string(),
                l.output.iter().map(usize::to_string).collect::<Vec<_>>().join("×"),
                l.scheme.into(),
                or_dash(l.rank.map(|r| l.input_rank.map_or_else(|| r.to_string(), |q| format!("{q}, {r}")))),
                or_dash(l.full_rank.map(|r| r.to_string())),
                or_dash(l.energy.map(|e| format!("{:.2} %", 100.0 * e))),
                count(l.macs),
                count(l.params),
                l.epilogue.join(" + "),
            ]);
        }
        write!(f, "{table}")?;
        let dear: Vec<&str> = self.layers.iter().filter(|l| l.macs > l.dense_macs).map(|l| l.name.as_str()).collect();
        if dear.is_empty() { Ok(()) } else { writeln!(f, "\nfactors that cost more MACs than the dense weight: {}", dear.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_counted_from_the_tensors() {
        let d = Description::of(&crate::artifact::tests::two_layers());
        assert_eq!((d.macs, d.dense_macs, d.params, d.dense_params), (24 + 14, 24 + 12, 24 + 4 + 14, 24 + 4 + 12));
        assert_eq!((d.layers[0].scheme, d.layers[1].scheme, d.layers[1].rank), ("dense", "low-rank", Some(2)));
        assert!(d.to_string().contains("low-rank"));
        // 14 of 12.
        assert!(d.to_string().ends_with(&format!("dense weight: {}\n", d.layers[1].name)));
    }
}
