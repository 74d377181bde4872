//! Images in folders: DIR/train/CLASS/*.png, DIR/test/CLASS/*.png (or val), or a folder alone; PNG, JPEG and PNM, of one size or brought to one.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use thinfer::artifact::{Fit, Input};
use thinfer::tools::folder::Folder;
use thinfer::tools::images;

use super::{Brought, Choose, Dataset, Part};
use crate::error::{Error, Result};

/// Bytes that all images of a part may take together.
const MOST_BYTES: usize = 32 << 30;

/// Reads images of one part: a class is a folder, in name order, its images in name order. Of those that `choose` picks the first
/// decides size and whether all are grey or coloured, or `fit` does.
///
/// # Errors
/// [`Error::Data`] naming a folder without classes or images, or the image that cannot be read or is of another size;
/// [`Error::Io`].
pub(super) fn load(dir: &Path, part: Part, name: String, fit: Brought<'_>, choose: Choose<'_>) -> Result<Dataset> {
    let names: &[&str] = match part {
        Part::Train => &["train"],
        Part::Test => &["test", "val"],
    };
    let fault = |path: &Path, why: String| Error::data(path.display().to_string(), why);
    let Some(root) = names.iter().map(|n| dir.join(n)).find(|p| p.is_dir()) else {
        return Err(fault(dir, format!("has no folder {}, which the {part} images would be in", names.join(" or "))));
    };
    let folder = Folder::list(&root).map_err(of_data)?;
    if folder.classes.is_empty() || folder.classes.len() > usize::from(u16::MAX) {
        return Err(fault(&root, format!("has {} folders of classes", folder.classes.len())));
    }
    read(&root, folder, name, fit, choose)
}

/// Reads images of a folder, whether or not they have labels.
///
/// # Errors
/// As [`load`].
pub(super) fn load_plain(dir: &Path, fit: Brought<'_>, choose: Choose<'_>) -> Result<Dataset> {
    let folder = Folder::list(dir).map_err(|error| match (of_data(error), dir.join("train").is_dir()) {
        (Error::Data { at, why }, true) => Error::data(at, format!("{why}; folder:DIR reads DIR/train/CLASS")),
        (error, _) => error,
    })?;
    read(dir, folder, dir.display().to_string(), fit, choose)
}

fn read(root: &Path, folder: Folder, name: String, fit: Brought<'_>, choose: Choose<'_>) -> Result<Dataset> {
    let chosen = choose(folder.files.len());
    let files: Vec<&PathBuf> = chosen.iter().map(|&i| &folder.files[i]).collect();
    let labels = chosen.iter().map(|&i| folder.labels.get(i).map_or(0, |&label| label as u16)).collect();
    let Some(first) = files.first() else {
        return Ok(Dataset { name, shape: [1, 1, 1], images: Vec::new(), labels, classes: folder.classes });
    };
    let shape = match fit.and_then(|(input, _)| input.image()) {
        Some(shape) => shape,
        None => decode(first)?.0,
    };
    let len: usize = shape.iter().product();
    if files.len().checked_mul(len).is_none_or(|n| n > MOST_BYTES) {
        let why = format!("its {} images of {shape:?} take more than {} GiB", files.len(), MOST_BYTES >> 30);
        return Err(Error::data(root.display().to_string(), why));
    }
    let mut images = vec![0; files.len() * len];
    images.par_chunks_exact_mut(len).zip(&files).try_for_each(|(pixels, path)| {
        let planes = match fit {
            Some((input, fit)) => fitted(path, input, fit)?,
            None => {
                let (found, planes) = decode(path)?;
                if found != shape {
                    let why = format!("has shape {found:?} [channels, height, width], {} has {shape:?}", first.display());
                    let why = format!("{why}; thinferc compile --fit says how images of other sizes are brought to the network's");
                    return Err(Error::data(path.display().to_string(), why));
                }
                planes
            }
        };
        pixels.copy_from_slice(&planes);
        Ok(())
    })?;
    Ok(Dataset { name, shape, images, labels, classes: folder.classes })
}

/// An image's shape, and its pixels channel after channel.
fn decode(path: &Path) -> Result<([usize; 3], Vec<u8>)> {
    let image = images::open(path).map_err(of_data)?;
    Ok(([image.channels, image.height, image.width], image.planes()))
}

fn fitted(path: &Path, input: &Input, fit: &Fit) -> Result<Vec<u8>> {
    images::read(path, input, Some(fit)).map_err(of_data)
}

/// What the runtime refuses of files here is a fault of the data.
fn of_data(error: thinfer::Error) -> Error {
    match error {
        thinfer::Error::Invalid { what, why } => Error::data(what, why),
        thinfer::Error::Io { path, source } => Error::Io { path, source },
        other => Error::Runtime(other),
    }
}

#[cfg(test)]
mod tests {
    use thinfer::artifact::{Filter, FitMethod};

    use super::*;

    fn put(dir: &Path, path: &str, bytes: &[u8]) {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn ppm(width: u8, pixels: &[u8]) -> Vec<u8> {
        [format!("P6 {width} {} 255\n", pixels.len() / 3 / usize::from(width)).as_bytes(), pixels].concat()
    }

    #[test]
    fn classes_and_images_come_in_name_order() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "train/b/1.ppm", &ppm(2, &[1, 2, 3, 4, 5, 6]));
        put(dir.path(), "train/a/z.ppm", &ppm(2, &[7; 6]));
        put(dir.path(), "train/a/readme.txt", b"no image");
        put(dir.path(), "val/b/1.ppm", &ppm(2, &[9; 6]));
        let all = |count: usize| (0..count).collect::<Vec<_>>();
        let set = load(dir.path(), Part::Train, "x".into(), None, &all).unwrap();
        assert_eq!((set.shape, &set.labels[..], &set.classes[..]), ([3, 1, 2], &[0, 1][..], &["a".to_string(), "b".into()][..]));
        assert_eq!(set.image(1), [1, 4, 2, 5, 3, 6]);
        assert_eq!(load(dir.path(), Part::Test, "x".into(), None, &all).unwrap().images, [9; 6]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = || load(dir.path(), Part::Train, "x".into(), None, &|count| (0..count).collect()).unwrap_err().to_string();
        assert!(refusal().contains("no folder train"));
        std::fs::create_dir_all(dir.path().join("train/a")).unwrap();
        assert!(refusal().contains("holds no image"));
        put(dir.path(), "train/a/1.ppm", &ppm(2, &[1; 6]));
        put(dir.path(), "train/a/2.ppm", &ppm(1, &[1; 6]));
        assert!(refusal().contains("2.ppm: has shape [3, 2, 1]"), "{}", refusal());
        put(dir.path(), "train/a/2.ppm", b"P5 2 1 255\n12");
        assert!(refusal().contains("2.ppm: has shape [1, 1, 2]"), "{}", refusal());
        put(dir.path(), "train/a/2.ppm", b"P6 2 1 255\n12");
        assert!(refusal().contains("2.ppm: is a PNM file that ends after 2 of 6"), "{}", refusal());
    }

    #[test]
    fn no_other_images_are_decoded_than_those_that_are_wanted() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "train/a/1.ppm", b"no image");
        put(dir.path(), "train/a/2.ppm", &ppm(2, &[1, 2, 3, 4, 5, 6]));
        put(dir.path(), "train/b/1.ppm", &ppm(4, &[9; 24]));
        let some = |dir: &Path, fit: Brought<'_>, chosen: &[usize]| load(dir, Part::Train, "x".into(), fit, &|_| chosen.to_vec());
        assert_eq!(some(dir.path(), None, &[1]).unwrap().image(0), [1, 4, 2, 5, 3, 6]);
        assert!(some(dir.path(), None, &[0]).is_err());
        // They are of other sizes, and the network says how they become its own.
        let (input, fit) = (Input::new(&[3, 2, 2]), Fit { input: 0, method: FitMethod::Stretch, filter: Filter::Bilinear });
        let set = some(dir.path(), Some((&input, &fit)), &[2, 1]).unwrap();
        assert_eq!((set.shape, &set.labels[..]), ([3, 2, 2], &[1, 0][..]));
        assert_eq!((set.image(0), &set.image(1)[..4]), (&[9; 12][..], &[1, 4, 1, 4][..]));
        // Without labels.
        let plain = load_plain(&dir.path().join("train/b"), None, &|count| (0..count).collect()).unwrap();
        assert_eq!((plain.len(), plain.classes.len()), (1, 0));
    }
}
