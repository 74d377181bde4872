"""Cases of constants that are computed in the file, branches and functions."""

import numpy as np
from onnx import helper, numpy_helper

from attention import linear
from kinds import case, f32, ints
from net import Net


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
