//! Running: inputs in, outputs out, at once or as runs that overlap with the caller.

use super::{Executor, Session, Staging};
use crate::error::{Error, Result};

impl Session {
    /// Runs any number of samples and returns their outputs. `input` is an array as the network's source declared it
    /// ([`Session::input`]): samples along its sample axis, elements in the declared order of axes, and so is what comes back
    /// ([`Session::output`]).
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
    /// first allocates nothing where arrays are declared as they lie.
    ///
    /// # Errors
    /// As [`Session::run`], and [`Error::Invalid`] when `output` has another length.
    pub fn run_into(&mut self, input: &[f32], output: &mut [f32]) -> Result<()> {
        let samples = self.samples(input.len(), "input")?;
        let wanted = samples * self.output_len;
        if output.len() != wanted {
            return Err(Error::invalid("output", format!("has room for {} values, {wanted} are computed", output.len())));
        }
        self.check_idle()?;
        let mut staging = std::mem::take(&mut self.staging);
        let mut parts = Parts::of(self, samples);
        let done = parts.try_for_each(|part| {
            let input = self.taken(input, &part, &mut staging.floats);
            let target = self.target(&part, output, &mut staging.outputs);
            self.last_rows = part.rows;
            self.executor.run(input, part.rows, target)?;
            self.given(&part, &staging.outputs, output);
            Ok(())
        });
        self.staging = staging;
        done
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
        let mut staging = std::mem::take(&mut self.staging);
        let input = self.taken(input, &Part { samples: rows, first: 0, rows }, &mut staging.floats);
        let done = match &mut self.executor {
            Executor::Cpu(_) if self.done.len() == 2 => Err(Error::invalid("submit", "2 runs are under way: wait for one first")),
            Executor::Cpu(cpu) => {
                let mut output = vec![0.0; rows * self.output_len];
                cpu.run(input, rows, &mut output);
                self.done.push_back(output);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => gpu.submit(input, rows),
        };
        self.staging = staging;
        done?;
        self.last_rows = rows;
        Ok(())
    }

    /// Waits for the oldest run that was submitted and returns its output, as [`Session::run`] does.
    ///
    /// # Errors
    /// [`Error::Invalid`] when none is under way; [`Error::Gpu`] when the device fails.
    pub fn wait(&mut self) -> Result<Vec<f32>> {
        let values = match &mut self.executor {
            Executor::Cpu(_) => self.done.pop_front().ok_or_else(|| Error::invalid("wait", "no run is under way"))?,
            #[cfg(feature = "gpu")]
            Executor::Gpu(gpu) => {
                let mut values = vec![0.0; gpu.under_way()? * self.output_len];
                gpu.wait(&mut values)?;
                values
            }
        };
        if self.orders[1].is_plain() {
            return Ok(values);
        }
        let mut output = vec![0.0; values.len()];
        self.orders[1].put(&values, values.len() / self.output_len, 0, &mut output);
        Ok(output)
    }

    /// [`Session::run`] for callers that must not block, the only way on a browser's GPU.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_async(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        let samples = self.samples(input.len(), "input")?;
        let mut output = vec![0.0; samples * self.output_len];
        self.check_idle()?;
        let mut staging = Staging::default();
        for part in Parts::of(self, samples) {
            let input = self.taken(input, &part, &mut staging.floats);
            let target = self.target(&part, &mut output, &mut staging.outputs);
            self.last_rows = part.rows;
            self.executor.run_async(input, part.rows, target).await?;
            self.given(&part, &staging.outputs, &mut output);
        }
        Ok(output)
    }

    /// Runs any number of 8-bit images, in the declared order of axes as [`Session::run`] takes them, their colours as red,
    /// green, blue; normalised, and with colours in the order that the network wants, as the artifact says.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_images(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        let samples = self.samples(pixels.len(), "images")?;
        let mut output = vec![0.0; samples * self.output_len];
        self.check_idle()?;
        let mut staging = std::mem::take(&mut self.staging);
        let mut parts = Parts::of(self, samples);
        let done = parts.try_for_each(|part| {
            self.normalised(pixels, &part, &mut staging);
            let target = self.target(&part, &mut output, &mut staging.outputs);
            self.last_rows = part.rows;
            self.executor.run(&staging.floats, part.rows, target)?;
            self.given(&part, &staging.outputs, &mut output);
            Ok(())
        });
        self.staging = staging;
        done.map(|()| output)
    }

    /// [`Session::run_images`] for callers that must not block.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_images_async(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        let samples = self.samples(pixels.len(), "images")?;
        let mut output = vec![0.0; samples * self.output_len];
        self.check_idle()?;
        let mut staging = Staging::default();
        for part in Parts::of(self, samples) {
            self.normalised(pixels, &part, &mut staging);
            let target = self.target(&part, &mut output, &mut staging.outputs);
            self.last_rows = part.rows;
            self.executor.run_async(&staging.floats, part.rows, target).await?;
            self.given(&part, &staging.outputs, &mut output);
        }
        Ok(output)
    }

    /// A part of `input` as the executor takes it.
    fn taken<'a>(&self, input: &'a [f32], part: &Part, staging: &'a mut Vec<f32>) -> &'a [f32] {
        let order = &self.orders[0];
        if order.is_plain() {
            return &input[part.first * self.input_len..][..part.rows * self.input_len];
        }
        staging.resize(part.rows * self.input_len, 0.0);
        order.take(input, part.samples, part.first, staging);
        staging
    }

    /// A part of `pixels` as the network's input, in `staging.floats`.
    fn normalised(&self, pixels: &[u8], part: &Part, staging: &mut Staging) {
        let (order, len) = (&self.orders[0], part.rows * self.input_len);
        staging.floats.resize(len, 0.0);
        let pixels = if order.is_plain() {
            &pixels[part.first * self.input_len..][..len]
        } else {
            staging.pixels.resize(len, 0);
            order.take(pixels, part.samples, part.first, &mut staging.pixels);
            &staging.pixels
        };
        self.input.preprocess.apply(self.image, pixels, &mut staging.floats);
    }

    /// Where the executor writes a part of the outputs: where they are wanted, if they lie as it gives them.
    fn target<'a>(&self, part: &Part, output: &'a mut [f32], staging: &'a mut Vec<f32>) -> &'a mut [f32] {
        let len = part.rows * self.output_len;
        if self.orders[1].is_plain() {
            return &mut output[part.first * self.output_len..][..len];
        }
        staging.resize(len, 0.0);
        staging
    }

    /// Moves a part of the outputs to where they are wanted, if the executor could not write them there.
    fn given(&self, part: &Part, staging: &[f32], output: &mut [f32]) {
        if !self.orders[1].is_plain() {
            self.orders[1].put(staging, part.samples, part.first, output);
        }
    }

    /// On the CPU a submitted run is done at once, but its result waits: what a GPU refuses is refused there too.
    fn check_idle(&self) -> Result<()> {
        if self.done.is_empty() { Ok(()) } else { Err(Error::invalid("run", "submitted runs are under way: wait for them first")) }
    }

    pub(super) fn samples(&self, len: usize, what: &str) -> Result<usize> {
        if !self.orders[0].sampled && len != self.input_len {
            return Err(Error::invalid(what, format!("{len} values, the network takes one array of {} values", self.input_len)));
        }
        if len.is_multiple_of(self.input_len) {
            return Ok(len / self.input_len);
        }
        Err(Error::invalid(what, format!("{len} values are no whole number of samples of {} values", self.input_len)))
    }
}

/// Samples that go through the device at once: `rows` of `samples`, from `first` on.
struct Part {
    samples: usize,
    first: usize,
    rows: usize,
}

/// All samples, a batch at a time.
struct Parts {
    samples: usize,
    batch: usize,
    next: usize,
}

impl Parts {
    fn of(session: &Session, samples: usize) -> Self {
        Self { samples, batch: session.batch, next: 0 }
    }
}

impl Iterator for Parts {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let (first, samples) = (self.next, self.samples);
        let rows = self.batch.min(samples - first);
        self.next += rows;
        (rows > 0).then_some(Part { samples, first, rows })
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
