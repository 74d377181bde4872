"""Cases that random networks found."""

import numpy as np

from kinds import case, ints, number
from net import Net


def whole(n, x, most):
    """Integers from 0 to `most` that depend on `x`."""
    return n.op("Cast", n.op("Mul", n.op("Sigmoid", x), number(n, most + 0.99)), to=7)


@case
def first_elements_of_a_vector():
    n = Net([7])
    part = n.op("Slice", "x", n.const(ints(0)), n.const(ints(3)), n.const(ints(1)))
    return n, n.op("Add", n.op("MatMul", part, n.draw(3, 5)), n.draw(5))


@case
def selu_and_others_of_four_axes():
    n = Net([3, 4], opset=18)
    x = n.op("Gather", n.draw(6, 5), whole(n, "x", 4), axis=1)
    x = n.op("HardSigmoid", n.op("Selu", n.op("Unsqueeze", x, n.const(ints(0)))), alpha=0.3)
    return n, n.op("Celu", n.op("Mish", n.op("Sub", x, number(n, 0.5))), alpha=0.7)


@case
def elements_of_a_constant_at_computed_places():
    n = Net([3, 4], batch="N")
    return n, n.op("GatherElements", n.draw(1, 5, 4), whole(n, "x", 4), axis=1)


@case
def quantised_products_that_lie_half_way():
    n = Net([40])
    scale = lambda value: n.const(np.float32(value))
    zero = lambda value: n.const(np.uint8(value))
    q = n.op("QuantizeLinear", n.op("Reshape", "x", n.const(ints(40, 1))), scale(0.01), zero(117))
    w = n.const(np.array([[50, -25, 125]], np.int8))
    y = n.op("QLinearMatMul", q, scale(0.01), zero(117), w, scale(0.01), n.const(np.int8(0)), scale(0.03), zero(108))
    z = n.op("QLinearMatMul", q, scale(0.01), zero(117), w, scale(0.01), n.const(np.int8(0)), scale(0.01), zero(108))
    return n, n.op("Concat", *(n.op("DequantizeLinear", v, number(n, 1.0), zero(108)) for v in (y, z)), axis=1)
