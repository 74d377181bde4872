//! A hostile file for each MUST of `docs/format.md`: which rule it breaks, and the error and place that come back. The files
//! are made here, without thinfer's own writer, and the page is read as well: a MUST that no file breaks fails the test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod ends;
mod header;
mod layers;
mod layout;
mod primitives;
mod recurrent;
mod sections;
mod tensors;
mod weights;
mod writer;

use std::collections::BTreeSet;

use thinfer::artifact::FormatError;
use thinfer::{Artifact, Device, Options, Session};
use writer::{File, network};

/// A broken rule: a piece of the page with one MUST in it, where the fault is found, what is said of it, and the file.
struct Case {
    rule: &'static str,
    place: &'static str,
    why: &'static str,
    file: Vec<u8>,
}

fn case(rule: &'static str, place: &'static str, why: &'static str, file: Vec<u8>) -> Case {
    Case { rule, place, why, file }
}

/// The error's variant and what it points at.
fn place(error: &FormatError) -> String {
    match error {
        FormatError::TooShort { len, .. } => format!("TooShort {len}"),
        FormatError::Magic { found } => format!("Magic {found:?}"),
        FormatError::Version { found, .. } => format!("Version {found}"),
        FormatError::Reserved { at } => format!("Reserved {at}"),
        FormatError::Length { len, stated } => format!("Length {}", i128::from(*len) - i128::from(*stated)),
        FormatError::Checksum { .. } => "Checksum".into(),
        FormatError::Header { .. } => "Header".into(),
        FormatError::TooLarge { what, value, .. } => format!("TooLarge {what} {value}"),
        FormatError::Tensor { index, .. } => format!("Tensor {index}"),
        FormatError::Layer { index, .. } => format!("Layer {index}"),
        FormatError::Field { what, .. } => format!("Field {what}"),
        other => panic!("an error that this test does not know: {other}"),
    }
}

/// What the page says, its lines joined.
fn page() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format.md");
    std::fs::read_to_string(path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where each MUST stands that files or readers are held to by a test of its own.
const ELSEWHERE: [&str; 6] = [
    "The words MUST and MAY",
    // These two speak of readers: every case here is one.
    "A reader MUST refuse a file that breaks a",
    "file that breaks a MUST, and MUST check it before it uses",
    "for each MUST of this page",
    // `provenance_changes_nothing` below.
    "It MUST NOT change what is computed",
    // golden.rs.
    "a later version has types of its own; a reader MUST go on reading every older version for ever",
];

#[test]
fn a_file_for_each_must() {
    let page = page();
    let cases: Vec<Case> = [
        layout::cases(),
        header::cases(),
        ends::cases(),
        sections::cases(),
        layers::cases(),
        recurrent::cases(),
        primitives::cases(),
        weights::cases(),
        tensors::cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut broken = BTreeSet::new();
    for Case { rule, place: wanted, why, file } in &cases {
        assert_eq!(rule.matches("MUST").count(), 1, "one rule a case: {rule:?}");
        let found: Vec<usize> = page.match_indices(rule).map(|(at, _)| at).collect();
        assert_eq!(found.len(), 1, "{rule:?} does not stand once in docs/format.md");
        broken.insert(found[0] + rule.find("MUST").unwrap());
        match Artifact::from_bytes(file.clone()) {
            Ok(_) => panic!("{rule:?} is broken, and the file opens"),
            Err(error) => {
                assert_eq!(place(&error), *wanted, "{rule:?}: {error}");
                assert!(error.to_string().contains(why), "{rule:?}: {why:?} not in {error:?}");
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
    }
    let lower = page.to_lowercase();
    for rule in ELSEWHERE {
        let at = lower.find(&rule.to_lowercase()).unwrap_or_else(|| panic!("{rule:?} is not in docs/format.md"));
        broken.extend(page[at..at + rule.len()].match_indices("MUST").map(|(i, _)| at + i));
    }
    let unbroken: Vec<&str> = page
        .match_indices("MUST")
        .filter(|(at, _)| !broken.contains(at))
        .map(|(at, _)| page[..at + 4].rsplit(". ").next().unwrap())
        .collect();
    assert!(unbroken.is_empty(), "no file breaks {unbroken:#?}");
    println!("{} files for {} rules", cases.len(), broken.len());
}

/// "It MUST NOT change what is computed": a rule for readers.
#[test]
fn provenance_changes_nothing() {
    let run = |file: Vec<u8>| {
        let artifact = Artifact::from_bytes(file).unwrap();
        let mut session = Session::new(&Device::cpu(), &artifact, &Options { cache: None, ..Options::default() }).unwrap();
        let values: Vec<f32> = (1..=session.input_len()).map(|i| 1.0 / i as f32).collect();
        session.run(&values).unwrap()
    };
    let mut told = network();
    told.model.provenance.tool = "another".into();
    told.model.provenance.policy = "dense".into();
    (told.model.provenance.macs, told.model.provenance.dense_params) = (u64::MAX, u64::MAX);
    assert_eq!(run(network().bytes()), run(told.bytes()));
}

#[test]
fn what_breaks_no_rule_opens() {
    Artifact::from_bytes(network().bytes()).unwrap();
    Artifact::from_bytes(File::of_one(writer::conv(writer::TUCKER)).giving(&[6, 9, 7]).bytes()).unwrap();
    Artifact::from_bytes(network().bytes_of_version_1(&[])).unwrap();
}
