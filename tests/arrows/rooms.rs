//! The table of rooms in ARCHITECTURE.md, and what of the code does not hold to it.
//!
//! A room is a folder or a file of a crate's `src/`, or a whole crate. The last column of its row lists what it may use: rooms of its
//! own crate by their names, those of another as `runtime/artifact`, all rooms of a crate as `runtime`, crates from elsewhere by
//! their names. What is from elsewhere may be used by those rooms alone that name it, if any does.

use std::collections::{BTreeMap, BTreeSet};

use crate::circles::circles;
use crate::resolve::{Arrows, Named};

/// A row of the table.
#[derive(Debug, PartialEq)]
pub(crate) struct Room {
    /// Folders, which end with a slash, and files.
    places: Vec<String>,
    uses: Vec<String>,
}

/// The rows below the heading `| room |`, which end with the first line that is no row.
pub(crate) fn rooms(page: &str) -> Vec<Room> {
    let rows = page.lines().skip_while(|line| !line.starts_with("| room |")).skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<String> = row.trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_string()).collect();
        let uses = cells.last().map_or("", String::as_str).split(',').map(str::trim).filter(|name| *name != "nothing");
        Room { places: expanded(&cells[0]), uses: uses.map(String::from).collect() }
    })
    .collect()
}

/// `a/{b,c}.rs` is two places.
fn expanded(place: &str) -> Vec<String> {
    let braces = place.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (names, after))) = braces else { return vec![place.into()] };
    names.split(',').map(|name| format!("{before}{}{after}", name.trim())).collect()
}

/// Everything that does not hold, a line or more each.
pub(crate) fn faults(rooms: &[Room], named: &Named) -> Vec<String> {
    let house = House { rooms, named };
    [house.rows(), house.without_row(), house.arrows(), house.crates(), house.circles()].concat()
}

struct House<'a> {
    rooms: &'a [Room],
    named: &'a Named,
}

impl House<'_> {
    /// Rows of rooms that are not there, and names in rows that are nothing.
    fn rows(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (at, room) in self.rooms.iter().enumerate() {
            let gone = room.places.iter().filter(|place| !self.named.files.iter().any(|file| covers(place, file)));
            out.extend(gone.map(|place| format!("the table has a row for {place}, which is not there")));
            for name in room.uses.iter().filter(|name| self.rooms_called(at, name).is_empty()) {
                let mut used = self.named.crates.iter().filter(|(file, _)| self.room_of(file) == Some(at)).map(|(_, used)| used);
                if !used.any(|used| used.contains(&plain(name))) {
                    out.push(format!("the row of {} names {name}, which is no room and no crate that it uses", room.places[0]));
                }
            }
        }
        out
    }

    /// Files that stand in no room. A crate's `lib.rs` says what is public and belongs to none.
    fn without_row(&self) -> Vec<String> {
        let files = self.named.files.iter().filter(|file| !file.ends_with("/src/lib.rs") && self.room_of(file).is_none());
        let rooms: BTreeSet<String> = files.map(|file| top(file)).collect();
        rooms.into_iter().map(|room| format!("{room} has no row in the table")).collect()
    }

    /// What one room takes from another without leave.
    fn arrows(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (file, to) in &self.named.arrows {
            let Some(from) = self.room_of(file) else { continue };
            for (other, names) in to {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                match self.room_of(other) {
                    Some(room) if room == from || self.allowed(from).contains(&room) => {}
                    Some(_) => out.push(format!("{} may not use {}: {file} takes {names} from {other}", top(file), top(other))),
                    None => out.push(format!("{file} takes {names} from {other}, which is no room")),
                }
            }
        }
        out
    }

    /// Uses of crates that the table keeps to other rooms.
    fn crates(&self) -> Vec<String> {
        let mut keepers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, room) in self.rooms.iter().enumerate() {
            let elsewhere = room.uses.iter().filter(|name| self.rooms_called(at, name).is_empty());
            elsewhere.for_each(|name| keepers.entry(plain(name)).or_default().push(at));
        }
        let mut out = Vec::new();
        for (file, crates) in &self.named.crates {
            let Some(at) = self.room_of(file) else { continue };
            let kept = crates.iter().filter(|name| keepers.get(*name).is_some_and(|rooms| !rooms.contains(&at)));
            out.extend(kept.map(|name| format!("{} may not use the crate {name}: {file} does", top(file))));
        }
        out
    }

    /// Rooms that the table lets use each other in a circle.
    fn circles(&self) -> Vec<String> {
        let name = |at: usize| self.rooms[at].places[0].clone();
        let row =
            |at: usize| (name(at), self.allowed(at).iter().map(|&to| (name(to), BTreeSet::from(["what it likes".to_string()]))).collect());
        let table: Arrows = (0..self.rooms.len()).map(row).collect();
        circles(&table).into_iter().map(|circle| format!("the table lets rooms use each other: {circle}")).collect()
    }

    fn allowed(&self, at: usize) -> Vec<usize> {
        let called = self.rooms[at].uses.iter().flat_map(|name| self.rooms_called(at, name));
        called.filter(|other| *other != at).collect()
    }

    /// The room with the longest place around a file.
    fn room_of(&self, file: &str) -> Option<usize> {
        let places = self.rooms.iter().enumerate().flat_map(|(at, room)| room.places.iter().map(move |place| (place, at)));
        places.filter(|(place, _)| covers(place, file)).max_by_key(|(place, _)| place.len()).map(|(_, at)| at)
    }

    /// The rooms that the row at `at` means by a name.
    fn rooms_called(&self, at: usize, name: &str) -> Vec<usize> {
        let own = crate_of(&self.rooms[at].places[0]);
        let is_called = |place: &String| {
            let (home, short) = (crate_of(place), short(place));
            // Nobody can use a program.
            (home == name && !place.contains("/src/bin/")) || (home == own && short == name) || format!("{home}/{short}") == name
        };
        let rooms = self.rooms.iter().enumerate();
        rooms.filter(|(_, room)| room.places.iter().any(is_called)).map(|(other, _)| other).collect()
    }
}

/// Whether a file is of a place; `npy.rs` has its parts in `npy/`.
fn covers(place: &str, file: &str) -> bool {
    match place.strip_suffix(".rs") {
        Some(stem) => file.strip_prefix(stem).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')),
        None => file.starts_with(place),
    }
}

/// The folder of a crate, which is the place itself where that is a whole crate.
fn crate_of(place: &str) -> &str {
    place.split_once("/src/").map_or(place.trim_end_matches('/'), |(home, _)| home)
}

/// What a place is called: `runtime/src/bench.rs` is bench.
fn short(place: &str) -> &str {
    let place = place.trim_end_matches('/').trim_end_matches(".rs");
    place.rsplit_once('/').map_or(place, |(_, name)| name)
}

/// What stands directly in `src/` and is or holds a file.
fn top(file: &str) -> String {
    let Some((home, rest)) = file.split_once("/src/") else { return file.into() };
    let inner = rest.split_once('/').map_or_else(|| rest.to_string(), |(folder, _)| format!("{folder}/"));
    format!("{home}/src/{inner}")
}

/// A crate's name as code has it.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    const PAGE: &str = "# House\n\n| room | what it holds | what it may use |\n|---|---|---|\n\
        | `k/src/low/` | a thing | nothing |\n\
        | `k/src/{one,two}.rs` | tools | low, wgpu |\n\
        | `l/` | another crate | k/low |\n\ntext\n| `no` | row | x |\n";

    fn told(files: &[(&str, &str)], page: &str) -> Vec<String> {
        faults(&rooms(page), &made_up(files))
    }

    fn house() -> Vec<(&'static str, &'static str)> {
        vec![
            ("k/src/lib.rs", "pub mod low; mod one; mod two;"),
            ("k/src/low/mod.rs", "pub mod deep; pub struct S;"),
            ("k/src/low/deep.rs", "use super::S; pub fn f() {}"),
            ("k/src/one.rs", "use crate::low::S; use wgpu::Device;"),
            ("k/src/two.rs", "use crate::one; fn f() { crate::low::deep::f(); std::mem::drop(1); }"),
            ("l/src/lib.rs", "use k::low::S; use rayon::join;"),
        ]
    }

    #[test]
    fn what_the_table_allows_is_no_fault() {
        assert_eq!(told(&house(), PAGE), [""; 0]);
    }

    #[test]
    fn an_arrow_that_the_table_does_not_allow_is_told_with_its_names() {
        let mut files = house();
        files[2].1 = "use crate::one::g; pub fn f() {}";
        files[3].1 = "pub fn g() {} use wgpu::Device;";
        assert_eq!(told(&files, PAGE), ["k/src/low/ may not use k/src/one.rs: k/src/low/deep.rs takes g from k/src/one.rs"]);
        files = house();
        files[5].1 = "use k::one::g;";
        files[3].1 = "pub fn g() {} use wgpu::Device;";
        assert_eq!(told(&files, PAGE), ["l/src/lib.rs may not use k/src/one.rs: l/src/lib.rs takes g from k/src/one.rs"]);
    }

    #[test]
    fn a_row_may_name_its_own_places_and_a_crate_that_it_is_of() {
        let mut files = house();
        files.push(("k/src/bin/p/main.rs", "use k::two;"));
        let page = PAGE.replace("| low, wgpu |", "| one, two, k, wgpu |\n| `k/src/bin/p/` | a program | k |");
        assert_eq!(told(&files, &page), [""; 0]);
    }

    #[test]
    fn a_crate_by_its_name_is_all_of_its_rooms() {
        let mut files = house();
        (files[3].1, files[5].1) = ("pub fn g() {} use wgpu::Device;", "use k::one::g;");
        assert_eq!(told(&files, &PAGE.replace("k/low", "k")), [""; 0]);
    }

    #[test]
    fn a_crate_is_kept_to_the_rooms_that_name_it() {
        let mut files = house();
        files[2].1 = "fn f() -> wgpu::Buffer { todo!() } pub fn g() {}";
        files[4].1 = "";
        assert_eq!(told(&files, PAGE), ["k/src/low/ may not use the crate wgpu: k/src/low/deep.rs does"]);
    }

    #[test]
    fn a_room_without_a_row_and_a_row_without_a_room_are_told() {
        let mut files = house();
        files[0].1 = "pub mod low; mod one; mod two; mod three; mod four; #[cfg(test)] mod five;";
        files.push(("k/src/three/mod.rs", ""));
        files.push(("k/src/five.rs", ""));
        files.push(("k/src/four.rs", ""));
        assert_eq!(told(&files, PAGE), ["k/src/four.rs has no row in the table", "k/src/three/ has no row in the table"]);
        let gone = PAGE.replace("{one,two}", "{one,two,five}").replace("low, wgpu", "low, wgpu, nalgebra");
        assert_eq!(
            told(&house(), &gone),
            [
                "the table has a row for k/src/five.rs, which is not there",
                "the row of k/src/one.rs names nalgebra, which is no room and no crate that it uses"
            ]
        );
    }

    #[test]
    fn a_table_that_goes_round_is_told() {
        let round = PAGE.replace("| a thing | nothing |", "| a thing | one |");
        let told = told(&house(), &round);
        assert!(told.len() == 1 && told[0].contains("k/src/low/") && told[0].contains("k/src/one.rs"), "{told:?}");
    }
}
