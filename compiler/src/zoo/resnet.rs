//! Residual networks: those of CIFAR with option A shortcuts (named as akamaster's), those of ImageNet (torchvision's
//! names) and an 18-layer one with a 3×3 stem for CIFAR (kuangliu's names).

use super::block::{Image, Network};
use crate::error::Result;
use crate::graph::{Graph, Op, ShortcutA, Window};

/// The networks of this family.
pub(super) const NAMES: [&str; 11] = [
    "resnet8",
    "resnet14",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet18-cifar",
];

/// Builds the network called `name`, with `classes` outputs if that is given; `full` is what the graph is called. `None`
/// for a name of no network here.
pub(super) fn build(name: &str, classes: Option<usize>, full: &str) -> Option<Result<Graph>> {
    let cifar = |depth: usize| cifar(full, (depth - 2) / 6, classes.unwrap_or(10));
    Some(match name {
        "resnet8" => cifar(8),
        "resnet14" => cifar(14),
        "resnet20" => cifar(20),
        "resnet32" => cifar(32),
        "resnet44" => cifar(44),
        "resnet56" => cifar(56),
        "resnet110" => cifar(110),
        "resnet18" => staged(full, &TORCHVISION, [2, 2, 2, 2], false, classes.unwrap_or(1000)),
        "resnet34" => staged(full, &TORCHVISION, [3, 4, 6, 3], false, classes.unwrap_or(1000)),
        "resnet50" => staged(full, &TORCHVISION, [3, 4, 6, 3], true, classes.unwrap_or(1000)),
        "resnet18-cifar" => staged(full, &KUANGLIU, [2, 2, 2, 2], false, classes.unwrap_or(10)),
        _ => return None,
    })
}

/// Three stages of `blocks` basic blocks with 16, 32 and 64 channels; shortcuts have no weights.
fn cifar(name: &str, blocks: usize, classes: usize) -> Result<Graph> {
    let mut net = Network::new(name, [3, 32, 32]);
    net.conv("conv1", 16, Window::square(3, 1, 1), false);
    net.norm("bn1");
    net.relu("relu");
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..blocks {
            let at = format!("layer{}.{block}", stage + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let (input, inputs) = (net.latest(), net.channels());
            basic_branch(&mut net, &at, width, stride);
            let branch = net.latest();
            let shortcut = if stride == 1 {
                input
            } else {
                net.push_from(format!("{at}.shortcut"), Op::ShortcutA(ShortcutA { stride, inputs, outputs: width }), vec![input])
            };
            net.add(&at, branch, shortcut);
        }
    }
    net.push("avgpool", Op::GlobalAvgPool);
    net.linear("linear", 64, classes);
    net.finish()
}

/// How a family of four-stage networks names and starts things.
struct Style {
    side: usize,
    /// The first convolution; a 7×7 one is followed by a max pool.
    stem: Window,
    /// What the convolution and the normalisation of a shortcut are called within their block.
    shortcut: &'static str,
    head: &'static str,
}

const TORCHVISION: Style = Style {
    side: 224,
    stem: Window { kernel: [7; 2], stride: [2; 2], padding: [3; 4], dilation: [1; 2] },
    shortcut: "downsample",
    head: "fc",
};

const KUANGLIU: Style = Style {
    side: 32,
    stem: Window { kernel: [3; 2], stride: [1; 2], padding: [1; 4], dilation: [1; 2] },
    shortcut: "shortcut",
    head: "linear",
};

/// Four stages of 64, 128, 256 and 512 channels, four times as many behind a bottleneck; a shortcut that changes shape
/// is a 1×1 convolution.
fn staged(name: &str, style: &Style, blocks: [usize; 4], bottleneck: bool, classes: usize) -> Result<Graph> {
    let mut net = Network::new(name, [3, style.side, style.side]);
    start(&mut net, "", style);
    for (stage, count) in blocks.into_iter().enumerate() {
        self::stage(&mut net, "", style, stage, count, bottleneck);
    }
    let features = net.channels();
    net.push("avgpool", Op::GlobalAvgPool);
    net.linear(style.head, features, classes);
    net.finish()
}

/// Images of a half to a thirty-second of the input's size from an 18- or 34-layer network without its head, called `encoder`.
pub(super) fn features(net: &mut Network, blocks: [usize; 4]) -> [Image; 5] {
    let half = start(net, "encoder.", &TORCHVISION);
    let [a, b, c, d] = blocks;
    let stages = [(0, a), (1, b), (2, c), (3, d)].map(|(stage, count)| self::stage(net, "encoder.", &TORCHVISION, stage, count, false));
    let [quarter, eighth, sixteenth, last] = stages;
    [half, quarter, eighth, sixteenth, last]
}

/// The first convolution, and the pool behind a 7×7 one; gives what comes before the pool.
fn start(net: &mut Network, prefix: &str, style: &Style) -> Image {
    net.conv(format!("{prefix}conv1"), 64, style.stem, false);
    net.norm(format!("{prefix}bn1"));
    net.relu(format!("{prefix}relu"));
    let before = net.image();
    if style.stem.kernel == [7; 2] {
        net.push(format!("{prefix}maxpool"), Op::MaxPool(Window::square(3, 2, 1)));
    }
    before
}

/// Stage `stage` from 0, of `count` blocks.
fn stage(net: &mut Network, prefix: &str, style: &Style, stage: usize, count: usize, bottleneck: bool) -> Image {
    let width = 64 << stage;
    for block in 0..count {
        let at = format!("{prefix}layer{}.{block}", stage + 1);
        let stride = if stage > 0 && block == 0 { 2 } else { 1 };
        let (input, inputs) = (net.latest(), net.channels());
        if bottleneck {
            bottleneck_branch(net, &at, width, stride);
        } else {
            basic_branch(net, &at, width, stride);
        }
        let (branch, outputs) = (net.latest(), net.channels());
        let mut shortcut = input;
        if stride != 1 || inputs != outputs {
            let part = |i: usize| format!("{at}.{}.{i}", style.shortcut);
            net.conv_from(part(0), input, inputs, outputs, Window::square(1, stride, 0));
            shortcut = net.norm(part(1));
        }
        net.add(&at, branch, shortcut);
    }
    net.image()
}

fn basic_branch(net: &mut Network, at: &str, width: usize, stride: usize) {
    net.conv(format!("{at}.conv1"), width, Window::square(3, stride, 1), false);
    net.norm(format!("{at}.bn1"));
    net.relu(format!("{at}.relu1"));
    net.conv(format!("{at}.conv2"), width, Window::square(3, 1, 1), false);
    net.norm(format!("{at}.bn2"));
}

fn bottleneck_branch(net: &mut Network, at: &str, width: usize, stride: usize) {
    let windows = [Window::square(1, 1, 0), Window::square(3, stride, 1), Window::square(1, 1, 0)];
    for (i, (window, width)) in windows.into_iter().zip([width, width, 4 * width]).enumerate() {
        net.conv(format!("{at}.conv{}", i + 1), width, window, false);
        net.norm(format!("{at}.bn{}", i + 1));
        if i < 2 {
            net.relu(format!("{at}.relu{}", i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::layer_costs;
    use crate::tensor::count;

    #[test]
    fn costs_and_sizes_are_the_published_ones() {
        // MACs of convolutions and the linear layer; trained values (running statistics left out).
        let known = [
            ("resnet20", 40_551_040, 269_722),
            ("resnet56", 125_485_696, 853_018),
            ("resnet110", 252_887_680, 1_727_962),
            ("resnet18", 1_814_073_344, 11_689_512),
            ("resnet34", 3_663_761_408, 21_797_672),
            ("resnet50", 4_089_184_256, 25_557_032),
            ("resnet18-cifar", 555_422_720, 11_173_962),
        ];
        for (name, macs, values) in known {
            let graph = build(name, None, name).unwrap().unwrap();
            let trained = graph.params().into_iter().filter(|p| p.role.is_trained());
            let figures = (
                layer_costs(&graph).unwrap().iter().map(|c| c.macs).sum::<u64>(),
                trained.map(|p| count(&p.shape).unwrap()).sum::<usize>(),
            );
            assert_eq!(figures, (macs, values), "{name}");
        }
    }

    #[test]
    fn shortcuts_are_named_as_their_authors_name_them() {
        let has = |name: &str, tensor: &str| build(name, None, name).unwrap().unwrap().params().iter().any(|p| p.name == tensor);
        assert!(has("resnet50", "layer1.0.downsample.0.weight") && has("resnet18", "layer4.0.downsample.1.running_var"));
        assert!(!has("resnet18", "layer1.0.downsample.0.weight") && has("resnet18-cifar", "layer2.0.shortcut.1.bias"));
        assert!(has("resnet20", "layer3.2.conv2.weight") && has("resnet20", "linear.bias"));
    }
}
