//! What an architecture is known by where its tensors have not been read.

use std::collections::BTreeMap;

/// Names and shapes of tensors, which is all that an architecture is known by.
pub(crate) type Shapes<'a> = BTreeMap<&'a str, &'a [usize]>;
