"""Reductions of every kind, sums along an axis, triangles, and functions of each element that are seldom."""

import math

import numpy as np

from . import logic

KINDS = ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum",
         "ReduceProd"]


def reduced(d, x):
    """A reduction over any axes, none or all of them."""
    op, rank, shape = d.r.choice(KINDS), d.rank(x), d.shape(x)
    source = d.same("Sigmoid", x) if op == "ReduceLogSum" else x
    if op == "ReduceProd":
        # Near 1: the products of many others are too small or too large for what follows.
        source = d.same("Add", d.same("Mul", d.same("Tanh", x), d.number(0.2, ())), d.number(1.0, ()))
    since = 13 if op == "ReduceSum" else 18
    which = d.r.choices(["some", "all", "default", "noop"], [6, 1, 1, 1])[0]
    start = 0 if d.net.x.shape[0] == 1 and not d.net.free and d.chance(0.5) else min(1, rank - 1)
    axes = sorted(d.r.sample(range(start, rank), d.r.randint(1, rank - start)))
    if which in ("all", "default"):
        axes = list(range(rank))
    keep = d.pick(1, 1, 0)
    attributes = {"keepdims": None if keep and d.chance(0.5) else keep}
    if which == "noop" and d.opset >= since:
        given = d.r.choice([[], [d.ints(np.zeros(0, np.int64))]])
        noop = d.pick(1, 1, 0)
        out = list(shape) if noop else [1] * rank if keep else []
        return d.node(op, [source, *given], out, noop_with_empty_axes=noop, **attributes)
    out = [1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes]
    if which == "default":
        return d.node(op, [source], out, **attributes)
    named = [d.axis(a, rank) for a in axes]
    d.r.shuffle(named)
    if d.opset < since:
        return d.node(op, [source], out, axes=named, **attributes)
    return d.node(op, [source, d.ints(named)], out, **attributes)


def extreme(d, x):
    """Where the largest or smallest element is, as a float."""
    rank, shape = d.rank(x), d.shape(x)
    axis = d.any_axis(x)
    keep = d.pick(1, 1, 0)
    source = d.same("Relu", x) if d.chance(0.2) else x
    attributes = {"keepdims": None if keep and d.chance(0.5) else keep, "axis": None if axis == 0 and d.chance(0.5) else d.axis(axis, rank)}
    if d.opset >= 12 and d.chance(0.4):
        attributes["select_last_index"] = d.pick(0, 1)
    out = [1 if i == axis else s for i, s in enumerate(shape) if keep or i != axis]
    y = d.node(d.pick("ArgMax", "ArgMin"), [source], out, of="int", **attributes)
    return d.node("Cast", [y], out, to=1) if y else None


def along(d, x):
    """Sums or products of all elements before each."""
    if d.opset < 11:
        return None
    axis, rank = d.any_axis(x), d.rank(x)
    op, source = "CumSum", x
    if d.opset >= 26 and d.chance(0.4):
        op, source = "CumProd", d.same("Sigmoid", x)
    named = d.constant(np.array(d.axis(axis, rank), d.pick(np.int64, np.int32)).reshape(d.pick((), (1,)) if op == "CumSum" else ()), "i")
    return d.same(op, source, named, exclusive=d.r.choice([None, 0, 1]), reverse=d.r.choice([None, 0, 1]))


def triangle(d, x):
    if d.opset < 14 or d.rank(x) < 2:
        return None
    more = [d.ints(d.pick(0, 1, -1, 2, -5))] if d.chance(0.6) else []
    return d.same("Trilu", x, *more, upper=d.r.choice([None, 0, 1]))


def largest(d, x):
    """Hardmax, softmax and its logarithm, over any axis."""
    rank, op = d.rank(x), d.r.choices(["Hardmax", "Softmax", "LogSoftmax"], [1, 2, 1])[0]
    axis = d.any_axis(x)
    return d.same(op, x, axis=d.axis(axis, rank))


def log_sum_exp(d, x):
    """Written out, with the largest element taken out first or not."""
    rank, shape, axis = d.rank(x), d.shape(x), d.any_axis(x)
    out = [1 if i == axis else s for i, s in enumerate(shape)]

    def fold(op, v):
        if d.opset < (13 if op == "ReduceSum" else 18):
            return d.node(op, [v], out, axes=[d.axis(axis, rank)])
        return d.node(op, [v, d.ints([d.axis(axis, rank)])], out)
    if d.chance(0.5):
        most = fold("ReduceMax", x)
        return d.node("Add", [d.node("Log", [fold("ReduceSum", d.same("Exp", d.same("Sub", x, most)))], out), most], out)
    return d.node("Log", [fold("ReduceSum", d.same("Exp", d.same("Tanh", x)))], out)


SELDOM = [("Sin", 7), ("Cos", 7), ("Atan", 7), ("Asinh", 9), ("Sinh", 9), ("Cosh", 9), ("Asin", 7), ("Acos", 7), ("Acosh", 9), ("Atanh", 9), ("Tan", 7),
          ("Round", 11), ("Sign", 9), ("Floor", 6), ("Ceil", 6), ("Shrink", 9), ("Celu", 12), ("Mish", 18), ("HardSwish", 14), ("Selu", 7),
          ("HardSigmoid", 7), ("ThresholdedRelu", 10), ("Swish", 24), ("Gelu", 20), ("Softsign", 7), ("Elu", 7)]


def seldom(d, x):
    """Functions of each element, over values of any axes."""
    op = d.r.choice([op for op, since in SELDOM if d.opset >= since])
    if op in ("Asin", "Acos", "Atanh", "Tan", "Sinh", "Cosh"):
        x = d.same("Tanh", x)
        if op in ("Atanh", "Asin", "Acos"):
            # Far from the ends, where their slope is infinite.
            x = d.same("Mul", x, d.number(0.9, ()))
    if op == "Acosh":
        x = d.same("Add", d.same("Softplus", x), d.number(1.1, ()))
    of = {"Shrink": {"lambd": d.r.choice([None, 0.3, 1.0]), "bias": d.r.choice([None, 0.3, -0.1])},
          "Celu": {"alpha": d.r.choice([None, 0.5, 2.0])}, "ThresholdedRelu": {"alpha": d.r.choice([None, 0.5])},
          "Selu": {"alpha": d.r.choice([None, 1.5]), "gamma": d.r.choice([None, 1.2])}, "Elu": {"alpha": d.r.choice([None, 0.3])},
          "HardSigmoid": {"alpha": d.r.choice([None, 0.3])}, "Swish": {"alpha": d.r.choice([None, 1.702])}}
    return d.same(op, x, **of.get(op, {}))


def norm_of_any_axes(d, x):
    shape, rank = d.shape(x), d.rank(x)
    if rank < 2:
        return None
    ops = ["LpNormalization", "BatchNormalization"] + ["InstanceNormalization"] * (rank > 2) + ["LRN"] * (rank == 4) + \
        ["LayerNormalization"] * 2 * (d.opset >= 17) + ["RMSNormalization"] * 2 * (d.opset >= 23) + \
        ["GroupNormalization"] * 2 * (d.opset >= 18 and rank > 2) + ["MeanVarianceNormalization"] * (d.opset >= 9 and rank > 2)
    op = d.r.choice(ops)
    c = shape[1]
    if op == "LpNormalization":
        return d.same(op, x, axis=d.axis(d.any_axis(x), rank, 1), p=d.pick(1, 2))
    if op == "BatchNormalization":
        return d.same(op, x, d.positive(c), d.floats(c), d.floats(c, scale=0.3), d.positive(c))
    if op == "InstanceNormalization":
        return d.same(op, x, d.floats(c), d.floats(c), epsilon=d.r.choice([None, 1e-3]))
    if op == "LRN":
        return d.same(op, x, size=d.pick(1, 3, 5), alpha=d.pick(0.01, 0.5), beta=d.pick(None, 0.5), bias=d.pick(None, 2.0))
    if op == "MeanVarianceNormalization":
        axes = sorted(d.r.sample(range(1, rank), d.r.randint(1, rank - 1)))
        return d.same(op, x, axes=axes)
    if op == "GroupNormalization":
        groups = d.r.choice([g for g in range(1, c + 1) if c % g == 0])
        own = c if d.opset >= 21 else groups
        return d.same(op, x, d.floats(own), d.floats(own), num_groups=groups, epsilon=d.r.choice([None, 1e-3]))
    axis = d.r.randrange(1, rank)
    scale, named = d.floats(*shape[axis:]), d.axis(axis, rank)
    if op == "RMSNormalization":
        return d.same(op, x, scale, axis=named, epsilon=d.r.choice([None, 1e-3]))
    more = [scale] + ([d.floats(*shape[axis:])] if d.chance(0.6) else [])
    if d.chance(0.6):
        return d.same(op, x, *more, axis=named)
    # The mean or the inverse deviation is read, too.
    inner = [*shape[:axis], *[1] * (rank - axis)]
    y, mean, inverse = d.node(op, [x, *more], [shape, inner, inner], outputs=3, axis=named)
    return d.node(d.pick("Add", "Mul"), [y, d.pick(mean, inverse)], shape)


def counted(d, x):
    """How many elements are beyond a bound."""
    t, shape = logic.truth(d, x)
    rank = len(shape)
    y = d.node("Cast", [t], shape, to=1)
    axis = rank - 1
    out = [*shape[:-1], 1]
    if not y or not rank:
        return None
    return d.node("ReduceSum", [y], out, axes=[axis]) if d.opset < 13 else d.node("ReduceSum", [y, d.ints([axis])], out)


def pooled_by_power(d, x):
    if d.rank(x) < 3:
        return None
    out = [*d.shape(x)[:2], *[1] * (d.rank(x) - 2)]
    return d.node("GlobalLpPool", [x], out, p=d.r.choice([None, 1, 2, 3]))


def weighted(d, x):
    """A mean by weights that sum to 1."""
    shape = d.shape(x)
    if len(shape) < 2 or math.prod(shape) > 1500:
        return None
    gate = d.same("Softmax", x, axis=d.axis(len(shape) - 1, len(shape)))
    y = d.same("Mul", gate, x)
    out = [*shape[:-1], 1]
    return d.node("ReduceSum", [y], out, axes=[len(shape) - 1]) if d.opset < 13 else d.node("ReduceSum", [y, d.ints([-1])], out)


STEPS = [(reduced, 4), (extreme, 2), (along, 1.5), (triangle, 1), (largest, 1.5), (log_sum_exp, 0.7), (seldom, 4), (norm_of_any_axes, 2.5),
         (counted, 0.5), (pooled_by_power, 0.4), (weighted, 0.4)]
