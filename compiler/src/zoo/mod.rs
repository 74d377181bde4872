//! Architectures as graphs, their parameters named as PyTorch names them.

mod block;
mod efficientnet_lite;
mod fcn;
mod mlp;
mod mobilenet;
mod resnet;
mod settings;
mod shapes;
mod unet;
mod vgg;
mod vit;
mod yolox;

use std::sync::LazyLock;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::tensor::{Params, Tensor};
use settings::Settings;
pub(crate) use shapes::Shapes;

/// What `--model` accepts, for error messages and help.
pub const NAMES: &str = "fcn6|fcn8|fcn10, mlp:IN-HIDDEN-…-OUT (such as mlp:784-256-256-10), resnet8|14|20|32|44|56|110, \
                         resnet18|34|50, resnet18-cifar, vgg11|13|16|19, mobilenet_v2, mobilenet_v3_small|large, \
                         efficientnet_lite0|1|2|3|4, tf_efficientnet_lite0|1|2|3|4, yolox-nano|tiny|s, unet-resnet18|34, the \
                         convolutional ones also with :classes=N, those from mobilenet_v2 on also with :image=SIDE, \
                         vit-tiny|small|base, vit-lL-hH and vit: with settings (such as vit:dim=128,depth=4,heads=4,patch=8)";

/// What the layer that decides the classes may be called.
const HEADS: [&str; 9] = [
    "linear.weight",
    "fc.weight",
    "classifier.weight",
    "classifier.1.weight",
    "classifier.3.weight",
    "head.weight",
    "linear_head.weight",
    "segmentation_head.0.weight",
    "head.cls_preds.0.weight",
];

/// Builds the architecture called `name`; a convolutional one may say how many outputs it has (`resnet20:classes=100`), and some
/// the side of their images (`mobilenet_v2:image=96`).
///
/// # Errors
/// [`Error::UnknownModel`] when no architecture has that name or its parameters make no sense.
pub fn build(name: &str) -> Result<Graph> {
    let graph = match name.split_once(':') {
        Some(("mlp", widths)) => mlp::build(name, widths),
        Some((base, _)) if base.starts_with("vit") => vit::build(name),
        Some((base, text)) => settings::parse(text).and_then(|settings| convolutional(base, settings, name)),
        None => fcn::build(name).or_else(|| convolutional(name, Settings::default(), name)).or_else(|| vit::build(name)),
    };
    graph.unwrap_or_else(|| Err(Error::UnknownModel { name: name.into(), known: NAMES }))
}

/// The convolutional network `base`, called `name`; `None` where there is none, or it does not take the settings.
fn convolutional(base: &str, Settings { classes, image }: Settings, name: &str) -> Option<Result<Graph>> {
    // Their images have one size.
    let of_one_size = || resnet::build(base, classes, name).or_else(|| vgg::build(base, classes, name)).filter(|_| image.is_none());
    of_one_size()
        .or_else(|| mobilenet::build(base, classes, image, name))
        .or_else(|| efficientnet_lite::build(base, classes, image, name))
        .or_else(|| yolox::build(base, classes, image, name))
        .or_else(|| unet::build(base, classes, image, name))
}

/// Builds the architecture called `name` for the checkpoint `params`: where the name does not say how many outputs a
/// convolutional network has, the checkpoint's last layer does.
///
/// # Errors
/// As [`build`].
pub fn build_for(name: &str, params: &Params) -> Result<Graph> {
    build_for_shapes(name, &shapes(params))
}

/// As [`build_for`], where the tensors have not been read yet.
pub(crate) fn build_for_shapes(name: &str, shapes: &Shapes<'_>) -> Result<Graph> {
    if let Some(name) = vit::named_as(name, shapes) {
        return build(&name);
    }
    let graph = build(name)?;
    let head = graph.params().into_iter().rfind(|p| HEADS.contains(&p.name.as_str()));
    let stored = head.as_ref().and_then(|h| head_shape(shapes, &h.name));
    match (head.as_ref().map(|h| &h.shape[..]), stored) {
        (Some([usual, features, ..]), Some([classes, stored]))
            if stored == *features && classes != *usual && !name.contains("classes=") =>
        {
            let mark = if name.contains(':') { ',' } else { ':' };
            build(&format!("{name}{mark}classes={classes}"))
        }
        _ => Ok(graph),
    }
}

fn shapes(params: &Params) -> Shapes<'_> {
    params.iter().map(|(name, tensor)| (name.as_str(), Tensor::shape(tensor))).collect()
}

/// [outputs, inputs] of the layer whose weight is called `weight`, as `shapes` have it: whole or in factors.
fn head_shape(shapes: &Shapes<'_>, weight: &str) -> Option<[usize; 2]> {
    let axis = |name: &str, at: usize| shapes.get(name).and_then(|shape| shape.get(at).copied());
    let factor = |suffix: &str| weight.replace(".weight", suffix);
    match shapes.get(weight) {
        Some(whole) => whole.first_chunk().copied(),
        None => Some([axis(&factor(".u"), 0)?, axis(&factor(".v"), 1)?]),
    }
}

/// Checks that `params` holds exactly the tensors of `graph`; where they are those of another architecture, it says so.
///
/// # Errors
/// As [`Graph::check`].
pub fn check(graph: &Graph, params: &Params) -> Result<()> {
    graph.check(params).map_err(|error| match error {
        Error::Params { model, mut faults } => {
            let others = alike(params);
            if !others.is_empty() && !others.contains(&model) {
                faults.insert(0, format!("these are the tensors of {}", others.join(" and of ")));
            }
            Error::Params { model, faults }
        }
        other => other,
    })
}

/// The name of the architecture that has exactly these tensors, for checkpoints that do not say it; `None` also where there are
/// several ([`alike`]).
pub fn guess(params: &Params) -> Option<String> {
    <[String; 1]>::try_from(alike(params)).ok().map(|[name]| name)
}

/// The names of all architectures that have exactly these tensors. They may differ in what no tensor tells, as padding.
pub fn alike(params: &Params) -> Vec<String> {
    alike_shapes(&shapes(params))
}

/// As [`alike`], where the tensors have not been read yet.
pub(crate) fn alike_shapes(shapes: &Shapes<'_>) -> Vec<String> {
    /// Every network that needs no settings, with the names of its tensors, which do not depend on its classes.
    static KNOWN: LazyLock<Vec<(&str, Vec<String>)>> = LazyLock::new(|| {
        let mobile = mobilenet::NAMES.into_iter().chain(efficientnet_lite::NAMES);
        let maps = yolox::NAMES.into_iter().chain(unet::NAMES);
        let names = fcn::NAMES.into_iter().chain(resnet::NAMES).chain(vgg::NAMES).chain(vit::NAMES).chain(mobile).chain(maps);
        names.filter_map(|name| Some((name, build(name).ok()?.params().into_iter().map(|p| p.name).collect()))).collect()
    });
    let has_names = |names: &[String]| names.len() == shapes.len() && names.iter().all(|name| shapes.contains_key(name.as_str()));
    let fits = |graph: &Graph| {
        let specs = graph.params();
        specs.len() == shapes.len() && specs.iter().all(|s| shapes.get(s.name.as_str()).is_some_and(|shape| **shape == s.shape))
    };
    let known = KNOWN.iter().filter(|(_, names)| has_names(names)).map(|(name, _)| name.to_string());
    let graphs = mlp::guess(shapes).into_iter().chain(known).filter_map(|name| build_for_shapes(&name, shapes).ok());
    graphs.filter(fits).map(|graph| graph.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::init;
    use crate::tensor::Tensor;

    #[test]
    fn architectures_are_known_by_their_tensors() {
        for name in [
            "vit-tiny",
            "fcn6",
            "fcn10",
            "mlp:784-256-10",
            "mlp:5-4-3-2",
            "resnet20",
            "resnet32:classes=100",
            "resnet18-cifar",
            "vgg11",
            "mobilenet_v2:classes=10",
            "mobilenet_v3_small",
            "yolox-nano:classes=3",
            "unet-resnet18:classes=2",
        ] {
            let mut params = init(&build(name).unwrap(), 0);
            assert_eq!(guess(&params).as_deref(), Some(name));
            params.insert("extra".into(), Tensor::full([1], 0.0));
            assert_eq!(guess(&params), None);
        }
    }

    #[test]
    fn the_checkpoints_last_layer_decides_the_classes() {
        let params = init(&build("resnet20:classes=100").unwrap(), 0);
        assert_eq!(build_for("resnet20", &params).unwrap().output_shape().unwrap(), [100]);
        assert_eq!(build_for("resnet20:classes=7", &params).unwrap().output_shape().unwrap(), [7]);
        assert_eq!(build_for("vgg16", &params).unwrap().output_shape().unwrap(), [10]);
        let mut factored = params;
        factored.remove("linear.weight");
        factored.extend([("linear.u".into(), Tensor::full([100, 9], 0.0)), ("linear.v".into(), Tensor::full([9, 64], 0.0))]);
        assert_eq!(build_for("resnet20", &factored).unwrap().output_shape().unwrap(), [100]);
    }

    #[test]
    fn what_no_tensor_tells_is_not_guessed() {
        let params = init(&build("tf_efficientnet_lite0:classes=4").unwrap(), 0);
        assert_eq!(guess(&params), None);
        assert_eq!(alike(&params), ["efficientnet_lite0:classes=4", "tf_efficientnet_lite0:classes=4"]);
    }

    #[test]
    fn a_wrong_depth_is_said_first() {
        let params = init(&build("resnet32").unwrap(), 0);
        let error = check(&build("resnet20").unwrap(), &params).unwrap_err().to_string();
        assert!(error.contains("do not fit resnet20: these are the tensors of resnet32; extra tensor"), "{error}");
    }

    /// Needs the real files: THINFER_DATA is a folder that holds checkpoints/.
    #[test]
    fn published_checkpoints_are_known() {
        let Some(data) = std::env::var_os("THINFER_DATA") else {
            eprintln!("skipped: THINFER_DATA not set");
            return;
        };
        for (file, name) in [
            ("cifar10_resnet20", "resnet20"),
            ("cifar10_resnet20_lorita_n2", "resnet20"),
            ("cifar10_resnet20_lorita_n3", "resnet20"),
            ("mnist_mlp_256x4", "mlp:784-256-256-256-256-10"),
        ] {
            let path = std::path::Path::new(&data).join("checkpoints").join(format!("{file}.safetensors"));
            let params = crate::import::load(&path).unwrap().params;
            assert_eq!(guess(&params).as_deref(), Some(name), "{file}");
            check(&build_for(name, &params).unwrap(), &params).unwrap();
        }
    }

    #[test]
    fn names_that_mean_nothing_are_refused() {
        let names = [
            "",
            "fcn",
            "fcn7",
            "fcn8:2",
            "mlp",
            "mlp:",
            "mlp:784",
            "mlp:784-0-10",
            "mlp:784-x-10",
            "mlp:99999999999-2",
            "resnet21",
            "resnet",
            "resnet20:",
            "resnet20:classes=",
            "resnet20:classes=0",
            "resnet20:classes=99999999",
            "fcn8:classes=10",
            "vgg14",
            "vgg16:image=64",
            "yolox-s:image=100",
            "mobilenet_v2:image=0",
            "mobilenet_v2:classes=2,classes=3",
            "efficientnet_lite5",
            "lite0",
        ];
        for name in names {
            assert!(matches!(build(name), Err(Error::UnknownModel { .. })), "{name}");
        }
    }
}
