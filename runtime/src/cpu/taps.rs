//! Offsets of a window's taps: a convolution is a product whose rows are read straight from the image. Taps that fall outside
//! it read zeros.

use super::tile::Source;
use crate::artifact::Window;
use crate::plan::Slot;

/// The tap offsets of each output, for rows and columns separately: their sum is an offset into a sample, negative for a tap
/// outside the image.
#[derive(Debug)]
pub(super) struct Taps {
    /// [output rows, kernel height].
    rows: Vec<isize>,
    /// [output columns, kernel width].
    columns: Vec<isize>,
    kernel: [usize; 2],
    /// Elements of a pixel of the input.
    pixel: usize,
    /// For each output column, whether a row of taps lies in one piece inside the image.
    whole: Vec<bool>,
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
        let columns = axis(1, input.width, output.width, pixel);
        let kernel = window.kernel.map(|n| n as usize);
        let in_one_piece = |row: &[isize]| row[0] >= 0 && row.windows(2).all(|w| w[1] == w[0] + pixel as isize);
        Self {
            rows: axis(0, input.height, output.height, pixel * input.width),
            whole: columns.chunks_exact(kernel[1]).map(in_one_piece).collect(),
            columns,
            kernel,
            pixel,
            sample: input.stride(),
            output,
        }
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
        let Taps { rows, columns, kernel: [height, width], sample, output, pixel, whole } = self.taps;
        let (rows, columns) = (&rows[self.y * height..][..*height], &columns[self.x * width..][..*width]);
        let place = Place { start: self.start, rows, columns, pixel: *pixel, whole: whole[self.x] };
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
    pixel: usize,
    whole: bool,
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

    /// Copies all pixels under the taps to `out`, padding included; zeros for those outside.
    #[inline(always)]
    pub(super) fn gather(&self, input: &[f32], out: &mut [f32]) {
        let Self { start, rows, columns, pixel, whole } = *self;
        for (&y, out) in rows.iter().zip(out.chunks_exact_mut(columns.len() * pixel)) {
            match usize::try_from(y) {
                Ok(y) if whole => out.copy_from_slice(&input[start + y + columns[0] as usize..][..out.len()]),
                Ok(y) => {
                    for (&x, out) in columns.iter().zip(out.chunks_exact_mut(pixel)) {
                        match usize::try_from(x) {
                            Ok(x) => out.copy_from_slice(&input[start + y + x..][..pixel]),
                            Err(_) => out.fill(0.0),
                        }
                    }
                }
                Err(_) => out.fill(0.0),
            }
        }
    }

    /// The taps' offsets into the batch, in order; `None` outside the image.
    pub(super) fn offsets(&self) -> impl Iterator<Item = Option<usize>> + use<'a> {
        let Self { start, rows, columns, .. } = *self;
        rows.iter().flat_map(move |y| columns.iter().map(move |x| usize::try_from(y + x).ok().map(|o| start + o)))
    }
}

/// The windows of a batch as rows of a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows<'a> {
    /// The images.
    pub(super) input: &'a [f32],
    /// Where their taps lie.
    pub(super) taps: &'a Taps,
    /// The first channel that is read: not 0 in all groups but the first.
    pub(super) first_channel: usize,
    /// As many zeros as channels are read.
    pub(super) zeros: &'a [f32],
}

impl<'a> Source for Windows<'a> {
    type Cursor = Cursor<'a>;
    type Place = Place<'a>;

    fn start(&self, row: usize) -> Cursor<'a> {
        self.taps.from(row)
    }

    #[inline(always)]
    fn advance(&self, cursor: &mut Cursor<'a>) -> Place<'a> {
        cursor.advance()
    }

    #[inline(always)]
    fn taps(&self) -> [usize; 2] {
        self.taps.kernel
    }

    #[inline(always)]
    fn channels(&self) -> usize {
        self.zeros.len()
    }

    #[inline(always)]
    fn segment(&self, place: Place<'a>, y: usize, x: usize) -> &[f32] {
        place.read(self.input, y, x, self.first_channel, self.zeros)
    }

    fn len(&self) -> usize {
        self.input.len()
    }
}
