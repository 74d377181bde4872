//! Where and how to run, on the command line.

use std::time::Duration;

use clap::Args;
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::{Artifact, Device, DeviceKind, Error, Forms, Options, Result, Session};

/// Where and how to run.
#[derive(Args)]
pub(crate) struct DeviceArguments {
    /// auto (a real GPU if there is one, else the CPU), gpu (software adapters too) or cpu
    #[arg(long, default_value = "auto")]
    pub(crate) device: DeviceKind,
    /// Never multiply a factored layer back to its dense form, even where dense is faster
    #[arg(long)]
    pub(crate) keep_factors: bool,
    /// Load only this share (0 to 1) of each factored layer's ranks, the most important ones
    #[arg(long, default_value_t = 1.0, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) ranks: f64,
    /// Load the largest share of the ranks, in steps of 5 %, with which a run takes at most so long on this device
    #[arg(long, value_name = "MS", conflicts_with = "ranks", allow_negative_numbers = true)]
    pub(crate) time_budget: Option<f64>,
    /// Choose each layer's form by rule instead of timing them on this device
    #[arg(long)]
    pub(crate) no_tune: bool,
}

impl DeviceArguments {
    /// How a session is set up for runs of `batch` samples.
    pub(crate) fn options(&self, batch: usize, forms: Forms) -> Options {
        Options { batch, forms, ranks: self.ranks, keep_factors: self.keep_factors, ..Options::default() }
    }

    /// A session of as many ranks as were asked for, or as the time allows; and what share that is.
    pub(crate) fn session(&self, device: &Device, artifact: &Artifact, options: &Options) -> Result<(Session, f64)> {
        let thin = || Description::of(artifact).layers.iter().any(|l| l.rank.is_some());
        if (self.ranks < 1.0 || self.time_budget.is_some()) && !thin() {
            print::note(format_args!("note: {} has no layer in factors, so there are no ranks to leave out", artifact.model().name));
        }
        let Some(ms) = self.time_budget else { return Ok((Session::new(device, artifact, options)?, self.ranks)) };
        let budget = Duration::try_from_secs_f64(ms / 1e3).ok().filter(|b| !b.is_zero());
        let budget = budget.ok_or_else(|| Error::invalid(format!("--time-budget {ms}"), "is no positive number of milliseconds"))?;
        let (session, ranks) = Session::within(device, artifact, options, budget)?;
        print::note(format_args!("{:.0} % of the ranks fit in {ms} ms", 100.0 * ranks));
        Ok((session, ranks))
    }
}
