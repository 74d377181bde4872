//! Which images are trained on, in which order, and as which numbers.

use thinfer::artifact::Preprocess;

use crate::data::{Augment, Dataset};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::rng::{Purpose, keyed, permutation};

/// Parts the first `count` images into those to train on and those held out: `share` of them, rounded, chosen by `seed`.
/// Both lists rise. The same arguments give the same split, so what comes after training can find it again.
pub fn split(count: usize, share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let held_out = ((count as f64 * share).round() as usize).min(count);
    let mut order = permutation(&mut keyed(seed, Purpose::Split, &[]), count);
    let mut train = order.split_off(held_out);
    train.sort_unstable();
    order.sort_unstable();
    (train, order)
}

/// The order of `images` in epoch `epoch` (from 0).
pub(super) fn epoch_order(images: &[usize], seed: u64, epoch: usize) -> Vec<usize> {
    let order = permutation(&mut keyed(seed, Purpose::Order, &[epoch as u64]), images.len());
    order.into_iter().map(|i| images[i]).collect()
}

/// Steps of an epoch over `images` images. A last batch of a single image is left out: it has no variance.
pub(super) fn steps_per_epoch(images: usize, batch: usize) -> usize {
    images / batch + usize::from(images % batch > 1)
}

/// How the images of one epoch are augmented; each by (seed, epoch, image) alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Augmented {
    pub(super) how: Augment,
    pub(super) seed: u64,
    pub(super) epoch: usize,
}

/// Turns pixels into a network's input, augmented or not.
#[derive(Clone, Debug)]
pub(super) struct Normaliser {
    preprocess: Preprocess,
}

impl Normaliser {
    /// For images of `shape` (channels, height, width).
    ///
    /// # Errors
    /// [`Error::Invalid`] for preprocessing that such images cannot be given.
    pub(super) fn new(preprocess: &Preprocess, shape: [usize; 3]) -> Result<Self> {
        preprocess.check(shape[0]).map_err(|why| Error::invalid("preprocessing", why))?;
        Ok(Self { preprocess: preprocess.clone() })
    }

    /// The inputs of `images`, image after image, each channel by channel; augmented if that is given.
    pub(super) fn inputs(&self, data: &Dataset, images: &[usize], augment: Option<Augmented>) -> Vec<f32> {
        let mut pixels = Vec::with_capacity(images.len() * data.image_len());
        for &i in images {
            let moved = augment.map(|a| a.how.apply(data.image(i), data.shape, a.seed, &[a.epoch as u64, i as u64]));
            pixels.extend_from_slice(moved.as_deref().unwrap_or(data.image(i)));
        }
        let mut inputs = vec![0.0; pixels.len()];
        self.preprocess.apply(data.shape, &pixels, &mut inputs);
        inputs
    }
}

/// Checks that `data` can be fed to `graph`: its images flatten to the input, its classes are the outputs, and it is whole.
///
/// # Errors
/// [`Error::Data`] that says what was expected and what was found.
pub(super) fn check_fit(graph: &Graph, data: &Dataset) -> Result<()> {
    let fail = |why: String| Err(Error::data(&data.name, why));
    let fits = match graph.input()[..] {
        [features] => features == data.image_len(),
        _ => graph.input() == data.shape,
    };
    if !fits {
        return fail(format!("images of {:?} do not fit {}, which takes {:?}", data.shape, graph.name, graph.input()));
    }
    let outputs = graph.output_shape()?;
    if outputs != [data.classes.len()] {
        return fail(format!("has {} classes, {} gives {outputs:?}", data.classes.len(), graph.name));
    }
    if data.images.len() != data.len() * data.image_len() {
        return fail(format!("has {} labels but {} bytes of images", data.len(), data.images.len()));
    }
    match data.labels.iter().position(|&l| usize::from(l) >= data.classes.len()) {
        Some(at) => fail(format!("image {at} has label {}, there are {} classes", data.labels[at], data.classes.len())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    #[test]
    fn a_split_parts_the_images_and_depends_on_the_seed_alone() {
        let (train, held_out) = split(60_000, 1.0 / 12.0, 1);
        assert_eq!((train.len(), held_out.len()), (55_000, 5000));
        let mut all = [train.clone(), held_out.clone()].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..60_000));
        assert_eq!(split(60_000, 1.0 / 12.0, 1), (train, held_out.clone()));
        assert_ne!(split(60_000, 1.0 / 12.0, 2).1, held_out);
        assert_eq!(split(3, 0.0, 0), (vec![0, 1, 2], vec![]));
    }

    #[test]
    fn a_lone_last_image_makes_no_step() {
        let steps: Vec<_> = [(8, 4), (9, 4), (10, 4), (1, 4), (3, 4)].map(|(n, b)| steps_per_epoch(n, b)).into();
        assert_eq!(steps, [2, 2, 3, 0, 1]);
    }

    #[test]
    fn pixels_are_normalised_channel_by_channel() {
        let data =
            Dataset { name: "t".into(), shape: [2, 1, 2], images: vec![0, 255, 51, 102], labels: vec![0], classes: vec!["a".into()] };
        let preprocess = Preprocess { scale: 1.0 / 255.0, mean: vec![0.5, 0.2], std: vec![0.5, 0.1], ..Preprocess::default() };
        let x = Normaliser::new(&preprocess, data.shape).unwrap().inputs(&data, &[0], None);
        for (a, b) in x.iter().zip([-1.0, 1.0, 0.0, 2.0]) {
            assert!((a - b).abs() < 1e-6, "{x:?}");
        }
        let bad = Preprocess { mean: vec![0.0; 3], ..preprocess };
        assert!(Normaliser::new(&bad, data.shape).is_err());
    }

    #[test]
    fn misfits_say_what_was_expected_and_found() {
        let classes = (0..10).map(|c| c.to_string()).collect();
        let data = Dataset { name: "set".into(), shape: [3, 32, 32], images: vec![0; 3072], labels: vec![0], classes };
        let error = check_fit(&zoo::build("fcn6").unwrap(), &data).unwrap_err().to_string();
        assert!(error.contains("[3, 32, 32]") && error.contains("[784]"), "{error}");
        let labels = Dataset { shape: [1, 28, 28], images: vec![0; 784], labels: vec![10], ..data };
        let error = check_fit(&zoo::build("fcn6").unwrap(), &labels).unwrap_err().to_string();
        assert!(error.contains("label 10"), "{error}");
    }
}
