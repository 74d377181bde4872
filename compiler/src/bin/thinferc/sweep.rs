//! `thinferc sweep`: accuracy against singular values kept (LoRITa's Figures 2 and 3) and against multiply–accumulates,
//! for policies × schemes, as CSV and SVG.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thinfer::artifact::Dtype;
use thinfer::tools::inspect::Description;
use thinfer::tools::print;
use thinfer::tools::table::{Table, count};
use thinfer::{Device, DeviceKind, Forms, Options, Session};
use thinfer_compiler::data::{self, DataSpec, Part};
use thinfer_compiler::eval::{batch, check_fit, evaluate};
use thinfer_compiler::factor::Rank;
use thinfer_compiler::lower::Factored;
use thinfer_compiler::rank::{Cut, Policy};
use thinfer_compiler::report::{Chart, Series, write_csv};
use thinfer_compiler::{Error, Result, files};

use crate::cut::{CutArguments, SchemeName};
use crate::source::SourceArguments;

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

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum PolicyName {
    Local,
    Global,
    Energy,
    Macs,
}

impl PolicyName {
    fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
            Self::Energy => "energy",
            Self::Macs => "macs",
        }
    }

    fn at(self, share: f64) -> Policy {
        match self {
            Self::Local => Policy::Local(share),
            Self::Global => Policy::Global(share),
            Self::Energy => Policy::Energy(share),
            Self::Macs => Policy::Macs(share),
        }
    }

    /// Shares worth a point: energy says little below one half.
    fn shares(self) -> &'static [f64] {
        match self {
            Self::Local | Self::Global => &[
                1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.22, 0.2, 0.17, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02,
                0.01,
            ],
            Self::Macs => &[1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.453, 0.4, 0.35, 0.3, 0.25, 0.2],
            Self::Energy => &[1.0, 0.9999, 0.999, 0.998, 0.995, 0.99, 0.98, 0.97, 0.95, 0.92, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5],
        }
    }
}

/// Images that go through the device at once.
const BATCH: usize = 256;

/// One policy and scheme.
struct Curve {
    policy: PolicyName,
    scheme: SchemeName,
    points: Vec<Point>,
}

/// One point of a curve.
struct Point {
    policy: Policy,
    kept: usize,
    total: usize,
    macs: u64,
    params: u64,
    top1: f64,
    correct: usize,
}

impl Point {
    fn share_kept(&self) -> f64 {
        self.kept as f64 / self.total.max(1) as f64
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.limit == Some(0) {
        return Err(Error::invalid("--limit", "must be at least 1"));
    }
    crate::check_folder(&arguments.output)?;
    let source = arguments.source.load()?;
    let mut test = data::load(&arguments.data, Part::Test)?;
    test.truncate(arguments.limit.unwrap_or(test.len()).min(test.len()));
    let device = Device::open(arguments.device)?;
    let policies = match &arguments.policy[..] {
        [] => &[PolicyName::Local, PolicyName::Global, PolicyName::Energy],
        some => some,
    };
    let mut curves = Vec::new();
    let mut factored = Vec::new();
    for &scheme in &arguments.scheme {
        let network = source.factor(arguments.cut.options(&source, scheme.into())?)?;
        let dense = Policy::Dense;
        check_fit(&network.emit(dense, &network.cuts(dense)?, Dtype::F32, false)?, &test)?;
        let bar = crate::train::bar(policies.iter().map(|p| p.shares().len() as u64).sum(), "cutting and judging");
        for &policy in policies {
            let mut points = Vec::new();
            for &share in policy.shares() {
                let cuts = match network.cuts(policy.at(share)) {
                    Ok(cuts) => cuts,
                    // A share that cannot be met ends its curve.
                    Err(Error::Unmet { .. }) => break,
                    Err(error) => return Err(error),
                };
                points.push(point(&network, policy.at(share), &cuts, &device, &test)?);
                bar.inc(1);
            }
            curves.push(Curve { policy, scheme, points });
        }
        bar.finish_and_clear();
        factored.push((scheme, network));
    }
    write(arguments, &factored, &curves)?;
    let mut table = Table::new(["policy", "scheme", "values kept", "of", "MACs as factors", "top-1"]);
    for (curve, p) in curves.iter().flat_map(|c| c.points.iter().map(move |p| (c, p))) {
        let (kept, total) = (p.kept.to_string(), p.total.to_string());
        table.row([p.policy.to_string(), curve.scheme.label().into(), kept, total, count(p.macs), format!("{:.2} %", p.top1)]);
    }
    print::text(&table)?;
    print::line(format_args!(
        "\n{} ({} images) on {}; wrote sweep.csv, spectra.csv, values.svg, macs.svg and spectra.svg in {}",
        test.name,
        test.len(),
        device.info(),
        arguments.output.display()
    ))?;
    Ok(())
}

fn point(network: &Factored, policy: Policy, cuts: &[Cut], device: &Device, test: &data::Dataset) -> Result<Point> {
    // Above break-even the recomposed weight is emitted: the curve is about what the cut costs in accuracy.
    let artifact = network.emit(policy, cuts, Dtype::F32, true)?;
    let options = Options { batch: batch(&artifact, BATCH), forms: Forms::Ruled, keep_factors: true, ..Options::default() };
    let accuracy = evaluate(&mut Session::new(device, &artifact, &options)?, test, |_| ())?;
    let components = |rank: Rank| match rank {
        Rank::One(r) | Rank::Two { output: r, .. } => r,
    };
    // A layer that is left dense keeps all its values.
    let values = network.factorings().iter().zip(cuts).filter_map(|(found, cut)| {
        let taken = cut.and_then(|(scheme, rank)| Some((found.iter().find(|f| f.scheme() == scheme)?, components(rank))));
        let (factoring, kept) = taken.or_else(|| found.first().map(|f| (f, components(f.full_rank()))))?;
        Some((kept, components(factoring.full_rank())))
    });
    let (kept, total) = values.fold((0, 0), |sum, (kept, full)| (sum.0 + kept, sum.1 + full));
    let d = Description::of(&artifact);
    Ok(Point { policy, kept, total, macs: d.macs, params: d.params, top1: accuracy.percent(), correct: accuracy.correct })
}

fn write(arguments: &Arguments, factored: &[(SchemeName, Factored)], curves: &[Curve]) -> Result<()> {
    let dir = &arguments.output;
    files::make_dir(dir)?;
    let rows: Vec<Vec<String>> = curves
        .iter()
        .flat_map(|c| c.points.iter().map(move |p| (c, p)))
        .map(|(c, p)| {
            vec![
                c.policy.label().into(),
                p.policy.to_string(),
                p.kept.to_string(),
                format!("{:.6}", p.share_kept()),
                p.macs.to_string(),
                p.params.to_string(),
                p.correct.to_string(),
                format!("{:.2}", p.top1),
                c.scheme.label().into(),
            ]
        })
        .collect();
    let header = ["policy", "setting", "values_kept", "share_kept", "macs", "params", "correct", "top1", "scheme"];
    write_csv(&dir.join("sweep.csv"), &header, &rows)?;
    let label = |c: &Curve| match arguments.scheme.len() {
        1 => c.policy.label().into(),
        _ => format!("{}, {}", c.policy.label(), c.scheme.label()),
    };
    let chart = |title: &str, x_label: &str, x: &dyn Fn(&Point) -> f64| Chart {
        title: title.into(),
        x_label: x_label.into(),
        y_label: "top-1 (%)".into(),
        x_log: false,
        y_log: false,
        series: curves
            .iter()
            .map(|c| Series { label: label(c), points: c.points.iter().map(|p| (x(p), p.top1)).collect(), dashed: false })
            .collect(),
    };
    chart("Accuracy against singular values kept", "singular values kept (%)", &|p| 100.0 * p.share_kept())
        .write(&dir.join("values.svg"))?;
    chart("Accuracy against multiply–accumulates", "kMACs an image", &|p| p.macs as f64 / 1e3).write(&dir.join("macs.svg"))?;
    write_spectra(dir, factored)
}

fn write_spectra(dir: &std::path::Path, factored: &[(SchemeName, Factored)]) -> Result<()> {
    let several = factored.len() > 1;
    let (mut rows, mut series) = (Vec::new(), Vec::new());
    for (scheme, network) in factored {
        for (layer, spectrum) in network.layers().iter().zip(network.factorings()).filter_map(|(l, f)| Some((l, f.first()?))) {
            let sigma = spectrum.sigma();
            let largest = sigma.first().copied().unwrap_or(1.0);
            let row = |(i, v): (usize, &f64)| vec![layer.name.clone(), (i + 1).to_string(), format!("{v:.9e}"), scheme.label().into()];
            rows.extend(sigma.iter().enumerate().map(row));
            let points = sigma.iter().enumerate().map(|(i, v)| ((i + 1) as f64, v / largest)).filter(|(_, v)| *v > 1e-9).collect();
            let label = if several { format!("{}, {}", layer.name, scheme.label()) } else { layer.name.clone() };
            series.push(Series { label, points, dashed: false });
        }
    }
    write_csv(&dir.join("spectra.csv"), &["layer", "component", "sigma", "scheme"], &rows)?;
    Chart {
        title: "Singular values of each layer".into(),
        x_label: "component".into(),
        y_label: "σ / largest σ".into(),
        x_log: false,
        y_log: true,
        series,
    }
    .write(&dir.join("spectra.svg"))
}
