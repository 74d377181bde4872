//! What an artifact holds, for people and for scripts.

use serde::Serialize;

use crate::artifact::{Activation, Artifact, Op, Preprocess, Weight};
use crate::table::{Table, bytes, count};

/// An artifact in figures.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// The architecture's name.
    pub model: String,
    /// Shape of one sample.
    pub input: Vec<usize>,
    /// Shape of its output.
    pub output: Vec<usize>,
    /// How images become inputs.
    pub preprocess: Preprocess,
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
    /// What it does.
    pub op: &'static str,
    /// Inputs and outputs of its weight.
    pub shape: [usize; 2],
    /// `dense` or `low-rank`.
    pub scheme: &'static str,
    /// Components of its factors.
    pub rank: Option<usize>,
    /// Its rank before the cut, if it was cut.
    pub full_rank: Option<u32>,
    /// Share of Σσ² kept, if it was cut.
    pub energy: Option<f32>,
    /// Multiply–accumulates for one sample as stored.
    pub macs: u64,
    /// Stored parameters, bias included.
    pub params: u64,
    /// What follows the weight: `bias`, `relu`.
    pub epilogue: Vec<&'static str>,
}

impl Description {
    /// Describes `artifact`; every figure is counted from its tensors, none copied from what the file says of itself.
    pub fn of(artifact: &Artifact) -> Self {
        let model = artifact.model();
        let layers: Vec<LayerDescription> = (0..model.layers.len()).map(|i| layer(artifact, i)).collect();
        let dense = |l: &LayerDescription| (l.shape[0] * l.shape[1]) as u64;
        let biases: u64 = layers.iter().filter(|l| l.epilogue.contains(&"bias")).map(|l| l.shape[1] as u64).sum();
        Self {
            model: model.name.clone(),
            input: artifact.shapes()[0].clone(),
            output: artifact.shapes().last().cloned().unwrap_or_default(),
            preprocess: model.preprocess.clone(),
            classes: model.classes.clone(),
            bytes: artifact.as_bytes().len() as u64,
            macs: layers.iter().map(|l| l.macs).sum(),
            dense_macs: layers.iter().map(dense).sum(),
            params: layers.iter().map(|l| l.params).sum(),
            dense_params: layers.iter().map(dense).sum::<u64>() + biases,
            tool: model.provenance.tool.clone(),
            source: model.provenance.source.clone(),
            method: model.provenance.method.clone(),
            policy: model.provenance.policy.clone(),
            layers,
        }
    }
}

fn layer(artifact: &Artifact, index: usize) -> LayerDescription {
    let layer = &artifact.model().layers[index];
    let Op::Linear { weight, bias, activation } = &layer.op;
    let len = |value: usize| artifact.shapes()[value].iter().product::<usize>();
    let shape = [len(layer.inputs[0] as usize), len(index + 1)];
    let rank = weight.rank(artifact);
    let macs = rank.map_or((shape[0] * shape[1]) as u64, |r| (r * (shape[0] + shape[1])) as u64);
    let note = artifact.model().provenance.layers.iter().find(|n| n.layer == layer.name);
    let mut epilogue = Vec::new();
    epilogue.extend(bias.map(|_| "bias"));
    epilogue.extend((*activation == Activation::Relu).then_some("relu"));
    LayerDescription {
        name: layer.name.clone(),
        op: "linear",
        shape,
        scheme: if matches!(weight, Weight::Dense(_)) { "dense" } else { "low-rank" },
        rank,
        full_rank: note.map(|n| n.full_rank),
        energy: note.map(|n| n.energy),
        macs,
        params: macs + bias.map_or(0, |_| shape[1] as u64),
        epilogue,
    }
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = |what: &str| if what.is_empty() { "unknown".into() } else { what.to_string() };
        writeln!(f, "{}: {:?} → {:?}, {}", known(&self.model), self.input, self.output, bytes(self.bytes))?;
        writeln!(
            f,
            "from {}, trained by {}, ranks {}, written by {}",
            known(&self.source),
            known(&self.method),
            known(&self.policy),
            known(&self.tool)
        )?;
        writeln!(f, "input = {}", self.preprocess)?;
        let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        writeln!(
            f,
            "{} MACs ({:.1} % of dense), {} parameters ({:.1} % of dense)\n",
            count(self.macs),
            share(self.macs, self.dense_macs),
            count(self.params),
            share(self.params, self.dense_params)
        )?;
        let mut table = Table::new(["layer", "op", "in", "out", "weight", "rank", "of", "energy kept", "MACs", "parameters", "then"]);
        for l in &self.layers {
            let or_dash = |s: Option<String>| s.unwrap_or_else(|| "-".into());
            table.row([
                l.name.clone(),
                l.op.into(),
                l.shape[0].to_string(),
                l.shape[1].to_string(),
                l.scheme.into(),
                or_dash(l.rank.map(|r| r.to_string())),
                or_dash(l.full_rank.map(|r| r.to_string())),
                or_dash(l.energy.map(|e| format!("{:.2} %", 100.0 * e))),
                count(l.macs),
                count(l.params),
                l.epilogue.join(" + "),
            ]);
        }
        write!(f, "{table}")
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
    }
}
