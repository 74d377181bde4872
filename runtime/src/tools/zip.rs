//! The entries of a zip archive: stored, as `numpy.savez` and `torch.save` write them, or deflated, as `numpy.savez_compressed` does and
//! whoever packs one again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::DeflateDecoder;

/// Each entry by its name.
pub type Entries<'a> = BTreeMap<&'a str, Entry<'a>>;

/// What is asked of an entry that is stored as it is. One that is deflated is always held against its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Its checksum is that of its bytes.
    Checked,
    /// Nothing: PyTorch can be told to write no checksums.
    Unchecked,
}

/// A file in the archive.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What stands in the archive.
    bytes: &'a [u8],
    /// 0: stored, 8: deflated.
    method: u64,
    is_encrypted: bool,
    /// Bytes when it is unpacked, and their CRC-32, as the archive says.
    size: u64,
    sum: u32,
}

impl<'a> Entry<'a> {
    /// Its bytes; those that are unpacked are counted against `left`.
    ///
    /// # Errors
    /// A phrase for an entry that is encrypted, packed in another way, damaged, or larger than what is left.
    pub fn read(&self, name: &str, stored: Stored, left: &mut usize) -> Result<Cow<'a, [u8]>, String> {
        let damaged = || format!("holds the entry '{name}', which is damaged");
        if self.is_encrypted {
            return Err(format!("holds the entry '{name}' encrypted"));
        }
        match self.method {
            0 if stored == Stored::Unchecked || crc32fast::hash(self.bytes) == self.sum => return Ok(Cow::Borrowed(self.bytes)),
            0 => return Err(damaged()),
            8 => (),
            other => return Err(format!("holds the entry '{name}' compressed by method {other}; stored and deflated ones are read")),
        }
        let size = usize::try_from(self.size).ok().filter(|size| size <= left);
        let size =
            size.ok_or_else(|| format!("holds the entry '{name}', which unpacks to {} bytes, out of proportion to the file", self.size))?;
        *left -= size;
        let mut unpacked = Vec::with_capacity(size);
        // One more than there should be, to see an entry that goes on.
        let read = DeflateDecoder::new(self.bytes).take(self.size + 1).read_to_end(&mut unpacked);
        if read.is_err() || unpacked.len() != size || crc32fast::hash(&unpacked) != self.sum {
            return Err(damaged());
        }
        Ok(Cow::Owned(unpacked))
    }
}

/// Bytes that every entry of the central directory has at least.
pub(super) const ENTRY: usize = 46;
/// What stands in 32 bits for a number that is found in the zip64 field.
pub(super) const WIDE: u64 = 0xffff_ffff;

/// Reads the central directory of `file`.
///
/// # Errors
/// A phrase that says what is damaged, or that an entry lies outside the file.
pub fn entries(file: &[u8]) -> Result<Entries<'_>, String> {
    let broken = || "is no whole zip archive".to_string();
    // The end record has up to 64 KiB of comment behind it.
    let from = file.len().saturating_sub(22 + 0xffff);
    let end = (from..file.len().saturating_sub(21)).rev().find(|&i| file[i..].starts_with(b"PK\x05\x06")).ok_or_else(broken)?;
    let (mut count, mut start) = (number(file, end + 10, 2).ok_or_else(broken)?, number(file, end + 16, 4).ok_or_else(broken)?);
    let locator = end.checked_sub(20).filter(|&at| file[at..].starts_with(b"PK\x06\x07"));
    if let Some(at) = locator.and_then(|at| number(file, at + 8, 8)) {
        let at = usize::try_from(at).ok().filter(|&at| file.get(at..).is_some_and(|f| f.starts_with(b"PK\x06\x06"))).ok_or_else(broken)?;
        (count, start) = (number(file, at + 32, 8).ok_or_else(broken)?, number(file, at + 48, 8).ok_or_else(broken)?);
    }
    let mut at = usize::try_from(start).map_err(|_| broken())?;
    if count > (file.len() / ENTRY) as u64 {
        return Err(broken());
    }
    let mut found = Entries::new();
    for _ in 0..count {
        let n = |offset: usize, bytes: usize| at.checked_add(offset).and_then(|i| number(file, i, bytes));
        if file.get(at..).is_none_or(|f| !f.starts_with(b"PK\x01\x02")) {
            return Err(broken());
        }
        let lengths = [n(28, 2), n(30, 2), n(32, 2)].map(|l| l.unwrap_or(0) as usize);
        let next = at + ENTRY + lengths.iter().sum::<usize>();
        let text = file.get(at + ENTRY..at + ENTRY + lengths[0]).ok_or_else(broken)?;
        let name = std::str::from_utf8(text).map_err(|_| broken())?;
        let extra = file.get(at + ENTRY + lengths[0]..at + ENTRY + lengths[0] + lengths[1]).ok_or_else(broken)?;
        let number = |offset, bytes| n(offset, bytes).ok_or_else(broken);
        let (flags, method, sum) = (number(8, 2)?, number(10, 2)?, number(16, 4)? as u32);
        let (stored, size, header) = (number(20, 4)?, number(24, 4)?, number(42, 4)?);
        let mut wide = zip64(extra);
        let [size, stored, header] = [size, stored, header].map(|v| if v == WIDE { wide.next().unwrap_or(v) } else { v });
        if method == 0 && stored != size {
            return Err(format!("holds the entry '{name}' of {size} bytes in {stored}"));
        }
        let bytes = usize::try_from(header).ok().zip(usize::try_from(stored).ok()).and_then(|(header, stored)| data(file, header, stored));
        let bytes = bytes.ok_or_else(|| format!("holds the entry '{name}' of {stored} bytes, which lies outside the file"))?;
        found.insert(name, Entry { bytes, method, is_encrypted: flags & 1 == 1, size, sum });
        at = next;
    }
    Ok(found)
}

/// The bytes behind the local header at `header`.
fn data(file: &[u8], header: usize, size: usize) -> Option<&[u8]> {
    if !file.get(header..)?.starts_with(b"PK\x03\x04") {
        return None;
    }
    let lengths = number(file, header + 26, 2)? + number(file, header + 28, 2)?;
    let start = header + 30 + lengths as usize;
    file.get(start..start.checked_add(size)?)
}

/// The numbers of the zip64 field among the extra fields, in the order in which they stand in for others.
fn zip64(extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut at = 0;
    let mut numbers = Vec::new();
    while let (Some(id), Some(len)) = (number(extra, at, 2), number(extra, at + 2, 2)) {
        if id == 1 {
            numbers = (0..len as usize / 8).filter_map(|i| number(extra, at + 4 + 8 * i, 8)).collect();
        }
        at += 4 + len as usize;
    }
    numbers.into_iter()
}

/// A little-endian number of up to 8 bytes.
pub(super) fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

#[cfg(test)]
mod tests {
    use super::super::archives::{archive, deflated};
    use super::*;

    #[test]
    fn entries_are_found_in_both_forms() {
        for wide in [false, true] {
            let file = archive(&[("a/data.pkl", b"xyz"), ("a/data/0", &[7; 100])], wide);
            let found = entries(&file).unwrap();
            let read = |name: &str| found[name].read(name, Stored::Checked, &mut 0).unwrap();
            assert_eq!((&*read("a/data.pkl"), &*read("a/data/0")), (&b"xyz"[..], &[7; 100][..]));
        }
    }

    #[test]
    fn a_stored_entry_is_held_against_its_checksum_where_that_is_asked() {
        let mut file = archive(&[("a", b"xyz")], false);
        let directory = number(&file, file.len() - 6, 4).unwrap() as usize;
        file[directory + 16..directory + 20].fill(0);
        let entry = entries(&file).unwrap()["a"];
        assert_eq!(&*entry.read("a", Stored::Unchecked, &mut 0).unwrap(), b"xyz");
        assert!(entry.read("a", Stored::Checked, &mut 0).unwrap_err().contains("damaged"));
    }

    #[test]
    fn deflated_entries_are_unpacked_within_what_is_left() {
        let values: Vec<u8> = (0..3000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let file = deflated(&[("a/data.pkl", b"xyz"), ("a/data/0", &values)]);
        let found = entries(&file).unwrap();
        let mut left = 12_003;
        assert_eq!(&*found["a/data.pkl"].read("a/data.pkl", Stored::Checked, &mut left).unwrap(), b"xyz");
        assert_eq!(&*found["a/data/0"].read("a/data/0", Stored::Checked, &mut left).unwrap(), &values);
        assert!(found["a/data/0"].read("a/data/0", Stored::Checked, &mut left).unwrap_err().contains("out of proportion"));
        // Whatever byte is changed, no other value comes out.
        for i in 0..file.len() {
            let mut changed = file.clone();
            changed[i] ^= 0x55;
            let read = |found: Entries<'_>| {
                found.get("a/data/0").and_then(|e| e.read("a/data/0", Stored::Checked, &mut 1_000_000).ok().map(Cow::into_owned))
            };
            assert!(entries(&changed).ok().and_then(read).is_none_or(|read| read == values), "{i}");
        }
    }

    #[test]
    fn damage_is_told_and_nothing_outside_is_read() {
        for wide in [false, true] {
            let file = archive(&[("a/data.pkl", b"xyz"), ("a/data/0", &[7; 100])], wide);
            for end in 0..file.len() {
                assert!(entries(&file[..end]).is_err(), "{end}");
            }
            // Whatever byte is changed, reading ends, one way or the other.
            for i in 0..file.len() {
                let mut changed = file.clone();
                changed[i] ^= 0xff;
                let _ = entries(&changed);
            }
        }
    }
}
