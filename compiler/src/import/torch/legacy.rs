//! The layout that `torch.save` wrote before PyTorch 1.6, and writes still where it is asked to: five pickles (a magic number, the
//! version of the layout, what the machine was, the object, the keys of its storages), then the storages in the order of the keys,
//! each as the number of its elements in 8 bytes and the elements.

use std::collections::BTreeMap;

use super::pickle::{Node, Pickle};
use super::tensor::{element_bytes, storage_of};
use super::unpickle;

/// What the first pickle is of.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The same in decimal digits, as protocol 0 writes it.
const DIGITS: &[u8] = b"L119547037146038801333356L";
/// The version of the layout; there was one.
const VERSION: i64 = 1001;

/// Whether `file` begins as this layout does.
pub(in crate::import) fn is_legacy(file: &[u8]) -> bool {
    let start = &file[..file.len().min(32)];
    start.windows(MAGIC.len()).any(|w| w == MAGIC) || start.starts_with(DIGITS)
}

/// The object's pickle, and the bytes of each storage by its key.
///
/// # Errors
/// A phrase for another version, another byte order, a storage of a class that is not known, and an end that comes too early.
pub(super) fn read(file: &[u8]) -> Result<(Pickle, BTreeMap<String, &[u8]>), String> {
    let mut at = 0;
    let mut next = || -> Result<(Pickle, usize), String> {
        let (pickle, used) = unpickle::read(&file[at..])?;
        at += used;
        Ok((pickle, at))
    };
    next()?;
    let (version, _) = next()?;
    if version.int(version.root) != Some(VERSION) {
        return Err(format!("is of another version than {VERSION} of PyTorch's layout before 1.6"));
    }
    let (machine, _) = next()?;
    if machine.get(machine.root, "little_endian").is_some_and(|id| *machine.node(id) == Node::Bool(false)) {
        return Err("was saved on a big-endian machine".into());
    }
    let (object, _) = next()?;
    let (keys, mut at) = next()?;

    // Only the object says what the elements of a storage are.
    let described = object.nodes.iter().filter_map(|node| if let Node::Persistent(id) = node { storage_of(&object, *id) } else { None });
    let classes: BTreeMap<&str, &str> = described.map(|(class, key, _)| (key, class)).collect();
    let mut storages = BTreeMap::new();
    for key in keys.items(keys.root).ok_or("holds no list of storages")? {
        let key = keys.text(*key).ok_or("holds a storage whose key is no text")?;
        let class = *classes.get(key).ok_or_else(|| format!("holds the storage '{key}', which belongs to no tensor"))?;
        let bytes = element_bytes(class).ok_or_else(|| format!("holds the storage '{key}', a {class}, which is not known"))?;
        let ends = || format!("ends within the storage '{key}'");
        let count = file.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|b| u64::from_le_bytes(*b)).ok_or_else(ends)?;
        let len = usize::try_from(count).ok().and_then(|n| n.checked_mul(bytes)).ok_or_else(ends)?;
        let storage = file.get(at + 8..).and_then(|rest| rest.get(..len)).ok_or_else(ends)?;
        storages.insert(key.to_string(), storage);
        at += 8 + len;
    }
    Ok((object, storages))
}
