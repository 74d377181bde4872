"""Networks of torchvision, of timm and two U-Nets, small members at small sizes, each a function without arguments that gives a module
and the shape of its input. Weights are random. Batch norms have statistics of the network's own values, so that every layer's
output is of the order of 1 and a wrong layer shows at the end."""

import functools

import timm
import torch
import torchvision
from torch import nn
from torchvision.models import detection, segmentation

NETWORKS = {}


def network(name, make, side, channels=3):
    NETWORKS[name] = lambda: (make(), (1, channels, side, side))


def vision(name, side, **more):
    network(f"torchvision/{name}", functools.partial(torchvision.models.get_model, name, weights=None, **more), side)


def image_model(name, side, **more):
    network(f"timm/{name}", functools.partial(timm.create_model, name, pretrained=False, **more), side)


class Several(nn.Module):
    """A network whose outputs are those that `read` gives of the whole."""

    def __init__(self, whole, read):
        super().__init__()
        self.whole, self.read = whole, read

    def forward(self, x):
        return self.read(self.whole, x)


def body(name, side, **more):
    """A detector without what makes boxes of its scores: backbone, pyramid and heads."""
    make = functools.partial(getattr(detection, name), weights=None, weights_backbone=None, **more)

    def read(whole, x):
        features = list(whole.backbone(x).values())
        if hasattr(whole, "rpn"):
            scores, boxes = whole.rpn.head(features)
            return *scores, *boxes
        return tuple(whole.head(features).values())

    network(f"torchvision/{name}", lambda: Several(make(), read), side)


def maps(name, side):
    """A network for segmentation, whose outputs are several maps of classes."""
    more = {} if name.startswith("lraspp") else {"aux_loss": True}
    make = functools.partial(getattr(segmentation, name), weights=None, weights_backbone=None, num_classes=21, **more)
    network(f"torchvision/{name}", lambda: Several(make(), lambda whole, x: tuple(whole(x).values())), side)


def swin(version=""):
    """A small one, of the parts that torchvision makes a whole one of: windows of 4, shifted and not, and merging."""
    parts = torchvision.models.swin_transformer
    names = [f"SwinTransformerBlock{version}", f"PatchMerging{version}"]
    block, merging = (getattr(parts, name) for name in names)
    return parts.SwinTransformer([4, 4], 24, [2, 2, 2], [2, 4, 8], [4, 4], num_classes=100, block=block, downsample_layer=merging)


class UNet(nn.Module):
    """Two convolutions a level, halved on the way down; on the way up a transposed convolution or a bilinear resize, padded to the size of
    the level's own values, which are concatenated."""

    def __init__(self, width, depth, bilinear):
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.first = self.double(3, width)
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), self.double(a, b)) for a, b in zip(widths, widths[1:]))
        pairs = [*zip(widths, widths[1:])][::-1]
        resize = functools.partial(nn.Upsample, scale_factor=2, mode="bilinear", align_corners=True)
        self.up = nn.ModuleList(nn.Sequential(resize(), nn.Conv2d(b, a, 1)) if bilinear else nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairs)
        self.join = nn.ModuleList(self.double(2 * a, a) for a, _ in pairs)
        self.last = nn.Conv2d(width, 2, 1)

    @staticmethod
    def double(inputs, outputs):
        convs = [(inputs, outputs), (outputs, outputs)]
        return nn.Sequential(*(m for a, b in convs for m in (nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(True))))

    def forward(self, x):
        ways = [self.first(x)]
        for down in self.down:
            ways.append(down(ways[-1]))
        x = ways.pop()
        for up, join in zip(self.up, self.join):
            x, beside = up(x), ways.pop()
            high, wide = beside.shape[2] - x.shape[2], beside.shape[3] - x.shape[3]
            x = nn.functional.pad(x, [wide // 2, wide - wide // 2, high // 2, high - high // 2])
            x = join(torch.cat([beside, x], 1))
        return self.last(x)


for name in ["resnet18", "resnet50", "resnext50_32x4d", "regnet_x_400mf", "regnet_y_400mf", "mobilenet_v2", "mobilenet_v3_small",
             "mobilenet_v3_large", "efficientnet_b0", "mnasnet0_5", "shufflenet_v2_x0_5", "squeezenet1_0", "squeezenet1_1", "densenet121"]:
    vision(name, 64)
vision("googlenet", 64, init_weights=False, aux_logits=False)
vision("inception_v3", 107, init_weights=False, aux_logits=False)
vision("convnext_tiny", 64)
network("torchvision/VisionTransformer", lambda: torchvision.models.VisionTransformer(64, 16, 3, 3, 96, 384), 64)
network("torchvision/SwinTransformer", swin, 64)
network("torchvision/SwinTransformerV2", functools.partial(swin, "V2"), 64)
network("torchvision/MaxVit", lambda: torchvision.models.MaxVit((64, 64), 16, 4, [16, 32, 64], [1, 2, 1], 16, 0.1), 64)
for name in ["fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]:
    maps(name, 64)
body("ssdlite320_mobilenet_v3_large", 160)
for name in ["retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn"]:
    body(name, 96)

network("unet/transposed", lambda: UNet(16, 3, False), 44)
network("unet/bilinear", lambda: UNet(16, 3, True), 44)

for name in ["resnet18", "resnet26d", "seresnet18", "resnext26ts", "regnetx_002", "regnety_002", "mobilenetv2_050", "mobilenetv3_small_050",
             "mobilenetv4_conv_small", "efficientnet_lite0", "tf_efficientnet_b0", "mnasnet_small", "ghostnet_050", "convnext_atto",
             "convnextv2_atto", "repvgg_a0", "mobileone_s0", "res2net50_26w_4s", "hrnet_w18_small"]:
    image_model(name, 64)
image_model("inception_v4", 107)
for name in ["vit_tiny_patch16_224", "deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"]:
    image_model(name, 64, img_size=64)
image_model("swin_tiny_patch4_window7_224", 112, img_size=112, depths=(2, 2, 2, 2))
image_model("swinv2_tiny_window8_256", 128, img_size=128, depths=(2, 2, 2, 2))
image_model("maxvit_pico_rw_256", 128, img_size=128)
image_model("coatnet_pico_rw_224", 96, img_size=96)
image_model("mobilevit_xxs", 96)
image_model("mixer_s32_224", 96, img_size=96)
image_model("poolformer_s12", 64)
image_model("levit_128s", 224)
image_model("xcit_nano_12_p16_224", 64)
image_model("pvt_v2_b0", 64)
image_model("eva02_tiny_patch14_224", 56, img_size=56)


def randomised(module, x, seed=0):
    """`module` in evaluation, with random scales and shifts, and statistics of norms that were measured on inputs like `x` and then moved."""
    draw = torch.Generator().manual_seed(seed)
    uniform = lambda like, low, high: low + (high - low) * torch.rand(like.shape, generator=draw)
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is None:
                continue
            normed = "Norm" in type(part).__name__
            if normed and name == "weight":
                value.data = uniform(value, 0.7, 1.3)
            elif name == "bias":
                value.data = uniform(value, -0.2, 0.2)
            elif value.ndim < 4 and ("gamma" in name or "scale" in name):
                # Factors of branches, which start at nothing.
                value.data = uniform(value, 0.3, 0.9)
            elif not value.any():
                # Last layers that start at nothing.
                value.data = uniform(value, -1.0, 1.0) * (3 / value[0].numel()) ** 0.5
            elif not isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                # Tables of positions and tokens.
                value.data = uniform(value, -0.5, 0.5)
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        module.eval()
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        with torch.no_grad():
            module(torch.randn((3, *x.shape[1:]), generator=draw))
        for norm in norms:
            # Three samples of one pixel may agree by chance.
            norm.running_var.clamp_(min=float(norm.running_var.mean()) / 4)
            norm.running_mean += uniform(norm.running_mean, -0.1, 0.1) * norm.running_var.sqrt()
            norm.running_var *= uniform(norm.running_var, 0.8, 1.25)
            norm.momentum = 0.1
    return module.eval()
