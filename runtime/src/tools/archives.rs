//! Zip archives as programs write them, for the tests of both crates.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;

use super::zip::{ENTRY, WIDE, number};

/// The same as the archive of stored entries, deflated.
pub fn deflated(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let packed: Vec<(&str, Vec<u8>)> = entries
        .iter()
        .map(|(name, bytes)| {
            let mut packed = Vec::new();
            flate2::read::DeflateEncoder::new(*bytes, flate2::Compression::best()).read_to_end(&mut packed).unwrap();
            (*name, packed)
        })
        .collect();
    let stored: Vec<(&str, &[u8])> = packed.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let mut file = archive(&stored, false);
    // The directory says how each entry is packed.
    let mut at = number(&file, file.len() - 6, 4).unwrap() as usize;
    for (name, bytes) in entries {
        file[at + 10] = 8;
        file[at + 16..at + 20].copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        file[at + 24..at + 28].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        at += ENTRY + name.len();
    }
    file
}

/// An archive of stored entries; sizes and places are told in zip64 fields if `wide`.
pub fn archive(entries: &[(&str, &[u8])], wide: bool) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let header = file.len() as u64;
        let size = bytes.len() as u64;
        let (shown, shown_header) = if wide { (WIDE, WIDE) } else { (size, header) };
        let numbers = |shown: u64| [&[0; 4][..], &(shown as u32).to_le_bytes(), &(shown as u32).to_le_bytes()].concat();
        let name_len = (name.len() as u16).to_le_bytes();
        file.extend([b"PK\x03\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", &numbers(size)[..], &name_len, &3u16.to_le_bytes()].concat());
        file.extend([name.as_bytes(), b"pad", bytes].concat());
        let extra =
            if wide { [&[1, 0, 24, 0][..], &size.to_le_bytes(), &size.to_le_bytes(), &header.to_le_bytes()].concat() } else { vec![] };
        let mut numbers = numbers(shown);
        numbers[..4].copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        directory.extend([b"PK\x01\x02".as_slice(), &[0; 12], &numbers, &name_len, &(extra.len() as u16).to_le_bytes()].concat());
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
