//! What compile, sweep, inspect and train start from, on the command line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thinfer::artifact::{Channels, Filter};
use thinfer_compiler::import::InputShape;
use thinfer_compiler::job::{Fitting, FittingMethod, Pixels, Source};

/// A checkpoint and how to read it.
#[derive(Args)]
pub(crate) struct SourceArguments {
    /// The checkpoint: safetensors or what torch.save wrote (.pth, .pt, .ckpt, .pth.tar) with PyTorch's names, dense or with layers
    /// as factors, or an ONNX file, which brings its own architecture
    #[arg(value_name = "FILE.safetensors|FILE.pth|FILE.onnx")]
    pub(crate) file: PathBuf,
    /// Architecture, where the file does not say it: fcn6|8|10, mlp:IN-HIDDEN-..-OUT, resnet8|14|20|32|44|56|110, resnet18|34|50, resnet18-cifar, vgg11|13|16|19, mobilenet_v2, mobilenet_v3_small|large, efficientnet_lite0-4, tf_efficientnet_lite0-4, yolox-nano|tiny|s, unet-resnet18|34 (the convolutional ones also with :classes=N, from mobilenet_v2 on also with :image=SIDE), vit-tiny|small|base, vit-lL-hH or vit:KEY=VALUE,..
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Where the file has several networks: the keys that lead to this one's tensors, or what their names begin with, such as ema or checkpoint.model_ema
    #[arg(long, value_name = "KEY")]
    state_dict: Option<String>,
    /// The shape of an input whose axes an ONNX file leaves free, all its axes; once for each such input. Only a first axis, that of samples, may stay free
    #[arg(long, value_name = "NAME=1,3,640,640")]
    shape: Vec<InputShape>,
    #[command(flatten)]
    pixels: PixelArguments,
    /// How images of other sizes are brought to the network's, which the file then says: stretch, crop[:SHORTER] (the shorter side to so
    /// many pixels, then the middle), letterbox[:FILL] (all of it in the middle of a level of grey, or of RED,GREEN,BLUE [default: 114]) or
    /// corner[:FILL] (the same in the upper left corner). Without it images of other sizes are refused
    #[arg(long, value_name = "HOW")]
    fit: Option<FittingMethod>,
    /// With --fit: how pixels are resampled, antialiased either way
    #[arg(long, value_enum, value_name = "FILTER", default_value_t = FilterName::Bilinear, requires = "fit")]
    filter: FilterName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FilterName {
    Bilinear,
    Bicubic,
}

impl From<FilterName> for Filter {
    fn from(name: FilterName) -> Self {
        match name {
            FilterName::Bilinear => Self::Bilinear,
            FilterName::Bicubic => Self::Bicubic,
        }
    }
}

/// How pixels become the network's input, in place of what the file says, if it says anything.
#[derive(Args, Debug)]
pub(crate) struct PixelArguments {
    /// What a pixel of 255 is before mean and deviation, instead of what the file says: 255 for networks that take pixels as they are [default: 1]
    #[arg(long, value_name = "HIGH")]
    range: Option<f32>,
    /// The colours of the network's three channels, in their order, instead of what the file says: images are red first and are
    /// turned for a network that wants blue first. Also says that its input is an image, where nothing in it tells [default: rgb]
    #[arg(long, value_enum, value_name = "ORDER")]
    channels: Option<ChannelsName>,
    /// Mean of each channel in the network's order, of pixels from 0 to --range, instead of what the file says
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_name = "R,G,B")]
    mean: Vec<f32>,
    /// Deviation of each channel in the network's order, of pixels from 0 to --range, instead of what the file says
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_name = "R,G,B")]
    std: Vec<f32>,
}

impl PixelArguments {
    pub(crate) fn pixels(&self) -> Pixels {
        Pixels { range: self.range, channels: self.channels.map(Into::into), mean: self.mean.clone(), std: self.std.clone() }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChannelsName {
    Rgb,
    Bgr,
}

impl From<ChannelsName> for Channels {
    fn from(name: ChannelsName) -> Self {
        match name {
            ChannelsName::Rgb => Self::Rgb,
            ChannelsName::Bgr => Self::Bgr,
        }
    }
}

impl SourceArguments {
    pub(crate) fn source(&self) -> Source {
        Source {
            file: self.file.clone(),
            model: self.model.clone(),
            state_dict: self.state_dict.clone(),
            shapes: self.shape.clone(),
            pixels: self.pixels.pixels(),
            fit: self.fit.map(|method| Fitting { method, filter: self.filter.into() }),
        }
    }
}
