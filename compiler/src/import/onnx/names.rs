//! Names of a network's values that its file does not have: those of functions and branches, of constants that are added.

use std::collections::{HashMap, HashSet};

/// The most nodes of a network, calls of functions among them.
const MOST_NODES: usize = 1 << 16;
/// The longest part of a name that is kept when it is made anew.
const LONGEST: usize = 200;

/// The names of a network's values, and how much may still be read into it.
pub(super) struct Names {
    taken: HashSet<String>,
    /// By the beginning of a name, the number that the last one ended in.
    last: HashMap<String, usize>,
    nodes: usize,
    /// Numbers, elements and names that bodies may bring which are read more than once.
    room: usize,
}

impl Names {
    /// For a file of `held` bytes, or of as many constants.
    pub(super) fn new(held: usize) -> Self {
        Self { taken: HashSet::new(), last: HashMap::new(), nodes: 0, room: held.saturating_mul(16).saturating_add(1 << 24) }
    }

    /// Takes names that there are already.
    pub(super) fn take<'n>(&mut self, names: impl Iterator<Item = &'n String>) {
        self.taken.extend(names.cloned());
    }

    /// A name that is taken nowhere: the one wished, or that with a number.
    pub(super) fn fresh(&mut self, wish: &str) -> String {
        let wish = shortened(wish);
        let mut name = wish.to_string();
        let last = self.last.entry(name.clone()).or_insert(1);
        while self.taken.contains(&name) {
            *last += 1;
            name = format!("{wish}#{last}");
        }
        self.taken.insert(name.clone());
        name
    }

    /// Counts nodes that there are already.
    pub(super) fn count_nodes(&mut self, nodes: usize) {
        self.nodes += nodes;
    }

    /// Counts a node.
    ///
    /// # Errors
    /// A phrase where there are too many.
    pub(super) fn count_node(&mut self) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > MOST_NODES { Err(format!("has more than {MOST_NODES} nodes")) } else { Ok(()) }
    }

    /// Counts `elements` that a body brings.
    ///
    /// # Errors
    /// A phrase where it is too much.
    pub(super) fn spend(&mut self, elements: usize) -> Result<(), String> {
        self.room =
            self.room.checked_sub(elements).ok_or("brings more constants by its functions and branches than a file of this size may")?;
        Ok(())
    }
}

/// The beginning of a name, if that is long.
pub(super) fn shortened(name: &str) -> &str {
    let end = (0..=LONGEST.min(name.len())).rev().find(|&i| name.is_char_boundary(i)).unwrap_or(0);
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_anew_and_kept_short() {
        let mut names = Names::new(0);
        let (long, taken) = ("é".repeat(300), "a".to_string());
        names.take([&taken].into_iter());
        assert_eq!((names.fresh("a"), names.fresh("a"), names.fresh("b")), ("a#2".into(), "a#3".into(), "b".into()));
        assert_eq!((names.fresh(&long).len(), names.fresh(&long)), (LONGEST, format!("{}#2", "é".repeat(100))));
    }
}
