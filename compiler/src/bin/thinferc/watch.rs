//! What a user sees of work that goes on: a bar where standard error is a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use thinfer::tools::print;
use thinfer_compiler::job::{Progress, Stage};
use thinfer_compiler::train::{EpochRecord, StepReport};

/// Time between the lines that tell that work goes on.
const BEAT: Duration = Duration::from_secs(30);

/// Shows a job's progress. Its bar goes when it does.
pub(crate) struct Watcher {
    terminal: bool,
    /// When a line last told that work goes on.
    beat: Mutex<Instant>,
    /// The bar of the stage under way, and what it shows in front.
    bar: Mutex<Option<(String, ProgressBar)>>,
    /// Epochs of a training run.
    epochs: usize,
}

impl Watcher {
    pub(crate) fn new() -> Self {
        Self::of_epochs(0)
    }

    /// For a training run of so many epochs.
    pub(crate) fn of_epochs(epochs: usize) -> Self {
        Self { terminal: std::io::stderr().is_terminal(), beat: Mutex::new(Instant::now()), bar: Mutex::new(None), epochs }
    }

    /// Shows what a job tells.
    pub(crate) fn tell(&self, progress: Progress<'_>) {
        match progress {
            Progress::Stage { stage, done, total } => self.stage(stage, done, total),
            Progress::Note(note) => self.line(&note.to_string()),
            Progress::Step(report) => self.step(report),
            Progress::Epoch(record) => self.line(&self.epoch(record)),
            _ => {}
        }
    }

    fn stage(&self, stage: Stage<'_>, done: usize, total: usize) {
        if matches!(stage, Stage::Calibrating | Stage::Factoring) {
            self.beat(|| format!("{stage}: {done} of {total}"));
        }
        self.show(&stage.to_string(), done, total, "");
    }

    fn step(&self, r: &StepReport) {
        let left = span(r.seconds_left);
        self.beat(|| format!("epoch {}/{}  step {} of {}  loss {:.4}  {left} left", r.epoch, r.epochs, r.step, r.steps, r.loss));
        let message = format!("loss {:.4}  accuracy {:.2} %  {left} left", r.loss, r.accuracy);
        self.show(&format!("epoch {}/{}", r.epoch, r.epochs), r.step, r.steps, &message);
    }

    fn epoch(&self, r: &EpochRecord) -> String {
        let split = match (r.split_loss, r.split_accuracy) {
            (Some(loss), Some(accuracy)) => format!("  held-out loss {loss:.4} accuracy {accuracy:.2} %"),
            _ => String::new(),
        };
        format!(
            "epoch {}/{}  loss {:.4} accuracy {:.2} %{split}  lr {:.2e}  {:.1} s, {:.1} steps/s",
            r.epoch, self.epochs, r.train_loss, r.train_accuracy, r.lr, r.seconds, r.steps_per_second
        )
    }

    /// A line, with the bar out of its way.
    fn line(&self, text: &str) {
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((_, bar)) => bar.suspend(|| print::note(text)),
            None => print::note(text),
        }
    }

    /// A line every half minute where there is no bar, so that a log tells that work goes on.
    fn beat(&self, text: impl FnOnce() -> String) {
        let mut last = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.terminal && last.elapsed() >= BEAT {
            *last = Instant::now();
            print::note(text());
        }
    }

    /// Moves the bar, which is another one for each `what`. One that is full goes.
    fn show(&self, what: &str, done: usize, total: usize, message: &str) {
        if !self.terminal {
            return;
        }
        let mut shown = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_none_or(|(name, _)| name != what)
            && let Some((_, old)) = shown.replace((what.into(), bar(total, what)))
        {
            old.finish_and_clear();
        }
        let Some((_, bar)) = &*shown else { return };
        bar.set_length(total as u64);
        bar.set_message(message.to_string());
        bar.set_position(done as u64);
        if done >= total {
            bar.finish_and_clear();
            *shown = None;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some((_, bar)) = self.bar.get_mut().unwrap_or_else(PoisonError::into_inner) {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total as u64);
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:20}] {pos}/{len} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_prefix(what.to_string())
}

/// Seconds as hours, minutes and seconds.
fn span(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}
