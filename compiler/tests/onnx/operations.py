"""Cases of layers: convolutions and matrices, normalisation and constants, activations, pools."""

import numpy as np

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
