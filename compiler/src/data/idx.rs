//! MNIST's IDX files, plain or gzipped, under any of the names they go by.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::dataset::{DIGITS, digit_names};
use super::{Dataset, Part};
use crate::error::{Error, Result};

/// IDX magic: two zero bytes, 8 for u8 elements, the number of axes.
const IMAGES_MAGIC: u32 = 2051;
const LABELS_MAGIC: u32 = 2049;

/// Height and width of MNIST's images.
const SIDE: u32 = 28;

/// Deflate cannot shrink below this share, so a header that claims more than the file can hold is a lie.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// Reads one part of MNIST (or of a set in its clothes, such as Fashion-MNIST) from `dir` or `dir/MNIST/raw`: shape
/// [1, 28, 28], ten classes.
///
/// # Errors
/// [`Error::Data`] naming the folder when files are missing, or the file whose magic, shape, length, count or labels
/// are wrong; [`Error::Io`].
pub(super) fn load(dir: &Path, part: Part, name: String) -> Result<Dataset> {
    let stem = match part {
        Part::Train => "train",
        Part::Test => "t10k",
    };
    let images_at = find(dir, &format!("{stem}-images"), 3)?;
    let labels_at = find(dir, &format!("{stem}-labels"), 1)?;
    let ([count, height, width], images) = read::<3>(&images_at, IMAGES_MAGIC, |[_, height, width]| {
        let fits = [height, width] == [SIDE; 2];
        fits.then_some(()).ok_or_else(|| format!("images are {height}×{width}, MNIST's are {SIDE}×{SIDE}"))
    })?;
    let ([labelled], labels) = read::<1>(&labels_at, LABELS_MAGIC, |_| Ok(()))?;
    if labelled != count {
        return Err(fault(&labels_at, format!("{labelled} labels for the {count} images of {}", images_at.display())));
    }
    if let Some((at, label)) = labels.iter().enumerate().find(|&(_, &l)| usize::from(l) >= DIGITS) {
        return Err(fault(&labels_at, format!("label {at} is {label}, the largest class is {}", DIGITS - 1)));
    }
    Ok(Dataset {
        name,
        shape: [1, height as usize, width as usize],
        images,
        labels: labels.into_iter().map(u16::from).collect(),
        classes: digit_names(),
    })
}

/// The file of this stem, looked for as LeCun, Keras' mirrors and torchvision name it.
fn find(dir: &Path, stem: &str, axes: usize) -> Result<PathBuf> {
    let names = ["", ".gz"].map(|gz| ["-", "."].map(|dash| format!("{stem}{dash}idx{axes}-ubyte{gz}")));
    let folders = [dir.to_path_buf(), dir.join("MNIST").join("raw")];
    let candidates = folders.iter().flat_map(|folder| names.iter().flatten().map(move |name| folder.join(name)));
    let Some(found) = candidates.into_iter().find(|path| path.is_file()) else {
        let why = if dir.is_dir() { "" } else { "is no folder: " };
        let looked = format!("looked for {stem}-idx{axes}-ubyte and {stem}.idx{axes}-ubyte, each also with .gz, here and in MNIST/raw");
        return Err(Error::data(dir.display().to_string(), format!("{why}{looked}")));
    };
    Ok(found)
}

/// Reads a u8 IDX file of N axes, the first counting the items; `check` judges the axis lengths before the body is read.
fn read<const N: usize>(path: &Path, magic: u32, check: impl Fn([u32; N]) -> Result<(), String>) -> Result<([u32; N], Vec<u8>)> {
    let file = File::open(path).map_err(Error::io(path))?;
    let stored = file.metadata().map_err(Error::io(path))?.len();
    let file = BufReader::new(file);
    if path.extension().is_some_and(|e| e == "gz") {
        let most = stored.saturating_mul(MAX_DEFLATE_RATIO);
        parse(path, MultiGzDecoder::new(file), most, magic, check)
    } else {
        parse(path, file, stored, magic, check)
    }
}

/// Parses an IDX stream that cannot yield more than `most` bytes.
fn parse<const N: usize>(
    path: &Path,
    mut stream: impl Read,
    most: u64,
    magic: u32,
    check: impl Fn([u32; N]) -> Result<(), String>,
) -> Result<([u32; N], Vec<u8>)> {
    let broken = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => fault(path, "ends too early"),
        // What the decoder refuses: a damaged stream or checksum, or something behind the stream's end.
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => fault(path, format!("no valid gzip file: {e}")),
        _ => Error::io(path)(e),
    };
    let mut word = || -> Result<u32> {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).map_err(broken)?;
        Ok(u32::from_be_bytes(bytes))
    };
    let found = word()?;
    if found != magic {
        return Err(fault(path, format!("magic number {found}, expected {magic}")));
    }
    let mut axes = [0; N];
    for axis in &mut axes {
        *axis = word()?;
    }
    if axes.contains(&0) {
        return Err(fault(path, "holds no items"));
    }
    check(axes).map_err(|why| fault(path, why))?;
    let wanted = axes.iter().try_fold(1_u64, |n, &a| n.checked_mul(u64::from(a)));
    let head = 4 + 4 * N as u64;
    let Some(wanted) = wanted.filter(|n| n.checked_add(head).is_some_and(|n| n <= most)) else {
        return Err(fault(path, format!("its header promises {} items, more than the file can hold", axes[0])));
    };
    // One byte past the end, so that a longer file shows and gzip's own checksum is verified.
    let mut body = Vec::new();
    stream.take(wanted + 1).read_to_end(&mut body).map_err(broken)?;
    match (body.len() as u64).cmp(&wanted) {
        std::cmp::Ordering::Less => Err(fault(path, format!("ends after {} of {wanted} bytes", body.len()))),
        std::cmp::Ordering::Greater => Err(fault(path, format!("goes on after the {wanted} bytes that its header promises"))),
        std::cmp::Ordering::Equal => Ok((axes, body)),
    }
}

fn fault(path: &Path, why: impl Into<String>) -> Error {
    Error::data(path.display().to_string(), why)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tempfile::TempDir;

    use super::*;

    fn images(count: u32) -> Vec<u8> {
        let mut bytes: Vec<u8> = [IMAGES_MAGIC, count, SIDE, SIDE].iter().flat_map(|w| w.to_be_bytes()).collect();
        bytes.extend((0..count * SIDE * SIDE).map(|i| (i % 251) as u8));
        bytes
    }

    fn labels(labels: &[u8]) -> Vec<u8> {
        let head = [LABELS_MAGIC, labels.len() as u32].into_iter().flat_map(u32::to_be_bytes);
        head.chain(labels.iter().copied()).collect()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    fn refusal(images: &[u8], labels: &[u8]) -> String {
        let plain = folder(&[("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)]);
        let error = load(plain.path(), Part::Train, "x".into()).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error:?}");
        let zipped = folder(&[("train-images-idx3-ubyte.gz", &gz(images)), ("train-labels-idx1-ubyte.gz", &gz(labels))]);
        assert!(load(zipped.path(), Part::Train, "x".into()).is_err());
        error.to_string()
    }

    #[test]
    fn every_usual_name_is_found() {
        let (i, l) = (images(2), labels(&[9, 0]));
        let (zi, zl) = (gz(&i), gz(&l));
        let layouts: [&[(&str, &[u8])]; 4] = [
            &[("train-images-idx3-ubyte", &i), ("train-labels-idx1-ubyte", &l)],
            &[("train-images.idx3-ubyte", &i), ("train-labels.idx1-ubyte.gz", &zl)],
            &[("train-images-idx3-ubyte.gz", &zi), ("train-labels-idx1-ubyte.gz", &zl)],
            &[("MNIST/raw/train-images-idx3-ubyte", &i), ("MNIST/raw/train-labels-idx1-ubyte", &l)],
        ];
        for layout in layouts {
            let dir = folder(layout);
            let set = load(dir.path(), Part::Train, "x".into()).unwrap();
            assert_eq!((set.shape, &set.labels[..], &set.images[..]), ([1, 28, 28], &[9, 0][..], &i[16..]));
            assert!(load(dir.path(), Part::Test, "x".into()).is_err());
        }
    }

    #[test]
    fn a_wrong_folder_is_named_with_what_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let why = load(dir.path(), Part::Test, "x".into()).unwrap_err().to_string();
        assert!(why.contains(&dir.path().display().to_string()) && why.contains("t10k-images-idx3-ubyte"), "{why}");
        let why = load(&dir.path().join("no"), Part::Test, "x".into()).unwrap_err().to_string();
        assert!(why.contains("is no folder") && !why.contains('\n'), "{why}");
    }

    #[test]
    fn malformed_files_are_refused_by_reason() {
        let good = (images(2), labels(&[1, 2]));
        let patched = |at: usize, word: u32| {
            let mut bytes = good.0.clone();
            bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
            bytes
        };
        let longer = [&good.0[..], &[0]].concat();
        let cases = [
            (refusal(&good.1, &good.1), "magic number 2049, expected 2051"),
            (refusal(&patched(4, u32::MAX), &good.1), "more than the file can hold"),
            (refusal(&patched(4, 0), &good.1), "holds no items"),
            (refusal(&patched(8, 27), &good.1), "27×28"),
            (refusal(&good.0[..1583], &good.1), "more than the file can hold"),
            (refusal(&longer, &good.1), "goes on after"),
            (refusal(&good.0[..10], &good.1), "ends too early"),
            (refusal(&[], &good.1), "ends too early"),
            (refusal(&good.0, &labels(&[1])), "1 labels for the 2 images"),
            (refusal(&good.0, &labels(&[1, 10])), "label 1 is 10"),
        ];
        for (why, expected) in cases {
            assert!(why.contains(expected), "'{why}' lacks '{expected}'");
        }
    }

    #[test]
    fn damaged_gzip_is_refused() {
        let good = gz(&images(2));
        let mut flipped = good.clone();
        let crc = flipped.len() - 6;
        flipped[crc] ^= 1;
        let bomb = gz(&[&images(2)[..], &vec![0; 1 << 20]].concat());
        for (bytes, expected) in [(&good[..good.len() / 2], "ends"), (&flipped, "gzip"), (b"nonsense, no gzip", "gzip"), (&bomb, "goes on")]
        {
            let dir = folder(&[("t10k-images-idx3-ubyte.gz", bytes), ("t10k-labels-idx1-ubyte", &labels(&[1, 2]))]);
            let why = load(dir.path(), Part::Test, "x".into()).unwrap_err().to_string();
            assert!(why.contains(expected) && why.contains("t10k-images-idx3-ubyte.gz"), "{why}");
        }
    }

    /// Needs the real files: THINFER_DATA is a folder that holds mnist/.
    #[test]
    fn the_real_files_are_read() {
        let Some(data) = std::env::var_os("THINFER_DATA") else {
            eprintln!("skipped: THINFER_DATA not set");
            return;
        };
        for (part, count, first) in [(Part::Train, 60_000, [5, 0, 4]), (Part::Test, 10_000, [7, 2, 1])] {
            let set = load(&Path::new(&data).join("mnist"), part, "mnist".into()).unwrap();
            assert_eq!((set.len(), set.images.len(), &set.labels[..3]), (count, count * 784, &first[..]));
        }
    }
}
