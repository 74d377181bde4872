//! How images of other sizes are brought to a network's, as it is asked for.

use std::str::FromStr;

use thinfer::artifact::{Anchor, Filter, Fit, FitMethod, Input};

use crate::error::{Error, Result};

/// What is filled around a letterboxed image where nothing is said: the grey of most detectors.
const GREY: u8 = 114;

/// How images of other sizes are brought to a network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fitting {
    /// What becomes of their sides.
    pub method: FittingMethod,
    /// How pixels are resampled.
    pub filter: Filter,
}

/// What becomes of the sides, by its name on a command line: `stretch`, `crop[:SHORTER]`, `letterbox[:FILL]` or `corner[:FILL]`. FILL is a
/// level of grey, or red, green and blue with commas between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FittingMethod {
    /// Each side is scaled for itself.
    Stretch,
    /// The shorter side is scaled to so many pixels, else to the network's longer side; then the middle is cut out.
    Crop(Option<u32>),
    /// All of the image, with this colour around it.
    Letterbox([u8; 3], Anchor),
}

impl FromStr for FittingMethod {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, setting) = match text.split_once(':') {
            Some((name, setting)) => (name, Some(setting)),
            None => (text, None),
        };
        match (name, setting) {
            ("stretch", None) => Ok(Self::Stretch),
            ("stretch", Some(_)) => Err("stretch takes no setting".into()),
            ("crop", None) => Ok(Self::Crop(None)),
            ("crop", Some(n)) => {
                let pixels = n.parse().map_err(|_| format!("'{n}' is no number of pixels of the shorter side"))?;
                Ok(Self::Crop(Some(pixels)))
            }
            ("letterbox", fill) => Ok(Self::Letterbox(colour(fill)?, Anchor::Middle)),
            ("corner", fill) => Ok(Self::Letterbox(colour(fill)?, Anchor::Corner)),
            _ => Err(format!("unknown fit '{name}' (known: stretch, crop[:SHORTER], letterbox[:FILL], corner[:FILL])")),
        }
    }
}

fn colour(fill: Option<&str>) -> std::result::Result<[u8; 3], String> {
    let Some(text) = fill else { return Ok([GREY; 3]) };
    let levels: Option<Vec<u8>> = text.split(',').map(|level| level.parse().ok()).collect();
    match levels.as_deref() {
        Some(&[level]) => Ok([level; 3]),
        Some(&[red, green, blue]) => Ok([red, green, blue]),
        _ => Err(format!("'{text}' is no colour to fill with: a level from 0 to 255, or three as RED,GREEN,BLUE")),
    }
}

impl Fitting {
    /// The same for the input of this number.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an input that is no image, or a shorter side that does not hold it.
    pub(super) fn of(self, number: usize, input: &Input) -> Result<Fit> {
        let method = match self.method {
            FittingMethod::Stretch => FitMethod::Stretch,
            FittingMethod::Letterbox(fill, anchor) => FitMethod::Letterbox { fill, anchor },
            FittingMethod::Crop(shorter) => {
                let longer = input.image().map_or(0, |[_, height, width]| height.max(width)) as u32;
                FitMethod::Crop { shorter: shorter.unwrap_or(longer) }
            }
        };
        method.check(input).map_err(|why| Error::invalid("--fit", why))?;
        Ok(Fit { input: number as u32, method, filter: self.filter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_becomes_of_the_sides() {
        let boxed = |fill, anchor| Ok(FittingMethod::Letterbox(fill, anchor));
        assert_eq!("stretch".parse(), Ok(FittingMethod::Stretch));
        assert_eq!("crop".parse(), Ok(FittingMethod::Crop(None)));
        assert_eq!("crop:256".parse(), Ok(FittingMethod::Crop(Some(256))));
        assert_eq!("letterbox".parse(), boxed([114; 3], Anchor::Middle));
        assert_eq!("letterbox:0".parse(), boxed([0; 3], Anchor::Middle));
        assert_eq!("corner:1,2,3".parse(), boxed([1, 2, 3], Anchor::Corner));
        for bad in ["", "zoom", "crop:", "crop:-1", "crop:x", "stretch:1", "letterbox:256", "letterbox:1,2", "corner:"] {
            assert!(bad.parse::<FittingMethod>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_crop_without_a_number_holds_the_network() {
        let fit = |method, shape: &[u32]| Fitting { method, filter: Filter::Bicubic }.of(1, &Input::new(shape)).map_err(|e| e.to_string());
        let crop = |shorter| Fit { input: 1, method: FitMethod::Crop { shorter }, filter: Filter::Bicubic };
        assert_eq!(fit(FittingMethod::Crop(None), &[3, 4, 8]), Ok(crop(8)));
        assert_eq!(fit(FittingMethod::Crop(Some(9)), &[3, 4, 8]), Ok(crop(9)));
        assert!(fit(FittingMethod::Crop(Some(7)), &[3, 4, 8]).unwrap_err().starts_with("--fit: a shorter side of 7"));
        assert!(fit(FittingMethod::Stretch, &[5]).unwrap_err().contains("is no image"));
    }
}
