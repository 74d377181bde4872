//! EfficientNet-Lite by timm's names: those with symmetric padding, and `tf_…` with TensorFlow's.

use super::block::{Network, Unit};
use super::mobilenet::divisible;
use crate::error::Result;
use crate::graph::{Activation, BatchNorm, Graph, Op, Window};

/// The networks of this family.
pub(super) const NAMES: [&str; 10] = [
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
    "tf_efficientnet_lite3",
    "tf_efficientnet_lite4",
];

/// Stages of Tan and Le, "EfficientNet", table 1, before scaling: blocks, kernel, stride, expansion, channels.
const STAGES: [(usize, usize, usize, usize, usize); 7] =
    [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)];

/// Width and depth in tenths, and the image's side, of lite 0 to 4.
const SCALES: [(usize, usize, usize); 5] = [(10, 10, 224), (10, 11, 240), (11, 12, 260), (12, 14, 280), (14, 18, 300)];

/// Channels of the first and of the last convolution, which Lite does not scale.
const ENDS: [usize; 2] = [32, 1280];

/// Builds the network called `name` for images of `side`; `full` is what the graph is called. `None` for a name of no network here.
pub(super) fn build(name: &str, classes: Option<usize>, side: Option<usize>, full: &str) -> Option<Result<Graph>> {
    NAMES.contains(&name).then_some(())?;
    let number: usize = name.rsplit("lite").next()?.parse().ok()?;
    let (width, depth, usual) = *SCALES.get(number)?;
    Some(graph(full, [width, depth], name.starts_with("tf_"), classes.unwrap_or(1000), side.unwrap_or(usual)))
}

fn graph(name: &str, [width, depth]: [usize; 2], tensorflow: bool, classes: usize, side: usize) -> Result<Graph> {
    let norm = if tensorflow { BatchNorm { eps: 1e-3, ..BatchNorm::new(0) } } else { BatchNorm::new(0) };
    let unit =
        |outputs: usize, window: Window, groups: usize, act: Option<Activation>| Unit { outputs, window, groups, norm: norm.clone(), act };
    let relu6 = Some(Activation::Relu6);
    let point = Window::square(1, 1, 0);
    let mut net = Network::new(name, [3, side, side]);
    let input = net.image();
    let named = |at: &str, conv: &str, bn: &str| [format!("{at}{conv}"), format!("{at}{bn}")];
    let mut size = side;
    let mut x = net.unit(input, named("", "conv_stem", "bn1"), unit(ENDS[0], window(3, 2, &mut size, tensorflow), 1, relu6));
    for (stage, (blocks, kernel, stride, expansion, channels)) in STAGES.into_iter().enumerate() {
        let outputs = divisible(channels * width);
        let scaled = !matches!(stage, 0 | 6);
        let blocks = if scaled { (blocks * depth).div_ceil(10) } else { blocks };
        for block in 0..blocks {
            let (at, stride, start) = (format!("blocks.{stage}.{block}."), if block == 0 { stride } else { 1 }, x);
            let wide = x.channels * expansion;
            // The first stage has nothing to expand; its layers are numbered from the depthwise one on.
            if expansion > 1 {
                x = net.unit(x, named(&at, "conv_pw", "bn1"), unit(wide, point, 1, relu6));
            }
            let [last, norm1, norm2] = if expansion > 1 { ["conv_pwl", "bn2", "bn3"] } else { ["conv_pw", "bn1", "bn2"] };
            x = net.unit(x, named(&at, "conv_dw", norm1), unit(wide, window(kernel, stride, &mut size, tensorflow), wide, relu6));
            x = net.unit(x, named(&at, last, norm2), unit(outputs, point, 1, None));
            if stride == 1 && start.channels == outputs {
                x = net.sum(format!("{at}add"), [start, x]);
            }
        }
    }
    net.unit(x, named("", "conv_head", "bn2"), unit(ENDS[1], point, 1, relu6));
    net.push("global_pool", Op::GlobalAvgPool);
    net.linear("classifier", ENDS[1], classes);
    net.finish()
}

/// A window over an image of `size`, which becomes the output's; TensorFlow pads as little as gives ⌈size / stride⌉, more of it at the end.
fn window(kernel: usize, stride: usize, size: &mut usize, tensorflow: bool) -> Window {
    let usual = Window::square(kernel, stride, kernel / 2);
    let output = size.div_ceil(stride);
    let total = ((output - 1) * stride + kernel).saturating_sub(*size);
    *size = output;
    if tensorflow { Window { padding: [total / 2, total / 2, total.div_ceil(2), total.div_ceil(2)], ..usual } } else { usual }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::count;

    #[test]
    fn sizes_and_names_are_those_of_timm() {
        for (name, values) in [
            ("efficientnet_lite0", 4_652_008),
            ("efficientnet_lite1", 5_416_680),
            ("efficientnet_lite2", 6_092_072),
            ("efficientnet_lite3", 8_197_096),
            ("tf_efficientnet_lite4", 13_006_568),
        ] {
            let graph = build(name, None, None, name).unwrap().unwrap();
            let trained: usize = graph.params().iter().filter(|p| p.role.is_trained()).map(|p| count(&p.shape).unwrap()).sum();
            assert_eq!(trained, values, "{name}");
        }
        let graph = build("tf_efficientnet_lite0", Some(5), Some(97), "").unwrap().unwrap();
        assert_eq!(graph.output_shape().unwrap(), [5]);
        for name in
            ["conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.0.0.bn2.bias", "blocks.3.2.conv_pwl.weight", "classifier.bias"]
        {
            assert!(graph.params().iter().any(|p| p.name == name), "{name}");
        }
    }

    #[test]
    fn tensorflow_pads_more_at_the_end() {
        let mut size = 224;
        assert_eq!((window(3, 2, &mut size, true).padding, size), ([0, 0, 1, 1], 112));
        assert_eq!((window(5, 2, &mut size, true).padding, size), ([1, 1, 2, 2], 56));
        assert_eq!((window(5, 1, &mut size, true).padding, size), ([2; 4], 56));
    }
}
