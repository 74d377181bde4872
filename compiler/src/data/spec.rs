//! Naming a data set: `SET:DIR`, or `glyphs`.

use std::path::PathBuf;
use std::str::FromStr;

use thinfer::artifact::Preprocess;

/// The kinds of data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// MNIST in its original IDX files, plain or gzipped.
    Mnist,
    /// The built-in 28×28 digits.
    Glyphs,
}

/// A data set by kind and folder, as a command line names it: `mnist:DIR` or `glyphs`.
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
        match (set, dir) {
            ("mnist", Some(dir)) if !dir.as_os_str().is_empty() => Ok(Self { kind: SetKind::Mnist, dir: Some(dir) }),
            ("mnist", _) => Err("mnist needs a folder: mnist:DIR".into()),
            ("glyphs", None) => Ok(Self { kind: SetKind::Glyphs, dir: None }),
            ("glyphs", Some(_)) => Err("glyphs is built in and takes no folder".into()),
            _ => Err(format!("unknown data set '{set}' (known: mnist:DIR, glyphs)")),
        }
    }
}

impl std::fmt::Display for DataSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.kind, &self.dir) {
            (SetKind::Mnist, dir) => write!(f, "mnist:{}", dir.iter().map(|d| d.display().to_string()).collect::<String>()),
            (SetKind::Glyphs, _) => write!(f, "glyphs"),
        }
    }
}

/// How images of a set become a network's input: pixels to 0…1, then mean 0 and deviation 1 over the training images.
pub fn default_preprocess(kind: SetKind) -> Preprocess {
    let (mean, std) = match kind {
        SetKind::Mnist => (0.1307, 0.3081),
        SetKind::Glyphs => (0.17, 0.21),
    };
    Preprocess { scale: 1.0 / 255.0, mean: vec![mean], std: vec![std] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_say_what_they_need() {
        assert_eq!("mnist:/a/b".parse(), Ok(DataSpec { kind: SetKind::Mnist, dir: Some("/a/b".into()) }));
        assert_eq!("glyphs".parse(), Ok(DataSpec { kind: SetKind::Glyphs, dir: None }));
        for bad in ["", "mnist", "mnist:", "glyphs:x", "imagenet:/x"] {
            assert!(bad.parse::<DataSpec>().is_err(), "{bad}");
        }
    }
}
