//! Folders of images, with labels where each class has a folder of its own.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::images;
use crate::error::{Error, Result};

/// What the file names of images end in that are not read.
const UNREAD: [&str; 9] = ["webp", "gif", "bmp", "tif", "tiff", "heic", "avif", "jp2", "pbm"];

/// The images of a folder; none is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The images, by class and by name.
    pub files: Vec<PathBuf>,
    /// The class of each image; empty where they have none.
    pub labels: Vec<usize>,
    /// Names of the classes: of the folders in it, sorted.
    pub classes: Vec<String>,
}

impl Folder {
    /// Lists `dir`: images that stand in it have no classes, those in folders in it have the folder's. What is no image, and what
    /// is hidden, is left out.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Invalid`] that names a folder without images, with images beside folders, or with images of a kind
    /// that is not read.
    pub fn list(dir: &Path) -> Result<Self> {
        let fail = |why: &str| Err(Error::invalid(dir.display().to_string(), why));
        let inside = images_in(dir)?;
        let classes = names(dir, |entry| entry.path().is_dir())?;
        match (inside.is_empty(), classes.is_empty()) {
            (true, true) => return Err(no_image(dir)),
            (false, false) => return fail("holds images beside folders, which would be classes"),
            (false, true) => return Ok(Self { files: inside, labels: Vec::new(), classes }),
            (true, false) => {}
        }
        let (mut files, mut labels) = (Vec::new(), Vec::new());
        for (label, class) in classes.iter().enumerate() {
            let found = images_in(&dir.join(class))?;
            if found.is_empty() {
                return Err(no_image(&dir.join(class)));
            }
            labels.resize(labels.len() + found.len(), label);
            files.extend(found);
        }
        Ok(Self { files, labels, classes })
    }
}

fn no_image(dir: &Path) -> Error {
    Error::invalid(dir.display().to_string(), format!("holds no image ({})", images::ENDINGS.join(", ")))
}

/// The images that stand in `dir`, by name.
fn images_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let files: Vec<PathBuf> = names(dir, |entry| !entry.path().is_dir())?.into_iter().map(|name| dir.join(name)).collect();
    let ending = |path: &PathBuf| path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    match files.iter().find(|path| ending(path).is_some_and(|e| UNREAD.contains(&e.as_str()))) {
        Some(path) => Err(Error::invalid(path.display().to_string(), format!("is no image that is read ({})", images::ENDINGS.join(", ")))),
        None => Ok(files.into_iter().filter(|path| images::is_image(path)).collect()),
    }
}

/// Names of a folder's entries that `wanted` wants, sorted; hidden ones are left out.
fn names(dir: &Path, wanted: impl Fn(&DirEntry) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|n| Error::invalid(dir.display().to_string(), format!("holds {n:?}, whose name is no text")))?;
        if !name.starts_with('.') && wanted(&entry) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, path: &str) {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"not opened").unwrap();
    }

    #[test]
    fn images_come_by_class_and_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b/1.png", "a/z.JPG", "a/b.ppm", "a/readme.txt", ".cache/x.png", "a/.hidden.png"] {
            put(dir.path(), path);
        }
        let folder = Folder::list(dir.path()).unwrap();
        assert_eq!(folder.files, ["a/b.ppm", "a/z.JPG", "b/1.png"].map(|p| dir.path().join(p)));
        assert_eq!((folder.labels, folder.classes), (vec![0, 0, 1], vec!["a".to_string(), "b".into()]));
        let one = Folder::list(&dir.path().join("a")).unwrap();
        assert_eq!((one.files.len(), one.labels.len(), one.classes.len()), (2, 0, 0));
    }

    #[test]
    fn what_is_no_folder_of_images_is_refused() {
        let refusal = |paths: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            paths.iter().for_each(|path| put(dir.path(), path));
            Folder::list(dir.path()).unwrap_err().to_string()
        };
        assert!(refusal(&[]).contains("holds no image"));
        assert!(refusal(&["a/1.png", "b/readme.txt"]).contains("/b: holds no image (png, jpg"));
        assert!(refusal(&["a/1.png", "1.png"]).contains("beside folders"));
        assert!(refusal(&["1.png", "2.webp"]).contains("2.webp: is no image that is read"));
        assert!(matches!(Folder::list(Path::new("/nowhere/at/all")), Err(Error::Io { .. })));
    }
}
