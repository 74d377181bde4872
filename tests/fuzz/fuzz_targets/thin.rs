//! `.thin` files. The mutator repairs lengths and checksum after every mutation, so that it is the header and the layers that
//! are explored.
#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code)]
mod targets;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    let sealed = targets::sealed(data[..size].to_vec());
    let len = sealed.len().min(max_size);
    data[..len].copy_from_slice(&sealed[..len]);
    len
});

fuzz_target!(|data: &[u8]| targets::thin(data));
