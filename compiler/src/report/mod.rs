//! What people read of a run: charts as SVG, tables as CSV.

mod axis;
mod bars;
mod canvas;
mod cells;
mod chart;
mod csv;
mod html;

pub use bars::Bars;
pub use cells::{Cell, Cells};
pub use chart::{Chart, Series};
pub use csv::{Csv, write_csv};
pub use html::{Section, html_page, html_report};
