//! Vision transformers: timm's, LoRITa's SimpleViT, and any of that kind by its settings, `vit:dim=128,depth=4,…`.

use super::Shapes;
use crate::error::{Error, Result};
use crate::graph::{Activation, Attention, BatchNorm, Builder, Conv2d, Embed, Graph, Linear, Op, Positions, Rearrange, ValueId, Window};

/// The networks of this family that need no settings.
pub(super) const NAMES: [&str; 3] = ["vit-tiny", "vit-small", "vit-base"];
/// The largest number that a setting may have; beyond it a slip is likelier than a network.
const MOST: usize = 1 << 14;

/// How tensors are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// timm's: `blocks.0.attn.qkv.weight`.
    Timm,
    /// LoRITa's SimpleViT: `transformer.layers.0.0.to_qkv.weight`.
    Lorita,
    /// Modules in nested `nn.Sequential`s: `1.0.0.fn.1.query.weight`.
    Numbered,
}

#[derive(Clone, Debug, PartialEq)]
struct Vit {
    image: usize,
    channels: usize,
    patch: usize,
    classes: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    /// Channels of a head; of all of them `dim` where it is not given.
    head: Option<usize>,
    mlp: Option<usize>,
    /// A class token before the patches; the head reads it, or else the mean of all tokens.
    cls: bool,
    pool_cls: bool,
    learned: bool,
    batch_norm: bool,
    act: Activation,
    /// Queries, keys and values by one weight.
    packed: bool,
    /// Biases of attention's layers.
    bias: bool,
    /// Layer normalisation of patches before and behind their projection.
    patch_norm: bool,
    eps: f32,
    names: Names,
}

const TIMM: Vit = Vit {
    image: 32,
    channels: 3,
    patch: 4,
    classes: 10,
    dim: 128,
    depth: 4,
    heads: 4,
    head: None,
    mlp: None,
    cls: true,
    pool_cls: true,
    learned: true,
    batch_norm: false,
    act: Activation::Gelu,
    packed: true,
    bias: true,
    patch_norm: false,
    eps: 1e-6,
    names: Names::Timm,
};

const SIMPLE: Vit = Vit {
    dim: 256,
    head: Some(64),
    mlp: Some(512),
    cls: false,
    pool_cls: false,
    learned: false,
    bias: false,
    patch_norm: true,
    eps: 1e-5,
    names: Names::Lorita,
    ..TIMM
};

/// Builds the network called `name`, which may have settings behind a colon; `None` for a name of no network here.
pub(super) fn build(name: &str) -> Option<Result<Graph>> {
    let (base, settings) = name.split_once(':').map_or((name, None), |(base, settings)| (base, Some(settings)));
    let timm = |dim, heads| Vit { image: 224, patch: 16, classes: 1000, dim, depth: 12, heads, ..TIMM };
    let vit = match base {
        "vit" if settings.is_some() => TIMM,
        "vit-tiny" => timm(192, 3),
        "vit-small" => timm(384, 6),
        "vit-base" => timm(768, 12),
        _ => {
            let (depth, heads) = base.strip_prefix("vit-l")?.split_once("-h")?;
            let number = |text: &str| text.parse().ok().filter(|n| (1..=MOST).contains(n));
            Vit { depth: number(depth)?, heads: number(heads)?, ..SIMPLE }
        }
    };
    let vit = settings.unwrap_or_default().split(',').filter(|_| settings.is_some()).try_fold(vit, Vit::with);
    let fail = |why: String| Error::invalid(format!("model '{name}'"), why);
    Some(vit.map_err(fail).and_then(|vit| {
        vit.check().map_err(fail)?;
        vit.graph(name)
    }))
}

/// `name` with the setting that says how the tensors of `shapes` are called, where that is not timm's way.
pub(super) fn named_as(name: &str, shapes: &Shapes<'_>) -> Option<String> {
    let numbered = name.starts_with("vit:") && !name.contains("names=") && shapes.contains_key("0.projection.weight");
    numbered.then(|| format!("{name},names=numbered"))
}

impl Vit {
    /// With one `key=value`.
    fn with(mut self, setting: &str) -> Result<Self, String> {
        let (key, value) = setting.split_once('=').ok_or_else(|| format!("'{setting}' is no setting: KEY=VALUE"))?;
        let number = || value.parse().ok().filter(|n| (1..=MOST).contains(n)).ok_or_else(|| format!("{key} is '{value}', not 1 to {MOST}"));
        let one_of = |options: &[&str]| {
            options.iter().position(|o| *o == value).ok_or_else(|| format!("{key} is '{value}'; it may be {}", options.join(" or ")))
        };
        let yes = || one_of(&["no", "yes"]).map(|at| at == 1);
        match key {
            "image" => self.image = number()?,
            "channels" => self.channels = number()?,
            "patch" => self.patch = number()?,
            "classes" => self.classes = number()?,
            "dim" => self.dim = number()?,
            "depth" => self.depth = number()?,
            "heads" => self.heads = number()?,
            "head" => self.head = Some(number()?),
            "mlp" => self.mlp = Some(number()?),
            "cls" => self.cls = yes()?,
            "bias" => self.bias = yes()?,
            "patch_norm" => self.patch_norm = yes()?,
            "pool" => {
                self.pool_cls = one_of(&["mean", "cls"])? == 1;
                // Without one there is no need of the token, unless a later setting asks for it.
                self.cls = self.pool_cls;
            }
            "positions" => self.learned = one_of(&["sincos", "learned"])? == 1,
            "norm" => {
                self.batch_norm = one_of(&["layer", "batch"])? == 1;
            }
            "act" => self.act = [Activation::Gelu, Activation::GeluTanh, Activation::Relu][one_of(&["gelu", "gelu-tanh", "relu"])?],
            "qkv" => self.packed = one_of(&["three", "one"])? == 1,
            "eps" => {
                let eps = value.parse().ok().filter(|e: &f32| e.is_finite() && *e > 0.0);
                self.eps = eps.ok_or_else(|| format!("eps is '{value}', not a positive number"))?;
            }
            "names" => self.names = [Names::Timm, Names::Lorita, Names::Numbered][one_of(&["timm", "lorita", "numbered"])?],
            _ => {
                return Err(format!(
                    "'{key}' is no setting; there are image, channels, patch, classes, dim, depth, heads, head, mlp, pool, cls, \
                     positions, norm, act, qkv, bias, patch_norm, eps and names"
                ));
            }
        }
        Ok(self)
    }

    fn check(&self) -> Result<(), String> {
        let Self { image, patch, dim, heads, .. } = *self;
        if image % patch != 0 {
            return Err(format!("patches of {patch} do not tile images of {image}"));
        }
        if self.head.is_none() && dim % heads != 0 {
            return Err(format!("{heads} heads do not divide dim {dim}; give the channels of a head as head=N"));
        }
        if !self.learned && dim % 4 != 0 {
            return Err(format!("sines and cosines need a dim that is a multiple of 4, not {dim}"));
        }
        if self.pool_cls && !self.cls {
            return Err("reads a class token that it does not have (pool=cls, cls=no)".into());
        }
        Ok(())
    }

    fn graph(&self, name: &str) -> Result<Graph> {
        let mut b = Builder::new(name, [self.channels, self.image, self.image]);
        let side = self.image / self.patch;
        self.patches(&mut b, side);
        let first = usize::from(self.cls);
        let [class, positions] = match self.names {
            Names::Timm | Names::Lorita => ["cls_token", "pos_embed"],
            Names::Numbered => ["0.cls_token", "0.positions"],
        };
        let embed = Embed {
            channels: self.dim,
            pixels: side * side,
            first,
            class: self.cls.then(|| class.into()),
            positions: if self.learned { Positions::Learned(positions.into()) } else { Positions::SinCos { columns: side } },
            batched: self.names != Names::Numbered,
        };
        b.push("tokens", Op::Embed(embed));
        (0..self.depth).for_each(|i| self.block(&mut b, i));
        let [norm, head] = match self.names {
            Names::Timm => ["norm", "head"],
            Names::Lorita => ["transformer.norm", "linear_head"],
            Names::Numbered => ["2.1", "2.2"],
        };
        if self.pool_cls {
            // Each token is normalised by itself, so one of them can be taken before.
            let tokens = side * side + first;
            b.push("pool", Op::Rearrange(Rearrange { shape: vec![self.dim], offset: 0, steps: vec![(self.dim, tokens)] }));
            self.norm(&mut b, norm.into());
        } else if self.batch_norm {
            b.push("pool", Op::GlobalAvgPool);
            self.norm(&mut b, norm.into());
        } else {
            self.norm(&mut b, norm.into());
            b.push("pool", Op::GlobalAvgPool);
        }
        b.push(head, Op::Linear(Linear { inputs: self.dim, outputs: self.classes, bias: true }));
        b.finish()
    }

    /// From the image to one pixel of `dim` channels a patch.
    fn patches(&self, b: &mut Builder, side: usize) {
        let (patch, image, channels) = (self.patch, self.image, self.channels);
        let projection = match self.names {
            Names::Timm => "patch_embed.proj",
            Names::Lorita => "to_patch_embedding.2",
            Names::Numbered => "0.projection",
        };
        if !self.patch_norm {
            let window = Window { stride: [patch; 2], ..Window::square(patch, patch, 0) };
            b.push(projection, Op::Conv2d(Conv2d { inputs: channels, outputs: self.dim, window, groups: 1, bias: true }));
            return;
        }
        // Row, column and channel of a pixel in its patch, then the patch's row and column.
        let steps = vec![(patch, image), (patch, 1), (channels, image * image), (side, patch * image), (side, patch)];
        let inputs = channels * patch * patch;
        b.push("to_patch_embedding.0", Op::Rearrange(Rearrange { shape: vec![inputs, side, side], offset: 0, steps }));
        b.push("to_patch_embedding.1", Op::LayerNorm { channels: inputs, eps: self.eps });
        b.push(projection, Op::Linear(Linear { inputs, outputs: self.dim, bias: true }));
        b.push("to_patch_embedding.3", Op::LayerNorm { channels: self.dim, eps: self.eps });
    }

    fn norm(&self, b: &mut Builder, name: String) -> ValueId {
        let channels = self.dim;
        b.push(name, if self.batch_norm { Op::BatchNorm(BatchNorm::new(channels)) } else { Op::LayerNorm { channels, eps: self.eps } })
    }

    /// x + attention(norm(x)), then x + mlp(norm(x)).
    fn block(&self, b: &mut Builder, i: usize) {
        let size = self.head.unwrap_or(self.dim / self.heads);
        let (inner, mlp) = (size * self.heads, self.mlp.unwrap_or(4 * self.dim));
        // What stands before attention's and the MLP's parts.
        let [attention, feed] = match self.names {
            Names::Timm => [format!("blocks.{i}.attn"), format!("blocks.{i}.mlp")],
            Names::Lorita => [format!("transformer.layers.{i}.0"), format!("transformer.layers.{i}.1")],
            Names::Numbered => [format!("1.{i}.0.fn.1"), format!("1.{i}.1.fn.1")],
        };
        let norm = |at: usize| match self.names {
            Names::Timm => format!("blocks.{i}.norm{}", at + 1),
            Names::Lorita => format!("transformer.layers.{i}.{at}.norm"),
            Names::Numbered => format!("1.{i}.{at}.fn.0.norm"),
        };
        let [qkv, three, out, first, second] = match self.names {
            Names::Timm => ["qkv", "q k v", "proj", "fc1", "fc2"],
            Names::Lorita => ["to_qkv", "to_q to_k to_v", "to_out", "net1", "net2"],
            Names::Numbered => ["qkv", "query key value", "out", "0", "3"],
        };
        let linear = |inputs, outputs, bias| Op::Linear(Linear { inputs, outputs, bias });
        let x = b.latest();
        let normed = self.norm(b, norm(0));
        let read = if self.packed {
            vec![b.push(format!("{attention}.{qkv}"), linear(self.dim, 3 * inner, self.bias))]
        } else {
            let one = |part: &str| b.push_from(format!("{attention}.{part}"), linear(self.dim, inner, self.bias), vec![normed]);
            three.split(' ').map(one).collect()
        };
        b.push_from(attention.clone(), Op::Attention(Attention { heads: self.heads, scale: (size as f32).sqrt().recip() }), read);
        // timm's projection has a bias whether or not its qkv has; here one setting is for both.
        let out = b.push(format!("{attention}.{out}"), linear(inner, self.dim, self.bias));
        let x = b.push_from(format!("{attention}.add"), Op::Add, vec![out, x]);
        self.norm(b, norm(1));
        b.push(format!("{feed}.{first}"), linear(self.dim, mlp, true));
        b.push(format!("{feed}.act"), Op::Activation(self.act));
        let out = b.push(format!("{feed}.{second}"), linear(mlp, self.dim, true));
        b.push_from(format!("{feed}.add"), Op::Add, vec![out, x]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::layer_costs;

    fn graph(name: &str) -> Graph {
        build(name).unwrap().unwrap()
    }

    #[test]
    fn timms_networks_have_its_names_and_sizes() {
        // timm's figures: 5.72, 22.05 and 86.57 M parameters.
        for (name, params) in [("vit-tiny", 5_717_416), ("vit-small", 22_050_664), ("vit-base", 86_567_656)] {
            let specs = graph(name).params();
            assert_eq!(specs.iter().map(|s| s.shape.iter().product::<usize>()).sum::<usize>(), params, "{name}");
            for (tensor, shape) in [("cls_token", 3), ("pos_embed", 3), ("blocks.11.attn.qkv.weight", 2), ("norm.bias", 1)] {
                assert!(specs.iter().any(|s| s.name == tensor && s.shape.len() == shape), "{name} lacks {tensor}");
            }
        }
        let macs: u64 = layer_costs(&graph("vit-small")).unwrap().iter().map(|c| c.macs).sum();
        assert_eq!(macs, 196 * 384 * 768 + 12 * 197 * 384 * 384 * 12 + 384 * 1000);
    }

    #[test]
    fn loritas_is_a_simple_vit() {
        let graph = graph("vit-l2-h8:dim=64,patch=8,mlp=96");
        let specs = graph.params();
        let shape = |name: &str| specs.iter().find(|s| s.name == name).map(|s| s.shape.clone());
        assert_eq!(shape("to_patch_embedding.1.weight"), Some(vec![192]));
        assert_eq!(shape("transformer.layers.1.0.to_qkv.weight"), Some(vec![3 * 512, 64]));
        assert_eq!(shape("transformer.layers.1.0.to_qkv.bias"), None);
        assert_eq!(shape("transformer.layers.1.1.net2.weight"), Some(vec![64, 96]));
        assert_eq!(shape("linear_head.weight"), Some(vec![10, 64]));
        assert!(!specs.iter().any(|s| s.name.contains("pos") || s.name.contains("cls")));
        // Patch (1, 2) of four by four: its pixel (3, 5) of channel 1.
        let Op::Rearrange(r) = &graph.nodes[0].op else { panic!("patches first") };
        assert_eq!(r.source_indices()[((3 * 8 + 5) * 3 + 1) * 16 + 4 + 2], 1024 + (8 + 3) * 32 + 16 + 5);
    }

    #[test]
    fn settings_that_make_no_network_are_said() {
        let cases = [
            ("vit:dim=0", "dim is '0'"),
            ("vit:dim", "'dim' is no setting"),
            ("vit:", "'' is no setting"),
            ("vit:size=3", "'size' is no setting"),
            ("vit:patch=5", "do not tile"),
            ("vit:heads=3", "3 heads"),
            ("vit:dim=6,heads=3,positions=sincos", "multiple of 4"),
            ("vit:cls=no", "class token"),
            ("vit:act=swish", "gelu or gelu-tanh or relu"),
            ("vit-tiny:classes=99999", "classes is"),
            ("vit:eps=-1", "positive"),
        ];
        for (name, expected) in cases {
            let error = build(name).unwrap().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(name), "{error}");
        }
        assert!(["vit", "vit-huge", "vit-l-h", "vit-l0-h1", "vit-l8"].iter().all(|name| build(name).is_none()));
    }
}
