//! An image of any size as a network's input.

use super::pixels::Pixels;
use super::resample::{Window, resample};
use crate::artifact::{Anchor, Fit, FitMethod};

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

/// Where an image lies in a network's: the pixel (x, y) of the image is (x · scale + offset) of the network's, for each axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Of x and y.
    pub scale: [f64; 2],
    /// Of x and y, in pixels of the network's image.
    pub offset: [f64; 2],
}

impl Placement {
    /// Of an image of `size` in one of `network` (both [width, height]), brought there as `fit` says.
    pub fn new(size: [usize; 2], network: [usize; 2], fit: Option<&Fit>) -> Self {
        let Some(fit) = fit.filter(|_| size != network) else { return Self { scale: [1.0; 2], offset: [0.0; 2] } };
        let (scaled, at) = scaled(size, network, fit.method);
        Self { scale: [0, 1].map(|i| scaled[i] as f64 / size[i] as f64), offset: at.map(|at| at as f64) }
    }

    /// The point of the image that the point (x, y) of the network's is.
    pub fn to_image(&self, point: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|i| (point[i] - self.offset[i]) / self.scale[i])
    }
}

/// Width and height of an image of `size` once it is scaled, and where its upper left corner then lies in the network's image.
fn scaled([w, h]: [usize; 2], [width, height]: [usize; 2], method: FitMethod) -> ([usize; 2], [isize; 2]) {
    match method {
        FitMethod::Stretch => ([width, height], [0, 0]),
        FitMethod::Crop { shorter } => {
            let shorter = shorter as usize;
            let [w, h] = if w <= h { [shorter, shorter * h / w] } else { [shorter * w / h, shorter] };
            ([w, h], [middle(w, width), middle(h, height)].map(|cut| -(cut as isize)))
        }
        FitMethod::Letterbox { anchor, .. } => {
            // A · b / c, rounded to nearest.
            let scaled = |a: usize, b: usize, c: usize| ((2 * a * b + c) / (2 * c)).max(1);
            let [w, h] =
                if width * h <= height * w { [width, scaled(h, width, w).min(height)] } else { [scaled(w, height, h).min(width), height] };
            let at = if anchor == Anchor::Middle { [(width - w) / 2, (height - h) / 2] } else { [0, 0] };
            ([w, h], at.map(|at| at as isize))
        }
    }
}

fn fitted(pixels: &Pixels, fit: &Fit, width: usize, height: usize) -> Pixels {
    let (size, [x, y]) = scaled([pixels.width, pixels.height], [width, height], fit.method);
    match fit.method {
        FitMethod::Letterbox { fill, .. } => {
            let inner = resample(pixels, size, Window { left: 0, top: 0, width: size[0], height: size[1] }, fit.filter);
            boxed(&inner, fill, [x, y].map(isize::unsigned_abs), [width, height])
        }
        FitMethod::Stretch | FitMethod::Crop { .. } => {
            resample(pixels, size, Window { left: x.unsigned_abs(), top: y.unsigned_abs(), width, height }, fit.filter)
        }
    }
}

/// Where the middle `inner` of `outer` begin: half of what is left, of two integers as near the even one.
fn middle(outer: usize, inner: usize) -> usize {
    let rest = outer.saturating_sub(inner);
    rest / 2 + usize::from(rest % 4 == 3)
}

/// `inner` at (left, top) of an image of this size that is filled with a colour.
fn boxed(inner: &Pixels, fill: [u8; 3], [left, top]: [usize; 2], [width, height]: [usize; 2]) -> Pixels {
    let channels = inner.channels;
    let colour = if channels == 1 { vec![luma(&fill)] } else { fill.to_vec() };
    let mut data = colour.repeat(width * height);
    for (y, row) in inner.data.chunks_exact(inner.width * channels).enumerate() {
        let at = ((top + y) * width + left) * channels;
        data[at..at + row.len()].copy_from_slice(row);
    }
    Pixels { width, height, channels, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Filter;

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
        let crop = |w, h| scaled([w, h], [224, 224], FitMethod::Crop { shorter: 256 });
        assert_eq!((crop(300, 200), crop(200, 333)), (([384, 256], [-80, -16]), ([256, 426], [-16, -101])));
        // Without a change of scale the pixels are those of the middle.
        let image = ramp(9, 6);
        let cut = planes(&image, [1, 6, 6], Some(&fit(FitMethod::Crop { shorter: 6 })));
        assert!((0..6).all(|y| cut[6 * y..6 * y + 6] == image.data[9 * y + 2..9 * y + 8]));
    }

    #[test]
    fn points_of_the_network_are_found_in_the_image() {
        let letterbox = fit(FitMethod::Letterbox { fill: [0; 3], anchor: Anchor::Middle });
        let placed = Placement::new([200, 100], [50, 50], Some(&letterbox));
        assert_eq!((placed.to_image([0.0, 12.0]), placed.to_image([50.0, 37.0])), ([0.0, 0.0], [200.0, 100.0]));
        let placed = Placement::new([300, 200], [224, 224], Some(&fit(FitMethod::Crop { shorter: 400 })));
        assert_eq!(placed.to_image([112.0, 112.0]), [150.0, 100.0]);
        assert_eq!(Placement::new([7, 5], [7, 5], None).to_image([3.0, 4.0]), [3.0, 4.0]);
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
