//! The parts of a file whose tensors are exactly those of a known network.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Asked, Entry};
use super::messages::{CHOOSE, joined, listed};
use crate::error::Result;
use crate::graph::Graph;
use crate::import::factors::Place;
use crate::zoo::{self, Shapes};

/// What wrappers put before every name.
const WRAPPERS: [&str; 7] = ["module", "model", "net", "network", "backbone", "state_dict", "_orig_mod"];
/// The most parts of a name that may be a prefix.
const DEEPEST: usize = 64;
/// The most networks in one file that are told apart.
const MOST: usize = 256;

/// Part of a file whose tensors are exactly those of a network.
pub(super) struct Fit<'a, T> {
    pub(super) network: String,
    /// What stands before all names, with its dot.
    pub(super) prefix: String,
    /// By the network's names.
    pub(super) tensors: BTreeMap<String, &'a Entry<T>>,
    /// Tensors in the same dict that are not the network's, the first few of them.
    pub(super) beside: Vec<&'a str>,
}

/// Whether a module of that name, beside a network, takes no part in what it computes.
fn is_aside(name: &str) -> bool {
    let module = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    module.contains("loss") || module.starts_with("criterion") || module.starts_with("metric")
}

/// The names of the tensors that the network asked for usually has.
pub(super) fn usual(asked: Asked<'_>) -> Result<Vec<String>> {
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

/// Looks for networks among tensors.
pub(super) struct Finder<'a, T> {
    /// In the order of names.
    pub(super) entries: &'a [Entry<T>],
    pub(super) dicts: &'a [String],
    pub(super) asked: &'a Asked<'a>,
    /// Names of the tensors of the network asked for.
    pub(super) usual: Vec<String>,
}

impl<'a, T: PartialEq> Finder<'a, T> {
    /// Every prefix of everything, and of each dict without those within it.
    fn groups(&self) -> Vec<Group<'a, T>> {
        let mut found = groups(&self.entries.iter().collect::<Vec<_>>());
        let own = self.own();
        if own.len() > 1 {
            let within = |dict: &usize| self.dicts.get(*dict).filter(|path| !path.is_empty()).map_or(0, |path| path.len() + 1);
            found.extend(own.iter().flat_map(|(dict, entries)| groups(entries).into_iter().filter(|g| g.prefix >= within(dict))));
        }
        found
    }

    /// The tensors of each dict.
    fn own(&self) -> BTreeMap<usize, Vec<&'a Entry<T>>> {
        let mut own: BTreeMap<usize, Vec<&Entry<T>>> = BTreeMap::new();
        self.entries.iter().for_each(|e| own.entry(e.dict).or_default().push(e));
        own
    }

    /// All parts that are a network, each once.
    ///
    /// # Errors
    /// A phrase for more than can be told apart.
    pub(super) fn fits(&self) -> Result<Vec<Fit<'a, T>>, String> {
        let mut found: Vec<Fit<'a, T>> = Vec::new();
        let mut left = MOST;
        for group in self.groups() {
            let Some(fit) = self.fit(&group) else { continue };
            // Each is compared with all that its dict has.
            left = left.checked_sub(1).ok_or_else(|| format!("holds more than {MOST} networks; --state-dict KEY says which"))?;
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
        Ok(found)
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
            Asked::Nothing => zoo::alike_shapes(&shapes(&tensors)).into_iter().next()?,
            _ => match self.network(&tensors) {
                Some(network) => network,
                None => {
                    tensors = self.renamed(group.prefix(), tensors)?;
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
    fn renamed(&self, prefix: &str, tensors: BTreeMap<String, &'a Entry<T>>) -> Option<BTreeMap<String, &'a Entry<T>>> {
        let (module, _) = self.usual.first()?.split_once('.')?;
        // It is there: then the prefix is shorter.
        if prefix.trim_end_matches('.').rsplit('.').next() == Some(module) {
            return None;
        }
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
    pub(super) fn covers(&self, parts: &[Fit<'a, T>]) -> bool {
        self.entries.iter().filter(|e| !is_aside(&e.name)).all(|e| parts.iter().any(|fit| e.name.starts_with(&fit.prefix)))
    }

    /// Where nothing is a network: what comes nearest to the one asked for, else the largest dict.
    pub(super) fn nearest(&self, base: &str, integers: &BTreeSet<String>) -> Result<BTreeMap<String, &'a Entry<T>>, String> {
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
        let own = self.own();
        let elements = |entries: &[&Entry<T>]| {
            entries.iter().map(|e| e.shape.iter().fold(1, |n: usize, &d| n.saturating_mul(d))).fold(0, usize::saturating_add)
        };
        let size = |entries: &Vec<&Entry<T>>| (elements(entries), entries.len());
        let most = own.values().map(size).max().unwrap_or_default();
        let largest: Vec<(usize, Vec<&Entry<T>>)> = own.into_iter().filter(|(_, entries)| size(entries) == most).collect();
        if largest.len() > 1 {
            let paths = largest.iter().map(|(dict, _)| joined(base, self.dicts.get(*dict).map_or("", |d| d)));
            return Err(format!("holds {} dicts of tensors of the same size, {}; {CHOOSE}", largest.len(), listed(paths)));
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
