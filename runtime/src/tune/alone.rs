//! Times each layer as a network of its own: where a device has no clock for single layers, or runs of the network take too long.

use super::group::{Group, MOST_SECONDS, decide};
use super::ways::Way;
use crate::artifact::{Artifact, Layer, Model, Op, Recurrent, Residual, TensorData, Weight};
use crate::clock::Instant;
use crate::engine::{Choice, Device, Engine, Options};
use crate::error::{Error, Result};
use crate::times::median;

/// Sessions that each contestant is timed in: where buffers happen to lie is worth up to a third of a small layer's time.
const INSTANCES: usize = 2;
/// Rounds of interleaved timings of each; the medians' mean counts.
const ROUNDS: usize = 5;
/// What one timing should last at least, so that the clock and the submission do not count.
const ROUND_SECONDS: f64 = 1.5e-3;
/// No timing repeats a layer more often than this.
const MAX_REPEATS: usize = 2000;

/// A way to run a one-layer network against others.
pub(crate) struct Contestant {
    engine: Engine,
    /// Runs that one timing takes together.
    repeats: usize,
    /// Microseconds of a run, each turn.
    pub(crate) times: Vec<f64>,
}

impl Contestant {
    pub(crate) fn new(device: &Device, artifact: &Artifact, options: &Options, choice: Choice) -> Result<Self> {
        let mut engine = Engine::new(device, artifact, options, vec![choice])?;
        let repeats = repeats(&mut engine, ROUND_SECONDS, MAX_REPEATS)?;
        Ok(Self { engine, repeats, times: Vec::with_capacity(ROUNDS) })
    }

    /// Takes its turn.
    pub(crate) fn time(&mut self) -> Result<()> {
        self.times.push(self.engine.time(self.repeats)?.as_secs_f64() * 1e6 / self.repeats as f64);
        Ok(())
    }
}

/// Runs a network once and says how many runs take about `seconds`, at most `most`.
pub(crate) fn repeats(engine: &mut Engine, seconds: f64, most: usize) -> Result<usize> {
    // The first run compiles shaders and warms caches; what follows computes with what it brought.
    engine.run_noise(&engine.noise())?;
    let once = engine.time(2)?.as_secs_f64() / 2.0;
    Ok(((seconds / once.max(1e-9)) as usize).clamp(1, most))
}

/// Chooses for each of `groups`, until the session has been timing for too long: `start` is when it began. `None` for those that are left.
pub(crate) fn all(
    device: &Device,
    artifact: &Artifact,
    options: &Options,
    groups: &[Group],
    start: Instant,
) -> Result<Vec<Option<Choice>>> {
    let one = |group: &Group| match start.elapsed().as_secs_f64() > MOST_SECONDS {
        true => Ok(None),
        false => race(device, &single_layer(artifact, group.layers[0])?, options, &group.ways).map(Some),
    };
    groups.iter().map(one).collect()
}

/// Times ways to run a one-layer artifact against each other, in turn, so that a drift of the machine meets all alike. Nothing is timed
/// where there is nothing to choose. What the device, or the session's budget, has no room for does not take part.
pub(crate) fn race(device: &Device, artifact: &Artifact, options: &Options, ways: &[Way]) -> Result<Choice> {
    if let [only] = ways {
        return Ok(only.choice.clone());
    }
    // A budget is for one of them at a time.
    let together = if options.memory.is_some() { 1 } else { ways.len().max(1) };
    let options = Options { keep_factors: true, cache: None, keep_values: false, ..options.clone() };
    let mut entered: Vec<(Option<f64>, &Choice)> = ways.iter().map(|way| (Some(0.0), &way.choice)).collect();
    for _ in 0..INSTANCES {
        for part in entered.chunks_mut(together) {
            let mut contestants = Vec::with_capacity(part.len());
            for (time, choice) in part {
                match Contestant::new(device, artifact, &options, choice.clone()) {
                    Ok(contestant) => contestants.push((contestant, time)),
                    Err(Error::Limit { .. }) => *time = None,
                    Err(other) => return Err(other),
                }
            }
            for _ in 0..ROUNDS {
                for (contestant, _) in &mut contestants {
                    contestant.time()?;
                }
            }
            for (contestant, time) in contestants {
                *time = time.map(|sum| sum + median(contestant.times) / INSTANCES as f64);
            }
        }
    }
    Ok(decide(entered.into_iter().filter_map(|(time, choice)| Some((time?, choice))).collect()))
}

/// Layer `layer` of `artifact` as a network of its own.
pub(crate) fn single_layer(artifact: &Artifact, layer: usize) -> Result<Artifact> {
    let source = &artifact.model().layers[layer];
    let mut tensors = Vec::new();
    let mut copy = |id: u32| {
        let info = &artifact.model().tensors[id as usize];
        let shape = info.shape.iter().map(|&d| d as usize).collect();
        tensors.push(TensorData { name: info.name.clone(), dtype: info.dtype, shape, values: artifact.tensor(id).into_owned() });
        (tensors.len() - 1) as u32
    };
    let mut stored = |weight: &Weight| match *weight {
        Weight::Dense(id) => Weight::Dense(copy(id)),
        Weight::LowRank { v, u, sigma, tail_energy } => Weight::LowRank { v: copy(v), u: copy(u), sigma: copy(sigma), tail_energy },
        Weight::Spatial { v, u, sigma, tail_energy } => Weight::Spatial { v: copy(v), u: copy(u), sigma: copy(sigma), tail_energy },
        Weight::Tucker2 { a, core, b, tail_energy } => Weight::Tucker2 { a: copy(a), core: copy(core), b: copy(b), tail_energy },
    };
    let mut op = source.op.clone();
    if let Op::Linear { weight, .. } | Op::Conv { weight, .. } | Op::Recurrent(Recurrent { weight, .. }) = &mut op {
        *weight = stored(weight);
    }
    if let Op::Linear { bias, .. } | Op::Conv { bias, .. } | Op::Recurrent(Recurrent { bias, .. }) = &mut op {
        *bias = bias.map(&mut copy);
    }
    // Its states begin as zeros: times do not depend on values.
    if let Op::Recurrent(Recurrent { peepholes, initial, lengths, .. }) = &mut op {
        *peepholes = peepholes.map(copy);
        (*initial, *lengths) = (false, false);
    }
    // A network of one layer has one value to read: it is the residual too, where it has fewer channels and the size fits.
    let (before, after) = (&artifact.shapes()[source.inputs[0] as usize], &artifact.shapes()[artifact.value_of(layer)]);
    if let Op::Conv { residual: residual @ Some(_), window, .. } = &mut op {
        let fits = |stride: u32| before[0] <= after[0] && (1..3).all(|i| before[i].div_ceil(stride as usize) == after[i]);
        *residual = [1, window.stride[0]].into_iter().find(|&s| fits(s)).map(|stride| Residual { stride, offset: 0 });
    }
    let inputs = match op {
        Op::Add { .. } | Op::Conv { residual: Some(_), .. } => vec![0, 0],
        _ => vec![0],
    };
    let input: Vec<u32> = artifact.shapes()[source.inputs[0] as usize].iter().map(|&d| d as u32).collect();
    let layers = vec![Layer { name: source.name.clone(), inputs, op }];
    let model = Model::new(artifact.model().name.clone(), &input, layers);
    Artifact::build(model, tensors).map_err(|source| crate::error::Error::Format { path: "<memory>".into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;
    use crate::{Forms, Session};

    #[test]
    fn a_single_layer_computes_what_it_did_in_its_network() {
        let artifact = two_layers();
        let alone = single_layer(&artifact, 1).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0];
        let options = Options { forms: Forms::Ruled, ..Options::default() };
        let y = Session::new(&Device::cpu(), &alone, &options).unwrap().run(&x).unwrap();
        // V = 0…7 as [2, 4], Uᵀ = 0…5 as [2, 3].
        let h = [x.iter().enumerate().map(|(i, v)| i as f32 * v).sum::<f32>(), x.iter().enumerate().map(|(i, v)| (i + 4) as f32 * v).sum()];
        assert_eq!(y, [3.0 * h[1], h[0] + 4.0 * h[1], 2.0 * h[0] + 5.0 * h[1]]);
    }
}
