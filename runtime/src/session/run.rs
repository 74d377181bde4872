//! Running: arrays in, arrays out, at once or as runs that overlap with the caller.

use super::arrangement::{Arrangement, Part};
use super::inputs::{Feed, RunInputs};
use super::states::Kept;
use super::{ArrayView, Outputs, Session};
use crate::artifact::Input;
use crate::error::{Error, Result};
use crate::plan::Slot;

impl Session {
    /// Runs any number of samples. What is given are arrays as the network's source declared them ([`Session::inputs`]): samples along
    /// their sample axes, elements in the declared order of axes. A network of one input and one output is given `&[f32]` and gives
    /// back `Vec<f32>`; any network is given `&[("NAME", array), …]` and gives back [`Outputs`], by name and in the declared order,
    /// types and shapes. Arrays are `&[f32]`, or [`ArrayView`] where their element types differ.
    ///
    /// ```no_run
    /// # fn look(session: &mut thinfer::Session, image: &[f32], ids: &[i32]) -> thinfer::Result<()> {
    /// let logits: Vec<f32> = session.run(image)?;
    /// let outputs = session.run(&[("image", image.into()), ("ids", thinfer::ArrayView::from(ids))])?;
    /// println!("{:?}", outputs.f32("scores"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for an array that is missing, unknown, of another type or no whole number of samples, arrays of different
    /// numbers of samples, or while a submitted run is under way; [`Error::Gpu`] when the device fails.
    pub fn run<'a, I: RunInputs<'a>>(&mut self, inputs: I) -> Result<I::Returned> {
        let feed = inputs.feed(self)?;
        let samples = self.check(&feed)?;
        let mut outputs = self.room(samples);
        let mut targets: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.run_feed(&feed, samples, &mut targets)?;
        Ok(I::returned(self, samples, outputs))
    }

    /// [`Session::run`] of a network of one input and one output into a buffer of the caller's, of as many outputs as there are
    /// samples: on the CPU a run after the first allocates nothing.
    ///
    /// # Errors
    /// As [`Session::run`], and [`Error::Invalid`] when `output` has another length, or the network keeps states.
    pub fn run_into(&mut self, input: &[f32], output: &mut [f32]) -> Result<()> {
        if self.inputs.len() != 1 || self.outputs.len() != 1 {
            return Err(Error::invalid("run_into", "is for networks of one input and one output"));
        }
        let feed = Feed::One(ArrayView::F32(input));
        let samples = self.check(&feed)?;
        let wanted = self.output_elements(0, samples);
        if output.len() != wanted {
            return Err(Error::invalid("output", format!("has room for {} values, {wanted} are computed", output.len())));
        }
        self.run_feed(&feed, samples, &mut [output])
    }

    /// Runs any number of 8-bit images, in the declared order of axes as [`Session::run`] takes them, their colours as red,
    /// green, blue; normalised, and with colours in the order that the network wants, as the artifact says.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_images(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        let feed = self.one(ArrayView::U8(pixels))?;
        let samples = self.check(&feed)?;
        let mut outputs = self.room(samples);
        let mut targets: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.run_feed(&feed, samples, &mut targets)?;
        Ok(<&[f32]>::returned(self, samples, outputs))
    }

    /// [`Session::run`] for callers that must not block, the only way on a browser's GPU.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_async<'a, I: RunInputs<'a>>(&mut self, inputs: I) -> Result<I::Returned> {
        let feed = inputs.feed(self)?;
        let (samples, outputs) = self.run_feed_async(&feed).await?;
        Ok(I::returned(self, samples, outputs))
    }

    /// [`Session::run_images`] for callers that must not block.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn run_images_async(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        let feed = self.one(ArrayView::U8(pixels))?;
        let (samples, outputs) = self.run_feed_async(&feed).await?;
        Ok(<&[f32]>::returned(self, samples, outputs))
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
    /// As [`Session::run`]; [`Error::Invalid`] when there is no sample, or more than a batch, when two runs are under way, and for a
    /// network that keeps states, whose runs follow each other.
    pub fn submit<'a, I: RunInputs<'a>>(&mut self, inputs: I) -> Result<()> {
        if !self.states.is_empty() {
            return Err(Error::invalid("submit", "a network that keeps states runs one run after the other"));
        }
        let feed = inputs.feed(self)?;
        let rows = self.check(&feed)?;
        if rows == 0 || rows > self.batch() {
            return Err(Error::invalid("input", format!("{rows} samples for a session of 1 to {}", self.batch())));
        }
        if self.done.len() == 2 {
            return Err(Error::invalid("submit", "2 runs are under way: wait for one first"));
        }
        let mut outputs = self.room(rows);
        let part = Part { samples: rows, first: 0, rows };
        let Self { engine, inputs, outputs: _, arrangements, states, .. } = self;
        let [before, behind] = arrangements;
        let fill = |number: usize, slot: Slot, buffer: &mut [f32]| fill(&feed, states, inputs, before, part, number, slot, buffer);
        let read = |number: usize, slot: Slot, buffer: &[f32]| behind[number].read(part, slot, buffer, &mut outputs[number]);
        if engine.submit(rows, fill, read)? {
            self.done.push_back((rows, outputs));
        }
        Ok(())
    }

    /// Waits for the oldest run that was submitted and returns its one output, as [`Session::run`] does.
    ///
    /// # Errors
    /// [`Error::Invalid`] when none is under way, or the network gives several arrays; [`Error::Gpu`] when the device fails.
    pub fn wait(&mut self) -> Result<Vec<f32>> {
        if self.outputs.len() != 1 {
            return Err(Error::invalid("wait", format!("the network gives {} arrays: wait_all gives them by name", self.outputs.len())));
        }
        let (samples, outputs) = self.wait_outputs()?;
        Ok(<&[f32]>::returned(self, samples, outputs))
    }

    /// Waits for the oldest run that was submitted and returns all that it gives.
    ///
    /// # Errors
    /// As [`Session::wait`].
    pub fn wait_all(&mut self) -> Result<Outputs> {
        let (samples, outputs) = self.wait_outputs()?;
        Ok(<&[(&str, &[f32])]>::returned(self, samples, outputs))
    }

    fn wait_outputs(&mut self) -> Result<(usize, Vec<Vec<f32>>)> {
        let Some(rows) = self.engine.under_way()? else {
            return self.done.pop_front().ok_or_else(|| Error::invalid("wait", "no run is under way"));
        };
        let mut outputs = self.room(rows);
        let part = Part { samples: rows, first: 0, rows };
        let Self { engine, arrangements: [_, behind], .. } = self;
        engine.wait(|number, slot, buffer| behind[number].read(part, slot, buffer, &mut outputs[number]))?;
        Ok((rows, outputs))
    }

    /// Runs all samples, a batch at a time, into the caller's arrays, then stores the states for the next run.
    fn run_feed(&mut self, feed: &Feed<'_>, samples: usize, outputs: &mut [&mut [f32]]) -> Result<()> {
        self.check_idle()?;
        self.prepare_states(samples)?;
        for part in parts(samples, self.batch()) {
            let Self { engine, inputs, arrangements: [before, behind], states, .. } = self;
            let fill = |number: usize, slot: Slot, buffer: &mut [f32]| fill(feed, states, inputs, before, part, number, slot, buffer);
            engine.run(part.rows, fill, |number, slot, buffer| behind[number].read(part, slot, buffer, outputs[number]))?;
        }
        for state in &mut self.states {
            state.array.copy_from_slice(outputs[state.output]);
        }
        Ok(())
    }

    async fn run_feed_async(&mut self, feed: &Feed<'_>) -> Result<(usize, Vec<Vec<f32>>)> {
        let samples = self.check(feed)?;
        self.check_idle()?;
        self.prepare_states(samples)?;
        let mut outputs = self.room(samples);
        for part in parts(samples, self.batch()) {
            let Self { engine, inputs, arrangements: [before, behind], states, .. } = self;
            let fill = |number: usize, slot: Slot, buffer: &mut [f32]| fill(feed, states, inputs, before, part, number, slot, buffer);
            let read = |number: usize, slot: Slot, buffer: &[f32]| behind[number].read(part, slot, buffer, &mut outputs[number]);
            engine.run_async(part.rows, fill, read).await?;
        }
        for state in &mut self.states {
            state.array.copy_from_slice(&outputs[state.output]);
        }
        Ok((samples, outputs))
    }

    /// Sizes the states for a run of `samples`.
    fn prepare_states(&mut self, samples: usize) -> Result<()> {
        let Self { states, arrangements: [before, _], inputs, .. } = self;
        states.iter_mut().try_for_each(|state| {
            let number = state.input;
            let fault = |why| Error::invalid(format!("state '{}'", inputs[number].spec.name), why);
            state.prepare(&before[number], samples).map_err(fault)
        })
    }

    /// How many samples a run of `feed` has: as many as the arrays that have samples, or one.
    ///
    /// # Errors
    /// [`Error::Invalid`] as [`Session::run`].
    fn check(&self, feed: &Feed<'_>) -> Result<usize> {
        let mut samples: Option<(usize, usize)> = None;
        for (number, input) in self.inputs.iter().enumerate() {
            let Some(array) = feed.array(number) else { continue };
            // Where there is one input its name says nothing.
            let what = || if self.inputs.len() == 1 { "input".to_string() } else { format!("input '{}'", input.spec.name) };
            array.check(&input.spec).map_err(|why| Error::invalid(what(), why))?;
            let found = self.arrangements[0][number].samples(array.len()).map_err(|why| Error::invalid(what(), why))?;
            match (found, samples) {
                (Some(found), Some((other, count))) if found != count => {
                    let why = format!("has {found} samples, '{}' has {count}", self.inputs[other].spec.name);
                    return Err(Error::invalid(what(), why));
                }
                (Some(found), None) => samples = Some((number, found)),
                _ => {}
            }
        }
        Ok(samples.map_or(1, |(_, count)| count))
    }

    /// Allocates every output of a run.
    fn room(&self, samples: usize) -> Vec<Vec<f32>> {
        (0..self.outputs.len()).map(|number| vec![0.0; self.output_elements(number, samples)]).collect()
    }

    fn output_elements(&self, number: usize, samples: usize) -> usize {
        let arrangement = &self.arrangements[1][number];
        arrangement.len() * if arrangement.is_sampled() { samples } else { 1 }
    }

    /// On the CPU a submitted run is done at once, but its result is still to be waited for: what a GPU refuses is refused
    /// here too.
    fn check_idle(&self) -> Result<()> {
        if self.done.is_empty() { Ok(()) } else { Err(Error::invalid("run", "submitted runs are under way: wait for them first")) }
    }
}

/// Fills the buffer of one input from the caller's array, or from the state kept for it.
#[allow(clippy::too_many_arguments, reason = "what a run holds apart, so that its engine can be borrowed beside it")]
fn fill(
    feed: &Feed<'_>,
    states: &[Kept],
    inputs: &[Input],
    arrangements: &[Arrangement],
    part: Part,
    number: usize,
    slot: Slot,
    buffer: &mut [f32],
) {
    let kept = || states.iter().find(|state| state.input == number).map(|state| ArrayView::F32(&state.array));
    if let Some(array) = feed.array(number).or_else(kept) {
        arrangements[number].fill(array, &inputs[number], part, slot, buffer);
    }
}

/// All samples, a batch at a time.
fn parts(samples: usize, batch: usize) -> impl Iterator<Item = Part> {
    (0..samples).step_by(batch.max(1)).map(move |first| Part { samples, first, rows: batch.min(samples - first) })
}
