//! `thinferc init`: a checkpoint of random weights.

use std::path::PathBuf;

use clap::Args;
use thinfer::tools::print;
use thinfer_compiler::import::{self, Checkpoint, Meta};
use thinfer_compiler::{Result, graph, zoo};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Architecture: fcn6|8|10, mlp:IN-HIDDEN-..-OUT, resnet8|14|20|32|44|56|110, resnet18|34|50, resnet18-cifar, vgg11|13|16|19, mobilenet_v2, mobilenet_v3_small|large, efficientnet_lite0-4, tf_efficientnet_lite0-4, yolox-nano|tiny|s, unet-resnet18|34 (the convolutional ones also with :classes=N, from mobilenet_v2 on also with :image=SIDE), vit-tiny|small|base, vit-lL-hH or vit:KEY=VALUE,..
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Decides the weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The checkpoint to write
    #[arg(short, long, value_name = "FILE.safetensors")]
    output: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let network = zoo::build(&arguments.model)?;
    thinfer::tools::print::check_output(&arguments.output)?;
    let meta = Meta {
        model: Some(arguments.model.clone()),
        method: Some(format!("none (random weights, seed {})", arguments.seed)),
        ..Meta::default()
    };
    let params = graph::init(&network, arguments.seed);
    let count: usize = params.values().map(|t| t.data().len()).sum();
    import::save(&arguments.output, &Checkpoint { params, meta })?;
    print::line(format_args!("wrote {}: {} values of {}", arguments.output.display(), count, arguments.model))?;
    Ok(())
}
