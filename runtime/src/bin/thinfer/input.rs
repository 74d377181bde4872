//! Inputs as files bring them: arrays (.npy) and images (.png).

use std::path::Path;

use thinfer::artifact::Input;
use thinfer::tools::npy::{self, NpyData};
use thinfer::{ArrayView, Artifact, Error, Result};

/// An array as the network declares it: 8-bit images still to be normalised, or the network's own input.
pub(crate) enum Samples {
    Images(Vec<u8>),
    Values(Vec<f32>),
}

impl Samples {
    /// Reads `path` for `input`. Bytes are pixels and are normalised as the artifact says, unless the network declares integers; all
    /// else is the network's input as it is.
    pub(crate) fn read(path: &Path, input: &Input) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("png") => read_png(path, input),
            _ => read_npy(path, input),
        }
    }

    /// As a session takes them.
    pub(crate) fn view(&self) -> ArrayView<'_> {
        match self {
            Self::Images(pixels) => pixels.into(),
            Self::Values(values) => values.into(),
        }
    }
}

/// Reads what `--input` names: files, each behind `NAME=`, or one file alone for the one array that `artifact` needs. By the names of
/// its inputs.
pub(crate) fn read_all<'a>(arguments: &[String], artifact: &'a Artifact) -> Result<Vec<(&'a str, Samples)>> {
    let inputs = artifact.inputs();
    let states = &artifact.sections().states;
    let needed: Vec<&Input> =
        (0..).zip(inputs).filter(|(number, _)| states.iter().all(|s| s.input != *number)).map(|(_, input)| input).collect();
    let list = || needed.iter().map(|i| format!("--input '{}=FILE' ({})", i.spec.name, i.spec)).collect::<Vec<_>>().join(", ");
    let mut read: Vec<(&str, Samples)> = Vec::new();
    for argument in arguments {
        let named = inputs.iter().find_map(|i| Some((i, argument.strip_prefix(&i.spec.name)?.strip_prefix('=')?)));
        let (input, path) = match (named, &needed[..]) {
            (Some(named), _) => named,
            (None, [only]) => (*only, argument.as_str()),
            (None, _) => {
                let why = format!("names none of the network's inputs, of which there are several: {}", list());
                return Err(Error::invalid(format!("--input {argument}"), why));
            }
        };
        if read.iter().any(|(name, _)| *name == input.spec.name) {
            return Err(Error::invalid(format!("--input {argument}"), format!("gives '{}' a second time", input.spec.name)));
        }
        read.push((&input.spec.name, Samples::read(Path::new(path), input)?));
    }
    match needed.iter().find(|input| read.iter().all(|(name, _)| *name != input.spec.name)) {
        Some(missing) => Err(Error::invalid("--input", format!("gives nothing for {}: the network needs {}", missing.spec, list()))),
        None => Ok(read),
    }
}

/// Reads an .npy file.
pub(crate) fn read_array(path: &Path) -> Result<npy::Npy> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    npy::parse(&bytes).map_err(|why| Error::invalid(path.display().to_string(), why))
}

fn read_npy(path: &Path, input: &Input) -> Result<Samples> {
    let array = read_array(path)?;
    let (spec, found) = (&input.spec, &array.shape);
    let fail = |why: String| Err(Error::invalid(path.display().to_string(), why));
    // Elements in another order would be other values: only the declared shape says which is which.
    if spec.samples(found).is_none_or(|count| count == 0) {
        return fail(format!("has shape {found:?}; the network takes {spec}, or one sample {:?}", spec.sample_shape()));
    }
    match (array.data, spec.element.range()) {
        (NpyData::U8(pixels), None) => Ok(Samples::Images(pixels)),
        (NpyData::F32(values), None) => match values.iter().position(|x| !x.is_finite()) {
            Some(at) => fail(format!("holds {} as value {at}", values[at])),
            None => Ok(Samples::Values(values)),
        },
        (NpyData::I64(_), None) => {
            fail(format!("holds integers wider than 8 bits; pixels are u8, and the network's input is {}", spec.element.name()))
        }
        // A network that declares integers scales them itself.
        (data, Some(range)) => match integers(&data, range) {
            Ok(values) => Ok(Samples::Values(values)),
            Err((at, value)) => fail(format!("holds {value} as value {at}; the network's input is {}", spec.element.name())),
        },
    }
}

/// `data` as whole numbers of a range; else the place of the first that is none, and what it is.
fn integers(data: &NpyData, (least, most): (i128, i128)) -> std::result::Result<Vec<f32>, (usize, String)> {
    let whole = |x: f32| (x.fract() == 0.0).then_some(x as i128);
    let checked = |at: usize, whole: Option<i128>, value: f32, text: &dyn Fn() -> String| match whole {
        Some(n) if (least..=most).contains(&n) => Ok(value),
        _ => Err((at, text())),
    };
    match data {
        NpyData::U8(v) => v.iter().enumerate().map(|(i, &x)| checked(i, Some(x.into()), x.into(), &|| x.to_string())).collect(),
        NpyData::I64(v) => v.iter().enumerate().map(|(i, &x)| checked(i, Some(x.into()), x as f32, &|| x.to_string())).collect(),
        NpyData::F32(v) => v.iter().enumerate().map(|(i, &x)| checked(i, whole(x), x, &|| x.to_string())).collect(),
    }
}

fn read_png(path: &Path, input: &Input) -> Result<Samples> {
    let fail = |why: String| Error::invalid(path.display().to_string(), why);
    let Some([channels, height, width]) = input.image() else {
        return Err(fail(format!("is an image; the network's input {} is none", input.spec)));
    };
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
    let planes: Vec<u8> = if channels == 3 {
        (0..3).flat_map(|c| colours.iter().map(move |p| p[c])).collect()
    } else {
        // ITU-R BT.601 luma, as image libraries turn colour to grey.
        colours.iter().map(|p| ((299 * u32::from(p[0]) + 587 * u32::from(p[1]) + 114 * u32::from(p[2]) + 500) / 1000) as u8).collect()
    };
    Ok(Samples::Images(input.from_planes(&planes).into_owned()))
}
