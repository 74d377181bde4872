//! Images as files have them (JPEG, PNG, PNM), and how they become a network's input: [`read`]. For programs; a session takes
//! decoded pixels.

mod exif;
mod fit;
mod jpeg;
mod pixels;
mod png;
mod pnm;
mod resample;

use std::path::Path;

pub use fit::Placement;
pub use pixels::Pixels;
use pixels::{Accept, MOST_BYTES};

use crate::artifact::{Fit, Input};
use crate::error::{Error, Result};

/// What the file name of an image ends in.
pub const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "ppm", "pgm"];

/// Whether the name of `path` ends as that of an image does.
pub fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|e| ENDINGS.contains(&e.as_str()))
}

/// Reads the image `path` as a sample of `input`: brought to its size as `fit` says, in its channels, channel after channel, red
/// first, not yet normalised. Without `fit` it must have the input's size.
///
/// # Errors
/// [`Error::Io`]; [`Error::Invalid`] that names the file: no image that is read, or damaged, or of another size, or for an input
/// that is no image.
pub fn read(path: &Path, input: &Input, fit: Option<&Fit>) -> Result<Vec<u8>> {
    let fail = |why: String| Error::invalid(path.display().to_string(), why);
    let Some(shape) = input.image() else {
        return Err(fail(format!("is an image; the network's input {} is none", input.spec)));
    };
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let accept = |width, height| if fit.is_some() { Ok(()) } else { unscaled(shape, width, height) };
    let pixels = decode(&bytes, &accept).map_err(fail)?;
    Ok(fit::planes(&pixels, shape, fit))
}

/// Reads several images as [`read`] does, one behind the other, on all cores.
///
/// # Errors
/// As [`read`], of the first that fails.
pub fn read_all<P: AsRef<Path> + Sync>(paths: &[P], input: &Input, fit: Option<&Fit>) -> Result<Vec<u8>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len().max(1));
    let each = |part: &[P]| part.iter().map(|path| read(path.as_ref(), input, fit)).collect::<Result<Vec<_>>>();
    let parts: Vec<Result<Vec<Vec<u8>>>> = std::thread::scope(|scope| {
        let started: Vec<_> = paths.chunks(paths.len().div_ceil(threads).max(1)).map(|part| scope.spawn(move || each(part))).collect();
        let lost = |_| Err(Error::invalid("reading images", "a thread ended before its end"));
        started.into_iter().map(|thread| thread.join().unwrap_or_else(lost)).collect()
    });
    Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.concat().concat())
}

/// Reads an image in its own size and colours.
///
/// # Errors
/// [`Error::Io`]; [`Error::Invalid`] that names the file.
pub fn open(path: &Path) -> Result<Pixels> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    decode(&bytes, &|_, _| Ok(())).map_err(|why| Error::invalid(path.display().to_string(), why))
}

impl Pixels {
    /// The image as a sample of `input`, as [`read`] gives it.
    ///
    /// # Errors
    /// One phrase: the input is no image, or there is no `fit` and the image has another size.
    pub fn to_input(&self, input: &Input, fit: Option<&Fit>) -> std::result::Result<Vec<u8>, String> {
        let shape = input.image().ok_or_else(|| format!("the network's input {} is no image", input.spec))?;
        if fit.is_none() {
            unscaled(shape, self.width, self.height)?;
        }
        Ok(fit::planes(self, shape, fit))
    }

    /// The image as a PNG file.
    ///
    /// # Errors
    /// One phrase: pixels that are not as many as its size says.
    pub fn to_png(&self) -> std::result::Result<Vec<u8>, String> {
        png::encode(self)
    }
}

/// Refuses an image of another size than an input of `shape`, whose file does not say how to bring it there.
fn unscaled([_, height, width]: [usize; 3], found_width: usize, found_height: usize) -> std::result::Result<(), String> {
    if (found_width, found_height) == (width, height) {
        return Ok(());
    }
    let why = format!("is {found_width} × {found_height} pixels, the network takes {width} × {height}");
    Err(format!("{why}, and its file does not say how other sizes become that (thinferc compile --fit)"))
}

/// Decodes a file by what it begins with.
fn decode(bytes: &[u8], accept: Accept<'_>) -> std::result::Result<Pixels, String> {
    let accept: Accept<'_> = &|width, height| {
        if width == 0 || height == 0 || width.saturating_mul(height).saturating_mul(4) > MOST_BYTES {
            return Err(format!("is {width} × {height} pixels: too few or too many"));
        }
        accept(width, height)
    };
    match bytes {
        [] => Err("is an empty file".into()),
        [0xff, 0xd8, ..] => jpeg::decode(bytes, accept),
        [0x89, b'P', b'N', b'G', ..] => png::decode(bytes, accept),
        [b'P', b'5' | b'6', ..] => pnm::decode(bytes, accept),
        _ => Err("is no image that is read (JPEG, PNG, and PGM and PPM in binary are)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_refused() {
        let decode = |bytes: &[u8]| decode(bytes, &|_, _| Ok(())).unwrap_err();
        assert_eq!(decode(b""), "is an empty file");
        for bytes in [&b"GIF89a"[..], b"\xff", b"BM", b"P3\n1 1 255\n0 0 0"] {
            assert!(decode(bytes).contains("is no image that is read"), "{bytes:?}");
        }
        assert!(is_image(Path::new("a/B.JPEG")) && !is_image(Path::new("png")) && !is_image(Path::new("a.webp")));
    }

    #[test]
    fn another_size_needs_a_fit_and_is_refused_before_it_is_decoded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ppm");
        // Nothing of the pixels is there.
        std::fs::write(&path, b"P6\n9 8\n255\n").unwrap();
        let error = read(&path, &Input::new(&[3, 8, 8]), None).unwrap_err().to_string();
        assert!(
            error.contains("x.ppm") && error.contains("is 9 × 8 pixels, the network takes 8 × 8") && error.contains("--fit"),
            "{error}"
        );
        assert!(read(&path, &Input::new(&[3, 8, 9]), None).unwrap_err().to_string().contains("ends after"));
        assert!(read(&path, &Input::new(&[5]), None).unwrap_err().to_string().contains("is none"));
    }

    #[test]
    fn colours_become_grey_and_grey_becomes_colours() {
        let colour = Pixels { width: 2, height: 1, channels: 3, data: vec![255, 0, 0, 10, 200, 30] };
        assert_eq!(colour.planes(), [255, 10, 0, 200, 0, 30]);
        // What Pillow's convert("L") gives.
        assert_eq!(colour.to_input(&Input::new(&[1, 1, 2]), None).unwrap(), [76, 124]);
        let grey = Pixels { width: 2, height: 1, channels: 1, data: vec![7, 9] };
        assert_eq!(grey.to_input(&Input::new(&[3, 1, 2]), None).unwrap(), [7, 9, 7, 9, 7, 9]);
        assert!(grey.to_input(&Input::new(&[3, 2, 2]), None).is_err());
    }
}
