//! What a network's source declared of the arrays that it takes and gives.

use serde::{Deserialize, Serialize};
use thinfer::artifact::{Input, InputKind, TensorSpec};

use crate::error::Result;
use crate::graph::Graph;

/// The two ends of a network that brings its own graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// The array that it takes, and how its elements lie in the graph's input.
    pub input: TensorSpec,
    /// Whether that is an image.
    pub kind: InputKind,
    /// The array that it gives.
    pub output: TensorSpec,
}

impl Ends {
    /// Those of a graph of whose source nothing is known: arrays lie as its values do.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn of(graph: &Graph) -> Result<Self> {
        let input = Input::new(&small(&graph.input));
        Ok(Self { input: input.spec, kind: input.kind, output: TensorSpec::new("output", &small(&graph.output_shape()?)) })
    }

    /// Checks that they are those of `graph`.
    ///
    /// # Errors
    /// One phrase that says what does not fit.
    pub fn check(&self, graph: &Graph) -> Result<(), String> {
        let output = graph.output_shape().map_err(|e| e.to_string())?;
        for (spec, shape) in [(&self.input, &graph.input), (&self.output, &output)] {
            spec.check(shape.iter().product()).map_err(|why| format!("'{}' {why}", spec.name))?;
        }
        match (self.kind, &graph.input[..]) {
            (InputKind::Image, [1 | 3, _, _]) | (InputKind::Features, _) => Ok(()),
            (InputKind::Image, shape) => Err(format!("an image of {shape:?}")),
        }
    }
}

pub(super) fn small(shape: &[usize]) -> Vec<u32> {
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
        assert_eq!((ends.kind, ends.check(&images)), (InputKind::Image, Ok(())));
        assert!(ends.check(&digits).unwrap_err().contains("'input' has samples of [3, 32, 32]"));
        let image = Ends { kind: InputKind::Image, ..Ends::of(&digits).unwrap() };
        assert!(image.check(&digits).unwrap_err().contains("[784]"));
    }
}
