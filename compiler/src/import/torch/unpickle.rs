//! Reads the pickle language, protocols 0 to 5. Nothing is executed.

use std::collections::HashMap;

use super::pickle::{Id, Node, Object, Pickle};

/// The most bytes of a pickle: that of ten thousand tensors has one or two million.
const MOST: usize = 8 << 20;

/// Reads the pickle at the start of `bytes`; the second value is the bytes that it has.
///
/// # Errors
/// A phrase for an end that comes too early, more than [`MOST`] bytes, an instruction that no protocol has, and a stack that
/// lacks what one needs.
pub(super) fn read(bytes: &[u8]) -> Result<(Pickle, usize), String> {
    let part = &bytes[..bytes.len().min(MOST)];
    let mut machine =
        Machine { bytes: part, at: 0, pickle: Pickle::default(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), paired: 0 };
    loop {
        match machine.step() {
            Ok(false) => (),
            Ok(true) => return Ok((machine.pickle, machine.at)),
            Err(why) if why == early() && part.len() < bytes.len() => {
                return Err(format!("holds a pickle of more than {MOST} bytes, which is the most that is read"));
            }
            Err(why) => return Err(why),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    pickle: Pickle,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Pairs that dicts were made with, which are copied: a list can be recalled any number of times.
    paired: usize,
}

impl<'a> Machine<'a> {
    /// Does one instruction; says whether it was the last. A table of the instructions, hence its length.
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
            b'N' => self.push(Node::Other),
            0x88 | 0x89 => self.push(Node::Bool(code == 0x88)),
            b'K' | b'M' | b'J' | 0x8a | 0x8b | b'I' | b'L' => self.integer(code)?,
            b'G' => self.opaque(8)?,
            b'F' => drop(self.line().map(|_| self.push(Node::Other))?),
            b'X' | b'T' | 0x8c | b'U' | 0x8d | b'V' | b'S' => self.text(code)?,
            // Bytes of several widths; EXT1, EXT2, EXT4: classes by a number that only the writer knows.
            b'B' | b'C' | 0x8e | 0x96 => {
                let len = self.number(match code {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.opaque(usize::try_from(len).unwrap_or(usize::MAX))?;
            }
            0x82..=0x84 => self.opaque(1 << (code - 0x82))?,
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
            b']' | 0x8f => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            // TUPLE, FROZENSET, LIST, DICT.
            b't' | 0x91 => self.made(Node::Tuple)?,
            b'l' => self.made(Node::List)?,
            b'd' => self.made(Node::Dict)?,
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.push(Node::Tuple(items));
            }
            // APPEND, SETITEM; APPENDS, ADDITEMS, SETITEMS.
            b'a' | b's' => {
                let items = self.last(if code == b'a' { 1 } else { 2 })?;
                self.extend(items, code == b's')?;
            }
            b'e' | 0x90 | b'u' => {
                let items = self.marked()?;
                self.extend(items, code == b'u')?;
            }
            b'R' | 0x81 | 0x92 | b'i' | b'o' => self.call(code)?,
            // BUILD: an object's attributes.
            b'b' => {
                let state = self.pop()?;
                let top = self.top()?;
                if let Some(Node::Object(object)) = self.pickle.nodes.get_mut(top) {
                    object.state = Some(state);
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            b'P' => drop(self.line().map(|_| self.push(Node::Other))?),
            b'q' | b'r' | b'p' => {
                let key = self.place(code, b'q', b'r')?;
                self.memo.insert(key, self.top()?);
            }
            0x94 => drop(self.memo.insert(self.memo.len() as u64, self.top()?)),
            b'h' | b'j' | b'g' => {
                let key = self.place(code, b'h', b'j')?;
                let id = *self.memo.get(&key).ok_or("holds a pickle that recalls what it never kept")?;
                self.stack.push(id);
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.marked()?),
            b'2' => self.stack.push(self.top()?),
            other => return Err(format!("holds a pickle with the instruction 0x{other:02x}, which is not read")),
        }
        Ok(false)
    }

    /// REDUCE, NEWOBJ, NEWOBJ_EX, INST, OBJ.
    fn call(&mut self, code: u8) -> Result<(), String> {
        if code == 0x92 {
            // Arguments by keyword.
            self.pop()?;
        }
        let (called, arguments) = match code {
            b'i' => {
                let global = format!("{}.{}", self.line()?, self.line()?);
                self.made(Node::Tuple)?;
                let arguments = self.pop()?;
                self.push(Node::Global(global));
                (self.pop()?, arguments)
            }
            b'o' => {
                let mut items = self.marked()?.into_iter();
                let called = items.next().ok_or_else(empty)?;
                self.push(Node::Tuple(items.collect()));
                (called, self.pop()?)
            }
            _ => {
                let arguments = self.pop()?;
                (self.pop()?, arguments)
            }
        };
        let made = match self.pickle.node(called) {
            Node::Global(name) if name == "collections.OrderedDict" => {
                self.paired += self.ordered(arguments).len();
                if self.paired > self.bytes.len() {
                    return Err("holds a pickle that fills dicts without end".into());
                }
                let pairs = self.ordered(arguments).iter().filter_map(|&pair| self.pickle.items(pair));
                Node::Dict(pairs.filter(|pair| pair.len() == 2).flatten().copied().collect())
            }
            _ => Node::Object(Box::new(Object { called, arguments, items: Vec::new(), state: None })),
        };
        self.push(made);
        Ok(())
    }

    /// What an `OrderedDict` is made with: Python 2 gives it a list of pairs, Python 3 nothing.
    fn ordered(&self, arguments: Id) -> &[Id] {
        self.pickle.items(arguments).and_then(|a| self.pickle.items(*a.first()?)).unwrap_or_default()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len()).ok_or_else(early)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A little-endian number.
    fn number(&mut self, len: usize) -> Result<u64, String> {
        Ok(self.take(len)?.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// The place in the memo that an instruction names: in one byte, in four, or in decimal digits.
    fn place(&mut self, code: u8, short: u8, long: u8) -> Result<u64, String> {
        if code == short {
            self.number(1)
        } else if code == long {
            self.number(4)
        } else {
            self.line()?.parse().map_err(|_| "holds a pickle whose memo has a place that is no number".into())
        }
    }

    fn integer(&mut self, code: u8) -> Result<(), String> {
        let len = match code {
            b'K' => 1,
            b'M' => 2,
            b'J' => 4,
            0x8a => self.number(1)? as usize,
            0x8b => usize::try_from(self.number(4)?).unwrap_or(usize::MAX),
            _ => {
                let line = self.line()?;
                let node = match line.as_str() {
                    "00" | "01" if code == b'I' => Node::Bool(line == "01"),
                    _ => line.trim_end_matches('L').parse().map_or(Node::Other, Node::Int),
                };
                self.push(node);
                return Ok(());
            }
        };
        if len > 8 {
            return self.opaque(len);
        }
        let value = self.number(len)?;
        let unused = 64 - 8 * len as u32;
        let is_signed = !matches!(code, b'K' | b'M') && len > 0;
        let value = if is_signed { ((value << unused) as i64) >> unused } else { value as i64 };
        self.push(Node::Int(value));
        Ok(())
    }

    fn text(&mut self, code: u8) -> Result<(), String> {
        let text = match code {
            // As Python writes it in a program; names of tensors need no escapes.
            b'S' => self.line()?.trim_matches(['\'', '"']).to_string(),
            b'V' => self.line()?,
            _ => {
                let len = self.number(match code {
                    0x8c | b'U' => 1,
                    0x8d => 8,
                    _ => 4,
                })?;
                String::from_utf8_lossy(self.take(usize::try_from(len).unwrap_or(usize::MAX))?).into_owned()
            }
        };
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
        let len = rest.iter().position(|&b| b == b'\n').ok_or_else(early)?;
        let line = String::from_utf8_lossy(&rest[..len]).into_owned();
        self.at += len + 1;
        Ok(line)
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.pickle.nodes.len());
        self.pickle.nodes.push(node);
    }

    /// Puts the values since the last mark into one.
    fn made(&mut self, node: impl Fn(Vec<Id>) -> Node) -> Result<(), String> {
        let items = self.marked()?;
        self.push(node(items));
        Ok(())
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

    /// Adds elements to the list at the top, or `pairs` to the dict or object there; anything else takes them and forgets them.
    fn extend(&mut self, items: Vec<Id>, pairs: bool) -> Result<(), String> {
        let top = self.top()?;
        match (self.pickle.nodes.get_mut(top), pairs) {
            (Some(Node::List(all)), false) | (Some(Node::Dict(all)), true) => all.extend(items),
            (Some(Node::Object(object)), true) => object.items.extend(items),
            _ => (),
        }
        Ok(())
    }
}

fn empty() -> String {
    "holds a pickle that takes more than it has".into()
}

fn early() -> String {
    "holds a pickle that ends too early".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Pickle {
        let (pickle, used) = read(bytes).unwrap();
        assert_eq!(used, bytes.len());
        pickle
    }

    #[test]
    fn a_dict_of_calls_is_read_and_nothing_is_called() {
        // {'a': os.system('x'), 'b': (1, -2, 300)}
        let pickle =
            b"\x80\x02}q\x00(X\x01\x00\x00\x00acos\nsystem\nX\x01\x00\x00\x00x\x85RX\x01\x00\x00\x00bK\x01J\xfe\xff\xff\xffM\x2c\x01\x87u.";
        let p = whole(pickle);
        let Node::Object(object) = p.node(p.get(p.root, "a").unwrap()) else { panic!("an object") };
        assert_eq!(p.node(object.called), &Node::Global("os.system".into()));
        let numbers = p.items(p.get(p.root, "b").unwrap()).unwrap();
        assert_eq!(numbers.iter().map(|&n| p.int(n).unwrap()).collect::<Vec<_>>(), [1, -2, 300]);
    }

    #[test]
    fn the_words_of_every_protocol_are_read() {
        // {'a': 7, 'b': True, 'c': -3, 'd': [1]} in protocol 0, and the same in 4 with a set and bytes beside it.
        let first = b"(dp0\nVa\np1\nI7\nsVb\nI01\nsS'c'\nL-3L\nsVd\n(lp2\nI1\nas.";
        let fourth =
            b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x07\x8c\x01b\x88\x8c\x01c\x8a\x01\xfd\x8c\x01d]\x94K\x01a\
                       \x8c\x01e\x8f\x94(K\x02\x90\x8c\x01fC\x02xy\x8c\x01gG\x00\x00\x00\x00\x00\x00\x00\x00u.";
        for bytes in [&first[..], fourth] {
            let p = whole(bytes);
            let value = |key: &str| p.node(p.get(p.root, key).unwrap());
            assert_eq!((value("a"), value("b"), value("c")), (&Node::Int(7), &Node::Bool(true), &Node::Int(-3)));
            assert_eq!(p.items(p.get(p.root, "d").unwrap()).unwrap().len(), 1);
        }
    }

    #[test]
    fn objects_keep_their_state_and_their_items() {
        // A net.Net with attributes {'n': 1}; a defaultdict(list) with {'k': 2}; OrderedDict([['o', 3]]) as Python 2 writes it; all
        // in a list.
        let pickle = b"\x80\x02](cnet\nNet\n)\x81}U\x01nK\x01sbccollections\ndefaultdict\nc__builtin__\nlist\n\x85RU\x01kK\x02s\
                       ccollections\nOrderedDict\n](](U\x01oK\x03ee\x85Re.";
        let p = whole(pickle);
        let parts = p.items(p.root).unwrap();
        let Node::Object(net) = p.node(parts[0]) else { panic!("an object") };
        assert_eq!(p.get(net.state.unwrap(), "n").and_then(|id| p.int(id)), Some(1));
        assert_eq!(p.get(parts[1], "k").and_then(|id| p.int(id)), Some(2));
        assert_eq!(p.get(parts[2], "o").and_then(|id| p.int(id)), Some(3));
        // INST and OBJ of protocol 0 and 1.
        let p = whole(b"((inet\nNet\np0\n(cnet\nNet\nK\x01ol.");
        assert!(p.items(p.root).unwrap().iter().all(|&id| matches!(p.node(id), Node::Object(_))));
    }

    #[test]
    fn hostile_pickles_end() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err();
        assert!(refused(b"").contains("too early") && refused(b"X\xff\xff\xff\xff").contains("too early"));
        assert!(
            refused(b"h\x05.").contains("recalls") && refused(b"R.").contains("more than it has") && refused(b"u.").contains("more than")
        );
        assert!(refused(b"\x97.").contains("0x97") && refused(b"o.").contains("more than") && refused(b"(o.").contains("more than"));
        assert!(refused(b"g\xff\n.").contains("no number"));
        assert!(refused(&vec![b')'; MOST + 1]).contains("bytes"));
        // A million tuples within each other.
        let mut deep = vec![0x85; 1 << 20];
        deep.insert(0, b')');
        deep.push(b'.');
        assert_eq!(whole(&deep).nodes.len(), (1 << 20) + 1);
    }
}
