//! U-Net (Ronneberger et al.) on the first layers of a ResNet, by the names of segmentation_models_pytorch: `encoder.…` is
//! torchvision's ResNet, `decoder.…` doubles five times and joins what the encoder had at that size.

use super::block::{Image, Network, Unit};
use super::resnet;
use crate::error::Result;
use crate::graph::{Activation, BatchNorm, Graph, Window};

/// The networks of this family.
pub(super) const NAMES: [&str; 2] = ["unet-resnet18", "unet-resnet34"];

/// Channels of the decoder's stages.
const WIDTHS: [usize; 5] = [256, 128, 64, 32, 16];

/// Builds the network called `name` for images of `side`, which gives a value for each class and pixel; `full` is what the graph is
/// called. `None` for a name of no network here, or for a side that five halvings do not divide.
pub(super) fn build(name: &str, classes: Option<usize>, side: Option<usize>, full: &str) -> Option<Result<Graph>> {
    let blocks = match name {
        "unet-resnet18" => [2, 2, 2, 2],
        "unet-resnet34" => [3, 4, 6, 3],
        _ => return None,
    };
    let side = side.unwrap_or(256);
    side.is_multiple_of(32).then(|| graph(full, blocks, classes.unwrap_or(1), side))
}

fn graph(name: &str, blocks: [usize; 4], classes: usize, side: usize) -> Result<Graph> {
    let mut net = Network::new(name, [3, side, side]);
    let [half, quarter, eighth, sixteenth, last] = resnet::features(&mut net, blocks);
    let mut x = last;
    for (at, skip) in [Some(sixteenth), Some(eighth), Some(quarter), Some(half), None].into_iter().enumerate() {
        let block = format!("decoder.blocks.{at}");
        x = net.doubled(format!("{block}.interpolate"), x, side >> (5 - at));
        if let Some(skip) = skip {
            x = net.concat(format!("{block}.concat"), &[x, skip]);
        }
        for conv in ["conv1", "conv2"] {
            x = decoded(&mut net, &format!("{block}.{conv}"), x, WIDTHS[at]);
        }
    }
    net.conv("segmentation_head.0", classes, Window::square(3, 1, 1), true);
    net.finish()
}

fn decoded(net: &mut Network, at: &str, from: Image, outputs: usize) -> Image {
    let unit = Unit { outputs, window: Window::square(3, 1, 1), groups: 1, norm: BatchNorm::new(outputs), act: Some(Activation::Relu) };
    net.unit(from, [format!("{at}.0"), format!("{at}.1")], unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::count;

    #[test]
    fn sizes_and_names_are_those_of_segmentation_models() {
        for (name, values) in [("unet-resnet18", 14_328_209), ("unet-resnet34", 24_436_369)] {
            let graph = build(name, None, Some(64), name).unwrap().unwrap();
            let trained: usize = graph.params().iter().filter(|p| p.role.is_trained()).map(|p| count(&p.shape).unwrap()).sum();
            assert_eq!(trained, values, "{name}");
            assert_eq!(graph.output_shape().unwrap(), [1, 64, 64]);
        }
        let names: Vec<String> = build(NAMES[0], Some(3), None, "").unwrap().unwrap().params().into_iter().map(|p| p.name).collect();
        for name in ["encoder.layer2.0.downsample.0.weight", "decoder.blocks.4.conv2.1.running_var", "segmentation_head.0.bias"] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
        assert!(build(NAMES[0], None, Some(100), "").is_none());
    }
}
