//! What an ONNX file declares of its arrays, from the file through `thinferc` to a session.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use thinfer::artifact::{Artifact, Channels, Element, InputKind, Meaning};
use thinfer::{Device, Options, Session};
use thinfer_compiler::data::{self, Part};
use thinfer_compiler::eval::outputs;

fn thinferc(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thinferc")).args(arguments).current_dir(dir).output().unwrap()
}

/// The file that `arguments` compile, and what was noted beside.
fn compiled(arguments: &[&str], dir: &Path) -> (Artifact, String) {
    let output = thinferc(&[&["compile"], arguments, &["-o", "out.thin"]].concat(), dir);
    let noted = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {noted}");
    (Artifact::open(dir.join("out.thin")).unwrap(), noted)
}

fn dense(file: &str, dir: &Path) -> Artifact {
    compiled(&[file, "--ranks", "dense"], dir).0
}

fn refused(arguments: &[&str], dir: &Path, parts: &[&str]) {
    let output = thinferc(arguments, dir);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{arguments:?}: {error}");
    parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} not in {error:?}"));
}

fn session(artifact: &Artifact, batch: usize) -> Session {
    Session::new(&Device::cpu(), artifact, &Options { batch, cache: None, ..Options::default() }).unwrap()
}

/// Protocol buffers by hand: a field of bytes, and one of a number.
fn bytes(field: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    let mut len = body.len();
    while len >= 128 {
        out.push(len as u8 | 128);
        len >>= 7;
    }
    out.push(len as u8);
    [out, body.to_vec()].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    assert!(value < 128, "one byte");
    vec![field << 3, value]
}

/// An attribute, its type left to its field.
fn ints(name: &str, values: &[u8]) -> Vec<u8> {
    let list: Vec<u8> = values.iter().flat_map(|&v| number(8, v)).collect();
    bytes(5, &[bytes(1, name.as_bytes()), list].concat())
}

fn int(name: &str, value: u8) -> Vec<u8> {
    bytes(5, &[bytes(1, name.as_bytes()), number(3, value)].concat())
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: Vec<u8>) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i.as_bytes())).collect();
    bytes(1, &[inputs, bytes(2, output.as_bytes()), bytes(3, output.as_bytes()), bytes(4, op.as_bytes()), attributes].concat())
}

fn weight(name: &str, shape: &[u8], values: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&d| number(1, d)).collect();
    let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    bytes(5, &[dims, number(2, 1), bytes(8, name.as_bytes()), bytes(9, &raw)].concat())
}

/// An array's declaration; an axis of 0 is called N.
fn value(field: u8, name: &str, element: u8, shape: &[u8]) -> Vec<u8> {
    let axis = |&d: &u8| bytes(1, &if d == 0 { bytes(2, b"N") } else { number(1, d) });
    let shape = bytes(2, &shape.iter().flat_map(axis).collect::<Vec<u8>>());
    bytes(field, &[bytes(1, name.as_bytes()), bytes(2, &bytes(1, &[number(1, element), shape].concat()))].concat())
}

fn save(path: &Path, parts: &[Vec<u8>]) {
    let graph = bytes(7, &parts.concat());
    fs::write(path, [number(1, 8), graph, bytes(8, &number(2, 13))].concat()).unwrap();
}

/// Repeatable numbers from −1 to 1.
fn noise(len: usize, seed: usize) -> Vec<f32> {
    thinfer::tools::bench::noise(len + seed).split_off(seed)
}

/// Conv, Relu, Conv, mean: from [3, 6, 5] to six numbers.
fn convolutions(path: &Path, first: Vec<Vec<u8>>, input: &[u8], turned: bool) {
    let mut kernel = noise(6 * 27, 3);
    if turned {
        kernel.chunks_mut(27).for_each(|k| {
            let (a, b) = k.split_at_mut(18);
            a[..9].swap_with_slice(b);
        });
    }
    let parts = vec![
        node("Conv", &["c", "w1"], "h", Vec::new()),
        node("Relu", &["h"], "r", Vec::new()),
        node("Conv", &["r", "w2"], "s", Vec::new()),
        node("GlobalAveragePool", &["s"], "p", Vec::new()),
        node("Flatten", &["p"], "y", Vec::new()),
        weight("w1", &[6, 3, 3, 3], &kernel),
        weight("w2", &[6, 6, 2, 2], &noise(6 * 24, 5)),
        value(11, "x", 1, input),
        value(12, "y", 1, &[0, 6]),
    ];
    save(path, &[first, parts].concat());
}

/// A folder of coloured images of two classes, for training.
fn save_folder(dir: &Path) {
    let mut drawn = noise(40 * 90, 1).into_iter();
    for i in 0..40 {
        let class = dir.join(format!("set/train/{}", i % 2));
        fs::create_dir_all(&class).unwrap();
        // Red is bright, blue is dark: swapped colours are another image.
        let pixels = (0..90).map(|k| (drawn.next().unwrap() * 40.0 + [190.0, 120.0, 50.0][k % 3]) as u8);
        fs::write(class.join(format!("{i}.ppm")), [b"P6 5 6 255\n".to_vec(), pixels.collect()].concat()).unwrap();
    }
}

#[test]
fn arrays_are_taken_as_the_file_declares_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let transpose = || vec![node("Transpose", &["x"], "c", ints("perm", &[0, 3, 1, 2]))];
    let identity = || vec![node("Identity", &["x"], "c", Vec::new())];
    convolutions(&dir.join("nchw.onnx"), identity(), &[0, 3, 6, 5], false);
    convolutions(&dir.join("nhwc.onnx"), transpose(), &[0, 6, 5, 3], false);
    let (first, last) = (dense("nchw.onnx", dir), dense("nhwc.onnx", dir));
    assert_eq!([&first, &last].map(|a| a.input().spec.to_string()), ["'x', float32 [N, 3, 6, 5]", "'x', float32 [N, 6, 5, 3]"]);
    assert_eq!([&first, &last].map(|a| a.input().kind), [InputKind::Image; 2]);
    assert_eq!(last.output().spec.to_string(), "'y', float32 [N, 6]");
    let planes = noise(2 * 90, 7);
    let pixels: Vec<f32> = planes.chunks(90).flat_map(|p| (0..90).map(|i| p[i % 3 * 30 + i / 3])).collect();
    let [a, b] = [(&first, &planes), (&last, &pixels)].map(|(artifact, x)| session(artifact, 2).run(x).unwrap());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5) && a.iter().any(|x| x.abs() > 0.01), "{a:?} {b:?}");
}

#[test]
fn images_reach_every_network_in_its_own_order_and_colours() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save_folder(dir);
    let transpose = || vec![node("Transpose", &["x"], "c", ints("perm", &[0, 3, 1, 2]))];
    let identity = || vec![node("Identity", &["x"], "c", Vec::new())];
    convolutions(&dir.join("rgb.onnx"), identity(), &[0, 3, 6, 5], false);
    convolutions(&dir.join("last.onnx"), transpose(), &[0, 6, 5, 3], false);
    convolutions(&dir.join("bgr.onnx"), transpose(), &[0, 6, 5, 3], true);
    let images = data::load(&format!("folder:{}", dir.join("set").display()).parse().unwrap(), Part::Train).unwrap();
    let set = format!("folder:{}:40", dir.join("set").display());
    let pixels = ["--mean", "0.7,0.5,0.2", "--std", "0.2,0.3,0.4", "--channels", "rgb"];
    // Mean and deviation stand in the order of the network's channels.
    let swapped = ["--mean", "0.2,0.5,0.7", "--std", "0.4,0.3,0.2", "--channels", "bgr"];
    // Cut for what the layers see in these images: the cuts agree only if they see the same.
    for ranks in [&["--ranks", "dense"][..], &["--ranks", "energy:0.7", "--calibrate", &set]] {
        let answers = [("rgb.onnx", pixels), ("last.onnx", pixels), ("bgr.onnx", swapped)].map(|(file, pixels)| {
            let (artifact, _) = compiled(&[&[file], ranks, &pixels].concat(), dir);
            assert_eq!(artifact.input().preprocess.channels == Channels::Bgr, file == "bgr.onnx");
            outputs(&mut session(&artifact, 8), &images.images).unwrap()
        });
        let largest = answers[0].iter().fold(0f32, |m, x| m.max(x.abs()));
        for other in &answers[1..] {
            assert!(other.iter().zip(&answers[0]).all(|(a, b)| (a - b).abs() < 1e-3 * largest), "{ranks:?}: {answers:?}");
        }
        // The wrong order of colours gives something else.
        let wrong = compiled(&[&["bgr.onnx"], ranks, &pixels].concat(), dir).0;
        let wrong = outputs(&mut session(&wrong, 8), &images.images).unwrap();
        assert!(wrong.iter().zip(&answers[0]).any(|(a, b)| (a - b).abs() > 0.05 * largest));
    }
    refused(&["compile", "rgb.onnx", "--ranks", "dense", "--channels", "bgr", "--mean", "1,1", "-o", "no.thin"], dir, &["--mean"]);
}

/// [N, 3, 2, 4], or another shape of 24, flattened: to four numbers.
fn flattened(path: &Path, input: &[u8], output: &str, end: Option<(&str, Vec<u8>)>) {
    let mut parts = vec![
        node("Flatten", &["x"], "f", Vec::new()),
        node("MatMul", &["f", "w"], if end.is_some() { "m" } else { output }, Vec::new()),
        weight("w", &[24, 4], &noise(96, 2)),
        value(11, "x", 1, input),
        value(12, output, 1, &[0, 4]),
    ];
    parts.extend(end.map(|(op, attributes)| node(op, &["m"], output, attributes)));
    save(path, &parts);
}

#[test]
fn features_of_three_axes_are_no_image() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (i, shape) in [&[0, 3, 2, 4][..], &[0, 2, 4, 3], &[0, 6, 2, 2], &[0, 24]].into_iter().enumerate() {
        flattened(&dir.join("f.onnx"), shape, "y", None);
        let artifact = dense("f.onnx", dir);
        assert_eq!(artifact.input().kind, InputKind::Features, "{i}");
        // As it lies, whatever its axes look like.
        let x = noise(24, 9);
        let y = session(&artifact, 1).run(&x).unwrap();
        let wanted = |c: usize| (0..24).map(|k| x[k] * noise(96, 2)[k * 4 + c]).sum::<f32>();
        assert!((0..4).all(|c| (y[c] - wanted(c)).abs() < 1e-4), "{i}: {y:?}");
    }
    flattened(&dir.join("f.onnx"), &[0, 3, 2, 4], "y", None);
    assert_eq!(compiled(&["f.onnx", "--ranks", "dense", "--channels", "rgb"], dir).0.input().kind, InputKind::Image);
    flattened(&dir.join("f.onnx"), &[0, 6, 2, 2], "y", None);
    refused(&["compile", "f.onnx", "--ranks", "dense", "--channels", "bgr", "-o", "no.thin"], dir, &["--channels bgr", "[6, 2, 2]"]);
    // Nor do images fit whose shape is another one.
    save_folder(dir);
    flattened(&dir.join("f.onnx"), &[0, 4, 3, 2], "y", None);
    refused(
        &["compile", "f.onnx", "--ranks", "energy:0.9", "--calibrate", "folder:set", "-o", "no.thin"],
        dir,
        &["[3, 6, 5]", "[N, 4, 3, 2]"],
    );
}

#[test]
fn the_end_of_a_network_says_what_it_gives() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let meaning = |output: &str, end: Option<(&str, Vec<u8>)>, extra: &[&str]| {
        flattened(&dir.join("f.onnx"), &[0, 24], output, end);
        let (artifact, noted) = compiled(&[&["f.onnx", "--ranks", "dense"], extra].concat(), dir);
        (artifact.output().meaning, noted.contains("--scores"))
    };
    assert_eq!(meaning("y", None, &[]), (Meaning::Values, true));
    assert_eq!(meaning("y", None, &["--scores", "none"]), (Meaning::Values, false));
    assert_eq!(meaning("y", None, &["--scores", "logits"]), (Meaning::Logits, false));
    assert_eq!(meaning("logits", None, &[]), (Meaning::Logits, false));
    assert_eq!(meaning("logits", Some(("Softmax", int("axis", 1))), &[]), (Meaning::Probabilities, false));
    assert_eq!(meaning("y", Some(("LogSoftmax", int("axis", 1))), &[]), (Meaning::LogProbabilities, false));
    assert_eq!(meaning("y", Some(("Sigmoid", Vec::new())), &[]), (Meaning::Independent, false));
    // A network of the zoo gives classes.
    assert!(thinferc(&["init", "--model", "mlp:6-4-3", "-o", "z.safetensors"], dir).status.success());
    assert_eq!(dense("z.safetensors", dir).output().meaning, Meaning::Logits);
    // An image of scores is none of the whole.
    save(
        &dir.join("i.onnx"),
        &[
            node("Conv", &["x", "w"], "h", Vec::new()),
            node("Softmax", &["h"], "y", int("axis", 1)),
            weight("w", &[2, 3, 1, 1], &noise(6, 4)),
            value(11, "x", 1, &[0, 3, 2, 4]),
            value(12, "y", 1, &[0, 2, 2, 4]),
        ],
    );
    let image = dense("i.onnx", dir);
    assert_eq!((image.output().meaning, image.output().spec.declared()), (Meaning::Values, "[N, 2, 2, 4]".into()));
    refused(&["compile", "i.onnx", "--ranks", "dense", "--scores", "logits", "-o", "no.thin"], dir, &["--scores", "[N, 2, 2, 4]"]);
}

#[test]
fn integers_and_arrays_without_samples_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let parts = |cast: Vec<u8>, element: u8, shape: &[u8]| {
        vec![
            cast,
            node("Conv", &["c", "w"], "y", Vec::new()),
            weight("w", &[3, 3, 1, 1], &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0]),
            value(11, "x", element, shape),
            value(12, "y", 1, &[]),
        ]
    };
    // 2: uint8.
    save(&dir.join("u8.onnx"), &parts(node("Cast", &["x"], "c", int("to", 1)), 2, &[0, 3, 1, 2]));
    let artifact = dense("u8.onnx", dir);
    let input = artifact.input();
    assert_eq!((input.spec.element, input.preprocess.scale, input.kind), (Element::U8, 1.0, InputKind::Image));
    assert_eq!(session(&artifact, 1).run_images(&[1, 2, 3, 4, 5, 255]).unwrap(), [1.0, 2.0, 6.0, 8.0, 15.0, 765.0]);
    // A float input of pixels is divided by 255.
    save(&dir.join("f32.onnx"), &parts(node("Identity", &["x"], "c", Vec::new()), 1, &[0, 3, 1, 2]));
    assert!((session(&dense("f32.onnx", dir), 1).run_images(&[255; 6]).unwrap()[5] - 3.0).abs() < 1e-5);
    // [3, 1, 2] is one sample, and three are not asked for.
    let unsqueeze = || [node("Unsqueeze", &["x", "zero"], "c", Vec::new()), constant_zero()].concat();
    save(&dir.join("one.onnx"), &parts(unsqueeze(), 1, &[3, 1, 2]));
    let artifact = dense("one.onnx", dir);
    assert_eq!((artifact.input().spec.sample_axis, artifact.input().spec.declared()), (None, "[3, 1, 2]".into()));
    assert_eq!(artifact.output().spec.declared(), "[1, 3, 1, 2]");
    assert_eq!(session(&artifact, 1).run(&[1.0; 6]).unwrap(), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert!(Session::new(&Device::cpu(), &artifact, &Options { batch: 2, ..Options::default() }).is_err());
}

/// The list [0] of int64, called `zero`.
fn constant_zero() -> Vec<u8> {
    bytes(5, &[number(1, 1), number(2, 7), bytes(8, b"zero"), bytes(9, &[0; 8])].concat())
}
