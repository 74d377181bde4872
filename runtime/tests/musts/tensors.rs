//! The table of tensors, and their bytes.

use thinfer::artifact::Dtype;

use super::writer::{File, network};
use super::{Case, case};

const AXES: &str = "a shape, which MUST have 1 to 8 axes, none zero";
const NEXT: &str = "Each next one MUST start at the first multiple of 64 after the end of the one before it";
const END: &str = "the last one MUST end where the data ends";
const FINITE: &str = "They MUST be finite: a NaN or an infinity is refused";

fn lie(change: impl FnOnce(&mut File)) -> Vec<u8> {
    network().with(change).bytes()
}

pub(crate) fn cases() -> Vec<Case> {
    // Tensor 1 has 24 bytes at 896 = 14 · 64 behind the 864 of tensor 0.
    let value = |at: usize, bytes: &'static [u8]| lie(move |f| f.data[at..at + bytes.len()].copy_from_slice(bytes));
    vec![
        case(AXES, "Tensor 4", "has no elements", lie(|f| f.model.tensors[4].shape = vec![])),
        case(AXES, "Tensor 4", "has no elements", lie(|f| f.model.tensors[4].shape = vec![5, 0])),
        case(AXES, "Tensor 4", "more than 8 axes", lie(|f| f.model.tensors[4].shape = vec![1; 9])),
        case("Tensor 0 MUST start at offset 0", "Tensor 0", "must start at 0", lie(|f| f.model.tensors[0].offset = 64)),
        case(NEXT, "Tensor 1", "must start at 896", lie(|f| f.model.tensors[1].offset = 868)),
        case(NEXT, "Tensor 1", "must start at 896", lie(|f| f.model.tensors[1].offset = 0)),
        case(NEXT, "Tensor 1", "must start at 896", lie(|f| f.model.tensors[1].offset = u64::MAX)),
        case(NEXT, "Tensor 2", "must start at", lie(|f| f.model.tensors.swap(2, 3))),
        case(END, "Tensor 17", "the data part has", lie(|f| f.model.tensors[17].shape = vec![1 << 30])),
        case(END, "Tensor 17", "ends at byte 18446744073709551615", lie(|f| f.model.tensors[17].shape = vec![u32::MAX; 8])),
        case(END, "Field data part", "its tensors end at", lie(|f| f.data.extend([0; 64]))),
        case(END, "Field data part", "its tensors end at", lie(|f| drop(f.model.tensors.pop()))),
        case("The bytes between MUST be zero", "Tensor 1", "padding before it is not zero", value(864, &[1])),
        case(FINITE, "Tensor 0", "NaN or an infinity", value(4, &[0, 0, 192, 127])),
        case(FINITE, "Tensor 1", "NaN or an infinity", value(896, &[0, 0, 128, 255])),
        case(
            FINITE,
            "Tensor 19",
            "NaN or an infinity",
            lie(|f| {
                let tensor = f.model.tensors.last_mut().unwrap();
                tensor.dtype = Dtype::F16;
                let at = tensor.offset as usize;
                f.data.truncate(at + 8);
                f.data[at + 6..].copy_from_slice(&[0, 0x7c]);
            }),
        ),
    ]
}
