//! Whether a trained network answers on a device as it did in the trainer: a run's network is compiled (dense, or its
//! factors as they are) and every test image goes through trainer, CPU and GPU. Images that any two of them classify
//! differently are listed with their margins, the difference of the two largest logits.
//!
//! `cargo run --release --example agreement -- FILE.safetensors SET:DIR`

use std::path::Path;

use thinfer::artifact::Dtype;
use thinfer::{Device, DeviceKind, Options, Session, top1};
use thinfer_compiler::data::{self, DataSpec, Part};
use thinfer_compiler::lower::{self, Factored};
use thinfer_compiler::rank::Policy;
use thinfer_compiler::{Error, Result, import, train, zoo};

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, data] = &arguments[..] else { return Err(Error::invalid("usage", "agreement FILE.safetensors SET:DIR")) };
    let spec: DataSpec = data.parse().map_err(|why: String| Error::invalid(data.clone(), why))?;
    let path = Path::new(file);
    let mut checkpoint = import::load(path)?;
    let why = || Error::Checkpoint { path: path.into(), why: "does not say its model: give a file that `thinferc train` wrote".into() };
    let graph = zoo::build(checkpoint.meta.model.as_deref().ok_or_else(why)?)?;
    let preprocess = checkpoint.meta.preprocess.clone().ok_or_else(why)?;
    let kept = import::held(&graph, &checkpoint.params)?;
    checkpoint.params = import::composed(&graph, &checkpoint.params)?;
    let images = data::load(&spec, Part::Test)?;
    println!("{} {} on {} ({} images)", graph.name, checkpoint.meta.method.clone().unwrap_or_default(), images.name, images.len());

    let mut answers = vec![("trainer".to_string(), train::logits(&graph, &checkpoint.params, &preprocess, &images)?)];
    let policy = if kept.is_empty() { Policy::Dense } else { Policy::Keep };
    let options = lower::Options { preprocess, dense_only: true, kept, ..lower::Options::default() };
    let factored = Factored::new(&graph, &checkpoint, options, &|_, _, _| ())?;
    let artifact = factored.emit(policy, &factored.cuts(policy)?, Dtype::F32, true)?;
    for kind in [DeviceKind::Cpu, DeviceKind::Gpu] {
        match Device::open(kind) {
            Ok(device) => {
                let options = Options { batch: 64, keep_factors: true, ..Options::default() };
                let logits = Session::new(&device, &artifact, &options)?.run_images(&images.images)?;
                answers.push((device.info().to_string(), logits));
            }
            Err(error) => println!("skipped: {error}"),
        }
    }

    let classes = images.classes.len();
    for (name, logits) in &answers {
        let right = logits.chunks_exact(classes).zip(&images.labels).filter(|(row, label)| top1(row) == Some(usize::from(**label))).count();
        let largest = answers[0].1.iter().fold(0f32, |m, x| m.max(x.abs()));
        let off = answers[0].1.iter().zip(logits).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest;
        println!("{name}: {right} right, at most {off:.1e} of the largest logit from the trainer");
    }
    for image in 0..images.len() {
        let rows: Vec<&[f32]> = answers.iter().map(|(_, logits)| &logits[image * classes..][..classes]).collect();
        if rows.iter().any(|row| top1(row) != top1(rows[0])) {
            let said = rows.iter().map(|row| format!("{:?} by {:.1e}", top1(row), margin(row)));
            println!("image {image}, label {}: {}", images.labels[image], said.collect::<Vec<_>>().join(", "));
        }
    }
    Ok(())
}

/// The difference of the two largest values.
fn margin(row: &[f32]) -> f32 {
    let mut sorted = row.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.first().zip(sorted.get(1)).map_or(0.0, |(a, b)| a - b)
}
