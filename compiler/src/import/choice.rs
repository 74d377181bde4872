//! What a user says of a file beyond its name.

use std::str::FromStr;

/// What a user says of a file beyond its name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// The architecture, by one of [`crate::zoo`]'s names; without it the file or its tensors tell it.
    pub model: Option<&'a str>,
    /// Where in the file the network's tensors are: keys of dicts, then what names begin with, all with dots between. Needed where
    /// the file has several networks.
    pub state_dict: Option<&'a str>,
    /// Shapes of inputs whose axes an ONNX file leaves free.
    pub shapes: &'a [InputShape],
}

/// The shape of one input, all its axes: `NAME=1,3,640,640`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputShape {
    /// As the file calls it.
    pub name: String,
    /// Length of each axis, the first that of samples where the file has one.
    pub shape: Vec<usize>,
}

impl FromStr for InputShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("'{text}' is no shape of an input such as x=1,3,640,640");
        let (name, axes) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(usage)?;
        let axis = |axis: &str| axis.trim().parse::<usize>().ok().filter(|&n| n > 0).ok_or_else(usage);
        // Without axes it is a single number.
        let shape = if axes.is_empty() { Vec::new() } else { axes.split(',').map(axis).collect::<Result<_, _>>()? };
        Ok(Self { name: name.into(), shape })
    }
}

impl std::fmt::Display for InputShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let axes: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        write!(f, "{}={}", self.name, axes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_behind_their_names() {
        for text in ["x=1,3,640,640", "a=b:0=7", "number="] {
            assert_eq!(text.parse::<InputShape>().unwrap().to_string(), text);
        }
        for bad in ["", "x", "=1", "x=1,", "x=0", "x=-1", "x=1x2", "x=a"] {
            assert!(bad.parse::<InputShape>().unwrap_err().contains("such as"), "{bad}");
        }
    }
}
