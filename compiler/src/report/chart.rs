//! Lines over two axes.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{between, legend_height, legend_width, picture, width};
use crate::error::Result;
use crate::files::write_atomic;

/// Series of more points than this show no marks.
const MOST_MARKS: usize = 40;

/// A line chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Above the chart.
    pub title: String,
    /// What x is, with its unit.
    pub x_label: String,
    /// What y is, with its unit.
    pub y_label: String,
    /// Whether x is logarithmic; points whose x is not above zero are then left out.
    pub x_log: bool,
    /// The same of y.
    pub y_log: bool,
    /// The lines, in the legend's order.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub label: String,
    /// (x, y), joined in this order; points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Dashes instead of a whole line.
    pub dashed: bool,
}

impl Chart {
    /// The chart as an SVG document, 760 × 460 pixels, taller if the legend needs it.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] naming the chart if no point can be drawn, or if they are too far apart for an axis.
    pub fn svg(&self) -> Result<String> {
        let what = format!("chart '{}'", self.title);
        let fits = |v: f64, log: bool| v.is_finite() && (!log || v > 0.0);
        let drawn = || self.series.iter().flat_map(|s| &s.points).filter(|(x, y)| fits(*x, self.x_log) && fits(*y, self.y_log));
        let x = Axis::over(&what, drawn().map(|p| p.0), self.x_log, 0.03)?;
        let y = Axis::over(&what, drawn().map(|p| p.1), self.y_log, 0.05)?;

        let legend = legend_width(self.series.iter().map(|s| s.label.as_str()));
        let size = (760, 460.max(legend_height(self.series.len()) + 110));
        let ticks = y.ticks.iter().map(|(_, label)| width(label, 12.0)).max().unwrap_or(0);
        let (left, right) = (42 + ticks, size.0 - legend.max(20));
        let frame = ((left, 48), (right, size.1 - 62));

        let place = |&(px, py): &(f64, f64)| Some((between(left, right, x.place(px)?), between(frame.1.1, frame.0.1, y.place(py)?)));
        picture(size, &self.title, |canvas| {
            canvas.x_axis(frame, &x, &self.x_label)?;
            canvas.frame(frame, &y, &self.y_label)?;
            for (i, series) in self.series.iter().enumerate() {
                let points: Vec<_> = series.points.iter().filter_map(place).collect();
                let marked = points.len() <= MOST_MARKS;
                if points.len() > 1 {
                    canvas.curve(&points, i, series.dashed)?;
                }
                for &at in points.iter().filter(|_| marked) {
                    canvas.mark(at, i)?;
                }
                if legend > 0 {
                    let (cx, cy) = canvas.legend((right, 48), i, &series.label)?;
                    let (cx, cy) = (f64::from(cx), f64::from(cy));
                    canvas.curve(&[(cx - 13.0, cy), (cx + 13.0, cy)], i, series.dashed)?;
                    if marked {
                        canvas.mark((cx, cy), i)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Writes [`Chart::svg`] to `path`, whole or not at all.
    ///
    /// # Errors
    /// Those of [`Chart::svg`]; [`crate::Error::Io`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomic(path, self.svg()?.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart {
        let series = Series { label: "a <b> & \u{1}".into(), points: points.to_vec(), dashed: false };
        Chart { title: "T".into(), x_label: "x".into(), y_label: "y".into(), series: vec![series], ..Chart::default() }
    }

    #[test]
    fn each_point_has_its_mark_and_text_is_escaped() {
        let svg = chart(&[(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN)]).svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<circle").count(), 3, "two points and the legend");
        assert!(svg.contains("a &lt;b&gt; &amp;") && !svg.contains('\u{1}') && !svg.contains("NaN"));
    }

    #[test]
    fn many_points_have_no_marks() {
        let points: Vec<_> = (0..100).map(|i| (f64::from(i), 0.9f64.powi(i))).collect();
        let log = Chart { y_log: true, x_log: true, ..chart(&points) };
        assert!(!log.svg().unwrap().contains("<circle"));
    }

    #[test]
    fn an_empty_chart_is_refused_by_name() {
        let nan = chart(&[(f64::NAN, 1.0), (1.0, f64::INFINITY)]);
        let log = Chart { y_log: true, ..chart(&[(1.0, 0.0)]) };
        for empty in [Chart::default(), chart(&[]), nan, log] {
            let said = empty.svg().unwrap_err().to_string();
            assert!(said.starts_with(&format!("chart '{}'", empty.title)), "{said}");
        }
    }

    #[test]
    fn one_point_and_many_series_are_drawn() {
        let mut many = chart(&[(3.0, 3.0)]);
        many.series = vec![many.series[0].clone(); 40];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.svg");
        many.write(&path).unwrap();
        assert!(std::fs::read_to_string(path).unwrap().contains("height=\"950\""));
    }
}
