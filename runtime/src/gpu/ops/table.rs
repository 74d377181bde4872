//! The tables that kernels of primitives read: offsets, sizes and strides, and numbers among them.

use crate::plan::{Operand, Slot};

/// A storage buffer of 32-bit words.
#[derive(Default)]
pub(super) struct Table(Vec<f32>);

impl Table {
    /// Appends whole numbers. Within a sample all places fit in 31 bits; from one sample to the next they are counted in 32.
    pub(super) fn whole(&mut self, numbers: impl IntoIterator<Item = i64>) {
        // The kernel reads words; as floats they are never computed with.
        self.0.extend(numbers.into_iter().map(|n| f32::from_bits(n as u32)));
    }

    /// Appends numbers as they are.
    pub(super) fn numbers(&mut self, numbers: &[f32]) {
        self.0.extend(numbers);
    }

    /// Appends the first element of `operand`, a part of `slot`, and the elements from one sample to the next.
    pub(super) fn start(&mut self, operand: &Operand, slot: Slot) {
        self.whole([operand.offset, distance(slot, operand.per_sample)]);
    }

    /// Appends the axes of `sizes`, innermost first, each with its stride of each operand.
    pub(super) fn axes(&mut self, sizes: &[usize], strides: &[&[i64]]) {
        for (axis, &size) in sizes.iter().enumerate().rev() {
            self.whole([size as i64].into_iter().chain(strides.iter().map(|s| s[axis])));
        }
    }

    /// All words.
    pub(super) fn words(self) -> Vec<f32> {
        self.0
    }
}

/// Elements from one sample to the next of a value in `slot`; none where all samples read the first one's.
pub(super) fn distance(slot: Slot, per_sample: bool) -> i64 {
    if per_sample { slot.stride() as i64 } else { 0 }
}

/// Whether all of `numbers` are whole vec4s.
pub(super) fn fours(numbers: &[i64]) -> bool {
    numbers.iter().all(|n| n % 4 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_stand_innermost_first_with_their_strides() {
        let mut table = Table::default();
        table.whole([-1]);
        table.start(&Operand { offset: 7, strides: vec![3, 1], per_sample: true }, Slot { buffer: 0, channels: 6, height: 1, width: 1 });
        table.axes(&[2, 3], &[&[3, 1], &[0, -2]]);
        table.numbers(&[1.0]);
        let words: Vec<i32> = table.words().into_iter().map(|w| w.to_bits() as i32).collect();
        assert_eq!(words, [-1, 7, 8, 3, 1, -2, 2, 3, 0, 1.0f32.to_bits() as i32]);
    }
}
