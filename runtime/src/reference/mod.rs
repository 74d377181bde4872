//! Every operation in f64 by its definition, in plain loops, and the values of a network by them: the one reference that the tests
//! of both crates hold executors, trainer and folding against. Each number says how far an f32 executor may be from it.
//!
//! It stands behind the cargo feature `reference`, which only tests switch on: it is slow, and trusts what it is given.

mod channels;
mod expression;
mod functions;
mod kernel;
mod primitives;
mod recurrent;
mod tokens;
mod walk;
mod windows;

pub use channels::{add_bias, add_residual, affine, batch_norm, batch_statistics, concat, multiply, rearrange, softmax};
pub use functions::activate;
pub use kernel::Kernel;
pub use primitives::primitive;
pub use tokens::{attention, embed, layer_norm};
pub use walk::{run, values};
pub use windows::{conv, global_average, linear, pool};

/// Share of Σ|x||w| that summing in f32 may lose in one layer. A rounding is 6e-8 of its partial sum; over a thousand
/// terms the roundings of one sum stay below this by a wide margin, while a lost, doubled or misplaced term of a sum of
/// a thousand drawn ones is far above it.
const TOLERANCE: f64 = 1e-6;

/// A number, and how far from it is still right.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// The number.
    pub value: f64,
    /// How far from it an f32 executor may be.
    pub tolerance: f64,
}

/// A value of every sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Sample after sample, each row-major.
    pub elements: Vec<Expected>,
}

impl Value {
    /// Samples of `shape` that are known exactly.
    pub fn exact(shape: &[usize], numbers: impl IntoIterator<Item = f64>) -> Self {
        let elements = numbers.into_iter().map(|value| Expected { value, tolerance: 0.0 }).collect();
        Self { shape: shape.to_vec(), elements }
    }

    /// The numbers alone.
    pub fn numbers(&self) -> Vec<f64> {
        self.elements.iter().map(|e| e.value).collect()
    }

    /// Elements of one sample.
    #[expect(clippy::len_without_is_empty, reason = "no sample is empty")]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The elements of one sample after the other.
    pub fn samples(&self) -> impl Iterator<Item = &[Expected]> {
        self.elements.chunks_exact(self.len())
    }

    /// Channels, height and width; whatever is no image has one pixel.
    pub fn image(&self) -> [usize; 3] {
        if let [channels, height, width] = self.shape[..] { [channels, height, width] } else { [self.len(), 1, 1] }
    }

    /// The first value that is too far off among `got`, as a message.
    ///
    /// # Errors
    /// That message.
    pub fn compare(&self, got: &[f32]) -> Result<(), String> {
        compare(&self.elements, got, self.len())
    }
}

/// The first of `got`, rows of `outputs`, that is too far off, as a message.
///
/// # Errors
/// That message.
pub fn compare(expected: &[Expected], got: &[f32], outputs: usize) -> Result<(), String> {
    assert_eq!(expected.len(), got.len());
    for (i, (e, &g)) in expected.iter().zip(got).enumerate() {
        let (off, g) = ((f64::from(g) - e.value).abs(), f64::from(g));
        // What is not finite must be the same.
        let alike = g == e.value || g.is_nan() && e.value.is_nan();
        if !alike && (off.is_nan() || off > e.tolerance + f64::from(f32::MIN_POSITIVE)) {
            return Err(format!("row {}, output {}: {g}, expected {} ± {:.1e}", i / outputs, i % outputs, e.value, e.tolerance));
        }
    }
    Ok(())
}
