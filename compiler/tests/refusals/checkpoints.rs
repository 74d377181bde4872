//! Checkpoints that do not fit, and files of which the user must choose a network.

use std::fs;

use thinfer_compiler::graph;
use thinfer_compiler::import::{self, Checkpoint, Meta};
use thinfer_compiler::tensor::{Params, Tensor};
use thinfer_compiler::zoo;

use crate::{refused, save, thinferc};

#[test]
fn checkpoints_that_do_not_fit_are_refused_by_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save(dir, "good.safetensors", |_| ());
    save(dir, "missing.safetensors", |p| drop(p.remove("layers.2.bias")));
    save(dir, "extra.safetensors", |p| drop(p.insert("layers.4.weight".into(), Tensor::full([3, 3], 1.0))));
    save(dir, "misshapen.safetensors", |p| drop(p.insert("layers.0.weight".into(), Tensor::full([5, 7], 1.0))));
    save(dir, "nan.safetensors", |p| p.get_mut("layers.0.bias").unwrap().data_mut()[2] = f32::NAN);
    fs::write(dir.join("text.safetensors"), "not a checkpoint").unwrap();
    let cases: [(&str, &[&str]); 6] = [
        ("absent.safetensors", &["absent.safetensors", "No such file"]),
        ("missing.safetensors", &["missing.safetensors", "missing tensor 'layers.2.bias'"]),
        ("extra.safetensors", &["extra tensor 'layers.4.weight'"]),
        ("misshapen.safetensors", &["'layers.0.weight'", "[5, 7]", "[5, 6]"]),
        ("nan.safetensors", &["'layers.0.bias'", "NaN", "element 2"]),
        ("text.safetensors", &["text.safetensors", "not a usable checkpoint"]),
    ];
    for (file, parts) in cases {
        refused(&["compile", file, "--model", "mlp:6-5-3", "--ranks", "dense", "-o", "out.thin"], dir, parts);
        refused(&["sweep", file, "--model", "mlp:6-5-3", "--data", "glyphs", "-o", "out"], dir, parts);
    }
    refused(
        &["compile", "good.safetensors", "--model", "resnet21", "--ranks", "dense", "-o", "o.thin"],
        dir,
        &["unknown model 'resnet21'"],
    );
    refused(&["compile", "good.safetensors", "--ranks", "dense", "-o", "no/such/folder/o.thin"], dir, &["no/such/folder"]);
    refused(
        &["compile", "good.safetensors", "--ranks", "local:0.5", "--skip", "layers.1", "-o", "o.thin"],
        dir,
        &["--skip layers.1", "layers.2"],
    );
    refused(&["compile", "good.safetensors", "--ranks", "dense", "--std", "0", "-o", "o.thin"], dir, &["std"]);
}

#[test]
fn factors_that_do_not_fit_and_nothing_to_keep_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let factors = |u: [usize; 2], v: [usize; 2]| {
        move |p: &mut Params| {
            p.remove("layers.0.weight");
            p.insert("layers.0.u".into(), Tensor::full(u, 1.0));
            p.insert("layers.0.v".into(), Tensor::full(v, 1.0));
        }
    };
    save(dir, "plain.safetensors", |_| ());
    save(dir, "good.safetensors", factors([5, 2], [2, 6]));
    save(dir, "misfit.safetensors", factors([5, 2], [3, 6]));
    save(dir, "both.safetensors", |p| {
        p.insert("layers.0.u".into(), Tensor::full([5, 2], 1.0));
        p.insert("layers.0.v".into(), Tensor::full([2, 6], 1.0));
    });
    let compile = |file: &'static str, extra: &[&'static str]| {
        [&["compile", file, "--model", "mlp:6-5-3", "-o", "o.thin", "--ranks"][..], extra].concat()
    };
    refused(&compile("plain.safetensors", &["keep"]), dir, &["--ranks keep", "plain.safetensors", "no layer as factors"]);
    refused(&compile("misfit.safetensors", &["keep"]), dir, &["misfit.safetensors", "layers.0.u", "[5, 2]", "[5, 3]"]);
    refused(&compile("both.safetensors", &["keep"]), dir, &["both.safetensors", "layers.0.weight", "beside factors"]);
    for (extra, flag) in [
        (&["keep", "--scheme", "spatial"][..], "--scheme"),
        (&["keep", "--calibrate", "glyphs:10"], "--calibrate"),
        (&["keep", "--energy-gain"], "--energy-gain"),
    ] {
        refused(&compile("good.safetensors", extra), dir, &[flag, "keep"]);
    }
    refused(&compile("good.safetensors", &["keep", "--emit-factors", "no/folder/f.safetensors"]), dir, &["no/folder"]);
    assert!(thinferc(&compile("good.safetensors", &["keep"]), dir).status.success());
    assert!(thinferc(&compile("good.safetensors", &["macs:0.9"]), dir).status.success());
}

#[test]
fn convolutional_networks_are_refused_by_what_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let params = graph::init(&zoo::build("resnet20").unwrap(), 0);
    import::save(&dir.join("r20.safetensors"), &Checkpoint { params, meta: Meta::default() }).unwrap();
    let compile = |extra: &[&'static str]| [&["compile", "r20.safetensors", "--model", "resnet20", "-o", "o.thin"][..], extra].concat();
    refused(
        &["compile", "r20.safetensors", "--model", "resnet32", "--ranks", "dense", "-o", "o.thin"],
        dir,
        &["r20.safetensors", "resnet20"],
    );
    refused(&["compile", "r20.safetensors", "--model", "vgg16", "--ranks", "dense", "-o", "o.thin"], dir, &["r20.safetensors"]);
    // A budget below what any choice costs says the smallest that can be met.
    refused(&compile(&["--ranks", "macs:0.0001"]), dir, &["macs:0.0001", "0.0"]);
    refused(&compile(&["--ranks", "macs:0"]), dir, &["--ranks macs:0"]);
    refused(&compile(&["--ranks", "accuracy:1"]), dir, &["accuracy:1", "--calibrate", "--holdout"]);
    refused(&compile(&["--ranks", "accuracy:-1", "--calibrate", "glyphs:10"]), dir, &["accuracy:-1", "0 to 100"]);
    refused(&compile(&["--ranks", "local:0.5", "--skip", "layer9.0.conv1"]), dir, &["layer9.0.conv1", "layer1.0.conv1"]);
    refused(&compile(&["--ranks", "macs:0.5", "--calibrate", "glyphs:10"]), dir, &["glyphs", "[1, 28, 28]", "[3, 32, 32]"]);
    fs::create_dir(dir.join("cifar")).unwrap();
    fs::write(dir.join("cifar/test_batch.bin"), vec![0; 3073 * 3 + 1]).unwrap();
    assert!(thinferc(&compile(&["--ranks", "dense"]), dir).status.success());
    refused(&["eval", "o.thin", "--data", "cifar10:cifar"], dir, &["test_batch.bin"]);
    refused(&["eval", "o.thin", "--data", "glyphs"], dir, &["glyphs", "[1, 28, 28]", "3072"]);
}

/// A file with two networks is refused with their names, and read by each of them.
#[test]
fn of_two_networks_in_a_file_the_user_chooses() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let behind =
        |prefix: &'static str, params: &Params| params.iter().map(move |(k, t)| (format!("{prefix}{k}"), t.clone())).collect::<Params>();
    save(dir, "plain.safetensors", |_| ());
    save(dir, "prefixed.ckpt", |p| *p = behind("model.module.", p));
    save(dir, "two.safetensors", |p| {
        let mut ema = p.clone();
        ema.values_mut().for_each(|t| t.data_mut().iter_mut().for_each(|x| *x *= 2.0));
        *p = behind("model.", p).into_iter().chain(behind("ema.", &ema)).collect();
    });
    let compile = |file: &'static str, extra: &[&'static str]| {
        let arguments = [&["compile", file, "--ranks", "dense", "-o", "o.thin"][..], extra].concat();
        assert!(thinferc(&arguments, dir).status.success(), "{arguments:?}");
        answers(&fs::read(dir.join("o.thin")).unwrap())
    };
    let (plain, prefixed) = (compile("plain.safetensors", &[]), compile("prefixed.ckpt", &[]));
    let [model, ema] = ["model", "ema"].map(|key| compile("two.safetensors", &["--state-dict", key]));
    assert!(plain == prefixed && plain == model && plain != ema);
    let two: &[&str] = &["two.safetensors", "mlp:6-5-3 2 times, under 'ema', 'model'", "--state-dict"];
    refused(&["compile", "two.safetensors", "--ranks", "dense", "-o", "p.thin"], dir, two);
    refused(&["inspect", "two.safetensors"], dir, two);
    refused(&["train", "--from", "two.safetensors", "--data", "glyphs", "--method", "finetune", "-o", "run"], dir, two);
    refused(&["inspect", "two.safetensors", "--state-dict", "best"], dir, &["no tensors under 'best'", "'ema', 'model'"]);
    let cnn = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/small_cnn.onnx");
    refused(&["inspect", cnn, "--state-dict", "ema"], dir, &["--state-dict ema", "small_cnn.onnx"]);
}

/// What the network in a .thin file makes of an input, bit for bit.
fn answers(file: &[u8]) -> Vec<u32> {
    let artifact = thinfer::Artifact::from_bytes(file.to_vec()).unwrap();
    let mut session =
        thinfer::Session::new(&thinfer::Device::cpu(), &artifact, &thinfer::Options { cache: None, ..Default::default() }).unwrap();
    session.run(&[0.5, -1.0, 2.0, 0.25, -0.5, 1.5]).unwrap().iter().map(|x| x.to_bits()).collect()
}
