//! Which of a file's tensors are the network's, and what they are called there: people nest state dicts in other dicts, put
//! prefixes before every name, and save other things beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::factors::Place;
use super::float::Float;
use super::is_counter;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::tensor::{Params, Tensor};
use crate::zoo::{self, Shapes};

/// What wrappers put before every name.
const WRAPPERS: [&str; 7] = ["module", "model", "net", "network", "backbone", "state_dict", "_orig_mod"];
/// What PyTorch's own wrappers put into names, at any place; no network has such names.
const RESERVED: [&str; 3] = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."];
/// The most parts of a name that may be a prefix.
const DEEPEST: usize = 64;
/// The most networks in one file that are told apart, and that a message lists.
const MOST: usize = 64;
const LISTED: usize = 8;

/// What an element of a tensor is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    Float(Float),
    /// An integer or a boolean, which no network has as a weight.
    Integer,
    /// What cannot be read, by its name.
    Other(String),
}

/// A tensor that was not read yet.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    /// Keys of the dicts around it and its own, with dots between.
    pub(super) name: String,
    /// The dict that it is in: index into [`Held::dicts`].
    pub(super) dict: usize,
    pub(super) shape: Vec<usize>,
    pub(super) element: Element,
    /// Where it is in the file: the same place is the same tensor.
    pub(super) at: T,
}

/// All tensors of a file.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) entries: Vec<Entry<T>>,
    /// For each dict the keys that lead to it; of the file's own dict none.
    dicts: Vec<String>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), dicts: Vec::new() }
    }
}

impl<T> Held<T> {
    /// A further dict.
    pub(super) fn dict(&mut self, path: &str) -> usize {
        self.dicts.push(path.into());
        self.dicts.len() - 1
    }
}

/// The network that the tensors must be of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    Name(&'a str),
    Graph(&'a Graph),
    /// Any that is known.
    Nothing,
}

/// Part of a file whose tensors are exactly those of a network.
struct Fit<'a, T> {
    network: String,
    /// What stands before all names, with its dot.
    prefix: String,
    /// By the network's names.
    tensors: BTreeMap<String, &'a Entry<T>>,
    /// Tensors in the same dict that are not the network's, the first few of them.
    beside: Vec<&'a str>,
}

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
    let fits = finder.fits();
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

/// Only what stands under the prefix `rest`; names and dicts from there on.
fn under<T>(held: Held<T>, whole: &str, rest: &str) -> Result<Held<T>, String> {
    let names: BTreeSet<&str> = held.entries.iter().filter_map(|e| e.name.split_once('.')).map(|(first, _)| first).collect();
    let there = listed(names.iter().map(|name| name.to_string()));
    if rest.is_empty() {
        if held.entries.is_empty() {
            return Err(format!("holds no tensors under '{whole}' (--state-dict)"));
        }
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

/// Whether a module of that name, beside a network, takes no part in what it computes.
fn is_aside(name: &str) -> bool {
    let module = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    module.contains("loss") || module.starts_with("criterion") || module.starts_with("metric")
}

/// The names of the tensors that the network asked for usually has.
fn usual(asked: Asked<'_>) -> Result<Vec<String>> {
    let names = |graph: &Graph| graph.params().into_iter().map(|p| p.name).collect();
    Ok(match asked {
        Asked::Name(name) => names(&zoo::build(name)?),
        Asked::Graph(graph) => names(graph),
        Asked::Nothing => Vec::new(),
    })
}

/// Whether `shapes` are those of `graph`, its layers whole or in factors.
fn fits(graph: &Graph, shapes: &Shapes<'_>) -> bool {
    let mut weights = BTreeSet::new();
    let mut known = 0;
    for place in graph.nodes.iter().filter_map(Place::of) {
        if let Ok(Some((scheme, rank))) = place.form_of(|name| shapes.get(name).copied()) {
            known += place.shapes(scheme, rank).len();
            weights.insert(format!("{}.weight", place.name));
        }
    }
    let specs = graph.params().into_iter().filter(|spec| !weights.contains(&spec.name));
    let is_whole = specs.fold(true, |all, spec| {
        known += 1;
        all && shapes.get(spec.name.as_str()).is_some_and(|shape| **shape == spec.shape)
    });
    is_whole && known == shapes.len()
}

/// Tensors behind a common prefix: its length and theirs in the order of names.
struct Group<'a, T> {
    prefix: usize,
    entries: Vec<&'a Entry<T>>,
}

impl<'a, T> Group<'a, T> {
    fn prefix(&self) -> &'a str {
        self.entries.first().map_or("", |e| &e.name[..self.prefix])
    }

    /// Names behind the prefix.
    fn tensors(&self) -> impl Iterator<Item = (&'a str, &'a Entry<T>)> {
        self.entries.iter().map(|e| (&e.name[self.prefix..], *e))
    }
}

/// Every prefix of `entries`, which are in the order of their names; the empty one too.
fn groups<'a, T>(entries: &[&'a Entry<T>]) -> Vec<Group<'a, T>> {
    let mut found = Vec::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut last = "";
    for (at, name) in entries.iter().map(|e| e.name.as_str()).chain([""]).enumerate() {
        let is_end = at == entries.len();
        while let Some(&(prefix, start)) = open.last().filter(|(prefix, _)| is_end || name.get(..*prefix) != last.get(..*prefix)) {
            open.pop();
            found.push(Group { prefix, entries: entries[start..at].to_vec() });
        }
        if is_end {
            break;
        }
        let inner = open.last().map_or(0, |(prefix, _)| *prefix);
        let first = if open.is_empty() { Some(0) } else { None };
        let dots = name.match_indices('.').map(|(dot, _)| dot + 1).filter(|&prefix| prefix > inner);
        let room = DEEPEST.saturating_sub(open.len());
        open.extend(first.into_iter().chain(dots).take(room).map(|prefix| (prefix, at)));
        last = name;
    }
    found
}

struct Finder<'a, T> {
    /// In the order of names.
    entries: &'a [Entry<T>],
    dicts: &'a [String],
    asked: &'a Asked<'a>,
    /// Names of the tensors of the network asked for.
    usual: Vec<String>,
}

impl<'a, T: PartialEq> Finder<'a, T> {
    /// Every prefix of everything, and of each dict without those within it.
    fn groups(&self) -> Vec<Group<'a, T>> {
        let mut own: BTreeMap<usize, Vec<&Entry<T>>> = BTreeMap::new();
        self.entries.iter().for_each(|e| own.entry(e.dict).or_default().push(e));
        let mut found = groups(&self.entries.iter().collect::<Vec<_>>());
        if own.len() > 1 {
            found.extend(own.values().flat_map(|entries| groups(entries)));
        }
        found
    }

    /// All parts that are a network, each once.
    fn fits(&self) -> Vec<Fit<'a, T>> {
        let mut found: Vec<Fit<'a, T>> = Vec::new();
        for group in self.groups() {
            if found.len() == MOST {
                break;
            }
            let Some(fit) = self.fit(&group) else { continue };
            let is_same = |a: &BTreeMap<String, &Entry<T>>, b: &BTreeMap<String, &Entry<T>>| {
                a.len() == b.len() && a.iter().zip(b).all(|((a, x), (b, y))| a == b && x.at == y.at)
            };
            // Of two ways to the same tensors the one that leaves nothing beside is what they were saved as.
            match found.iter_mut().find(|other| is_same(&other.tensors, &fit.tensors)) {
                Some(other) if other.beside.is_empty() || !fit.beside.is_empty() => (),
                Some(other) => *other = fit,
                None => found.push(fit),
            }
        }
        found
    }

    fn fit(&self, group: &Group<'a, T>) -> Option<Fit<'a, T>> {
        // Factors are up to three tensors in the place of one.
        let most = if self.usual.is_empty() { usize::MAX } else { 3 * self.usual.len() };
        if group.entries.len() < self.usual.len() / 2 {
            return None;
        }
        let mut tensors: BTreeMap<String, &'a Entry<T>> = BTreeMap::new();
        for (name, entry) in group.tensors().filter(|(name, _)| !is_aside(name)) {
            if tensors.len() == most {
                return None;
            }
            tensors.insert(name.into(), entry);
        }
        let network = match self.asked {
            Asked::Nothing => zoo::guess_shapes(&shapes(&tensors))?,
            _ => match self.network(&tensors) {
                Some(network) => network,
                None => {
                    tensors = self.renamed(tensors)?;
                    self.network(&tensors)?
                }
            },
        };
        let prefix = group.prefix().to_string();
        let beside = self.beside(&prefix);
        Some(Fit { network, prefix, tensors, beside })
    }

    /// The name of the network asked for, if these are its tensors.
    fn network(&self, tensors: &BTreeMap<String, &Entry<T>>) -> Option<String> {
        let shapes = shapes(tensors);
        match self.asked {
            Asked::Graph(graph) => fits(graph, &shapes).then(|| graph.name.clone()),
            Asked::Name(name) => zoo::build_for_shapes(name, &shapes).ok().filter(|graph| fits(graph, &shapes)).map(|graph| graph.name),
            Asked::Nothing => None,
        }
    }

    /// The tensors under the module that all of the network's are in, as an `nn.Sequential` that was saved by itself lacks it.
    fn renamed(&self, tensors: BTreeMap<String, &'a Entry<T>>) -> Option<BTreeMap<String, &'a Entry<T>>> {
        let (module, _) = self.usual.first()?.split_once('.')?;
        let is_common = self.usual.iter().all(|name| name.split_once('.').is_some_and(|(first, _)| first == module));
        is_common.then(|| tensors.into_iter().map(|(name, entry)| (format!("{module}.{name}"), entry)).collect())
    }

    /// Names of tensors that are in the same dict as those behind `prefix`, and take part in what its network computes.
    fn beside(&self, prefix: &str) -> Vec<&'a str> {
        let around = |dict: &str| dict.is_empty() || prefix.strip_prefix(dict).is_some_and(|rest| rest.starts_with('.'));
        let inner = self.dicts.iter().filter(|dict| around(dict)).map(String::len).max();
        let is_inner = |dict: usize| self.dicts.get(dict).is_some_and(|dict| around(dict) && Some(dict.len()) == inner);
        let start = inner.filter(|len| *len > 0).map_or(0, |len| len + 1);
        let others = self.entries.iter().filter(|e| is_inner(e.dict) && !e.name.starts_with(prefix));
        others.map(|e| e.name.as_str()).filter(|name| !is_aside(name.get(start..).unwrap_or(name))).collect()
    }

    /// Whether all tensors belong to one of `parts`.
    fn covers(&self, parts: &[Fit<'a, T>]) -> bool {
        self.entries.iter().filter(|e| !is_aside(&e.name)).all(|e| parts.iter().any(|fit| e.name.starts_with(&fit.prefix)))
    }

    /// Where nothing is a network: what comes nearest to the one asked for, else the largest dict.
    fn nearest(&self, base: &str, integers: &BTreeSet<String>) -> Result<BTreeMap<String, &'a Entry<T>>, String> {
        let has = |group: &Group<'a, T>| {
            let names: BTreeSet<&str> = group.tensors().map(|(name, _)| name).collect();
            self.usual.iter().filter(|name| names.contains(name.as_str())).count()
        };
        let nearest =
            if self.usual.is_empty() { None } else { self.groups().into_iter().map(|g| (has(&g), g)).rev().max_by_key(|(n, _)| *n) };
        if let Some((_, group)) = nearest.filter(|(shared, _)| *shared > 0) {
            let integer = self.usual.iter().map(|name| format!("{}{name}", group.prefix())).find(|name| integers.contains(name));
            if let Some(name) = integer {
                return Err(format!("tensor '{name}' holds integers; the network needs floats there"));
            }
            return Ok(group.tensors().map(|(name, entry)| (name.into(), entry)).collect());
        }
        let mut own: BTreeMap<usize, Vec<&Entry<T>>> = BTreeMap::new();
        self.entries.iter().for_each(|e| own.entry(e.dict).or_default().push(e));
        let elements = |entries: &[&Entry<T>]| {
            entries.iter().map(|e| e.shape.iter().fold(1, |n: usize, &d| n.saturating_mul(d))).fold(0, usize::saturating_add)
        };
        let size = |entries: &Vec<&Entry<T>>| (elements(entries), entries.len());
        let most = own.values().map(size).max().unwrap_or_default();
        let largest: Vec<(usize, Vec<&Entry<T>>)> = own.into_iter().filter(|(_, entries)| size(entries) == most).collect();
        if largest.len() > 1 {
            let paths = largest.iter().map(|(dict, _)| joined(base, self.dicts.get(*dict).map_or("", |d| d)));
            return Err(format!(
                "holds {} dicts of tensors of the same size, {}; --state-dict KEY says which",
                largest.len(),
                listed(paths)
            ));
        }
        let (dict, entries) = largest.into_iter().next().ok_or("holds no tensors")?;
        let start = self.dicts.get(dict).filter(|d| !d.is_empty()).map_or(0, |d| d.len() + 1);
        let names: Vec<&str> = entries.iter().map(|e| e.name.get(start..).unwrap_or(&e.name)).collect();
        let skipped = wrapped(&names);
        Ok(names.iter().map(|name| name[skipped..].to_string()).zip(entries).collect())
    }
}

fn shapes<'s, T>(tensors: &'s BTreeMap<String, &Entry<T>>) -> Shapes<'s> {
    tensors.iter().map(|(name, entry)| (name.as_str(), entry.shape.as_slice())).collect()
}

/// Bytes that wrappers put before each of `names`.
fn wrapped(names: &[&str]) -> usize {
    let mut skipped = 0;
    while let Some(wrapper) = WRAPPERS
        .iter()
        .find(|w| names.iter().all(|name| name[skipped..].strip_prefix(**w).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))))
    {
        skipped += wrapper.len() + 1;
    }
    skipped
}

/// Where a part of the file is, as `--state-dict` takes it.
fn joined(base: &str, path: &str) -> String {
    let path = path.trim_end_matches('.');
    if base.is_empty() || path.is_empty() { format!("{base}{path}") } else { format!("{base}.{path}") }
}

/// The first of `names`, in quotes, and how many more there are.
fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    let shown = names[..names.len().min(LISTED)].join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn several<T>(base: &str, fits: &[Fit<'_, T>]) -> String {
    let is_one = fits.iter().all(|fit| fit.network == fits[0].network);
    let paths = fits.iter().map(|fit| joined(base, &fit.prefix));
    if is_one {
        return format!(
            "holds the tensors of {} {} times, under {}; --state-dict KEY says which",
            fits[0].network,
            fits.len(),
            listed(paths)
        );
    }
    let networks = fits.iter().take(LISTED).map(|fit| format!("{} under '{}'", fit.network, joined(base, &fit.prefix))).collect::<Vec<_>>();
    format!("holds {} networks, {}; --state-dict KEY says which", fits.len(), networks.join(", "))
}

fn partial<T>(base: &str, fit: &Fit<'_, T>) -> String {
    let path = joined(base, &fit.prefix);
    let beside = listed(fit.beside.iter().map(|name| joined(base, name)));
    format!("holds the tensors of {} under '{path}', and beside them {beside}; --state-dict {path} takes them without those", fit.network)
}

#[cfg(test)]
#[path = "state_dict_tests.rs"]
mod tests;
