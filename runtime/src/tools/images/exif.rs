//! The one tag of an image's EXIF data that changes what is seen.

/// EXIF tag of the orientation.
const ORIENTATION: usize = 0x0112;

/// The orientation that EXIF data state: 1 for upright, 2 to 8 for mirrored or turned; `None` where they state none.
fn orientation(exif: &[u8]) -> Option<usize> {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let number = |at: usize, len: usize| -> Option<usize> {
        let bytes = exif.get(at..at.checked_add(len)?)?;
        let add = |n: usize, b: &u8| n << 8 | usize::from(*b);
        Some(if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    };
    let directory = number(4, 4)?;
    let entries = number(directory, 2)?;
    let mut tags = (0..entries).map(|i| directory + 2 + 12 * i);
    let at = tags.find(|&at| number(at, 2) == Some(ORIENTATION))?;
    number(at + 8, 2)
}

/// Refuses an image that is not shown as its pixels lie.
///
/// # Errors
/// One phrase that names its orientation.
pub(super) fn upright(exif: Option<&[u8]>) -> Result<(), String> {
    match exif.and_then(orientation) {
        Some(turned @ 2..=8) => Err(format!("is stored turned or mirrored (EXIF orientation {turned}): save it upright, without that tag")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_found_in_either_order_of_bytes() {
        let little = b"II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\x04\0\0\0abcd\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let big = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0";
        assert_eq!((orientation(little), orientation(big)), (Some(6), Some(3)));
        for len in 0..little.len() - 6 {
            assert_eq!(orientation(&little[..len]).filter(|&o| o != 6), None, "{len}");
        }
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), None);
        assert_eq!(orientation(b"no exif data"), None);
    }
}
