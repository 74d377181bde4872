//! A workspace's modules: what each defines, what it imports, and the paths that its code names.

use std::collections::{BTreeMap, BTreeSet};

use crate::lex::{Token, attribute, end_of_item, matching, tokens};

/// Every file's text, by its path from the root of the workspace.
pub(crate) type Sources = BTreeMap<String, String>;

/// The place of a module in [`Tree::modules`].
pub(crate) type ModuleId = usize;

/// A module: a file, or a `mod` with a body inside one.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) file: String,
    pub(crate) parent: Option<ModuleId>,
    /// Functions, types, constants, macros.
    pub(crate) items: Vec<String>,
    pub(crate) children: BTreeMap<String, ModuleId>,
    pub(crate) imports: Vec<Import>,
    /// Paths of two names or more outside `use`.
    pub(crate) paths: Vec<Vec<String>>,
    /// Every name outside `use` that begins a path or stands alone, but those of methods and fields.
    pub(crate) names: BTreeSet<String>,
}

/// One name of a `use` line.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// What it is called here; `*` takes all.
    pub(crate) alias: String,
    /// Whether others may take it from here.
    pub(crate) is_handed_on: bool,
}

/// All modules of all crates.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) modules: Vec<Module>,
    /// The modules that are the roots of libraries, by the library's name in code.
    pub(crate) libraries: BTreeMap<String, ModuleId>,
}

impl Tree {
    /// Reads crates: each folder's library, its programs and its build script, as far as there are any.
    pub(crate) fn read(sources: &Sources, crates: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (folder, name) in crates {
            if let Some(root) = tree.root(sources, &format!("{folder}/src/lib.rs")) {
                tree.libraries.insert((*name).into(), root);
            }
            let programs = format!("{folder}/src/bin/");
            let is_program =
                |file: &str| file.strip_prefix(&programs).is_some_and(|rest| !rest.contains('/') || rest.ends_with("/main.rs"));
            for file in sources.keys().filter(|file| is_program(file)) {
                tree.root(sources, file);
            }
            for file in ["build.rs", "src/main.rs"] {
                tree.root(sources, &format!("{folder}/{file}"));
            }
        }
        tree
    }

    fn root(&mut self, sources: &Sources, file: &str) -> Option<ModuleId> {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.file(sources, file, folder, None)
    }

    /// Reads a file whose child modules lie in a folder.
    fn file(&mut self, sources: &Sources, file: &str, children: &str, parent: Option<ModuleId>) -> Option<ModuleId> {
        let text = sources.get(file)?;
        let place = Place { sources, file, children };
        Some(self.module(&place, &tokens(text), parent))
    }

    fn module(&mut self, place: &Place<'_>, body: &[Token], parent: Option<ModuleId>) -> ModuleId {
        let id = self.modules.len();
        self.modules.push(Module { file: place.file.into(), parent, ..Module::default() });
        let mut i = 0;
        while i < body.len() {
            let end = end_of_item(body, i).max(i + 1);
            self.item(place, &body[i..end], id);
            i = end;
        }
        id
    }

    /// Notes what an item of a module defines, imports and names.
    fn item(&mut self, place: &Place<'_>, item: &[Token], id: ModuleId) {
        let mut i = 0;
        let mut path = None;
        while let Some(end) = attribute(item, i) {
            path = path.or_else(|| told_path(&item[i..end]));
            i = end;
        }
        let start = i;
        if item.get(i).and_then(Token::name) == Some("pub") {
            i += 1;
            if item.get(i).is_some_and(|t| t.is('(')) {
                i = matching(item, i);
            }
        }
        let rest = &item[i..];
        let keywords = rest.iter().take_while(|t| matches!(t, Token::Name(_) | Token::Text(_))).filter_map(Token::name);
        let words: Vec<&str> = keywords.skip_while(|word| ["unsafe", "async", "extern"].contains(word)).collect();
        match words.as_slice() {
            ["mod", name, ..] => self.child(place, rest, name, path, id),
            ["const", "fn" | "unsafe", .., name] => self.modules[id].items.push((*name).into()),
            ["fn" | "struct" | "enum" | "trait" | "type" | "const" | "union", name, ..] => self.modules[id].items.push((*name).into()),
            ["static", .., name] => self.modules[id].items.push((*name).into()),
            _ => {}
        }
        if rest.get(1).is_some_and(|t| t.is('!')) {
            self.modules[id].items.extend(made_by(rest));
        }
        if words.first() != Some(&"mod") {
            self.code(&item[start..], id);
        }
    }

    /// Reads the module that a `mod` item declares. That of a file that is not there is a test's or a build script's.
    fn child(&mut self, place: &Place<'_>, item: &[Token], name: &str, path: Option<String>, id: ModuleId) {
        let below = format!("{}/{name}", place.children);
        let open = item.iter().position(|t| t.is('{'));
        let child = match (open, path) {
            (Some(open), _) => {
                let inner = Place { children: &below, ..*place };
                Some(self.module(&inner, &item[open + 1..item.len() - 1], Some(id)))
            }
            (None, Some(path)) => {
                let folder = place.file.rsplit_once('/').map_or("", |(folder, _)| folder);
                let file = plain(&format!("{folder}/{path}"));
                let children = file.rsplit_once('/').map_or("", |(folder, _)| folder);
                self.file(place.sources, &file, children, Some(id))
            }
            (None, None) => {
                let file = self.file(place.sources, &format!("{below}.rs"), &below, Some(id));
                file.or_else(|| self.file(place.sources, &format!("{below}/mod.rs"), &below, Some(id)))
            }
        };
        if let Some(child) = child {
            self.modules[id].children.insert(name.into(), child);
        }
    }

    /// Notes what code imports and names.
    fn code(&mut self, code: &[Token], id: ModuleId) {
        let mut i = 0;
        while i < code.len() {
            let follows = |i: usize, mark: char| code.get(i + 1).is_some_and(|t| t.is(mark));
            match &code[i] {
                // Not the `use<'a>` of a bound.
                Token::Name(name) if name == "use" && !follows(i, '<') => {
                    let end = (i..code.len()).find(|&j| code[j].is(';')).unwrap_or(code.len());
                    let is_handed_on = code[..i].first().and_then(Token::name) == Some("pub");
                    spread(&code[i + 1..end], &[], is_handed_on, &mut self.modules[id].imports);
                    i = end;
                }
                Token::Name(name) => {
                    let mut path = vec![name.clone()];
                    let is_called_so = i > 0 && (code[i - 1].is('.') || code[i - 1].name() == Some("fn"));
                    if !is_called_so {
                        self.modules[id].names.insert(name.clone());
                    }
                    while let (Some(Token::Colons), Some(Token::Name(next))) = (code.get(i + 1), code.get(i + 2)) {
                        path.push(next.clone());
                        i += 2;
                    }
                    if path.len() > 1 {
                        self.modules[id].paths.push(path);
                    }
                    i += 1;
                }
                // What follows `>::` or stands behind a leading `::` begins no path of this module.
                Token::Colons => i += 2,
                _ => i += 1,
            }
        }
    }
}

/// Where a module's text stands.
struct Place<'a> {
    sources: &'a Sources,
    file: &'a str,
    children: &'a str,
}

/// The items that a macro may make: what its definition defines, or the names that a call gives it.
fn made_by(item: &[Token]) -> Vec<String> {
    let is_definition = item[0].name() == Some("macro_rules");
    let is_made = |i: usize| match item[i - 1].name() {
        Some("struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static" | "macro_rules") => true,
        Some(_) => false,
        None => !is_definition && item[i - 1] != Token::Colons && item.get(i + 1) != Some(&Token::Colons),
    };
    let names = (1..item.len()).filter(|&i| i == 2 || is_made(i)).filter_map(|i| item[i].name());
    names.map(String::from).collect()
}

/// The file that `#[path = "…"]` names.
fn told_path(attribute: &[Token]) -> Option<String> {
    match attribute {
        [_, _, Token::Name(name), Token::Mark('='), Token::Text(path), ..] if name == "path" => Some(path.clone()),
        _ => None,
    }
}

/// A path without `..`.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Takes a `use` tree apart into single names.
fn spread(tree: &[Token], prefix: &[String], is_handed_on: bool, out: &mut Vec<Import>) {
    let mut path = prefix.to_vec();
    let mut alias = None;
    for (i, token) in tree.iter().enumerate() {
        match token {
            Token::Name(name) if name == "as" => {
                alias = Some(tree.get(i + 1).and_then(Token::name).unwrap_or("_").to_string());
                break;
            }
            Token::Name(name) => path.push(name.clone()),
            Token::Mark('*') => alias = Some("*".into()),
            Token::Mark('{') => {
                let inner = branches(&tree[i + 1..matching(tree, i) - 1]);
                return inner.into_iter().filter(|branch| !branch.is_empty()).for_each(|branch| spread(branch, &path, is_handed_on, out));
            }
            _ => {}
        }
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        // `a::b::{self}` names `a::b`.
        path.pop();
    }
    let alias = alias.or_else(|| path.last().cloned()).unwrap_or_default();
    out.push(Import { path, alias, is_handed_on });
}

/// The parts between the commas that stand in no bracket.
fn branches(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => depth -= 1,
            Token::Mark(',') if depth == 0 => {
                out.push(&tokens[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&tokens[start..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_into_items_imports_and_paths() {
        let text = "use crate::a::{self, B as C, d::{E, F}}; pub(crate) const fn f() -> u8 { g::h::<u8>(); <T as x::Y>::Z } \
                    static mut S: u8 = 0; pub struct P(pub u8); impl P { fn m() { use q::R; } } macro_rules! mac { () => { enum M {} } } mac!(N, o::P);";
        let sources = Sources::from([("k/src/lib.rs".into(), text.into())]);
        let tree = Tree::read(&sources, &[("k", "k")]);
        let module = &tree.modules[0];
        assert_eq!(module.items, ["f", "S", "P", "mac", "M", "N"]);
        let imports: Vec<String> = module.imports.iter().map(|i| format!("{} as {}", i.path.join("::"), i.alias)).collect();
        assert_eq!(imports, ["crate::a as a", "crate::a::B as C", "crate::a::d::E as E", "crate::a::d::F as F", "q::R as R"]);
        assert_eq!(module.paths, [vec!["g", "h"], vec!["x", "Y"], vec!["o", "P"]]);
    }

    #[test]
    fn modules_are_found_where_rust_looks_for_them() {
        let sources: Sources = [
            ("k/src/lib.rs", "mod a; mod b; mod inner { mod c; } #[path = \"../other/d.rs\"] mod d; #[cfg(test)] mod t;"),
            ("k/src/a.rs", "mod e;"),
            ("k/src/a/e.rs", ""),
            ("k/src/b/mod.rs", "mod e;"),
            ("k/src/b/e.rs", ""),
            ("k/src/inner/c.rs", ""),
            ("k/other/d.rs", ""),
            ("k/src/t.rs", ""),
            ("k/src/bin/p/main.rs", "mod q;"),
            ("k/src/bin/p/q.rs", ""),
        ]
        .map(|(file, text)| (file.to_string(), text.to_string()))
        .into();
        let tree = Tree::read(&sources, &[("k", "k")]);
        let mut files: Vec<&str> = tree.modules.iter().map(|m| m.file.as_str()).collect();
        files.dedup();
        files.sort_unstable();
        files.dedup();
        let all_but_the_test: Vec<&str> = sources.keys().map(String::as_str).filter(|file| *file != "k/src/t.rs").collect();
        assert_eq!(files, all_but_the_test);
    }
}
