//! Images from files as a network's input, held against what Pillow makes of the same files: `images/make.py` wrote both.

#![cfg(feature = "decode")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use thinfer::artifact::{Anchor, Filter, Fit, FitMethod, Input};
use thinfer::tools::images;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name)
}

/// The largest difference, in grey levels, from the pixels of a file.
fn apart(planes: &[u8], expected: &str) -> u8 {
    let expected = images::open(&file(expected)).unwrap().planes();
    assert_eq!(planes.len(), expected.len());
    planes.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn an_image_of_another_size_becomes_what_pillow_makes_of_it() {
    let letterbox = |fill, anchor| FitMethod::Letterbox { fill, anchor };
    let grey = letterbox([114; 3], Anchor::Middle);
    for (name, filter) in [("bilinear", Filter::Bilinear), ("bicubic", Filter::Bicubic)] {
        for (expected, shape, method) in [
            ("small", [3, 16, 24], FitMethod::Stretch),
            ("large", [3, 50, 90], FitMethod::Stretch),
            ("tall", [3, 50, 24], FitMethod::Stretch),
            ("crop", [3, 17, 20], FitMethod::Crop { shorter: 21 }),
            ("letterbox", [3, 32, 32], grey),
        ] {
            let fit = Fit { input: 0, method, filter };
            let planes = images::read(&file("photo.png"), &Input::new(&shape), Some(&fit)).unwrap();
            assert_eq!(apart(&planes, &format!("{expected}_{name}.png")), 0, "{expected} {name}");
        }
    }
    let fit = |method| Fit { input: 0, method, filter: Filter::Bilinear };
    let corner = fit(letterbox([9, 80, 200], Anchor::Corner));
    let planes = images::read(&file("photo.png"), &Input::new(&[3, 20, 50]), Some(&corner)).unwrap();
    assert_eq!(apart(&planes, "corner_bilinear.png"), 0);
    let planes = images::read(&file("photo.png"), &Input::new(&[1, 16, 24]), Some(&fit(FitMethod::Stretch))).unwrap();
    assert_eq!(apart(&planes, "grey_bilinear.png"), 0);
}

#[test]
fn every_kind_of_jpeg_is_read() {
    for (name, most) in [("quarter", 3), ("half", 3), ("full", 3), ("progressive", 3), ("grey", 1)] {
        let image = images::open(&file(&format!("{name}.jpg"))).unwrap();
        assert_eq!((image.width, image.height, image.channels), (61, 37, if name == "grey" { 1 } else { 3 }));
        let apart = apart(&image.planes(), &format!("{name}_read.png"));
        println!("{name}: {apart} levels apart");
        // Decoders round their transforms and their upsampling each in their way.
        assert!(apart <= most, "{name}: {apart}");
    }
    assert_eq!(apart(&images::open(&file("upright.png")).unwrap().planes(), "photo.png"), 0);
}

#[test]
fn what_would_be_guessed_is_refused_in_one_line() {
    for (name, why) in [
        ("cmyk.jpg", "printing colours (CMYK)"),
        ("turned.jpg", "EXIF orientation 6"),
        ("turned.png", "EXIF orientation 6"),
        ("sixteen.png", "16 bits a channel"),
        ("clear.png", "transparent pixels"),
    ] {
        let error = images::open(&file(name)).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(why) && !error.contains('\n'), "{name}: {error}");
    }
}

#[test]
fn a_file_that_is_cut_off_is_never_half_an_image() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.jpg");
    for name in ["quarter.jpg", "progressive.jpg", "grey.jpg", "photo.png"] {
        let whole = std::fs::read(file(name)).unwrap();
        for end in (0..whole.len()).step_by(7).chain(whole.len() - 12..whole.len()) {
            std::fs::write(&path, &whole[..end]).unwrap();
            let error = images::open(&path).unwrap_err().to_string();
            assert!(error.contains("cut.jpg") && !error.contains('\n'), "{name} {end}: {error}");
        }
        // Damage ends in an image or in a refusal.
        for at in (0..whole.len()).step_by(11) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            std::fs::write(&path, &damaged).unwrap();
            let _ = images::open(&path);
        }
    }
}
