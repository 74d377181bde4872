//! Files that import each other in a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::resolve::Arrows;

/// Every set of files in circles with each other as a text: a shortest circle, and what each file of it takes from the next.
pub(crate) fn circles(arrows: &Arrows) -> Vec<String> {
    let reach: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|file| (file.as_str(), reached(arrows, file))).collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut out = Vec::new();
    for (file, others) in &reach {
        let comes_back = |other: &&&str| reach.get(**other).is_some_and(|from| from.contains(file));
        let circle: BTreeSet<&str> = others.iter().filter(comes_back).copied().collect();
        if circle.len() > 1 && seen.insert(file) {
            seen.extend(&circle);
            out.push(told(arrows, &circle));
        }
    }
    out
}

/// All files that one takes names from, directly or through others.
fn reached<'a>(arrows: &'a Arrows, file: &str) -> BTreeSet<&'a str> {
    let mut out = BTreeSet::new();
    let mut next: Vec<&str> = vec![file];
    while let Some(file) = next.pop() {
        for other in arrows.get(file).into_iter().flat_map(|to| to.keys()) {
            if out.insert(other.as_str()) {
                next.push(other);
            }
        }
    }
    out
}

fn told(arrows: &Arrows, circle: &BTreeSet<&str>) -> String {
    let shortest = circle.iter().map(|file| way_back(arrows, circle, file)).min_by_key(Vec::len).unwrap_or_default();
    let mut text = format!("{} files are in circles with each other, the shortest of which is", circle.len());
    for (i, file) in shortest.iter().enumerate() {
        let other = shortest[(i + 1) % shortest.len()];
        let names: Vec<&str> = arrows[*file][other].iter().map(String::as_str).collect();
        text += &format!("\n    {file} takes {} from {other}", names.join(", "));
    }
    text
}

/// The files of a shortest way from one of a circle back to it.
fn way_back<'a>(arrows: &'a Arrows, circle: &BTreeSet<&'a str>, start: &'a str) -> Vec<&'a str> {
    let mut ways: VecDeque<Vec<&str>> = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let next = arrows.get(*way.last().unwrap_or(&start)).into_iter().flat_map(|to| to.keys());
        for other in next.map(String::as_str).filter(|other| circle.contains(other)) {
            if other == start {
                return way;
            }
            if seen.insert(other) {
                ways.push_back([&way[..], &[other]].concat());
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    #[test]
    fn a_circle_is_told_with_its_files_and_names() {
        let found = made_up(&[
            ("k/src/lib.rs", "mod a; mod b; mod c; mod d;"),
            ("k/src/a.rs", "use crate::b::f;"),
            ("k/src/b.rs", "pub fn f() { super::c::G::new() }"),
            ("k/src/c.rs", "pub struct G; fn h(d: crate::d::D) {} #[cfg(test)] mod tests { use crate::a::A; }"),
            ("k/src/d.rs", "use super::b::f; pub struct D;"),
        ]);
        let told = circles(&found.arrows);
        assert_eq!(told.len(), 1, "{told:?}");
        let way =
            "\n    k/src/b.rs takes G from k/src/c.rs\n    k/src/c.rs takes D from k/src/d.rs\n    k/src/d.rs takes f from k/src/b.rs";
        assert!(told[0].starts_with("3 files") && told[0].ends_with(way), "{}", told[0]);
    }

    #[test]
    fn a_child_that_uses_what_its_parent_defines_and_is_used_by_it_is_a_circle() {
        let circle = [
            ("k/src/lib.rs", "mod a;"),
            ("k/src/a/mod.rs", "mod b; pub struct S; use b::f;"),
            ("k/src/a/b.rs", "use super::S; pub fn f() {}"),
        ];
        assert_eq!(circles(&made_up(&circle).arrows).len(), 1);
        let none = [
            ("k/src/lib.rs", "mod a;"),
            ("k/src/a/mod.rs", "mod b; mod s; pub use s::S; use b::f;"),
            ("k/src/a/s.rs", "pub struct S;"),
            ("k/src/a/b.rs", "use super::S; pub fn f() {}"),
        ];
        assert_eq!(circles(&made_up(&none).arrows), [""; 0]);
    }
}
