//! Which value lies in which buffer: values that never live at the same time share one.

/// Where a value lies: rows of `stride` elements, one row a sample, of which the first `len` are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Index into [`Memory::buffers`].
    pub buffer: usize,
    /// Elements of one sample.
    pub len: usize,
    /// Elements from one sample to the next: `len` rounded up to a multiple of 4, so that kernels can load vec4s.
    pub stride: usize,
}

/// The activation buffers of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Elements of each buffer.
    pub buffers: Vec<usize>,
    /// Bytes if every value and scratch had a buffer of its own.
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

/// What step i touches; it writes value i + 1.
pub(super) struct Use {
    /// Values it reads.
    pub(super) reads: Vec<usize>,
    /// Elements a sample of its scratch, if it needs one.
    pub(super) scratch: Option<usize>,
}

/// The outcome of [`assign`].
pub(super) struct Assignment {
    pub(super) memory: Memory,
    /// The slot of every value.
    pub(super) values: Vec<Slot>,
    /// The slot of every step's scratch.
    pub(super) scratch: Vec<Option<Slot>>,
}

/// Gives every value and scratch a buffer, greedily in step order, preferring the smallest free one that is large
/// enough, else growing the largest. `None` when a size overflows.
pub(super) fn assign(lengths: &[usize], uses: &[Use], batch: usize) -> Option<Assignment> {
    let mut last_read: Vec<usize> = (0..lengths.len()).map(|v| v.saturating_sub(1)).collect();
    for (step, u) in uses.iter().enumerate() {
        for &v in &u.reads {
            last_read[v] = last_read[v].max(step);
        }
    }
    // The network's output outlives every step.
    *last_read.last_mut()? = uses.len();

    let mut pool = Pool { batch, ..Pool::default() };
    let mut values = vec![pool.take(lengths[0])?];
    let mut scratch = Vec::with_capacity(uses.len());
    for (step, u) in uses.iter().enumerate() {
        values.push(pool.take(lengths[step + 1])?);
        let mut slot = None;
        if let Some(len) = u.scratch {
            slot = Some(pool.take(len)?);
        }
        scratch.push(slot);
        pool.bound = pool.bound.max(pool.live);
        if let Some(slot) = slot {
            pool.give_back(slot);
        }
        for value in (0..values.len()).filter(|&v| last_read[v] == step) {
            pool.give_back(values[value]);
        }
    }
    let memory = Memory { buffers: pool.sizes, naive_bytes: pool.naive * 4, bound_bytes: pool.bound * 4 };
    Some(Assignment { memory, values, scratch })
}

#[derive(Default)]
struct Pool {
    batch: usize,
    sizes: Vec<usize>,
    free: Vec<usize>,
    naive: u64,
    live: u64,
    bound: u64,
}

impl Pool {
    fn take(&mut self, len: usize) -> Option<Slot> {
        let stride = len.checked_next_multiple_of(4)?;
        let need = stride.checked_mul(self.batch)?;
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
        Some(Slot { buffer, len, stride })
    }

    fn give_back(&mut self, slot: Slot) {
        self.live -= (slot.stride * self.batch) as u64;
        self.free.push(slot.buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_needs_two_buffers() {
        let uses: Vec<Use> = (0..6).map(|v| Use { reads: vec![v], scratch: None }).collect();
        let a = assign(&[8; 7], &uses, 2).unwrap();
        assert_eq!(a.memory.buffers, [16, 16]);
        assert_eq!((a.memory.bytes(), a.memory.bound_bytes, a.memory.naive_bytes), (128, 128, 7 * 64));
    }

    proptest! {
        /// Whatever reads whatever: two values, or a value and a scratch, that live at the same step never share a buffer.
        #[test]
        fn living_values_never_share(lens in prop::collection::vec(1usize..40, 2..12), picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::option::of(1usize..30)), 11), batch in 1usize..4) {
            let steps = lens.len() - 1;
            let uses: Vec<Use> = (0..steps).map(|s| Use { reads: vec![picks[s].0.index(s + 1), picks[s].1.index(s + 1)], scratch: picks[s].2 }).collect();
            let a = assign(&lens, &uses, batch).unwrap();
            for step in 0..steps {
                // Alive at this step: what it writes, its scratch, and every earlier value that it or a later step reads.
                let mut alive = vec![a.values[step + 1].buffer];
                alive.extend(a.scratch[step].map(|s| s.buffer));
                for v in 0..=step {
                    if uses[step..].iter().any(|u| u.reads.contains(&v)) {
                        alive.push(a.values[v].buffer);
                    }
                }
                let count = alive.len();
                alive.sort_unstable();
                alive.dedup();
                prop_assert_eq!(alive.len(), count);
            }
            for slot in a.values.iter().chain(a.scratch.iter().flatten()) {
                prop_assert!(a.memory.buffers[slot.buffer] >= slot.stride * batch && slot.stride >= slot.len && slot.stride % 4 == 0);
            }
            prop_assert!(a.memory.bound_bytes <= a.memory.bytes() && a.memory.bytes() <= a.memory.naive_bytes);
        }
    }
}
