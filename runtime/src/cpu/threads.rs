//! The CPU executor's threads. A network is a row of short steps, so threads that finished one stay awake for a while and
//! find the next at once: a thread that sleeps takes longer to wake than many a layer to compute.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use super::flush::FlushToZero;
use crate::lock::lock;

/// How often a thread looks for work before it sleeps: some 50 µs.
const LOOKS: u32 = 4000;
/// The most threads that are used.
const MOST: usize = 64;
/// Set in [`Shared::state`] while the job may be joined; the other bits count who has.
const OPEN: usize = 1 << (usize::BITS - 1);

/// A job that all threads run at once, each with its own number.
type Job<'a> = &'a (dyn Fn(usize) + Sync);

/// The caller's thread and those that help it.
struct Pool {
    shared: Arc<Shared>,
    helpers: usize,
    /// Held by the caller whose job is being done.
    entry: Mutex<()>,
}

#[derive(Default)]
struct Shared {
    /// Points to a [`Job`] while `state` is not 0.
    job: AtomicPtr<()>,
    /// [`OPEN`] and the number of helpers at work.
    state: AtomicUsize,
    /// Jobs so far.
    jobs: AtomicUsize,
    /// Helpers that panicked in the present job.
    panics: AtomicUsize,
    sleeping: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// Threads that work on a step, the caller's among them. `THINFER_THREADS` sets it; else it is what the machine has.
pub(super) fn count() -> usize {
    pool().helpers + 1
}

/// Calls `work` for every item of every share on all free threads, with the thread's number, below [`count`] and unique among
/// concurrent calls. `share(n)`, called in order for n below [`count`], are the items that thread n does first, before it
/// helps the others: what it wrote in the last step is still in its cache. While another session uses the threads, the caller
/// does everything itself.
pub(super) fn for_each<I: Iterator<Item: Send> + Send>(share: impl FnMut(usize) -> I, work: impl Fn(usize, I::Item) + Sync) {
    let count = count();
    let mut share = share;
    let shares: [Option<Mutex<I>>; MOST] = std::array::from_fn(|n| (n < count).then(|| Mutex::new(share(n))));
    pool().run(&|thread| {
        for n in 0..count {
            let Some(items) = &shares[(thread + n) % count] else { continue };
            loop {
                // Bound first, so that the lock is free while the item is worked on.
                let item = lock(items).next();
                match item {
                    Some(item) => work(thread, item),
                    None => break,
                }
            }
        }
    });
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let wanted = std::env::var("THINFER_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
        let threads = wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        Pool::new(threads.min(MOST) - 1)
    })
}

impl Pool {
    /// A pool with at most `helpers` threads: a machine that gives fewer has fewer.
    fn new(helpers: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let spawned = (1..=helpers).take_while(|&number| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("thinfer-{number}")).spawn(move || shared.help(number)).is_ok()
        });
        let helpers = spawned.count();
        Self { shared, helpers, entry: Mutex::new(()) }
    }

    /// Runs `job` on the caller's thread as number 0 and on every helper that comes in time.
    fn run(&self, job: Job<'_>) {
        let entered = match self.entry.try_lock() {
            Ok(guard) => guard,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another session's step, or a step within this very job.
            Err(std::sync::TryLockError::WouldBlock) => return job(0),
        };
        if self.helpers == 0 {
            return job(0);
        }
        let shared = &*self.shared;
        shared.panics.store(0, SeqCst);
        shared.job.store((&raw const job).cast_mut().cast(), SeqCst);
        shared.state.store(OPEN, SeqCst);
        shared.jobs.fetch_add(1, SeqCst);
        if shared.sleeping.load(SeqCst) > 0 {
            drop(lock(&shared.sleep));
            shared.wake.notify_all();
        }
        // Also when the job panics here: helpers may still be reading it.
        struct Close<'a>(&'a Shared);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                self.0.state.fetch_and(!OPEN, SeqCst);
                let mut looks = 0;
                while self.0.state.load(SeqCst) != 0 {
                    pause(&mut looks);
                }
            }
        }
        let close = Close(shared);
        job(0);
        drop(close);
        let panicked = shared.panics.load(SeqCst) > 0;
        drop(entered);
        assert!(!panicked, "a thread of the CPU executor panicked");
    }
}

impl Shared {
    /// The loop of a helper: waits for a job and joins it if it is still open.
    fn help(&self, number: usize) {
        let _flush = FlushToZero::on();
        let mut seen = 0;
        loop {
            seen = self.wait(seen);
            let join = |state: usize| (state & OPEN != 0).then_some(state + 1);
            if self.state.fetch_update(SeqCst, SeqCst, join).is_err() {
                continue;
            }
            let job = self.job.load(SeqCst).cast::<Job<'_>>();
            // SAFETY: `run` stored a pointer to a job that lives on its stack before it opened `state`, and does not
            // return before everybody who joined while it was open has left; this thread joined and has not left.
            let job = unsafe { *job };
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(number))).is_err() {
                self.panics.fetch_add(1, SeqCst);
            }
            self.state.fetch_sub(1, SeqCst);
        }
    }

    /// Waits until the number of jobs differs from `seen`; returns it.
    fn wait(&self, seen: usize) -> usize {
        for _ in 0..LOOKS {
            let jobs = self.jobs.load(SeqCst);
            if jobs != seen {
                return jobs;
            }
            std::hint::spin_loop();
        }
        let mut guard = lock(&self.sleep);
        // Counted before the last check: a job that is added after it finds this thread counted as asleep.
        self.sleeping.fetch_add(1, SeqCst);
        let jobs = loop {
            let jobs = self.jobs.load(SeqCst);
            if jobs != seen {
                break jobs;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleeping.fetch_sub(1, SeqCst);
        jobs
    }
}

/// A short wait; a long one lets others have the core.
fn pause(looks: &mut u32) {
    *looks += 1;
    if *looks < LOOKS {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    #[test]
    fn every_item_is_worked_on_once() {
        // Miri takes a second a round.
        let rounds = if cfg!(miri) { 6 } else { 200 };
        for round in 0..rounds {
            let mut sums = vec![0; 57];
            let mut rest = sums.iter_mut().enumerate();
            let mut share = |n| rest.by_ref().take(if n + 1 < count() { 11 } else { 57 }).collect::<Vec<_>>().into_iter();
            for_each(&mut share, |_, (i, sum)| *sum += i as u64 + round);
            assert!(sums.iter().zip(0..).all(|(&sum, i)| sum == i + round));
            if round % 50 == 1 {
                // Long enough for helpers to fall asleep.
                std::thread::sleep(Duration::from_millis(3));
            }
        }
    }

    #[test]
    fn a_pool_that_is_in_use_is_not_waited_for() {
        let total = AtomicU64::new(0);
        let all_in_one = |n: usize, items: u64| if n == 0 { 0..items } else { 0..0 };
        for_each(|n| all_in_one(n, 4), |_, i| for_each(|n| all_in_one(n, 8), |_, j| _ = total.fetch_add(i * j, SeqCst)));
        assert_eq!(total.into_inner(), 6 * 28);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(every_item_is_worked_on_once);
            }
        });
    }

    #[test]
    fn threads_have_numbers_of_their_own() {
        let pool = Pool::new(3);
        let busy: Vec<Mutex<()>> = (0..4).map(|_| Mutex::new(())).collect();
        for _ in 0..100 {
            pool.run(&|number| drop(busy[number].try_lock().unwrap()));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        let pool = Pool::new(2);
        let joined = AtomicUsize::new(0);
        let failing = || {
            pool.run(&|number| {
                joined.fetch_add(1, SeqCst);
                while joined.load(SeqCst) < 2 {
                    std::thread::yield_now();
                }
                assert_eq!(number, 0, "expected by this test");
            });
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(failing)).is_err());
        let done = AtomicUsize::new(0);
        pool.run(&|_| _ = done.fetch_add(1, SeqCst));
        assert!(done.into_inner() >= 1);
    }
}
