//! What follows from how images of other sizes are brought to a network's: its checks, and its spelling.

use std::fmt;

use super::v2::{Anchor, Filter, Fit, FitMethod, Input};
use super::{Limits, Model};

impl Fit {
    /// Checks it against the network's inputs.
    ///
    /// # Errors
    /// One phrase that says what does not fit.
    pub fn check(&self, model: &Model) -> Result<(), String> {
        let Some(input) = model.inputs.get(self.input as usize) else {
            return Err(format!("there are {} inputs", model.inputs.len()));
        };
        self.method.check(input)
    }
}

impl FitMethod {
    /// Checks it against the input that images are brought to.
    ///
    /// # Errors
    /// One phrase that says what does not fit.
    pub fn check(self, input: &Input) -> Result<(), String> {
        let Some([_, height, width]) = input.image() else {
            return Err(format!("{} is no image", input.spec));
        };
        match self {
            Self::Crop { shorter } if (shorter as usize) < height.max(width) => {
                Err(format!("a shorter side of {shorter} pixels does not hold {width} × {height}"))
            }
            Self::Crop { shorter } if shorter > Limits::SIDE => {
                Err(format!("a shorter side of {shorter} pixels is above {}", Limits::SIDE))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Fit {
    /// `shorter side to 256, centre crop, bilinear`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            FitMethod::Stretch => f.write_str("stretched"),
            FitMethod::Crop { shorter } => write!(f, "shorter side to {shorter}, centre crop"),
            FitMethod::Letterbox { fill: [r, g, b], anchor } => {
                f.write_str("letterboxed")?;
                if anchor == Anchor::Corner {
                    f.write_str(" into the upper left corner")?;
                }
                if (r, r) == (g, b) { write!(f, ", filled with {r}") } else { write!(f, ", filled with {r}, {g}, {b}") }
            }
        }?;
        f.write_str(match self.filter {
            Filter::Bilinear => ", bilinear",
            Filter::Bicubic => ", bicubic",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_spelled_for_people() {
        let fit = |method, filter| Fit { input: 0, method, filter }.to_string();
        assert_eq!(fit(FitMethod::Stretch, Filter::Bicubic), "stretched, bicubic");
        assert_eq!(fit(FitMethod::Crop { shorter: 256 }, Filter::Bilinear), "shorter side to 256, centre crop, bilinear");
        let boxed = |fill, anchor| fit(FitMethod::Letterbox { fill, anchor }, Filter::Bilinear);
        assert_eq!(boxed([114; 3], Anchor::Middle), "letterboxed, filled with 114, bilinear");
        assert_eq!(boxed([1, 2, 3], Anchor::Corner), "letterboxed into the upper left corner, filled with 1, 2, 3, bilinear");
    }

    #[test]
    fn a_crop_holds_the_input() {
        let crop = |shorter, shape: &[u32]| FitMethod::Crop { shorter }.check(&Input::new(shape));
        assert_eq!(crop(8, &[3, 4, 8]), Ok(()));
        assert!(crop(7, &[3, 4, 8]).is_err_and(|e| e.contains("does not hold 8 × 4")));
        assert!(crop(u32::MAX, &[3, 4, 8]).is_err_and(|e| e.contains("is above")));
        // Digits may be flat.
        assert_eq!(crop(28, &[784]), Ok(()));
        assert!(crop(28, &[785]).is_err_and(|e| e.contains("is no image")));
    }
}
