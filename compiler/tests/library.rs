//! Training, compiling and sweeping through the library alone, as a program in another language would.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use thinfer::Device;
use thinfer::tools::latency;
use thinfer_compiler::data::DataSpec;
use thinfer_compiler::job::{Clock, Compile, CutSettings, Family, Note, Progress, Source, Stage, Sweep, Train};
use thinfer_compiler::lower::SchemeChoice;
use thinfer_compiler::train::Method;
use thinfer_compiler::{Error, import};

/// What a job told: stages by name with their last figures, notes, steps and epochs.
#[derive(Default)]
struct Told {
    stages: Vec<(String, usize, usize)>,
    notes: Vec<Note>,
    steps: usize,
    epochs: usize,
}

/// A watcher that writes down what it is told.
fn writing(told: &Mutex<Told>) -> impl Fn(Progress<'_>) + Sync {
    move |progress| {
        let mut told = told.lock().unwrap();
        match progress {
            Progress::Stage { stage, done, total } => {
                assert!(done <= total, "{stage}: {done} of {total}");
                told.stages.push((stage.to_string(), done, total));
            }
            Progress::Note(note) => told.notes.push(note.clone()),
            Progress::Step(_) => told.steps += 1,
            Progress::Epoch(_) => told.epochs += 1,
            _ => {}
        }
    }
}

fn glyphs() -> DataSpec {
    "glyphs".parse().unwrap()
}

/// A small trained network in `dir`.
fn trained(dir: &Path, run: &str) -> Train {
    let mut job = Train::new("mlp:784-24-10", &glyphs(), dir.join(run));
    job.config.epochs = 2;
    job.config.lr = 0.003;
    job.config.limit = Some(2000);
    job.config.batch = 64;
    job
}

#[test]
fn a_network_is_trained_interrupted_and_tuned() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let told = Mutex::default();
    let go_on = AtomicBool::new(false);
    let summary = trained(dir, "whole").run(&writing(&told), &go_on).unwrap();
    {
        let told = told.lock().unwrap();
        assert_eq!((told.epochs, told.steps, summary.epochs.len()), (2, 2 * 29, 2));
        assert!(told.notes.is_empty() && summary.epochs[1].train_accuracy > 50.0, "{summary:?}");
    }
    // A watcher that asks to stop after a few steps, and the same run resumed.
    let stop = AtomicBool::new(false);
    let steps = Mutex::new(0);
    let mut job = trained(dir, "parts");
    let stopped = job.run(
        &|progress| {
            if let Progress::Step(_) = progress {
                *steps.lock().unwrap() += 1;
                stop.store(*steps.lock().unwrap() == 9, Ordering::Relaxed);
            }
        },
        &stop,
    );
    assert!(matches!(stopped, Err(Error::Interrupted { epoch: 0, step: 9, .. })), "{stopped:?}");
    job.resume = true;
    let resumed = job.run(&|_| (), &go_on).unwrap();
    assert_eq!(std::fs::read(&resumed.model).unwrap(), std::fs::read(&summary.model).unwrap());

    let mut job = Train::from(Source::new(&summary.model), &glyphs(), dir.join("tuned"));
    (job.config.method, job.config.epochs, job.config.limit) = (Method::Finetune, 1, Some(500));
    let run = job.prepare(&|_| ()).unwrap();
    assert_eq!((run.config().model.as_str(), run.config().from.clone()), ("mlp:784-24-10", Some(summary.model.display().to_string())));
    assert!(run.run(&|_| (), &go_on).unwrap().model.is_file());
}

#[test]
fn a_network_is_cut_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let model = trained(dir, "run").run(&|_| (), &AtomicBool::new(false)).unwrap().model;
    let job = |policy: &str| Compile::new(Source::new(&model), policy.parse().unwrap());
    let calibrated = CutSettings { calibrate: Some("glyphs:100".parse().unwrap()), ..CutSettings::default() };

    let told = Mutex::default();
    let by_macs = Compile { cut: calibrated.clone(), emit_factors: true, ..job("macs:0.5") };
    let compiled = by_macs.run(&writing(&told)).unwrap();
    let d = compiled.description();
    assert!(2 * d.macs <= d.dense_macs && compiled.layers.len() == 2 && compiled.times.is_none() && compiled.rewrites.is_none());
    let (first, figures) = (&compiled.layers[0], compiled.figures());
    assert_eq!((first.name.as_str(), first.outputs, first.inputs, first.written.to_string().as_str()), ("layers.0", 24, 784, "factors"));
    assert!(first.lost.is_some_and(|lost| (0.0..1.0).contains(&lost)) && first.macs < first.dense_macs);
    assert_eq!((figures["macs"].as_u64(), figures["policy"].as_str()), (Some(d.macs), Some("macs:0.5")));
    assert!(compiled.notes.is_empty(), "{:?}", compiled.notes);
    for stage in [Stage::Calibrating, Stage::Factoring] {
        assert!(told.lock().unwrap().stages.iter().any(|(name, done, total)| *name == stage.to_string() && done == total), "{stage}");
    }
    // Its factors, kept as they are, are the same network.
    let factors = dir.join("cut.safetensors");
    import::save(&factors, &compiled.factors.unwrap()).unwrap();
    let kept = Compile::new(Source::new(&factors), "keep".parse().unwrap()).run(&|_| ()).unwrap();
    assert_eq!((kept.description().macs, kept.factors.is_none()), (d.macs, true));

    // Images decide.
    let told = Mutex::default();
    let judged = Compile { cut: calibrated, ..job("accuracy:5") }.run(&writing(&told)).unwrap();
    let notes = &told.lock().unwrap().notes;
    assert!(judged.description().policy.ends_with("judged on shifted training images of glyphs"));
    assert!(matches!(&notes[0], Note::JudgedOn { .. }) && matches!(notes[1], Note::Judged { tried: 1, most: 9, .. }), "{notes:?}");

    // The clock decides.
    let dense = job("dense").run(&|_| ()).unwrap().artifact;
    let table = latency::measure(&Device::cpu(), &dense, 1, 0.2, &mut |_, _| ()).unwrap();
    let path = dir.join("times.json");
    std::fs::write(&path, serde_json::to_vec(&table).unwrap()).unwrap();
    let mut timed = Compile { clock: Clock { table: Some(path), ..Clock::default() }, ..job("latency:1") }.run(&|_| ()).unwrap();
    timed.measure().unwrap();
    let times = timed.times.as_ref().unwrap();
    assert!(times.predicted_ms <= times.dense_ms && times.layers.iter().all(|l| l.why().starts_with("won")));
    let ms = times.measured.as_ref().unwrap().ms;
    assert_eq!((timed.figures()["measured_ms"].as_f64(), timed.figures()["adapter"].as_str()), (Some(ms), Some(table.adapter.as_str())));
}

#[test]
fn a_network_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let model = trained(dir, "run").run(&|_| (), &AtomicBool::new(false)).unwrap().model;
    let mut job = Sweep::new(Source::new(model), glyphs());
    (job.families, job.limit) = (vec![Family::Local, Family::Macs], Some(200));
    job.schemes.push(SchemeChoice::Auto);
    let told = Mutex::default();
    let swept = job.run(&writing(&told)).unwrap();
    assert_eq!((swept.curves.len(), swept.spectra.len(), swept.images), (4, 2, 200));
    let points = &swept.curves[0].points;
    assert!(points[0].share_kept() == 1.0 && points[0].top1 > points.last().unwrap().top1, "{points:?}");
    assert_eq!(swept.spectra[0].layers[0].1.len(), 24);
    assert!(told.lock().unwrap().stages.iter().any(|(name, done, total)| *name == Stage::Cutting.to_string() && done == total));
    swept.write(&dir.join("figures")).unwrap();
    for file in ["sweep.csv", "spectra.csv", "values.svg", "macs.svg", "spectra.svg"] {
        assert!(dir.join("figures").join(file).is_file(), "{file}");
    }
    job.limit = Some(0);
    assert!(job.run(&|_| ()).unwrap_err().to_string().starts_with("--limit"));
}
