//! What a network's source declared of the arrays that it takes and gives.

use serde::{Deserialize, Serialize};
use thinfer::artifact::{Input, InputKind, Preprocess, TensorSpec};

use crate::error::Result;
use crate::graph::Graph;

/// The arrays that a network with a graph of its own takes and gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Record")]
pub struct Ends {
    /// The arrays that it takes, and how their elements lie in the graph's inputs.
    pub inputs: Vec<Declared>,
    /// The arrays that it gives.
    pub outputs: Vec<TensorSpec>,
}

/// An array that a network takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// As the source declared it.
    pub spec: TensorSpec,
    /// Whether it is an image.
    pub kind: InputKind,
}

/// What is read; checkpoints written before networks had several inputs have one of each.
#[derive(Deserialize)]
#[serde(untagged)]
enum Record {
    Many { inputs: Vec<Declared>, outputs: Vec<TensorSpec> },
    One { input: TensorSpec, kind: InputKind, output: TensorSpec },
}

impl From<Record> for Ends {
    fn from(record: Record) -> Self {
        match record {
            Record::Many { inputs, outputs } => Self { inputs, outputs },
            Record::One { input, kind, output } => Self { inputs: vec![Declared { spec: input, kind }], outputs: vec![output] },
        }
    }
}

impl Ends {
    /// Those of a graph of whose source nothing is known: arrays lie as its values do, and are called `input` and `output`, numbered
    /// from the second on.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn of(graph: &Graph) -> Result<Self> {
        let name = |of: &str, at: usize| if at == 0 { of.to_string() } else { format!("{of}{at}") };
        let inputs = graph.inputs.iter().enumerate().map(|(at, shape)| {
            let Input { spec, kind, .. } = Input::new(&small(shape));
            Declared { spec: TensorSpec { name: name("input", at), ..spec }, kind }
        });
        let outputs = graph.output_shapes()?;
        let outputs = outputs.iter().enumerate().map(|(at, shape)| TensorSpec::new(name("output", at), &small(shape)));
        Ok(Self { inputs: inputs.collect(), outputs: outputs.collect() })
    }

    /// Checks that they are those of `graph`.
    ///
    /// # Errors
    /// One phrase that says what does not fit.
    pub fn check(&self, graph: &Graph) -> Result<(), String> {
        let outputs = graph.output_shapes().map_err(|e| e.to_string())?;
        if (self.inputs.len(), self.outputs.len()) != (graph.inputs.len(), outputs.len()) {
            return Err(format!("arrays of {} inputs and {} outputs", self.inputs.len(), self.outputs.len()));
        }
        let inputs = self.inputs.iter().map(|i| &i.spec).zip(&graph.inputs);
        for (spec, shape) in inputs.chain(self.outputs.iter().zip(&outputs)) {
            spec.check(shape.iter().product()).map_err(|why| format!("'{}' {why}", spec.name))?;
        }
        match self.inputs.iter().zip(&graph.inputs).find(|(i, shape)| i.kind == InputKind::Image && !matches!(shape[..], [1 | 3, _, _])) {
            Some((_, shape)) => Err(format!("an image of {shape:?}")),
            None => Ok(()),
        }
    }

    /// The number of the input that pixels are meant for: its first image, or the first where none is known to be one.
    pub fn of_pixels(&self) -> usize {
        self.inputs.iter().position(|i| i.kind == InputKind::Image).unwrap_or(0)
    }

    /// The arrays that `graph` takes, pixels of all images as `preprocess` says, or of the first where none is known to be one.
    pub fn inputs(&self, graph: &Graph, preprocess: &Preprocess) -> Vec<Input> {
        let of = |(at, (declared, shape)): (usize, (&Declared, &Vec<usize>))| {
            let takes_pixels = declared.kind == InputKind::Image || at == self.of_pixels();
            let preprocess = if takes_pixels { preprocess.clone() } else { Preprocess::none() };
            Input { spec: declared.spec.clone(), kind: declared.kind, preprocess, ..Input::new(&small(shape)) }
        };
        self.inputs.iter().zip(&graph.inputs).enumerate().map(of).collect()
    }
}

fn small(shape: &[usize]) -> Vec<u32> {
    shape.iter().map(|&d| u32::try_from(d).unwrap_or(u32::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    #[test]
    fn ends_of_another_network_are_refused() {
        let (images, digits) = (zoo::build("resnet8").unwrap(), zoo::build("fcn6").unwrap());
        let ends = Ends::of(&images).unwrap();
        assert_eq!((ends.inputs[0].kind, ends.check(&images)), (InputKind::Image, Ok(())));
        assert!(ends.check(&digits).unwrap_err().contains("'input' has samples of [3, 32, 32]"));
        let mut image = Ends::of(&digits).unwrap();
        image.inputs[0].kind = InputKind::Image;
        assert!(image.check(&digits).unwrap_err().contains("[784]"));
        let none = Ends { outputs: Vec::new(), ..ends };
        assert!(none.check(&images).unwrap_err().contains("1 inputs and 0 outputs"));
    }

    #[test]
    fn ends_are_read_as_they_are_written_and_as_they_were() {
        let ends = Ends::of(&zoo::build("resnet8").unwrap()).unwrap();
        let text = serde_json::to_string(&ends).unwrap();
        assert_eq!(serde_json::from_str::<Ends>(&text).unwrap(), ends);
        let Declared { spec, kind } = &ends.inputs[0];
        let old = serde_json::json!({ "input": spec, "kind": kind, "output": ends.outputs[0] });
        assert_eq!(serde_json::from_value::<Ends>(old).unwrap(), ends);
    }
}
