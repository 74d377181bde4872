//! The values of a pickle. A call is a record of what would have been called; only those that rebuild tensors mean anything to
//! their reader.

/// Index into [`Pickle::nodes`]. Values lie side by side, so that nesting costs no stack.
pub(super) type Id = usize;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Int(i64),
    Bool(bool),
    Text(String),
    /// `module.name`.
    Global(String),
    Tuple(Vec<Id>),
    /// A list, or a set.
    List(Vec<Id>),
    /// Keys and values in turn.
    Dict(Vec<Id>),
    /// What a persistent id points to: of a tensor's storage, a tuple.
    Persistent(Id),
    Object(Box<Object>),
    /// Anything else.
    Other,
}

/// What a call would have made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    /// What is called, mostly a [`Node::Global`].
    pub(super) called: Id,
    /// A tuple.
    pub(super) arguments: Id,
    /// Keys and values in turn, of an object that is a kind of dict.
    pub(super) items: Vec<Id>,
    /// What its attributes are set from, mostly a dict.
    pub(super) state: Option<Id>,
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    pub(super) nodes: Vec<Node>,
    /// What the pickle is of.
    pub(super) root: Id,
}

impl Pickle {
    pub(super) fn node(&self, id: Id) -> &Node {
        self.nodes.get(id).unwrap_or(&Node::Other)
    }

    /// The elements of a tuple or list.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        if let Node::Tuple(items) | Node::List(items) = self.node(id) { Some(items) } else { None }
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        if let Node::Text(text) | Node::Global(text) = self.node(id) { Some(text) } else { None }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        if let Node::Int(n) = self.node(id) { Some(*n) } else { None }
    }

    /// Keys that are text, and their values, of a dict or of an object that is a kind of one.
    pub(super) fn pairs(&self, id: Id) -> impl Iterator<Item = (&str, Id)> {
        let items: &[Id] = match self.node(id) {
            Node::Dict(items) => items,
            Node::Object(object) => &object.items,
            _ => &[],
        };
        items.chunks_exact(2).filter_map(|pair| if let Node::Text(key) = self.node(pair[0]) { Some((key.as_str(), pair[1])) } else { None })
    }

    /// The value under `key` of a dict.
    pub(super) fn get(&self, id: Id, key: &str) -> Option<Id> {
        self.pairs(id).find(|(k, _)| *k == key).map(|(_, value)| value)
    }
}
