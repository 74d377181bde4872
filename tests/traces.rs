//! The two traces in ARCHITECTURE.md name files and functions that are there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

/// The most lines of a trace.
const LINES: usize = 20;

#[test]
fn traces_name_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    for (title, least) in [("## One weight, ", 15), ("## One input, ", 10)] {
        let section = page.lines().skip_while(|line| !line.starts_with(title)).skip(1).take_while(|line| !line.starts_with('#'));
        let steps: Vec<&str> = section.filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
        assert!((least..=LINES).contains(&steps.len()), "{title:?} has {} lines", steps.len());
        let faults: Vec<String> = steps.iter().flat_map(|step| faults(root, step)).collect();
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }
}

/// What a line names that is not there: files, and behind a file what it defines.
fn faults(root: &Path, line: &str) -> Vec<String> {
    let (mut file, mut text, mut faults) = ("", String::new(), Vec::new());
    for name in line.split('`').skip(1).step_by(2).filter(|name| !name.starts_with("--")) {
        if name.ends_with(".rs") {
            (file, text) = (name, std::fs::read_to_string(root.join(name)).unwrap_or_default());
            if text.is_empty() {
                faults.push(format!("{file} is not there"));
            }
        } else if !text.is_empty() && !defines(&text, name) {
            faults.push(format!("{file} has no {name}"));
        }
    }
    faults
}

/// Whether `text` defines the function, type or variant at the end of the path `name`, and names all before it.
fn defines(text: &str, name: &str) -> bool {
    let has = |word: &str| text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|found| found == word);
    let last = name.rsplit("::").next().unwrap_or(name);
    let is_function = last.starts_with(|c: char| c.is_ascii_lowercase());
    let function = || [format!("fn {last}("), format!("fn {last}<")].iter().any(|start| text.contains(start));
    name.split("::").all(has) && (!is_function || function())
}

#[test]
fn a_name_that_is_gone_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(faults(root, "1. `tests/traces.rs` `faults`: `defines`").is_empty());
    assert_eq!(faults(root, "1. `tests/traces.rs` `gone`"), ["tests/traces.rs has no gone"]);
    assert_eq!(faults(root, "1. `tests/gone.rs` `faults`"), ["tests/gone.rs is not there"]);
    assert!(!defines("struct A; impl A { fn b() {} }", "C::b") && defines("struct A; impl A { fn b() {} }", "A::b"));
}
