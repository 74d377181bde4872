//! Elements by tables of indices on the CPU.

use super::pieces::{Piece, Pieces};
use super::walk::Run;
use crate::plan::{PickStep, Slot};

/// Nothing is picked.
const NOTHING: i64 = -1;
/// Padding of an image.
const PADDING: i64 = -2;
/// So many elements side by side are worth a copy of their own.
const COPY: usize = 8;
/// Axes are joined to rows of at least so many elements …
const ROW: usize = 256;
/// … and at most so many.
const LONGEST: usize = 4096;

/// A step whose innermost axes are one row.
#[derive(Debug)]
pub(super) struct Pick {
    /// The tables of the axes outside a row.
    outer: Vec<Vec<i64>>,
    /// What a row is made of.
    segments: Vec<Segment>,
    /// A row of which nothing is picked.
    nothing: Vec<f32>,
    fill: f32,
    /// Elements from one sample to the next; 0 where all read the first one.
    sample: usize,
    output: Slot,
}

/// Elements of a row from `at` on.
#[derive(Debug, PartialEq)]
enum Segment {
    /// The same number for all.
    Fill { at: usize, len: usize, value: f32 },
    /// Elements that lie side by side.
    Copy { at: usize, len: usize, from: usize },
    /// Elements that lie `step` apart.
    Steps { at: usize, len: usize, from: usize, step: isize },
    /// Each by its own entry.
    Each { at: usize, entries: Vec<u32> },
    /// Each by its own entry, or none.
    Holes { at: usize, entries: Vec<i64> },
}

impl Pick {
    pub(super) fn new(step: &PickStep, input: Slot, output: Slot) -> Self {
        let mut outer = step.tables.clone();
        let mut row = outer.pop().unwrap_or_else(|| vec![0]);
        if !output.is_vector() {
            row.resize(row.len() + output.channel_stride() - output.channels, PADDING);
        }
        while row.len() < ROW && outer.last().is_some_and(|table| table.len() * row.len() <= LONGEST) {
            let Some(table) = outer.pop() else { break };
            let sum = |a: i64, b: i64| {
                if b == PADDING {
                    b
                } else if a.min(b) < 0 {
                    NOTHING
                } else {
                    a + b
                }
            };
            row = table.iter().flat_map(|&a| row.iter().map(move |&b| sum(a, b))).collect();
        }
        let nothing = row.iter().map(|&n| if n == PADDING { 0.0 } else { step.fill }).collect();
        let sample = if step.per_sample { input.stride() } else { 0 };
        Self { outer, segments: segments(&row, step.fill), nothing, fill: step.fill, sample, output }
    }

    /// Computes all samples of `output`.
    pub(super) fn run(&self, input: &[f32], output: &mut [f32]) {
        let row = self.nothing.len();
        let rows: usize = self.outer.iter().map(Vec::len).product();
        Pieces { len: rows * row, stride: self.output.stride(), unit: row, cost: 1 }.each(output, |_, Piece { sample, first, y }| {
            let x = &input[sample * self.sample..];
            for (n, y) in (first / row..).zip(y.chunks_exact_mut(row)) {
                match self.base(n) {
                    Some(base) => self.row(&x[base..], y),
                    None => y.copy_from_slice(&self.nothing),
                }
            }
        });
    }

    /// The sum of the outer tables' entries for row `n`.
    fn base(&self, n: usize) -> Option<usize> {
        let (mut left, mut base) = (n, 0);
        for table in self.outer.iter().rev() {
            base += usize::try_from(table[left % table.len()]).ok()?;
            left /= table.len();
        }
        Some(base)
    }

    fn row(&self, x: &[f32], y: &mut [f32]) {
        for segment in &self.segments {
            match segment {
                &Segment::Fill { at, len, value } => y[at..][..len].fill(value),
                &Segment::Copy { at, len, from } => y[at..][..len].copy_from_slice(&x[from..][..len]),
                &Segment::Steps { at, len, from, step } => {
                    Run { done: 0, place: from as isize, len, stride: step }.copy(x, &mut y[at..][..len]);
                }
                Segment::Each { at, entries } => {
                    y[*at..].iter_mut().zip(entries).for_each(|(y, &entry)| *y = x[entry as usize]);
                }
                Segment::Holes { at, entries } => {
                    for (y, &entry) in y[*at..].iter_mut().zip(entries) {
                        *y = match usize::try_from(entry) {
                            Ok(entry) => x[entry],
                            Err(_) if entry == NOTHING => self.fill,
                            Err(_) => 0.0,
                        };
                    }
                }
            }
        }
    }
}

/// A row of `entries`, in as few segments as pay.
fn segments(entries: &[i64], fill: f32) -> Vec<Segment> {
    let mut segments = Vec::new();
    let (mut at, mut short) = (0, 0);
    while at < entries.len() {
        let first = entries[at];
        let step = match entries.get(at + 1) {
            Some(&next) if first >= 0 && next >= 0 => next - first,
            _ => i64::from(first >= 0),
        };
        let alike = (0..).zip(&entries[at..]).take_while(|&(i, &entry)| entry == first + i * step && (entry < 0) == (first < 0));
        let len = alike.count();
        let is_all = len == entries.len();
        if len >= COPY || is_all {
            segments.extend(one_by_one(short, &entries[short..at]));
            segments.push(match usize::try_from(first) {
                Ok(from) if step == 1 => Segment::Copy { at, len, from },
                Ok(from) => Segment::Steps { at, len, from, step: step as isize },
                Err(_) => Segment::Fill { at, len, value: if first == NOTHING { fill } else { 0.0 } },
            });
            short = at + len;
        }
        // The last one of a few may begin what follows.
        at += if len >= COPY || is_all { len } else { len.max(2) - 1 };
    }
    segments.extend(one_by_one(short, &entries[short..]));
    segments
}

/// Elements from `at` on by their entries, if there are any.
fn one_by_one(at: usize, entries: &[i64]) -> Option<Segment> {
    let all: Option<Vec<u32>> = entries.iter().map(|&entry| u32::try_from(entry).ok()).collect();
    let segment = match all {
        Some(entries) => Segment::Each { at, entries },
        None => Segment::Holes { at, entries: entries.to_vec() },
    };
    (!entries.is_empty()).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(n: usize) -> Slot {
        Slot { buffer: 0, channels: n, height: 1, width: 1 }
    }

    /// Every element by its definition.
    fn check(tables: &[Vec<i64>], input: Slot, output: Slot) {
        let fill = -7.5;
        for per_sample in [true, false] {
            let step = PickStep { tables: tables.to_vec(), fill, per_sample };
            let x: Vec<f32> = (0..2 * input.stride()).map(|i| i as f32 + 1.0).collect();
            let mut y = vec![f32::NAN; 2 * output.stride()];
            Pick::new(&step, input, output).run(&x, &mut y);
            let mut want = vec![0.0; y.len()];
            for (n, sample) in (0..2).flat_map(|s| (0..output.len()).map(move |n| (n, s))) {
                let (mut left, mut from) = (n, Some(if per_sample { (sample * input.stride()) as i64 } else { 0 }));
                for table in tables.iter().rev() {
                    let entry = table[left % table.len()];
                    left /= table.len();
                    from = from.filter(|_| entry >= 0).map(|from| from + entry);
                }
                // In the order in which it lies: pixels of channels, or all.
                let (channels, stride) = (output.channels, output.channel_stride());
                want[sample * output.stride() + n / channels * stride + n % channels] = from.map_or(fill, |from| x[from as usize]);
            }
            assert_eq!(y, want);
        }
    }

    #[test]
    fn rows_are_joined_and_padding_is_zero() {
        let steps = |step: i64, count: i64| (0..count).map(|i| i * step).collect::<Vec<i64>>();
        let padded = |mut table: Vec<i64>| {
            table.insert(0, -1);
            table.push(-1);
            table
        };
        // A vector; a matrix transposed; repeated, padded and reversed axes; long rows.
        check(&[steps(1, 5)], plain(5), plain(5));
        check(&[steps(1, 4), steps(4, 6)], plain(24), plain(24));
        check(&[vec![12, 0, 0, -1], padded(vec![8, 4, 0]), padded(steps(1, 4))], plain(24), plain(4 * 5 * 6));
        check(&[padded(steps(700, 2)), padded(steps(1, 700))], plain(1400), plain(4 * 702));
        check(&[steps(5000, 3), padded(steps(1, 5000))], plain(15_000), plain(3 * 5002));
        check(&[vec![-1, -1, -1]], plain(4), plain(3));
        // Images of 3 and of 24 channels, padded by pixels; of 300, longer than a row must be.
        for (channels, width) in [(3, 5), (24, 9), (300, 2)] {
            let [from, to] = [(4, width), (6, width + 2)].map(|(height, width)| Slot { buffer: 0, channels, height, width });
            let stride = from.channel_stride() as i64;
            let tables = [padded(steps(stride * width as i64, 4)), padded(steps(stride, width as i64)), steps(1, channels as i64)];
            check(&tables, from, to);
        }
    }

    #[test]
    fn a_row_has_few_segments() {
        assert_eq!(segments(&[3, 4, 5], 0.0), [Segment::Copy { at: 0, len: 3, from: 3 }]);
        let mut entries = vec![-1; 9];
        entries.extend([5, 5, -1, 7]);
        entries.extend(20..30);
        entries.push(-2);
        let holes = |at, entries: &[i64]| Segment::Holes { at, entries: entries.to_vec() };
        let copy = Segment::Copy { at: 13, len: 10, from: 20 };
        assert_eq!(
            segments(&entries, 2.0),
            [Segment::Fill { at: 0, len: 9, value: 2.0 }, holes(9, &[5, 5, -1, 7]), copy, holes(23, &[-2])]
        );
        // Backwards, then each twice, then every third.
        let entries: Vec<i64> = (0..8).rev().chain([10, 10, 11, 11]).chain((0..8).map(|i| 12 + 3 * i)).collect();
        let each = Segment::Each { at: 8, entries: vec![10, 10, 11, 11] };
        let steps = |at, from, step| Segment::Steps { at, len: 8, from, step };
        assert_eq!(segments(&entries, 0.0), [steps(0, 7, -1), each, steps(12, 12, 3)]);
    }
}
