//! What people need beside running networks: measuring and describing them, tables of times, arrays in files, text for terminals. Behind
//! the feature `tools`, which an application that only runs networks leaves off.

pub mod bench;
mod check;
pub mod inspect;
pub mod latency;
pub mod npy;
pub mod print;
pub mod table;
mod times;
