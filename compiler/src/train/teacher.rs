//! Knowledge distillation: trained networks give soft targets beside the labels. Teachers are compiled files, which the
//! runtime's CPU executor runs while the step before goes on.

use thinfer::artifact::{Channels, InputKind, Meaning, Preprocess};
use thinfer::{Artifact, Device, Forms, Options, Session};

use super::config::Distil;
use crate::error::{Error, Result};

/// One network, and how an input of the run becomes one of its own.
struct Teacher {
    session: Session,
    /// For each of its channels the run's channel of the same colour, and a and b of y = a·x + b, where the two see pixels
    /// differently.
    channel_map: Vec<(usize, f32, f32)>,
    /// Whether it gives probabilities, whose logarithms serve as logits.
    gives_probabilities: bool,
}

/// All of a run.
pub(super) struct Teachers {
    teachers: Vec<Teacher>,
    temperature: f32,
    classes: usize,
}

impl Teachers {
    /// Opens `files` for batches of `batch` inputs of `shape`, prepared as `preprocess` says.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a teacher of other images or classes, or one that the runtime does not open.
    pub(super) fn open(
        files: &[Artifact],
        distil: &Distil,
        preprocess: &Preprocess,
        shape: &[usize],
        classes: usize,
        batch: usize,
    ) -> Result<Self> {
        let open = |(at, file): (usize, &Artifact)| {
            let name = distil.teachers.get(at).map_or("teacher", String::as_str);
            // A form that the clock chose might be another one at a resumption.
            let options = Options { batch: crate::eval::batch(file, batch), cache: None, forms: Forms::Ruled, ..Options::default() };
            let session = Session::new(&Device::cpu(), file, &options)?;
            let input = file.input();
            let fits = match *shape {
                [c, h, w] => input.takes_image([c, h, w]),
                _ => file.input_len() == shape.iter().product::<usize>() && (input.kind == InputKind::Image || input.spec.is_line()),
            };
            if !fits || session.output_len() != classes {
                let given = session.output_len();
                let why = format!("takes {} and gives {given} classes, the run has {shape:?} and {classes}", input.spec);
                return Err(Error::invalid(name, why));
            }
            // Whoever takes images knows the channels that a vector has one after the other.
            let channels = if let [c, _, _] = *shape { c } else { input.channels() };
            let channel_map = (0..channels).map(|c| between(preprocess, &input.preprocess, c)).collect();
            let gives_probabilities = file.output().meaning == Meaning::Probabilities;
            Ok(Teacher { session, channel_map, gives_probabilities })
        };
        let teachers = files.iter().enumerate().map(open).collect::<Result<_>>()?;
        Ok(Self { teachers, temperature: distil.temperature as f32, classes })
    }

    /// Soft targets for `inputs` of the run, [samples, classes]: the mean of softmax(logits/T) over the teachers.
    ///
    /// # Errors
    /// What the runtime says.
    pub(super) fn soft_targets(&mut self, inputs: &[f32]) -> Result<Vec<f32>> {
        let mut mean = Vec::new();
        let share = 1.0 / self.teachers.len() as f32;
        for teacher in &mut self.teachers {
            let plane = teacher.session.input_len() / teacher.channel_map.len();
            let own: Vec<f32> = inputs
                .chunks(teacher.session.input_len())
                .flat_map(|image| {
                    teacher.channel_map.iter().flat_map(move |&(c, a, b)| image[c * plane..][..plane].iter().map(move |x| a * x + b))
                })
                .collect();
            // Arrays that hold one sample are run one by one.
            let own = teacher.session.input().from_planes(&own).into_owned();
            let one = if teacher.session.input().spec.sample_axis.is_some() { own.len() } else { teacher.session.input_len() };
            let mut logits = Vec::new();
            for part in own.chunks(one.max(1)) {
                let outputs = teacher.session.run(part)?;
                logits.extend_from_slice(&teacher.session.output().spec.by_sample(&outputs));
            }
            if teacher.gives_probabilities {
                logits.iter_mut().for_each(|p| *p = p.max(f32::MIN_POSITIVE).ln());
            }
            mean.resize(logits.len(), 0.0);
            for (mean, row) in mean.chunks_mut(self.classes).zip(logits.chunks(self.classes)) {
                let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let powers: Vec<f32> = row.iter().map(|x| ((x - most) / self.temperature).exp()).collect();
                let by = share / powers.iter().sum::<f32>();
                mean.iter_mut().zip(powers).for_each(|(m, p)| *m += by * p);
            }
        }
        Ok(mean)
    }
}

/// The channel of `from` with the colour of channel `c` of `to`, and a and b of y = a·x + b, x being a pixel as `from` prepares it
/// and y the same as `to` does.
fn between(from: &Preprocess, to: &Preprocess, c: usize) -> (usize, f32, f32) {
    let of = |values: &[f32], c: usize, none| values.get(c).or(values.first()).copied().unwrap_or(none);
    let at = if (from.channels == Channels::Bgr) == (to.channels == Channels::Bgr) { c } else { 2 - c.min(2) };
    let (scale, step) = (to.scale / from.scale, of(&to.std, c, 1.0));
    (at, of(&from.std, at, 1.0) * scale / step, (of(&from.mean, at, 0.0) * scale - of(&to.mean, c, 0.0)) / step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Part, glyphs};
    use crate::graph::{Builder, Graph, Linear, Op as Node};
    use crate::import::Checkpoint;
    use crate::lower::{self, Factored};
    use crate::rank::Policy;
    use crate::{graph, train, zoo};

    fn compiled(model: &str, preprocess: Preprocess, seed: u64) -> (Artifact, Checkpoint) {
        written(&zoo::build(model).unwrap(), preprocess, seed)
    }

    fn written(graph: &Graph, preprocess: Preprocess, seed: u64) -> (Artifact, Checkpoint) {
        let checkpoint = Checkpoint { params: graph::init(graph, seed), ..Checkpoint::default() };
        let options = lower::Options { preprocess, ..lower::Options::default() };
        let factored = Factored::new(graph, &checkpoint, options, &|_, _, _| ()).unwrap();
        let cuts = factored.cuts(Policy::Dense).unwrap();
        (factored.emit(Policy::Dense, &cuts, thinfer::artifact::Dtype::F32, true).unwrap(), checkpoint)
    }

    #[test]
    fn a_teacher_that_gives_probabilities_teaches_what_its_logits_do() {
        let data = glyphs::generate(Part::Test, 4, 3);
        let distil = Distil { teachers: vec!["a".into()], weight: 0.5, temperature: 4.0 };
        let answers = |ending: Option<bool>| {
            let mut b = Builder::new("net", [784]);
            b.push("fc", Node::Linear(Linear { inputs: 784, outputs: 10, bias: true }));
            if let Some(log) = ending {
                b.push("softmax", Node::Softmax { log });
            }
            let (file, _) = written(&b.finish().unwrap(), Preprocess::default(), 1);
            let mut teachers = Teachers::open(&[file], &distil, &Preprocess::default(), &[784], 10, 4).unwrap();
            teachers.soft_targets(&data.images.iter().map(|&x| f32::from(x) / 25.5).collect::<Vec<_>>()).unwrap()
        };
        let logits = answers(None);
        assert!(logits.iter().any(|p| *p > 0.15), "they must tell classes apart: {logits:?}");
        for log in [false, true] {
            assert!(answers(Some(log)).iter().zip(&logits).all(|(a, b)| (a - b).abs() < 1e-5), "log: {log}");
        }
    }

    #[test]
    fn a_teacher_of_images_sees_its_channels_in_a_vector() {
        let mut b = Builder::new("net", [3, 2, 2]);
        b.push("flat", Node::Flatten);
        b.push("fc", Node::Linear(Linear { inputs: 12, outputs: 10, bias: true }));
        let theirs = Preprocess { mean: vec![0.1, 0.5, 0.9], std: vec![0.5, 0.1, 0.2], ..Preprocess::default() };
        let (file, _) = written(&b.finish().unwrap(), theirs, 1);
        let distil = Distil { teachers: vec!["a".into()], weight: 0.5, temperature: 1.0 };
        let inputs: Vec<f32> = (0..24).map(|i| i as f32 / 24.0).collect();
        let answers = |shape: &[usize]| {
            let mut teachers = Teachers::open(std::slice::from_ref(&file), &distil, &Preprocess::default(), shape, 10, 2).unwrap();
            teachers.soft_targets(&inputs).unwrap()
        };
        assert_eq!(answers(&[12]), answers(&[3, 2, 2]));
    }

    #[test]
    fn a_teacher_takes_the_colours_in_its_own_order() {
        let mut b = Builder::new("net", [3, 2, 2]);
        b.push("flat", Node::Flatten);
        b.push("fc", Node::Linear(Linear { inputs: 12, outputs: 10, bias: true }));
        let theirs = Preprocess { scale: 1.0, mean: vec![10.0, 50.0, 90.0], std: vec![50.0, 10.0, 20.0], channels: Channels::Bgr };
        let ours = Preprocess { mean: vec![0.2, 0.3, 0.6], std: vec![0.5, 0.4, 0.3], ..Preprocess::default() };
        let (file, _) = written(&b.finish().unwrap(), theirs, 1);
        let distil = Distil { teachers: vec!["a".into()], weight: 0.5, temperature: 1.0 };
        let pixels: Vec<u8> = (0..24).map(|i| i * 10).collect();
        let mut inputs = vec![0.0; 24];
        ours.apply([3, 2, 2], &pixels, &mut inputs);
        let got = Teachers::open(std::slice::from_ref(&file), &distil, &ours, &[3, 2, 2], 10, 2).unwrap().soft_targets(&inputs).unwrap();
        // What the file makes of the pixels themselves.
        let mut session = Session::new(&Device::cpu(), &file, &Options { batch: 2, cache: None, ..Options::default() }).unwrap();
        let outputs = session.run_images(&pixels).unwrap();
        let wanted = outputs.chunks(10).flat_map(|row| Meaning::Logits.probabilities(row).unwrap());
        assert!(got.iter().zip(wanted).all(|(g, w)| (f64::from(*g) - w).abs() < 1e-4), "{got:?}");
    }

    #[test]
    fn a_teacher_sees_its_own_pixels_and_several_are_averaged() {
        let ours = Preprocess { scale: 1.0 / 255.0, mean: vec![0.5], std: vec![0.25], ..Preprocess::default() };
        let theirs = Preprocess { scale: 1.0, mean: vec![127.0], std: vec![60.0], ..Preprocess::default() };
        let data = glyphs::generate(Part::Test, 5, 3);
        let names = [("fcn6", 1), ("fcn8", 2)];
        let (files, made): (Vec<_>, Vec<_>) = names.iter().map(|&(name, seed)| compiled(name, theirs.clone(), seed)).unzip();
        let distil = Distil { teachers: vec!["a".into(), "b".into()], weight: 0.5, temperature: 3.0 };
        let mut teachers = Teachers::open(&files, &distil, &ours, &data.shape, 10, 4).unwrap();
        let mut inputs = vec![0.0; data.images.len()];
        ours.apply(data.shape, &data.images, &mut inputs);
        let got = teachers.soft_targets(&inputs).unwrap();
        let mut expected = vec![0.0f64; 50];
        for ((name, _), checkpoint) in names.iter().zip(&made) {
            let logits = train::logits(&zoo::build(name).unwrap(), &checkpoint.params, &theirs, &data).unwrap();
            for (e, row) in expected.chunks_mut(10).zip(logits.chunks(10)) {
                let sum: f64 = row.iter().map(|&x| (f64::from(x) / 3.0).exp()).sum();
                e.iter_mut().zip(row).for_each(|(e, &x)| *e += (f64::from(x) / 3.0).exp() / sum / 2.0);
            }
        }
        for (g, e) in got.iter().zip(&expected) {
            assert!((f64::from(*g) - e).abs() < 1e-5, "{g} {e}");
        }
        let other = Teachers::open(&files, &distil, &ours, &[3, 32, 32], 10, 4).map(|_| ()).unwrap_err().to_string();
        assert!(other.starts_with("a: takes 'input', float32 [N, 784]"), "{other}");
    }
}
