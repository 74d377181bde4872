//! MobileNetV2 and V3 by torchvision's names.

use super::block::{Network, Unit};
use crate::error::Result;
use crate::graph::{Activation, BatchNorm, Graph, Op, Window};

/// The networks of this family.
pub(super) const NAMES: [&str; 3] = ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"];

/// Builds the network called `name` for images of `side`; `full` is what the graph is called. `None` for a name of no network here.
pub(super) fn build(name: &str, classes: Option<usize>, side: Option<usize>, full: &str) -> Option<Result<Graph>> {
    let (classes, side) = (classes.unwrap_or(1000), side.unwrap_or(224));
    Some(match name {
        "mobilenet_v2" => v2(full, classes, side),
        "mobilenet_v3_small" => v3(full, &SMALL, 1024, classes, side),
        "mobilenet_v3_large" => v3(full, &LARGE, 1280, classes, side),
        _ => return None,
    })
}

/// A convolution, its batch norm and its activation, as each family sets them up.
fn unit(outputs: usize, window: Window, groups: usize, norm: &BatchNorm, act: Option<Activation>) -> Unit {
    Unit { outputs, window, groups, norm: norm.clone(), act }
}

/// Its modules' names: `features.4.conv.1` is a convolution `.0` with its norm `.1`.
fn names(module: &str) -> [String; 2] {
    [format!("{module}.0"), format!("{module}.1")]
}

/// Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2.
fn v2(name: &str, classes: usize, side: usize) -> Result<Graph> {
    /// (expansion, channels, blocks, stride of the first one)
    const STAGES: [(usize, usize, usize, usize); 7] =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    let norm = BatchNorm::new(0);
    let relu6 = Some(Activation::Relu6);
    let mut net = Network::new(name, [3, side, side]);
    let input = net.image();
    let mut x = net.unit(input, names("features.0"), unit(32, Window::square(3, 2, 1), 1, &norm, relu6));
    let mut place = 0;
    for (expansion, outputs, blocks, first_stride) in STAGES {
        for block in 0..blocks {
            place += 1;
            let (at, stride) = (format!("features.{place}.conv"), if block == 0 { first_stride } else { 1 });
            let (start, wide) = (x, x.channels * expansion);
            let mut part = 0;
            if expansion > 1 {
                x = net.unit(x, names(&format!("{at}.0")), unit(wide, Window::square(1, 1, 0), 1, &norm, relu6));
                part = 1;
            }
            x = net.unit(x, names(&format!("{at}.{part}")), unit(wide, Window::square(3, stride, 1), wide, &norm, relu6));
            let last = [part + 1, part + 2].map(|part| format!("{at}.{part}"));
            x = net.unit(x, last, unit(outputs, Window::square(1, 1, 0), 1, &norm, None));
            if stride == 1 && start.channels == outputs {
                x = net.sum(format!("features.{place}.add"), [start, x]);
            }
        }
    }
    net.unit(x, names("features.18"), unit(1280, Window::square(1, 1, 0), 1, &norm, relu6));
    net.push("avgpool", Op::GlobalAvgPool);
    net.linear("classifier.1", 1280, classes);
    net.finish()
}

/// An inverted residual: kernel, expanded channels, channels, squeeze-and-excite, hard swish instead of ReLU, stride.
type Bneck = (usize, usize, usize, bool, bool, usize);

/// Howard et al., "Searching for MobileNetV3", table 1.
const LARGE: [Bneck; 15] = [
    (3, 16, 16, false, false, 1),
    (3, 64, 24, false, false, 2),
    (3, 72, 24, false, false, 1),
    (5, 72, 40, true, false, 2),
    (5, 120, 40, true, false, 1),
    (5, 120, 40, true, false, 1),
    (3, 240, 80, false, true, 2),
    (3, 200, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 480, 112, true, true, 1),
    (3, 672, 112, true, true, 1),
    (5, 672, 160, true, true, 2),
    (5, 960, 160, true, true, 1),
    (5, 960, 160, true, true, 1),
];

/// The same, table 2.
const SMALL: [Bneck; 11] = [
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 40, true, true, 2),
    (5, 240, 40, true, true, 1),
    (5, 240, 40, true, true, 1),
    (5, 120, 48, true, true, 1),
    (5, 144, 48, true, true, 1),
    (5, 288, 96, true, true, 2),
    (5, 576, 96, true, true, 1),
    (5, 576, 96, true, true, 1),
];

fn v3(name: &str, blocks: &[Bneck], last: usize, classes: usize, side: usize) -> Result<Graph> {
    let norm = BatchNorm { channels: 0, eps: 1e-3, momentum: 0.01 };
    let swish = Some(Activation::HardSwish);
    let mut net = Network::new(name, [3, side, side]);
    let input = net.image();
    let mut x = net.unit(input, names("features.0"), unit(16, Window::square(3, 2, 1), 1, &norm, swish));
    for (place, &(kernel, wide, outputs, excited, hard, stride)) in (1..).zip(blocks) {
        let at = format!("features.{place}.block");
        let act = Some(if hard { Activation::HardSwish } else { Activation::Relu });
        let start = x;
        let mut parts = (0..).map(|part| format!("{at}.{part}"));
        let mut part = || parts.next().unwrap_or_default();
        if wide != x.channels {
            x = net.unit(x, names(&part()), unit(wide, Window::square(1, 1, 0), 1, &norm, act));
        }
        x = net.unit(x, names(&part()), unit(wide, Window::square(kernel, stride, kernel / 2), wide, &norm, act));
        if excited {
            x = net.excited(&part(), x, ["fc1", "fc2"], divisible(wide / 4 * 10));
        }
        x = net.unit(x, names(&part()), unit(outputs, Window::square(1, 1, 0), 1, &norm, None));
        if stride == 1 && start.channels == outputs {
            x = net.sum(format!("features.{place}.add"), [start, x]);
        }
    }
    let head = 6 * x.channels;
    net.unit(x, names(&format!("features.{}", blocks.len() + 1)), unit(head, Window::square(1, 1, 0), 1, &norm, swish));
    net.push("avgpool", Op::GlobalAvgPool);
    net.linear("classifier.0", head, last);
    net.push("classifier.1", Op::Activation(Activation::HardSwish));
    net.linear("classifier.3", last, classes);
    net.finish()
}

/// The multiple of 8 next to a number of channels in tenths, at least 8 and at least 0.9 of it.
pub(super) fn divisible(tenths: usize) -> usize {
    let near = ((tenths + 40) / 80 * 8).max(8);
    if 100 * near < 9 * tenths { near + 8 } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::layer_costs;
    use crate::tensor::count;

    #[test]
    fn costs_and_sizes_are_the_published_ones() {
        // Trained values, and multiply–accumulates in millions, as torchvision publishes them.
        for (name, values, macs) in
            [("mobilenet_v2", 3_504_872, 300.8), ("mobilenet_v3_small", 2_542_856, 56.5), ("mobilenet_v3_large", 5_483_032, 216.6)]
        {
            let graph = build(name, None, None, name).unwrap().unwrap();
            let trained: usize = graph.params().iter().filter(|p| p.role.is_trained()).map(|p| count(&p.shape).unwrap()).sum();
            let all: u64 = layer_costs(&graph).unwrap().iter().map(|c| c.macs).sum();
            assert_eq!(trained, values, "{name}");
            assert!((all as f64 / 1e6 / macs - 1.0).abs() < 0.01, "{name}: {all}");
        }
    }

    #[test]
    fn tensors_are_named_as_torchvision_names_them() {
        let has = |network: &str, name: &str| {
            let graph = build(network, None, None, network).unwrap().unwrap();
            graph.params().iter().any(|p| p.name == name)
        };
        assert!(has("mobilenet_v2", "features.1.conv.0.0.weight") && has("mobilenet_v2", "features.1.conv.1.weight"));
        assert!(has("mobilenet_v2", "features.17.conv.3.running_var") && has("mobilenet_v2", "classifier.1.bias"));
        assert!(has("mobilenet_v3_small", "features.1.block.1.fc1.bias") && has("mobilenet_v3_large", "features.16.1.running_mean"));
        assert!(has("mobilenet_v3_large", "classifier.3.weight"));
    }
}
