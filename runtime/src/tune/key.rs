//! Keys for layers of equal cost: those of the tuning cache, and the shapes of a latency table.

use crate::artifact::{Artifact, Dtype, Layer, Op, Window};
use crate::engine::Options;

/// Operation and sizes of layer `layer`, without the form that its weight is stored in, as one line.
pub(crate) fn shape_of(artifact: &Artifact, layer: usize) -> String {
    let Layer { inputs, op, .. } = &artifact.model().layers[layer];
    let shape = |value: usize| artifact.shapes()[value].iter().map(|n| n.to_string()).collect::<Vec<_>>().join("x");
    let kind = match op {
        Op::Conv { .. } => "conv",
        Op::Linear { .. } => "linear",
        Op::Recurrent(r) => r.cell.name(),
        _ => "other",
    };
    let (window, residual) = match op {
        Op::Conv { window: Window { kernel, stride, padding, dilation }, groups, residual, .. } => (
            format!(" kernel {kernel:?} stride {stride:?} padding {padding:?} dilation {dilation:?} groups {groups}"),
            if residual.is_some() { " residual" } else { "" },
        ),
        _ => (String::new(), ""),
    };
    format!("{kind} {} to {}{window}{residual}", shape(inputs[0] as usize), shape(artifact.value_of(layer)))
}

/// The key of layer `layer` in the tuning cache, as one line: all that its cost depends on. The memory budget is a part,
/// since it decides which forms could be timed.
pub(crate) fn cache_key(artifact: &Artifact, layer: usize, options: &Options) -> String {
    let op = &artifact.model().layers[layer].op;
    let weight = op.weight();
    let scheme = weight.map_or("", |w| w.scheme(matches!(op, Op::Conv { .. })));
    let ranks = [weight.and_then(|w| w.input_rank(artifact)), weight.and_then(|w| w.rank(artifact))];
    let ranks: String = ranks.into_iter().flatten().map(|r| format!(" {r}")).collect();
    let activation = match op {
        Op::Conv { activation, .. } | Op::Linear { activation, .. } => format!(" {activation:?}"),
        _ => String::new(),
    };
    let half = weight.is_some_and(|w| artifact.model().tensors[w.tensors()[0] as usize].dtype == Dtype::F16);
    format!(
        "{} {scheme}{ranks}{activation} batch {}{}{}{}",
        shape_of(artifact, layer),
        options.batch,
        if options.keep_factors { " factors" } else { "" },
        if half { " f16" } else { "" },
        options.memory.map(|bytes| format!(" in {bytes} bytes")).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;
    use crate::artifact::{Activation, Model, TensorData};

    #[test]
    fn layers_that_may_cost_another_time_have_another_key() {
        let artifact = two_layers();
        let plain = Options { batch: 4, ..Options::default() };
        let mut model = artifact.model().clone();
        let Op::Linear { activation, .. } = &mut model.layers[1].op else { panic!() };
        *activation = Activation::Gelu;
        let tensor = |(id, info): (usize, &crate::artifact::TensorInfo)| {
            let shape: Vec<usize> = info.shape.iter().map(|&n| n as usize).collect();
            TensorData::f32(&info.name, &shape, artifact.tensor(id as u32).into_owned())
        };
        let tensors = artifact.model().tensors.iter().enumerate().map(tensor).collect();
        let other = Artifact::build(Model { tensors: Vec::new(), ..model }, tensors).unwrap();
        let keys = [
            cache_key(&artifact, 1, &plain),
            cache_key(&other, 1, &plain),
            cache_key(&artifact, 1, &Options { batch: 5, ..plain.clone() }),
            cache_key(&artifact, 1, &Options { memory: Some(4096), ..plain.clone() }),
            cache_key(&artifact, 1, &Options { memory: Some(8192), ..plain.clone() }),
            cache_key(&artifact, 1, &Options { keep_factors: true, ..plain }),
        ];
        assert!(keys.iter().enumerate().all(|(i, key)| !keys[..i].contains(key) && !key.contains(['\t', '\n'])), "{keys:?}");
    }
}
