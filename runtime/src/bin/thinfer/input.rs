//! Inputs as files bring them: arrays (.npy) and images.

use std::path::{Path, PathBuf};

use thinfer::artifact::Input;
use thinfer::tools::samples::{Elements, Samples};
use thinfer::tools::{images, npy};
use thinfer::{Artifact, Error, Result};

/// Reads `path` for an input of `artifact`: an image, brought to the network's size as the file says, or an array as the network declares
/// it. Bytes are pixels and are normalised as the artifact says, unless the network declares integers; all else is the network's input as
/// it is.
fn read(path: &Path, artifact: &Artifact, number: usize) -> Result<Samples> {
    let input = &artifact.inputs()[number];
    if !images::is_image(path) {
        let array = read_array(path)?;
        return Samples::of(array, input).map_err(|why| Error::invalid(path.display().to_string(), why));
    }
    image_samples(std::slice::from_ref(&path), input, artifact, number)
}

/// Reads images as samples of an input.
fn image_samples<P: AsRef<Path> + Sync>(paths: &[P], input: &Input, artifact: &Artifact, number: usize) -> Result<Samples> {
    let planes = images::read_all(paths, input, artifact.sections().fit(number))?;
    Ok(Samples { elements: Elements::Pixels(input.from_planes(&planes).into_owned()), count: paths.len() })
}

/// The numbers of the inputs that a run must be given: all but states.
pub(crate) fn needed(artifact: &Artifact) -> Vec<usize> {
    let states = &artifact.sections().states;
    (0..artifact.inputs().len()).filter(|&number| states.iter().all(|s| s.input as usize != number)).collect()
}

/// How each of several inputs is given.
fn list(artifact: &Artifact) -> String {
    let one = |&number: &usize| {
        let spec = &artifact.inputs()[number].spec;
        format!("--input '{}=FILE' ({spec})", spec.name)
    };
    needed(artifact).iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Reads what `--input` names: files, each behind `NAME=`, or one file alone for the one array that `artifact` needs. By the names of
/// its inputs.
pub(crate) fn read_all<'a>(arguments: &[String], artifact: &'a Artifact) -> Result<Vec<(&'a str, Samples)>> {
    let (inputs, needed) = (artifact.inputs(), needed(artifact));
    let mut given: Vec<(&str, Samples)> = Vec::new();
    for argument in arguments {
        let named = (0..).zip(inputs).find_map(|(n, i)| Some((n, argument.strip_prefix(&i.spec.name)?.strip_prefix('=')?)));
        let (number, path) = match (named, &needed[..]) {
            (Some(named), _) => named,
            (None, [only]) => (*only, argument.as_str()),
            (None, _) => {
                let why = format!("names none of the network's inputs, of which there are several: {}", list(artifact));
                return Err(Error::invalid(format!("--input {argument}"), why));
            }
        };
        let name = inputs[number].spec.name.as_str();
        if given.iter().any(|(known, _)| *known == name) {
            return Err(Error::invalid(format!("--input {argument}"), format!("gives '{name}' a second time")));
        }
        given.push((name, read(Path::new(path), artifact, number)?));
    }
    let missing = needed.iter().map(|&n| &inputs[n].spec).find(|spec| given.iter().all(|(name, _)| *name != spec.name));
    match missing {
        Some(missing) => Err(Error::invalid("--input", format!("gives nothing for {missing}: the network needs {}", list(artifact)))),
        None => Ok(given),
    }
}

/// Reads images, one a sample, for the one array that `artifact` needs.
pub(crate) fn read_images<'a>(paths: &[PathBuf], artifact: &'a Artifact) -> Result<Vec<(&'a str, Samples)>> {
    let needed = needed(artifact);
    let [number] = needed[..] else {
        return Err(Error::invalid(artifact.model().name.clone(), format!("needs {}", list(artifact))));
    };
    let input = &artifact.inputs()[number];
    if input.spec.sample_axis.is_none() && paths.len() > 1 {
        let why = format!("takes one image at a time: {} has no axis of samples", input.spec);
        return Err(Error::invalid(artifact.model().name.clone(), why));
    }
    Ok(vec![(&input.spec.name, image_samples(paths, input, artifact, number)?)])
}

/// Reads an .npy file.
pub(crate) fn read_array(path: &Path) -> Result<npy::Npy> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    npy::parse(&bytes).map_err(|why| {
        let is_named_so = path.extension().is_some_and(|e| e == "npy");
        let kinds = if is_named_so { String::new() } else { format!("; images are {}", images::ENDINGS.join(", ")) };
        Error::invalid(path.display().to_string(), format!("{why}{kinds}"))
    })
}
