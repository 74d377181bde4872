#!/usr/bin/env python3
"""Writes small_cnn.onnx, a network for 28×28 images, and cases/*.onnx: one small network for each operation, each with an input and what ONNX Runtime makes of it as the
initialisers `thinfer.input` and `thinfer.output`, which no node reads. Needs numpy, onnx and onnxruntime.

    python3 cases.py [FOLDER [CASE …]]
"""

import pathlib
import sys
import zlib

import numpy as np
import onnxruntime as ort
from onnx import helper, numpy_helper

from kinds import CASES, case, f32, ints
from net import Net


# Convolutions and matrices

@case
def conv_padding_stride_dilation_groups():
    n = Net([4, 9, 8])
    x = n.conv("x", 4, 6, [3, 2], [2, 1], [1, 0, 2, 1], groups=2, dilations=[1, 2])
    return n, n.conv(x, 6, 5, 1, bias=False)


@case
def conv_same_upper():
    n = Net([2, 7, 8], opset=8)
    return n, n.conv("x", 2, 3, 4, 2, auto_pad="SAME_UPPER")


@case
def conv_same_lower():
    n = Net([2, 7, 8])
    return n, n.conv("x", 2, 3, 4, 2, auto_pad="SAME_LOWER")


@case
def conv_depthwise_and_pointwise():
    n = Net([6, 5, 5])
    x = n.op("Clip", n.bn(n.conv("x", 6, 6, 3, 1, 1, groups=6, bias=False), 6), n.const(f32(0)[0]), n.const(f32(6)[0]))
    return n, n.conv(x, 6, 8, 1)


@case
def conv_half_precision_weights():
    n = Net([2, 5, 5])
    n.dtype = np.float16
    w = n.op("Cast", n.draw(3, 2, 3, 3, scale=0.3), to=1)
    n.dtype = np.float32
    return n, n.op("Conv", "x", w)


@case
def conv_double_bias_cast():
    n = Net([2, 5, 5])
    n.dtype = np.float64
    b = n.op("Cast", n.draw(3), to=1)
    n.dtype = np.float32
    return n, n.op("Conv", "x", n.draw(3, 2, 3, 3, scale=0.3), b)


@case
def gemm_scaled_untransposed():
    n = Net([5])
    return n, n.gemm("x", 5, 4, transB=0, alpha=0.5, beta=2.0)


@case
def gemm_row_bias_no_bias():
    n = Net([5])
    x = n.op("Gemm", "x", n.draw(4, 5), n.draw(1, 4), transB=1)
    return n, n.gemm(x, 4, 3, bias=False)


@case
def gemm_scalar_bias():
    n = Net([5])
    return n, n.op("Gemm", "x", n.draw(5, 4), n.const(f32(0.25)[0]))


@case
def matmul_add_either_side():
    n = Net([6])
    x = n.op("Relu", n.op("Add", n.op("MatMul", "x", n.draw(6, 5)), n.draw(5)))
    return n, n.op("Add", n.draw(1, 3), n.op("MatMul", x, n.draw(5, 3)))


@case
def matmul_of_one_row():
    n = Net([1, 6])
    return n, n.op("Squeeze", n.op("MatMul", "x", n.draw(6, 5)), n.const(ints(1)))


@case
def matmul_weight_transposed_in_the_file():
    n = Net([6])
    return n, n.op("MatMul", "x", n.op("Transpose", n.draw(5, 6), perm=[1, 0]))


# Normalisation and constants

@case
def bn_behind_conv_and_relu():
    n = Net([3, 6, 6])
    return n, n.bn(n.relu(n.bn(n.conv("x", 3, 4, pad=1), 4, epsilon=1e-3)), 4)


@case
def bn_before_padded_and_unpadded_conv():
    n = Net([3, 6, 6])
    x = n.conv(n.relu(n.bn("x", 3)), 3, 4, pad=1)
    return n, n.conv(n.bn(n.relu(x), 4), 4, 2)


@case
def bn_of_vectors():
    n = Net([7])
    x = n.bn(n.relu(n.bn(n.gemm(n.bn("x", 7), 7, 6), 6)), 6)
    return n, n.gemm(x, 6, 3)


@case
def bn_between_flatten_and_linear():
    n = Net([3, 4, 2])
    x = n.op("Flatten", n.bn(n.relu(n.conv("x", 3, 4, 1)), 4), axis=1)
    return n, n.gemm(n.bn(x, 32), 32, 5)


@case
def bn_written_out():
    n = Net([3, 4, 4])
    c = lambda: n.draw(1, 3, 1, 1)
    x = n.op("Sub", "x", c())
    x = n.op("Div", x, n.op("Sqrt", n.op("Add", n.positive(1, 3, 1, 1), n.const(f32(1e-5)))))
    x = n.op("Add", n.op("Mul", c(), x), n.draw(3, 1, 1))
    return n, n.conv(n.relu(x), 3, 2, pad=1)


@case
def constants_of_every_kind():
    n = Net([3, 4, 4])
    x = n.op("Add", n.op("Mul", "x", n.const(f32(2)[0])), n.const(f32(0.5)))
    x = n.op("Sub", n.const(f32(1.5)), n.op("Neg", n.op("Div", x, n.positive(3, 1, 1))))
    return n, n.op("Mul", x, n.draw(1, 3, 1, 1))


@case
def constants_that_differ_by_pixel_before_a_linear_layer():
    n = Net([2, 3, 3])
    x = n.op("Add", n.op("Flatten", n.relu(n.conv("x", 2, 2, 1))), n.draw(18))
    return n, n.gemm(x, 18, 4)


@case
def residual_sums():
    n = Net([4, 6, 6])
    a = n.relu(n.conv("x", 4, 4, pad=1))
    b = n.op("Add", n.conv(a, 4, 4, pad=1), a)
    c = n.op("Add", a, n.conv(n.relu(b), 4, 4, pad=1))
    d = n.op("Sub", n.op("Add", c, n.conv(b, 4, 4, 1)), "x")
    return n, n.relu(d)


@case
def residual_of_vectors():
    n = Net([6])
    a = n.relu(n.gemm("x", 6, 6))
    return n, n.op("Add", n.gemm(a, 6, 6), a)


@case
def shortcut_option_a():
    n = Net([4, 7, 6])
    picked = n.op("Slice", n.op("Slice", "x", n.const(ints(0)), n.const(ints(2**63 - 1)), n.const(ints(2)), n.const(ints(2))),
                  n.const(ints(0)), n.const(ints(2**63 - 1)), n.const(ints(3)), n.const(ints(2)))
    short = n.op("Pad", picked, n.const(ints(0, 2, 0, 0, 0, 2, 0, 0)), n.const(f32(0)[0]))
    return n, n.relu(n.op("Add", n.bn(n.conv("x", 4, 8, 3, 2, 1), 8), short))


# Activations

def activation(name, *, opset=17, **attributes):
    def build():
        n = Net([3, 5, 4], opset=opset)
        return n, n.op(name, n.op("Mul", n.conv("x", 3, 4, 1), n.const(f32(3)[0])), **attributes)
    CASES[f"act_{name.lower()}" + "".join(f"_{k}" for k in attributes) + (f"_{attributes['approximate']}" if "approximate" in attributes else "")] = build


for kind in ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "HardSwish"]:
    activation(kind)
activation("LeakyRelu", alpha=0.3)
activation("HardSigmoid", alpha=1 / 6, beta=0.5)
activation("Gelu", opset=20)
activation("Gelu", opset=20, approximate="tanh")
activation("Clip", opset=7, min=0.0, max=6.0)


@case
def act_clip_bounds():
    n = Net([3, 5, 4])
    bound = lambda v: n.const(f32(v)[0])
    x = n.op("Clip", n.conv("x", 3, 4, 1), bound(-0.5), bound(1.25))
    x = n.op("Clip", n.conv(x, 4, 4, 1), bound(-0.2), "")
    return n, n.op("Clip", n.conv(x, 4, 4, 1), "", bound(0.3))


@case
def act_prelu_of_one_slope():
    n = Net([3, 4, 4])
    return n, n.op("PRelu", "x", n.const(np.full((3, 1, 1), 0.2, np.float32)))


@case
def act_silu_written_out():
    n = Net([3, 4, 4])
    x = n.conv("x", 3, 4, 1)
    return n, n.op("Mul", x, n.op("Sigmoid", x))


@case
def act_hard_swish_written_out():
    n = Net([3, 4, 4])
    x = n.op("Mul", n.conv("x", 3, 4, 1), n.const(f32(3)[0]))
    clip = n.op("Clip", n.op("Add", x, n.const(f32(3)[0])), n.const(f32(0)[0]), n.const(f32(6)[0]))
    return n, n.op("Div", n.op("Mul", x, clip), n.const(f32(6)[0]))


@case
def act_gelu_written_out():
    n = Net([8])
    x = n.gemm("x", 8, 7)
    erf = n.op("Add", n.op("Erf", n.op("Div", x, n.const(f32(2**0.5)[0]))), n.const(f32(1)[0]))
    return n, n.op("Mul", n.op("Mul", x, erf), n.const(f32(0.5)[0]))


@case
def act_gelu_tanh_written_out():
    n = Net([8])
    x = n.gemm("x", 8, 7)
    cube = n.op("Mul", n.op("Pow", x, n.const(f32(3)[0])), n.const(f32(0.044715)[0]))
    tanh = n.op("Tanh", n.op("Mul", n.op("Add", x, cube), n.const(f32((2 / np.pi) ** 0.5)[0])))
    half = n.op("Mul", x, n.const(f32(0.5)[0]))
    return n, n.op("Mul", half, n.op("Add", tanh, n.const(f32(1)[0])))


@case
def softmax_last():
    n = Net([6])
    return n, n.op("Softmax", n.gemm("x", 6, 5), axis=-1)


@case
def log_softmax_old_axis():
    n = Net([6], opset=9)
    return n, n.op("LogSoftmax", n.gemm("x", 6, 5), axis=1)


@case
def softmax_of_channels():
    n = Net([3, 4, 5])
    return n, n.op("Softmax", n.conv("x", 3, 6, 1), axis=1)


# Pools

def pool(name, kind, shape=(3, 9, 8), opset=17, **attributes):
    def build():
        n = Net(shape, opset=opset)
        return n, n.op(kind, "x", **attributes)
    CASES[name] = build


pool("pool_max", "MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
pool("pool_max_ceil", "MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
pool("pool_max_dilated", "MaxPool", kernel_shape=[2, 2], dilations=[2, 3])
pool("pool_max_same", "MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
pool("pool_average", "AveragePool", kernel_shape=[2, 2], strides=[2, 2])
pool("pool_average_padding_left_out", "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
pool("pool_average_padding_counted", "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
pool("pool_average_ceil", "AveragePool", opset=19, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
pool("pool_average_same", "AveragePool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER")
pool("pool_global_average", "GlobalAveragePool")
pool("pool_global_max", "GlobalMaxPool")
pool("reduce_mean_kept", "ReduceMean", axes=[2, 3], keepdims=1)
pool("reduce_mean_old", "ReduceMean", opset=11, axes=[-1, -2], keepdims=0)


@case
def reduce_mean_axes_as_input():
    n = Net([3, 4, 5], opset=18)
    return n, n.op("ReduceMean", "x", n.const(ints(2, 3)), keepdims=0)


@case
def global_pool_then_pointwise_conv():
    n = Net([5, 4, 4])
    x = n.conv(n.op("GlobalAveragePool", n.relu(n.conv("x", 5, 6, pad=1))), 6, 4, 1)
    return n, n.op("Flatten", x)


# Layouts

@case
def nhwc_image_to_the_end():
    n = Net([7, 6, 3])
    x = n.relu(n.conv(n.op("Transpose", "x", perm=[0, 3, 1, 2]), 3, 4, 3, 2))
    x = n.op("Reshape", n.op("Transpose", x, perm=[0, 2, 3, 1]), n.const(ints(-1, 3 * 2 * 4)))
    return n, n.gemm(x, 24, 5)


@case
def nhwc_bias_behind_a_transpose():
    n = Net([6, 6, 3])
    x = n.conv(n.op("Transpose", "x", perm=[0, 3, 1, 2]), 3, 4, 3, bias=False)
    x = n.relu(n.op("Add", n.op("Transpose", x, perm=[0, 2, 3, 1]), n.draw(4)))
    x = n.op("ReduceMean", x, axes=[1, 2], keepdims=0)
    return n, n.gemm(x, 4, 3)


@case
def vector_reshaped_to_an_image():
    n = Net([36])
    x = n.conv(n.op("Reshape", "x", n.const(ints(-1, 1, 6, 6))), 1, 3)
    return n, n.gemm(n.op("Reshape", x, n.const(ints(0, -1))), 48, 4)


@case
def image_without_channels():
    n = Net([6, 5])
    return n, n.conv(n.op("Unsqueeze", "x", n.const(ints(1))), 1, 3)


@case
def column_of_pixels():
    n = Net([12, 1], opset=9)
    return n, n.gemm(n.op("Flatten", "x", axis=1), 12, 4)


@case
def shape_chain_and_symbolic_batch():
    n = Net([3, 4, 4], batch="N")
    x = n.relu(n.conv("x", 3, 4, 1))
    size = n.op("Gather", n.op("Shape", x), n.const(np.int64(0)), axis=0)
    target = n.op("Concat", n.op("Unsqueeze", size, n.const(ints(0))), n.const(ints(-1)), axis=0)
    return n, n.gemm(n.op("Reshape", x, target), 64, 3)


@case
def channel_shuffle():
    n = Net([6, 4, 3])
    x = n.op("Reshape", n.relu(n.conv("x", 6, 6, 1, groups=2)), n.const(ints(1, 2, 3, 4, 3)))
    x = n.op("Reshape", n.op("Transpose", x, perm=[0, 2, 1, 3, 4]), n.const(ints(1, 6, 4, 3)))
    return n, n.gemm(n.op("Flatten", x), 72, 4)


@case
def concat_of_channels():
    n = Net([3, 5, 4])
    a, b, c = (n.relu(n.conv("x", 3, k, 1)) for k in (2, 5, 3))
    return n, n.conv(n.op("Concat", a, b, c, axis=1), 10, 4, pad=1)


@case
def concat_of_vectors():
    n = Net([5])
    return n, n.gemm(n.op("Concat", n.gemm("x", 5, 3), "x", axis=-1), 8, 2)


@case
def dense_block():
    n = Net([4, 5, 5])
    x, channels = "x", 4
    for _ in range(2):
        y = n.conv(n.relu(n.bn(x, channels)), channels, 3, pad=1, bias=False)
        x, channels = n.op("Concat", x, y, axis=1), channels + 3
    return n, n.op("GlobalAveragePool", n.relu(n.bn(x, channels)))


@case
def channel_shuffle_before_groups():
    n = Net([6, 4, 3])
    x = n.op("Reshape", n.relu(n.conv("x", 6, 6, 1, groups=2)), n.const(ints(1, 2, 3, 4, 3)))
    x = n.op("Reshape", n.op("Transpose", x, perm=[0, 2, 1, 3, 4]), n.const(ints(1, 6, 4, 3)))
    x = n.conv(x, 6, 6, pad=1, groups=6)
    return n, n.op("GlobalAveragePool", n.conv(x, 6, 4, 1, groups=2))


@case
def split_into_gates():
    n = Net([4, 5, 6])
    a, b = n.op("Split", n.conv("x", 4, 6, 1), outputs=2, axis=1)
    c, d, e = n.op("Split", n.op("Mul", a, n.op("Sigmoid", b)), n.const(ints(1, 3, 2)), outputs=3, axis=3)
    return n, n.conv(n.op("Concat", d, c, e, axis=3), 3, 2, 2)


@case
def split_old_and_of_vectors():
    n = Net([7], opset=11)
    a, b = n.op("Split", n.gemm("x", 7, 6), outputs=2, axis=-1, split=[2, 4])
    return n, n.op("Concat", n.gemm(b, 4, 2), a, axis=1)


@case
def slices_of_an_image():
    n = Net([5, 6, 7])
    cut = lambda x, start, end, axis, step=1: n.op("Slice", x, n.const(ints(start)), n.const(ints(end)), n.const(ints(axis)), n.const(ints(step)))
    x = n.conv("x", 5, 6, 1)
    middle = cut(cut(x, 1, -1, 2), 2, 6, 3)
    some = cut(cut(cut(x, 1, 6, 1, 2), 0, 4, 2), 1, 100, 3, 2)
    return n, n.op("Concat", n.op("Flatten", middle), n.op("Flatten", n.conv(some, 3, 2, 2)), axis=1)


@case
def picked_rows():
    n = Net([4, 5, 6])
    row = n.op("Gather", n.conv("x", 4, 3, 1), n.const(np.int64(-1)), axis=2)
    return n, n.op("Mul", row, n.op("Gather", n.conv("x", 4, 3, 1), n.const(np.int64(0)), axis=2))


@case
def image_turned_and_put_together_by_rows():
    n = Net([3, 4, 5])
    turned = n.op("Transpose", n.conv("x", 3, 3, 1), perm=[0, 1, 3, 2])
    x = n.op("Concat", turned, n.op("MaxPool", turned, kernel_shape=[2, 1], strides=[2, 1]), axis=2)
    return n, n.op("Transpose", n.conv(x, 3, 4, 3, pad=1), perm=[0, 2, 3, 1])


@case
def vector_made_an_image_in_the_middle():
    n = Net([6])
    x = n.op("Reshape", n.relu(n.gemm("x", 6, 24)), n.const(ints(1, 2, 3, 4)))
    return n, n.conv(x, 2, 3, 3, pad=1)


@case
def squeeze_and_excite():
    n = Net([4, 5, 6])
    x = n.op("HardSwish", n.conv("x", 4, 8, 3, pad=1))
    s = n.relu(n.conv(n.op("GlobalAveragePool", x), 8, 2, 1))
    s = n.op("HardSigmoid", n.conv(s, 2, 8, 1), alpha=1 / 6, beta=0.5)
    return n, n.op("Add", n.conv(n.op("Mul", s, x), 8, 4, 1), "x")


@case
def values_broadcast_to_each_other():
    n = Net([3, 4, 5])
    x = n.conv("x", 3, 4, 1)
    mean = n.op("GlobalAveragePool", x)
    rows = n.op("Slice", x, n.const(ints(1)), n.const(ints(2)), n.const(ints(3)))
    x = n.op("Sub", n.op("Add", x, rows), mean)
    return n, n.op("Add", x, n.op("Expand", mean, n.const(ints(1, 4, 4, 5))))


@case
def normalised_between_flatten_and_relu():
    n = Net([3, 4, 2])
    x = n.relu(n.bn(n.op("Flatten", n.relu(n.conv("x", 3, 4, 1))), 32))
    return n, n.gemm(x, 32, 5)


@case
def sum_of_many():
    n = Net([3, 4, 4])
    a, b = n.conv("x", 3, 3, 1), n.conv("x", 3, 3, 3, pad=1)
    return n, n.relu(n.op("Sum", a, b, "x", n.draw(3, 1, 1)))


@case
def relu6_of_max_and_min():
    n = Net([3, 4, 4])
    x = n.op("Max", n.conv("x", 3, 4, 1), n.const(f32(0)[0]))
    return n, n.op("Min", n.const(f32(1.5)), n.conv(x, 4, 4, 1))


@case
def softmax_of_rows():
    n = Net([3, 4, 5])
    return n, n.op("Softmax", n.op("Softmax", n.conv("x", 3, 4, 1), axis=-1), axis=2)


@case
def zeros_around_an_image():
    n = Net([3, 5, 6])
    x = n.relu(n.conv(n.op("Pad", "x", n.const(ints(0, 0, 1, 0, 0, 0, 2, 1)), n.const(f32(0)[0])), 3, 4))
    x = n.op("MaxPool", n.op("Pad", x, n.const(ints(0, 0, 1, 1, 0, 0, 0, 1))), kernel_shape=[3, 3], strides=[2, 2])
    return n, n.op("AveragePool", n.op("Pad", x, n.const(ints(0, 0, 1, 1, 0, 0, 1, 1))), kernel_shape=[2, 2])


@case
def identities():
    n = Net([4, 3, 3])
    x = n.op("Dropout", n.op("Identity", n.conv("x", 4, 4, 1)))
    x = n.op("Cast", x, to=1)
    x = n.op("Slice", x, n.const(ints(0)), n.const(ints(2**31)), n.const(ints(2)))
    return n, n.op("Expand", n.op("Concat", x, axis=1), n.const(ints(1, 1, 1, 1)))


# Transformers

def tokens(n, channels=6, patch=2):
    """An image's patches as tokens, [batch, tokens, channels], as PyTorch's flatten(2).transpose(1, 2)."""
    x = n.conv("x", n.shape[0], channels, patch, patch, name="patch_embed.proj")
    count = (n.shape[1] // patch) * (n.shape[2] // patch)
    return n.op("Transpose", n.op("Reshape", x, n.const(ints(0, channels, -1))), perm=[0, 2, 1]), count


def linear(n, x, inputs, outputs, bias=True, name=None):
    name = name or n.name("linear")
    y = n.op("MatMul", x, n.draw(inputs, outputs, scale=inputs ** -0.5, name=n.name("onnx::MatMul")), name=f"/{name}/MatMul")
    return n.op("Add", n.draw(outputs, scale=0.3, name=f"{name}.bias"), y) if bias else y


def heads(n, x, count, size):
    return n.op("Transpose", n.op("Reshape", x, n.const(ints(0, -1, count, size))), perm=[0, 2, 1, 3])


def together(n, x, channels):
    return n.op("Reshape", n.op("Transpose", x, perm=[0, 2, 1, 3]), n.const(ints(0, -1, channels)))


def written_out(n, q, k, v, scale):
    """Of heads, [batch, heads, tokens, size]."""
    scores = n.op("Div", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2])), n.const(f32(scale)[0]))
    return n.op("MatMul", n.op("Softmax", scores, axis=-1), v)


@case
def layer_norm_of_tokens():
    n = Net([3, 6, 8])
    x, _ = tokens(n)
    x = n.op("LayerNormalization", x, n.draw(6, name="norm.weight"), n.draw(6, name="norm.bias"), axis=-1, epsilon=1e-6)
    return n, n.op("LayerNormalization", linear(n, x, 6, 5), n.draw(5, name="end.weight"))


@case
def layer_norm_of_vectors_and_of_whole_images():
    n = Net([3, 4, 2])
    x = n.op("LayerNormalization", n.conv("x", 3, 4, 1), n.draw(4, 4, 2), n.draw(4, 4, 2), axis=1)
    x = n.op("LayerNormalization", n.gemm(n.op("Flatten", x), 32, 7), n.draw(7), n.draw(7))
    return n, n.gemm(x, 7, 3)


@case
def layer_norm_of_the_last_axis_of_an_image():
    n = Net([3, 4, 5])
    x = n.op("LayerNormalization", n.op("Transpose", n.conv("x", 3, 6, 1), perm=[0, 2, 3, 1]), n.draw(6), n.draw(6))
    return n, n.op("LayerNormalization", n.op("Transpose", x, perm=[0, 3, 1, 2]), n.draw(5), n.draw(5))


@case
def layer_norm_written_out():
    n = Net([3, 4, 4], opset=12)
    x, _ = tokens(n)
    centred = n.op("Sub", x, n.op("ReduceMean", x, axes=[-1]))
    variance = n.op("ReduceMean", n.op("Pow", centred, n.const(f32(2)[0])), axes=[-1])
    root = n.op("Sqrt", n.op("Add", variance, n.const(f32(1e-5)[0])))
    return n, n.op("Add", n.op("Mul", n.op("Div", centred, root), n.draw(6)), n.draw(6))


@case
def layer_norm_written_out_by_reciprocals():
    n = Net([3, 4, 4], opset=18)
    x, _ = tokens(n)
    axes = n.const(ints(2))
    centred = n.op("Sub", x, n.op("ReduceMean", x, axes))
    root = n.op("Sqrt", n.op("Add", n.op("ReduceMean", n.op("Mul", centred, centred), axes), n.const(f32(1e-3)[0])))
    return n, linear(n, n.op("Mul", centred, n.op("Reciprocal", root)), 6, 4)


@case
def matrices_over_tokens_and_over_pixels():
    n = Net([3, 4, 6])
    x, _ = tokens(n)
    x = n.op("Add", x, linear(n, n.op("Gelu", linear(n, x, 6, 9)) if n.opset >= 20 else n.relu(linear(n, x, 6, 9)), 9, 6))
    # As an image with its channels last, and turned so that columns are features.
    image = linear(n, n.op("Reshape", x, n.const(ints(0, 2, 3, 6))), 6, 5)
    return n, linear(n, n.op("Transpose", image, perm=[0, 3, 1, 2]), 3, 4)


@case
def attention_of_three_weights():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    q, k, v = (heads(n, linear(n, x, 8, 12), 3, 4) for _ in range(3))
    x = n.op("Add", linear(n, together(n, written_out(n, q, k, v, 2), 12), 12, 8), x)
    return n, x


@case
def attention_of_heads_that_are_no_vectors_of_four():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    q, k, v = (heads(n, linear(n, x, 8, 15), 3, 5) for _ in range(3))
    return n, linear(n, together(n, written_out(n, q, k, v, 2), 15), 15, 8)


@case
def attention_of_one_head_without_its_axis():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    q, k, v = (linear(n, x, 8, 8, bias=False) for _ in range(3))
    scores = n.op("Mul", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1])), n.const(f32(0.3)[0]))
    return n, n.op("MatMul", n.op("Softmax", scores, axis=2), v)


def packed(n, x, count, size):
    """timm's qkv.reshape(B, N, 3, heads, size).permute(2, 0, 3, 1, 4)."""
    qkv = linear(n, x, 8, 3 * count * size, name="blocks.0.attn.qkv")
    return n.op("Transpose", n.op("Reshape", qkv, n.const(ints(0, -1, 3, count, size))), perm=[2, 0, 3, 1, 4])


@case
def attention_packed_and_gathered():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    all_three = packed(n, x, 2, 4)
    q, k, v = (n.op("Gather", all_three, n.const(np.array(i)), axis=0) for i in range(3))
    q = n.op("Mul", q, n.const(f32(0.5)[0]))
    scores = n.op("Softmax", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    return n, linear(n, together(n, n.op("MatMul", scores, v), 8), 8, 8)


@case
def attention_packed_and_split():
    n = Net([3, 6, 8], opset=12)
    x, _ = tokens(n, 8)
    parts = n.op("Split", packed(n, x, 2, 4), outputs=3, axis=0, split=[1, 1, 1])
    q, k, v = (n.op("Squeeze", p, axes=[0]) for p in parts)
    return n, linear(n, together(n, written_out(n, q, k, v, 2), 8), 8, 8)


@case
def attention_in_chunks_of_channels():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    parts = n.op("Split", linear(n, x, 8, 24, bias=False), n.const(ints(8, 8, 8)), outputs=3, axis=-1)
    q, k, v = (heads(n, p, 4, 2) for p in parts)
    return n, linear(n, together(n, written_out(n, q, k, v, 2 ** 0.5), 8), 8, 8)


@case
def attention_with_scales_from_shapes():
    """As PyTorch exports scaled_dot_product_attention: the scale's root on both sides, from the last axis of the queries."""
    n = Net([3, 6, 8], batch="N")
    x, _ = tokens(n, 8)
    q, k, v = (heads(n, linear(n, x, 8, 8), 2, 4) for _ in range(3))
    size = n.op("Cast", n.op("Slice", n.op("Shape", q), n.const(ints(-1)), n.const(ints(2**62))), to=1)
    scale = n.op("Sqrt", n.op("Div", n.const(f32(1)), n.op("Sqrt", size)))
    q = n.op("Mul", q, scale)
    k = n.op("Mul", n.op("Transpose", k, perm=[0, 1, 3, 2]), scale)
    return n, linear(n, together(n, n.op("MatMul", n.op("Softmax", n.op("MatMul", q, k), axis=-1), v), 8), 8, 8)


@case
def attention_from_one_value_to_another():
    n = Net([3, 8, 8])
    x, _ = tokens(n, 8)
    q = heads(n, linear(n, n.op("Gather", x, n.const(ints(0)), axis=1), 8, 8), 2, 4)
    k, v = (heads(n, linear(n, x, 8, 8), 2, 4) for _ in range(2))
    return n, n.op("Reshape", together(n, written_out(n, q, k, v, 2), 8), n.const(ints(0, 8)))


@case
def attention_as_an_operator():
    n = Net([3, 6, 8], opset=23)
    x, _ = tokens(n, 8)
    q, k, v = (linear(n, x, 8, 12) for _ in range(3))
    x = linear(n, n.op("Attention", q, k, v, q_num_heads=3, kv_num_heads=3), 12, 8)
    q, k, v = (heads(n, linear(n, x, 8, 8), 2, 4) for _ in range(3))
    return n, linear(n, together(n, n.op("Attention", q, k, v, scale=0.7), 8), 8, 8)


@case
def class_token_and_positions():
    n = Net([3, 6, 8], batch="N")
    x, count = tokens(n, 8)
    batch = n.op("Gather", n.op("Shape", x), n.const(ints(0)), axis=0)
    shape = n.op("Concat", batch, n.const(ints(1)), n.const(ints(8)), axis=0)
    x = n.op("Concat", n.op("Expand", n.draw(1, 1, 8, name="cls_token"), shape), x, axis=1)
    x = n.op("Add", x, n.draw(1, count + 1, 8, name="pos_embed"))
    x = linear(n, x, 8, 8)
    # The class token, and all others without it.
    cls = n.op("Gather", x, n.const(np.array(0)), axis=1)
    rest = n.op("ReduceMean", n.op("Slice", x, n.const(ints(1)), n.const(ints(2**62)), n.const(ints(1))), axes=[1], keepdims=0)
    return n, n.gemm(n.op("Add", cls, rest), 8, 5)


@case
def positions_of_turned_tokens():
    n = Net([3, 4, 6])
    x = n.op("Reshape", n.conv("x", 3, 4, 1), n.const(ints(0, 4, 24)))
    x = n.op("Sub", x, n.draw(4, 24))
    x = n.op("Concat", n.draw(1, 4, 2), x, axis=2)
    return n, linear(n, n.op("Transpose", x, perm=[0, 2, 1]), 4, 3)


# Constants that are computed in the file, branches and functions

@case
def weight_norm():
    n = Net([3, 6, 5])
    v, g = n.draw(4, 3, 3, 3), n.positive(4, 1, 1, 1)
    norm = n.op("Sqrt", n.op("ReduceSum", n.op("Mul", v, v), n.const(ints(1, 2, 3)), keepdims=1))
    return n, n.op("Conv", "x", n.op("Mul", v, n.op("Div", g, norm)), n.draw(4))


@case
def weight_norm_by_one_operation():
    n = Net([6], opset=18)
    w = n.op("Mul", n.op("LpNormalization", n.draw(5, 6), axis=1, p=2), n.op("ReduceL2", n.draw(5, 6), n.const(ints(-1))))
    return n, n.op("Gemm", "x", w, n.draw(5), transB=1)


def whole(n, low, high, *shape, dtype):
    return n.const(n.rng.integers(low, high, shape).astype(dtype), "whole")


@case
def weights_dequantised_by_channel():
    n = Net([3, 6, 5])
    w = n.op("DequantizeLinear", whole(n, -128, 128, 4, 3, 3, 3, dtype=np.int8), n.const(f32(0.01, 0.02, 0.005, 0.03)),
             whole(n, -5, 5, 4, dtype=np.int8), axis=0)
    b = n.op("DequantizeLinear", whole(n, -99, 99, 4, dtype=np.int32), n.const(f32(0.004)[0]))
    return n, n.op("Conv", "x", w, b)


@case
def weights_dequantised_by_block():
    import ml_dtypes
    n = Net([6], opset=21)
    w = n.op("DequantizeLinear", whole(n, -8, 8, 6, 5, dtype=ml_dtypes.int4), n.positive(3, 5), axis=0, block_size=2)
    return n, n.op("MatMul", "x", w)


@case
def weights_quantised_and_back():
    n = Net([6])
    scale, zero = n.const(f32(0.05)[0]), n.const(np.uint8(100))
    w = n.op("DequantizeLinear", n.op("QuantizeLinear", n.draw(5, 6), scale, zero), scale, zero)
    return n, n.op("Gemm", "x", w, transB=1)


@case
def weights_split_tiled_and_gathered():
    n = Net([6], opset=18)
    a, b = n.op("Split", n.draw(6, 8), axis=-1, outputs=2, num_outputs=2)
    a = n.op("Tile", n.op("Slice", a, n.const(ints(0)), n.const(ints(2)), n.const(ints(-1))), n.const(ints(1, 2)))
    picked = n.op("GatherElements", b, n.const(n.rng.integers(-4, 4, (6, 4)), "index"), axis=1)
    placed = n.op("ScatterND", n.op("Transpose", n.op("Add", a, picked)), n.const(np.array([[1], [-1]])), n.draw(2, 6), reduction="add")
    return n, n.op("Gemm", "x", placed, transB=1)


@case
def weights_by_a_mask_and_a_softmax():
    n = Net([5])
    mask = n.op("Trilu", n.op("CastLike", n.op("ConstantOfShape", n.const(ints(5, 5)), value=numpy_helper.from_array(np.array([1], np.int32))),
                              n.const(np.bool_(True))), upper=0)
    scores = n.op("Where", mask, n.draw(5, 5), n.const(f32(-np.inf)[0]))
    return n, n.op("MatMul", "x", n.op("Einsum", n.op("Softmax", scores, axis=-1), n.draw(4, 5), equation="ij,kj->ik"))


@case
def positions_of_sines_and_cosines():
    n = Net([6, 8])
    at = n.op("Unsqueeze", n.op("Cast", n.op("Range", n.const(np.int64(0)), n.const(np.int64(6)), n.const(np.int64(1))), to=1), n.const(ints(1)))
    rate = n.op("Exp", n.op("Mul", n.op("Range", *(n.const(np.float32(v)) for v in (0, 8, 2))), n.const(f32(-np.log(1e4) / 8))))
    angle = n.op("Mul", at, rate)
    both = n.op("Concat", n.op("Unsqueeze", n.op("Sin", angle), n.const(ints(-1))), n.op("Unsqueeze", n.op("Cos", angle), n.const(ints(-1))), axis=-1)
    x = n.op("Add", linear(n, "x", 8, 8), n.op("Reshape", both, n.const(ints(1, 6, 8))))
    return n, linear(n, x, 8, 4)


def branch(n, build):
    """A graph of what `build` appends, with its constants, that gives its result."""
    nodes, constants, n.nodes, n.initializers = n.nodes, n.initializers, [], []
    output = build()
    graph = helper.make_graph(n.nodes, "branch", [], [helper.make_tensor_value_info(output, 1, None)], n.initializers)
    n.nodes, n.initializers = nodes, constants
    return graph


@case
def branch_on_a_constant():
    n = Net([6])
    h = n.relu(n.gemm("x", 6, 5))
    flag = n.op("Equal", n.op("Size", n.draw(3)), n.const(np.int64(3)))
    inner = lambda: n.op("If", n.op("Not", n.const(np.bool_(True))), then_branch=branch(n, lambda: n.op("Neg", h)),
                         else_branch=branch(n, lambda: n.gemm(h, 5, 4)))
    x = n.op("If", flag, then_branch=branch(n, inner), else_branch=branch(n, lambda: n.op("Tanh", h)))
    return n, n.gemm(x, 4, 3)


@case
def functions_of_the_file():
    n = Net([6])
    n.functions = [
        helper.make_function("own", "Scaled", ["a"], ["b"], [
            helper.make_node("Constant", [], ["k"]), helper.make_node("Mul", ["a", "k"], ["b"])], [helper.make_opsetid("", 17)], ["alpha"]),
        helper.make_function("own", "Dense", ["a", "w", "c"], ["b"], [
            helper.make_node("Gemm", ["a", "w", "c"], ["h"], transB=1), helper.make_node("Scaled", ["h"], ["k"], domain="own", alpha=0.5),
            helper.make_node("Relu", ["k"], ["b"])], [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]),
    ]
    reference = n.functions[0].node[0].attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "value_float", "alpha", 1
    x = n.op("Dense", "x", n.draw(5, 6), n.draw(5), domain="own")
    return n, n.op("Dense", x, n.draw(4, 5), n.draw(4), domain="own")


@case
def initialisers_that_are_sparse():
    n = Net([6])
    values, at = n.rng.standard_normal(7).astype(np.float32), np.sort(n.rng.choice(30, 7, replace=False))
    n.sparse = [helper.make_sparse_tensor(numpy_helper.from_array(values, "w"), numpy_helper.from_array(at, "at"), [6, 5])]
    return n, n.op("MatMul", "x", "w")


def write(folder, only):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.onnx"):
        if old.stem not in CASES:
            old.unlink()
    for name, build in sorted(CASES.items()):
        if only and name not in only:
            continue
        net, output = build()
        net.op("Identity", output, name="end")
        batch = net.batch if isinstance(net.batch, int) else 1
        x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal((batch, *net.shape)).astype(np.float32)
        bare = net.model("end_out")
        expected = ort.InferenceSession(bare.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        extra = [numpy_helper.from_array(x, "thinfer.input"), numpy_helper.from_array(expected.astype(np.float32), "thinfer.output")]
        (folder / f"{name}.onnx").write_bytes(net.model("end_out", extra).SerializeToString())
    print(f"{len(CASES)} cases in {folder}")


def small_cnn():
    n = Net([1, 28, 28], seed=7, batch="N")
    x = n.relu(n.bn(n.conv("x", 1, 6, 5, 2, name="conv1", bias=False), 6, name="norm1"))
    x = n.bn(n.relu(n.conv(x, 6, 8, 3, 2, name="conv2")), 8, name="norm2")
    x = n.op("LogSoftmax", n.gemm(n.op("Flatten", x, axis=1), 200, 10, name="fc"), axis=1)
    return n.model(x)


if __name__ == "__main__":
    (pathlib.Path(__file__).parent / "small_cnn.onnx").write_bytes(small_cnn().SerializeToString())
    write(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "cases"), sys.argv[2:])
