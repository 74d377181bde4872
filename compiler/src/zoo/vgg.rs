//! VGG with batch norm for 32×32 images: torchvision's `features`, then one linear layer called `classifier`.

use super::block::Network;
use crate::error::Result;
use crate::graph::{Graph, Op, Window};

/// The networks of this family.
pub(super) const NAMES: [&str; 4] = ["vgg11", "vgg13", "vgg16", "vgg19"];

/// Channels of each stage; a max pool ends it.
const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];

/// Builds the network called `name`, with `classes` outputs if that is given; `full` is what the graph is called. `None`
/// for a name of no network here.
pub(super) fn build(name: &str, classes: Option<usize>, full: &str) -> Option<Result<Graph>> {
    let depths = match name {
        "vgg11" => [1, 1, 2, 2, 2],
        "vgg13" => [2, 2, 2, 2, 2],
        "vgg16" => [2, 2, 3, 3, 3],
        "vgg19" => [2, 2, 4, 4, 4],
        _ => return None,
    };
    let mut net = Network::new(full, [3, 32, 32]);
    // A module's name is its place in `features`.
    let mut place = 0;
    let mut next = || {
        place += 1;
        format!("features.{}", place - 1)
    };
    for (depth, width) in depths.into_iter().zip(WIDTHS) {
        for _ in 0..depth {
            net.conv(next(), width, Window::square(3, 1, 1), true);
            net.norm(next());
            net.relu(next());
        }
        net.push(next(), Op::MaxPool(Window::square(2, 2, 0)));
    }
    net.push("flatten", Op::Flatten);
    net.linear("classifier", WIDTHS[4], classes.unwrap_or(10));
    Some(net.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::layer_costs;

    #[test]
    fn costs_and_places_are_those_of_torchvision() {
        let macs = |name: &str| layer_costs(&build(name, None, name).unwrap().unwrap()).unwrap().iter().map(|c| c.macs).sum::<u64>();
        assert_eq!(["vgg11", "vgg16"].map(macs), [152_769_536, 313_201_664]);
        let graph = build("vgg16", None, "vgg16").unwrap().unwrap();
        let last = graph.params().into_iter().rfind(|p| p.name.starts_with("features") && p.shape.len() == 4).unwrap();
        assert_eq!((last.name.as_str(), last.shape), ("features.40.weight", vec![512, 512, 3, 3]));
    }
}
