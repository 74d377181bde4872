//! What `--calibrate` takes beside data sets: folders of images of any size, .npy and .npz files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use thinfer::Artifact;
use thinfer::artifact::FitMethod;
use thinfer::tools::images::{self, Pixels};
use thinfer::tools::npy::{self, Npy, NpyData};

fn thinferc(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thinferc")).args(arguments).current_dir(dir).output().unwrap()
}

fn succeed(arguments: &[&str], dir: &Path) -> String {
    let output = thinferc(arguments, dir);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &[&str], dir: &Path, parts: &[&str]) {
    let output = thinferc(arguments, dir);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{arguments:?}: {error}");
    for part in parts {
        assert!(error.contains(part), "{arguments:?}: {part:?} not in {error:?}");
    }
    assert!(!dir.join("no.thin").exists());
}

/// Twelve coloured images of as many sizes.
fn save_photos(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    for i in 0..12usize {
        let (width, height) = (36 + 5 * i, 70 - 3 * i);
        let data = (0..width * height * 3).map(|k| ((k * (7 + i) + k * k / (90 + i)) % 256) as u8).collect();
        fs::write(dir.join(format!("{i:02}.png")), Pixels { width, height, channels: 3, data }.to_png().unwrap()).unwrap();
    }
}

#[test]
fn folders_and_arrays_of_the_same_images_calibrate_alike() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save_photos(&dir.join("photos"));
    succeed(&["init", "--model", "resnet8", "-o", "r.safetensors"], dir);
    let compile = |data: &str, out: &str| {
        let cut = ["compile", "r.safetensors", "--ranks", "macs:0.5", "--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.3", "--fit", "crop:34"];
        succeed(&[&cut[..], &["--calibrate", data, "-o", out]].concat(), dir)
    };
    assert!(compile("photos", "folder.thin").contains("images of other sizes for 'input': shorter side to 34, centre crop, bilinear"));
    let folder = Artifact::open(dir.join("folder.thin")).unwrap();
    let (input, fit) = (folder.input(), folder.sections().fit(0).unwrap());
    assert_eq!(fit.method, FitMethod::Crop { shorter: 34 });
    let planes: Vec<u8> = (0..12).flat_map(|i| images::read(&dir.join(format!("photos/{i:02}.png")), input, Some(fit)).unwrap()).collect();
    let save = |name: &str, data| fs::write(dir.join(name), npy::write(&Npy { shape: vec![12, 3, 32, 32], data })).unwrap();
    save("u8.npy", NpyData::U8(planes.clone()));
    save("f32.npy", NpyData::F32(input.from_pixels(&planes)));
    for data in ["u8.npy", "f32.npy"] {
        compile(data, "array.thin");
        assert_eq!(Artifact::open(dir.join("array.thin")).unwrap().as_bytes(), folder.as_bytes(), "{data}");
    }
    // Fewer images make another cut.
    compile("photos:3", "three.thin");
    assert!(Artifact::open(dir.join("three.thin")).unwrap().as_bytes() != folder.as_bytes());
}

#[test]
fn what_does_not_fit_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save_photos(&dir.join("photos"));
    succeed(&["init", "--model", "resnet8", "-o", "r.safetensors"], dir);
    fs::create_dir(dir.join("empty")).unwrap();
    fs::write(dir.join("flat.npy"), npy::write(&Npy { shape: vec![2, 3072], data: NpyData::F32(vec![0.0; 6144]) })).unwrap();
    fs::write(dir.join("text.npz"), "hello").unwrap();
    let refused = |more: &[&str], parts: &[&str]| {
        refused(&[&["compile", "r.safetensors", "-o", "no.thin", "--ranks", "macs:0.5"], more].concat(), dir, parts);
    };
    refused(&["--calibrate", "photos"], &[".png: has shape", "--fit"]);
    refused(&["--calibrate", "empty"], &["empty", "holds no image"]);
    refused(&["--calibrate", "nowhere"], &["nowhere"]);
    refused(&["--calibrate", "flat.npy"], &["flat.npy", "[2, 3072]", "[N, 3, 32, 32]"]);
    refused(&["--calibrate", "text.npz"], &["text.npz", "no whole zip archive"]);
    refused(&["--fit", "crop:20"], &["--fit", "does not hold 32 × 32"]);
    let judged = ["compile", "r.safetensors", "-o", "no.thin", "--ranks", "accuracy:1", "--calibrate", "flat.npy"];
    let error = String::from_utf8(thinferc(&judged, dir).stderr).unwrap();
    assert!(error.lines().count() == 1 && error.contains("flat.npy"), "{error}");
    assert_eq!(thinferc(&["compile", "r.safetensors", "--ranks", "dense", "--fit", "zoom", "-o", "no.thin"], dir).status.code(), Some(2));
    assert_eq!(
        thinferc(&["compile", "r.safetensors", "--ranks", "dense", "--filter", "bicubic", "-o", "no.thin"], dir).status.code(),
        Some(2)
    );
}
