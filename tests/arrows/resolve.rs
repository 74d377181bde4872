//! From names in code to the files that define them: the arrows of a workspace.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Import, ModuleId, Tree};

/// How many re-exports a name may go through.
const MOST_STEPS: usize = 32;

/// File → file → the names that the first takes from the second.
pub(crate) type Arrows = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What the files of a workspace take from each other and from elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    /// Every file that is compiled outside tests.
    pub(crate) files: BTreeSet<String>,
    pub(crate) arrows: Arrows,
    /// File → crates that are not of the workspace.
    pub(crate) crates: BTreeMap<String, BTreeSet<String>>,
    /// Names of modules of the workspace that nothing there is called: faults of the resolver, or globs that it cannot see through.
    pub(crate) unknown: Vec<String>,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Item { file: String, name: String, home: ModuleId },
    Module(ModuleId),
    Crate(String),
}

/// Resolves every import and every path of a workspace.
pub(crate) fn named(tree: &Tree) -> Named {
    let files = tree.modules.iter().map(|module| module.file.clone()).collect();
    let mut out = Named { files, ..Named::default() };
    for (id, module) in tree.modules.iter().enumerate() {
        let is_only_handed_on = |import: &Import| import.is_handed_on && !module.names.contains(&import.alias);
        let imports = module.imports.iter().map(|import| (&import.path, import.alias == "*", is_only_handed_on(import)));
        let paths = module.paths.iter().map(|path| (path, false, false));
        for (path, is_glob, is_only_handed_on) in imports.chain(paths) {
            let targets = resolve(tree, id, path, 0);
            let is_hidden = is_glob && targets.iter().any(|target| matches!(target, Target::Module(_)));
            if is_hidden || (targets.is_empty() && starts_in_workspace(tree, id, path)) {
                out.unknown.push(format!("{}: {}{}", module.file, path.join("::"), if is_glob { "::*" } else { "" }));
            }
            for target in targets {
                match target {
                    // As a `mod` line does, it says where a part of this module is, and uses nothing of it.
                    Target::Item { home, .. } if is_only_handed_on && is_below(tree, home, id) => {}
                    Target::Item { file, name, .. } if file != module.file => {
                        out.arrows.entry(module.file.clone()).or_default().entry(file).or_default().insert(name);
                    }
                    Target::Crate(name) => {
                        out.crates.entry(module.file.clone()).or_default().insert(name);
                    }
                    Target::Item { .. } | Target::Module(_) => {}
                }
            }
        }
    }
    out
}

/// Whether a path's first name is one of the workspace, so that the rest must be there.
fn starts_in_workspace(tree: &Tree, id: ModuleId, path: &[String]) -> bool {
    let first = path[0].as_str();
    let module = &tree.modules[id];
    ["crate", "self", "super"].contains(&first) || tree.libraries.contains_key(first) || module.children.contains_key(first)
}

/// Everything that a path names, seen from a module: a module and a function may have one name.
fn resolve(tree: &Tree, from: ModuleId, path: &[String], steps: usize) -> Vec<Target> {
    if steps > MOST_STEPS {
        return Vec::new();
    }
    let mut at = from;
    let mut rest = path;
    let mut is_anchored = false;
    while let [first, others @ ..] = rest {
        at = match first.as_str() {
            "crate" => root(tree, at),
            "super" => tree.modules[at].parent.unwrap_or(at),
            "self" => at,
            _ => break,
        };
        (rest, is_anchored) = (others, true);
    }
    let [first, rest @ ..] = rest else { return vec![Target::Module(at)] };
    let mut targets = in_module(tree, at, first, path, steps);
    if targets.is_empty() && !is_anchored {
        let library = tree.libraries.get(first.as_str());
        targets = vec![library.map_or_else(|| Target::Crate(first.clone()), |&id| Target::Module(id))];
    }
    for name in rest {
        let modules: Vec<ModuleId> = targets.iter().filter_map(Target::module).collect();
        if modules.is_empty() {
            // A variant or an associated function: its type is what is named.
            return targets;
        }
        targets = modules.iter().flat_map(|&module| in_module(tree, module, name, path, steps)).collect();
    }
    targets
}

/// What a module calls by a name: its items, its modules, what it imports.
fn in_module(tree: &Tree, id: ModuleId, name: &str, asked: &[String], steps: usize) -> Vec<Target> {
    let module = &tree.modules[id];
    let mut out: BTreeSet<Target> = BTreeSet::new();
    if module.items.iter().any(|item| item == name) {
        out.insert(Target::Item { file: module.file.clone(), name: name.into(), home: id });
    }
    out.extend(module.children.get(name).map(|&child| Target::Module(child)));
    for import in module.imports.iter().filter(|import| import.alias == name && import.path != asked) {
        out.extend(resolve(tree, id, &import.path, steps + 1));
    }
    out.into_iter().collect()
}

/// Whether a module is part of another.
fn is_below(tree: &Tree, id: ModuleId, above: ModuleId) -> bool {
    tree.modules[id].parent.is_some_and(|parent| parent == above || is_below(tree, parent, above))
}

fn root(tree: &Tree, id: ModuleId) -> ModuleId {
    tree.modules[id].parent.map_or(id, |parent| root(tree, parent))
}

impl Target {
    fn module(&self) -> Option<ModuleId> {
        match self {
            Target::Module(id) => Some(*id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    #[test]
    fn a_re_export_leads_to_the_file_that_defines() {
        let found = made_up(&[
            ("k/src/lib.rs", "mod a; mod b; mod c; pub use a::Thing;"),
            ("k/src/a/mod.rs", "mod deep; pub use deep::Thing as Inner; pub use self::deep::Thing;"),
            ("k/src/a/deep.rs", "pub enum Thing { One }"),
            ("k/src/b.rs", "use crate::Thing; use burn::Tensor;"),
            ("k/src/c.rs", "use super::a; fn f() { a::Inner::One; rayon::join(); Vec::new(); }"),
        ]);
        let to_deep = BTreeMap::from([("k/src/a/deep.rs".to_string(), BTreeSet::from(["Thing".to_string()]))]);
        for file in ["k/src/b.rs", "k/src/c.rs"] {
            assert_eq!(found.arrows.get(file), Some(&to_deep), "{file}");
        }
        assert_eq!(found.arrows.len(), 2, "who only hands a part's name on uses nothing: {:?}", found.arrows);
        assert!(found.crates["k/src/b.rs"].contains("burn") && found.crates["k/src/c.rs"].contains("rayon"));
        assert!(found.unknown.is_empty(), "{:?}", found.unknown);
    }

    #[test]
    fn a_program_and_another_crate_see_a_library_by_its_name() {
        let found = made_up(&[
            ("k/src/lib.rs", "pub mod a;"),
            ("k/src/a.rs", "pub fn f() {}"),
            ("k/src/bin/p/main.rs", "mod q; use q::g;"),
            ("k/src/bin/p/q.rs", "pub fn g() { k::a::f(); super::main(); }"),
            ("l/src/lib.rs", "use k::a::{self, f};"),
        ]);
        assert!(found.arrows["l/src/lib.rs"].contains_key("k/src/a.rs"));
        assert!(found.arrows["k/src/bin/p/q.rs"].contains_key("k/src/a.rs"));
        assert!(found.arrows["k/src/bin/p/main.rs"].contains_key("k/src/bin/p/q.rs"));
    }

    #[test]
    fn a_name_that_is_nowhere_and_a_glob_are_told() {
        let found = made_up(&[("k/src/lib.rs", "mod a; use a::nothing; use a::*;"), ("k/src/a.rs", "pub fn f() {}")]);
        assert_eq!(found.unknown, ["k/src/lib.rs: a::nothing", "k/src/lib.rs: a::*"]);
    }

    #[test]
    fn a_module_and_a_function_of_one_name_are_both_seen() {
        let found = made_up(&[
            ("k/src/lib.rs", "mod check; mod b; pub use check::check;"),
            ("k/src/check.rs", "pub fn check() {} pub fn other() {}"),
            ("k/src/b.rs", "use crate::check; fn f() { check(); check::other(); }"),
        ]);
        assert_eq!(found.arrows["k/src/b.rs"]["k/src/check.rs"].len(), 2);
        assert!(found.unknown.is_empty(), "{:?}", found.unknown);
    }
}
