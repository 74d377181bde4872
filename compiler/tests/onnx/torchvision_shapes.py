#!/usr/bin/env python3
"""Writes networks of torchvision's shapes, as torch.onnx.export lays them out, with random weights: resnet18, vgg16,
mobilenet_v2, squeezenet1_1 and densenet-like blocks. Needs numpy and onnx.

    python3 torchvision_shapes.py FOLDER [--side 224] [NAME ...]
"""

import argparse
import pathlib

import numpy as np

from net import Net


def resnet18(side):
    n = Net([3, side, side], opset=13, batch="batch_size")
    x = n.relu(n.bn(n.conv("x", 3, 64, 7, 2, 3, bias=False, name="conv1"), 64, name="bn1"))
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 64
    for stage, width in enumerate([64, 128, 256, 512], 1):
        for block in range(2):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = n.relu(n.bn(n.conv(x, inputs, width, 3, stride, 1, bias=False, name=f"{at}.conv1"), width, name=f"{at}.bn1"))
            y = n.bn(n.conv(y, width, width, 3, 1, 1, bias=False, name=f"{at}.conv2"), width, name=f"{at}.bn2")
            if stride != 1 or inputs != width:
                x = n.conv(x, inputs, width, 1, stride, bias=False, name=f"{at}.downsample.0")
                x = n.bn(x, width, name=f"{at}.downsample.1")
            x, inputs = n.relu(n.op("Add", y, x)), width
    x = n.op("Flatten", n.op("GlobalAveragePool", x), axis=1)
    return n, n.gemm(x, 512, 1000, name="fc")


def vgg16(side):
    n = Net([3, side, side], opset=11)
    x, inputs, place = "x", 3, 0
    for width, depth in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(depth):
            x, inputs = n.relu(n.conv(x, inputs, width, 3, 1, 1, name=f"features.{place}")), width
            place += 2
        x = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        place += 1
    # The adaptive pool to 7×7 of what is 7×7 (or less, for small images).
    left = side // 32
    x = n.op("Flatten", n.op("AveragePool", x, kernel_shape=[1, 1], strides=[1, 1]), axis=1)
    for i, (a, b) in enumerate([(512 * left * left, 4096), (4096, 4096), (4096, 1000)]):
        x = n.gemm(x, a, b, name=f"classifier.{3 * i}")
        if i < 2:
            x = n.op("Dropout", n.relu(x))
    return n, x


def mobilenet_v2(side):
    n = Net([3, side, side], opset=12)
    clip = lambda x: n.op("Clip", x, n.const(np.float32(0)), n.const(np.float32(6)))
    # Batch norm is folded by the exporter, so that weights have names of no module.
    conv = lambda x, i, o, k=1, s=1, g=1: n.conv(x, i, o, k, s, k // 2, groups=g, name=n.name("/features/Conv"))
    x, inputs = clip(conv("x", 3, 32, 3, 2)), 32
    for t, c, count, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(count):
            stride, hidden, y = s if i == 0 else 1, inputs * t, x
            if t != 1:
                y = clip(conv(y, inputs, hidden))
            y = clip(conv(y, hidden, hidden, 3, stride, hidden))
            y = conv(y, hidden, c)
            x = n.op("Add", x, y) if stride == 1 and inputs == c else y
            inputs = c
    x = clip(conv(x, 320, 1280))
    x = n.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    return n, n.gemm(x, 1280, 1000, name="classifier.1")


def squeezenet1_1(side):
    n = Net([3, side, side], opset=13)
    pool = lambda x: n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = pool(n.relu(n.conv("x", 3, 64, 3, 2, name="features.0")))
    inputs, place = 64, 3
    fires = [(16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256)]
    for fire in fires:
        at = f"features.{place}"
        place += 1
        if fire is None:
            x = pool(x)
            continue
        squeeze, expand = fire
        y = n.relu(n.conv(x, inputs, squeeze, 1, name=f"{at}.squeeze"))
        a = n.relu(n.conv(y, squeeze, expand, 1, name=f"{at}.expand1x1"))
        b = n.relu(n.conv(y, squeeze, expand, 3, 1, 1, name=f"{at}.expand3x3"))
        x, inputs = n.op("Concat", a, b, axis=1), 2 * expand
    x = n.relu(n.conv(n.op("Dropout", x), 512, 1000, 1, name="classifier.1"))
    return n, n.op("Flatten", n.op("GlobalAveragePool", x), axis=1)


def densenet_small(side):
    n = Net([3, side, side], opset=17)
    x = n.relu(n.bn(n.conv("x", 3, 32, 7, 2, 3, bias=False, name="features.conv0"), 32, name="features.norm0"))
    x, inputs = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 32
    for block in range(2):
        for layer in range(4):
            at = f"features.denseblock{block + 1}.denselayer{layer + 1}"
            y = n.conv(n.relu(n.bn(x, inputs, name=f"{at}.norm1")), inputs, 64, 1, bias=False, name=f"{at}.conv1")
            y = n.conv(n.relu(n.bn(y, 64, name=f"{at}.norm2")), 64, 16, 3, 1, 1, bias=False, name=f"{at}.conv2")
            x, inputs = n.op("Concat", x, y, axis=1), inputs + 16
        at = f"features.transition{block + 1}"
        x = n.conv(n.relu(n.bn(x, inputs, name=f"{at}.norm")), inputs, inputs // 2, 1, bias=False, name=f"{at}.conv")
        x, inputs = n.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), inputs // 2
    x = n.relu(n.bn(x, inputs, name="features.norm5"))
    x = n.op("Flatten", n.op("GlobalAveragePool", x), axis=1)
    return n, n.gemm(x, inputs, 1000, name="classifier")


ALL = [resnet18, vgg16, mobilenet_v2, squeezenet1_1, densenet_small]

if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("names", nargs="*", metavar="NAME")
    arguments.add_argument("--side", type=int, default=224)
    arguments = arguments.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for build in ALL:
        if arguments.names and build.__name__ not in arguments.names:
            continue
        net, output = build(arguments.side)
        model = net.model(output)
        path = arguments.folder / f"{build.__name__}.onnx"
        path.write_bytes(model.SerializeToString())
        print(path)
