"""Operands that are computed where most files have constants: weights, scales, slopes, bounds, sizes by which something is divided."""

import math

import numpy as np

from . import layers


def alone(d):
    """Whether the network runs over one sample: what is made of all of it is no operand of one sample among others."""
    return d.net.x.shape[0] == 1 and not d.net.free


def made(d, x, shape, scale=1.0):
    """A value of `shape` that is computed from `x`."""
    n = math.prod(d.shape(x))
    wanted = math.prod(shape)
    flat = d.node("Reshape", [x, d.ints([-1])], [n])
    y = d.node("Gather", [flat, d.ints([int(i) for i in d.rng.integers(0, n, wanted)])], [wanted], axis=0)
    y = d.node("Mul", [d.node("Tanh", [y], [wanted]), d.number(scale, ())], [wanted])
    return d.node("Reshape", [y, d.ints(list(shape))], list(shape)) if y else None


def weights(d, x):
    """A convolution, plain or transposed, or a linear layer by a weight that is computed."""
    shape = d.shape(x)
    if len(shape) < 2 or not alone(d):
        return None
    k = d.r.randint(1, 4)
    source = d.r.choice([v for v in d.values if d.rank(v)])
    if len(shape) == 2 or d.chance(0.3):
        w = made(d, source, [k, shape[-1]], shape[-1] ** -0.5)
        turned = d.node("Transpose", [w], [shape[-1], k], perm=[1, 0]) if w else None
        return d.node("MatMul", [x, turned], [*shape[:-1], k])
    found = layers.window(d, shape[2:])
    if not found:
        return None
    attributes, out, _, _ = found
    fan = shape[1] * math.prod(attributes["kernel_shape"])
    w = made(d, source, [k, shape[1], *attributes["kernel_shape"]], fan ** -0.5)
    more = [made(d, source, [k])] if d.chance(0.3) else [d.floats(k)] if d.chance(0.3) else []
    return d.node("Conv", [x, w, *more], [shape[0], k, *out], **attributes)


def norms(d, x):
    """A normalisation whose scale and shift are computed, as styles are put into images."""
    shape = d.shape(x)
    if len(shape) < 2 or not alone(d):
        return None
    source = d.r.choice([v for v in d.values if d.rank(v)])
    kinds = ["LayerNormalization"] * (d.opset >= 17) + ["InstanceNormalization"] * (len(shape) > 2) + ["BatchNormalization", "written out"]
    kind = d.r.choice(kinds)
    c = shape[-1] if kind == "LayerNormalization" else shape[1]
    scale, shift = made(d, source, [c]), made(d, source, [c])
    if not scale or not shift:
        return None
    if kind == "LayerNormalization":
        return d.same(kind, x, scale, *([shift] if d.chance(0.6) else []))
    if kind == "InstanceNormalization":
        return d.same(kind, x, scale, shift)
    if kind == "BatchNormalization":
        return d.same(kind, x, scale, shift, d.floats(c, scale=0.3), d.positive(c))
    line = [1, c] + [1] * (len(shape) - 2)
    parts = [d.node("Reshape", [p, d.ints(line)], line) for p in (scale, shift)]
    return d.same("Add", d.same("Mul", x, parts[0]), parts[1])


def bounds(d, x):
    """Slopes, bounds and exponents that are computed."""
    shape = d.shape(x)
    kind = d.r.choice(["PRelu", "Clip", "Pow", "Max", "Min"])
    if kind in ("Max", "Min") and d.opset >= 8:
        found = d.fitting(x)
        return d.node(kind, [x, found[0], *([d.number(0.2, ())] if d.chance(0.3) else [])], found[1]) if found else None
    if kind == "Pow":
        return d.same("Pow", d.same("Add", d.same("Sigmoid", x), d.number(0.2, ())), d.same("Tanh", x))
    if not alone(d):
        return None
    if kind == "PRelu":
        slope = made(d, x, [shape[1]] + [1] * (len(shape) - 2) if len(shape) > 1 else [1])
        return d.same("PRelu", x, slope) if slope else None
    if d.opset < 11:
        return None
    low = made(d, x, [], 0.5)
    return d.same("Clip", x, low, d.number(0.8, ())) if low else None


def by_count(d, x):
    """A sum over the number of elements, of all or of those that are positive."""
    shape = d.shape(x)
    if not alone(d) or d.opset < 13 or not shape:
        return None
    total = d.node("ReduceSum", [x], [], keepdims=0)
    count = d.node("Cast", [d.node("Size", [x], [], of="int")], [], to=1)
    if d.chance(0.5):
        positive = d.node("Cast", [d.node("Greater", [x, d.number(0.0, ())], shape, of="truth")], shape, to=1)
        count = d.node("Add", [d.node("ReduceSum", [positive], [], keepdims=0), d.number(1.0, ())], [])
    return d.same("Sub", x, d.node("Div", [total, count], [])) if total and count else None


def identity(d, x):
    """EyeLike: ones on a diagonal, as large as a matrix."""
    shape = d.shape(x)
    if d.opset < 9 or len(shape) != 2:
        return None
    eye = d.node("EyeLike", [x], shape, of="int", k=d.r.choice([None, 1, -1]), dtype=1)
    return d.same(d.pick("Add", "Mul"), x, eye)


def back(d, x):
    """MaxUnpool, by places that are stated."""
    shape = d.shape(x)
    if d.opset < 9 or len(shape) != 4:
        return None
    kernel = [d.r.choice([1, 2, 3]) for _ in range(2)]
    strides = [d.r.choice([1, 2]) for _ in range(2)]
    out = [*shape[:2], *[(s - 1) * st + k for s, st, k in zip(shape[2:], strides, kernel)]]
    n, count = math.prod(out), math.prod(shape)
    if count > n or n > 3000:
        return None
    places = d.rng.permutation(n)[:count].reshape(shape).astype(np.int64)
    return d.node("MaxUnpool", [x, d.constant(places, "i")], out, kernel_shape=kernel, strides=strides)


def stateful(d, x):
    """Operator set 27's attention by a state and causal convolution, of short sequences; operator set 28's gated unit."""
    shape = d.shape(x)
    if d.opset < 27:
        return None
    if d.opset >= 28 and d.chance(0.4):
        found = d.fitting(x, same=True)
        return d.same("SwiGLU", x, found[0], alpha=d.r.choice([None, 1.702])) if found else None
    if len(shape) != 3 or shape[1] > 5:
        return None
    b, t, f = shape
    if d.chance(0.5):
        size = d.r.randint(1, 3)
        w = d.weight(t, 1, size, fan=size)
        more = [d.floats(t)] if d.chance(0.6) else []
        return d.node("CausalConvWithState", [x, w, *more], [shape, [b, t, max(size - 1, 0)]], outputs=2, activation=d.r.choice([None, "silu"]))[0] \
            if size > 1 else None
    heads, size = d.pick(1, 2), d.pick(1, 2)
    project = lambda n: d.node("MatMul", [x, d.weight(f, n, fan=f)], [b, t, n])
    q, k, v = (project(heads * size) for _ in range(3))
    rule = d.pick("linear", "gated", "delta", "gated_delta")
    decay = d.node("Neg", [d.node("Sigmoid", [project(heads)], [b, t, heads])], [b, t, heads]) if "gated" in rule else ""
    beta = d.node("Sigmoid", [project(heads)], [b, t, heads]) if "delta" in rule else ""
    read = [q, k, v, "", decay, beta]
    while read[-1] == "":
        read.pop()
    made_ = d.node("LinearAttention", read, [[b, t, heads * size], [b, heads, size, size]], outputs=2, q_num_heads=heads, kv_num_heads=heads, update_rule=rule)
    return made_[0] if made_ else None


STEPS = [(weights, 1.2), (norms, 1), (bounds, 1), (by_count, 0.4), (identity, 0.3), (back, 0.4), (stateful, 1.5)]
