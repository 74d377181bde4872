//! Where the tensors of a pickle are: in dicts within dicts, lists and objects, and in modules that were saved whole.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};

use super::pickle::{Id, Node, Pickle};
use super::tensor::{View, tensor};
use crate::import::state_dict::{Entry, Held};

/// Bytes of the longest key that is taken for a part of a tensor's name.
const LONGEST: usize = 512;
/// Levels of dicts and modules that are looked into.
const DEEPEST: usize = 64;
/// Bytes that the names of all tensors may have together.
const NAMES: usize = 16 << 20;
/// Keys that are looked at, for each value of a pickle: shared values are looked at once for each way to name them.
const LOOKS: usize = 64;

/// What a value holds: by key, by place, or by the name of an attribute.
type Parts<'a> = Vec<(Cow<'a, str>, Id)>;

/// A value that may hold tensors.
struct Place {
    id: Id,
    /// Keys that lead to it, each followed by a dot.
    path: String,
    depth: usize,
    /// The state dict that it belongs to, of a module within another.
    dict: Option<usize>,
}

/// Every named tensor of `pickle`, or of what stands under the keys of `under` in it; the second value is the part of `under`
/// that no key was found for: names of tensors may begin with it. What belongs to an optimiser is left out.
///
/// # Errors
/// A phrase for names that have no end.
pub(super) fn tensors<'u>(pickle: &Pickle, under: &'u str) -> Result<(Held<View>, &'u str), String> {
    let mut walk = Walk { pickle, looks: LOOKS * pickle.nodes.len() };
    let (root, rest) = walk.descend(under)?;
    let mut held = Held::default();
    let (mut seen, mut places) = (HashSet::from([root]), VecDeque::from([Place { id: root, path: String::new(), depth: 0, dict: None }]));
    let mut names = NAMES;
    while let Some(place) = places.pop_front() {
        let (parts, is_module) = match walk.module(place.id)? {
            Some(parts) => (parts, true),
            None => (walk.parts(place.id)?, false),
        };
        let dict = place.dict.unwrap_or_else(|| held.dict(place.path.trim_end_matches('.')));
        for (key, id) in parts {
            // A list has no names for what it holds.
            let view = tensor(pickle, id).filter(|_| pickle.items(place.id).is_none());
            if key.len() > LONGEST || (!is_module && is_optimiser(&key)) || (view.is_none() && !walk.holds_more(id)) {
                continue;
            }
            // Modules are named wherever they are used; anything else is looked into once.
            let is_part = is_module && view.is_none() && walk.module(id)?.is_some();
            if view.is_none() && !is_part && !seen.insert(id) {
                continue;
            }
            let path = format!("{}{key}", place.path);
            names = names.checked_sub(path.len()).ok_or_else(endless)?;
            match view {
                Some(view) => {
                    held.entries.push(Entry { name: path, dict, shape: view.shape.clone(), element: view.element.clone(), at: view });
                }
                None if place.depth < DEEPEST => {
                    places.push_back(Place { id, path: path + ".", depth: place.depth + 1, dict: is_part.then_some(dict) });
                }
                None => (),
            }
        }
    }
    Ok((held, rest))
}

/// Whether what stands under `key` is an optimiser's, such as moments under the names of the tensors that they are of.
fn is_optimiser(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["optimizer", "optimiser", "optim_", "opt_"].iter().any(|start| key.starts_with(start)) || key == "optim" || key == "opt"
}

fn endless() -> String {
    "holds names of tensors without end".into()
}

struct Walk<'a> {
    pickle: &'a Pickle,
    /// Keys that may be looked at yet.
    looks: usize,
}

impl<'a> Walk<'a> {
    /// Counts what is about to be looked at.
    fn look(&mut self, id: Id) -> Result<(), String> {
        let len = match self.pickle.node(id) {
            Node::Dict(items) | Node::List(items) | Node::Tuple(items) => items.len(),
            Node::Object(object) => object.items.len(),
            _ => 0,
        };
        self.looks = self.looks.checked_sub(len + 1).ok_or_else(endless)?;
        Ok(())
    }

    fn holds_more(&self, id: Id) -> bool {
        matches!(self.pickle.node(id), Node::Dict(_) | Node::List(_) | Node::Tuple(_) | Node::Object(_))
    }

    /// The value that the keys of `path` lead to, and what of it is left.
    fn descend<'u>(&mut self, path: &'u str) -> Result<(Id, &'u str), String> {
        let (mut at, mut rest) = (self.pickle.root, path);
        while !rest.is_empty() && self.module(at)?.is_none() {
            let below = |key: &str| match rest.strip_prefix(key)? {
                "" => Some(""),
                more => more.strip_prefix('.'),
            };
            let parts = self.parts(at)?.into_iter().filter(|(key, id)| !key.is_empty() && self.holds_more(*id));
            let next = parts.filter_map(|(key, id)| Some((key.len(), id, below(&key)?))).max_by_key(|(len, ..)| *len);
            let Some((_, id, left)) = next.filter(|(_, id, _)| tensor(self.pickle, *id).is_none()) else { break };
            (at, rest) = (id, left);
        }
        Ok((at, rest))
    }

    fn parts(&mut self, id: Id) -> Result<Parts<'a>, String> {
        self.look(id)?;
        let pickle = self.pickle;
        let named = |(key, id)| (Cow::Borrowed(key), id);
        Ok(match pickle.node(id) {
            Node::List(items) | Node::Tuple(items) => items.iter().enumerate().map(|(at, &id)| (at.to_string().into(), id)).collect(),
            Node::Object(object) => {
                object.state.into_iter().try_for_each(|state| self.look(state))?;
                pickle.pairs(id).chain(object.state.into_iter().flat_map(|state| pickle.pairs(state))).map(named).collect()
            }
            _ => pickle.pairs(id).map(named).collect(),
        })
    }

    /// Parameters, buffers and modules of a module that was saved whole: those that its `state_dict()` names.
    fn module(&mut self, id: Id) -> Result<Option<Parts<'a>>, String> {
        let pickle = self.pickle;
        let Node::Object(object) = pickle.node(id) else { return Ok(None) };
        let Some(state) = object.state else { return Ok(None) };
        self.look(state)?;
        let [parameters, buffers, modules, passing] =
            ["_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"].map(|key| pickle.get(state, key));
        let (Some(parameters), Some(modules)) = (parameters, modules) else { return Ok(None) };
        let passing = passing.map(|set| set_items(pickle, set));
        [Some(parameters), buffers, Some(modules), passing].into_iter().flatten().try_for_each(|id| self.look(id))?;
        let passing: HashSet<&str> =
            passing.and_then(|list| pickle.items(list)).unwrap_or_default().iter().filter_map(|&id| pickle.text(id)).collect();
        let buffers = buffers.into_iter().flat_map(|id| pickle.pairs(id)).filter(|(name, _)| !passing.contains(name));
        let tensors = pickle.pairs(parameters).chain(buffers).filter(|(_, id)| tensor(pickle, *id).is_some());
        let modules = pickle.pairs(modules).filter(|(_, id)| matches!(pickle.node(*id), Node::Object(_)));
        Ok(Some(tensors.chain(modules).map(|(name, id)| (Cow::Borrowed(name), id)).collect()))
    }
}

/// The list of a set's elements: the set itself, or what `set` is called with.
fn set_items(pickle: &Pickle, id: Id) -> Id {
    match pickle.node(id) {
        Node::Object(object) => pickle.items(object.arguments).and_then(|a| a.first().copied()).unwrap_or(id),
        _ => id,
    }
}
