//! Assigns values to buffers: values that never live at the same time share one.

use super::Slot;

/// The activation buffers of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Elements of each buffer.
    pub buffers: Vec<usize>,
    /// Bytes if every value had a buffer of its own.
    pub naive_bytes: u64,
    /// Bytes that no assignment can go below: the most that live at one step.
    pub bound_bytes: u64,
}

impl Memory {
    /// Bytes of all buffers together.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(|&n| n as u64 * 4).sum()
    }
}

/// The outcome of [`assign`].
pub(super) struct Assignment {
    pub(super) memory: Memory,
    /// The slot of every value.
    pub(super) values: Vec<Slot>,
}

/// The liveness of values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lives<'a> {
    /// How many values the network is given: the first ones.
    pub(super) inputs: usize,
    /// How many constants there are: the next ones. Step i writes the value that is `inputs + constants + i`.
    pub(super) constants: usize,
    /// The values that each step reads.
    pub(super) reads: &'a [Vec<usize>],
    /// Values that outlive every step.
    pub(super) outputs: &'a [usize],
}

/// Gives every value a buffer, greedily in step order, preferring the smallest free one that is large enough, else
/// growing the largest. `shapes` are the values' [channels, height, width]. A constant has a buffer of its own, of one sample. With `keep` no two values share a buffer. `None`
/// when a size overflows.
pub(super) fn assign(shapes: &[[usize; 3]], lives: &Lives<'_>, batch: usize, keep: bool) -> Option<Assignment> {
    let &Lives { inputs, constants, reads, outputs } = lives;
    let before = inputs + constants;
    let mut last_read: Vec<usize> = (0..shapes.len()).map(|v| v.saturating_sub(before)).collect();
    for (step, reads) in reads.iter().enumerate() {
        for &v in reads {
            last_read[v] = last_read[v].max(step);
        }
    }
    for v in outputs.iter().copied().chain(inputs..before) {
        *last_read.get_mut(v)? = reads.len();
    }

    let mut pool = Pool::default();
    let mut values = shapes[..inputs].iter().map(|&shape| pool.take(shape, batch)).collect::<Option<Vec<_>>>()?;
    for &shape in &shapes[inputs..before] {
        values.push(pool.take(shape, 1)?);
    }
    pool.bound = pool.live;
    for step in 0..reads.len() {
        values.push(pool.take(shapes[before + step], batch)?);
        pool.bound = pool.bound.max(pool.live);
        for value in (0..values.len()).filter(|&v| last_read[v] == step && !keep) {
            pool.give_back(values[value], batch);
        }
    }
    let memory = Memory { buffers: pool.sizes, naive_bytes: pool.naive * 4, bound_bytes: pool.bound * 4 };
    Some(Assignment { memory, values })
}

#[derive(Default)]
struct Pool {
    sizes: Vec<usize>,
    free: Vec<usize>,
    naive: u64,
    live: u64,
    bound: u64,
}

impl Pool {
    fn take(&mut self, [channels, height, width]: [usize; 3], samples: usize) -> Option<Slot> {
        let stride = channels.checked_next_multiple_of(4)?.checked_mul(height)?.checked_mul(width)?;
        let need = stride.checked_mul(samples)?;
        need.checked_mul(4).filter(|&bytes| isize::try_from(bytes).is_ok())?;
        self.naive += need as u64;
        self.live += need as u64;
        let fits = self.free.iter().copied().filter(|&b| self.sizes[b] >= need).min_by_key(|&b| self.sizes[b]);
        let buffer = match fits.or_else(|| self.free.iter().copied().max_by_key(|&b| self.sizes[b])) {
            Some(buffer) => buffer,
            None => {
                self.sizes.push(0);
                self.sizes.len() - 1
            }
        };
        self.free.retain(|&b| b != buffer);
        self.sizes[buffer] = self.sizes[buffer].max(need);
        Some(Slot { buffer, channels, height, width })
    }

    fn give_back(&mut self, slot: Slot, samples: usize) {
        self.live -= (slot.stride() * samples) as u64;
        self.free.push(slot.buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_needs_two_buffers() {
        let reads: Vec<Vec<usize>> = (0..6).map(|v| vec![v]).collect();
        let lives = Lives { inputs: 1, constants: 0, reads: &reads, outputs: &[6] };
        let a = assign(&[[8, 1, 1]; 7], &lives, 2, false).unwrap();
        assert_eq!(a.memory.buffers, [16, 16]);
        assert_eq!((a.memory.bytes(), a.memory.bound_bytes, a.memory.naive_bytes), (128, 128, 7 * 64));
        assert_eq!(assign(&[[8, 1, 1]; 7], &lives, 2, true).unwrap().memory.buffers, [16; 7]);
    }

    #[test]
    fn a_constant_has_a_buffer_of_its_own_for_one_sample() {
        let reads = vec![vec![0, 1], vec![2], vec![3]];
        let lives = Lives { inputs: 1, constants: 1, reads: &reads, outputs: &[4] };
        let a = assign(&[[8, 1, 1]; 5], &lives, 5, false).unwrap();
        assert_eq!(a.memory.buffers, [40, 8, 40]);
        assert!(a.values.iter().enumerate().all(|(v, slot)| (slot.buffer == a.values[1].buffer) == (v == 1)));
    }

    #[test]
    fn sizes_that_overflow_are_no_assignment() {
        let lives = Lives { inputs: 1, constants: 0, reads: &[vec![0]], outputs: &[1] };
        assert!(assign(&[[usize::MAX / 2, 3, 3], [1, 1, 1]], &lives, 1, false).is_none());
    }

    proptest! {
        /// For any readers: two values that live at the same step never share a buffer.
        #[test]
        fn living_values_never_share(shapes in prop::collection::vec([1usize..40, 1usize..4, 1usize..4], 4..12), picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 12), inputs in 1usize..4, batch in 1usize..4) {
            let steps = shapes.len() - inputs;
            let reads: Vec<Vec<usize>> = (0..steps).map(|s| vec![picks[s].0.index(s + inputs), picks[s].1.index(s + inputs)]).collect();
            let outputs = [picks[11].0.index(shapes.len()), shapes.len() - 1];
            let a = assign(&shapes, &Lives { inputs, constants: 0, reads: &reads, outputs: &outputs }, batch, false).unwrap();
            for step in 0..steps {
                // Alive at this step: what it writes, and every earlier value that it or a later step reads, or that is given.
                let mut alive = vec![a.values[step + inputs].buffer];
                for v in 0..step + inputs {
                    if reads[step..].iter().any(|r| r.contains(&v)) || outputs.contains(&v) {
                        alive.push(a.values[v].buffer);
                    }
                }
                let count = alive.len();
                alive.sort_unstable();
                alive.dedup();
                prop_assert_eq!(alive.len(), count);
            }
            for slot in &a.values {
                prop_assert!(a.memory.buffers[slot.buffer] >= slot.stride() * batch && slot.stride() >= slot.len() && slot.stride() % 4 == 0);
            }
            prop_assert!(a.memory.bound_bytes <= a.memory.bytes() && a.memory.bytes() <= a.memory.naive_bytes);
        }
    }
}
