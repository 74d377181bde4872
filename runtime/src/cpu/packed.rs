//! Weights as the tiles read them.

use super::simd::{Level, level};
use super::threads;

/// Below this many floats a second thread costs more than it saves.
const PARALLEL: usize = 1 << 15;

/// A weight [outputs, inputs] in panels: for each input a panel's weights side by side, zero beyond the last output. A
/// panel is as wide as a tile; the last ones are narrower where that wastes less.
#[derive(Debug)]
pub(super) struct Packed {
    inputs: usize,
    outputs: usize,
    panels: Vec<Panel>,
    weights: Vec<f32>,
}

/// Some consecutive outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panel {
    /// The first output.
    pub(super) column: usize,
    /// Outputs with padding: 8, 16 or 32.
    pub(super) width: usize,
    /// Where its weights start.
    start: usize,
}

impl Panel {
    /// Writes the panel's weights, a line an input.
    #[inline(always)]
    fn fill(&self, weights: &mut [f32], outputs: usize, at: &impl Fn(usize, usize) -> f32) {
        for (i, line) in weights.chunks_exact_mut(self.width).enumerate() {
            for (o, w) in (self.column..outputs).zip(line) {
                *w = at(o, i);
            }
        }
    }
}

impl Packed {
    /// Packs a weight whose element (o, i) is `at(o, i)`, on all threads where that pays.
    pub(super) fn new(outputs: usize, inputs: usize, at: impl Fn(usize, usize) -> f32 + Sync) -> Self {
        let mut panels = Vec::new();
        let (mut column, mut start) = (0, 0);
        while column < outputs {
            let width = width(outputs - column, level());
            panels.push(Panel { column, width, start });
            (column, start) = (column + width, start + width * inputs);
        }
        let mut weights = vec![0.0; start];
        let mut left = &mut weights[..];
        let mut parts = panels.iter().map(|panel| (panel, left.split_off_mut(..panel.width * inputs).unwrap_or_default()));
        if start < PARALLEL {
            parts.for_each(|(panel, weights)| panel.fill(weights, outputs, &at));
        } else {
            let share = panels.len().div_ceil(threads::count());
            let take = |_| parts.by_ref().take(share).collect::<Vec<_>>().into_iter();
            threads::for_each(take, |_, (panel, weights): (&Panel, &mut [f32])| panel.fill(weights, outputs, &at));
        }
        Self { inputs, outputs, panels, weights }
    }

    /// Packs another weight of the same sizes in its place, on this thread.
    #[inline(always)]
    pub(super) fn refill(&mut self, at: impl Fn(usize, usize) -> f32) {
        for panel in &self.panels {
            panel.fill(&mut self.weights[panel.start..][..panel.width * self.inputs], self.outputs, &at);
        }
    }

    /// Packs another weight of the same sizes in its place, on this thread: `fill(panel, outputs, weights)` writes the first `outputs`
    /// weights of each of the panel's lines.
    #[inline(always)]
    pub(super) fn refill_panels(&mut self, fill: impl Fn(Panel, usize, &mut [f32])) {
        for &panel in &self.panels {
            let columns = self.columns(panel);
            fill(panel, columns, &mut self.weights[panel.start..][..panel.width * self.inputs]);
        }
    }

    /// Fills the weights with NaN, padding apart.
    pub(super) fn poison(&mut self) {
        self.refill(|_, _| f32::NAN);
    }

    /// Outputs of the weight.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Inputs of the weight.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The panels, in the order of their outputs.
    pub(super) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// The weights of `panel`, a line of its width an input.
    pub(super) fn weights(&self, panel: Panel) -> &[f32] {
        &self.weights[panel.start..][..panel.width * self.inputs]
    }

    /// Floats of all weights with padding.
    pub(super) fn len(&self) -> usize {
        self.weights.len()
    }

    /// Outputs of `panel` without padding.
    pub(super) fn columns(&self, panel: Panel) -> usize {
        panel.width.min(self.outputs - panel.column)
    }
}

/// The width of the next panel when `left` outputs are left: wide ones waste work on padding, narrow ones load more.
fn width(left: usize, level: Level) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 if left > 24 => 32,
        _ if left > 8 => 16,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_is_in_one_panel_and_padding_is_zero() {
        for outputs in 1..100 {
            let packed = Packed::new(outputs, 3, |o, i| (1 + o * 3 + i) as f32);
            let mut column = 0;
            for &panel in packed.panels() {
                assert_eq!(panel.column, column);
                for (i, line) in packed.weights(panel).chunks_exact(panel.width).enumerate() {
                    for (c, &w) in line.iter().enumerate() {
                        let o = column + c;
                        assert_eq!(w, if o < outputs { (1 + o * 3 + i) as f32 } else { 0.0 });
                    }
                }
                column += packed.columns(panel);
            }
            assert_eq!(column, outputs);
            // At most 7 columns of padding in the last panel but for those that a wider tile pays for.
            assert!(packed.len() / 3 < outputs + 16, "{outputs}");
        }
    }
}
