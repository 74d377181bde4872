//! A sweep's tables and charts.

use std::path::Path;

use super::sweep::{Curve, Point, Swept, label};
use crate::error::Result;
use crate::files;
use crate::report::{Chart, Series, write_csv};

impl Curve {
    /// The name of its scheme on a command line.
    pub fn scheme_label(&self) -> &'static str {
        label(self.scheme)
    }
}

impl Swept {
    /// Writes sweep.csv, spectra.csv, values.svg, macs.svg and spectra.svg into `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn write(&self, dir: &Path) -> Result<()> {
        files::make_dir(dir)?;
        let row = |c: &Curve, p: &Point| {
            vec![
                c.family.label().into(),
                p.policy.to_string(),
                p.kept.to_string(),
                format!("{:.6}", p.share_kept()),
                p.macs.to_string(),
                p.params.to_string(),
                p.correct.to_string(),
                format!("{:.2}", p.top1),
                c.scheme_label().into(),
            ]
        };
        let rows: Vec<Vec<String>> = self.curves.iter().flat_map(|c| c.points.iter().map(move |p| row(c, p))).collect();
        let header = ["policy", "setting", "values_kept", "share_kept", "macs", "params", "correct", "top1", "scheme"];
        write_csv(&dir.join("sweep.csv"), &header, &rows)?;
        self.chart("Accuracy against singular values kept", "singular values kept (%)", &|p| 100.0 * p.share_kept())
            .write(&dir.join("values.svg"))?;
        self.chart("Accuracy against multiply–accumulates", "kMACs an image", &|p| p.macs as f64 / 1e3).write(&dir.join("macs.svg"))?;
        self.write_spectra(dir)
    }

    /// Accuracy against `x`.
    fn chart(&self, title: &str, x_label: &str, x: &dyn Fn(&Point) -> f64) -> Chart {
        let label = |c: &Curve| match self.spectra.len() {
            1 => c.family.label().into(),
            _ => format!("{}, {}", c.family.label(), c.scheme_label()),
        };
        let points = |c: &Curve| c.points.iter().map(|p| (x(p), p.top1)).collect();
        Chart {
            title: title.into(),
            x_label: x_label.into(),
            y_label: "top-1 (%)".into(),
            x_log: false,
            y_log: false,
            series: self.curves.iter().map(|c| Series { label: label(c), points: points(c), dashed: false }).collect(),
        }
    }

    fn write_spectra(&self, dir: &Path) -> Result<()> {
        let several = self.spectra.len() > 1;
        let (mut rows, mut series) = (Vec::new(), Vec::new());
        for spectra in &self.spectra {
            let scheme = label(spectra.scheme);
            for (layer, sigma) in &spectra.layers {
                let largest = sigma.first().copied().unwrap_or(1.0);
                let row = |(i, v): (usize, &f64)| vec![layer.clone(), (i + 1).to_string(), format!("{v:.9e}"), scheme.into()];
                rows.extend(sigma.iter().enumerate().map(row));
                let points = sigma.iter().enumerate().map(|(i, v)| ((i + 1) as f64, v / largest)).filter(|(_, v)| *v > 1e-9).collect();
                let label = if several { format!("{layer}, {scheme}") } else { layer.clone() };
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
}
