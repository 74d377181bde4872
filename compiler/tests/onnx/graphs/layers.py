"""Operations that compute: each function appends nodes behind value `x` and gives the name of the result, or `None` where they
do not fit."""

import math

import numpy as np

MANY = [0.0, 0.5, 1.0, 6.0, -1.0, -0.5, 1e-3, 3.0, 255.0, 65504.0, -65504.0, 1e6, 1e20, 3.0e38, 3.4028234663852886e38,
        -3.0e38, -3.4028234663852886e38]


def window(d, spatial, since_auto=1, dilate=True, inside=False):
    """Attributes of a window over axes of `spatial` elements, and the sizes that come out; `None` where none fits."""
    n = len(spatial)
    each = (lambda f: [f()] * n) if d.chance(0.6) else (lambda f: [f() for _ in range(n)])
    kernel = each(lambda: d.r.choice([1, 2, 3, 3, 4, 5]))
    strides = each(lambda: d.r.choice([1, 1, 1, 2, 2, 3]))
    dilations = each(lambda: d.r.choice([1, 1, 1, 1, 2, 3])) if dilate else [1] * n
    attributes = {"kernel_shape": kernel}
    if strides != [1] * n or d.chance(0.5):
        attributes["strides"] = strides
    if dilations != [1] * n or dilate and d.chance(0.2):
        attributes["dilations"] = dilations
    extent = [(k - 1) * s + 1 for k, s in zip(kernel, dilations)]
    mode = d.r.choices(["none", "pads", "uneven", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"], [3, 4, 2, 2, 2, 0.5, 0.5])[0]
    if mode.startswith("SAME"):
        # ONNX Runtime takes no dilation with it.
        attributes.pop("dilations", None)
        extent = kernel
        attributes["auto_pad"] = mode
        return attributes, [-(-size // s) for size, s in zip(spatial, strides)], extent, None
    pads = [0] * (2 * n)
    most = [k - 1 if inside else k for k in kernel]
    if mode == "pads":
        before = [d.r.randint(0, min(2, m)) for m in most]
        pads = before * 2
    elif mode == "uneven":
        pads = [d.r.randint(0, min(2, m)) for m in most * 2]
    if mode in ("VALID", "NOTSET"):
        attributes["auto_pad"] = mode
    if any(pads) or d.chance(0.3):
        if mode != "VALID":
            attributes["pads"] = pads
    out = [(size + a + b - e) // s + 1 for size, a, b, e, s in zip(spatial, pads[:n], pads[n:], extent, strides)]
    if any(size + a + b < e for size, a, b, e in zip(spatial, pads[:n], pads[n:], extent)):
        return None
    return attributes, out, extent, pads


def conv(d, x):
    shape = d.shape(x)
    if len(shape) < 3:
        return None
    found = window(d, shape[2:])
    if not found:
        return None
    attributes, out, _, _ = found
    channels = shape[1]
    groups = d.r.choice([g for g in range(1, channels + 1) if channels % g == 0]) if d.chance(0.3) else 1
    outputs = groups * d.r.randint(1, max(1, 8 // groups))
    kernel = attributes["kernel_shape"]
    weight = d.weight(outputs, channels // groups, *kernel, fan=channels // groups * math.prod(kernel))
    more = [d.floats(outputs)] if d.chance(0.6) else []
    if d.chance(0.15):
        del attributes["kernel_shape"]
    if groups > 1 or d.chance(0.2):
        attributes["group"] = groups
    return d.node("Conv", [x, weight, *more], [shape[0], outputs, *out], **attributes)


def pool(d, x):
    shape = d.shape(x)
    if len(shape) < 3:
        return None
    op = d.pick("MaxPool", "AveragePool")
    dilate = op == "MaxPool" and d.opset >= 10 or op == "AveragePool" and d.opset >= 19
    found = window(d, shape[2:], dilate=dilate and d.chance(0.3), inside=True)
    if not found:
        return None
    attributes, out, extent, pads = found
    n = len(out)
    if pads is None and any((o - 1) * s + e < size for o, s, e, size in zip(out, attributes.get("strides", [1] * n), extent, shape[2:])):
        # The padding would be negative: ONNX Runtime's pools refuse that, but AveragePool of set 19 shifts its windows by it.
        return None
    if op == "AveragePool" and d.opset >= 7 and d.chance(0.4):
        attributes["count_include_pad"] = d.pick(0, 1, 1)
    if op == "MaxPool" and d.opset >= 8 and d.chance(0.1):
        attributes["storage_order"] = d.pick(0, 1)
    if d.opset >= 10 and d.chance(0.3):
        attributes["ceil_mode"] = 1
        strides = attributes.get("strides", [1] * n)
        if pads is not None:
            out = []
            for i, size in enumerate(shape[2:]):
                count = -(-(size + pads[i] + pads[i + n] - extent[i]) // strides[i]) + 1
                out.append(count - ((count - 1) * strides[i] >= size + pads[i]))
    return d.node(op, [x], [*shape[:2], *out], **attributes)


def global_pool(d, x):
    shape = d.shape(x)
    if len(shape) < 3:
        return None
    return d.node(d.pick("GlobalAveragePool", "GlobalMaxPool"), [x], [*shape[:2], *[1] * (len(shape) - 2)])


def reduce(d, x, ops=("ReduceMean",) * 8 + ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare", "ReduceL1",
                                                    "ReduceLogSumExp")):
    op, rank = d.r.choice(ops), d.rank(x)
    axes = sorted(d.r.sample(range(0 if d.chance(0.05) else 1, rank), d.r.randint(1, rank - 1))) if rank > 1 else [0]
    if rank > 2 and d.chance(0.4):
        axes = list(range(2, rank))
    keep = d.pick(1, 1, 0)
    shape = [1 if i in axes else s for i, s in enumerate(d.shape(x)) if keep or i not in axes]
    since = 13 if op == "ReduceSum" else 18
    named = [d.axis(a, rank) for a in axes]
    if d.chance(0.2):
        d.r.shuffle(named)
    keepdims = None if keep and d.chance(0.5) else keep
    if d.opset < since:
        return d.node(op, [x], shape, axes=named, keepdims=keepdims)
    return d.node(op, [x, d.ints(named)], shape, keepdims=keepdims)


def batch_norm(d, x):
    shape = d.shape(x)
    if len(shape) < 2:
        return None
    c = shape[1]
    attributes = {"epsilon": d.r.choice([None, 1e-3, 1e-5, 1e-12, 0.1]), "momentum": d.r.choice([None, 0.9, 0.5])}
    if d.opset in (7, 8) and d.chance(0.3):
        attributes["spatial"] = 1
    if d.opset >= 14 and d.chance(0.2):
        attributes["training_mode"] = 0
    read = [x, d.floats(c) if d.chance(0.5) else d.positive(c), d.floats(c), d.floats(c, scale=0.3), d.positive(c)]
    return d.same("BatchNormalization", read[0], *read[1:], **attributes)


def gemm(d, x):
    if d.rank(x) != 2:
        return None
    m, k = d.shape(x)
    n = d.r.randint(1, 10)
    attributes = {}
    if d.chance(0.25):
        attributes["alpha"] = d.r.choice([0.5, 2.0, -1.0, 1.0])
    if d.chance(0.25):
        attributes["beta"] = d.r.choice([0.5, 2.0, -1.0, 0.0, 1.0])
    if d.chance(0.03):
        attributes["transA"], (m, k) = 1, (k, m)
    trans = d.pick(0, 1)
    if trans or d.chance(0.3):
        attributes["transB"] = trans
    second = d.weight(*([n, k] if trans else [k, n]), fan=k)
    read = [x, second]
    if d.chance(0.03) and "transA" not in attributes:
        # The constant is the left one.
        b = [n, m] if not trans else [n, k]
        read = [d.weight(*b, fan=b[1]), x]
        n, m = (k if not trans else m), n
    if d.opset < 11 or d.chance(0.75):
        c = d.r.choices([[n], [1, n], [], [1], [1, 1], [m, n], [m, 1]], [6, 2, 1, 1, 0.5, 1, 1])[0]
        read.append(d.floats(*c))
    return d.node("Gemm", read, [m, n], **attributes)


def matmul(d, x):
    shape = d.shape(x)
    if len(shape) < 2:
        return None
    k = d.r.randint(1, 8)
    kind = d.r.choices(["right", "left", "vector", "batched", "pair", "same"], [10, 1, 1, 1.5, 1, 1])[0]
    if kind == "right":
        return d.node("MatMul", [x, d.weight(shape[-1], k, fan=shape[-1])], [*shape[:-1], k])
    if kind == "left":
        return d.node("MatMul", [d.weight(k, shape[-2], fan=shape[-2]), x], [*shape[:-2], k, shape[-1]])
    if kind == "vector":
        return d.node("MatMul", [x, d.weight(shape[-1], fan=shape[-1])], shape[:-1])
    if kind == "batched":
        lead = [d.r.choice([1, s]) for s in shape[:-2]] if len(shape) > 2 else [1]
        lead = lead if d.chance(0.7) else [1] * len(lead)
        out = np.broadcast_shapes(tuple(lead), shape[:-2])
        return d.node("MatMul", [x, d.weight(*lead, shape[-1], k, fan=shape[-1])], [*out, shape[-2], k])
    if kind == "pair":
        order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        turned = d.node("Transpose", [x], [shape[i] for i in order], perm=order)
        return d.node("MatMul", [x, turned], [*shape[:-1], shape[-2]])
    return d.same("MatMul", x, x) if shape[-1] == shape[-2] else None


def linear(d, x):
    """MatMul and Add, the bias in a shape that exporters or nobody gives it."""
    shape = d.shape(x)
    if len(shape) < 2:
        return None
    k = d.r.randint(1, 8)
    y = d.node("MatMul", [x, d.weight(shape[-1], k, fan=shape[-1])], [*shape[:-1], k])
    if not y:
        return None
    own, both = ((k,), d.shape(y)) if d.chance(0.6) else d.beside(d.shape(y))
    if d.chance(0.05):
        d.node("Relu", [y], d.shape(y))
    bias = d.floats(*own)
    return d.node("Add", [y, bias] if d.chance(0.7) else [bias, y], both)


def beside_constant(d, x):
    own, both = d.beside(d.shape(x))
    op = d.r.choices(["Add", "Sub", "Mul", "Div"], [4, 3, 4, 3])[0]
    if op == "Div" and d.chance(0.9):
        return d.node(op, [x, d.positive(*own)], both)
    if op == "Div":
        x = d.same("Sigmoid", x)
        return d.node(op, [d.positive(*own), x], both)
    c = d.floats(*own)
    return d.node(op, [x, c] if d.chance(0.6) else [c, x], both)


def beside_value(d, x):
    found = d.fitting(x)
    if not found:
        return None
    y, both = found
    op = d.r.choices(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"], [6, 2, 4, 0.5, 0.5, 0.5, 1, 0.3])[0]
    read = [x, y] if d.chance(0.5) else [y, x]
    if op in ("Sum", "Max", "Min", "Mean") and d.opset < 8:
        # They bring no shapes together yet.
        op = "Add"
    if op == "Div":
        below = d.same("Sigmoid", read[1])
        return d.node(op, [read[0], below], both)
    if op in ("Sum", "Max", "Min", "Mean") and d.chance(0.4):
        own, both = d.beside(both)
        read.insert(d.r.randrange(3), d.floats(*own) if d.chance(0.7) else x)
    return d.node(op, read, both)


PLAIN = [("Relu", 6), ("Sigmoid", 4), ("Tanh", 3), ("Identity", 2), ("Neg", 2), ("Abs", 1), ("Softplus", 0.5), ("Softsign", 0.5),
         ("Exp", 0.4), ("Erf", 0.4), ("Floor", 0.2), ("Ceil", 0.2), ("Sign", 0.2), ("Sin", 0.2), ("Elu", 0.7), ("Selu", 0.4)]


def activation(d, x):
    names = [(n, w) for n, w in PLAIN if n not in ("Erf", "Sign") or d.opset >= 9]
    op = d.r.choices([n for n, _ in names], [w for _, w in names])[0]
    if op == "Exp":
        x = d.same("Tanh", x)
    return d.same(op, x, **({"alpha": d.pick(0.5, 1.0)} if op == "Elu" else {}))


def shaped_activation(d, x):
    """Activations with numbers of their own."""
    kinds = ["LeakyRelu", "HardSigmoid", "PRelu", "Pow", "Sqrt", "Reciprocal", "Log", "ThresholdedRelu"]
    kinds += ["HardSwish"] * (d.opset >= 14) + ["Mish"] * (d.opset >= 18) + ["Gelu"] * 2 * (d.opset >= 20) + ["Celu"] * (d.opset >= 12)
    kinds += ["Swish"] * 2 * (d.opset >= 24)
    op = d.r.choice(kinds)
    if op == "LeakyRelu":
        return d.same(op, x, alpha=d.r.choice([None, 0.1, 0.0, 1.0, 1.5, -0.5]))
    if op == "HardSigmoid":
        return d.same(op, x, alpha=d.r.choice([None, 1 / 6, 0.3, -0.2]), beta=d.r.choice([None, 0.5, 0.4, -1.0]))
    if op == "PRelu":
        shape = d.shape(x)
        own = d.r.choice([[], [1], list(shape[1:]), [shape[1]] + [1] * (len(shape) - 2) if len(shape) > 1 else [1], [shape[-1]]])
        try:
            if np.broadcast_shapes(tuple(own), shape) != shape:
                return None
        except ValueError:
            return None
        slope = np.full(own, 0.25, np.float32) if d.chance(0.5) else d.rng.standard_normal(own).astype(np.float32)
        return d.same(op, x, d.constant(slope))
    if op == "Pow":
        return d.same(op, x, d.number(d.r.choice([2.0, 3.0, 1.0, 2.001])))
    if op in ("Sqrt", "Reciprocal", "Log"):
        return d.same(op, d.same("Sigmoid", x))
    if op == "Gelu":
        return d.same(op, x, approximate=d.r.choice([None, "none", "tanh"]))
    if op in ("ThresholdedRelu", "Celu"):
        return d.same(op, x, alpha=d.pick(0.5, 1.0))
    return d.same(op, x)


def clip(d, x):
    low, high = d.r.choice([(0.0, 6.0), (-1.0, 1.0), (0.0, 1.0), None, None, None]) or (d.r.choice(MANY), d.r.choice(MANY))
    if low > high and (d.opset < 11 or d.chance(0.85)):
        low, high = high, low
    kind = d.r.choices(["both", "low", "high", "neither"], [6, 2, 2, 0.5])[0]
    low, high = low if kind in ("both", "low") else None, high if kind in ("both", "high") else None
    if d.opset < 11:
        return d.same("Clip", x, min=low, max=high)
    bound = lambda v: "" if v is None else d.number(v, ())
    more = [bound(low), bound(high)]
    while more and more[-1] == "":
        more.pop()
    return d.same("Clip", x, *more)


def bound(d, x):
    """Max and Min with constants."""
    op, shape = d.pick("Max", "Min"), d.shape(x)
    own, both = d.beside(shape) if d.chance(0.3) else (d.r.choice([(), (1,), (1,) * len(shape)]), shape)
    if d.opset < 8:
        own, both = shape, shape
    if d.chance(0.5):
        c = d.constant(np.full(own, d.r.choice(MANY), np.float32))
    else:
        c = d.floats(*own)
    read = [x, c] if d.chance(0.6) else [c, x]
    if d.chance(0.1) and d.opset >= 8:
        read.append(d.number(d.r.choice(MANY)))
    if d.chance(0.03):
        return d.node(op, [x], shape)
    return d.node(op, read, both)


def softmax(d, x):
    rank, op = d.rank(x), d.r.choices(["Softmax", "LogSoftmax"], [3, 1])[0]
    axis = d.r.randrange(rank) if d.chance(0.15) else d.any_axis(x)
    default = [None] if d.opset >= 13 or rank > 1 else []
    return d.same(op, x, axis=d.r.choice([*default, d.axis(axis, rank), d.axis(axis, rank)]))


def layer_norm(d, x):
    shape = d.shape(x)
    if d.opset < 17 or len(shape) < 2:
        return None
    axis = d.r.randrange(1, len(shape)) if d.chance(0.5) else len(shape) - 1
    own = shape[axis:]
    more = [d.floats(*own)] + ([d.floats(*own)] if d.chance(0.7) else [])
    named = None if axis == len(shape) - 1 and d.chance(0.3) else d.axis(axis, len(shape))
    return d.same("LayerNormalization", x, *more, axis=named, epsilon=d.r.choice([None, 1e-5, 1e-3, 1e-12, 0.1]))


def other_norm(d, x):
    shape = d.shape(x)
    if len(shape) < 3:
        return None
    kinds = ["InstanceNormalization", "LRN", "LpNormalization"] + ["GroupNormalization"] * 2 * (d.opset >= 21)
    op = d.r.choice(kinds + ["MeanVarianceNormalization"] * (d.opset >= 9) + ["RMSNormalization"] * 2 * (d.opset >= 23))
    if op == "MeanVarianceNormalization":
        axes = d.r.choice([None, [2, 3], [1, 2, 3], [1]])
        return d.same(op, x, axes=axes) if len(shape) == 4 else None
    if op == "RMSNormalization":
        axis = d.r.randrange(1, len(shape))
        return d.same(op, x, d.floats(*shape[axis:]), axis=d.axis(axis, len(shape)), epsilon=d.r.choice([None, 1e-3]))
    if op == "InstanceNormalization":
        return d.same(op, x, d.floats(shape[1]), d.floats(shape[1]), epsilon=d.r.choice([None, 1e-3]))
    if op == "LRN":
        return d.same(op, x, size=d.pick(1, 3, 5), alpha=0.01) if len(shape) == 4 else None
    if op == "LpNormalization":
        return d.same(op, x, axis=d.axis(d.r.randrange(1, len(shape)), len(shape), 1), p=d.pick(2, 2, 1))
    groups = d.r.choice([g for g in range(1, shape[1] + 1) if shape[1] % g == 0])
    return d.same(op, x, d.floats(shape[1]), d.floats(shape[1]), num_groups=groups)


def dropout(d, x):
    if d.opset < 12:
        return d.same("Dropout", x, ratio=d.r.choice([None, 0.3]))
    more = d.r.choice([[], [d.number(0.3, ())], [d.number(0.3, ()), d.constant(np.array(False))], ["", d.constant(np.array(False))]])
    return d.same("Dropout", x, *more)


def cast(d, x):
    if d.opset >= 15 and d.chance(0.2):
        return d.same("CastLike", x, d.number(1.0))
    if d.opset < 9:
        return d.same("Cast", x, to=1)
    to = d.r.choices([1, 11, 10, 6, 7, 9], [5, 1, 0.5, 0.5, 0.5, 0.3])[0]
    y = d.same("Cast", x, to=to)
    return y if to == 1 else d.same("Cast", y, to=1)


def attention(d, x):
    """Operator set 23's own attention, of [batch, tokens, channels] or [batch, heads, tokens, channels]."""
    shape = d.shape(x)
    if d.opset < 23 or len(shape) not in (3, 4):
        return None
    attributes = {"scale": d.r.choice([None, 0.5]), "is_causal": d.r.choice([None, None, None, 0, 1])}
    if len(shape) == 3:
        heads = d.r.choice([h for h in (1, 2, 3) if shape[-1] % h == 0])
        attributes.update(q_num_heads=heads, kv_num_heads=heads)
    others = [v for v in d.values if d.shape(v) == shape]
    read = [x, d.r.choice(others), d.r.choice(others)]
    if d.chance(0.1):
        read.append(d.floats(shape[-2], shape[-2]))
    return d.node("Attention", read, shape, **attributes)


def where(d, x):
    if d.opset < 9:
        return None
    shape = d.shape(x)
    own, both = d.beside(shape, raise_rank=False)
    if d.chance(0.5):
        condition = d.constant(d.rng.random(own) < d.pick(0.5, 0.0, 1.0))
    else:
        condition = d.same(d.pick("Greater", "Less"), x, d.number(0.1))
        both = shape
    found = d.fitting(x, same=True) if d.chance(0.4) else None
    other = found[0] if found else d.number(d.pick(0.0, 1.0, -1e9, 0.5))
    return d.node("Where", [condition, x, other] if d.chance(0.6) else [condition, other, x], both)


STEPS = [(conv, 14), (pool, 8), (global_pool, 2), (reduce, 4), (batch_norm, 6), (gemm, 10), (matmul, 5), (linear, 5), (beside_constant, 10),
         (beside_value, 6), (activation, 9), (shaped_activation, 4), (clip, 4), (bound, 3), (softmax, 4), (layer_norm, 3), (other_norm, 2),
         (dropout, 1), (cast, 1.5), (where, 1.5), (attention, 1)]
