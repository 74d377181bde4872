//! Applying the preprocessing that a file states.

use super::{Channels, Preprocess};

impl Preprocess {
    /// Checks that this fits images of `channels` channels.
    ///
    /// # Errors
    /// One phrase that names the field: a scale or mean that is not finite, a std that is not positive and finite, or a
    /// mean or std with neither none, one, nor `channels` values.
    pub fn check(&self, channels: usize) -> Result<(), String> {
        if self.channels == Channels::Bgr && channels != 3 {
            return Err(format!("blue, green and red are no order of {channels} channels"));
        }
        if !self.scale.is_finite() {
            return Err(format!("the preprocessing scale is {}", self.scale));
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() > 1 && values.len() != channels {
                return Err(format!("the preprocessing {name} has {} values for {channels} channels", values.len()));
            }
        }
        if let Some(mean) = self.mean.iter().find(|m| !m.is_finite()) {
            return Err(format!("a preprocessing mean is {mean}"));
        }
        if let Some(std) = self.std.iter().find(|s| !s.is_finite() || **s <= 0.0) {
            return Err(format!("a preprocessing std is {std}, it must be positive"));
        }
        Ok(())
    }

    /// Turns 8-bit images of `shape` ([channels, height, width]) into inputs. `pixels` and `out` hold the same number of
    /// whole images, one after the other, each channel after channel; what one of them has more is left alone. Three channels
    /// of pixels are red, green and blue, those of the inputs what the network takes. [`Preprocess::check`] must have passed
    /// for the shape's channels.
    pub fn apply(&self, shape: [usize; 3], pixels: &[u8], out: &mut [f32]) {
        let [channels, height, width] = shape;
        let plane = height.saturating_mul(width);
        if channels == 0 || plane == 0 {
            return;
        }
        if self.channels == Channels::Bgr && channels == 3 {
            let tables: [_; 3] = std::array::from_fn(|c| self.table(c));
            for (pixels, out) in pixels.chunks_exact(3 * plane).zip(out.chunks_exact_mut(3 * plane)) {
                for ((pixels, out), table) in pixels.chunks(plane).rev().zip(out.chunks_mut(plane)).zip(&tables) {
                    out.iter_mut().zip(pixels).for_each(|(x, &pixel)| *x = table[usize::from(pixel)]);
                }
            }
            return;
        }
        // Where all channels agree, the whole buffer is one plane.
        let uniform = self.mean.len() <= 1 && self.std.len() <= 1;
        let (tables, plane) =
            if uniform { (vec![self.table(0)], pixels.len().max(1)) } else { ((0..channels).map(|c| self.table(c)).collect(), plane) };
        for ((pixels, out), table) in pixels.chunks(plane).zip(out.chunks_mut(plane)).zip(tables.iter().cycle()) {
            for (x, &pixel) in out.iter_mut().zip(pixels) {
                *x = table[usize::from(pixel)];
            }
        }
    }

    /// The input value of each of the 256 pixel values in one channel.
    fn table(&self, channel: usize) -> [f32; 256] {
        let of = |values: &[f32], none| values.get(channel).or(values.first()).copied().unwrap_or(none);
        let (mean, std) = (of(&self.mean, 0.0), of(&self.std, 1.0));
        std::array::from_fn(|pixel| (pixel as f32 * self.scale - mean) / std)
    }
}

impl std::fmt::Display for Preprocess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(", ");
        let pixel = if self.scale == 1.0 {
            "pixel".to_string()
        } else {
            format!("pixel / {:.3}", 1.0 / self.scale).trim_end_matches('0').trim_end_matches('.').to_string()
        };
        match (&self.mean[..], &self.std[..]) {
            ([], []) => write!(f, "{pixel}"),
            (mean, []) => write!(f, "{pixel} − [{}]", list(mean)),
            ([], std) => write!(f, "{pixel} / [{}]", list(std)),
            (mean, std) => write!(f, "({pixel} − [{}]) / [{}]", list(mean), list(std)),
        }?;
        if self.channels == Channels::Bgr { f.write_str(", channels BGR") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_gets_its_own_values() {
        let p = Preprocess { scale: 0.5, mean: vec![1.0, 2.0], std: vec![4.0], ..Preprocess::default() };
        assert_eq!(p.check(2), Ok(()));
        let mut out = [0.0; 8];
        p.apply([2, 1, 2], &[0, 2, 4, 8, 10, 20, 30, 255], &mut out);
        assert_eq!(out, [-0.25, 0.0, 0.0, 0.5, 1.0, 2.25, 3.25, 31.375]);
    }

    #[test]
    fn no_values_and_one_value_serve_every_channel() {
        let mut out = [9.0; 6];
        Preprocess::default().apply([3, 1, 1], &[0, 255, 51, 255, 0, 102], &mut out);
        assert!(out.iter().zip([0.0, 1.0, 0.2, 1.0, 0.0, 0.4]).all(|(a, b)| (a - b).abs() < 1e-6), "{out:?}");
        Preprocess { scale: 1.0, mean: vec![1.0], std: vec![2.0], ..Preprocess::default() }.apply([3, 1, 1], &[1, 3, 5], &mut out);
        assert_eq!(out[..3], [0.0, 1.0, 2.0]);
    }

    #[test]
    fn what_cannot_be_applied_is_refused() {
        let base = Preprocess::default();
        let bad = [
            (Preprocess { scale: f32::NAN, ..base.clone() }, "scale"),
            (Preprocess { mean: vec![0.0; 2], ..base.clone() }, "2 values for 3 channels"),
            (Preprocess { mean: vec![f32::INFINITY], ..base.clone() }, "mean"),
            (Preprocess { std: vec![1.0, 0.0, 1.0], ..base.clone() }, "positive"),
            (Preprocess { std: vec![-1.0], ..base.clone() }, "positive"),
        ];
        for (p, why) in bad {
            assert!(p.check(3).is_err_and(|e| e.contains(why)), "{p:?}");
        }
        let bgr = Preprocess { channels: Channels::Bgr, ..base };
        assert!(bgr.check(3).is_ok() && bgr.check(1).is_err_and(|e| e.contains("no order of 1 channels")));
    }

    #[test]
    fn colours_are_swapped_for_a_network_that_takes_them_the_other_way() {
        let p = Preprocess { scale: 1.0, mean: vec![100.0, 10.0, 1.0], std: vec![], channels: Channels::Bgr };
        let mut out = [0.0; 12];
        // Two images of two pixels: red, green, blue.
        p.apply([3, 1, 2], &[1, 2, 10, 20, 100, 200, 3, 4, 30, 40, 50, 60], &mut out);
        assert_eq!(out, [0.0, 100.0, 0.0, 10.0, 0.0, 1.0, -50.0, -40.0, 20.0, 30.0, 2.0, 3.0]);
        assert_eq!(p.to_string(), "pixel − [100, 10, 1], channels BGR");
    }

    #[test]
    fn it_reads_as_a_formula() {
        let p = Preprocess { scale: 1.0 / 255.0, mean: vec![0.5], std: vec![0.25, 0.5, 1.0], ..Preprocess::default() };
        assert_eq!(p.to_string(), "(pixel / 255 − [0.5]) / [0.25, 0.5, 1]");
        assert_eq!(Preprocess::default().to_string(), "pixel / 255");
    }
}
