//! Draws a CSV file as groups of bars, one bar a series.
//!
//! `cargo run --release --example bars -- FILE.csv OUT.svg GROUP SERIES VALUE TITLE`: the columns that name a bar's group and
//! series, and the one that it measures; cells that hold no number are left out.

use std::path::Path;

use thinfer_compiler::report::{Bars, Csv};
use thinfer_compiler::{Error, Result};

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, out, group, series, value, title] = &arguments[..] else {
        return Err(Error::invalid("usage", "bars FILE.csv OUT.svg GROUP SERIES VALUE TITLE"));
    };
    let csv = Csv::read(Path::new(file))?;
    let column = |name: &String| csv.place(name).ok_or_else(|| Error::invalid(file, format!("has no column '{name}'")));
    let (group, bar, height) = (column(group)?, column(series)?, column(value)?);
    let mut bars = Bars { title: title.clone(), y_label: value.replace('_', " "), ..Bars::default() };
    let mut values = Vec::new();
    for row in &csv.rows {
        let Ok(number) = row[height].parse::<f64>() else { continue };
        let (group, name) = (place(&mut bars.groups, row[group].clone()), format!("{series} {}", row[bar]));
        let series = bars.series.iter().position(|(n, _)| *n == name).unwrap_or_else(|| {
            bars.series.push((name, Vec::new()));
            bars.series.len() - 1
        });
        values.push((group, series, number));
    }
    for (_, heights) in &mut bars.series {
        *heights = vec![f64::NAN; bars.groups.len()];
    }
    for (group, series, number) in values {
        bars.series[series].1[group] = number;
    }
    bars.write(Path::new(out))
}

/// Where `name` stands among `names`, added at the end if it is new.
fn place(names: &mut Vec<String>, name: String) -> usize {
    names.iter().position(|n| *n == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}
