//! Every operation against what ONNX Runtime makes of it: tests/onnx/cases.py wrote the networks, their inputs and their
//! outputs.

use std::path::{Path, PathBuf};

use prost::Message;
use thinfer::artifact::{Artifact, Dtype, Op};
use thinfer::{Device, DeviceKind, Forms, Options, Session};

use super::array::Array;
use super::load;
use super::proto::ModelProto;
use crate::lower;
use crate::rank::Policy;

/// The CPU, and the GPU where there is one; without one a test says so, or fails if THINFER_REQUIRE_GPU=1.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    match Device::open(DeviceKind::Gpu) {
        Ok(gpu) => devices.push(gpu),
        Err(e) if std::env::var_os("THINFER_REQUIRE_GPU").is_some_and(|v| v == "1") => panic!("{e}"),
        Err(e) => println!("skipped on the GPU: {e}"),
    }
    devices
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/cases")
}

/// The stored input and output, as the file declares them.
fn stored(path: &Path) -> (Vec<f32>, Vec<f32>) {
    let proto = ModelProto::decode(&std::fs::read(path).unwrap()[..]).unwrap();
    let tensor = |name: &str| {
        let graph = proto.graph.as_ref().unwrap();
        Array::read(graph.initializer.iter().find(|t| t.name() == name).unwrap(), Path::new("")).unwrap().to_floats()
    };
    (tensor("thinfer.input"), tensor("thinfer.output"))
}

fn compiled(path: &Path) -> Artifact {
    let (checkpoint, _) = load(path, &[]).unwrap_or_else(|e| panic!("{e}"));
    let graph = checkpoint.meta.graph.clone().unwrap();
    let options = lower::Options { dense_only: true, ..lower::Options::default() };
    let factored = lower::Factored::new(&graph, &checkpoint, options, &|_, _, _| ()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cuts = factored.cuts(Policy::Dense).unwrap();
    factored.emit(Policy::Dense, &cuts, Dtype::F32, false).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_case_gives_what_onnx_runtime_gives() {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 95, "{} cases", paths.len());
    for device in devices() {
        let mut worst = (0f32, String::new());
        for path in &paths {
            let (input, expected) = stored(path);
            let artifact = compiled(path);
            let options = Options { forms: Forms::Ruled, ..Options::default() };
            let mut session = Session::new(&device, &artifact, &options).unwrap();
            session.poison();
            let got = session.run(&input).unwrap();
            assert_eq!(got.len(), expected.len(), "{}", path.display());
            let scale = expected.iter().fold(1f32, |m, x| m.max(x.abs()));
            for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
                let off = (g - e).abs() / scale;
                assert!(off <= 1e-5, "{}, output {i} on {}: {g}, ONNX Runtime has {e}", path.display(), device.info());
                if off > worst.0 {
                    worst = (off, path.display().to_string());
                }
            }
        }
        println!("{} cases on {}: off by at most {:.1e} ({})", paths.len(), device.info(), worst.0, worst.1);
    }
}

/// Needs the real files: THINFER_DATA is a folder that holds onnx/.
#[test]
fn published_files_are_read_or_refused_node_by_node() {
    let Some(data) = std::env::var_os("THINFER_DATA").map(|d| Path::new(&d).join("onnx")).filter(|d| d.is_dir()) else {
        eprintln!("skipped: no files in THINFER_DATA/onnx");
        return;
    };
    let layers = |file: &str| compiled(&data.join(file)).model().layers.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
    assert_eq!(layers("mnist_mlp_256x4.onnx"), ["layers.0", "layers.2", "layers.4", "layers.6", "layers.8"]);
    // Normalisations go into the linear layers beside them.
    assert_eq!(layers("mnist_cnn_burn.onnx"), ["conv1", "conv2", "conv3", "fc1", "fc2", "/LogSoftmax"]);
    assert_eq!(layers("cifar10_cnn_large_nhwc.onnx")[0], "sequential_2/conv2d_4/BiasAdd");
    // Nothing is moved between patches and classes.
    let vit = compiled(&data.join("cifar10_vit_pgd_2_3_16.onnx"));
    let kinds = |kind: fn(&Op) -> bool| vit.model().layers.iter().filter(|l| kind(&l.op)).count();
    assert_eq!((kinds(|o| matches!(o, Op::Attention { .. })), kinds(|o| matches!(o, Op::Rearrange { .. }))), (2, 0));
    for file in ["mnist_cnn_opset8", "mnist_convnet_maxpool", "cifar10_resnet2b", "cifar10_cnn_wide_kw"] {
        compiled(&data.join(format!("{file}.onnx")));
    }
}
