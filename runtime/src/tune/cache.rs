//! What tuning measured, kept between sessions in a folder of the user's: a text file for each device.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::artifact::write_atomic;
use crate::engine::Choice;
use crate::hash::fnv1a;
use crate::plan::Form;

/// No file longer than this is read: ours have some hundred bytes a layer.
const MOST_BYTES: u64 = 4 << 20;

/// The choices for one device. What cannot be read or written is skipped: a cache never makes a session fail.
#[derive(Debug, Default)]
pub(super) struct Cache {
    path: Option<PathBuf>,
    /// The first line of the file. It differs for another device, driver, version of the kernels or way of timing.
    heading: String,
    choices: BTreeMap<String, Choice>,
    changed: bool,
}

impl Cache {
    /// The choices that `folder` holds for the device called `device`; `None` keeps nothing.
    pub(super) fn open(folder: Option<&Path>, device: &str) -> Self {
        let heading = format!("thinfer tuning 2\t{}", device.replace(['\t', '\n', '\r'], " "));
        let path = folder.map(|f| f.join(format!("tuning-{:016x}.txt", fnv1a(heading.as_bytes()))));
        let choices = path.as_deref().map(|p| read(p, &heading)).unwrap_or_default();
        Self { path, heading, choices, changed: false }
    }

    /// The choice that was kept under `key`.
    pub(super) fn get(&self, key: &str) -> Option<Choice> {
        self.choices.get(key).cloned()
    }

    /// Keeps `choice` under `key`, which is one line without tabs.
    pub(super) fn put(&mut self, key: String, choice: Choice) {
        self.choices.insert(key, choice);
        self.changed = true;
    }

    /// Writes new entries, and keeps those that other processes wrote meanwhile.
    pub(super) fn close(self) {
        let (Some(path), true) = (self.path, self.changed) else { return };
        let mut all = read(&path, &self.heading);
        all.extend(self.choices);
        let lines = all.iter().fold(self.heading + "\n", |mut text, (key, choice)| {
            let kernels = choice.kernels.iter().map(|k| k.unwrap_or("-")).collect::<Vec<_>>().join("+");
            let times: Vec<String> = choice.measured_us.iter().map(|(form, us)| format!("{}={us:.3}", form.name())).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}\t{}\t{kernels}\t{}", choice.form.name(), times.join(","));
            text
        });
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let _ = folder.and_then(|()| write_atomic(&path, lines.as_bytes()));
    }
}

fn read(path: &Path, heading: &str) -> BTreeMap<String, Choice> {
    let short = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MOST_BYTES);
    let text = if short { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    let mut lines = text.lines();
    if lines.next() != Some(heading) {
        return BTreeMap::new();
    }
    lines.filter_map(line).collect()
}

/// `KEY form kernel+kernel form=µs,form=µs` between tabs; `None` for anything else.
fn line(line: &str) -> Option<(String, Choice)> {
    let [key, form, kernels, times] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
    let kernels = if kernels.is_empty() { Vec::new() } else { kernels.split('+').map(kernel).collect::<Option<_>>()? };
    let time = |text: &str| {
        let (form, us) = text.split_once('=')?;
        Some((Form::named(form)?, us.parse::<f64>().ok().filter(|us| us.is_finite() && *us >= 0.0)?))
    };
    let measured_us = if times.is_empty() { Vec::new() } else { times.split(',').map(time).collect::<Option<_>>()? };
    Some((key.to_string(), Choice { form: Form::named(form)?, kernels, measured_us }))
}

/// A kernel that this build has; `-` is whichever the estimate gives.
fn kernel(name: &str) -> Option<Option<&'static str>> {
    #[cfg(feature = "wgpu")]
    let known = thinfer_shaders::kernel(name).map(|k| Some(k.name));
    #[cfg(not(feature = "wgpu"))]
    let known = None;
    if name == "-" { Some(None) } else { known }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(form: Form, us: f64) -> Choice {
        Choice { form, kernels: vec![None], measured_us: vec![(Form::Dense, us), (form, us / 2.0)] }
    }

    #[test]
    fn choices_survive_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let open = |device: &str| Cache::open(Some(folder.path()), device);
        let (mut first, mut second) = (open("a\tdevice"), open("a\tdevice"));
        first.put("conv 1".into(), choice(Form::Fused, 12.5));
        second.put("conv 2".into(), choice(Form::TwoStage, 3.0));
        first.close();
        second.close();
        assert_eq!(open("a\tdevice").get("conv 1"), Some(choice(Form::Fused, 12.5)));
        assert_eq!(open("a\tdevice").get("conv 2"), Some(choice(Form::TwoStage, 3.0)));
        assert_eq!(open("another").get("conv 1"), None);
        assert_eq!(Cache::open(None, "a\tdevice").get("conv 1"), None);
    }

    #[test]
    fn what_is_broken_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Cache::open(Some(folder.path()), "d");
        let mut cache = open();
        let (path, heading) = (cache.path.clone().unwrap(), cache.heading.clone());
        cache.put("good".into(), choice(Form::Dense, 1.0));
        cache.close();
        let whole = std::fs::read_to_string(&path).unwrap();
        for bad in
            ["x", "a\tdense\t\t\t", "a\tthin\t\t", "a\tdense\tnothing\t", "a\tdense\t-\tdense=NaN", "a\tdense\t-\tdense", "\u{0}\t\t\t"]
        {
            std::fs::write(&path, format!("{whole}{bad}\n")).unwrap();
            assert_eq!((open().choices.len(), open().get("good").is_some()), (1, true), "{bad:?}");
        }
        let not_text: &[u8] = &[0xff, 0xfe, 0];
        for bad in [&b""[..], b"\n\n", not_text, &whole.as_bytes()[..heading.len() - 1]] {
            std::fs::write(&path, bad).unwrap();
            assert!(open().choices.is_empty(), "{bad:?}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let mut cache = open();
        cache.put("good".into(), choice(Form::Dense, 1.0));
        cache.close();
    }
}
