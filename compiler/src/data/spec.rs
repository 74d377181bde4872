//! Naming a data set: `SET:DIR`, or `glyphs`; for calibration also how many of its images.

use std::path::PathBuf;
use std::str::FromStr;

use thinfer::artifact::Preprocess;

/// The kinds of data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// MNIST in its original IDX files, plain or gzipped.
    Mnist,
    /// CIFAR-10 in its binary version, plain or compressed.
    Cifar10,
    /// CIFAR-100 in its binary version with fine labels, plain or compressed.
    Cifar100,
    /// Image files in one folder a class.
    Folder,
    /// The built-in 28×28 digits.
    Glyphs,
}

/// The sets that have a folder, as a command line names them.
const FOLDERS: [(&str, SetKind); 4] =
    [("mnist", SetKind::Mnist), ("cifar10", SetKind::Cifar10), ("cifar100", SetKind::Cifar100), ("folder", SetKind::Folder)];

/// A data set by kind and folder, as a command line names it: `cifar10:DIR` or `glyphs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSpec {
    /// Which kind.
    pub kind: SetKind,
    /// Its folder; `None` for the built-in set.
    pub dir: Option<PathBuf>,
}

impl FromStr for DataSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (set, dir) = match text.split_once(':') {
            Some((set, dir)) => (set, Some(PathBuf::from(dir))),
            None => (text, None),
        };
        if let Some((name, kind)) = FOLDERS.into_iter().find(|(name, _)| *name == set) {
            return match dir {
                Some(dir) if !dir.as_os_str().is_empty() => Ok(Self { kind, dir: Some(dir) }),
                _ => Err(format!("{name} needs a folder: {name}:DIR")),
            };
        }
        match (set, dir) {
            ("glyphs", None) => Ok(Self { kind: SetKind::Glyphs, dir: None }),
            ("glyphs", Some(_)) => Err("glyphs is built in and takes no folder".into()),
            _ => Err(format!("unknown data set '{set}' (known: mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, glyphs)")),
        }
    }
}

impl DataSpec {
    /// The set without its folder: `cifar10`.
    pub fn set(&self) -> &'static str {
        FOLDERS.iter().find(|(_, kind)| *kind == self.kind).map_or("glyphs", |(name, _)| name)
    }
}

impl std::fmt::Display for DataSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.dir {
            Some(dir) => write!(f, "{}:{}", self.set(), dir.display()),
            None => write!(f, "{}", self.set()),
        }
    }
}

/// Where samples come from: the training images of a data set, or a file of arrays or a folder of images, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SampleSource {
    /// A data set.
    Set(DataSpec),
    /// An .npy or .npz file, or a folder of images.
    Path(PathBuf),
}

impl FromStr for SampleSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_file = [".npy", ".npz"].iter().any(|ending| text.to_ascii_lowercase().ends_with(ending));
        // What has a colon before any slash would be a set.
        let names_a_set = text.split('/').next().is_some_and(|first| first.contains(':'));
        let is_set = FOLDERS.iter().any(|(name, _)| *name == text) || text == "glyphs" || text.is_empty();
        if is_file || !(names_a_set || is_set) {
            return Ok(Self::Path(text.into()));
        }
        text.parse().map(Self::Set).map_err(|why| format!("{why}; also a folder of images, or an .npy or .npz file"))
    }
}

impl SampleSource {
    /// What it is, without where it lies.
    pub fn set(&self) -> &'static str {
        match self {
            Self::Set(spec) => spec.set(),
            Self::Path(_) => "a folder",
        }
    }
}

impl std::fmt::Display for SampleSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Set(spec) => spec.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// Samples to calibrate with, and how many: `SET:DIR[:COUNT]`, `glyphs[:COUNT]`, `X.npy[:COUNT]`, `X.npz[:COUNT]` or `FOLDER[:COUNT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalibrationSpec {
    /// Where they come from.
    pub data: SampleSource,
    /// How many, at least 1; `None` leaves it to the reader.
    pub count: Option<usize>,
}

impl FromStr for CalibrationSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_count = |c: &str| !c.is_empty() && c.bytes().all(|b| b.is_ascii_digit());
        // A set that needs a folder keeps a lone number as its folder's name.
        if let Some((set, count)) = text.rsplit_once(':').filter(|(_, c)| is_count(c))
            && let Ok(data) = set.parse()
        {
            return match count.parse() {
                Ok(count) if count > 0 => Ok(Self { data, count: Some(count) }),
                _ => Err(format!("'{count}' is no number of images")),
            };
        }
        Ok(Self { data: text.parse()?, count: None })
    }
}

impl std::fmt::Display for CalibrationSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            Some(count) => write!(f, "{}:{count}", self.data),
            None => write!(f, "{}", self.data),
        }
    }
}

/// How images of a set become a network's input: pixels to 0…1, then mean 0 and deviation 1 over the training images.
/// Nothing is known of a folder's images: they stay 0…1.
pub fn default_preprocess(kind: SetKind) -> Preprocess {
    let (mean, std): (&[f32], &[f32]) = match kind {
        SetKind::Mnist => (&[0.1307], &[0.3081]),
        SetKind::Cifar10 => (&[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616]),
        SetKind::Cifar100 => (&[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762]),
        SetKind::Folder => (&[], &[]),
        SetKind::Glyphs => (&[0.17], &[0.21]),
    };
    Preprocess { mean: mean.to_vec(), std: std.to_vec(), ..Preprocess::default() }
}

/// The same for a network of vectors, which has no channels: one mean and one deviation, of all channels' pixels together.
pub fn flat_preprocess(kind: SetKind) -> Preprocess {
    let usual = default_preprocess(kind);
    let (mean, std) = (&usual.mean, &usual.std);
    if mean.len() < 2 {
        return usual;
    }
    let average = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / mean.len() as f64;
    let whole = average(&mut mean.iter().map(|&m| m.into()));
    let square = average(&mut mean.iter().zip(std).map(|(&m, &s)| f64::from(m).powi(2) + f64::from(s).powi(2)));
    Preprocess { mean: vec![whole as f32], std: vec![(square - whole * whole).sqrt() as f32], ..usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_say_what_they_need() {
        let spec = |kind, dir: &str| Ok(DataSpec { kind, dir: Some(dir.into()) });
        assert_eq!("mnist:/a/b".parse(), spec(SetKind::Mnist, "/a/b"));
        assert_eq!("cifar100:C:/x".parse(), spec(SetKind::Cifar100, "C:/x"));
        assert_eq!("glyphs".parse(), Ok(DataSpec { kind: SetKind::Glyphs, dir: None }));
        for text in ["mnist:/a", "cifar10:b", "cifar100:c", "folder:d e", "glyphs"] {
            assert_eq!(text.parse::<DataSpec>().unwrap().to_string(), text);
        }
        for bad in ["", "mnist", "mnist:", "cifar10", "folder:", "glyphs:x", "imagenet:/x"] {
            assert!(bad.parse::<DataSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_of_vectors_sees_all_channels_alike() {
        let p = flat_preprocess(SetKind::Cifar10);
        assert!((p.mean[0] - 0.4734).abs() < 1e-4 && (p.std[0] - 0.2516).abs() < 1e-3, "{p:?}");
        assert!(p.check(1).is_ok());
        for kind in [SetKind::Mnist, SetKind::Folder] {
            assert_eq!(flat_preprocess(kind), default_preprocess(kind));
        }
    }

    #[test]
    fn a_count_may_follow() {
        let parsed = |text: &str| text.parse::<CalibrationSpec>().map(|s| (s.data.to_string(), s.count));
        assert_eq!(parsed("cifar10:/a:500"), Ok(("cifar10:/a".into(), Some(500))));
        assert_eq!(parsed("glyphs:20"), Ok(("glyphs".into(), Some(20))));
        assert_eq!(parsed("cifar10:2024"), Ok(("cifar10:2024".into(), None)));
        assert_eq!(parsed("cifar10:C:/x"), Ok(("cifar10:C:/x".into(), None)));
        for path in ["photos", "/a/photos", "./x:y/photos", "x.npy", "a/b.NPZ", "mnist/x.npz", "mnist:x.npy"] {
            assert_eq!(parsed(path), Ok((path.into(), None)), "{path}");
            assert!(matches!(path.parse::<CalibrationSpec>().unwrap().data, SampleSource::Path(_)), "{path}");
        }
        assert_eq!(parsed("photos:20"), Ok(("photos".into(), Some(20))));
        assert_eq!(parsed("x.npz:7"), Ok(("x.npz".into(), Some(7))));
        for bad in ["cifar10:/a:0", "glyphs:0", "cifar10:/a:99999999999999999999", "x:/a:5", "mnist:", "mnist", "photos:0", ""] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
