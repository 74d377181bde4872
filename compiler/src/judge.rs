//! What a cut costs before any test image is looked at: how often it disagrees with the dense network on training images
//! that were shifted and mirrored, so that they are not quite the ones it was trained on.

use rand::RngExt;
use thinfer::{Artifact, Device, Options, Session};

use crate::data::Dataset;
use crate::error::Result;
use crate::eval::{batch, check_takes, evaluate, outputs};
use crate::rng::{Purpose, keyed};

/// Images that go through the device at once.
const BATCH: usize = 64;
/// Pixels that an image is shifted by at most, each way.
const SHIFT: i64 = 2;

/// Labelled images on which networks are compared with a dense one.
#[derive(Debug)]
pub struct Judge {
    images: Dataset,
    /// Points of accuracy of the dense network.
    dense: f64,
    device: Device,
}

impl Judge {
    /// Judges by disagreement with `dense` on shifted (and, where there are colours, mirrored) copies of `images`: the
    /// answers of the dense network take the labels' place, so its own accuracy is 100 %. An imported network has seen
    /// these images, so the drop on unseen ones may be larger.
    ///
    /// # Errors
    /// [`crate::Error::Runtime`] when the images do not fit.
    pub fn by_disagreement(dense: &Artifact, images: &Dataset, seed: u64) -> Result<Self> {
        check_takes(dense.input(), images)?;
        let mut images = augmented(images, seed);
        let device = Device::cpu();
        let mut session = Session::new(&device, dense, &Options { batch: batch(dense, BATCH), ..Options::default() })?;
        let outputs = outputs(&mut session, &images.images)?;
        let answers = outputs.chunks_exact(session.output_len()).map(|o| thinfer::top1(o).unwrap_or(0) as u16);
        images.labels = answers.collect();
        Ok(Self { images, dense: 100.0, device })
    }

    /// Judges by accuracy on `held_out`, which no training has seen.
    ///
    /// # Errors
    /// [`crate::Error::Runtime`] when the images do not fit.
    pub fn by_accuracy(dense: &Artifact, held_out: Dataset) -> Result<Self> {
        let device = Device::cpu();
        let mut session = Session::new(&device, dense, &Options { batch: batch(dense, BATCH), ..Options::default() })?;
        let dense = evaluate(&mut session, &held_out, |_| ())?.percent();
        Ok(Self { images: held_out, dense, device })
    }

    /// Percentage points that `artifact` is worse than the dense network.
    ///
    /// # Errors
    /// [`crate::Error::Runtime`] when the device fails.
    pub fn drop(&self, artifact: &Artifact) -> Result<f64> {
        // What is judged is the function; which form is fastest plays no part.
        let options = Options { batch: batch(artifact, BATCH), forms: thinfer::Forms::Ruled, ..Options::default() };
        Ok(self.dense - evaluate(&mut Session::new(&self.device, artifact, &options)?, &self.images, |_| ())?.percent())
    }
}

/// Copies shifted by up to [`SHIFT`] pixels, the border repeated; half of the coloured ones mirrored.
fn augmented(data: &Dataset, seed: u64) -> Dataset {
    let [channels, height, width] = data.shape;
    let mut images = Vec::with_capacity(data.images.len());
    for i in 0..data.len() {
        let mut rng = keyed(seed, Purpose::Augment, &[i as u64]);
        let (dy, dx) = (rng.random_range(-SHIFT..=SHIFT), rng.random_range(-SHIFT..=SHIFT));
        let mirror = channels == 3 && rng.random::<bool>();
        let image = data.image(i);
        for c in 0..channels {
            for y in 0..height {
                let from_y = (y as i64 + dy).clamp(0, height as i64 - 1) as usize;
                for x in 0..width {
                    let x = if mirror { width - 1 - x } else { x };
                    let from_x = (x as i64 + dx).clamp(0, width as i64 - 1) as usize;
                    images.push(image[(c * height + from_y) * width + from_x]);
                }
            }
        }
    }
    Dataset { images, ..data.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Part, glyphs};
    use crate::import::Checkpoint;
    use crate::lower::{self, Factored};
    use crate::rank::Policy;
    use crate::{graph, zoo};
    use thinfer::artifact::Dtype;

    #[test]
    fn the_dense_network_never_disagrees_with_itself_and_a_cut_one_does() {
        let graph = zoo::build("mlp:784-32-10").unwrap();
        let checkpoint = Checkpoint { params: graph::init(&graph, 0), ..Checkpoint::default() };
        let factored = Factored::new(&graph, &checkpoint, lower::Options::default(), &|_, _, _| ()).unwrap();
        let emit = |p: Policy| factored.emit(p, &factored.cuts(p).unwrap(), Dtype::F32, true).unwrap();
        let images = glyphs::generate(Part::Train, 300, 1);
        let judge = Judge::by_disagreement(&emit(Policy::Dense), &images, 0).unwrap();
        assert_eq!(judge.drop(&emit(Policy::Dense)).unwrap(), 0.0);
        assert!(judge.drop(&emit(Policy::Local(0.05))).unwrap() > 1.0);
    }

    #[test]
    fn shifts_keep_size_and_depend_on_the_seed() {
        let images = glyphs::generate(Part::Train, 20, 1);
        let (a, b) = (augmented(&images, 1), augmented(&images, 2));
        assert_eq!(a.images.len(), images.images.len());
        assert!(a.images != b.images && a.images == augmented(&images, 1).images);
    }
}
