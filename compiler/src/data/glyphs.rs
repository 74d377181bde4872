//! The built-in data set: 28×28 digits drawn from strokes, with enough variation that a linear classifier does not
//! solve it and a small network does. It lets everything be tried and tested without a download.

use rand::{Rng, RngExt};
use rayon::prelude::*;

use super::dataset::{DIGITS, digit_names};
use super::strokes::DIGIT_STROKES;
use super::{Dataset, Part};
use crate::rng::{Purpose, keyed};

/// Height and width of the images.
const SIDE: usize = 28;

/// Training images that [`super::load`] gives.
pub const TRAIN_COUNT: usize = 12_000;
/// Test images that [`super::load`] gives.
pub const TEST_COUNT: usize = 2_000;
/// The seed that [`super::load`] uses.
pub const SEED: u64 = 0;

/// Draws `count` images of shape [1, 28, 28], bright on dark as in MNIST; image i shows the digit i mod 10. Each image
/// depends on (`seed`, `part`, its index) alone, and no two parts share random numbers.
pub fn generate(part: Part, count: usize, seed: u64) -> Dataset {
    let mut images = vec![0; count * SIDE * SIDE];
    let part_key = match part {
        Part::Train => 0,
        Part::Test => 1,
    };
    images.par_chunks_exact_mut(SIDE * SIDE).enumerate().for_each(|(i, image)| {
        let mut rng = keyed(seed, Purpose::Glyphs, &[part_key, i as u64]);
        draw(i % DIGITS, &mut rng, image);
    });
    Dataset {
        name: format!("glyphs ({part})"),
        shape: [1, SIDE, SIDE],
        images,
        labels: (0..count).map(|i| (i % DIGITS) as u16).collect(),
        classes: digit_names(),
    }
}

/// A point or a vector, x to the right and y down.
type Point = [f32; 2];

/// Draws one digit: its strokes bent, smoothed and placed at random, over a cluttered ground, under noise.
fn draw(digit: usize, rng: &mut impl Rng, image: &mut [u8]) {
    let variants = DIGIT_STROKES[digit];
    let strokes = variants[rng.random_range(0..variants.len())];
    let place = placement(rng);
    let jitter = rng.random_range(0.015..0.045);
    let mut ink = Field::new();
    for stroke in strokes {
        let points: Vec<Point> = stroke.points.iter().map(|&[x, y]| place([x + jitter * bell(rng), y + jitter * bell(rng)])).collect();
        ink.polyline(&if stroke.smooth { smooth(&points) } else { points });
    }
    let mut clutter = Field::new();
    for _ in 0..rng.random_range(0..4) {
        let from: Point = [rng.random_range(0.0..SIDE as f32), rng.random_range(0.0..SIDE as f32)];
        let to = [from[0] + 3.5 * bell(rng), from[1] + 3.5 * bell(rng)];
        clutter.polyline(&[from, to]);
    }
    let radius = rng.random_range(0.7..1.6);
    let edge = rng.random_range(0.8..1.6);
    let clutter_radius = rng.random_range(0.5..1.1);
    let bright: f32 = rng.random_range(140.0..255.0);
    let ground: f32 = rng.random_range(0.0..40.0);
    let clutter_bright: f32 = rng.random_range(0.2..0.6) * bright;
    let slope: Point = [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)];
    let noise = rng.random_range(4.0..22.0);
    for (i, pixel) in image.iter_mut().enumerate() {
        let (x, y) = ((i % SIDE) as f32 - 13.5, (i / SIDE) as f32 - 13.5);
        let ground = (ground + slope[0] * x + slope[1] * y).max(0.0);
        let behind = mix(ground, clutter_bright.max(ground), clutter.coverage(i, clutter_radius, edge));
        let value = mix(behind, bright, ink.coverage(i, radius, edge)) + noise * bell(rng);
        // `as` rounds towards zero and saturates at 0 and 255.
        *pixel = (value + 0.5) as u8;
    }
}

/// A random map from the unit square of the skeletons to pixels: rotation, shear, two scales and a shift.
fn placement<R: Rng>(rng: &mut R) -> impl Fn(Point) -> Point + use<R> {
    // The rotation by half-angle tangent: sin and cos differ in their last bit between systems, this does not.
    let half: f32 = rng.random_range(-0.13..0.13);
    let (cos, sin) = ((1.0 - half * half) / (1.0 + half * half), 2.0 * half / (1.0 + half * half));
    let shear: f32 = rng.random_range(-0.3..0.3);
    let (width, height): (f32, f32) = (rng.random_range(9.0..15.5), rng.random_range(14.5..20.5));
    let centre: Point = [14.0 + rng.random_range(-2.2..2.2), 14.0 + rng.random_range(-2.2..2.2)];
    move |[x, y]| {
        let (y, x) = ((y - 0.5) * height, (x - 0.5) * width - shear * (y - 0.5) * height);
        [centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y]
    }
}

/// A Catmull–Rom curve through `points`, as a polyline.
fn smooth(points: &[Point]) -> Vec<Point> {
    const STEPS: usize = 5;
    let at = |i: isize| points[i.clamp(0, points.len() as isize - 1) as usize];
    let mut curve = Vec::with_capacity(points.len() * STEPS);
    for i in 0..points.len().saturating_sub(1) as isize {
        let [a, b, c, d] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
        curve.extend((0..STEPS).map(|s| {
            let t = s as f32 / STEPS as f32;
            [0, 1].map(|k| {
                let (p, q, r, s) = (a[k], b[k], c[k], d[k]);
                q + 0.5 * t * ((r - p) + t * ((2.0 * p - 5.0 * q + 4.0 * r - s) + t * (3.0 * (q - r) + s - p)))
            })
        }));
    }
    curve.extend(points.last());
    curve
}

/// Squared distance of each pixel's centre to the nearest line drawn so far, exact up to `REACH` pixels.
struct Field([f32; SIDE * SIDE]);

impl Field {
    /// No stroke is thicker than this, its soft edge included.
    const REACH: f32 = 3.0;

    fn new() -> Self {
        Self([Self::REACH * Self::REACH; SIDE * SIDE])
    }

    fn polyline(&mut self, points: &[Point]) {
        for pair in points.windows(2) {
            self.segment(pair[0], pair[1]);
        }
    }

    fn segment(&mut self, a: Point, b: Point) {
        let span = |k: usize| {
            let (low, high) = (a[k].min(b[k]) - Self::REACH, a[k].max(b[k]) + Self::REACH);
            low.clamp(0.0, SIDE as f32) as usize..high.ceil().clamp(0.0, SIDE as f32) as usize
        };
        let along = [b[0] - a[0], b[1] - a[1]];
        let length2 = (along[0] * along[0] + along[1] * along[1]).max(1e-12);
        let columns = span(0);
        for y in span(1) {
            for x in columns.clone() {
                let to = [x as f32 + 0.5 - a[0], y as f32 + 0.5 - a[1]];
                let t = ((to[0] * along[0] + to[1] * along[1]) / length2).clamp(0.0, 1.0);
                let off = [to[0] - t * along[0], to[1] - t * along[1]];
                let nearest = &mut self.0[y * SIDE + x];
                *nearest = nearest.min(off[0] * off[0] + off[1] * off[1]);
            }
        }
    }

    /// How much of pixel `i` a stroke of this radius covers, its edge `edge` pixels wide.
    fn coverage(&self, i: usize, radius: f32, edge: f32) -> f32 {
        ((radius - self.0[i].sqrt()) / edge + 0.5).clamp(0.0, 1.0)
    }
}

fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// A bell-shaped number of mean 0 and variance 1 within ±3.5 (the sum of four uniform ones).
fn bell(rng: &mut impl Rng) -> f32 {
    let bits: u64 = rng.random();
    let sum: u64 = (0..4).map(|k| (bits >> (16 * k)) & 0xffff).sum();
    (sum as f32 / 65_535.0 - 2.0) * 1.732
}

#[cfg(test)]
mod tests {
    use super::super::strokes::Stroke;
    use super::*;
    use crate::rng::permutation;

    #[test]
    fn an_image_depends_on_seed_part_and_index_alone() {
        let (ten, twenty) = (generate(Part::Train, 10, 3), generate(Part::Train, 20, 3));
        assert_eq!(ten.images, twenty.images[..ten.images.len()]);
        assert_ne!(ten.images, generate(Part::Test, 10, 3).images);
        assert_ne!(ten.images, generate(Part::Train, 10, 4).images);
        assert_eq!(twenty.labels[8..12], [8, 9, 0, 1]);
        assert!(generate(Part::Test, 0, 0).is_empty());
    }

    #[test]
    fn strokes_lie_within_the_picture_and_stand_out() {
        let set = generate(Part::Train, 500, 1);
        for i in 0..set.len() {
            let image = set.image(i);
            let lit = image.iter().filter(|&&p| p > 110).count();
            assert!((12..500).contains(&lit), "image {i}: {lit} bright pixels");
        }
    }

    /// Softmax regression by plain SGD; its test accuracy in percent.
    fn linear_accuracy(train: &Dataset, test: &Dataset, epochs: usize) -> f64 {
        let n = train.image_len();
        let mut w = vec![[0.0_f32; DIGITS]; n + 1];
        let logits = |w: &[[f32; DIGITS]], image: &[u8]| {
            let mut z = w[n];
            for (row, &p) in w.iter().zip(image) {
                (0..DIGITS).for_each(|c| z[c] += row[c] * f32::from(p) / 255.0);
            }
            z
        };
        for epoch in 0..epochs {
            let rate = 0.02 * (1.0 - epoch as f32 / epochs as f32);
            for i in permutation(&mut keyed(0, Purpose::Order, &[epoch as u64]), train.len()) {
                let z = logits(&w, train.image(i));
                let top = z.iter().copied().fold(f32::MIN, f32::max);
                let mut slope = z.map(|x| (x - top).exp());
                let sum: f32 = slope.iter().sum();
                slope.iter_mut().for_each(|s| *s *= rate / sum);
                slope[usize::from(train.labels[i])] -= rate;
                for (row, p) in w.iter_mut().zip(train.image(i).iter().copied().chain([255])) {
                    (0..DIGITS).for_each(|c| row[c] -= slope[c] * f32::from(p) / 255.0);
                }
            }
        }
        let best = |z: [f32; DIGITS]| (0..DIGITS).max_by(|&a, &b| z[a].total_cmp(&z[b])).unwrap();
        let right = (0..test.len()).filter(|&i| best(logits(&w, test.image(i))) == usize::from(test.labels[i])).count();
        100.0 * right as f64 / test.len() as f64
    }

    #[test]
    fn a_linear_classifier_learns_something_but_not_all() {
        let accuracy = linear_accuracy(&generate(Part::Train, 6000, 0), &generate(Part::Test, 2000, 0), 8);
        eprintln!("linear classifier: {accuracy:.2} % of the glyphs");
        assert!((60.0..95.0).contains(&accuracy), "{accuracy}");
    }

    #[test]
    fn every_skeleton_is_drawable() {
        for strokes in DIGIT_STROKES.iter().flat_map(|variants| variants.iter()) {
            assert!(!strokes.is_empty());
            for Stroke { points, .. } in *strokes {
                assert!(points.len() > 1 && points.iter().flatten().all(|c| (-0.05..=1.05).contains(c)), "{points:?}");
            }
        }
    }
}
