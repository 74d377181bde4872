//! Data, artifacts and reports that are damaged, of another kind or in the way.

use std::fs;

use crate::{refused, save, thinferc};

#[test]
fn data_that_is_missing_or_lies_is_refused_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save(dir, "good.safetensors", |_| ());
    assert!(thinferc(&["compile", "good.safetensors", "--ranks", "dense", "-o", "good.thin"], dir).status.success());
    fs::create_dir(dir.join("empty")).unwrap();
    refused(&["eval", "good.thin", "--data", "mnist:empty"], dir, &["empty"]);
    refused(&["eval", "good.thin", "--data", "mnist:absent"], dir, &["absent"]);
    refused(&["train", "--model", "fcn6", "--data", "mnist:empty", "--method", "dense", "-o", "run"], dir, &["empty"]);
    // The glyphs have 784 pixels, this network takes 6 values.
    refused(&["eval", "good.thin", "--data", "glyphs"], dir, &["glyphs", "784", "6 values"]);
    refused(&["train", "--model", "mlp:6-5-10", "--data", "glyphs", "--method", "dense", "-o", "run"], dir, &["[1, 28, 28]", "takes [6]"]);
    fs::create_dir(dir.join("lying")).unwrap();
    let header =
        |magic: u32, sizes: &[u32]| std::iter::once(magic).chain(sizes.iter().copied()).flat_map(u32::to_be_bytes).collect::<Vec<u8>>();
    fs::write(dir.join("lying/t10k-labels-idx1-ubyte"), [header(2049, &[2]), vec![1, 2]].concat()).unwrap();
    fs::write(dir.join("lying/t10k-images-idx3-ubyte"), [header(2051, &[4_000_000_000, 28, 28]), vec![0; 784]].concat()).unwrap();
    refused(&["eval", "good.thin", "--data", "mnist:lying"], dir, &["t10k-images-idx3-ubyte"]);
}

#[test]
fn damaged_artifacts_are_refused_by_fault() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save(dir, "good.safetensors", |_| ());
    assert!(thinferc(&["compile", "good.safetensors", "--ranks", "local:0.5", "-o", "good.thin"], dir).status.success());
    let bytes = fs::read(dir.join("good.thin")).unwrap();
    fs::write(dir.join("cut.thin"), &bytes[..bytes.len() - 7]).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x10;
    fs::write(dir.join("flipped.thin"), flipped).unwrap();
    let mut newer = bytes;
    newer[4] = 9;
    fs::write(dir.join("newer.thin"), newer).unwrap();
    for (file, part) in
        [("cut.thin", "truncated"), ("flipped.thin", "damaged"), ("newer.thin", "version 9"), ("absent.thin", "No such file")]
    {
        refused(&["inspect", file], dir, &[file, part]);
        refused(&["eval", file, "--data", "glyphs"], dir, &[file, part]);
    }
}

/// What a newcomer mixes up: nothing is lost, and the line says what the file is.
#[test]
fn files_of_another_kind_are_named_and_none_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save(dir, "good.safetensors", |_| ());
    fs::copy(dir.join("good.safetensors"), dir.join("other.safetensors")).unwrap();
    let held = fs::read(dir.join("good.safetensors")).unwrap();
    let compile = |file: &'static str, extra: &[&'static str]| [&["compile", file, "--ranks", "dense"][..], extra].concat();
    for output in ["good.safetensors", "other.safetensors"] {
        refused(&compile("good.safetensors", &["-o", output]), dir, &[output, "choose another name"]);
    }
    let onto = ["-o", "o.thin", "--emit-factors", "good.safetensors"];
    refused(&compile("good.safetensors", &onto), dir, &["good.safetensors", "choose another name"]);
    assert!(["good", "other"].iter().all(|name| fs::read(dir.join(format!("{name}.safetensors"))).unwrap() == held));

    assert!(thinferc(&compile("good.safetensors", &["-o", "o.thin"]), dir).status.success());
    assert!(thinferc(&compile("good.safetensors", &["-o", "o.thin"]), dir).status.success(), "a .thin file is replaced");
    refused(&compile("o.thin", &["-o", "p.thin"]), dir, &["o.thin", "is a .thin file"]);
    fs::write(dir.join("picture.png"), b"\x89PNG\r\n\x1a\n0000").unwrap();
    refused(&compile("picture.png", &["-o", "p.thin"]), dir, &["picture.png", "an image"]);
    refused(&["eval", "good.safetensors", "--data", "glyphs"], dir, &["good.safetensors", "thinferc compile"]);

    let cnn = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/small_cnn.onnx");
    refused(&["compile", cnn, "--model", "resnet20", "--ranks", "dense", "-o", "p.thin"], dir, &["--model resnet20", "small_cnn.onnx"]);
    let tune = ["train", "--from", cnn, "--model", "resnet20", "--data", "glyphs", "--method", "finetune", "-o", "run"];
    refused(&tune, dir, &["--model resnet20", "small_cnn.onnx"]);

    // Three outputs, ten classes.
    refused(&["eval", "o.thin", "--data", "glyphs"], dir, &["glyphs"]);
    let train = ["train", "--model", "fcn6", "--data", "glyphs", "--method", "dense", "-o", "run", "--teacher"];
    refused(&[&train[..], &["absent.thin"]].concat(), dir, &["absent.thin"]);
    refused(&[&train[..], &["good.safetensors"]].concat(), dir, &["good.safetensors"]);
    refused(&[&train[..], &["o.thin"]].concat(), dir, &["o.thin", "gives 3 classes"]);
    for malformed in ["much", "0.5:hot", "0.5:4:3", ""] {
        let output = thinferc(&[&train[..], &["o.thin", "--distil", malformed]].concat(), dir);
        assert_eq!(output.status.code(), Some(2), "{malformed:?} is a usage error");
    }
    refused(&[&train[..], &["o.thin", "--distil", "2"]].concat(), dir, &["distil", "weight"]);
}

/// Before any work is done: what it would have made is not lost to another output, and nothing that is read is written over.
#[test]
fn outputs_that_collide_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(thinferc(&["init", "--model", "mlp:6-5-3", "-o", "m.safetensors"], dir).status.success());
    let compile = ["compile", "m.safetensors", "--ranks", "local:0.5", "-o", "x.thin"];
    assert!(thinferc(&compile, dir).status.success());
    let whole = dir.join("x.thin").display().to_string();
    for (extra, parts) in [
        (&["--emit-factors", "./x.thin"][..], &["x.thin", "written twice"][..]),
        (&["--json", &whole], &["x.thin", "written twice"]),
        (&["--emit-factors", "new", "--json", "./new"], &["new", "written twice"]),
        (&["--json", "m.safetensors"], &["m.safetensors", "choose another name"]),
        (&["--json", "no/folder/x.json"], &["no/folder"]),
    ] {
        refused(&[&compile[..], extra].concat(), dir, parts);
    }
    refused(&["inspect", "m.safetensors", "--json", "no/folder/x.json"], dir, &["no/folder"]);
    refused(&["inspect", "x.thin", "--json", "x.thin"], dir, &["x.thin", "is what is read"]);
    refused(&["eval", "x.thin", "--data", "glyphs", "--json", "x.thin"], dir, &["x.thin", "is what is read"]);
    refused(&["eval", "x.thin", "--data", "glyphs", "--json", "no/folder/x.json"], dir, &["no/folder"]);
    refused(&["sweep", "m.safetensors", "--data", "glyphs", "-o", "x.thin"], dir, &["x.thin", "is a file"]);
    refused(&["report", "x.thin", "-o", "x.thin"], dir, &["x.thin", "is what is read"]);
}

#[test]
fn a_report_names_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("torn.json"), "{\"top1\": 9").unwrap();
    fs::write(dir.join("other.json"), "{\"answer\": 42}").unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    for (source, parts) in [
        ("torn.json", ["torn.json", "JSON"]),
        ("other.json", ["other.json", "top1"]),
        ("empty", ["empty", "run.json"]),
        ("gone.thin", ["gone.thin", "No such file"]),
    ] {
        refused(&["report", source, "-o", "report.html"], dir, &parts);
    }
    refused(&["report", "other.json", "-o", "nowhere/report.html"], dir, &["nowhere"]);
}
