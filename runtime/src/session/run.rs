//! Running: inputs in, outputs out, at once or as runs that overlap with the caller.

use super::{Executor, Session};
use crate::error::{Error, Result};

impl Session {
    /// Runs any number of samples, one after the other in `input`, and returns their outputs, one after the other.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `input` is no whole number of samples, or while a submitted run is under way; [`Error::Gpu`]
    /// when the device fails.
    pub fn run(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        let mut output = vec![0.0; self.samples(input.len(), "input")? * self.output_len];
        self.run_into(input, &mut output)?;
        Ok(output)
    }

    /// [`Session::run`] into a buffer of the caller's, of as many outputs as there are samples: on the CPU a run after the
    /// first allocates nothing.
    ///
    /// # Errors
    /// As [`Session::run`], and [`Error::Invalid`] when `output` has another length.
    pub fn run_into(&mut self, input: &[f32], output: &mut [f32]) -> Result<()> {
        let wanted = self.samples(input.len(), "input")? * self.output_len;
        if output.len() != wanted {
            return Err(Error::invalid("output", format!("has room for {} values, {wanted} are computed", output.len())));
        }
        self.check_idle()?;
        for (input, output) in input.chunks(self.batch * self.input_len).zip(output.chunks_mut(self.batch * self.output_len)) {
            self.last_rows = input.len() / self.input_len;
            self.executor.run(input, self.last_rows, output)?;
        }
        Ok(())
    }

    /// Starts a run of up to a batch of samples and returns at once, so that a loop over frames overlaps bringing the next
    /// one with computing this one: two runs may be under way. On the CPU the run is done before this returns.
    ///
    /// ```no_run
    /// # fn frames() -> impl Iterator<Item = Vec<f32>> { std::iter::empty() }
    /// # fn show(_: &[f32]) {}
    /// # fn watch(session: &mut thinfer::Session) -> thinfer::Result<()> {
    /// let mut under_way = 0;
    /// for frame in frames() {
    ///     session.submit(&frame)?;
    ///     under_way += 1;
    ///     if under_way == 2 {
    ///         show(&session.wait()?);
    ///         under_way -= 1;
    ///     }
    /// }
    /// for _ in 0..under_way {
    ///     show(&session.wait()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] when `input` is no whole number of samples, or none, or more than a batch, and when two runs are
    /// under way; [`Error::Gpu`] when the device fails.
    pub fn submit(&mut self, input: &[f32]) -> Result<()> {
        let rows = self.samples(input.len(), "input")?;
        if rows == 0 || rows > self.batch {
            return Err(Error::invalid("input", format!("{rows} samples for a session of 1 to {}", self.batch)));
        }
        match &mut self.executor {
            Executor::Cpu(cpu) => {
                if self.done.len() == 2 {
                    return Err(Error::invalid("submit", "2 runs are under way: wait for one first"));
                }
                let mut output = vec![0.0; rows * self.output_len];
                cpu.run(input, rows, &mut output);
                self.done.push_back(output);
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.submit(input, rows)?,
        }
        self.last_rows = rows;
        Ok(())
    }

    /// Waits for the oldest run that was submitted and returns its output, as [`Session::run`] does.
    ///
    /// # Errors
    /// [`Error::Invalid`] when none is under way; [`Error::Gpu`] when the device fails.
    pub fn wait(&mut self) -> Result<Vec<f32>> {
        match &mut self.executor {
            Executor::Cpu(_) => self.done.pop_front().ok_or_else(|| Error::invalid("wait", "no run is under way")),
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => {
                let mut output = vec![0.0; gpu.under_way()? * self.output_len];
                gpu.wait(&mut output)?;
                Ok(output)
            }
        }
    }

    /// [`Session::run`] for callers that must not block, the only way on a browser's GPU.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_async(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        let mut output = vec![0.0; self.samples(input.len(), "input")? * self.output_len];
        self.check_idle()?;
        for (input, output) in input.chunks(self.batch * self.input_len).zip(output.chunks_mut(self.batch * self.output_len)) {
            self.last_rows = input.len() / self.input_len;
            self.executor.run_async(input, self.last_rows, output).await?;
        }
        Ok(output)
    }

    /// Runs any number of 8-bit images, channel after channel each, normalised as the artifact says.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_images(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        let mut output = vec![0.0; self.samples(pixels.len(), "images")? * self.output_len];
        self.check_idle()?;
        let mut staging = std::mem::take(&mut self.staging);
        for (pixels, output) in pixels.chunks(self.batch * self.input_len).zip(output.chunks_mut(self.batch * self.output_len)) {
            staging.resize(pixels.len(), 0.0);
            self.preprocess.apply(self.image, pixels, &mut staging);
            self.last_rows = pixels.len() / self.input_len;
            self.executor.run(&staging, self.last_rows, output)?;
        }
        self.staging = staging;
        Ok(output)
    }

    /// [`Session::run_images`] for callers that must not block.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_images_async(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        self.samples(pixels.len(), "images")?;
        let mut input = vec![0.0; pixels.len()];
        self.preprocess.apply(self.image, pixels, &mut input);
        self.run_async(&input).await
    }

    /// On the CPU a submitted run is done at once, but its result waits: what a GPU refuses is refused there too.
    fn check_idle(&self) -> Result<()> {
        if self.done.is_empty() { Ok(()) } else { Err(Error::invalid("run", "submitted runs are under way: wait for them first")) }
    }

    pub(super) fn samples(&self, len: usize, what: &str) -> Result<usize> {
        if len.is_multiple_of(self.input_len) {
            return Ok(len / self.input_len);
        }
        Err(Error::invalid(what, format!("{len} values are no whole number of samples of {} values", self.input_len)))
    }
}

impl Executor {
    fn run(&mut self, input: &[f32], rows: usize, output: &mut [f32]) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.run(input, rows, output),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.run(input, rows, output)?,
        }
        Ok(())
    }

    async fn run_async(&mut self, input: &[f32], rows: usize, output: &mut [f32]) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.run(input, rows, output),
            #[cfg(feature = "gpu")]
            Self::Gpu(gpu) => gpu.run_async(input, rows, output).await?,
        }
        Ok(())
    }
}

/// Waits for a future of ours; without a GPU none of them ever waits, so polling once is enough.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    #[cfg(feature = "gpu")]
    return pollster::block_on(future);
    #[cfg(not(feature = "gpu"))]
    {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
        }
    }
}
