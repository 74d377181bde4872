//! Between the host and the device: staging buffers that live as long as the executor, and waiting without blocking.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::Instant;
use crate::error::Result;
use crate::gpu::buffers::empty;
use crate::gpu::device::Gpu;

/// How long a thread that waits for a software adapter stays awake.
const AWAKE: Duration = Duration::from_millis(20);

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

    /// Asks for the mapping; it comes once the device has done what was submitted.
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

    /// Blocks until the mapping is there, or until `patience` is over; `submission` is the one that it waits for, all of them
    /// where `None`.
    pub(super) fn block(&self, gpu: &Gpu, submission: Option<wgpu::SubmissionIndex>, patience: Option<Duration>) -> Result<()> {
        let pending = || lock(&self.mapped).outcome.is_none();
        // A core that sleeps takes longer to wake than many a kernel runs: this thread keeps one awake while others compute
        // on it, for as long as a small network takes.
        let start = Instant::now();
        let awake = patience.map_or(AWAKE, |patience| patience.min(AWAKE));
        while gpu.is_software() && pending() && start.elapsed() < awake {
            gpu.device().poll(wgpu::PollType::Poll).map_err(|e| gpu.caused(&e))?;
            std::thread::yield_now();
        }
        if pending() {
            let timeout = patience.map(|patience| patience.saturating_sub(start.elapsed()));
            let waited = gpu.device().poll(wgpu::PollType::Wait { submission_index: submission, timeout });
            waited.map_err(|e| match (e, patience) {
                (wgpu::PollError::Timeout, Some(patience)) => gpu.error(format!("a run took longer than {patience:?}")),
                (e, _) => gpu.caused(&e),
            })?;
        }
        // A device that is gone answers nothing.
        if pending() {
            return gpu.check().and_then(|()| Err(gpu.error("a buffer was never mapped")));
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

    /// Waits for the mapping. Natively nobody else drives the device, so polling this polls it.
    pub(super) fn ready<'a>(&'a self, gpu: &'a Gpu) -> Ready<'a> {
        Ready { staging: self, gpu }
    }
}

fn lock(mapped: &Mutex<Mapped>) -> std::sync::MutexGuard<'_, Mapped> {
    mapped.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See [`Staging::ready`].
pub(super) struct Ready<'a> {
    staging: &'a Staging,
    gpu: &'a Gpu,
}

impl Future for Ready<'_> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if cfg!(not(target_family = "wasm"))
            && let Err(e) = self.gpu.device().poll(wgpu::PollType::Poll)
        {
            return Poll::Ready(Err(self.gpu.caused(&e)));
        }
        let mut mapped = lock(&self.staging.mapped);
        if mapped.outcome.is_none() {
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
