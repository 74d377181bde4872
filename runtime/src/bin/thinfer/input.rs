//! Inputs as files bring them: arrays (.npy) and images (.png).

use std::path::Path;

use thinfer::npy::{self, NpyData};
use thinfer::{Artifact, Error, Result, Session};

/// Samples one after the other: 8-bit images still to be normalised, or the network's own input.
pub(crate) enum Samples {
    Images(Vec<u8>),
    Values(Vec<f32>),
}

impl Samples {
    /// Reads `path`. Bytes are pixels and are normalised as the artifact says; floats are the network's input as it is.
    pub(crate) fn read(path: &Path, artifact: &Artifact) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("png") => read_png(path, artifact),
            _ => read_npy(path, artifact),
        }
    }

    /// Runs them all; the outputs one after the other.
    pub(crate) fn run(&self, session: &mut Session) -> Result<Vec<f32>> {
        match self {
            Self::Images(pixels) => session.run_images(pixels),
            Self::Values(values) => session.run(values),
        }
    }
}

/// Reads an .npy file.
pub(crate) fn read_array(path: &Path) -> Result<npy::Npy> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    npy::parse(&bytes).map_err(|why| Error::invalid(path.display().to_string(), why))
}

fn read_npy(path: &Path, artifact: &Artifact) -> Result<Samples> {
    let array = read_array(path)?;
    let (wanted, found) = (artifact.input_len(), &array.shape);
    // One sample, or samples along the first axis; how the axes of a sample are cut up does not matter.
    let fits = found.iter().product::<usize>() == wanted || found.get(1..).is_some_and(|s| s.iter().product::<usize>() == wanted);
    if !fits || found.contains(&0) {
        let why = format!("has shape {found:?}; the network takes samples of shape {:?} ({wanted} values)", artifact.shapes()[0]);
        return Err(Error::invalid(path.display().to_string(), why));
    }
    Ok(match array.data {
        NpyData::U8(pixels) => Samples::Images(pixels),
        NpyData::F32(values) => match values.iter().position(|x| !x.is_finite()) {
            Some(at) => return Err(Error::invalid(path.display().to_string(), format!("holds {} as value {at}", values[at]))),
            None => Samples::Values(values),
        },
        NpyData::I64(_) => {
            return Err(Error::invalid(path.display().to_string(), "holds integers wider than 8 bits; pixels are u8, inputs are floats"));
        }
    })
}

fn read_png(path: &Path, artifact: &Artifact) -> Result<Samples> {
    let fail = |why: String| Error::invalid(path.display().to_string(), why);
    let [channels, height, width] = match artifact.shapes()[0][..] {
        [c, h, w] => [c, h, w],
        ref flat => {
            // A flat input is a square grey image, as digits are.
            let side = flat.iter().product::<usize>().isqrt();
            [1, side, side]
        }
    };
    if channels * height * width != artifact.input_len() || ![1, 3].contains(&channels) {
        return Err(fail(format!("the network's input {:?} is no image", artifact.shapes()[0])));
    }
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    let mut decoder = png::Decoder::new(std::io::BufReader::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|e| fail(e.to_string()))?;
    let (found_width, found_height) = (reader.info().width as usize, reader.info().height as usize);
    // Checked before the pixels are decoded, so that a huge image costs nothing.
    if (found_width, found_height) != (width, height) {
        return Err(fail(format!("is {found_width} × {found_height} pixels, the network takes {width} × {height}")));
    }
    let size = reader.output_buffer_size().ok_or_else(|| fail("is too large".into()))?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(|e| fail(e.to_string()))?;
    let samples = frame.color_type.samples();
    let colours: Vec<[u8; 3]> =
        pixels[..frame.buffer_size()].chunks_exact(samples).map(|p| if samples >= 3 { [p[0], p[1], p[2]] } else { [p[0]; 3] }).collect();
    let planes = if channels == 3 {
        (0..3).flat_map(|c| colours.iter().map(move |p| p[c])).collect()
    } else {
        // ITU-R BT.601 luma, as image libraries turn colour to grey.
        colours.iter().map(|p| ((299 * u32::from(p[0]) + 587 * u32::from(p[1]) + 114 * u32::from(p[2]) + 500) / 1000) as u8).collect()
    };
    Ok(Samples::Images(planes))
}
