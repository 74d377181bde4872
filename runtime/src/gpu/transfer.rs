//! Staging buffers between host and device, which live as long as the executor, and waiting for them with and without
//! blocking.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::Instant;
use crate::error::Result;
use crate::gpu::buffers::empty;
use crate::gpu::device::Gpu;
use crate::lock::lock;

/// How long a thread that waits for a software adapter stays awake.
const AWAKE: Duration = Duration::from_millis(20);
/// How long the callback of a mapping may be outstanding after the device has finished: a thread that was preempted in
/// between is scheduled again long before.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(30);

/// A buffer that the host maps again and again.
#[derive(Debug)]
pub(super) struct Staging {
    buffer: wgpu::Buffer,
    mode: wgpu::MapMode,
    mapped: Arc<Mutex<Mapped>>,
}

#[derive(Debug, Default)]
struct Mapped {
    outcome: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

impl Staging {
    pub(super) fn new(gpu: &Gpu, label: &str, mode: wgpu::MapMode, bytes: u64) -> Self {
        let usage = match mode {
            wgpu::MapMode::Read => wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            wgpu::MapMode::Write => wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
        };
        Self { buffer: empty(gpu, label, usage, bytes), mode, mapped: Arc::default() }
    }

    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Requests the mapping, which is granted once the device has done what was submitted.
    pub(super) fn map(&self) {
        *lock(&self.mapped) = Mapped::default();
        let mapped = Arc::clone(&self.mapped);
        self.buffer.map_async(self.mode, .., move |outcome| {
            let mut mapped = lock(&mapped);
            mapped.outcome = Some(outcome);
            if let Some(waker) = mapped.waker.take() {
                waker.wake();
            }
        });
    }

    /// Blocks until the mapping is there, or until `patience` is over; `submission` is the last that used the buffer, none
    /// where there was none.
    pub(super) fn block(&self, gpu: &Gpu, submission: Option<wgpu::SubmissionIndex>, patience: Option<Duration>) -> Result<()> {
        let pending = || lock(&self.mapped).outcome.is_none();
        let start = Instant::now();
        // Work that is done needs no wait, least of all one for the work of other sessions.
        gpu.poll(wgpu::PollType::Poll)?;
        // A core that sleeps takes longer to wake than many a kernel runs: this thread keeps one awake while others compute
        // on it, for as long as a small network takes.
        let awake = patience.map_or(AWAKE, |patience| patience.min(AWAKE));
        while gpu.is_software() && pending() && start.elapsed() < awake {
            gpu.poll(wgpu::PollType::Poll)?;
            std::thread::yield_now();
        }
        if pending() && submission.is_some() {
            let timeout = patience.map(|patience| patience.saturating_sub(start.elapsed()));
            gpu.poll(wgpu::PollType::Wait { submission_index: submission, timeout })?;
        }
        // The thread of another session may have polled the device for this mapping and be about to run its callback.
        let waited = Instant::now();
        while pending() {
            gpu.check()?;
            if patience.is_some_and(|patience| start.elapsed() >= patience) {
                return Err(gpu.too_slow(patience));
            }
            if waited.elapsed() > CALLBACK_TIMEOUT {
                return Err(gpu.error("a buffer was never mapped"));
            }
            gpu.poll(wgpu::PollType::Poll)?;
            std::thread::yield_now();
        }
        self.outcome(gpu)
    }

    /// How the mapping went, if it is over.
    fn outcome(&self, gpu: &Gpu) -> Result<()> {
        gpu.check()?;
        match &lock(&self.mapped).outcome {
            Some(Err(e)) => Err(gpu.caused(&e)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Waits for the mapping, outside of browsers for at most `patience`. There wgpu makes progress only when it is polled,
    /// so polling this future polls the device.
    pub(super) fn ready<'a>(&'a self, gpu: &'a Gpu, patience: Option<Duration>) -> Ready<'a> {
        Ready { staging: self, gpu, start: Instant::now(), patience }
    }
}

/// See [`Staging::ready`].
pub(super) struct Ready<'a> {
    staging: &'a Staging,
    gpu: &'a Gpu,
    start: Instant,
    patience: Option<Duration>,
}

impl Future for Ready<'_> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if cfg!(not(target_family = "wasm"))
            && let Err(e) = self.gpu.poll(wgpu::PollType::Poll)
        {
            return Poll::Ready(Err(e));
        }
        let mut mapped = lock(&self.staging.mapped);
        if mapped.outcome.is_none() {
            if let Err(e) = self.gpu.check() {
                return Poll::Ready(Err(e));
            }
            if self.patience.is_some_and(|patience| self.start.elapsed() >= patience) {
                return Poll::Ready(Err(self.gpu.too_slow(self.patience)));
            }
            if cfg!(target_family = "wasm") {
                mapped.waker = Some(cx.waker().clone());
            } else {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        drop(mapped);
        Poll::Ready(self.staging.outcome(self.gpu))
    }
}
