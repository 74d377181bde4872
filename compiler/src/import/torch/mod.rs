//! What `torch.save` writes (.pth, .pt, .ckpt, .pth.tar, .bin): a zip archive, or the layout from before PyTorch 1.6; in either a
//! pickle of which only tensors and their names are taken.

mod legacy;
mod pickle;
mod tensor;
mod unpickle;
mod walk;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub(super) use legacy::is_legacy;
use pickle::Pickle;
use thinfer::tools::zip::{self, Entries, Stored};

use super::state_dict::{self, Asked, OWN};
use super::{Checkpoint, Choice, Meta};
use crate::error::{Error, Result};

/// Bytes of tensors, and of unpacked entries, for each byte of a file.
const MOST: usize = 64;
/// Bytes of them that every file may have: a small one may hold a constant that is expanded.
const ALWAYS: usize = 4 << 20;

/// Reads the tensors of the network that `choice` and the tensors themselves tell. Nothing that the file holds is executed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] for a file that is damaged, is no such file, or holds no state dict of floats, or several;
/// [`Error::UnknownModel`].
pub(super) fn load(path: &Path, choice: &Choice<'_>) -> Result<Checkpoint> {
    let fail = |why: String| Error::Checkpoint { path: path.into(), why };
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let (pickle, mut storages) = open(&bytes).map_err(fail)?;
    let (held, rest) = walk::tensors(&pickle, choice.state_dict.filter(|key| *key != OWN).unwrap_or_default()).map_err(fail)?;
    // What the keys of the file led to needs no further choice.
    let within = choice.state_dict.map(|whole| (whole, rest));
    let mut left = bytes.len().saturating_mul(MOST).saturating_add(ALWAYS);
    let asked = choice.model.map_or(Asked::Nothing, Asked::Name);
    let params = state_dict::choose(path, held, asked, within, &mut |entry| {
        let storage = storages.get(&entry.at.key)?;
        entry.at.read(storage, &mut left)
    })?;
    Ok(Checkpoint { params, meta: Meta::default() })
}

/// The bytes of storages by their keys.
enum Storages<'a> {
    Zip {
        entries: Entries<'a>,
        /// What stands before `data/KEY`.
        folder: String,
        /// Those that were unpacked.
        unpacked: HashMap<String, Cow<'a, [u8]>>,
        /// Bytes that may be unpacked yet.
        left: usize,
    },
    Legacy(BTreeMap<String, &'a [u8]>),
}

impl Storages<'_> {
    fn get(&mut self, key: &str) -> Result<&[u8], String> {
        let missing = |key: &str| format!("lies in the storage '{key}', which the file does not hold");
        match self {
            Self::Legacy(storages) => storages.get(key).copied().ok_or_else(|| missing(key)),
            Self::Zip { entries, folder, unpacked, left } => {
                if !unpacked.contains_key(key) {
                    let name = format!("{folder}data/{key}");
                    let entry = entries.get(name.as_str()).ok_or_else(|| missing(&name))?;
                    unpacked.insert(key.into(), entry.read(&name, Stored::Unchecked, left)?);
                }
                unpacked.get(key).map(|bytes| &**bytes).ok_or_else(|| missing(key))
            }
        }
    }
}

/// The pickle of what was saved, and the storages that it points into.
fn open(file: &[u8]) -> Result<(Pickle, Storages<'_>), String> {
    if is_legacy(file) {
        return legacy::read(file).map(|(pickle, storages)| (pickle, Storages::Legacy(storages)));
    }
    if !file.starts_with(b"PK") {
        let what = match file.get(257..262) {
            Some(b"ustar") => "is a tar archive; unpack it and give the file in it",
            _ if file.first() == Some(&0x80) => {
                "is a pickle that torch.save did not write; torch.save(model.state_dict(), FILE) writes one"
            }
            _ => "is nothing that torch.save writes, neither a zip archive nor the layout before PyTorch 1.6; is it complete?",
        };
        return Err(what.into());
    }
    let entries = zip::entries(file)?;
    if entries.keys().any(|name| name.ends_with("/constants.pkl") || name.ends_with("/model.json") || name.contains("/code/")) {
        return Err(
            "is a TorchScript archive, which is a program; torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth') writes its \
             tensors, torch.onnx.export the network"
                .into(),
        );
    }
    let pickles = entries.iter().filter(|(name, _)| **name == "data.pkl" || name.ends_with("/data.pkl"));
    let (name, entry) = pickles.min_by_key(|(name, _)| name.len()).ok_or("holds no data.pkl, so torch.save did not write it")?;
    let folder = name[..name.len() - "data.pkl".len()].to_string();
    let mut left = file.len().saturating_mul(MOST).saturating_add(ALWAYS);
    let order = format!("{folder}byteorder");
    if let Some(entry) = entries.get(order.as_str())
        && *entry.read(&order, Stored::Unchecked, &mut left)? != *b"little"
    {
        return Err("was saved on a big-endian machine".into());
    }
    let (pickle, _) = unpickle::read(&entry.read(name, Stored::Unchecked, &mut left)?)?;
    Ok((pickle, Storages::Zip { entries, folder, unpacked: HashMap::new(), left }))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
