//! `thinferc sweep`: accuracy against singular values kept and against multiply–accumulates, as CSV and SVG.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thinfer::DeviceKind;
use thinfer::tools::print;
use thinfer::tools::table::{Table, count};
use thinfer_compiler::Result;
use thinfer_compiler::data::DataSpec;
use thinfer_compiler::job::{Family, Sweep, Swept};

use crate::cut::{CutArguments, SchemeName};
use crate::output;
use crate::source::SourceArguments;
use crate::watch::Watcher;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    cut: CutArguments,
    /// How the values to keep are chosen [default: local,global,energy]
    #[arg(long, value_enum, value_delimiter = ',')]
    policy: Vec<PolicyName>,
    /// Its test images are judged: mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or glyphs
    #[arg(long, value_name = "SET[:DIR]")]
    data: DataSpec,
    /// How convolutions are taken apart, a curve each
    #[arg(long, value_enum, value_delimiter = ',', default_value = "channel")]
    scheme: Vec<SchemeName>,
    /// Only the first N test images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// auto, gpu or cpu
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// Folder for sweep.csv, spectra.csv and the figures
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum PolicyName {
    Local,
    Global,
    Energy,
    Macs,
}

impl From<PolicyName> for Family {
    fn from(name: PolicyName) -> Self {
        match name {
            PolicyName::Local => Self::Local,
            PolicyName::Global => Self::Global,
            PolicyName::Energy => Self::Energy,
            PolicyName::Macs => Self::Macs,
        }
    }
}

impl Arguments {
    fn job(&self) -> Sweep {
        let usual = Sweep::new(self.source.source(), self.data.clone());
        Sweep {
            cut: self.cut.settings(),
            families: if self.policy.is_empty() { usual.families } else { self.policy.iter().map(|&p| p.into()).collect() },
            schemes: self.scheme.iter().map(|&s| s.into()).collect(),
            limit: self.limit,
            device: self.device,
            ..usual
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let job = arguments.job();
    job.check()?;
    output::check_folder(&arguments.output)?;
    let watcher = Watcher::new();
    let swept = job.run(&|progress| watcher.tell(progress))?;
    drop(watcher);
    swept.write(&arguments.output)?;
    print::text(points(&swept))?;
    print::line(format_args!(
        "\n{} ({} images) on {}; wrote sweep.csv, spectra.csv, values.svg, macs.svg and spectra.svg in {}",
        swept.data,
        swept.images,
        swept.device,
        arguments.output.display()
    ))?;
    Ok(())
}

fn points(swept: &Swept) -> Table {
    let mut table = Table::new(["policy", "scheme", "values kept", "of", "MACs as factors", "top-1"]);
    for (curve, p) in swept.curves.iter().flat_map(|c| c.points.iter().map(move |p| (c, p))) {
        let (kept, total) = (p.kept.to_string(), p.total.to_string());
        table.row([p.policy.to_string(), curve.scheme_label().into(), kept, total, count(p.macs), format!("{:.2} %", p.top1)]);
    }
    table
}
