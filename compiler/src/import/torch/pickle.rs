//! The part of the pickle language that state dicts are written in. Nothing is executed: a call becomes a record of what
//! would have been called, and only those that rebuild tensors mean anything.

use std::collections::HashMap;

/// Index into [`Pickle::nodes`]. Values lie side by side, so that nesting costs no stack.
pub(super) type Id = usize;

/// The most bytes of a pickle: that of ten thousand tensors has one or two million.
pub(super) const MOST: usize = 8 << 20;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Int(i64),
    Text(String),
    /// `module.name`.
    Global(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values in turn.
    Dict(Vec<Id>),
    /// What a persistent id points to: of a tensor's storage, a tuple.
    Persistent(Id),
    /// A global called with a tuple.
    Call(Id, Id),
    /// Anything else.
    Other,
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    pub(super) nodes: Vec<Node>,
    /// What the pickle is of.
    pub(super) root: Id,
}

impl Pickle {
    /// Reads `bytes`.
    ///
    /// # Errors
    /// A phrase for an end that comes too early, an instruction that state dicts do not use, and a stack that lacks what one
    /// needs.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MOST {
            return Err(format!("holds a pickle of {} bytes; {MOST} are read", bytes.len()));
        }
        let mut machine = Machine { bytes, at: 0, pickle: Self::default(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
        while !machine.step()? {}
        Ok(machine.pickle)
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        self.nodes.get(id).unwrap_or(&Node::Other)
    }

    /// The elements of a tuple or list.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        if let Node::Tuple(items) | Node::List(items) = self.node(id) { Some(items) } else { None }
    }

    /// A tuple's integers.
    pub(super) fn ints(&self, id: Id) -> Option<Vec<i64>> {
        self.items(id)?.iter().map(|&i| if let Node::Int(n) = self.node(i) { Some(*n) } else { None }).collect()
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    pickle: Pickle,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    /// Does one instruction; says whether it was the last.
    fn step(&mut self) -> Result<bool, String> {
        let code = self.take(1)?[0];
        match code {
            // PROTO, FRAME.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => {
                self.pickle.root = self.pop()?;
                return Ok(true);
            }
            b'N' | 0x88 | 0x89 => self.push(Node::Other),
            b'K' => self.int(1, false)?,
            b'M' => self.int(2, false)?,
            b'J' => self.int(4, true)?,
            // LONG1.
            0x8a => {
                let len = self.number(1)? as usize;
                if len <= 8 { self.int(len, true)? } else { self.opaque(len)? }
            }
            b'G' => self.opaque(8)?,
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b'B' | b'C' => {
                let len = self.number(if code == b'B' { 4 } else { 1 })?;
                self.opaque(usize::try_from(len).unwrap_or(usize::MAX))?;
            }
            b'c' => {
                let global = format!("{}.{}", self.line()?, self.line()?);
                self.push(Node::Global(global));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let global = match (self.pickle.node(module), self.pickle.node(name)) {
                    (Node::Text(module), Node::Text(name)) => Node::Global(format!("{module}.{name}")),
                    _ => Node::Other,
                };
                self.push(global);
            }
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b't' => {
                let items = self.marked()?;
                self.push(Node::Tuple(items));
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.push(Node::Tuple(items));
            }
            b'a' | b's' => {
                let items = self.last(if code == b'a' { 1 } else { 2 })?;
                self.extend(items)?;
            }
            b'e' | b'u' => {
                let items = self.marked()?;
                self.extend(items)?;
            }
            b'R' | 0x81 => {
                let (arguments, called) = (self.pop()?, self.pop()?);
                let made = match self.pickle.node(called) {
                    Node::Global(g) if g == "collections.OrderedDict" => Node::Dict(Vec::new()),
                    _ => Node::Call(called, arguments),
                };
                self.push(made);
            }
            // BUILD: an object's attributes, which nothing here has.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            b'q' | b'r' => {
                let key = self.number(if code == b'q' { 1 } else { 4 })?;
                self.memo.insert(key, self.top()?);
            }
            0x94 => drop(self.memo.insert(self.memo.len() as u64, self.top()?)),
            b'h' | b'j' => {
                let key = self.number(if code == b'h' { 1 } else { 4 })?;
                let id = *self.memo.get(&key).ok_or("holds a pickle that recalls what it never kept")?;
                self.stack.push(id);
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.marked()?),
            b'2' => self.stack.push(self.top()?),
            other => return Err(format!("holds a pickle with the instruction 0x{other:02x}, which state dicts do not use")),
        }
        Ok(false)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len()).ok_or("holds a pickle that ends too early")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A little-endian number.
    fn number(&mut self, len: usize) -> Result<u64, String> {
        Ok(self.take(len)?.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn int(&mut self, len: usize, signed: bool) -> Result<(), String> {
        let value = self.number(len)?;
        let unused = 64 - 8 * len as u32;
        let value = if signed && len > 0 { ((value << unused) as i64) >> unused } else { value as i64 };
        self.push(Node::Int(value));
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let len = usize::try_from(self.number(width)?).unwrap_or(usize::MAX);
        let text = String::from_utf8_lossy(self.take(len)?).into_owned();
        self.push(Node::Text(text));
        Ok(())
    }

    fn opaque(&mut self, len: usize) -> Result<(), String> {
        self.take(len)?;
        self.push(Node::Other);
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&b| b == b'\n').ok_or("holds a pickle that ends too early")?;
        let line = String::from_utf8_lossy(&rest[..len]).into_owned();
        self.at += len + 1;
        Ok(line)
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.pickle.nodes.len());
        self.pickle.nodes.push(node);
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(empty)
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(empty)
    }

    /// The last `count` values.
    fn last(&mut self, count: usize) -> Result<Vec<Id>, String> {
        Ok(self.stack.split_off(self.stack.len().checked_sub(count).ok_or_else(empty)?))
    }

    /// The values since the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, String> {
        let at = self.marks.pop().filter(|&at| at <= self.stack.len()).ok_or_else(empty)?;
        Ok(self.stack.split_off(at))
    }

    /// Adds to the list or dict at the top; anything else takes them and forgets them.
    fn extend(&mut self, items: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        if let Some(Node::List(all) | Node::Dict(all)) = self.pickle.nodes.get_mut(top) {
            all.extend(items);
        }
        Ok(())
    }
}

fn empty() -> String {
    "holds a pickle that takes more than it has".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dict_of_calls_is_read_and_nothing_is_called() {
        // {'a': os.system('x'), 'b': (1, -2, 300)}
        let pickle =
            b"\x80\x02}q\x00(X\x01\x00\x00\x00acos\nsystem\nX\x01\x00\x00\x00x\x85RX\x01\x00\x00\x00bK\x01J\xfe\xff\xff\xffM\x2c\x01\x87u.";
        let p = Pickle::read(pickle).unwrap();
        let Node::Dict(items) = p.node(p.root) else { panic!("a dict") };
        assert_eq!(p.node(items[0]), &Node::Text("a".into()));
        let Node::Call(called, _) = p.node(items[1]) else { panic!("a call") };
        assert_eq!(p.node(*called), &Node::Global("os.system".into()));
        assert_eq!(p.ints(items[3]), Some(vec![1, -2, 300]));
    }

    #[test]
    fn hostile_pickles_end() {
        let refused = |bytes: &[u8]| Pickle::read(bytes).unwrap_err();
        assert!(refused(b"").contains("too early") && refused(b"X\xff\xff\xff\xff").contains("too early"));
        assert!(
            refused(b"h\x05.").contains("recalls") && refused(b"R.").contains("more than it has") && refused(b"u.").contains("more than")
        );
        assert!(refused(b"I01\n.").contains("0x49"));
        assert!(refused(&vec![b')'; MOST + 1]).contains("bytes"));
        // A million tuples within each other.
        let mut deep = vec![0x85; 1 << 20];
        deep.insert(0, b')');
        deep.push(b'.');
        assert_eq!(Pickle::read(&deep).unwrap().nodes.len(), (1 << 20) + 1);
    }
}
