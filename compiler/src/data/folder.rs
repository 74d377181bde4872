//! Images in folders: DIR/train/CLASS/*.png, DIR/test/CLASS/*.png (or val); PNG, JPEG and PNM, all of one size.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageReader};
use rayon::prelude::*;

use super::{Dataset, Part};
use crate::error::{Error, Result};

/// What an image's file name may end in.
const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "ppm", "pgm"];

/// Bytes that all images of a part may take together.
const MOST_BYTES: usize = 32 << 30;

/// Reads one part: a class is a folder, in name order, its images in name order. The first image decides size and
/// whether all are grey or coloured; transparency is dropped.
///
/// # Errors
/// [`Error::Data`] naming a folder without classes or images, or the image that cannot be read or is of another size;
/// [`Error::Io`].
pub(super) fn load(dir: &Path, part: Part, name: String) -> Result<Dataset> {
    let names: &[&str] = match part {
        Part::Train => &["train"],
        Part::Test => &["test", "val"],
    };
    let fault = |path: &Path, why: String| Error::data(path.display().to_string(), why);
    let Some(root) = names.iter().map(|n| dir.join(n)).find(|p| p.is_dir()) else {
        return Err(fault(dir, format!("has no folder {}, which the {part} images would be in", names.join(" or "))));
    };
    let classes = entries(&root, |entry| entry.path().is_dir())?;
    if classes.is_empty() || classes.len() > usize::from(u16::MAX) {
        return Err(fault(&root, format!("has {} folders of classes", classes.len())));
    }
    let mut files: Vec<(PathBuf, u16)> = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let found = entries(&root.join(class), |entry| {
            let path = entry.path();
            let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
            ending.is_some_and(|e| ENDINGS.contains(&e.as_str()))
        })?;
        if found.is_empty() {
            return Err(fault(&root.join(class), format!("holds no image ({})", ENDINGS.join(", "))));
        }
        files.extend(found.into_iter().map(|file| (root.join(class).join(file), label as u16)));
    }
    let first = decode(&files[0].0)?;
    let shape = [if first.color().has_color() { 3 } else { 1 }, first.height() as usize, first.width() as usize];
    let len: usize = shape.iter().product();
    if files.len().checked_mul(len).is_none_or(|n| n > MOST_BYTES) {
        return Err(fault(&root, format!("its {} images of {shape:?} take more than {} GiB", files.len(), MOST_BYTES >> 30)));
    }
    let mut images = vec![0; files.len() * len];
    images.par_chunks_exact_mut(len).zip(&files).try_for_each(|(pixels, (path, _))| {
        let image = decode(path)?;
        let found = [if image.color().has_color() { 3 } else { 1 }, image.height() as usize, image.width() as usize];
        if found != shape {
            let why = format!("has shape {found:?} [channels, height, width], {} has {shape:?}", files[0].0.display());
            return Err(fault(path, why));
        }
        fill(pixels, image);
        Ok(())
    })?;
    Ok(Dataset { name, shape, images, labels: files.into_iter().map(|(_, label)| label).collect(), classes })
}

/// Names of a folder's entries that `wanted` wants, sorted; hidden ones are left out.
fn entries(dir: &Path, wanted: impl Fn(&DirEntry) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|n| Error::data(dir.display().to_string(), format!("holds {n:?}, whose name is no text")))?;
        if !name.starts_with('.') && wanted(&entry) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn decode(path: &Path) -> Result<DynamicImage> {
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(Error::io(path))?;
    reader.decode().map_err(|e| Error::data(path.display().to_string(), format!("no readable image: {e}")))
}

/// Writes an image's 8-bit pixels channel after channel.
fn fill(pixels: &mut [u8], image: DynamicImage) {
    if image.color().has_color() {
        let rgb = image.into_rgb8();
        let plane = pixels.len() / 3;
        for (at, pixel) in rgb.pixels().enumerate() {
            (0..3).for_each(|c| pixels[c * plane + at] = pixel.0[c]);
        }
    } else {
        pixels.copy_from_slice(&image.into_luma8());
    }
}

#[cfg(test)]
mod tests {
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
        let set = load(dir.path(), Part::Train, "x".into()).unwrap();
        assert_eq!((set.shape, &set.labels[..], &set.classes[..]), ([3, 1, 2], &[0, 1][..], &["a".to_string(), "b".into()][..]));
        assert_eq!(set.image(1), [1, 4, 2, 5, 3, 6]);
        assert_eq!(load(dir.path(), Part::Test, "x".into()).unwrap().images, [9; 6]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = || load(dir.path(), Part::Train, "x".into()).unwrap_err().to_string();
        assert!(refusal().contains("no folder train"));
        std::fs::create_dir_all(dir.path().join("train/a")).unwrap();
        assert!(refusal().contains("holds no image"));
        put(dir.path(), "train/a/1.ppm", &ppm(2, &[1; 6]));
        put(dir.path(), "train/a/2.ppm", &ppm(1, &[1; 6]));
        assert!(refusal().contains("2.ppm: has shape [3, 2, 1]"), "{}", refusal());
        put(dir.path(), "train/a/2.ppm", b"P5 2 1 255\n12");
        assert!(refusal().contains("2.ppm: has shape [1, 1, 2]"), "{}", refusal());
        put(dir.path(), "train/a/2.ppm", b"P6 2 1 255\n12");
        assert!(refusal().contains("2.ppm: no readable image"), "{}", refusal());
    }
}
