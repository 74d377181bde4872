//! Draws what a detector finds: decodes the outputs of a network of the YOLO or SSD kind, leaves of boxes that overlap the best one
//! (non-maximum suppression), and draws the rest on the image.
//!
//! `cargo run --release --example detect -- FILE.thin IMAGE OUT.png [KIND [SCORE]]`
//!
//! KIND, told by the outputs' shapes where it is left out:
//!
//! * `yolox`: [anchors, 5 + classes], a cell's offset and the logarithms of its size in strides of 8, 16 and 32, objectness, classes
//! * `yolov5`: [anchors, 5 + classes], center and size in pixels, objectness, classes
//! * `yolov8`: [4 + classes, anchors], center and size in pixels, classes
//! * `ssd`: corners [anchors, 4] from 0 to 1 (left, top, right, bottom) and scores [anchors, classes], of which the first is none
//!
//! SCORE is the least score that is drawn (0.3).

mod boxes;

use std::path::Path;

use boxes::Rect;
use thinfer::{Error, Result};

/// Of boxes of one class that overlap by more, as a share of what both cover, one stays.
const OVERLAP: f64 = 0.45;
/// Pixels of a cell, in each of a detector's grids.
const STRIDES: [usize; 3] = [8, 16, 32];

/// A box with what is in it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    rect: Rect,
    class: usize,
    score: f64,
}

/// How outputs are to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    YoloX,
    YoloV5,
    YoloV8,
    Ssd,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "yolox" => Self::YoloX,
            "yolov5" => Self::YoloV5,
            "yolov8" => Self::YoloV8,
            "ssd" => Self::Ssd,
            _ => return None,
        })
    }

    /// By the shapes of the outputs, for a network's image of `size`.
    fn told(shapes: &[Vec<usize>], size: [usize; 2]) -> Option<Self> {
        let cells: usize = STRIDES.iter().map(|s| (size[0] / s) * (size[1] / s)).sum();
        match shapes {
            [_, _] if shapes.iter().any(|s| s.last() == Some(&4)) => Some(Self::Ssd),
            [one] => match one[..] {
                [rows, _] if rows == cells => Some(Self::YoloX),
                [rows, _] if rows == 3 * cells => Some(Self::YoloV5),
                [_, columns] if columns == cells => Some(Self::YoloV8),
                _ => None,
            },
            _ => None,
        }
    }
}

/// An output as a matrix.
struct Matrix<'a> {
    columns: usize,
    values: &'a [f32],
}

impl Matrix<'_> {
    fn at(&self, row: usize, column: usize) -> f64 {
        f64::from(self.values[row * self.columns + column])
    }

    fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }
}

fn centered(x: f64, y: f64, width: f64, height: f64) -> Rect {
    Rect { left: x - width / 2.0, top: y - height / 2.0, right: x + width / 2.0, bottom: y + height / 2.0 }
}

/// The largest of a row's scores and its class.
fn best(scores: impl Iterator<Item = f64>) -> (usize, f64) {
    scores.enumerate().fold((0, f64::NEG_INFINITY), |best, (class, score)| if score > best.1 { (class, score) } else { best })
}

/// Every box of the outputs whose score is at least `least`, in pixels of the network's image of `size`.
fn decode(kind: Kind, outputs: &[(Vec<usize>, Vec<f32>)], size: [usize; 2], least: f64) -> Option<Vec<Found>> {
    let matrix = |output: &'_ (Vec<usize>, Vec<f32>)| match output.0[..] {
        [rows, columns] if rows * columns == output.1.len() => Some(columns),
        _ => None,
    };
    let first = outputs.first()?;
    let m = Matrix { columns: matrix(first)?, values: &first.1 };
    let mut found = Vec::new();
    match kind {
        Kind::YoloX => {
            let cells = STRIDES.iter().flat_map(|&stride| {
                let (wide, high) = (size[0] / stride, size[1] / stride);
                (0..high).flat_map(move |y| (0..wide).map(move |x| (x as f64, y as f64, stride as f64)))
            });
            for (row, (x, y, stride)) in cells.enumerate().take(m.rows()) {
                let (class, score) = best((5..m.columns).map(|c| m.at(row, c)));
                let rect = centered(
                    (m.at(row, 0) + x) * stride,
                    (m.at(row, 1) + y) * stride,
                    m.at(row, 2).exp() * stride,
                    m.at(row, 3).exp() * stride,
                );
                found.push(Found { rect, class, score: score * m.at(row, 4) });
            }
        }
        Kind::YoloV5 => {
            for row in 0..m.rows() {
                let (class, score) = best((5..m.columns).map(|c| m.at(row, c)));
                let rect = centered(m.at(row, 0), m.at(row, 1), m.at(row, 2), m.at(row, 3));
                found.push(Found { rect, class, score: score * m.at(row, 4) });
            }
        }
        Kind::YoloV8 => {
            for column in 0..m.columns {
                let (class, score) = best((4..m.rows()).map(|r| m.at(r, column)));
                let rect = centered(m.at(0, column), m.at(1, column), m.at(2, column), m.at(3, column));
                found.push(Found { rect, class, score });
            }
        }
        Kind::Ssd => {
            let [a, b] = outputs else { return None };
            let (corners, scores) = if a.0.last() == Some(&4) { (a, b) } else { (b, a) };
            let corners = Matrix { columns: matrix(corners)?, values: &corners.1 };
            let scores = Matrix { columns: matrix(scores)?, values: &scores.1 };
            let [width, height] = size.map(|side| side as f64);
            for row in 0..corners.rows().min(scores.rows()) {
                let (class, score) = best((1..scores.columns).map(|c| scores.at(row, c)));
                let [left, top, right, bottom] = [0, 1, 2, 3].map(|i| corners.at(row, i));
                let rect = Rect { left: left * width, top: top * height, right: right * width, bottom: bottom * height };
                found.push(Found { rect, class: class + 1, score });
            }
        }
    }
    found.retain(|f| f.score >= least);
    Some(found)
}

/// In square pixels; nothing where the corners are the other way round.
fn area(r: Rect) -> f64 {
    (r.right - r.left).max(0.0) * (r.bottom - r.top).max(0.0)
}

/// What two boxes share, as a share of what both cover.
fn overlap(a: &Rect, b: &Rect) -> f64 {
    let both = Rect { left: a.left.max(b.left), top: a.top.max(b.top), right: a.right.min(b.right), bottom: a.bottom.min(b.bottom) };
    let shared = area(both);
    shared / (area(*a) + area(*b) - shared).max(f64::MIN_POSITIVE)
}

/// The best of boxes of one class that overlap, the best first.
fn suppress(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Found> = Vec::new();
    for f in found {
        if kept.iter().all(|k| k.class != f.class || overlap(&k.rect, &f.rect) <= OVERLAP) {
            kept.push(f);
        }
    }
    kept
}

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::invalid("usage", "detect FILE.thin IMAGE OUT.png [yolox|yolov5|yolov8|ssd [SCORE]]");
    let (Some([model, image, out]), true) = (arguments.first_chunk::<3>(), arguments.len() <= 5) else { return Err(usage()) };
    let seen = boxes::see(Path::new(model), Path::new(image))?;
    // One sample: axes of length 1 in front say nothing.
    let shape = |shape: &[usize]| if shape.len() > 2 && shape[0] == 1 { shape[1..].to_vec() } else { shape.to_vec() };
    let outputs: Vec<(Vec<usize>, Vec<f32>)> = seen.outputs.iter().map(|o| (shape(&o.shape), o.data.to_f32())).collect();
    let shapes: Vec<Vec<usize>> = outputs.iter().map(|(shape, _)| shape.clone()).collect();
    let kind = match arguments.get(3) {
        Some(name) => Kind::named(name).ok_or_else(usage)?,
        None => Kind::told(&shapes, seen.network)
            .ok_or_else(|| Error::invalid(model.as_str(), format!("gives {shapes:?}, which tell no kind of detector: name it")))?,
    };
    let least = arguments.get(4).map_or(Some(0.3), |score| score.parse().ok()).ok_or_else(usage)?;
    let found = decode(kind, &outputs, seen.network, least)
        .ok_or_else(|| Error::invalid(model.as_str(), format!("gives {shapes:?}, which are no outputs of {kind:?}")))?;
    let mut drawn = Vec::new();
    for f in suppress(found) {
        let rect = f.rect.to_image(&seen.placement);
        println!("class {} {:.3} at {:.1}, {:.1} to {:.1}, {:.1}", f.class, f.score, rect.left, rect.top, rect.right, rect.bottom);
        drawn.push(rect);
    }
    boxes::save_with(&drawn, &seen.image, Path::new(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: Rect, b: [f64; 4]) -> bool {
        [a.left, a.top, a.right, a.bottom].iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3)
    }

    #[test]
    fn each_kind_is_decoded_to_the_same_box() {
        // 64 × 32: 8 · 4, 4 · 2 and 2 · 1 cells; one box of 16 × 8 around (20, 12), of the second of two classes.
        let (size, cells) = ([64, 32], 42);
        let put = |rows: usize, row: usize, values: [f32; 7]| {
            let mut all = vec![0.0; rows * 7];
            all[row * 7..row * 7 + 7].copy_from_slice(&values);
            vec![(vec![rows, 7], all)]
        };
        // Column 2, row 1 of the first grid.
        let x = put(cells, 8 + 2, [0.5, 0.5, 2f32.ln(), 0.0, 0.8, 0.1, 0.5]);
        let v5 = put(3 * cells, 5, [20.0, 12.0, 16.0, 8.0, 0.8, 0.1, 0.5]);
        let mut v8 = vec![0.0; 6 * cells];
        [20.0, 12.0, 16.0, 8.0, 0.1, 0.4].into_iter().enumerate().for_each(|(row, value)| v8[row * cells + 3] = value);
        let v8 = vec![(vec![6, cells], v8)];
        let ssd = vec![
            (vec![2, 3], vec![0.9, 0.05, 0.05, 0.4, 0.1, 0.4]),
            (vec![2, 4], vec![0.0, 0.0, 1.0, 1.0, 12.0 / 64.0, 0.25, 28.0 / 64.0, 0.5]),
        ];
        for (kind, outputs, class) in [(Kind::YoloX, x, 1), (Kind::YoloV5, v5, 1), (Kind::YoloV8, v8, 1), (Kind::Ssd, ssd, 2)] {
            let shapes: Vec<Vec<usize>> = outputs.iter().map(|o| o.0.clone()).collect();
            assert_eq!(Kind::told(&shapes, size), Some(kind));
            let found = decode(kind, &outputs, size, 0.3).unwrap();
            assert!(found.len() == 1 && near(found[0].rect, [12.0, 8.0, 28.0, 16.0]), "{kind:?} {found:?}");
            assert!(found[0].class == class && (found[0].score - 0.4).abs() < 1e-6, "{kind:?} {found:?}");
        }
        assert_eq!(Kind::told(&[vec![10]], size), None);
        assert_eq!(decode(Kind::Ssd, &[(vec![2, 4], vec![0.0; 8])], size, 0.3), None);
    }

    #[test]
    fn of_boxes_that_overlap_the_best_stays() {
        let found = |left: f64, class, score| Found { rect: Rect { left, top: 0.0, right: left + 10.0, bottom: 10.0 }, class, score };
        let kept = suppress(vec![found(1.0, 0, 0.5), found(0.0, 0, 0.9), found(0.0, 1, 0.4), found(6.0, 0, 0.6)]);
        assert_eq!(kept, [found(0.0, 0, 0.9), found(6.0, 0, 0.6), found(0.0, 1, 0.4)]);
        assert_eq!(overlap(&found(0.0, 0, 0.0).rect, &found(5.0, 0, 0.0).rect), 1.0 / 3.0);
    }
}
