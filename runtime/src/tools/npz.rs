//! Numpy's .npz files: zip archives of arrays by name, as `numpy.savez` and `numpy.savez_compressed` write them.

use super::npy::{self, Npy};
use super::zip::{self, Stored};

/// What unpacked arrays may take for each byte of the archive, and beside that.
const PROPORTION: (usize, usize) = (1100, 1 << 20);

/// Reads every array of a file, by name, in the order of the names.
///
/// # Errors
/// One phrase: no whole archive, an entry that is no array, or that is damaged, or as [`npy::parse`].
pub fn parse(bytes: &[u8]) -> Result<Vec<(String, Npy)>, String> {
    let mut left = bytes.len().saturating_mul(PROPORTION.0).saturating_add(PROPORTION.1);
    let mut arrays = Vec::new();
    for (name, entry) in zip::entries(bytes)? {
        let Some(array) = name.strip_suffix(".npy") else {
            return Err(format!("holds the entry '{name}', which is no .npy array"));
        };
        let unpacked = entry.read(name, Stored::Checked, &mut left)?;
        arrays.push((array.to_string(), npy::parse(&unpacked).map_err(|why| format!("array '{array}': {why}"))?));
    }
    if arrays.is_empty() {
        return Err("holds no array".into());
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use super::super::archives::{archive, deflated};
    use super::npy::NpyData;
    use super::*;

    #[test]
    fn arrays_are_read_by_name_stored_or_deflated() {
        let array = |n: u8| Npy { shape: vec![usize::from(n)], data: NpyData::U8(vec![n; n.into()]) };
        let files = [npy::write(&array(3)), npy::write(&array(5))];
        let entries = [("x.npy", &files[0][..]), ("a:0.npy", &files[1][..])];
        let expected = vec![("a:0".to_string(), array(5)), ("x".to_string(), array(3))];
        for file in [archive(&entries, false), archive(&entries, true), deflated(&entries)] {
            assert_eq!(parse(&file), Ok(expected.clone()));
        }
    }

    #[test]
    fn what_is_no_archive_of_arrays_is_refused() {
        for (file, why) in [
            (b"\x93NUMPY".to_vec(), "no whole zip archive"),
            (archive(&[], false), "no array"),
            (archive(&[("x.txt", b"abc")], false), "'x.txt', which is no .npy array"),
            (archive(&[("x.npy", b"abc")], false), "array 'x': no .npy file"),
        ] {
            assert!(parse(&file).is_err_and(|e| e.contains(why)), "{why}");
        }
        let mut damaged = archive(&[("x.npy", &npy::write(&Npy { shape: vec![1], data: NpyData::U8(vec![1]) }))], false);
        let at = damaged.windows(4).position(|w| w == b"PK\x01\x02").unwrap() - 1;
        damaged[at] ^= 1;
        assert!(parse(&damaged).is_err_and(|e| e.contains("damaged")));
    }
}
