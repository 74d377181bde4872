//! The preamble, and where the parts stand.

use super::writer::{network, sealed};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let whole = || network().bytes();
    let set = |at: usize, to: &[u8]| {
        let mut file = whole();
        file[at..at + to.len()].copy_from_slice(to);
        sealed(file)
    };
    let header = whole()[8];
    let len = whole().len();
    vec![
        case("MUST be `THIN`", "Magic [84, 72, 73, 33]", "instead of 'THIN'", set(3, b"!")),
        case("| version, u16 | MUST be 1 or 2", "Version 0", "version 0", set(4, &[0])),
        case("| version, u16 | MUST be 1 or 2", "Version 3", "version 3", set(4, &[3])),
        case("a reader MUST refuse a version that it does not know, by its number", "Version 258", "version 258", set(4, &[2, 1])),
        case("| 6…7 | reserved | MUST be zero |", "Reserved 6", "bytes 6", set(7, &[1])),
        case("MUST be at most 16 MiB", "TooLarge the header's length 16777217", "16777216", set(8, &16_777_217u32.to_le_bytes())),
        case("MUST be the CRC-32 (IEEE 802.3) of the whole file", "Checksum", "damaged", {
            let mut file = whole();
            file[len - 1] ^= 1;
            file
        }),
        case("| 24…31 | reserved | MUST be zero |", "Reserved 24", "bytes 24", set(31, &[1])),
        case(
            "MUST be decoded without a byte left over",
            "Header",
            "3 bytes are left over",
            network().with(|f| f.behind = vec![7, 7, 7]).bytes(),
        ),
        case("MUST be decoded without a byte left over", "Header", "cannot be decoded", set(32, &[255; 12])),
        case("MUST be decoded without a byte left over", "Header", "cannot be decoded", set(8, &[header - 1])),
        case("MUST be zero, up to the next multiple of 64", "Field padding after the header", "not zero", {
            let mut file = whole();
            let gap = 32 + usize::from(u16::from_le_bytes([file[8], file[9]]));
            assert!(!gap.is_multiple_of(64), "there is padding");
            file[gap] = 1;
            sealed(file)
        }),
        case("the file MUST end where they end", "TooShort 31", "31 bytes", whole()[..31].to_vec()),
        case("the file MUST end where they end", "TooShort 0", "0 bytes", Vec::new()),
        case("the file MUST end where they end", "Length -1", "truncated", sealed(whole()[..len - 1].to_vec())),
        case("the file MUST end where they end", "Length 1", "grown", sealed([&whole()[..], &[0]].concat())),
    ]
}
