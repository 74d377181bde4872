//! Labelled image sets: real ones from disk, and the built-in glyphs.

mod augment;
mod cifar;
mod dataset;
mod folder;
pub mod glyphs;
mod idx;
mod spec;
mod stream;
mod strokes;

use std::path::Path;

pub use augment::Augment;
pub use dataset::{Brought, Choose, Dataset, Part};
pub use spec::{CalibrationSpec, DataSpec, SampleSource, SetKind, default_preprocess, flat_preprocess};

use crate::error::Result;

/// Loads one part of the set that `spec` names. Real sets come as their files have them; of the glyphs there are
/// [`glyphs::TRAIN_COUNT`] training and [`glyphs::TEST_COUNT`] test images, drawn with [`glyphs::SEED`].
///
/// # Errors
/// [`crate::Error::Data`] naming the folder or file that is missing or malformed; [`crate::Error::Io`].
pub fn load(spec: &DataSpec, part: Part) -> Result<Dataset> {
    load_some(spec, part, None, &|count| (0..count).collect())
}

/// Some images of one part of a set, as `choose` picks them of all. Of images in files of their own no others are decoded, and all are
/// brought to an input's size if `fit` says how.
///
/// # Errors
/// As [`load`].
pub fn load_some(spec: &DataSpec, part: Part, fit: Brought<'_>, choose: Choose<'_>) -> Result<Dataset> {
    if spec.kind != SetKind::Folder {
        let all = whole(spec, part)?;
        let chosen = choose(all.len());
        return Ok(if chosen.iter().copied().eq(0..all.len()) { all } else { all.subset(&chosen) });
    }
    folder::load(spec.dir.as_deref().unwrap_or(Path::new("")), part, format!("{spec} ({part})"), fit, choose)
}

/// Some images of a folder, which has no labels or a folder in it for each class, as [`load_some`].
///
/// # Errors
/// [`crate::Error::Data`] naming the folder or file that does not fit; [`crate::Error::Io`].
pub fn load_folder(dir: &Path, fit: Brought<'_>, choose: Choose<'_>) -> Result<Dataset> {
    folder::load_plain(dir, fit, choose)
}

/// A set that lies in few files.
fn whole(spec: &DataSpec, part: Part) -> Result<Dataset> {
    let name = format!("{spec} ({part})");
    let dir = spec.dir.as_deref().unwrap_or(Path::new(""));
    match spec.kind {
        SetKind::Mnist => idx::load(dir, part, name),
        SetKind::Cifar10 => cifar::load_10(dir, part, name),
        SetKind::Cifar100 => cifar::load_100(dir, part, name),
        SetKind::Folder => folder::load(dir, part, name, None, &|count| (0..count).collect()),
        SetKind::Glyphs => {
            let count = match part {
                Part::Train => glyphs::TRAIN_COUNT,
                Part::Test => glyphs::TEST_COUNT,
            };
            Ok(Dataset { name, ..glyphs::generate(part, count, glyphs::SEED) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_set_needs_no_folder() {
        let test = load(&"glyphs".parse().unwrap(), Part::Test).unwrap();
        assert_eq!((test.name.as_str(), test.len(), test.shape), ("glyphs (test)", glyphs::TEST_COUNT, [1, 28, 28]));
        assert_eq!(test.images.len(), test.len() * test.image_len());
    }

    #[test]
    fn a_missing_folder_is_refused() {
        let why = load(&"mnist:/nowhere/at/all".parse().unwrap(), Part::Train).unwrap_err().to_string();
        assert!(why.contains("/nowhere/at/all"), "{why}");
    }
}
