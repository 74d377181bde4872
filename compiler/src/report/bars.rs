//! Groups of bars.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{along, colour, legend_height, legend_width, picture, width};
use crate::error::{Error, Result};
use crate::files::write_atomic;

/// A bar chart: a group of bars for each name, a bar for each series in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// Above the chart.
    pub title: String,
    /// What the bars measure, with its unit.
    pub y_label: String,
    /// The groups' names, below them.
    pub groups: Vec<String>,
    /// Each series' name and its values, one a group; a value that is not finite leaves its place empty.
    pub series: Vec<(String, Vec<f64>)>,
}

impl Bars {
    /// The chart as an SVG document, 760 × 460 pixels, larger if its texts need it. Each bar has its value above it (below
    /// it if negative) to three significant figures.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the chart if a series has not one value a group, or if there is no finite value.
    pub fn svg(&self) -> Result<String> {
        let what = format!("chart '{}'", self.title);
        if let Some((name, values)) = self.series.iter().find(|(_, values)| values.len() != self.groups.len()) {
            return Err(Error::invalid(what, format!("series '{name}' has {} values for {} groups", values.len(), self.groups.len())));
        }
        let values = || self.series.iter().flat_map(|(_, values)| values.iter().copied()).filter(|v| v.is_finite());
        if values().next().is_none() {
            return Err(Error::invalid(what, "there is no finite value to draw"));
        }
        // The height of a bar is its value, so zero belongs to the axis.
        let y = Axis::over(&what, values().chain([0.0]), false, 0.08)?;

        let count = |n: usize| i32::try_from(n.max(1)).unwrap_or(i32::MAX);
        let (groups, series) = (count(self.groups.len()), count(self.series.len()));
        let legend = legend_width(self.series.iter().map(|(name, _)| name.as_str()));
        let ticks = y.ticks.iter().map(|(_, label)| width(label, 12.0)).max().unwrap_or(0);
        let left = 42 + ticks;
        // Bars no narrower than their labels, groups no narrower than theirs.
        let bar = values().map(|v| width(&three_figures(v), 11.0) + 3).max().unwrap_or(0).max(12);
        let name = self.groups.iter().map(|name| width(name, 11.0) + 14).max().unwrap_or(0);
        let slot = bar.saturating_mul(series).saturating_add(18).max(name);
        let wanted = slot.saturating_mul(groups).saturating_add(left + legend.max(20));
        if wanted > 20_000 {
            return Err(Error::invalid(what, format!("{groups} groups of {series} bars are too many for one picture")));
        }
        let size = (wanted.max(760), 460.max(legend_height(self.series.len()) + 90));
        let right = size.0 - legend.max(20);
        let slot = (right - left) / groups;
        // Wide bars say no more than narrow ones.
        let bar = ((slot - 18) / series).min(72);
        let frame = ((left, 48), (right, size.1 - 42));

        let height = |v: f64| y.place(v).map(|place| along(frame.1.1, frame.0.1, place));
        let zero = height(0.0).unwrap_or(frame.1.1);
        picture(size, &self.title, |canvas| {
            canvas.frame(frame, &y, &self.y_label)?;
            for (group, name) in (0..).zip(&self.groups) {
                let middle = left + slot * group + slot / 2;
                canvas.small(name, (middle, frame.1.1 + 10), false)?;
                for (i, (_, values)) in self.series.iter().enumerate() {
                    let from = middle - bar * series / 2 + bar * count(i + 1) - bar;
                    let Some((value, top)) = values.get(group as usize).and_then(|&v| Some((v, height(v)?))) else { continue };
                    canvas.rect((from + 1, top.min(zero)), (from + bar - 1, top.max(zero)), colour(i))?;
                    let above = value >= 0.0;
                    canvas.small(&three_figures(value), (from + bar / 2, if above { top - 2 } else { top + 4 }), above)?;
                }
            }
            canvas.line(&[(left, zero), (right, zero)], plotters::style::BLACK)?;
            for (i, (name, _)) in self.series.iter().enumerate().filter(|_| legend > 0) {
                let (cx, cy) = canvas.legend((right, 48), i, name)?;
                canvas.rect((cx - 7, cy - 6), (cx + 8, cy + 6), colour(i))?;
            }
            Ok(())
        })
    }

    /// Writes [`Bars::svg`] to `path`, whole or not at all.
    ///
    /// # Errors
    /// Those of [`Bars::svg`]; [`Error::Io`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomic(path, self.svg()?.as_bytes())
    }
}

fn three_figures(v: f64) -> String {
    let text = format!("{v:.2e}");
    let power: i32 = text.split_once('e').and_then(|(_, p)| p.parse().ok()).unwrap_or(0);
    match power {
        _ if v == 0.0 => "0".into(),
        -3..6 => format!("{:.*}", usize::try_from(2 - power).unwrap_or(0), text.parse().unwrap_or(v)),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(values: &[f64]) -> Bars {
        let groups = (0..values.len()).map(|i| format!("group {i}")).collect();
        Bars { title: "T".into(), y_label: "ms".into(), groups, series: vec![("dense".into(), values.to_vec())] }
    }

    #[test]
    fn values_have_three_figures() {
        let pairs = [
            (0.0, "0"),
            (0.012345, "0.0123"),
            (9.999, "10.0"),
            (999.6, "1000"),
            (12345.0, "12300"),
            (-1.5, "-1.50"),
            (1.234e-7, "1.23e-7"),
            (5e9, "5.00e9"),
        ];
        for (v, text) in pairs {
            assert_eq!(three_figures(v), text);
        }
    }

    #[test]
    fn every_finite_value_has_a_bar() {
        let svg = bars(&[1.0, -2.0, f64::NAN, 0.0]).svg().unwrap();
        assert_eq!(svg.matches("<rect").count(), 5, "the background, three bars and the legend");
        assert!(svg.contains("1.00") && svg.contains("-2.00") && svg.contains("group 3"));
    }

    #[test]
    fn nothing_to_draw_and_ragged_series_are_refused() {
        let ragged = Bars { groups: vec!["one".into()], ..bars(&[1.0, 2.0]) };
        for bad in [Bars::default(), bars(&[]), bars(&[f64::NAN]), ragged, bars(&vec![1.0; 5000])] {
            let said = bad.svg().unwrap_err().to_string();
            assert!(said.starts_with("chart '"), "{said}");
        }
    }

    #[test]
    fn many_bars_make_a_wider_picture() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.svg");
        bars(&[123_456.0; 30]).write(&path).unwrap();
        let svg = std::fs::read_to_string(path).unwrap();
        let width: i32 = svg.split('"').nth(1).unwrap().parse().unwrap();
        assert!(width > 1500, "{width}");
    }
}
