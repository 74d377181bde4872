//! What examples that find things on images share: an image through a network, boxes, and boxes drawn.

use std::path::Path;

use thinfer::artifact::write_atomic;
use thinfer::tools::images::{self, Pixels, Placement};
use thinfer::{Artifact, Device, Error, NamedArray, Options, Result, Session};

/// A box, in pixels: from (left, top) to (right, bottom).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Rect {
    /// The same box of the network's image in the image that was brought to it.
    pub(crate) fn to_image(self, placement: &Placement) -> Self {
        let ([left, top], [right, bottom]) = (placement.to_image([self.left, self.top]), placement.to_image([self.right, self.bottom]));
        Self { left, top, right, bottom }
    }
}

/// An image and what a network gives for it.
pub(crate) struct Seen {
    pub(crate) image: Pixels,
    /// Width and height of the network's image.
    pub(crate) network: [usize; 2],
    /// Where the image lies in it.
    pub(crate) placement: Placement,
    pub(crate) outputs: Vec<NamedArray>,
}

/// Runs `model` on `image`, brought to its size as the file says.
///
/// # Errors
/// As opening and running a file; a network of several inputs.
pub(crate) fn see(model: &Path, image: &Path) -> Result<Seen> {
    let artifact = Artifact::open(model)?;
    let (input, fit) = (artifact.input(), artifact.sections().fit(0));
    let fail = |path: &Path, why: String| Error::invalid(path.display().to_string(), why);
    if artifact.inputs().len() > 1 {
        return Err(fail(model, "takes more than an image".into()));
    }
    let pixels = images::open(image)?;
    let planes = pixels.to_input(input, fit).map_err(|why| fail(image, why))?;
    let network = input.image().map(|[_, height, width]| [width, height]).unwrap_or_default();
    let mut session = Session::new(&Device::cpu(), &artifact, &Options::default())?;
    let samples = input.from_planes(&planes);
    let outputs = session.run(&[(input.spec.name.as_str(), thinfer::ArrayView::from(&samples[..]))])?;
    let placement = Placement::new([pixels.width, pixels.height], network, fit);
    Ok(Seen { image: pixels, network, placement, outputs: outputs.into_iter().collect() })
}

/// Draws the outlines of `boxes` in red and writes the image as a PNG file.
///
/// # Errors
/// The system refuses the file.
pub(crate) fn save_with(boxes: &[Rect], image: &Pixels, path: &Path) -> Result<()> {
    let data = if image.channels == 3 { image.data.clone() } else { image.data.iter().flat_map(|&p| [p; 3]).collect() };
    let mut image = Pixels { channels: 3, data, ..*image };
    boxes.iter().for_each(|rect| outline(rect, &mut image));
    let file = image.to_png().map_err(|why| Error::invalid(path.display().to_string(), why))?;
    write_atomic(path, &file).map_err(Error::io(path))
}

/// Two pixels wide, as much of it as lies in the image.
fn outline(rect: &Rect, image: &mut Pixels) {
    let (width, height) = (image.width as i64, image.height as i64);
    let [left, top, right, bottom] = [rect.left, rect.top, rect.right, rect.bottom].map(|x| x.round().clamp(-1e9, 1e9) as i64);
    let mut dot = |x: i64, y: i64| {
        if (0..width).contains(&x) && (0..height).contains(&y) {
            let at = 3 * (y * width + x) as usize;
            image.data[at..at + 3].copy_from_slice(&[255, 0, 0]);
        }
    };
    for inner in 0..2 {
        // What lies outside is not walked through.
        for x in left.max(0)..=right.min(width - 1) {
            dot(x, top + inner);
            dot(x, bottom - inner);
        }
        for y in top.max(0)..=bottom.min(height - 1) {
            dot(left + inner, y);
            dot(right - inner, y);
        }
    }
}
