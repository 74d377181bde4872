//! How pixels become a network's input, where its file does not say it or says it wrongly.

use thinfer::artifact::{Channels, InputKind, Preprocess};

use crate::error::{Error, Result};
use crate::import::Meta;

/// Settings of pixels in place of what a file says. What is not given stays as the file has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pixels {
    /// What a pixel of 255 is before mean and deviation; positive. Files that say nothing mean 1.
    pub range: Option<f32>,
    /// The order of the network's three channels. It also says that the input is an image, where nothing in the file tells.
    pub channels: Option<Channels>,
    /// Mean of each channel in the network's order, of pixels from 0 to `range`; empty for the file's.
    pub mean: Vec<f32>,
    /// Deviation of each channel, likewise.
    pub std: Vec<f32>,
}

impl Pixels {
    /// Whether any is given.
    pub fn are_given(&self) -> bool {
        self.normalise() || self.channels.is_some()
    }

    /// Whether any says how pixels are scaled or normalised.
    pub(super) fn normalise(&self) -> bool {
        self.range.is_some() || !self.mean.is_empty() || !self.std.is_empty()
    }

    /// Notes in `meta` that the network, whose input is `shape`, takes images, if the order of channels is given.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a network that takes no three channels.
    pub(super) fn mark(&self, meta: &mut Meta, shape: &[usize]) -> Result<()> {
        let Some(order) = self.channels else { return Ok(()) };
        if !matches!(shape, [3, _, _]) {
            let flag = format!("--channels {}", if order == Channels::Rgb { "rgb" } else { "bgr" });
            return Err(Error::invalid(flag, format!("says which of three channels is which; the network takes {shape:?}")));
        }
        if let Some(ends) = &mut meta.ends {
            let at = ends.of_pixels();
            ends.inputs[at].kind = InputKind::Image;
        }
        Ok(())
    }

    /// `stated` with what is given in its place, for a network whose input is `shape`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for values that no image can be normalised by.
    pub(super) fn over(&self, stated: Option<&Preprocess>, shape: &[usize]) -> Result<Preprocess> {
        let mut preprocess = stated.cloned().unwrap_or_default();
        // One without the other is a slip, unless the file states the other.
        let (mean, std) = (&self.mean, &self.std);
        for (flag, given, other, missing) in [
            ("--mean", !mean.is_empty(), "--std", std.is_empty() && preprocess.std.is_empty()),
            ("--std", !std.is_empty(), "--mean", mean.is_empty() && preprocess.mean.is_empty()),
        ] {
            if given && missing {
                return Err(Error::invalid(flag, format!("needs {other} beside it: the file states none")));
            }
        }
        if let Some(channels) = self.channels {
            preprocess.channels = channels;
        }
        if let Some(range) = self.range {
            if !(range.is_finite() && range > 0.0) {
                return Err(Error::invalid("--range", format!("is {range}; it must be positive")));
            }
            preprocess.scale = range / 255.0;
        }
        let most = preprocess.scale * 255.0;
        if let Some(beyond) = self.mean.iter().find(|mean| **mean > most) {
            let why = format!("{beyond} is beyond pixels from 0 to {most}; --range 255 takes them as they are");
            return Err(Error::invalid("--mean", why));
        }
        if !self.mean.is_empty() {
            preprocess.mean.clone_from(&self.mean);
        }
        if !self.std.is_empty() {
            preprocess.std.clone_from(&self.std);
        }
        let channels = if shape.len() == 3 { shape[0] } else { 1 };
        preprocess.check(channels).map_err(|why| Error::invalid("--mean, --std", why))?;
        Ok(preprocess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_takes_the_place_of_what_the_file_states() {
        let stated = Preprocess { mean: vec![0.5; 3], std: vec![0.2; 3], ..Preprocess::default() };
        let over = |pixels: &Pixels, stated: Option<&Preprocess>| pixels.over(stated, &[3, 8, 8]).map_err(|e| e.to_string());
        assert_eq!(over(&Pixels::default(), None), Ok(Preprocess::default()));
        assert_eq!(over(&Pixels::default(), Some(&stated)), Ok(stated.clone()));
        // The file has the other of the two.
        let mean = Pixels { mean: vec![0.1; 3], ..Pixels::default() };
        assert_eq!(over(&mean, Some(&stated)), Ok(Preprocess { mean: vec![0.1; 3], ..stated.clone() }));
        assert!(over(&mean, None).unwrap_err().contains("--mean: needs --std"));
        let pixels = Pixels { range: Some(255.0), channels: Some(Channels::Bgr), ..Pixels::default() };
        assert_eq!(over(&pixels, None), Ok(Preprocess { scale: 1.0, channels: Channels::Bgr, ..Preprocess::default() }));
        for (pixels, part) in [
            (Pixels { range: Some(0.0), ..Pixels::default() }, "--range"),
            (Pixels { mean: vec![2.0; 3], std: vec![1.0; 3], ..Pixels::default() }, "--range 255"),
            (Pixels { mean: vec![0.5; 2], std: vec![1.0; 2], ..Pixels::default() }, "--mean, --std"),
        ] {
            assert!(over(&pixels, None).unwrap_err().contains(part), "{part}");
        }
    }

    #[test]
    fn an_order_of_channels_makes_an_image_of_three_alone() {
        let bgr = Pixels { channels: Some(Channels::Bgr), ..Pixels::default() };
        let error = bgr.mark(&mut Meta::default(), &[1, 8, 8]).unwrap_err().to_string();
        assert!(error.contains("--channels bgr") && error.contains("[1, 8, 8]"), "{error}");
        assert!(bgr.mark(&mut Meta::default(), &[3, 8, 8]).is_ok() && bgr.are_given() && !bgr.normalise());
    }
}
