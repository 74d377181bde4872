"""The table of all cases, and those of files that importers are known to read wrongly and of operations that are made of others."""

import numpy as np

from net import Net

CASES = {}


def case(f):
    CASES[f.__name__] = f
    return f


def f32(*values):
    return np.array(values, np.float32)


def ints(*values):
    return np.array(values, np.int64)


def number(n, value):
    return n.const(np.float32(value))


# Padding

def padded(name, then, pads, shape=(2, 9, 8), **more):
    def build():
        n = Net(shape, **more)
        return n, then(n, n.op("Pad", n.relu("x"), n.const(ints(*pads)), number(n, 0)))
    CASES[name] = build


ROUND = (0, 0, 1, 2, 0, 0, 2, 1)
padded("pad_then_conv_same_upper", lambda n, x: n.conv(x, 2, 3, 3, 2, auto_pad="SAME_UPPER"), ROUND)
padded("pad_then_conv_same_lower", lambda n, x: n.conv(x, 2, 3, [2, 4], 3, auto_pad="SAME_LOWER"), ROUND)
padded("pad_then_max_same", lambda n, x: n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"), ROUND)
padded("pad_then_average_same", lambda n, x: n.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"), ROUND)
padded("pad_then_average_ceil", lambda n, x: n.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), (0, 0, 0, 0, 0, 0, 2, 2))
padded("pad_then_pad_then_padded_conv", lambda n, x: n.conv(n.op("Pad", x, n.const(ints(*ROUND)), number(n, 0)), 2, 3, 3, 1, 1), ROUND)
padded("pad_read_by_an_activation", lambda n, x: n.op("Exp", x), ROUND)
padded("pad_of_channels_unevenly", lambda n, x: n.conv(x, 5, 3, 1), (0, 1, 0, 0, 0, 2, 0, 0))
padded("pad_of_three_axes", lambda n, x: n.conv(x, 3, 3), (0, 1, 1, 0, 0, 0, 2, 3))
padded("pad_that_cuts", lambda n, x: n.conv(x, 2, 3), (0, 0, -1, 2, 0, 0, 1, -2))


@case
def pad_to_whole_windows_by_computed_shapes():
    # As PyTorch pads to whole windows: what is missing, by the shape of a computed value, last axis first, then turned.
    n = Net([2, 5, 6])
    x = n.op("Exp", "x")
    size = n.const(ints(4))

    def missing(axis):
        length = n.op("Gather", n.op("Shape", x), n.const(np.int64(axis)))
        left = n.op("Mod", n.op("Sub", size, n.op("Mod", length, size)), size)
        return n.op("Reshape", left, n.const(ints(1)))

    zero = n.const(ints(0))
    pads = n.op("Concat", zero, missing(3), zero, missing(2), zero, zero, zero, zero, axis=0)
    turned = n.op("Slice", n.op("Reshape", pads, n.const(ints(-1, 2))), n.const(ints(-1)), n.const(ints(-99)), n.const(ints(0)), n.const(ints(-1)))
    pads = n.op("Cast", n.op("Reshape", n.op("Transpose", turned, perm=[1, 0]), n.const(ints(-1))), to=7)
    return n, n.conv(n.op("Pad", x, pads), 2, 3, 4, 4)


@case
def pad_nhwc_before_a_transpose():
    n = Net([6, 5, 3])
    x = n.op("Pad", "x", n.const(ints(0, 1, 2, 0, 0, 1, 0, 0)), number(n, 0))
    return n, n.conv(n.op("Transpose", x, perm=[0, 3, 1, 2]), 3, 4)


@case
def pad_of_other_numbers():
    n = Net([2, 5, 4])
    x = n.op("Pad", "x", n.const(ints(*ROUND)), number(n, -3.4028235e38))
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    return n, n.op("Pad", x, n.const(ints(*ROUND)), number(n, 1.5))


@case
def pad_by_reflection_edge_and_wrap():
    n = Net([2, 5, 4], opset=19)
    for mode in ["reflect", "edge", "wrap"]:
        last = n.op("Pad", "x" if mode == "reflect" else last, n.const(ints(*ROUND)), mode=mode)
    return n, last


@case
def padding_beyond_the_kernel():
    n = Net([2, 5, 4])
    return n, n.conv("x", 2, 3, 3, 3, [5, 4, 6, 5])


# Bounds

@case
def clip_to_half_precisions_range():
    n = Net([3, 5, 4])
    return n, n.op("Clip", n.conv("x", 3, 4), number(n, -65504), number(n, 65504))


@case
def clip_far_below():
    n = Net([3, 5, 4])
    return n, n.op("Clip", n.conv("x", 3, 4), number(n, -1e9), number(n, 0.25))


@case
def clip_where_bounds_meet():
    n = Net([5])
    return n, n.op("Add", n.op("Clip", n.gemm("x", 5, 4), number(n, 1), number(n, 1)), n.gemm("x", 5, 4))


@case
def larger_and_smaller_of_several():
    n = Net([3, 5, 4])
    a, b = n.conv("x", 3, 4, 1), n.conv("x", 3, 4, 1)
    return n, n.op("Min", n.op("Max", a, b, number(n, -1e8)), n.op("GlobalAveragePool", b), number(n, 2e9))


# Constants that bring axes of their own

@case
def constant_that_raises_the_rank_before_a_softmax():
    n = Net([5])
    return n, n.op("Softmax", n.op("Mul", n.gemm("x", 5, 4), n.draw(1, 1, 4)), axis=1)


@case
def constants_larger_than_the_value():
    n = Net([3, 4, 4])
    x = n.op("Mul", n.op("GlobalAveragePool", n.conv("x", 3, 5, 1)), n.draw(1, 5, 2, 3))
    return n, n.op("Add", x, n.draw(5, 1, 3))


@case
def constant_per_channel_of_a_reshaped_image():
    n = Net([3, 1, 4])
    return n, n.op("Mul", n.op("Reshape", "x", n.const(ints(1, 2, 6, 1))), n.draw(2, 1, 1))


@case
def norm_of_a_reshaped_image():
    n = Net([5, 6, 2])
    return n, n.bn(n.op("Reshape", n.conv("x", 5, 5, 1), n.const(ints(1, 4, 15))), 4)


@case
def bias_of_a_product_with_more_axes():
    n = Net([4])
    return n, n.op("Softmax", n.op("Add", n.op("MatMul", "x", n.draw(4, 3)), n.draw(1, 1, 3)), axis=1)


@case
def gemm_with_an_addend_for_each_row():
    n = Net([5], batch=3)
    x = n.op("Gemm", "x", n.draw(5, 4), n.draw(3, 1))
    return n, n.op("Gemm", x, n.draw(4, 3), n.draw(3, 3), beta=0.5)


@case
def gemm_by_nothing():
    n = Net([5])
    return n, n.op("Gemm", "x", n.draw(5, 3), n.draw(3), alpha=0.0, beta=2.0)


@case
def gemm_turned_from_the_left():
    n = Net([5])
    return n, n.op("Gemm", n.draw(1, 4), n.op("Gemm", "x", n.draw(5, 3)), transA=1)


# Layer norms and attention that are none

def layer_norm(n, x, scale, shift, axis=-1):
    d = n.op("Sub", x, n.op("ReduceMean", x, axes=[axis]))
    variance = n.op("ReduceMean", n.op("Pow", d, number(n, 2)), axes=[axis])
    y = n.op("Div", d, n.op("Sqrt", n.op("Add", variance, number(n, 1e-5))))
    return n.op("Add", n.op("Mul", y, scale), shift)


@case
def layer_norm_scaled_along_another_axis():
    n = Net([4, 4])
    return n, layer_norm(n, n.relu("x"), n.draw(4, 1), n.draw(4, 1))


@case
def layer_norm_scaled_everywhere():
    n = Net([5, 4])
    return n, layer_norm(n, n.relu("x"), n.draw(5, 4), n.draw(5, 4))


@case
def layer_norm_over_an_axis_in_the_middle():
    n = Net([5, 4, 3])
    return n, layer_norm(n, "x", n.draw(4, 1), n.draw(4, 1), axis=2)


@case
def layer_norm_that_raises_the_rank():
    n = Net([4])
    return n, n.op("Softmax", layer_norm(n, n.relu("x"), n.draw(1, 1, 4), n.draw(4)), axis=1)


@case
def layer_norm_operator_of_two_axes():
    n = Net([5, 4])
    x = n.op("LayerNormalization", "x", n.draw(5, 4), n.draw(5, 4), axis=1)
    return n, n.op("LayerNormalization", x, n.draw(1), n.draw(4), axis=-1)


def scores(n, axis=-1):
    q, k, v = (n.op("MatMul", "x", n.draw(6, 6, scale=0.4)) for _ in range(3))
    products = n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1]))
    return n.op("Softmax", n.op("Mul", products, number(n, 0.4)), axis=axis), v


@case
def attention_over_the_other_axis():
    n = Net([5, 6])
    p, v = scores(n, axis=1)
    return n, n.op("MatMul", p, v)


@case
def attention_weighted_behind_its_softmax():
    n = Net([5, 6])
    p, v = scores(n)
    return n, n.op("MatMul", n.op("Mul", p, n.positive(5, 5)), v)


@case
def numbers_near_those_of_a_gelu():
    n = Net([8])
    x = n.gemm("x", 8, 7)
    erf = n.op("Add", n.op("Erf", n.op("Div", x, number(n, 1.4160))), number(n, 1))
    return n, n.op("Mul", n.op("Mul", x, erf), number(n, 0.5005))


# Indices

@case
def gather_by_lists_of_lists():
    n = Net([4, 3, 5])
    x = n.op("Gather", n.conv("x", 4, 4, 1), n.const(np.array([[2, 0], [1, 1]], np.int64)), axis=1)
    return n, n.op("Softmax", n.op("Gather", x, n.const(np.array([[-1]], np.int64)), axis=3), axis=2)


@case
def slices_backwards():
    n = Net([4, 6, 5])
    return n, n.conv(n.op("Slice", "x", n.const(ints(-1, 5)), n.const(ints(-9, 0)), n.const(ints(1, 2)), n.const(ints(-1, -2))), 4, 3, [2, 3])


@case
def flattened_at_negative_axes():
    n = Net([3, 4, 2])
    x = n.gemm(n.op("Flatten", n.relu("x"), axis=-3), 24, 6)
    return n, n.gemm(n.op("Flatten", x, axis=-2), 6, 3)


@case
def blocks_of_pixels_and_channels():
    n = Net([8, 3, 4], opset=13)
    x = n.op("DepthToSpace", n.op("DepthToSpace", "x", blocksize=2), blocksize=1)
    x = n.conv(n.op("SpaceToDepth", x, blocksize=2), 8, 4, 1)
    return n, n.op("DepthToSpace", x, blocksize=2, mode="CRD")


@case
def nearest_pixels():
    n = Net([2, 4, 6], opset=13)
    x = n.op("Resize", "x", "", n.const(f32(1, 1, 2, 3)), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    x = n.op("Resize", n.conv(x, 2, 3, 1), "", "", n.const(ints(1, 3, 5, 7)), mode="nearest")
    return n, n.conv(x, 3, 2)


@case
def resize_to_computed_sizes():
    # As PyTorch writes it: samples and channels by the shape of what is resized.
    n = Net([2, 4, 5])
    x = n.conv("x", 2, 3, 1)
    kept = n.op("Slice", n.op("Shape", x), n.const(ints(0)), n.const(ints(2)), n.const(ints(0)))
    sizes = n.op("Concat", kept, n.const(ints(7, 9)), axis=0)
    return n, n.op("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")


@case
def tiles_and_lines():
    n = Net([3, 7])
    x = n.op("Conv", n.op("Tile", "x", n.const(ints(1, 1, 2))), n.draw(4, 3, 3), n.draw(4), pads=[2, 1], strides=[2])
    x = n.op("AveragePool", x, kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER")
    return n, n.op("Squeeze", n.op("GlobalMaxPool", x), n.const(ints(2)))


@case
def samples_not_in_front():
    n = Net([5, 4], batch="N")
    x = n.op("Transpose", n.relu("x"), perm=[1, 0, 2])
    x = n.op("Add", n.op("MatMul", x, n.draw(4, 3)), n.draw(5, 1, 3))
    return n, n.op("Transpose", x, perm=[1, 0, 2])


# Operations that are made of others

def reduced(kind, axes, keepdims=1, opset=13):
    as_input = kind == "ReduceSum" and opset >= 13
    def build():
        n = Net([3, 4, 5], opset=opset)
        x = n.op("Abs", n.conv("x", 3, 4, 1))
        if as_input:
            return n, n.op(kind, x, n.const(ints(*axes)), keepdims=keepdims)
        return n, n.op(kind, x, axes=list(axes), keepdims=keepdims)
    CASES[f"{kind.lower()}_{'_'.join(str(a % 4) for a in axes)}{'' if keepdims else '_gone'}"] = build


for kind in ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"]:
    reduced(kind, [-1, 1], 0)
reduced("ReduceMean", [2])
reduced("ReduceMean", [1, 3], 0)
reduced("ReduceMax", [1, 2, 3], 0)


def function(kind, opset=17, positive=False, **attributes):
    def build():
        n = Net([3, 5, 4], opset=opset)
        x = n.op("Mul", n.conv("x", 3, 4, 1), number(n, 2))
        return n, n.op(kind, n.op("Add", n.op("Abs", x), number(n, 0.1)) if positive else x, **attributes)
    CASES[f"act_{kind.lower()}" + "".join(f"_{k}" for k in attributes)] = build


for kind in ["Elu", "Celu", "Selu", "ThresholdedRelu", "Softplus", "Softsign", "Abs", "Erf", "Exp"]:
    function(kind)
for kind in ["Log", "Sqrt", "Reciprocal"]:
    function(kind, positive=True)
function("Mish", opset=18)
function("Elu", alpha=0.3)
function("Celu", alpha=2.0)
function("HardSigmoid", alpha=-0.3, beta=0.2)


@case
def act_prelu_by_channel():
    n = Net([3, 4, 4])
    return n, n.op("PRelu", n.op("PRelu", "x", n.draw(3, 1, 1)), n.draw(4))


@case
def powers_and_quotients():
    n = Net([3, 4, 4])
    x = n.op("Add", n.op("Abs", n.conv("x", 3, 4, 1)), number(n, 0.5))
    x = n.op("Div", n.op("Pow", x, number(n, 3)), n.op("Pow", n.op("GlobalAveragePool", x), number(n, -0.5)))
    x = n.op("Div", number(n, 2), x)
    return n, n.op("Pow", number(n, 1.5), n.op("Sub", x, n.op("Pow", x, number(n, 0.5))))


@case
def sums_and_means_of_many():
    n = Net([3, 4, 4])
    x = n.op("Sum", n.draw(3, 1, 1), n.draw(3, 1, 1), "x", n.op("GlobalMaxPool", "x"))
    return n, n.op("Mean", n.draw(1, 3, 4, 4), x, "x")


@case
def norms_of_one_image():
    n = Net([4, 5, 3], opset=21)
    x = n.op("InstanceNormalization", n.conv("x", 4, 4, 1), n.draw(4), n.draw(4))
    x = n.op("GroupNormalization", x, n.draw(4), n.draw(4), num_groups=2)
    x = n.op("LpNormalization", x, axis=1)
    return n, n.op("MeanVarianceNormalization", n.op("LpNormalization", x, axis=-1, p=1), axes=[0, 2, 3])


@case
def old_softmax_of_two_axes():
    n = Net([3, 2, 2], opset=8)
    return n, n.op("Softmax", n.bn("x", 3), axis=2)


@case
def products_of_all_kinds():
    n = Net([4, 5])
    x = n.op("MatMul", n.draw(3, 4), "x")
    x = n.op("MatMul", x, n.op("Transpose", n.op("Relu", "x"), perm=[0, 2, 1]))
    return n, n.op("MatMul", n.op("MatMul", x, n.draw(1, 4, 6)), n.draw(6))


@case
def pool_average_dilated():
    n = Net([3, 9, 9], opset=19)
    return n, n.op("AveragePool", "x", kernel_shape=[3, 2], dilations=[2, 3])
