//! YOLOX (Ge et al., "YOLOX: Exceeding YOLO Series in 2021") by its authors' names: a detector without anchors.
//!
//! It gives [positions, 5 + classes]: position and size of a box in the units of its grid, then the probabilities that there is an
//! object, and of each class. Grids of an eighth, a sixteenth and a thirty-second of the image follow each other.

use thinfer::artifact::Primitive;

use super::block::{Image, Network, Unit};
use crate::error::Result;
use crate::graph::{Activation, BatchNorm, Graph, Op, Rearrange, ValueId, Window};

/// The networks of this family.
pub(super) const NAMES: [&str; 3] = ["yolox-nano", "yolox-tiny", "yolox-s"];

/// Pixels of the image for one of the last feature map; sides must be multiples of it.
const STRIDE: usize = 32;

/// Builds the network called `name` for images of `side`; `full` is what the graph is called. `None` for a name of no network here,
/// or for a side that it does not take.
pub(super) fn build(name: &str, classes: Option<usize>, side: Option<usize>, full: &str) -> Option<Result<Graph>> {
    let (base, depthwise, usual) = match name {
        "yolox-nano" => (16, true, 416),
        "yolox-tiny" => (24, false, 416),
        "yolox-s" => (32, false, 640),
        _ => return None,
    };
    let (classes, side) = (classes.unwrap_or(80), side.unwrap_or(usual));
    side.is_multiple_of(STRIDE).then(|| Yolox { net: Network::new(full, [3, side, side]), base, depthwise, side }.graph(classes))
}

struct Yolox {
    net: Network,
    /// Channels behind the first convolution.
    base: usize,
    /// Whether convolutions larger than 1×1 are a depthwise one and a 1×1.
    depthwise: bool,
    side: usize,
}

impl Yolox {
    fn graph(mut self, classes: usize) -> Result<Graph> {
        let maps = self.backbone();
        let maps = self.pyramid(maps);
        let grids = (0..3).map(|at| self.head(at, maps[at], self.side / (8 << at), classes)).collect();
        self.net.push_from("head.all", Op::Primitive(Primitive::Join { axis: 0 }), grids);
        self.net.finish()
    }

    /// Feature maps of an eighth, a sixteenth and a thirty-second of the image.
    fn backbone(&mut self) -> [Image; 3] {
        let (base, side, at) = (self.base, self.side, "backbone.backbone");
        // Four pixels become channels: top left, bottom left, top right, bottom right.
        let steps = vec![(2, 1), (2, side), (3, side * side), (side / 2, 2 * side), (side / 2, 2)];
        let focus = Rearrange { shape: vec![12, side / 2, side / 2], offset: 0, steps };
        let input = self.net.image();
        let focus = self.net.of(format!("{at}.stem"), Op::Rearrange(focus), input);
        let stem = self.unit(&format!("{at}.stem.conv"), Image { channels: 12, ..focus }, base, Window::square(3, 1, 1), 1);
        let x = self.conv(&format!("{at}.dark2.0"), stem, 2 * base, 2);
        let x = self.stage(&format!("{at}.dark2.1"), x, 2 * base, 1, true);
        let x = self.conv(&format!("{at}.dark3.0"), x, 4 * base, 2);
        let eighth = self.stage(&format!("{at}.dark3.1"), x, 4 * base, 3, true);
        let x = self.conv(&format!("{at}.dark4.0"), eighth, 8 * base, 2);
        let sixteenth = self.stage(&format!("{at}.dark4.1"), x, 8 * base, 3, true);
        let x = self.conv(&format!("{at}.dark5.0"), sixteenth, 16 * base, 2);
        let x = self.pooled(&format!("{at}.dark5.1"), x);
        [eighth, sixteenth, self.stage(&format!("{at}.dark5.2"), x, 16 * base, 1, false)]
    }

    /// From the coarsest map to the finest, then back.
    fn pyramid(&mut self, [eighth, sixteenth, last]: [Image; 3]) -> [Image; 3] {
        let side = self.side;
        let [small, middle, large] = [4, 8, 16].map(|n| n * self.base);
        let last = self.point("backbone.lateral_conv0", last, middle);
        let up = self.net.doubled("backbone.upsample0", last, side / 32);
        let x = self.net.concat("backbone.concat0", &[up, sixteenth]);
        let x = self.stage("backbone.C3_p4", x, middle, 1, false);
        let reduced = self.point("backbone.reduce_conv1", x, small);
        let up = self.net.doubled("backbone.upsample1", reduced, side / 16);
        let x = self.net.concat("backbone.concat1", &[up, eighth]);
        let finest = self.stage("backbone.C3_p3", x, small, 1, false);
        let x = self.conv("backbone.bu_conv2", finest, small, 2);
        let x = self.net.concat("backbone.concat2", &[x, reduced]);
        let finer = self.stage("backbone.C3_n3", x, middle, 1, false);
        let x = self.conv("backbone.bu_conv1", finer, middle, 2);
        let x = self.net.concat("backbone.concat3", &[x, last]);
        [finest, finer, self.stage("backbone.C3_n4", x, large, 1, false)]
    }

    /// What a grid of `side` says: [side · side, 5 + classes].
    fn head(&mut self, at: usize, map: Image, side: usize, classes: usize) -> ValueId {
        let width = 4 * self.base;
        let stem = self.point(&format!("head.stems.{at}"), map, width);
        let branch =
            |net: &mut Self, kind: &str| (0..2).fold(stem, |x, layer| net.conv(&format!("head.{kind}_convs.{at}.{layer}"), x, width, 1));
        let class = branch(self, "cls");
        let class = self.net.pointwise(format!("head.cls_preds.{at}"), class, classes);
        let class = self.net.of(format!("head.cls_preds.{at}.sigmoid"), Op::Activation(Activation::Sigmoid), class);
        let region = branch(self, "reg");
        let place = self.net.pointwise(format!("head.reg_preds.{at}"), region, 4);
        let object = self.net.pointwise(format!("head.obj_preds.{at}"), region, 1);
        let object = self.net.of(format!("head.obj_preds.{at}.sigmoid"), Op::Activation(Activation::Sigmoid), object);
        let all = self.net.concat(format!("head.grid.{at}"), &[place, object, class]);
        let steps = vec![(side * side, 1), (all.channels, side * side)];
        let rows = Rearrange { shape: vec![side * side, all.channels], offset: 0, steps };
        self.net.push(format!("head.rows.{at}"), Op::Rearrange(rows))
    }

    /// Two branches, one through bottlenecks, put together: a cross-stage partial layer.
    fn stage(&mut self, at: &str, from: Image, outputs: usize, blocks: usize, residual: bool) -> Image {
        let hidden = outputs / 2;
        let mut main = self.point(&format!("{at}.conv1"), from, hidden);
        let beside = self.point(&format!("{at}.conv2"), from, hidden);
        for block in 0..blocks {
            let start = main;
            let x = self.point(&format!("{at}.m.{block}.conv1"), start, hidden);
            main = self.conv(&format!("{at}.m.{block}.conv2"), x, hidden, 1);
            if residual {
                main = self.net.sum(format!("{at}.m.{block}.add"), [main, start]);
            }
        }
        let both = self.net.concat(format!("{at}.concat"), &[main, beside]);
        self.point(&format!("{at}.conv3"), both, outputs)
    }

    /// The image beside the largest values of its surroundings, near and far.
    fn pooled(&mut self, at: &str, from: Image) -> Image {
        let x = self.point(&format!("{at}.conv1"), from, from.channels / 2);
        let mut all = vec![x];
        for (i, kernel) in [5, 9, 13].into_iter().enumerate() {
            all.push(self.net.of(format!("{at}.m.{i}"), Op::MaxPool(Window::square(kernel, 1, kernel / 2)), x));
        }
        let all = self.net.concat(format!("{at}.concat"), &all);
        self.point(&format!("{at}.conv2"), all, from.channels)
    }

    /// A 3×3 convolution with its batch norm and activation.
    fn conv(&mut self, at: &str, from: Image, outputs: usize, stride: usize) -> Image {
        let window = Window::square(3, stride, 1);
        if !self.depthwise {
            return self.unit(at, from, outputs, window, 1);
        }
        let x = self.unit(&format!("{at}.dconv"), from, from.channels, window, from.channels);
        self.point(&format!("{at}.pconv"), x, outputs)
    }

    fn point(&mut self, at: &str, from: Image, outputs: usize) -> Image {
        self.unit(at, from, outputs, Window::square(1, 1, 0), 1)
    }

    fn unit(&mut self, at: &str, from: Image, outputs: usize, window: Window, groups: usize) -> Image {
        let norm = BatchNorm { channels: outputs, eps: 1e-3, momentum: 0.03 };
        let unit = Unit { outputs, window, groups, norm, act: Some(Activation::Silu) };
        self.net.unit(from, [format!("{at}.conv"), format!("{at}.bn")], unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::layer_costs;
    use crate::tensor::count;

    #[test]
    fn costs_and_sizes_are_the_published_ones() {
        // Millions of values and of multiply–accumulates, half of the published FLOPs (1.08, 6.45 and 26.8 G), which count norms too.
        for (name, values, macs, rows) in
            [("yolox-nano", 0.91, 540.0, 3549), ("yolox-tiny", 5.06, 3225.0, 3549), ("yolox-s", 8.97, 13400.0, 8400)]
        {
            let graph = build(name, None, None, name).unwrap().unwrap();
            let trained: usize = graph.params().iter().filter(|p| p.role.is_trained()).map(|p| count(&p.shape).unwrap()).sum();
            let all: u64 = layer_costs(&graph).unwrap().iter().map(|c| c.macs).sum();
            assert!((trained as f64 / 1e6 - values).abs() < 0.006, "{name}: {trained}");
            assert!((0.96..1.0).contains(&(all as f64 / 1e6 / macs)), "{name}: {all}");
            assert_eq!(graph.output_shape().unwrap(), [rows, 85], "{name}");
        }
        assert!(build("yolox-s", None, Some(100), "").is_none());
    }

    #[test]
    fn tensors_are_named_as_their_authors_name_them() {
        let names: Vec<String> =
            build("yolox-nano", Some(3), Some(64), "").unwrap().unwrap().params().into_iter().map(|p| p.name).collect();
        for name in [
            "backbone.backbone.stem.conv.conv.weight",
            "backbone.backbone.dark3.0.dconv.bn.running_mean",
            "backbone.C3_p4.m.0.conv2.pconv.conv.weight",
            "head.cls_convs.0.1.dconv.conv.weight",
            "head.obj_preds.2.bias",
        ] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
    }
}
