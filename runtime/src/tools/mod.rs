//! What people need beside running networks: measuring and describing them, tables of times, arrays in files, text for terminals. Behind
//! the feature `tools`, which an application that only runs networks leaves off; images and archives behind `decode`.

pub mod agreement;
#[cfg(all(feature = "decode", any(test, feature = "reference")))]
pub mod archives;
pub mod bench;
mod check;
#[cfg(feature = "decode")]
pub mod folder;
#[cfg(feature = "decode")]
pub mod images;
pub mod inspect;
pub mod latency;
pub mod npy;
#[cfg(feature = "decode")]
pub mod npz;
pub mod print;
pub mod samples;
pub mod table;
mod times;
#[cfg(feature = "decode")]
pub mod zip;
