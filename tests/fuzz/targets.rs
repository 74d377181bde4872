//! What a hostile file meets: each function takes any bytes, and must come back with a result or a typed error, having
//! allocated no more than a small multiple of what it was given. `tests/hostile.rs` runs them over every input that was ever a
//! fault.

use std::fs;
use std::path::Path;

use thinfer::tools::bench::Inputs;
use thinfer::tools::inspect::Description;
use thinfer::tools::latency::LatencyTable;
use thinfer::{Artifact, Device, Form, Forms, Options, Session};
use thinfer_compiler::data::{self, DataSpec, Part};
use thinfer_compiler::graph::Graph;
use thinfer_compiler::import::{self, Checkpoint};
use thinfer_compiler::lower::{self, Factored};
use thinfer_compiler::rank::Policy;
use thinfer_compiler::zoo;

use super::graphs::{Between, Drawn};

/// Multiply–accumulates and values beyond which a network is opened and described, but not run.
const MOST_WORK: u64 = 1 << 16;

/// The bytes of a `.thin` file with lengths and checksum as they must be, so that what follows them is looked at.
pub fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    if file.len() < 32 {
        return file;
    }
    file[..6].copy_from_slice(b"THIN\x01\x00");
    file[6..8].fill(0);
    file[24..32].fill(0);
    let header = u32::from_le_bytes([file[8], file[9], file[10], file[11]]) as usize % file.len();
    let start = (32 + header).next_multiple_of(64);
    file.resize(file.len().max(start), 0);
    file[8..12].copy_from_slice(&(header as u32).to_le_bytes());
    let data = (file.len() - start) as u64;
    file[16..24].copy_from_slice(&data.to_le_bytes());
    file[12..16].fill(0);
    let sum = crc32fast::hash(&file);
    file[12..16].copy_from_slice(&sum.to_le_bytes());
    file
}

/// A `.thin` file: opened, described, planned and run in every form on the CPU.
pub fn thin(bytes: &[u8]) {
    let Ok(artifact) = Artifact::from_bytes(bytes.to_vec()) else { return };
    let description = Description::of(&artifact);
    assert!(!description.to_string().is_empty());
    let values: u64 = artifact.shapes().iter().map(|s| s.iter().product::<usize>() as u64).sum();
    if description.macs.max(description.dense_macs) > MOST_WORK || values > MOST_WORK {
        return;
    }
    for (form, ranks) in [(Form::TwoStage, 1.0), (Form::Fused, 0.5), (Form::Dense, 1.0)] {
        let (batch, samples) = if artifact.takes_samples() { (2, 3) } else { (1, 1) };
        let options = Options { batch, forms: Forms::All(form), ranks, cache: None, ..Options::default() };
        let Ok(mut session) = Session::new(&Device::cpu(), &artifact, &options) else { continue };
        let outputs = Inputs::noise(&session, samples).run(&mut session).expect("a session that opens runs");
        for (values, output) in outputs.iter().zip(artifact.outputs()) {
            let of_each = if output.spec.sample_axis.is_some() { samples } else { 1 };
            assert_eq!(values.len(), of_each * artifact.elements(output.value as usize));
        }
    }
}

/// A checkpoint or network of the compiler's, `name` in a folder of its own: imported, and compiled if that is little work.
pub fn network(name: &str, bytes: &[u8], folder: &Path) {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("the folder can be written to");
    let Ok((checkpoint, _)) = import::import(&path) else { return };
    let graph = match checkpoint.meta.graph.clone() {
        Some(graph) => graph,
        None => match zoo::guess(&checkpoint.params).and_then(|name| zoo::build_for(&name, &checkpoint.params).ok()) {
            Some(graph) => graph,
            None => return,
        },
    };
    compile(&graph, &checkpoint);
}

/// A checkpoint of the kind that the first byte says.
pub fn checkpoint(input: &[u8], folder: &Path) {
    if let [kind, bytes @ ..] = input {
        network(["file.safetensors", "file.pth"][usize::from(kind & 1)], bytes, folder);
    }
}

/// Images, an array or a table, as the first byte says.
pub fn data(input: &[u8], folder: &Path) {
    let [kind, bytes @ ..] = input else { return };
    match kind % 5 {
        0 => images("mnist", bytes, folder),
        1 => images("cifar10", bytes, folder),
        2 => images("cifar100", bytes, folder),
        3 => array(bytes),
        _ => table(bytes),
    }
}

fn compile(graph: &Graph, checkpoint: &Checkpoint) {
    let Ok(costs) = thinfer_compiler::graph::layer_costs(graph) else { return };
    if costs.iter().map(|c| c.macs).sum::<u64>() > MOST_WORK || graph.nodes.len() > 200 {
        return;
    }
    let Ok(factored) = Factored::new(graph, checkpoint, lower::Options::default(), &|_, _, _| ()) else { return };
    for policy in [Policy::Dense, Policy::Local(0.5)] {
        let Ok(cuts) = factored.cuts(policy) else { continue };
        if let Ok(artifact) = factored.emit(policy, &cuts, thinfer::artifact::Dtype::F32, true) {
            thin(artifact.as_bytes());
        }
    }
}

/// A set of images: its files are `bytes` cut in two, in a folder of their own.
pub fn images(set: &str, bytes: &[u8], folder: &Path) {
    let names: &[&str] = match set {
        "mnist" => &["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
        "cifar10" => &["test_batch.bin"],
        _ => &["test.bin"],
    };
    let (first, rest) = match bytes {
        [low, high, rest @ ..] if names.len() > 1 => rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len())),
        all => (all, &[][..]),
    };
    for (name, part) in names.iter().zip([first, rest]) {
        fs::write(folder.join(name), part).expect("the folder can be written to");
    }
    let spec: DataSpec = format!("{set}:{}", folder.display()).parse().expect("a set of that name");
    if let Ok(data) = data::load(&spec, Part::Test) {
        assert_eq!(data.images.len(), data.len() * data.image_len());
        assert!(data.labels.iter().all(|&l| usize::from(l) < data.classes.len()));
    }
}

/// Numpy's arrays.
pub fn array(bytes: &[u8]) {
    if let Ok(npy) = thinfer::tools::npy::parse(bytes) {
        assert!(npy.shape.iter().product::<usize>() <= bytes.len());
    }
}

/// A latency table.
pub fn table(bytes: &[u8]) {
    if let Ok(table) = serde_json::from_slice::<LatencyTable>(bytes) {
        let _ = table.check("table.json");
    }
}

/// A drawn ONNX network (`graphs.rs`): whatever the importer makes of it, it is within bounds; and where it takes the network with
/// its values passed through two negations too, which its rules do not see through, both compute the same.
pub fn graph(bytes: &[u8], folder: &Path) {
    let Some(drawn) = Drawn::of(bytes) else { return };
    let whole = drawn.encoded(Between::Nothing);
    network("file.onnx", &whole, folder);
    let Some(one) = Run::of("whole.onnx", &whole, folder) else { return };
    let Some(other) = Run::of("apart.onnx", &drawn.encoded(Between::Negations), folder) else { return };
    assert_eq!(one.output.len(), other.output.len(), "the same network apart has as many outputs");
    let Some(off) = one.off(&other).filter(|off| *off > 2e-3) else { return };
    // A network that magnifies the last digits of its values magnifies those of its sums.
    let Some(magnified) = Run::of("noise.onnx", &drawn.encoded(Between::Noise), folder).and_then(|noise| one.off(&noise)) else { return };
    assert!(off <= 10.0 * magnified, "off by {off} of the largest, by noise {magnified}: whole.onnx, apart.onnx in {}", folder.display());
}

/// What a network gave, dense, on drawn inputs.
struct Run {
    output: Vec<f32>,
}

impl Run {
    fn of(name: &str, bytes: &[u8], folder: &Path) -> Option<Self> {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("the folder can be written to");
        let (checkpoint, _) = import::import(&path).ok()?;
        let graph = checkpoint.meta.graph.clone()?;
        let costs = thinfer_compiler::graph::layer_costs(&graph).ok()?;
        if costs.iter().map(|c| c.macs).sum::<u64>() > MOST_WORK {
            return None;
        }
        let factored = Factored::new(&graph, &checkpoint, lower::Options { dense_only: true, ..Default::default() }, &|_, _, _| ()).ok()?;
        let artifact = factored.emit(Policy::Dense, &factored.cuts(Policy::Dense).ok()?, thinfer::artifact::Dtype::F32, false).ok()?;
        let options = Options { forms: Forms::Ruled, cache: None, ..Options::default() };
        let mut session = Session::new(&Device::cpu(), &artifact, &options).ok()?;
        let samples = if artifact.takes_samples() { 2 } else { 1 };
        Some(Self { output: Inputs::noise(&session, samples).run(&mut session).expect("a session that opens runs").concat() })
    }

    /// How far the outputs are apart as a share of the largest. `None` where one overflows or is large: overflow comes at another
    /// place in another order of operations.
    fn off(&self, other: &Self) -> Option<f32> {
        let both = || self.output.iter().zip(&other.output);
        let largest = both().fold(1.0f32, |m, (x, y)| m.max(x.abs()).max(y.abs()));
        let is_sound = largest < 1e4 && both().all(|(x, y)| x.is_finite() && y.is_finite());
        is_sound.then(|| both().fold(0.0f32, |m, (x, y)| m.max((x - y).abs())) / largest)
    }
}
