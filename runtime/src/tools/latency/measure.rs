//! Times a network's layers in every form that they may be given.
//!
//! Whole networks are run, each layer in one of its variants, as often as it takes for every variant to have had its turn,
//! and the device's own clock says what each layer took: so a weight comes from as far as it does in use, where one layer
//! run again and again would find it in the nearest cache. Layers alike share their variants out. The dense network runs in
//! turn with each of them: it says how fast the machine is just then. What a run takes beyond its layers gives a term for a
//! run and one for each step.

use std::collections::BTreeMap;

use super::runner::TableRunner;
use super::table::{CandidateTime, LatencyTable, LayerTimes, VERSION, dtype_name};
use super::variants::{Cut, Site, dtype, recut, site};
use crate::artifact::Artifact;
use crate::clock::Instant;
use crate::engine::{Choice, Device};
use crate::error::Result;
use crate::plan::{Form, Plan};
use crate::times::median;
use crate::tune::alone::single_layer;
use crate::tune::key::shape_of;
use crate::tune::runner::{Sample, in_turn, line};
use crate::tune::ways::kernels;

/// How many ranks of a scheme are tried, as long as there is time for more: each has those of the one before.
const COUNTS: [usize; 4] = [3, 5, 8, 16];
/// How often variants whose times contradict each other are measured again, and how much less time more work must take to be
/// a contradiction: a disturbed measurement would be what a search for the fastest falls for.
const REPEATS: usize = 3;
const DOUBT: f64 = 0.93;
/// A form of a layer and the kernels that run it.
#[derive(Clone, Debug)]
struct Variant {
    cut: Cut,
    choice: Choice,
    dispatches: u32,
    /// Whether it had its turn.
    seen: bool,
    /// Microseconds, as often as it had it.
    samples: Vec<f64>,
}

/// Layers that cost the same.
#[derive(Debug)]
struct Group {
    site: Site,
    layers: Vec<usize>,
    variants: Vec<Variant>,
}

/// One network that was run in turn with the dense one.
struct Pass {
    /// The group and the variant that each layer with a weight took.
    taken: Vec<Option<(usize, usize)>>,
    now: Sample,
    then: Sample,
}

/// Times every form that a layer of `artifact` may be given on `device`, `batch` samples a run; takes about `seconds`, less
/// where there is less to try. `progress` hears how many networks were run and how many are to be.
///
/// # Errors
/// As [`Session::new`] and [`Session::run`].
pub fn measure(
    device: &Device,
    artifact: &Artifact,
    batch: usize,
    seconds: f64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<LatencyTable> {
    let start = Instant::now();
    let layers = artifact.model().layers.len();
    let dense = recut(artifact, &|_| Cut::Dense)?;
    let reference = TableRunner::new(device, &dense, batch, vec![Choice::of(Form::Dense); layers])?;
    let mut bench = Bench { device, dense: &dense, batch, rounds: 0, reference, seen: Vec::new() };
    bench.rounds = bench.reference.rounds()?;
    let mut groups = groups(&dense);
    for count in COUNTS {
        for group in &mut groups {
            group.add_variants(device, &dense, batch, count)?;
        }
        let waiting: Vec<Vec<usize>> = groups.iter().map(Group::waiting).collect();
        let spent = start.elapsed().as_secs_f64();
        let one = spent / bench.seen.len().max(1) as f64;
        if !bench.seen.is_empty() && spent + one * turns(&groups, &waiting) as f64 > seconds {
            break;
        }
        bench.run(&mut groups, &waiting, progress)?;
    }
    for _ in 0..REPEATS {
        bench.settle(&mut groups);
        let doubtful: Vec<Vec<usize>> = groups.iter().map(Group::doubtful).collect();
        if doubtful.iter().all(Vec::is_empty) {
            break;
        }
        bench.run(&mut groups, &doubtful, progress)?;
    }
    let usual = bench.settle(&mut groups);
    let (dispatch_us, fixed_us) = line(&bench.residues(usual));
    let of_reference = bench.of_reference(usual);
    let mut of_layer: BTreeMap<usize, Vec<CandidateTime>> = BTreeMap::new();
    for group in &groups {
        let whole: Vec<f64> = group.layers.iter().flat_map(|&l| of_reference[l].clone()).collect();
        let candidates = candidates(group, median(whole));
        of_layer.extend(group.layers.iter().map(|&l| (l, candidates.clone())));
    }
    let other = |layer: usize| {
        let us = median(of_reference[layer].clone());
        vec![CandidateTime { scheme: "dense".into(), rank: None, input_rank: None, form: Form::Dense.name().into(), dispatches: 1, us }]
    };
    let times = |(i, layer): (usize, &crate::artifact::Layer)| LayerTimes {
        name: layer.name.clone(),
        shape: shape_of(&dense, i),
        candidates: of_layer.remove(&i).unwrap_or_else(|| other(i)),
    };
    let info = device.info();
    Ok(LatencyTable {
        latency_table: VERSION,
        tool: concat!("thinfer ", env!("CARGO_PKG_VERSION")).into(),
        format: crate::artifact::VERSION,
        adapter: info.name,
        backend: info.backend,
        driver: info.driver,
        class: info.class.name().into(),
        fingerprint: device.fingerprint(),
        model: artifact.model().name.clone(),
        batch,
        dtype: dtype_name(dtype(artifact)).into(),
        method: if bench.reference.is_alone() { "alone" } else { "in place" }.into(),
        fixed_us: rounded(fixed_us),
        dispatch_us: rounded(dispatch_us),
        noise: rounded(noise(&groups, &of_reference)),
        layers: artifact.model().layers.iter().enumerate().map(times).collect(),
    })
}

/// The machine, the dense network on it, and all that was run in turn with it.
struct Bench<'a> {
    device: &'a Device,
    dense: &'a Artifact,
    batch: usize,
    rounds: usize,
    reference: TableRunner,
    seen: Vec<Pass>,
}

impl Bench<'_> {
    /// Runs networks until every variant in `wanted`, some of each group, has had a turn.
    fn run(&mut self, groups: &mut [Group], wanted: &[Vec<usize>], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        let layers = self.dense.model().layers.len();
        let passes = turns(groups, wanted).max(usize::from(self.seen.is_empty()));
        for pass in 0..passes {
            let mut taken: Vec<Option<(usize, usize)>> = vec![None; layers];
            for (g, (group, wanted)) in groups.iter().zip(wanted).enumerate().filter(|(_, (_, wanted))| !wanted.is_empty()) {
                for (i, &layer) in group.layers.iter().enumerate() {
                    taken[layer] = Some((g, wanted[(pass * group.layers.len() + i) % wanted.len()]));
                }
            }
            let variant = |layer: usize| taken[layer].map(|(g, v)| &groups[g].variants[v]);
            let network = recut(self.dense, &|layer| variant(layer).map_or(Cut::Dense, |v| v.cut))?;
            let choices = (0..layers).map(|l| variant(l).map_or_else(|| Choice::of(Form::Dense), |v| v.choice.clone())).collect();
            let mut runner = TableRunner::new(self.device, &network, self.batch, choices)?;
            let [now, then] = in_turn([&mut runner, &mut self.reference], self.rounds)?;
            let (now, then) = (Sample::of(&now, runner.steps()), Sample::of(&then, self.reference.steps()));
            self.seen.push(Pass { taken, now, then });
            progress(pass + 1, passes);
        }
        for (group, wanted) in groups.iter_mut().zip(wanted) {
            wanted.iter().for_each(|&v| group.variants[v].seen = true);
        }
        Ok(())
    }

    /// Gives every variant its times: what its layers took, as if the machine had always been as fast as in the median, which
    /// the dense network says. Returns what that takes then, microseconds.
    fn settle(&self, groups: &mut [Group]) -> f64 {
        let usual = median(self.seen.iter().map(|pass| pass.then.total()).collect());
        groups.iter_mut().flat_map(|g| &mut g.variants).for_each(|v| v.samples.clear());
        for Pass { taken, now, then } in &self.seen {
            for (layer, (g, v)) in taken.iter().enumerate().filter_map(|(l, t)| Some((l, (*t)?))) {
                groups[g].variants[v].samples.push(now.layers[layer] * usual / then.total());
            }
        }
        usual
    }

    /// What the dense network's layers took in each pass, microseconds, as if the machine had always been as fast as `usual` says.
    fn of_reference(&self, usual: f64) -> Vec<Vec<f64>> {
        let mut layers: Vec<Vec<f64>> = vec![Vec::new(); self.dense.model().layers.len()];
        for Pass { then, .. } in &self.seen {
            let scale = usual / then.total();
            for (samples, us) in layers.iter_mut().zip(&then.layers) {
                samples.push(us * scale);
            }
        }
        layers
    }

    /// Steps of each run and what it took beyond its layers, microseconds, at the same speed.
    fn residues(&self, usual: f64) -> Vec<(f64, f64)> {
        let of = |pass: &Pass| {
            let scale = usual / pass.then.total();
            [&pass.now, &pass.then].map(|s| (s.rest().0, s.rest().1 * scale))
        };
        self.seen.iter().flat_map(of).collect()
    }
}

/// How far the times of a layer usually are from their middle, as a share of it: the median over the layers of `groups`.
fn noise(groups: &[Group], of_reference: &[Vec<f64>]) -> f64 {
    let spread = |layer: usize| {
        let middle = median(of_reference[layer].clone());
        median(of_reference[layer].iter().map(|us| (us - middle).abs() / middle.max(1e-9)).collect())
    };
    median(groups.iter().flat_map(|g| &g.layers).map(|&l| spread(l)).collect())
}

/// Networks that it takes for every variant in `wanted` to have its turn.
fn turns(groups: &[Group], wanted: &[Vec<usize>]) -> usize {
    groups.iter().zip(wanted).map(|(group, wanted)| wanted.len().div_ceil(group.layers.len())).max().unwrap_or(0)
}

/// Layers alike, without variants yet.
fn groups(dense: &Artifact) -> Vec<Group> {
    let mut groups: Vec<(String, Group)> = Vec::new();
    for layer in 0..dense.model().layers.len() {
        let Some(site) = site(dense, layer) else { continue };
        let shape = shape_of(dense, layer);
        match groups.iter_mut().find(|g| g.0 == shape) {
            Some((_, known)) => known.layers.push(layer),
            None => groups.push((shape, Group { site, layers: vec![layer], variants: Vec::new() })),
        }
    }
    groups.into_iter().map(|g| g.1).collect()
}

impl Group {
    /// Adds the forms of about `count` ranks of each scheme that are not there yet.
    fn add_variants(&mut self, device: &Device, dense: &Artifact, batch: usize, count: usize) -> Result<()> {
        let alone = single_layer(dense, self.layers[0])?;
        let known: Vec<Cut> = self.variants.iter().map(|v| v.cut).collect();
        for cut in self.site.cuts(count).into_iter().filter(|cut| !known.contains(cut)) {
            let network = recut(&alone, &|_| cut)?;
            let forms: &[Form] = if cut == Cut::Dense { &[Form::Dense] } else { &[Form::TwoStage, Form::Fused] };
            for &form in forms {
                let mut can = true;
                let plan = Plan::new(&network, batch, |f| {
                    can = device.supports(form, f);
                    form
                })?;
                if !can {
                    continue;
                }
                let dispatches = plan.steps.len() as u32;
                self.variants.extend(kernels(device, plan.batch, &plan.steps.iter().collect::<Vec<_>>()).into_iter().map(|kernels| {
                    Variant { cut, choice: Choice { form, kernels, measured_us: Vec::new() }, dispatches, seen: false, samples: Vec::new() }
                }));
            }
        }
        Ok(())
    }

    /// Variants that have not had their turn.
    fn waiting(&self) -> Vec<usize> {
        (0..self.variants.len()).filter(|&v| !self.variants[v].seen).collect()
    }

    /// Variants whose times contradict each other: more of the same took clearly less. The fastest kernels of each form count.
    fn doubtful(&self) -> Vec<usize> {
        let mut best: Vec<(usize, f64)> = Vec::new();
        for (at, v) in self.variants.iter().enumerate().filter(|(_, v)| v.seen) {
            let us = median(v.samples.clone());
            let alike = |&(b, _): &(usize, f64)| self.variants[b].cut == v.cut && self.variants[b].choice.form == v.choice.form;
            match best.iter().position(alike) {
                Some(known) if us < best[known].1 => best[known] = (at, us),
                Some(_) => {}
                None => best.push((at, us)),
            }
        }
        let contradicts = |&(a, us): &(usize, f64), &(b, other): &(usize, f64)| {
            let (a, b) = (&self.variants[a], &self.variants[b]);
            a.choice.form == b.choice.form && a.cut.is_more_than(b.cut) && us < DOUBT * other
        };
        let doubted = |one: &&(usize, f64)| best.iter().any(|other| contradicts(one, other) || contradicts(other, one));
        best.iter().filter(doubted).map(|&(at, _)| at).collect()
    }
}

/// Each form once, with the best of its kernels; dense first. `reference` is what the dense network says of it.
fn candidates(group: &Group, reference: f64) -> Vec<CandidateTime> {
    let mut all: Vec<CandidateTime> = Vec::new();
    for v in group.variants.iter().filter(|v| v.seen) {
        let mut us = median(v.samples.clone());
        if v.cut == Cut::Dense {
            us = us.min(reference);
        }
        let (scheme, rank, input_rank) = v.cut.parts(group.site.kernel.is_some());
        let form = v.choice.form.name();
        match all.iter_mut().find(|c| c.scheme == scheme && c.rank == rank && c.input_rank == input_rank && c.form == form) {
            Some(known) => known.us = known.us.min(rounded(us)),
            None => all.push(CandidateTime {
                scheme: scheme.into(),
                rank,
                input_rank,
                form: form.into(),
                dispatches: v.dispatches,
                us: rounded(us),
            }),
        }
    }
    all
}

/// To a ten-thousandth, as the table says it.
fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::tests::two_layers;

    #[test]
    fn every_form_of_every_layer_gets_a_time() {
        let mut heard = Vec::new();
        let table = measure(&Device::cpu(), &two_layers(), 3, 1.0, &mut |done, of| heard.push((done, of))).unwrap();
        assert_eq!((table.batch, table.layers.len(), table.method.as_str()), (3, 2, "in place"));
        assert!(heard.last().is_some_and(|(done, of)| done == of));
        for layer in &table.layers {
            let forms: Vec<_> = layer.candidates.iter().map(|c| (c.scheme.as_str(), c.rank, c.form.as_str())).collect();
            assert_eq!(forms[0], ("dense", None, "dense"));
            assert_eq!(forms.len(), 1 + 2 * (forms.len() / 2), "two-stage and fused of each rank: {forms:?}");
            assert!(layer.candidates.iter().all(|c| c.us > 0.0 && c.dispatches <= 2));
        }
        // 6 → 4 saves at ranks 1 and 2; 4 → 3 at rank 1.
        assert_eq!(table.layers.iter().map(|l| l.candidates.len()).collect::<Vec<_>>(), [5, 3]);
        table.check("measured").unwrap();
        assert!(measure(&Device::cpu(), &two_layers(), 0, 1.0, &mut |_, _| ()).is_err());
    }
}
