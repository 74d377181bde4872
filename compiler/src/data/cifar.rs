//! CIFAR-10 and CIFAR-100 in their binary versions: records of one or two label bytes and 32×32 pixels of red, then
//! green, then blue.

use std::path::Path;

use super::stream::{find, read_exactly};
use super::{Dataset, Part};
use crate::error::{Error, Result};

/// Height and width of the images.
const SIDE: usize = 32;
/// Pixel bytes of a record.
const PIXELS: usize = 3 * SIDE * SIDE;

/// CIFAR-10's classes by label.
const CLASSES_10: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// CIFAR-100's fine classes by label.
#[rustfmt::skip]
const CLASSES_100: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy", "bridge", "bus",
    "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
    "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
    "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle",
    "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark",
    "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
];

/// How a set's files are laid out.
struct Layout {
    /// The folder that the original archive unpacks to.
    folder: &'static str,
    /// Label bytes of a record, of which the last one counts.
    labels: usize,
    /// Records of each file.
    records: usize,
    classes: &'static [&'static str],
}

/// Reads one part of CIFAR-10 from `dir` or `dir/cifar-10-batches-bin`; each file plain, or with .gz or .xz.
///
/// # Errors
/// [`Error::Data`] naming the folder where a file is missing, or the file whose length or labels are wrong; [`Error::Io`].
pub(super) fn load_10(dir: &Path, part: Part, name: String) -> Result<Dataset> {
    let layout = Layout { folder: "cifar-10-batches-bin", labels: 1, records: 10_000, classes: &CLASSES_10 };
    match part {
        Part::Train => load(dir, &layout, &[1, 2, 3, 4, 5].map(|i| format!("data_batch_{i}.bin")), name),
        Part::Test => load(dir, &layout, &["test_batch.bin".into()], name),
    }
}

/// Reads one part of CIFAR-100 with its fine labels from `dir` or `dir/cifar-100-binary`.
///
/// # Errors
/// As [`load_10`].
pub(super) fn load_100(dir: &Path, part: Part, name: String) -> Result<Dataset> {
    let (file, records) = match part {
        Part::Train => ("train.bin", 50_000),
        Part::Test => ("test.bin", 10_000),
    };
    load(dir, &Layout { folder: "cifar-100-binary", labels: 2, records, classes: &CLASSES_100 }, &[file.into()], name)
}

fn load(dir: &Path, layout: &Layout, files: &[String], name: String) -> Result<Dataset> {
    let folders = [dir.to_path_buf(), dir.join(layout.folder)];
    // All are looked for before the first is read.
    let paths = files.iter().map(|file| find(&folders, file)).collect::<Result<Vec<_>>>()?;
    let count = files.len() * layout.records;
    let (mut images, mut labels) = (Vec::with_capacity(count * PIXELS), Vec::with_capacity(count));
    for path in paths {
        let bytes = read_exactly(&path, layout.records * (layout.labels + PIXELS))?;
        for (at, record) in bytes.chunks_exact(layout.labels + PIXELS).enumerate() {
            let (label, pixels) = record.split_at(layout.labels);
            let label = label.last().copied().map_or(u16::MAX, u16::from);
            if usize::from(label) >= layout.classes.len() {
                let why = format!("the label of record {at} is {label}, the largest class is {}", layout.classes.len() - 1);
                return Err(Error::data(path.display().to_string(), why));
            }
            labels.push(label);
            images.extend_from_slice(pixels);
        }
    }
    let classes = layout.classes.iter().map(|c| c.to_string()).collect();
    Ok(Dataset { name, shape: [3, SIDE, SIDE], images, labels, classes })
}

#[cfg(test)]
mod tests {
    use super::super::stream::tests::gz;
    use super::*;

    const SMALL: Layout = Layout { folder: "inner", labels: 2, records: 2, classes: &CLASSES_100 };

    fn file(labels: [[u8; 2]; 2]) -> Vec<u8> {
        labels.iter().enumerate().flat_map(|(i, l)| l.iter().copied().chain(std::iter::repeat_n(10 + i as u8, PIXELS))).collect()
    }

    #[test]
    fn records_are_split_and_the_fine_label_counts() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("inner")).unwrap();
        std::fs::write(dir.path().join("inner/a.bin.gz"), gz(&file([[1, 99], [0, 3]]))).unwrap();
        std::fs::write(dir.path().join("b.bin"), file([[7, 0], [7, 1]])).unwrap();
        let set = load(dir.path(), &SMALL, &["a.bin".into(), "b.bin".into()], "x".into()).unwrap();
        assert_eq!((&set.labels[..], set.shape), (&[99, 3, 0, 1][..], [3, 32, 32]));
        assert!(set.image(1).iter().all(|&p| p == 11) && set.image(2).iter().all(|&p| p == 10));
        assert_eq!(set.images.len(), 4 * PIXELS);
    }

    #[test]
    fn wrong_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let good = file([[1, 99], [0, 3]]);
        let refusal = |bytes: &[u8]| {
            std::fs::write(dir.path().join("a.bin"), bytes).unwrap();
            load(dir.path(), &SMALL, &["a.bin".into()], "x".into()).unwrap_err().to_string()
        };
        let cases = [
            (refusal(&good[1..]), "ends after"),
            (refusal(&[&good[..], &[0]].concat()), "goes on"),
            (refusal(&file([[0, 0], [0, 100]])), "record 1 is 100"),
        ];
        for (why, expected) in cases {
            assert!(why.contains(expected) && why.contains("a.bin"), "{why}");
        }
        let why = load_10(dir.path(), Part::Train, "x".into()).unwrap_err().to_string();
        assert!(why.contains("data_batch_1.bin") && why.contains("cifar-10-batches-bin"), "{why}");
        let why = load_100(&dir.path().join("no"), Part::Test, "x".into()).unwrap_err().to_string();
        assert!(why.contains("is no folder: looked for test.bin"), "{why}");
    }

    /// Needs the real files: THINFER_DATA is a folder that holds cifar10/ (or cifar-10-batches-bin/).
    #[test]
    fn the_real_files_are_read() {
        let Some(data) = std::env::var_os("THINFER_DATA") else {
            eprintln!("skipped: THINFER_DATA not set");
            return;
        };
        let data = Path::new(&data);
        let dir = if data.join("cifar10").is_dir() { data.join("cifar10") } else { data.to_path_buf() };
        for (part, count, first) in [(Part::Train, 50_000, [6, 9, 9]), (Part::Test, 10_000, [3, 8, 8])] {
            let set = load_10(&dir, part, "cifar10".into()).unwrap();
            assert_eq!((set.len(), set.images.len(), &set.labels[..3]), (count, count * PIXELS, &first[..]));
        }
    }
}
