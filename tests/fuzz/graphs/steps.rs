//! What a byte appends to a network: one operation, or the several that exporters write one as, whole or with something else in
//! one place.

mod common;
mod elements;
mod layers;
mod places;
mod written_out;

use super::{Draw, Drawn};

impl Drawn {
    /// Appends a step behind value `at`; the place of what it gives, `None` where it does not fit.
    pub(super) fn step(&mut self, draw: &mut Draw, at: usize) -> Option<usize> {
        match draw.below(26) {
            0 | 1 => self.conv(draw, at),
            2 => self.pool(draw, at),
            3 => self.global(draw, at),
            4 => self.batch_norm(draw, at),
            5 => self.gemm(draw, at),
            6 | 7 => self.product(draw, at),
            8 | 9 => self.beside_constant(draw, at),
            10 => self.beside_value(draw, at),
            11 => self.plain(draw, at),
            12 => self.clip(draw, at),
            13 => self.softmax(draw, at),
            14 => self.transpose(draw, at),
            15 => self.reshape(draw, at),
            16 => self.axes(draw, at),
            17 => self.slice(draw, at),
            18 => self.gather(draw, at),
            19 => self.concat(draw, at),
            20 => self.pad(draw, at),
            21 => self.split(draw, at),
            22 => self.gelu(draw, at),
            23 => self.gate(draw, at),
            24 => self.layer_norm(draw, at),
            _ => self.attention(draw, at),
        }
    }
}
