//! A convolution's register tile: a few output pixels × 16 outputs, summed over taps straight from the image. Taps that
//! fall outside it read a row of zeros.

use std::ops::Range;

use super::epilogue::Epilogue;
use super::gemm::{COLUMNS, Packed, ROWS, Target, accumulate, store};
use crate::artifact::Window;
use crate::plan::Slot;

/// Where the taps of each output lie, rows and columns apart: their sum is an offset into a sample, negative for a tap
/// outside the image.
#[derive(Debug)]
pub(super) struct Taps {
    /// [output rows, kernel height].
    rows: Vec<isize>,
    /// [output columns, kernel width].
    columns: Vec<isize>,
    kernel: [usize; 2],
    /// Elements of a sample of the input.
    sample: usize,
    output: Slot,
}

/// What marks a tap as outside; two of them do not overflow, and no image reaches it.
const OUTSIDE: isize = isize::MIN / 4;

impl Taps {
    /// The taps of `window` from images of `input` to those of `output`.
    pub(super) fn new(window: &Window, input: Slot, output: Slot) -> Self {
        let axis = |axis: usize, inputs: usize, outputs: usize, step: usize| -> Vec<isize> {
            let [kernel, stride, dilation, before] =
                [window.kernel[axis], window.stride[axis], window.dilation[axis], window.padding[axis]].map(|n| n as usize);
            let at = |o: usize, k: usize| (o * stride + k * dilation).checked_sub(before).filter(|&i| i < inputs);
            let offset = |o, k| at(o, k).map_or(OUTSIDE, |i| (i * step) as isize);
            (0..outputs).flat_map(|o| (0..kernel).map(move |k| (o, k))).map(|(o, k)| offset(o, k)).collect()
        };
        let pixel = input.channel_stride();
        Self {
            rows: axis(0, input.height, output.height, pixel * input.width),
            columns: axis(1, input.width, output.width, pixel),
            kernel: window.kernel.map(|n| n as usize),
            sample: input.stride(),
            output,
        }
    }

    /// Output pixels of a sample.
    pub(super) fn pixels(&self) -> usize {
        self.output.pixels()
    }

    /// Taps of a window.
    pub(super) fn count(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The outputs of the batch from `pixel` on, one after the other.
    pub(super) fn from(&self, pixel: usize) -> Cursor<'_> {
        let (sample, within) = (pixel / self.output.pixels(), pixel % self.output.pixels());
        Cursor { taps: self, start: sample * self.sample, y: within / self.output.width, x: within % self.output.width }
    }
}

/// Goes through outputs without dividing at each of them.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    taps: &'a Taps,
    start: usize,
    y: usize,
    x: usize,
}

impl<'a> Cursor<'a> {
    /// Where the next output finds its taps.
    #[inline(always)]
    pub(super) fn advance(&mut self) -> Place<'a> {
        let Taps { rows, columns, kernel: [height, width], sample, output } = self.taps;
        let place = Place { start: self.start, rows: &rows[self.y * height..][..*height], columns: &columns[self.x * width..][..*width] };
        self.x += 1;
        if self.x == output.width {
            (self.x, self.y) = (0, self.y + 1);
            if self.y == output.height {
                (self.y, self.start) = (0, self.start + sample);
            }
        }
        place
    }
}

/// The taps of one output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    start: usize,
    rows: &'a [isize],
    columns: &'a [isize],
}

impl<'a> Place<'a> {
    /// The channels from `first` on under tap (`y`, `x`), or `zeros`, which are as many.
    #[inline(always)]
    pub(super) fn read<'b>(&self, input: &'b [f32], y: usize, x: usize, first: usize, zeros: &'b [f32]) -> &'b [f32] {
        match usize::try_from(self.rows[y] + self.columns[x]) {
            Ok(offset) => &input[self.start + offset + first..][..zeros.len()],
            Err(_) => zeros,
        }
    }

    /// The taps' offsets into the batch, in order; `None` outside the image.
    pub(super) fn offsets(&self) -> impl Iterator<Item = Option<usize>> + use<'a> {
        let Self { start, rows, columns } = *self;
        rows.iter().flat_map(move |y| columns.iter().map(move |x| usize::try_from(y + x).ok().map(|o| start + o)))
    }
}

/// What a block of output pixels is computed from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// The images.
    pub(super) input: &'a [f32],
    /// Where their taps lie.
    pub(super) taps: &'a Taps,
    /// The first channel that is read: not 0 in all groups but the first.
    pub(super) first_channel: usize,
    /// As many zeros as channels are read.
    pub(super) zeros: &'a [f32],
}

/// Computes `panels` of outputs for `pixels` of the batch; row 0 of `target` and of `epilogue` is the first of them. The
/// weight's inputs are [taps, channels].
pub(super) fn block(
    source: Source<'_>,
    w: &Packed,
    pixels: Range<usize>,
    panels: Range<usize>,
    epilogue: Epilogue<'_>,
    target: Target<'_>,
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(s: Source<'_>, w: &Packed, pixels: Range<usize>, panels: Range<usize>, epilogue: Epilogue<'_>, target: Target<'_>) {
            generic::<true>(s, w, pixels, panels, epilogue, target);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: both features were just found.
            return unsafe { avx2(source, w, pixels, panels, epilogue, target) };
        }
    }
    generic::<{ cfg!(target_arch = "aarch64") }>(source, w, pixels, panels, epilogue, target);
}

#[inline(always)]
fn generic<const FMA: bool>(
    source: Source<'_>,
    w: &Packed,
    pixels: Range<usize>,
    panels: Range<usize>,
    epilogue: Epilogue<'_>,
    mut target: Target<'_>,
) {
    // A panel meets all pixels of the block before the next one: it is the larger of the two.
    for panel in panels {
        let mut at = source.taps.from(pixels.start);
        let mut row = 0;
        while row < pixels.len() {
            let count = (pixels.len() - row).min(ROWS);
            match count {
                1 => tile::<FMA, 1>(source, w, (&mut at, row), panel, epilogue, &mut target),
                2 => tile::<FMA, 2>(source, w, (&mut at, row), panel, epilogue, &mut target),
                3 => tile::<FMA, 3>(source, w, (&mut at, row), panel, epilogue, &mut target),
                4 => tile::<FMA, 4>(source, w, (&mut at, row), panel, epilogue, &mut target),
                5 => tile::<FMA, 5>(source, w, (&mut at, row), panel, epilogue, &mut target),
                _ => tile::<FMA, ROWS>(source, w, (&mut at, row), panel, epilogue, &mut target),
            }
            row += count;
        }
    }
}

#[inline(always)]
fn tile<const FMA: bool, const R: usize>(
    source: Source<'_>,
    w: &Packed,
    (at, row): (&mut Cursor<'_>, usize),
    panel: usize,
    epilogue: Epilogue<'_>,
    target: &mut Target<'_>,
) {
    let Source { input, taps, first_channel, zeros } = source;
    let places: [Place<'_>; R] = std::array::from_fn(|_| at.advance());
    let (channels, [height, width]) = (zeros.len(), taps.kernel);
    let mut weights = w.panel(panel).chunks_exact(channels * COLUMNS);
    let mut sums = [[0f32; COLUMNS]; R];
    for y in 0..height {
        for x in 0..width {
            let Some(weights) = weights.next() else { break };
            let lines: [&[f32]; R] = std::array::from_fn(|r| places[r].read(input, y, x, first_channel, zeros));
            sums = accumulate::<FMA, R>(&lines, weights, sums);
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        store(sums, row + r, panel, w.outputs(), epilogue, target);
    }
}
