//! The entries of a zip archive as `torch.save` writes it: stored, never compressed.

use std::collections::BTreeMap;

/// The bytes of each entry by its name.
pub(super) type Entries<'a> = BTreeMap<&'a str, &'a [u8]>;

/// Bytes that every entry of the central directory has at least.
const ENTRY: usize = 46;
/// What stands in 32 bits for a number that is found in the zip64 field.
const WIDE: u64 = 0xffff_ffff;

/// Reads the central directory of `file`.
///
/// # Errors
/// A phrase that says what is damaged, or that an entry is compressed or lies outside the file.
pub(super) fn entries(file: &[u8]) -> Result<Entries<'_>, String> {
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
        let method = n(10, 2).ok_or_else(broken)?;
        let (stored, size, header) = (n(20, 4).ok_or_else(broken)?, n(24, 4).ok_or_else(broken)?, n(42, 4).ok_or_else(broken)?);
        let mut wide = zip64(extra);
        let [size, stored, header] = [size, stored, header].map(|v| if v == WIDE { wide.next().unwrap_or(v) } else { v });
        if method != 0 || stored != size {
            return Err(format!("holds the entry '{name}' compressed, which torch.save never does"));
        }
        let bytes = usize::try_from(header).ok().zip(usize::try_from(size).ok()).and_then(|(header, size)| data(file, header, size));
        found.insert(name, bytes.ok_or_else(|| format!("holds the entry '{name}' of {size} bytes, which lies outside the file"))?);
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
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An archive of stored entries; sizes and places are told in zip64 fields if `wide`.
    pub(in crate::import::torch) fn archive(entries: &[(&str, &[u8])], wide: bool) -> Vec<u8> {
        let (mut file, mut directory) = (Vec::new(), Vec::new());
        for (name, bytes) in entries {
            let header = file.len() as u64;
            let size = bytes.len() as u64;
            let (shown, shown_header) = if wide { (WIDE, WIDE) } else { (size, header) };
            let numbers = |shown: u64| [&[0; 4][..], &(shown as u32).to_le_bytes(), &(shown as u32).to_le_bytes()].concat();
            let name_len = (name.len() as u16).to_le_bytes();
            file.extend(
                [b"PK\x03\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", &numbers(size)[..], &name_len, &3u16.to_le_bytes()].concat(),
            );
            file.extend([name.as_bytes(), b"pad", bytes].concat());
            let extra =
                if wide { [&[1, 0, 24, 0][..], &size.to_le_bytes(), &size.to_le_bytes(), &header.to_le_bytes()].concat() } else { vec![] };
            directory
                .extend([b"PK\x01\x02".as_slice(), &[0; 12], &numbers(shown), &name_len, &(extra.len() as u16).to_le_bytes()].concat());
            directory.extend([&[0; 10][..], &(shown_header as u32).to_le_bytes(), name.as_bytes(), &extra].concat());
        }
        let (start, count) = (file.len() as u64, entries.len() as u64);
        file.extend(&directory);
        if wide {
            let at = file.len() as u64;
            file.extend([b"PK\x06\x06".as_slice(), &[0; 28], &count.to_le_bytes(), &[0; 8], &start.to_le_bytes()].concat());
            file.extend([b"PK\x06\x07".as_slice(), &[0; 4], &at.to_le_bytes(), &[0; 4]].concat());
        }
        let shown = if wide { WIDE } else { start };
        let count = (count as u16).to_le_bytes();
        file.extend([b"PK\x05\x06".as_slice(), &[0; 6], &count, &[0; 4], &(shown as u32).to_le_bytes(), &[0; 2]].concat());
        file
    }

    #[test]
    fn entries_are_found_in_both_forms() {
        for wide in [false, true] {
            let file = archive(&[("a/data.pkl", b"xyz"), ("a/data/0", &[7; 100])], wide);
            let found = entries(&file).unwrap();
            assert_eq!((found["a/data.pkl"], found["a/data/0"]), (&b"xyz"[..], &[7; 100][..]));
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
