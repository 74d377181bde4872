//! `thinferc sweep`: accuracy against singular values kept (LoRITa's Figures 2 and 3), as CSV and SVG.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thinfer::artifact::Dtype;
use thinfer::inspect::Description;
use thinfer::print;
use thinfer::table::{Table, count};
use thinfer::{Device, DeviceKind, Forms, Options, Session};
use thinfer_compiler::data::{self, DataSpec, Part};
use thinfer_compiler::eval::{check_fit, evaluate};
use thinfer_compiler::factor::Rank;
use thinfer_compiler::lower::{self, Factored};
use thinfer_compiler::rank::Policy;
use thinfer_compiler::report::{Chart, Series, write_csv};
use thinfer_compiler::{Result, files};

use crate::compile::{SchemeName, SpectraName};
use crate::source::SourceArguments;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// How the values to keep are chosen; all three when not given
    #[arg(long, value_enum)]
    policy: Vec<PolicyName>,
    /// Its test images are judged: mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or glyphs
    #[arg(long, value_name = "SET[:DIR]")]
    data: DataSpec,
    /// Whose singular values decide: of the weights with batch norm folded in, or as they were trained
    #[arg(long, value_enum, default_value_t = SpectraName::Folded)]
    spectra: SpectraName,
    /// How a convolution is taken apart
    #[arg(long, value_enum, default_value_t = SchemeName::Channel)]
    scheme: SchemeName,
    /// Layers that stay dense
    #[arg(long, value_delimiter = ',', value_name = "LAYER,..")]
    skip: Vec<String>,
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
}

impl PolicyName {
    fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
            Self::Energy => "energy",
        }
    }

    fn at(self, share: f64) -> Policy {
        match self {
            Self::Local => Policy::Local(share),
            Self::Global => Policy::Global(share),
            Self::Energy => Policy::Energy(share),
        }
    }

    /// Shares worth a point: energy says little below one half.
    fn shares(self) -> &'static [f64] {
        match self {
            Self::Local | Self::Global => &[
                1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.22, 0.2, 0.17, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02,
                0.01,
            ],
            Self::Energy => &[1.0, 0.9999, 0.999, 0.998, 0.995, 0.99, 0.98, 0.97, 0.95, 0.92, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5],
        }
    }
}

/// Images that go through the device at once.
const BATCH: usize = 256;

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

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let source = arguments.source.load()?;
    let factored = source.factor(lower::Options {
        spectra: arguments.spectra.into(),
        skip: arguments.skip.clone(),
        scheme: arguments.scheme.into(),
        ..lower::Options::default()
    })?;
    let test = data::load(&arguments.data, Part::Test)?;
    let dense = Policy::Dense;
    check_fit(&factored.emit(dense, &factored.cuts(dense)?, Dtype::F32, false)?, &test)?;
    let device = Device::open(arguments.device)?;
    let policies = if arguments.policy.is_empty() {
        vec![PolicyName::Local, PolicyName::Global, PolicyName::Energy]
    } else {
        arguments.policy.clone()
    };
    let bar = crate::train::bar(policies.iter().map(|p| p.shares().len() as u64).sum(), "cutting and judging");
    let mut curves = Vec::new();
    for policy in policies {
        let mut points = Vec::new();
        for &share in policy.shares() {
            points.push(point(&factored, policy.at(share), &device, &test)?);
            bar.inc(1);
        }
        curves.push((policy, points));
    }
    bar.finish_and_clear();
    write(arguments, &factored, &curves)?;
    let mut table = Table::new(["policy", "values kept", "of", "MACs as factors", "top-1"]);
    for p in curves.iter().flat_map(|(_, points)| points) {
        table.row([p.policy.to_string(), p.kept.to_string(), p.total.to_string(), count(p.macs), format!("{:.2} %", p.top1)]);
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

fn point(factored: &Factored, policy: Policy, device: &Device, test: &data::Dataset) -> Result<Point> {
    let cuts = factored.cuts(policy)?;
    // Above break-even the recomposed weight is emitted: the curve is about what the cut costs in accuracy.
    let artifact = factored.emit(policy, &cuts, Dtype::F32, true)?;
    let options = Options { batch: BATCH, forms: Forms::Ruled, keep_factors: true, ..Options::default() };
    let accuracy = evaluate(&mut Session::new(device, &artifact, &options)?, test, |_| ())?;
    let components = |rank: Rank| match rank {
        Rank::One(r) | Rank::Two { output: r, .. } => r,
    };
    let full = factored.factorings().iter().flatten().map(|f| components(f.full_rank()));
    let d = Description::of(&artifact);
    Ok(Point {
        policy,
        kept: cuts.iter().flatten().map(|(_, rank)| components(*rank)).sum(),
        total: full.sum(),
        macs: d.macs,
        params: d.params,
        top1: accuracy.percent(),
        correct: accuracy.correct,
    })
}

fn write(arguments: &Arguments, factored: &Factored, curves: &[(PolicyName, Vec<Point>)]) -> Result<()> {
    let dir = &arguments.output;
    files::make_dir(dir)?;
    let rows: Vec<Vec<String>> = curves
        .iter()
        .flat_map(|(name, points)| points.iter().map(move |p| (name, p)))
        .map(|(name, p)| {
            let share = p.kept as f64 / p.total.max(1) as f64;
            vec![
                name.label().into(),
                p.policy.to_string(),
                p.kept.to_string(),
                format!("{share:.6}"),
                p.macs.to_string(),
                p.params.to_string(),
                p.correct.to_string(),
                format!("{:.2}", p.top1),
            ]
        })
        .collect();
    write_csv(&dir.join("sweep.csv"), &["policy", "setting", "values_kept", "share_kept", "macs", "params", "correct", "top1"], &rows)?;
    let chart = |title: &str, x_label: &str, x: &dyn Fn(&Point) -> f64| Chart {
        title: title.into(),
        x_label: x_label.into(),
        y_label: "top-1 (%)".into(),
        x_log: false,
        y_log: false,
        series: curves
            .iter()
            .map(|(name, points)| Series {
                label: name.label().into(),
                points: points.iter().map(|p| (x(p), p.top1)).collect(),
                dashed: false,
            })
            .collect(),
    };
    let kept = |p: &Point| 100.0 * p.kept as f64 / p.total.max(1) as f64;
    chart("Accuracy against singular values kept", "singular values kept (%)", &kept).write(&dir.join("values.svg"))?;
    chart("Accuracy against multiply–accumulates", "kMACs an image", &|p| p.macs as f64 / 1e3).write(&dir.join("macs.svg"))?;
    write_spectra(dir, factored)
}

fn write_spectra(dir: &std::path::Path, factored: &Factored) -> Result<()> {
    let layers = || factored.layers().iter().zip(factored.factorings()).filter_map(|(l, f)| Some((l, f.first()?)));
    let rows: Vec<Vec<String>> = layers()
        .flat_map(|(l, s)| s.sigma().into_iter().enumerate().map(|(i, v)| vec![l.name.clone(), (i + 1).to_string(), format!("{v:.9e}")]))
        .collect();
    write_csv(&dir.join("spectra.csv"), &["layer", "component", "sigma"], &rows)?;
    let series = layers().map(|(l, s)| {
        let sigma = s.sigma();
        let largest = sigma.first().copied().unwrap_or(1.0);
        let points = sigma.iter().enumerate().map(|(i, v)| ((i + 1) as f64, v / largest)).filter(|(_, v)| *v > 1e-9).collect();
        Series { label: l.name.clone(), points, dashed: false }
    });
    Chart {
        title: "Singular values of each layer".into(),
        x_label: "component".into(),
        y_label: "σ / largest σ".into(),
        x_log: false,
        y_log: true,
        series: series.collect(),
    }
    .write(&dir.join("spectra.svg"))
}
