//! Draws the lines of text that a network of the DB kind ("Real-time Scene Text Detection with Differentiable Binarization", Liao et
//! al., 2020) finds, such as PP-OCR's: its output says of each pixel how likely it is part of a (shrunk) line. Pixels above a
//! threshold that touch are a line; its box is widened by what lines are shrunk for training. Boxes are upright: a slanting line gets
//! the box around it.
//!
//! `cargo run --release --example text_lines -- FILE.thin IMAGE OUT.png [SCORE]`
//!
//! SCORE is the least mean probability of a line's pixels (0.6).

mod boxes;

use std::path::Path;

use boxes::Rect;
use thinfer::{Error, Result};

/// The probability above which a pixel is part of a line.
const THRESHOLD: f32 = 0.3;
/// A box is widened by so many times its area over its circumference.
const WIDENED: f64 = 1.5;
/// Pixels that the shorter side of a line has at least, before it is widened.
const SMALLEST: usize = 3;

/// A line and the mean probability of its pixels.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    rect: Rect,
    score: f64,
}

/// The lines in a map of probabilities, rows of `width` pixels, from top to bottom.
fn lines(map: &[f32], width: usize, least: f64) -> Vec<Line> {
    let height = map.len() / width.max(1);
    let mut seen: Vec<bool> = map.iter().map(|&p| p <= THRESHOLD || p.is_nan()).collect();
    let mut found = Vec::new();
    for start in 0..width * height {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        let mut open = vec![start];
        let (mut sum, mut count) = (0.0, 0usize);
        let (mut left, mut right, mut top, mut bottom) = (width, 0, height, 0);
        while let Some(at) = open.pop() {
            let (x, y) = (at % width, at / width);
            (left, right, top, bottom) = (left.min(x), right.max(x + 1), top.min(y), bottom.max(y + 1));
            (sum, count) = (sum + f64::from(map[at]), count + 1);
            for y in y.saturating_sub(1)..(y + 2).min(height) {
                for x in x.saturating_sub(1)..(x + 2).min(width) {
                    let next = y * width + x;
                    if !seen[next] {
                        seen[next] = true;
                        open.push(next);
                    }
                }
            }
        }
        let score = sum / count as f64;
        if score >= least && (right - left).min(bottom - top) >= SMALLEST {
            let (w, h) = ((right - left) as f64, (bottom - top) as f64);
            let more = w * h * WIDENED / (2.0 * (w + h));
            let rect = Rect { left: left as f64 - more, top: top as f64 - more, right: right as f64 + more, bottom: bottom as f64 + more };
            found.push(Line { rect, score });
        }
    }
    found
}

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::invalid("usage", "text_lines FILE.thin IMAGE OUT.png [SCORE]");
    let (Some([model, image, out]), true) = (arguments.first_chunk::<3>(), arguments.len() <= 4) else { return Err(usage()) };
    let least = arguments.get(3).map_or(Some(0.6), |score| score.parse().ok()).ok_or_else(usage)?;
    let seen = boxes::see(Path::new(model), Path::new(image))?;
    let no_map = || Error::invalid(model.as_str(), "gives no map of probabilities, one for each pixel of its image or of a grid of them");
    let map = seen.outputs.first().ok_or_else(no_map)?;
    let &[.., height, width] = &map.shape[..] else { return Err(no_map()) };
    let values = map.data.to_f32();
    if width * height == 0 || values.len() != width * height {
        return Err(no_map());
    }
    // A map may have fewer pixels than the network's image.
    let [across, down] = [seen.network[0] as f64 / width as f64, seen.network[1] as f64 / height as f64];
    let mut drawn = Vec::new();
    for Line { rect, score } in lines(&values, width, least) {
        let rect = Rect { left: rect.left * across, top: rect.top * down, right: rect.right * across, bottom: rect.bottom * down };
        let rect = rect.to_image(&seen.placement);
        println!("line {score:.3} at {:.1}, {:.1} to {:.1}, {:.1}", rect.left, rect.top, rect.right, rect.bottom);
        drawn.push(rect);
    }
    boxes::save_with(&drawn, &seen.image, Path::new(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_touches_is_a_line_and_is_widened() {
        let (width, height) = (40, 30);
        let mut map = vec![0.1f32; width * height];
        let mut put = |xs: std::ops::Range<usize>, ys: std::ops::Range<usize>, p: f32| {
            ys.for_each(|y| xs.clone().for_each(|x| map[y * width + x] = p));
        };
        put(5..25, 4..8, 0.9);
        // Touches it by a corner.
        put(25..27, 8..9, 0.7);
        put(5..25, 15..19, 0.5);
        put(30..32, 20..29, 0.9);
        let found = lines(&map, width, 0.6);
        // 22 × 5 pixels: 110 · 1.5 / 54 more on each side. The second is too unlikely, the third too narrow.
        let more = 110.0 * 1.5 / 54.0;
        assert_eq!(found.len(), 1, "{found:?}");
        let rect = Rect { left: 5.0 - more, top: 4.0 - more, right: 27.0 + more, bottom: 9.0 + more };
        assert_eq!(found[0].rect, rect);
        assert!((found[0].score - (80.0 * 0.9 + 2.0 * 0.7) / 82.0).abs() < 1e-6);
        assert_eq!(lines(&map, width, 0.4).len(), 2);
        assert!(lines(&[], 0, 0.5).is_empty() && lines(&[f32::NAN; 9], 3, 0.0).is_empty());
    }

    #[test]
    fn boxes_are_drawn_where_they_are_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.png");
        let image = thinfer::tools::images::Pixels { width: 8, height: 6, channels: 1, data: vec![9; 48] };
        let rects = [Rect { left: 2.0, top: 1.0, right: 6.0, bottom: 4.0 }, Rect { left: -1e18, top: -5.0, right: 1e18, bottom: 50.0 }];
        boxes::save_with(&rects, &image, &path).unwrap();
        let drawn = thinfer::tools::images::open(&path).unwrap();
        let red = |x: usize, y: usize| drawn.data[3 * (y * 8 + x)..][..3] == [255, 0, 0];
        assert!(red(2, 1) && red(6, 4) && red(3, 2) && red(5, 3) && !red(0, 0) && !red(7, 5) && !red(4, 0), "{drawn:?}");
    }
}
