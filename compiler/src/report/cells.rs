//! A table of coloured cells: which of several things holds where.

use std::path::Path;

use super::canvas::{colour, legend_height, legend_width, picture, width};
use crate::error::{Error, Result};
use crate::files::write_atomic;

/// A map of rows × columns, each cell coloured by its kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells {
    /// Above the map.
    pub title: String,
    /// The columns' names, above them.
    pub columns: Vec<String>,
    /// The kinds' names, in the order of the legend.
    pub kinds: Vec<String>,
    /// Each row's name and its cells, one a column. `None` leaves its place empty.
    pub rows: Vec<(String, Vec<Option<Cell>>)>,
}

/// The kind of a cell, by its place in [`Cells::kinds`], and what to write in it.
pub type Cell = (usize, String);

/// The height of a row, pixels.
const ROW: i32 = 22;

impl Cells {
    /// The map as an SVG document, as large as its texts need.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the map if a row has not one cell a column, a cell's kind has no name, or there is no cell.
    pub fn svg(&self) -> Result<String> {
        let fail = |why: String| Error::invalid(format!("map '{}'", self.title), why);
        if let Some((name, cells)) = self.rows.iter().find(|(_, cells)| cells.len() != self.columns.len()) {
            return Err(fail(format!("row '{name}' has {} cells for {} columns", cells.len(), self.columns.len())));
        }
        let cells = || self.rows.iter().flat_map(|(_, cells)| cells.iter().flatten());
        if cells().next().is_none() || self.rows.len() > 1000 || self.columns.len() > 100 {
            return Err(fail(format!("{} × {} cells cannot be drawn", self.rows.len(), self.columns.len())));
        }
        if let Some((kind, _)) = cells().find(|(kind, _)| *kind >= self.kinds.len()) {
            return Err(fail(format!("kind {kind} has no name")));
        }
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let left = 24 + self.rows.iter().map(|(name, _)| width(name, 11.0)).max().unwrap_or(0);
        let texts = cells().map(|(_, text)| text).chain(&self.columns);
        let slot = 14 + texts.map(|text| width(text, 11.0)).max().unwrap_or(0);
        let legend = legend_width(self.kinds.iter().map(String::as_str));
        let (right, bottom) = (left + slot * count(self.columns.len()), 70 + ROW * count(self.rows.len()));
        let size = ((right + legend.max(20)).max(480), (bottom + 16).max(70 + legend_height(self.kinds.len())));
        picture(size, &self.title, |canvas| {
            for (i, name) in (0..).zip(&self.columns) {
                canvas.small(name, (left + slot * i + slot / 2, 64), true)?;
            }
            for (row, (name, cells)) in (0..).zip(&self.rows) {
                let top = 70 + ROW * row;
                canvas.small(name, (left / 2, top + 5), false)?;
                for (i, (kind, text)) in (0..).zip(cells).filter_map(|(i, cell)| Some((i, cell.as_ref()?))) {
                    let from = left + slot * i;
                    // Pale enough to read the text on it.
                    let fill = colour(*kind);
                    let pale = |c: u8| c / 3 + 170;
                    canvas.rect(
                        (from + 1, top + 1),
                        (from + slot - 1, top + ROW - 1),
                        plotters::style::RGBColor(pale(fill.0), pale(fill.1), pale(fill.2)),
                    )?;
                    canvas.small(text, (from + slot / 2, top + 5), false)?;
                }
            }
            for (i, name) in self.kinds.iter().enumerate() {
                let (cx, cy) = canvas.legend((right, 70), i, name)?;
                canvas.rect((cx - 7, cy - 6), (cx + 8, cy + 6), colour(i))?;
            }
            Ok(())
        })
    }

    /// Writes [`Cells::svg`] to `path`, whole or not at all.
    ///
    /// # Errors
    /// Those of [`Cells::svg`]; [`Error::Io`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomic(path, self.svg()?.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(row: Vec<Option<Cell>>) -> Cells {
        Cells {
            title: "T".into(),
            columns: vec!["4 %".into(), "10 %".into()],
            kinds: vec!["dense".into()],
            rows: vec![("conv".into(), row)],
        }
    }

    #[test]
    fn every_cell_has_its_place_and_text() {
        let svg = cells(vec![Some((0, "1.5".into())), None]).svg().unwrap();
        assert_eq!(svg.matches("<rect").count(), 3, "the background, a cell and the legend");
        assert!(["1.5", "10 %", "conv", "dense"].iter().all(|text| svg.contains(text)));
    }

    #[test]
    fn nothing_to_draw_ragged_rows_and_nameless_kinds_are_refused() {
        for bad in
            [Cells::default(), cells(vec![None, None]), cells(vec![Some((0, String::new()))]), cells(vec![Some((1, String::new())), None])]
        {
            assert!(bad.svg().unwrap_err().to_string().starts_with("map '"));
        }
    }
}
