//! Lists of a header: no more of one is kept than a file may have, however many it states.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Limits;

/// Reads a list to its end and keeps one entry more than is allowed, so that what is refused for its length takes no memory:
/// an entry of a few bytes may be fifty times as large once it is read.
pub(super) fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut kept = Vec::new();
            while let Some(entry) = list.next_element()? {
                if kept.len() <= Limits::ENTRIES {
                    kept.push(entry);
                }
            }
            Ok(kept)
        }
    }

    deserializer.deserialize_seq(List(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Names(#[serde(deserialize_with = "bounded")] Vec<String>);

    #[test]
    fn a_list_is_read_whole_and_kept_in_part() {
        let read = |count: usize| {
            let bytes = postcard::to_stdvec(&(vec![""; count], 7u8)).unwrap();
            let (names, rest) = postcard::take_from_bytes::<Names>(&bytes).unwrap();
            assert_eq!(rest, [7]);
            names.0.len()
        };
        assert_eq!(read(5), 5);
        assert_eq!(read(Limits::ENTRIES), Limits::ENTRIES);
        assert_eq!(read(300_000), Limits::ENTRIES + 1);
    }
}
