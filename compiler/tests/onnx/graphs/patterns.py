"""What exporters write out of several nodes, and near misses of it: another constant, another axis, another reader."""

import math

import numpy as np

from . import layers, moves


def near(d, value):
    """`value`, or a number beside it."""
    if d.chance(0.75):
        return value
    return d.r.choice([value * 1.0004, value * 1.01, value + 0.1, -value, value * 2])


def look(d, value, p=0.08):
    """At times somebody else reads an intermediate value, and that is read again at the end (see `joined`)."""
    if d.chance(p):
        d.extra.append(value)
    return value


def scalar(d, x, value):
    """A constant that stands for a number: one element, or one for each channel."""
    if d.chance(0.9):
        return d.number(near(d, value))
    shape = d.shape(x)
    own = np.full(d.r.choice([(shape[-1],), shape[1:], (1,) * len(shape)]), value, np.float32)
    if d.chance(0.3) and own.size > 1:
        own.reshape(-1)[0] += 0.2
    return d.constant(own)


def either(d, a, b):
    return [a, b] if d.chance(0.5) else [b, a]


def gelu_erf(d, x):
    if d.opset < 9:
        return None
    z = d.same("Div", x, scalar(d, x, math.sqrt(2))) if d.chance(0.7) else d.same("Mul", x, scalar(d, x, math.sqrt(0.5)))
    e = d.same("Erf", look(d, z))
    one = d.same("Add", *either(d, look(d, e), scalar(d, x, 1.0)))
    return tail(d, x, look(d, one))


def tail(d, x, one):
    """x/2 · one in three orders; another value than x at times."""
    other = x
    if d.chance(0.08):
        found = d.fitting(x, same=True)
        other = found[0] if found else x
    half = scalar(d, x, 0.5)
    kind = d.r.randrange(3)
    if kind == 0:
        return d.same("Mul", look(d, d.same("Mul", *either(d, other, one))), half)
    if kind == 1:
        return d.same("Mul", *either(d, look(d, d.same("Mul", *either(d, other, half))), one))
    return d.same("Mul", *either(d, other, look(d, d.same("Mul", *either(d, one, half)))))


def gelu_tanh(d, x):
    cube = d.same("Pow", x, d.number(near(d, 3.0))) if d.chance(0.6) else d.same("Mul", d.same("Mul", x, x), x)
    k = d.same("Mul", *either(d, look(d, cube), scalar(d, x, 0.044715)))
    z = d.same("Mul", *either(d, d.same("Add", *either(d, x, k)), scalar(d, x, math.sqrt(2 / math.pi))))
    t = d.same("Tanh", z)
    return tail(d, x, d.same("Add", *either(d, look(d, t), scalar(d, x, 1.0))))


def silu(d, x):
    inner = d.same("Mul", x, d.number(d.pick(1.702, 1.0))) if d.chance(0.25) else x
    s = d.same("Sigmoid", inner)
    other = x
    if d.chance(0.15):
        other = d.same("Neg", x)
    return d.same("Mul", *either(d, look(d, s), other))


def hard_swish(d, x):
    other = x if d.chance(0.9) else d.same("Relu", x)
    if d.chance(0.25):
        gate = d.same("HardSigmoid", x, alpha=d.pick(1 / 6, 1 / 6, 0.2, 0.1667), beta=d.pick(0.5, 0.5, 0.4))
        return d.same("Mul", *either(d, look(d, gate), other))
    a = d.same("Add", *either(d, x, scalar(d, x, 3.0)))
    low, high = near(d, 0.0), near(d, 6.0)
    if high < low:
        return None
    if d.opset < 11:
        c = d.same("Clip", a, min=low, max=high)
    elif d.chance(0.8):
        c = d.same("Clip", a, d.number(low, ()), d.number(high, ()))
    else:
        c = d.same("Min", d.same("Max", a, d.number(low)), d.number(high))
    by = lambda v: d.same("Div", v, scalar(d, x, 6.0)) if d.chance(0.7) else d.same("Mul", v, scalar(d, x, 1 / 6))
    if d.chance(0.5):
        return by(look(d, d.same("Mul", *either(d, other, look(d, c)))))
    return d.same("Mul", *either(d, other, look(d, by(c))))


def norm_written_out(d, x):
    shape, rank = d.shape(x), d.rank(x)
    if rank < 2:
        return None
    axes = d.r.choice([[rank - 1], [rank - 1], [1], list(range(2, rank)) or [1], list(range(1, rank))])

    def mean(v, over):
        named = [d.axis(a, rank) for a in over]
        out = [1 if i in over else s for i, s in enumerate(d.shape(v))]
        keep = 0 if d.chance(0.03) and over == [0] else 1
        if d.opset < 18:
            return d.node("ReduceMean", [v], out, axes=named, keepdims=keep)
        return d.node("ReduceMean", [v, d.ints(named)], out, keepdims=keep if d.chance(0.7) else None)

    m = mean(x, axes)
    other = axes if d.chance(0.93) else [d.r.randrange(1, rank)]
    c = d.same("Sub", x, m) if d.chance(0.95) else d.node("Sub", [m, x], shape)
    look(d, c)
    square = d.same("Mul", c, c) if d.chance(0.4) else d.same("Pow", c, d.number(near(d, 2.0) if d.chance(0.1) else 2.0))
    if d.chance(0.03):
        square = d.same("Mul", x, x)
    v = mean(square, other)
    eps = d.number(d.r.choice([1e-5, 1e-5, 1e-3, 1e-12, 0.5]))
    root = d.same("Sqrt", d.same("Add", *either(d, v, eps)))
    try:
        if np.broadcast_shapes(shape, d.shape(root)) != shape:
            return None
    except ValueError:
        return None
    look(d, root, 0.04)
    y = d.same("Div", c, root) if d.chance(0.7) else d.same("Mul", *either(d, c, d.same("Reciprocal", root)))
    for op in ("Mul", "Add"):
        if d.chance(0.8):
            own = d.r.choices([[shape[-1]], [shape[1]] + [1] * (rank - 2), [shape[a] for a in axes], [shape[1], 1], [1, shape[1]], [], [1]],
                              [8, 2, 2, 1, 0.5, 0.5, 0.5])[0]
            try:
                if np.broadcast_shapes(tuple(own), shape) != shape:
                    continue
            except ValueError:
                continue
            y = d.same(op, *either(d, look(d, y, 0.03), d.floats(*own)))
    return y


def batch_norm_written_out(d, x):
    shape = d.shape(x)
    if len(shape) < 2:
        return None
    own = d.r.choice([[1, shape[1]] + [1] * (len(shape) - 2), [shape[1]] + [1] * (len(shape) - 2), [shape[-1]]])
    y = x
    for op in d.r.choice([["Sub", "Div", "Mul", "Add"], ["Mul", "Add"], ["Sub", "Mul"], ["Div", "Sub"], ["Mul", "Sub"]]):
        c = d.positive(*own) if op == "Div" else d.floats(*own)
        y = d.node(op, [y, c] if op == "Div" or d.chance(0.8) else [c, y], np.broadcast_shapes(tuple(own), d.shape(y)))
    return y


def conv_norm(d, x):
    """A convolution or a linear layer, a normalisation before or behind it, an activation."""
    steps = [layers.conv if d.rank(x) > 2 else layers.gemm, layers.batch_norm]
    if d.chance(0.4):
        steps.reverse()
    if d.chance(0.3):
        steps.insert(1, d.r.choice([layers.activation, layers.pool, moves.flatten, moves.pad]))
    for step in steps:
        x = step(d, x) if x else None
    return layers.activation(d, x) if x and d.chance(0.5) else x


def squeeze_excite(d, x):
    shape = d.shape(x)
    if len(shape) != 4:
        return None
    b, c = shape[:2]
    if d.chance(0.5):
        g = d.node("GlobalAveragePool", [x], [b, c, 1, 1])
    else:
        g = layers.reduce(d, x, ("ReduceMean",))
    if g and d.rank(g) == 2 and d.chance(0.7):
        g = moves.reshape_to(d, layers.gemm(d, g) or g, [b, d.shape(g)[1], 1, 1])
        if g and d.shape(g)[1] != c:
            return None
    elif g and d.rank(g) == 4 and d.chance(0.7):
        g = d.node("Conv", [g, d.weight(c, d.shape(g)[1], 1, 1, fan=c)], [b, c, *d.shape(g)[2:]])
    if not g:
        return None
    g = d.same(d.pick("Sigmoid", "HardSigmoid", "Relu"), g)
    try:
        both = np.broadcast_shapes(d.shape(g), shape)
    except ValueError:
        return None
    return d.node(d.pick("Mul", "Mul", "Mul", "Add"), either(d, g, x), both)


def residual(d, x):
    y = x
    for _ in range(d.r.randint(1, 2)):
        y = d.r.choice([layers.conv, layers.activation, layers.batch_norm, layers.linear])(d, y)
        if not y:
            return None
    try:
        both = np.broadcast_shapes(d.shape(y), d.shape(x))
    except ValueError:
        return None
    z = d.node(d.pick("Add", "Add", "Sub", "Mul"), either(d, x, y), both)
    return d.same("Relu", z) if z and d.chance(0.5) else z


def shortcut(d, x):
    """Each second pixel, channels of zeros on both sides."""
    if d.rank(x) != 4 or d.opset < 10:
        return None
    b, c, h, w = d.shape(x)
    steps = d.r.choice([(2, 2), (2, 2), (1, 2), (3, 2)])
    y, height, width = x, -(-h // steps[0]), -(-w // steps[1])
    axes = [2, 3] if d.chance(0.8) else [-2, -1]
    start = [0, 0] if d.chance(0.85) or min(h, w) < 2 else [1, 0]
    height = -(-(h - start[0]) // steps[0])
    y = d.node("Slice", [x, d.ints(start), d.ints([2**31 - 1] * 2), d.ints(axes), d.ints(steps)], [b, c, height, width])
    left, right = d.r.choice([(1, 1), (2, 2), (c, c), (1, 0), (0, 2)])
    pads = [0, left, 0, 0, 0, right, 0, 0]
    if d.opset < 11:
        z = d.node("Pad", [y], [b, c + left + right, height, width], pads=pads)
    else:
        z = d.node("Pad", [y, d.ints(pads)], [b, c + left + right, height, width])
    return layers.beside_value(d, z) if z and d.chance(0.3) else z


def pixel_shuffle(d, x):
    """Channels that become pixels, in the right order or another; also channels shuffled among groups."""
    shape = d.shape(x)
    if len(shape) != 4:
        return None
    b, c, h, w = shape
    if d.chance(0.4):
        groups = [g for g in range(2, c) if c % g == 0]
        if not groups:
            return None
        g = d.r.choice(groups)
        y = moves.reshape_to(d, x, [b, g, c // g, h, w])
        y = d.node("Transpose", [y], [b, c // g, g, h, w], perm=[0, 2, 1, 3, 4]) if y else None
        return moves.reshape_to(d, y, [b, c, h, w]) if y else None
    sizes = [s for s in (2, 3) if c % (s * s) == 0]
    if sizes and d.chance(0.8):
        s = d.r.choice(sizes)
        y = moves.reshape_to(d, x, [b, c // s // s, s, s, h, w] if d.chance(0.6) else [b, s, s, c // s // s, h, w])
        if not y:
            return None
        perm = d.r.choice([[0, 1, 4, 2, 5, 3], [0, 1, 4, 3, 5, 2], [0, 3, 4, 1, 5, 2], [0, 1, 5, 2, 4, 3]])
        now = d.shape(y)
        y = d.node("Transpose", [y], [now[i] for i in perm], perm=perm)
        n = d.shape(y)
        return moves.reshape_to(d, y, [b, n[1], n[2] * n[3], n[4] * n[5]])
    sizes = [s for s in (2, 3) if h % s == 0 and w % s == 0]
    if not sizes:
        return None
    s = d.r.choice(sizes)
    y = moves.reshape_to(d, x, [b, c, h // s, s, w // s, s])
    if not y:
        return None
    perm = d.r.choice([[0, 1, 3, 5, 2, 4], [0, 3, 5, 1, 2, 4], [0, 5, 3, 1, 2, 4]])
    now = d.shape(y)
    y = d.node("Transpose", [y], [now[i] for i in perm], perm=perm)
    return moves.reshape_to(d, y, [b, c * s * s, h // s, w // s])


def projected(d, x, outputs):
    shape = d.shape(x)
    y = d.node("MatMul", [x, d.weight(shape[-1], outputs, fan=shape[-1])], [*shape[:-1], outputs])
    return d.node("Add", either(d, y, d.floats(outputs)), d.shape(y)) if y and d.chance(0.7) else y


def attention(d, x):
    """softmax(scale·Q·Kᵀ)·V with everything in it that exporters write, or something else in one place."""
    if d.rank(x) != 3:
        return None
    b, t, f = d.shape(x)
    heads, size = d.r.choice([1, 1, 2, 3]), d.r.choice([1, 2, 4])
    split_heads = heads > 1 or d.chance(0.4)
    heads = heads if split_heads else 1
    width = heads * size
    if split_heads and d.chance(0.35):
        q, k, v = unbound(d, x, heads, size)
    else:
        q, k, v = [projected(d, x, width) for _ in range(3)]
        if d.chance(0.05):
            v = d.same("Relu", v)
        if not (q and k and v):
            return None
        if split_heads:
            q, k, v = [moves.reshape_to(d, p, [b, t, heads, size]) for p in (q, k, v)]
            if not (q and k and v):
                return None
            q, v = [d.node("Transpose", [p], [b, heads, t, size], perm=[0, 2, 1, 3]) for p in (q, v)]
            if d.chance(0.5):
                k = d.node("Transpose", [k], [b, heads, size, t], perm=[0, 2, 3, 1])
            else:
                k = d.node("Transpose", [k], [b, heads, t, size], perm=[0, 2, 1, 3])
    if not (q and k and v):
        return None
    rank = d.rank(q)
    lead = list(d.shape(q)[:-2])
    if list(d.shape(k)[-2:]) == [t, size if split_heads else width] and (not split_heads or d.shape(k)[-2:] != (size, t) or d.chance(0.9)):
        order = [*range(rank - 2), rank - 1, rank - 2]
        k = d.node("Transpose", [k], [d.shape(k)[i] for i in order], perm=order)
    if not k or d.shape(k)[-1] != t or d.shape(q)[-1] != d.shape(k)[-2]:
        return None
    root = math.sqrt(size)
    where_ = d.r.choices(["none", "before", "behind", "both"], [1, 2, 4, 2])[0]
    if where_ in ("before", "both"):
        power = root if where_ == "before" else math.sqrt(root)
        q = d.same("Div", q, d.number(power)) if d.chance(0.5) else d.same("Mul", *either(d, q, d.number(1 / power)))
        if where_ == "both":
            k = d.same("Mul", *either(d, k, d.number(1 / power)))
    scores = d.node("MatMul", [q, k], [*lead, t, t])
    if where_ == "behind":
        by = d.number(root) if d.chance(0.93) else d.positive(t)
        scores = d.same("Div", scores, by) if d.chance(0.5) else d.same("Mul", *either(d, scores, by))
    if d.chance(0.25):
        mask = np.zeros(d.r.choice([(1, t), (t, t), (1, 1, t, t), (1,)][:2 if rank == 3 else 4]), np.float32)
        if d.chance(0.5):
            mask = np.where(d.rng.random(mask.shape) < 0.4, np.float32(d.pick(-1e9, -10.0, 1.0)), mask)
        scores = d.same("Add", *either(d, scores, d.constant(mask)))
    if d.chance(0.1) and d.opset >= 9:
        condition = d.constant(d.rng.random((t, t)) < 0.7)
        scores = d.node("Where", [condition, scores, d.number(-1e4)], d.shape(scores))
    look(d, scores, 0.03)
    axis = rank - 1 if d.chance(0.92) else rank - 2
    if d.opset < 13:
        p = d.same("Softmax", scores, axis=axis if d.chance(0.9) else None)
    else:
        p = d.same("Softmax", scores, axis=d.r.choice([axis, axis - rank]))
    look(d, p, 0.05)
    if d.chance(0.15) and d.opset >= 9:
        kind = d.r.randrange(3)
        if kind == 0:
            hidden = d.same("IsNaN", p)
            p = d.node("Where", [hidden, d.number(0.0), p], d.shape(p))
        elif kind == 1:
            condition = d.constant(d.rng.random((t, t)) < d.pick(0.5, 1.0, 0.0))
            p = d.node("Where", [condition, p, d.number(0.0)], d.shape(p))
        else:
            condition = d.constant(d.rng.random((t, t)) < 0.5)
            p = d.node("Where", [condition, d.number(0.0), p], d.shape(p))
    if d.chance(0.1):
        p = layers.dropout(d, p) if d.chance(0.5) else d.same("Cast", p, to=1)
    y = d.node("MatMul", [p, v], [*lead, t, d.shape(v)[-1]]) if d.chance(0.97) else d.node("MatMul", [p, p], d.shape(p))
    if split_heads and d.rank(y) == 4 and y and d.shape(y)[-1] * heads == width:
        y = d.node("Transpose", [y], [b, t, heads, d.shape(y)[-1]], perm=[0, 2, 1, 3])
        y = moves.reshape_to(d, y, [b, t, width])
    return projected(d, y, f) if y and d.chance(0.4) else y


def unbound(d, x, heads, size):
    """Queries, keys and values from one product, taken apart along an axis that was put before the batch."""
    b, t, _ = d.shape(x)
    y = projected(d, x, 3 * heads * size)
    y = moves.reshape_to(d, y, [b, t, 3, heads, size]) if y else None
    if not y:
        return None, None, None
    if d.chance(0.3):
        perm, at = d.r.choice([([0, 2, 3, 1, 4], 1), ([0, 3, 1, 2, 4], 3)])
    else:
        perm, at = [2, 0, 3, 1, 4], 0
    now = d.shape(y)
    y = d.node("Transpose", [y], [now[i] for i in perm], perm=perm)
    shape = list(d.shape(y))
    part = shape[:at] + shape[at + 1:]
    order = [0, 1, 2]
    if d.chance(0.1):
        d.r.shuffle(order)
    if d.chance(0.6):
        made = [d.node("Gather", [y, d.ints(i if d.chance(0.9) else i - 3 if d.opset >= 11 else i)], part, axis=at) for i in order]
    else:
        pieces = [s if i != at else 1 for i, s in enumerate(shape)]
        apart = d.node("Split", [y, *([d.ints([1, 1, 1])] if d.opset >= 13 else [])], [pieces] * 3, outputs=3, axis=at)
        if d.opset < 13:
            made = [d.node("Squeeze", [apart[i]], part, axes=[at]) for i in order]
        else:
            made = [d.node("Squeeze", [apart[i], d.ints([at])], part) for i in order]
    return made if len(part) == 4 and part[-2:] == [t, size] else (None, None, None)


def class_token(d, x):
    if d.rank(x) != 3:
        return None
    b, t, f = d.shape(x)
    if b > 1:
        return None
    n = d.r.choice([1, 1, 2])
    if d.chance(0.85):
        y = d.node("Concat", [d.floats(1, n, f), x], [b, t + n, f], axis=d.pick(1, 1, -2) if d.opset >= 11 else 1)
    else:
        y = d.node("Concat", [d.floats(1, t, n), x], [b, t, f + n], axis=2)
    if y and d.chance(0.6):
        _, t, f = d.shape(y)
        y = d.same("Add", *either(d, y, d.floats(*d.r.choice([(1, t, f), (t, f), (1, 1, f), (1, t, 1), (1, 1, t, f)[1:]]))))
    return y


STEPS = [(gelu_erf, 2.5), (gelu_tanh, 2), (silu, 2.5), (hard_swish, 2.5), (norm_written_out, 5), (batch_norm_written_out, 2), (conv_norm, 4),
         (squeeze_excite, 2), (residual, 2.5), (shortcut, 1.5), (pixel_shuffle, 2), (attention, 5), (class_token, 1.5)]
