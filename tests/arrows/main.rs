//! Who may use whom: files take names from each other in no circle, and rooms only from those that the table in ARCHITECTURE.md
//! lets them use.
//!
//! An arrow runs from a file to another if code of the first names an item that the second defines, by a `use` line or by a path,
//! through however many re-exports. No arrow is a `mod` line, nor a re-export of what a part of the module defines and the module
//! itself does not use; nor is a call of a method. Code of tests does not count.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod circles;
mod lex;
mod resolve;
mod rooms;
mod tree;

use std::path::Path;
use std::sync::LazyLock;

use resolve::{Named, named};
use tree::{Sources, Tree};

/// The crates: their folders, and the names of their libraries.
const CRATES: [(&str, &str); 4] =
    [("shaders", "thinfer_shaders"), ("runtime", "thinfer"), ("compiler", "thinfer_compiler"), ("examples/web", "thinfer_web")];

/// Items that a build script makes.
const MADE: [(&str, &str); 1] = [("shaders/src/lib.rs", "KERNELS")];

#[test]
fn files_use_each_other_in_no_circle() {
    let circles = circles::circles(&ALL.arrows);
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

#[test]
fn rooms_use_what_the_table_lets_them_use() {
    let rooms = rooms::rooms(&text(Path::new("ARCHITECTURE.md")));
    assert!(rooms.len() > 10, "the table of rooms in ARCHITECTURE.md was not found");
    let faults = rooms::faults(&rooms, &ALL);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Names that lead nowhere would be arrows that nobody sees.
#[test]
fn every_name_is_found() {
    assert!(ALL.unknown.is_empty(), "\n{}", ALL.unknown.join("\n"));
}

/// What the workspace's files name.
static ALL: LazyLock<Named> = LazyLock::new(|| {
    let mut tree = Tree::read(&sources(), &CRATES);
    for (file, name) in MADE {
        let module = tree.modules.iter_mut().find(|module| module.file == file).unwrap();
        module.items.push(name.into());
    }
    named(&tree)
});

/// Every Rust file of the crates that is compiled into them.
fn sources() -> Sources {
    let mut out = Sources::new();
    for (folder, _) in CRATES {
        read(Path::new(folder), &mut out);
    }
    out
}

fn read(folder: &Path, out: &mut Sources) {
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let (name, path) = (entry.file_name().into_string().unwrap(), folder.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            if !["target", "tests", "benches", "examples"].contains(&name.as_str()) {
                read(&path, out);
            }
        } else if name.ends_with(".rs") {
            let slashes = path.components().map(|part| part.as_os_str().to_str().unwrap()).collect::<Vec<_>>().join("/");
            out.insert(slashes, text(&path));
        }
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What small made-up files name, of the crates `k` and `l`.
fn made_up(files: &[(&str, &str)]) -> Named {
    let sources = files.iter().map(|(file, text)| ((*file).into(), (*text).into())).collect();
    named(&Tree::read(&sources, &[("k", "k"), ("l", "l")]))
}
