"""Cases of views: values that lie in another order or shape, and what is put together or taken apart."""

import numpy as np

from kinds import case, f32, ints
from net import Net


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
