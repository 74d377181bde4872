//! `.thin` files. The mutator repairs lengths and checksum after every mutation, so that it is the header and the layers that
//! are explored.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use thinfer_fuzz::{targets, watched::within_bounds};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    let sealed = targets::sealed(data[..size].to_vec());
    let len = sealed.len().min(max_size);
    data[..len].copy_from_slice(&sealed[..len]);
    len
});

fuzz_target!(|data: &[u8]| within_bounds("thin", data, targets::thin));
