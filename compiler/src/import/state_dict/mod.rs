//! Which of a file's tensors are the network's, and what they are called there: people nest state dicts in other dicts, put
//! prefixes before every name, and save other things beside them.

mod entry;
mod find;
mod messages;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(super) use self::entry::{Asked, Element, Entry, Held};
use self::find::{Finder, Fit, usual};
pub(super) use self::messages::OWN;
use self::messages::{CHOOSE, LISTED, joined, listed};
use crate::error::{Error, Result};
use crate::tensor::{Params, Tensor};

/// What PyTorch's own wrappers put into names, at any place; no network has such names.
const RESERVED: [&str; 3] = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."];

/// The tensors of the one network that `held` has, by that network's names; where no part of it is a known network, the largest
/// dict of tensors. Integers are left out.
///
/// `chosen` is what the user said of where they are, and the end of that which is a prefix of names, not a key.
///
/// # Errors
/// [`Error::Checkpoint`] where several networks have equal claim, listing them; where the network is but a part of its dict; where
/// there is nothing of floats, or a tensor cannot be read. [`Error::UnknownModel`].
pub(super) fn choose<T: PartialEq>(
    path: &Path,
    held: Held<T>,
    asked: Asked<'_>,
    chosen: Option<(&str, &str)>,
    read: &mut dyn FnMut(&Entry<T>) -> Result<Tensor, String>,
) -> Result<Params> {
    let fail = |why: String| Error::Checkpoint { path: path.into(), why };
    let held = unwrapped(held);
    let (base, held) = match chosen {
        Some((whole, rest)) => (whole, under(held, whole, rest).map_err(fail)?),
        None => ("", held),
    };
    let Held { mut entries, dicts } = held;
    entries.retain(|e| !is_counter(&e.name));
    let integers: BTreeSet<String> = entries.iter().filter(|e| e.element == Element::Integer).map(|e| e.name.clone()).collect();
    entries.retain(|e| e.element != Element::Integer);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if entries.is_empty() {
        return Err(fail("holds no tensors of floats under names; torch.save(model.state_dict(), FILE) writes them".into()));
    }
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(fail(format!("holds two tensors that are called '{}'", pair[0].name)));
    }
    let finder = Finder { entries: &entries, dicts: &dicts, asked: &asked, usual: usual(asked)? };
    let mut load = |tensors: &BTreeMap<String, &Entry<T>>| -> Result<Params, String> {
        let one = |(name, entry): (&String, &&Entry<T>)| {
            let tensor = read(entry).map_err(|why| format!("tensor '{}' {why}", entry.name))?;
            Ok((name.clone(), tensor))
        };
        tensors.iter().map(one).collect()
    };
    let fits = finder.fits().map_err(fail)?;
    let (whole, parts): (Vec<_>, Vec<_>) = fits.into_iter().partition(|fit| fit.beside.is_empty());
    match (whole.as_slice(), parts.as_slice()) {
        ([only], _) => load(&only.tensors).map_err(fail),
        ([first, rest @ ..], _) => {
            // Copies of each other are one.
            let params = load(&first.tensors).map_err(fail)?;
            let is_copy = |fit: &Fit<'_, T>| fit.network == first.network && load(&fit.tensors).is_ok_and(|other| other == params);
            if rest.iter().all(is_copy) { Ok(params) } else { Err(fail(several(base, &whole))) }
        }
        ([], [only]) => Err(fail(partial(base, only))),
        ([], [_, _, ..]) if !matches!(asked, Asked::Nothing) || finder.covers(&parts) => Err(fail(several(base, &parts))),
        _ => load(&finder.nearest(base, &integers).map_err(fail)?).map_err(fail),
    }
}

/// Whether a tensor only counts batches.
fn is_counter(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
}

/// Only what stands under the prefix `rest`; names and dicts from there on.
fn under<T>(held: Held<T>, whole: &str, rest: &str) -> Result<Held<T>, String> {
    let names: BTreeSet<&str> = held.entries.iter().filter_map(|e| e.name.split_once('.')).map(|(first, _)| first).collect();
    let there = listed(names.iter().map(|name| name.to_string()));
    if whole == OWN {
        let entries = held.entries.into_iter().filter(|e| e.dict == 0).collect();
        return Ok(Held { entries, ..held });
    }
    if rest.is_empty() {
        return Ok(held);
    }
    let start = RESERVED.iter().fold(format!("{rest}."), |start, part| start.replace(part, ""));
    let below = |name: &str| name.strip_prefix(&start).map(str::to_string);
    let dicts = held.dicts.iter().map(|dict| below(dict).unwrap_or_default()).collect();
    let entries: Vec<_> = held.entries.into_iter().filter_map(|e| below(&e.name).map(|name| Entry { name, ..e })).collect();
    if entries.is_empty() {
        return Err(format!("holds no tensors under '{whole}' (--state-dict); there are {there}"));
    }
    Ok(Held { entries, dicts })
}

/// Without what PyTorch's wrappers put into names, unless two would then be the same.
fn unwrapped<T>(mut held: Held<T>) -> Held<T> {
    let without =
        |name: &str| RESERVED.iter().fold(format!("{name}."), |name, part| name.replace(part, "")).trim_end_matches('.').to_string();
    let names: BTreeSet<String> = held.entries.iter().map(|e| without(&e.name)).collect();
    if names.len() == held.entries.len() {
        held.entries.iter_mut().for_each(|e| e.name = without(&e.name));
        held.dicts.iter_mut().for_each(|dict| *dict = without(dict));
    }
    held
}

fn several<T>(base: &str, fits: &[Fit<'_, T>]) -> String {
    let is_one = fits.iter().all(|fit| fit.network == fits[0].network);
    let paths = fits.iter().map(|fit| joined(base, &fit.prefix));
    if is_one {
        return format!("holds the tensors of {} {} times, under {}; {CHOOSE}", fits[0].network, fits.len(), listed(paths));
    }
    let networks = fits.iter().take(LISTED).map(|fit| format!("{} under '{}'", fit.network, joined(base, &fit.prefix))).collect::<Vec<_>>();
    format!("holds {} networks, {}; {CHOOSE}", fits.len(), networks.join(", "))
}

fn partial<T>(base: &str, fit: &Fit<'_, T>) -> String {
    let path = joined(base, &fit.prefix);
    let beside = listed(fit.beside.iter().map(|name| joined(base, name)));
    format!("holds the tensors of {} under '{path}', and beside them {beside}; --state-dict {path} takes them without those", fit.network)
}

#[cfg(test)]
mod tests;
