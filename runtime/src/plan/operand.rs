//! How a step reads a value by strides, in the layout that the value has.

use crate::artifact::Walk;

/// Channels, height and width of a value in the layout that it has.
pub(super) type LaidOut = [usize; 3];

/// How a step reads one of its values: the index (i₀, i₁, …) over axes that the step names reads the element offset + Σ iₖ·strideₖ of a
/// sample's slot, padding counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operand {
    /// The element that the index of zeros reads.
    pub offset: i64,
    /// Elements from one index to the next along each axis.
    pub strides: Vec<i64>,
    /// Whether each sample has its own elements, [`super::Slot::stride`] apart; else all read the first one's.
    pub per_sample: bool,
}

/// Channel, row and column of an element.
type Position = [i64; 3];

fn position(element: i64, [_, height, width]: LaidOut) -> Position {
    let (pixels, width) = ((height * width) as i64, width as i64);
    // A negative stride goes back by as much as its magnitude goes forward.
    let (sign, n) = (element.signum(), element.abs());
    [sign * (n / pixels), sign * (n % pixels / width), sign * (n % width)]
}

/// Where the position lies in an image's slot.
fn place([channel, row, column]: Position, [channels, _, width]: LaidOut) -> i64 {
    (row * width as i64 + column) * channels.next_multiple_of(4) as i64 + channel
}

/// Whether channel, row and column stay within the value when each moves between the sums of least and of most.
fn stays(least: Position, most: Position, laid_out: LaidOut) -> bool {
    (0..3).all(|i| least[i] >= 0 && most[i] < laid_out[i] as i64)
}

impl Operand {
    /// `walk` over axes of `sizes` of a value that is laid out so. `None` where its elements are not evenly apart there: the steps of an axis
    /// would carry from columns to rows, or from rows to channels.
    pub(super) fn new(walk: &Walk, sizes: &[u32], laid_out: LaidOut, constant: bool) -> Option<Self> {
        let (offset, per_sample) = (i64::from(walk.offset), !constant);
        let strides = walk.strides.iter().map(|&s| i64::from(s));
        if laid_out[1] * laid_out[2] == 1 {
            return Some(Self { offset, strides: strides.collect(), per_sample });
        }
        let start = position(offset, laid_out);
        let (mut least, mut most) = (start, start);
        let mut moved = Vec::with_capacity(sizes.len());
        for (stride, &size) in strides.zip(sizes) {
            let step = if size == 1 { [0; 3] } else { position(stride, laid_out) };
            for i in 0..3 {
                let reach = step[i] * (i64::from(size) - 1);
                least[i] += reach.min(0);
                most[i] += reach.max(0);
            }
            moved.push(place(step, laid_out));
        }
        stays(least, most, laid_out).then(|| Self { offset: place(start, laid_out), strides: moved, per_sample })
    }

    /// The tables of a pick, −1 where there is nothing, in the same way.
    pub(super) fn tables(tables: &[Vec<i32>], laid_out: LaidOut) -> Option<Vec<Vec<i64>>> {
        if laid_out[1] * laid_out[2] == 1 {
            return Some(tables.iter().map(|t| t.iter().map(|&n| i64::from(n)).collect()).collect());
        }
        let mut most = [0; 3];
        let mut moved = Vec::with_capacity(tables.len());
        for table in tables {
            let positions: Vec<Position> = table.iter().map(|&n| position(i64::from(n.max(0)), laid_out)).collect();
            (0..3).for_each(|i| most[i] += positions.iter().map(|p| p[i]).max().unwrap_or(0));
            moved.push(table.iter().zip(positions).map(|(&n, p)| if n < 0 { -1 } else { place(p, laid_out) }).collect());
        }
        stays([0; 3], most, laid_out).then_some(moved)
    }
}

/// Joins axes that are one walk for all of `strides`, outermost first, and leaves out axes of one element. At least one axis is left.
pub(crate) fn coalesce(sizes: &mut Vec<usize>, strides: &mut [&mut Vec<i64>]) {
    let mut at = sizes.len();
    while at > 0 {
        at -= 1;
        if sizes[at] == 1 && sizes.len() > 1 {
            sizes.remove(at);
            strides.iter_mut().for_each(|s| _ = s.remove(at));
        } else if at + 1 < sizes.len() && strides.iter().all(|s| s[at] == s[at + 1] * sizes[at + 1] as i64) {
            sizes[at] *= sizes.remove(at + 1);
            strides.iter_mut().for_each(|s| _ = s.remove(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Slot;

    /// For every index over `sizes` the element in graph order and the place in the slot.
    fn agrees(walk: &Walk, sizes: &[u32], laid_out: LaidOut) -> bool {
        let Some(operand) = Operand::new(walk, sizes, laid_out, false) else { return false };
        let [channels, height, width] = laid_out;
        let slot = Slot { buffer: 0, channels, height, width };
        let count: u32 = sizes.iter().product();
        (0..count).all(|n| {
            let (mut left, mut element, mut place) = (n, i64::from(walk.offset), operand.offset);
            for (axis, &size) in sizes.iter().enumerate().rev() {
                let i = i64::from(left % size);
                left /= size;
                element += i * i64::from(walk.strides[axis]);
                place += i * operand.strides[axis];
            }
            slot.place(element as usize) as i64 == place
        })
    }

    #[test]
    fn walks_over_images_are_moved_to_where_channels_come_last() {
        let walk = |offset: u32, strides: &[i32]| Walk { offset, strides: strides.to_vec() };
        let image = [3, 4, 5];
        // As it is, transposed, every second column backwards, repeated, and a plain value.
        assert!(agrees(&walk(0, &[20, 5, 1]), &[3, 4, 5], image));
        assert!(agrees(&walk(0, &[1, 20, 5]), &[5, 3, 4], image));
        assert!(agrees(&walk(24, &[20, 5, -2]), &[2, 4, 3], image));
        assert!(agrees(&walk(7, &[0, 20, 0]), &[9, 2, 2], image));
        assert!(agrees(&walk(0, &[2, 1]), &[3, 2], [6, 1, 1]));
        // All pixels as one axis carry from row to row.
        assert!(!agrees(&walk(0, &[20, 1]), &[3, 20], image));
        assert!(agrees(&walk(0, &[20, 1]), &[3, 20], [3, 1, 20]));
    }

    #[test]
    fn tables_are_moved_in_the_same_way() {
        let tables = [vec![0, 20], vec![-1, 5, 5], vec![4, 0]];
        assert_eq!(Operand::tables(&tables, [3, 4, 5]), Some(vec![vec![0, 1], vec![-1, 20, 20], vec![16, 0]]));
        assert_eq!(Operand::tables(&[vec![0, 3], vec![0, 3]], [3, 4, 5]), None);
        assert_eq!(Operand::tables(&tables, [60, 1, 1]).unwrap()[0], [0, 20]);
    }

    #[test]
    fn axes_that_are_one_walk_become_one() {
        let (mut sizes, mut a, mut b) = (vec![2, 1, 3, 4], vec![12, 9, 4, 1], vec![4, 7, 0, 1]);
        coalesce(&mut sizes, &mut [&mut a, &mut b]);
        assert_eq!((&sizes[..], &a[..], &b[..]), (&[2, 3, 4][..], &[12, 4, 1][..], &[4, 0, 1][..]));
        let mut b = vec![12, 4, 1];
        coalesce(&mut sizes, &mut [&mut a, &mut b]);
        assert_eq!((sizes, a, b), (vec![24], vec![1], vec![1]));
    }
}
