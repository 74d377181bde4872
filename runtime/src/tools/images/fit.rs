//! An image of any size as a network's input.

use super::Pixels;
use super::resample::{Window, resample};
use crate::artifact::{Anchor, Filter, Fit, FitMethod};

/// The image in the channels of an input of `shape` ([channels, height, width]) and of its size: as `fit` says, or as it is, if it
/// has that size; channel after channel. Without `fit` it must have it.
pub(super) fn planes(pixels: &Pixels, [channels, height, width]: [usize; 3], fit: Option<&Fit>) -> Vec<u8> {
    let pixels = in_channels(pixels, channels);
    match fit.filter(|_| (pixels.width, pixels.height) != (width, height)) {
        None => pixels.planes(),
        Some(fit) => fitted(&pixels, fit, width, height).planes(),
    }
}

/// The same image grey or coloured.
fn in_channels(pixels: &Pixels, channels: usize) -> Pixels {
    let data = match (pixels.channels, channels) {
        (3, 1) => pixels.data.chunks_exact(3).map(luma).collect(),
        (1, 3) => pixels.data.iter().flat_map(|&p| [p; 3]).collect(),
        _ => pixels.data.clone(),
    };
    Pixels { channels: if channels == 1 { 1 } else { 3 }, data, ..*pixels }
}

/// ITU-R BT.601 luma in the fixed point that Pillow computes it in.
fn luma(colour: &[u8]) -> u8 {
    let weighted = colour.iter().zip([19595u32, 38470, 7471]).map(|(&c, weight)| u32::from(c) * weight).sum::<u32>();
    ((weighted + 0x8000) >> 16) as u8
}

fn fitted(pixels: &Pixels, fit: &Fit, width: usize, height: usize) -> Pixels {
    let whole = |width, height| Window { left: 0, top: 0, width, height };
    match fit.method {
        FitMethod::Stretch => resample(pixels, [width, height], whole(width, height), fit.filter),
        FitMethod::Crop { shorter } => {
            let [w, h] = cropped_from(pixels, shorter as usize);
            let window = Window { left: middle(w, width), top: middle(h, height), width, height };
            resample(pixels, [w, h], window, fit.filter)
        }
        FitMethod::Letterbox { fill, anchor } => letterbox(pixels, fill, anchor, fit.filter, [width, height]),
    }
}

/// Width and height of the scaled image that is then cut.
fn cropped_from(pixels: &Pixels, shorter: usize) -> [usize; 2] {
    let (w, h) = (pixels.width, pixels.height);
    if w <= h { [shorter, shorter * h / w] } else { [shorter * w / h, shorter] }
}

/// Where the middle `inner` of `outer` begin: half of what is left, of two integers as near the even one.
fn middle(outer: usize, inner: usize) -> usize {
    let rest = outer.saturating_sub(inner);
    rest / 2 + usize::from(rest % 4 == 3)
}

fn letterbox(pixels: &Pixels, fill: [u8; 3], anchor: Anchor, filter: Filter, [width, height]: [usize; 2]) -> Pixels {
    let (w, h, channels) = (pixels.width, pixels.height, pixels.channels);
    // A · b / c, rounded to nearest.
    let scaled = |a: usize, b: usize, c: usize| ((2 * a * b + c) / (2 * c)).max(1);
    let [inner_width, inner_height] =
        if width * h <= height * w { [width, scaled(h, width, w).min(height)] } else { [scaled(w, height, h).min(width), height] };
    let inner = resample(pixels, [inner_width, inner_height], Window { left: 0, top: 0, width: inner_width, height: inner_height }, filter);
    let [left, top] = match anchor {
        Anchor::Middle => [(width - inner_width) / 2, (height - inner_height) / 2],
        Anchor::Corner => [0, 0],
    };
    let colour = if channels == 1 { vec![luma(&fill)] } else { fill.to_vec() };
    let mut data = colour.repeat(width * height);
    for (y, row) in inner.data.chunks_exact(inner_width * channels).enumerate() {
        let at = ((top + y) * width + left) * channels;
        data[at..at + row.len()].copy_from_slice(row);
    }
    Pixels { width, height, channels, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Pixels {
        Pixels { width, height, channels: 1, data: (0..width * height).map(|i| (i * 7 % 251) as u8).collect() }
    }

    fn fit(method: FitMethod) -> Fit {
        Fit { input: 0, method, filter: Filter::Bilinear }
    }

    #[test]
    fn an_image_of_the_right_size_is_taken_as_it_is() {
        let image = ramp(8, 4);
        for method in [FitMethod::Stretch, FitMethod::Crop { shorter: 100 }] {
            assert_eq!(planes(&image, [1, 4, 8], Some(&fit(method))), image.data);
        }
    }

    #[test]
    fn the_middle_is_cut_out() {
        // Python's round((outer - inner) / 2).
        assert_eq!([10, 11, 12, 13, 14, 15].map(|outer| middle(outer, 10)), [0, 0, 1, 2, 2, 2]);
        assert_eq!(cropped_from(&ramp(300, 200), 256), [384, 256]);
        assert_eq!(cropped_from(&ramp(200, 333), 256), [256, 426]);
        // Without a change of scale the pixels are those of the middle.
        let image = ramp(9, 6);
        let cut = planes(&image, [1, 6, 6], Some(&fit(FitMethod::Crop { shorter: 6 })));
        assert!((0..6).all(|y| cut[6 * y..6 * y + 6] == image.data[9 * y + 2..9 * y + 8]));
    }

    #[test]
    fn a_letterbox_shows_everything_and_fills_the_rest() {
        let image = Pixels { width: 4, height: 2, channels: 3, data: [10, 20, 30].repeat(8) };
        let boxed = |anchor| planes(&image, [3, 7, 8], Some(&fit(FitMethod::Letterbox { fill: [1, 2, 3], anchor })));
        let red = |rows: std::ops::Range<usize>| (0..7).flat_map(|y| [if rows.contains(&y) { 10 } else { 1 }; 8]).collect::<Vec<u8>>();
        assert_eq!(boxed(Anchor::Middle)[..56], red(1..5));
        assert_eq!(boxed(Anchor::Corner)[..56], red(0..4));
        assert_eq!(boxed(Anchor::Corner)[2 * 56 + 55], 3);
        // A line stays one.
        let line = planes(&ramp(1000, 1), [1, 4, 4], Some(&fit(FitMethod::Letterbox { fill: [9; 3], anchor: Anchor::Corner })));
        assert!(line[4..].iter().all(|&p| p == 9) && line[..4].iter().any(|&p| p != 9));
    }
}
