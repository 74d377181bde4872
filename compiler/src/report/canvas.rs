//! What all charts share: text, strokes, the frame with its grid, the legend, the colours.

use plotters::coord::Shift;
use plotters::element::{DashedPathElement, Drawable, PointCollection};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use crate::error::{Error, Result};

/// Pixels: right and down from the upper left corner.
pub(super) type At = (i32, i32);

/// The backend knows whole units only: this many to a pixel keep curves smooth.
const FINE: i32 = 8;

/// Size of the small text, pixels.
const SMALL: f64 = 12.0;
/// A place of the legend: its height and what lies left of its text.
const ENTRY: (i32, i32) = (21, 38);
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(226, 226, 226);

/// The colour of series `i`: Okabe and Ito's, which the colour-blind can tell apart, less the yellow that is lost on
/// white.
pub(super) fn colour(i: usize) -> RGBColor {
    const COLOURS: [RGBColor; 7] = [
        RGBColor(0, 114, 178),
        RGBColor(213, 94, 0),
        RGBColor(0, 158, 115),
        RGBColor(204, 121, 167),
        RGBColor(230, 159, 0),
        RGBColor(86, 180, 233),
        RGBColor(0, 0, 0),
    ];
    COLOURS[i % COLOURS.len()]
}

/// How wide `text` is in pixels, about: the reader's font is not known.
pub(super) fn width(text: &str, size: f64) -> i32 {
    (text.chars().count() as f64 * size * 0.6).ceil() as i32
}

/// The width of a legend of these labels, pixels; 0 if none has text.
pub(super) fn legend_width<'a>(labels: impl Iterator<Item = &'a str>) -> i32 {
    let widest = labels.map(|label| width(label, SMALL)).max().unwrap_or(0);
    if widest == 0 { 0 } else { ENTRY.1 + widest.min(230) + 8 }
}

/// The height that a legend of `n` entries needs, pixels.
pub(super) fn legend_height(n: usize) -> i32 {
    ENTRY.0.saturating_mul(i32::try_from(n).unwrap_or(i32::MAX))
}

/// An SVG picture in the making.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    size: At,
    title: &'a str,
}

/// The SVG document of `size` pixels, white, with its title at the top and what `paint` draws.
///
/// # Errors
/// Here as in every method of the canvas, [`Error::Invalid`] naming the title if the backend refuses.
pub(super) fn picture(size: At, title: &str, paint: impl FnOnce(&Canvas<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    let (wide, high) = (size.0 * FINE, size.1 * FINE);
    {
        let area = SVGBackend::with_string(&mut svg, (wide.unsigned_abs(), high.unsigned_abs())).into_drawing_area();
        let canvas = Canvas { area, size, title };
        canvas.rect((0, 0), size, WHITE)?;
        let fitting = f64::from(size.0 - 20) / f64::from(width(title, 1000.0).max(1)) * 1000.0;
        canvas.text(title, (size.0 / 2, 24), fitting.min(17.0), Pos::new(HPos::Center, VPos::Center), false)?;
        paint(&canvas)?;
        canvas.area.present().map_err(|e| canvas.refused(&e))?;
    }
    // The view stays as fine as it was drawn, the picture becomes as large as it was meant.
    let drawn = format!("width=\"{wide}\" height=\"{high}\"");
    Ok(svg.replacen(&drawn, &format!("width=\"{}\" height=\"{}\"", size.0, size.1), 1))
}

impl<'a> Canvas<'a> {
    fn refused(&self, why: &dyn std::fmt::Display) -> Error {
        Error::invalid(format!("chart '{}'", self.title), why.to_string())
    }

    fn draw<E>(&self, element: &E) -> Result<()>
    where
        for<'b> &'b E: PointCollection<'b, At>,
        E: Drawable<SVGBackend<'a>>,
    {
        self.area.draw(element).map_err(|e| self.refused(&e))
    }

    /// `text` with its anchor `pos` at `at`, `size` pixels high; upwards if `turned`.
    pub(super) fn text(&self, text: &str, at: At, size: f64, pos: Pos, turned: bool) -> Result<()> {
        // XML has no place for control characters.
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let turn = if turned { FontTransform::Rotate270 } else { FontTransform::None };
        // The backend divides by 1.24.
        let style = ("sans-serif", size * 1.24 * f64::from(FINE)).into_font().transform(turn).color(&INK).pos(pos);
        self.draw(&Text::new(clean, fine(at), style))
    }

    /// Small text centred on `x`, its top (or, if `above`, its bottom) at `y`.
    pub(super) fn small(&self, text: &str, (x, y): At, above: bool) -> Result<()> {
        let pos = Pos::new(HPos::Center, if above { VPos::Bottom } else { VPos::Top });
        self.text(text, (x, y), SMALL - 1.0, pos, false)
    }

    /// A filled rectangle between two corners.
    pub(super) fn rect(&self, from: At, to: At, fill: RGBColor) -> Result<()> {
        self.draw(&Rectangle::new([fine(from), fine(to)], fill.filled()))
    }

    /// A straight stroke or several, one pixel thick.
    pub(super) fn line(&self, points: &[At], stroke: RGBColor) -> Result<()> {
        let points: Vec<_> = points.iter().copied().map(fine).collect();
        self.draw(&PathElement::new(points, stroke.stroke_width(FINE.unsigned_abs())))
    }

    /// The line of series `i` through `points`, pixels and their parts.
    pub(super) fn curve(&self, points: &[(f64, f64)], i: usize, dashed: bool) -> Result<()> {
        let points: Vec<_> = points.iter().copied().map(finer).collect();
        let style = colour(i).stroke_width(2 * FINE.unsigned_abs());
        if dashed {
            self.draw(&DashedPathElement::new(points, 6 * FINE, 4 * FINE, style))
        } else {
            self.draw(&PathElement::new(points, style))
        }
    }

    /// The mark of series `i`: shapes change with the colours, for whoever prints in grey.
    pub(super) fn mark(&self, at: (f64, f64), i: usize) -> Result<()> {
        let (x, y) = finer(at);
        let fill = colour(i).filled();
        let polygon =
            |offsets: &[At]| Polygon::new(offsets.iter().map(|(dx, dy)| (x + dx * FINE, y + dy * FINE)).collect::<Vec<_>>(), fill);
        match i % 4 {
            0 => self.draw(&Circle::new((x, y), 4 * FINE, fill)),
            1 => self.draw(&polygon(&[(-4, -4), (4, -4), (4, 4), (-4, 4)])),
            2 => self.draw(&polygon(&[(-5, 4), (5, 4), (0, -5)])),
            _ => self.draw(&polygon(&[(-5, 0), (0, -5), (5, 0), (0, 5)])),
        }
    }

    /// The y axis with its grid, ticks and label, and the lines around `frame` (its upper left and lower right corner).
    pub(super) fn frame(&self, frame: (At, At), y: &Axis, y_label: &str) -> Result<()> {
        let ((left, top), (right, bottom)) = frame;
        for (place, label) in &y.ticks {
            let at = along(bottom, top, *place);
            self.line(&[(left, at), (right, at)], GRID)?;
            self.text(label, (left - 8, at), SMALL, Pos::new(HPos::Right, VPos::Center), false)?;
        }
        let fitting = f64::from(bottom - top + 60) / f64::from(width(y_label, 1000.0).max(1)) * 1000.0;
        let pos = Pos::new(HPos::Center, VPos::Center);
        self.text(y_label, (17, i32::midpoint(top, bottom)), fitting.min(13.0), pos, true)?;
        self.line(&[(left, top), (left, bottom), (right, bottom)], INK)
    }

    /// The x axis' grid, ticks and label below `frame`.
    pub(super) fn x_axis(&self, frame: (At, At), x: &Axis, x_label: &str) -> Result<()> {
        let ((left, top), (right, bottom)) = frame;
        for (place, label) in &x.ticks {
            let at = along(left, right, *place);
            self.line(&[(at, top), (at, bottom)], GRID)?;
            self.text(label, (at, bottom + 8), SMALL, Pos::new(HPos::Center, VPos::Top), false)?;
        }
        let fitting = f64::from(right - left + 60) / f64::from(width(x_label, 1000.0).max(1)) * 1000.0;
        let pos = Pos::new(HPos::Center, VPos::Center);
        self.text(x_label, (i32::midpoint(left, right), self.size.1 - 18), fitting.min(13.0), pos, false)
    }

    /// The text of legend entry `i` of a legend whose upper left corner is `corner`; returns the middle of the place for
    /// its sample, which is 26 pixels wide.
    pub(super) fn legend(&self, corner: At, i: usize, label: &str) -> Result<At> {
        let y = corner.1 + legend_height(i) + ENTRY.0 / 2;
        let room = f64::from(self.size.0 - corner.0 - ENTRY.1) / (SMALL * 0.6);
        let short = if label.chars().count() as f64 > room {
            label.chars().take((room - 1.0).max(0.0) as usize).chain(['…']).collect()
        } else {
            label.to_owned()
        };
        self.text(&short, (corner.0 + ENTRY.1, y), SMALL, Pos::new(HPos::Left, VPos::Center), false)?;
        Ok((corner.0 + 17, y))
    }
}

fn fine((x, y): At) -> At {
    (x.saturating_mul(FINE), y.saturating_mul(FINE))
}

fn finer((x, y): (f64, f64)) -> At {
    ((x * f64::from(FINE)).round() as i32, (y * f64::from(FINE)).round() as i32)
}

/// Where the share `place` of the way between two pixels is.
pub(super) fn between(from: i32, to: i32, place: f64) -> f64 {
    f64::from(from) + f64::from(to - from) * place
}

/// The pixel nearest to it.
pub(super) fn along(from: i32, to: i32, place: f64) -> i32 {
    between(from, to, place).round() as i32
}
