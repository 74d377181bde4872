"""Operations that move elements or only say in which order they are read."""

import math

import numpy as np


def factors(d, n, most):
    """`n` as a product of up to `most` numbers."""
    out = []
    while len(out) < most - 1 and (n > 1 or d.chance(0.2)):
        f = d.r.choice([f for f in range(1, n + 1) if n % f == 0])
        out.append(f)
        n //= f
        if d.chance(0.3):
            break
    out.insert(d.r.randint(0, len(out)), n)
    return out


def transpose(d, x):
    shape = d.shape(x)
    rest = list(range(1, len(shape)))
    d.r.shuffle(rest)
    order = [0, *rest]
    if d.chance(0.04):
        d.r.shuffle(order)
    if d.chance(0.3) and len(shape) == 4:
        order = d.pick([0, 2, 3, 1], [0, 3, 1, 2])
    if order == list(range(len(shape)))[::-1] and d.chance(0.5):
        return d.node("Transpose", [x], [shape[i] for i in order])
    return d.node("Transpose", [x], [shape[i] for i in order], perm=order)


def reshape_to(d, x, to):
    """A Reshape of `x`, its target written with zeros and −1 at times."""
    shape, target = d.shape(x), list(to)
    for i, t in enumerate(target):
        if i < len(shape) and shape[i] == t and d.chance(0.3):
            target[i] = 0
    if d.chance(0.5) or d.net.free:
        at = 0 if d.net.free and target[0] != 0 else d.r.randrange(len(target))
        target[at] = -1
    if d.net.free and target[0] not in (0, -1):
        return None
    return d.node("Reshape", [x, d.ints(target)], to, allowzero=0 if d.opset >= 14 and d.chance(0.05) else None)


def reshape(d, x):
    shape = d.shape(x)
    if len(shape) < 2:
        return reshape_to(d, x, [shape[0], 1])
    n = math.prod(shape[1:])
    if d.chance(0.04):
        return reshape_to(d, x, factors(d, shape[0] * n, 4))
    if d.chance(0.3) and len(shape) > 3:
        return reshape_to(d, x, [shape[0], shape[1], math.prod(shape[2:])])
    if d.chance(0.2):
        return reshape_to(d, x, [shape[0], n])
    return reshape_to(d, x, [shape[0], *factors(d, n, 4)])


def computed_reshape(d, x):
    """A target that is computed from the value's own shape, as PyTorch writes it."""
    shape = d.shape(x)
    if len(shape) < 2:
        return None
    size = d.node("Shape", [x], [len(shape)])
    index = d.ints(0, np.int64)
    first = d.node("Gather", [size, index], [1], axis=0)
    rest = factors(d, math.prod(shape[1:]), 3)
    if d.opset < 13:
        one = d.node("Unsqueeze", [first], [1], axes=[0])
    else:
        one = d.node("Unsqueeze", [first, d.ints([0])], [1])
    if d.chance(0.5):
        rest[d.r.randrange(len(rest))] = -1
    target = d.node("Concat", [one, d.ints(rest)], [1 + len(rest)], axis=0)
    d.values = [v for v in d.values if v not in (first, one, target)]
    rest = [r if r > 0 else math.prod(shape[1:]) // math.prod([r for r in rest if r > 0]) for r in rest]
    return d.node("Reshape", [x, target], [shape[0], *rest])


def flatten(d, x):
    shape, rank = d.shape(x), d.rank(x)
    axis = 1 if d.chance(0.85) else d.r.randint(0, rank)
    named = axis - rank if d.opset >= 11 and axis < rank and d.chance(0.3) else axis
    return d.node("Flatten", [x], [math.prod(shape[:axis]), math.prod(shape[axis:])], axis=None if axis == 1 and d.chance(0.4) else named)


def squeeze(d, x):
    shape, rank = d.shape(x), d.rank(x)
    ones = [i for i, s in enumerate(shape) if s == 1 and (i or d.chance(0.05))]
    if not ones:
        return None
    axes = sorted(d.r.sample(ones, d.r.randint(1, len(ones))))
    if len(axes) == rank:
        return None
    out = [s for i, s in enumerate(shape) if i not in axes]
    named = [d.axis(a, rank) for a in axes]
    if d.chance(0.1) and 1 not in out:
        return d.node("Squeeze", [x], out)
    return d.node("Squeeze", [x], out, axes=named) if d.opset < 13 else d.node("Squeeze", [x, d.ints(named)], out)


def unsqueeze(d, x):
    shape = d.shape(x)
    if len(shape) > 4:
        return None
    rank = len(shape) + d.r.choice([1, 1, 2])
    axes = sorted(d.r.sample(range(0 if d.chance(0.05) else 1, rank), rank - len(shape)))
    left = iter(shape)
    out = [1 if i in axes else next(left) for i in range(rank)]
    named = [d.axis(a, rank) for a in axes]
    if d.chance(0.2):
        d.r.shuffle(named)
    return d.node("Unsqueeze", [x], out, axes=named) if d.opset < 13 else d.node("Unsqueeze", [x, d.ints(named)], out)


def expand(d, x):
    own, both = d.beside(d.shape(x))
    return d.node("Expand", [x, d.ints(list(own))], both) if own and d.opset >= 8 else None


def slice_(d, x):
    shape, rank = d.shape(x), d.rank(x)
    axes = [d.any_axis(x)] if d.chance(0.6) or rank < 3 else sorted(d.r.sample(range(1, rank), 2))
    starts, ends, steps, out = [], [], [], list(shape)
    stepped = d.opset >= 10 and d.chance(0.4)
    for a in axes:
        n = shape[a]
        step = d.r.choice([1, 2, 2, 3, -1, -2]) if stepped else 1
        if step > 0:
            start, end = d.r.randint(0, n - 1), n
            start = 0 if d.chance(0.4) else start
            end = d.r.randint(start + 1, n)
            out[a] = -(-(end - start) // step)
            start = start - n if d.chance(0.3) else start
            end = d.r.choice([2**31 - 1, 2**63 - 1, n + 5]) if end == n and d.chance(0.4) else end - n if end < n and d.chance(0.3) else end
        else:
            start, end = d.r.randint(0, n - 1), -1
            end = d.r.randint(-1, start - 1)
            out[a] = -(-(start - end) // -step)
            end = d.r.choice([-n - 1, -2**63 + 1]) if end == -1 else end
        starts.append(start), ends.append(end), steps.append(step)
    named = [d.axis(a, rank, 10) for a in axes]
    if d.opset < 10:
        return d.node("Slice", [x], out, starts=starts, ends=ends, axes=named)
    more = [d.ints(starts), d.ints(ends)]
    if axes != list(range(len(axes))) or d.chance(0.5) or stepped:
        more.append(d.ints(named))
    if stepped:
        more.append(d.ints(steps))
    return d.node("Slice", [x, *more], out)


def split(d, x):
    shape, rank = d.shape(x), d.rank(x)
    axis = d.any_axis(x)
    n = shape[axis]
    if n < 2:
        return None
    parts = d.r.choice([p for p in (2, 3, 4) if p <= n])
    named = d.axis(axis, rank)
    even = n % parts == 0
    attributes, more = {"axis": None if axis == 0 and d.chance(0.5) else named}, []
    if even and d.chance(0.6):
        sizes = [n // parts] * parts
    elif d.opset >= 18 and d.chance(0.3) and -(-n // parts) * (parts - 1) < n:
        each = -(-n // parts)
        sizes = [each] * (parts - 1) + [n - each * (parts - 1)]
    else:
        cuts = sorted(d.r.sample(range(1, n), parts - 1))
        sizes = [b - a for a, b in zip([0, *cuts], [*cuts, n])]
    chunk = -(-n // parts)
    default = sizes == [chunk] * (parts - 1) + [n - chunk * (parts - 1)]
    if default and d.opset >= 18 and d.chance(0.6):
        attributes["num_outputs"] = parts
    elif even and sizes == [n // parts] * parts and d.opset < 18 and d.chance(0.5):
        pass
    elif d.opset < 13:
        attributes["split"] = sizes
    else:
        more = [d.ints(sizes)]
    shapes = [[s if i != axis else size for i, s in enumerate(shape)] for size in sizes]
    made = d.node("Split", [x, *more], shapes, outputs=parts, **attributes)
    if made is None:
        return None
    if d.chance(0.4):
        picked = list(made)
        if d.chance(0.5):
            d.r.shuffle(picked)
        return d.node("Concat", picked, shape, axis=axis)
    if even and len(set(sizes)) == 1 and d.chance(0.4):
        return d.node(d.pick("Add", "Mul"), [made[0], made[-1]], shapes[0])
    return d.r.choice(made)


def concat(d, x):
    shape, rank = d.shape(x), d.rank(x)
    axis = d.any_axis(x)
    fits = [v for v in d.values if d.rank(v) == rank and all(a == b for i, (a, b) in enumerate(zip(d.shape(v), shape)) if i != axis)]
    read = [x] + [d.r.choice(fits) for _ in range(d.r.randint(1, 2))]
    if d.chance(0.2):
        own = [s if i != axis else d.r.randint(1, 3) for i, s in enumerate(shape)]
        read = [x, d.floats(*own)]
        if d.chance(0.6):
            read.reverse()
        size = shape[axis] + own[axis]
    else:
        size = sum(d.shape(v)[axis] for v in read)
    if d.chance(0.3):
        d.r.shuffle(read)
    return d.node("Concat", read, [s if i != axis else size for i, s in enumerate(shape)], axis=d.axis(axis, rank))


def gather(d, x):
    shape, rank = d.shape(x), d.rank(x)
    axis = d.any_axis(x)
    n = shape[axis]
    own = d.r.choices([(), (1,), (2,), (3,), (1, 1), (2, 1), (1, 2), (2, 2)], [6, 4, 2, 1, 1, 0.7, 0.7, 0.7])[0]
    index = d.rng.integers(-n if d.opset >= 11 and d.chance(0.4) else 0, n, own)
    if own == (n,) and d.chance(0.5):
        index = np.arange(n)
    index = d.constant(np.array(index, np.int64 if d.chance(0.8) else np.int32), "i")
    out = [*shape[:axis], *own, *shape[axis + 1:]]
    return d.node("Gather", [x, index], out, axis=None if axis == 0 and d.chance(0.5) else d.axis(axis, rank)) if out else None


def pad(d, x):
    shape, rank = d.shape(x), d.rank(x)
    before, after = [0] * rank, [0] * rank
    kind = d.r.choices(["sides", "even", "channels", "any", "none", "cut"], [5, 3, 2, 2, 0.5, 0.5])[0]
    axes = range(2, rank) if kind in ("sides", "even") and rank > 2 else [1] if kind == "channels" and rank > 1 else range(1, rank)
    for a in axes:
        before[a] = d.r.randint(0, 2)
        after[a] = before[a] if kind in ("even", "channels") and d.chance(0.8) else d.r.randint(0, 2)
    if kind == "none":
        before, after = [0] * rank, [0] * rank
    if kind == "cut" and rank > 2 and shape[-1] > 2:
        after[-1], before[-1] = -1, d.pick(0, 1)
    mode = d.r.choices([None, "constant", "reflect", "edge"], [4, 4, 0.7, 0.7])[0]
    if mode == "reflect" and any(max(b, a) >= s for b, a, s in zip(before, after, shape)):
        mode = "constant"
    value = d.r.choices([None, 0.0, 1.0, -1.0], [4, 2, 0.7, 0.3])[0]
    out = [s + b + a for s, b, a in zip(shape, before, after)]
    if d.opset < 11:
        return d.node("Pad", [x], out, pads=before + after, mode=mode, value=value)
    if d.opset >= 18 and d.chance(0.3):
        axes = [a for a in range(rank) if before[a] or after[a]] or [rank - 1]
        named = d.ints([d.axis(a, rank) for a in axes])
        pads = d.ints([before[a] for a in axes] + [after[a] for a in axes])
        return d.node("Pad", [x, pads, "" if value is None else d.number(value, ()), named], out, mode=mode)
    more = [] if value is None else [d.number(value, d.pick((), (), (1,)))]
    return d.node("Pad", [x, d.ints(before + after), *more], out, mode=mode)


def padded_window(d, x):
    """A Pad in front of a convolution or a pool: the two kinds of padding meet."""
    from . import layers
    if d.rank(x) != 4:
        return None
    shape = d.shape(x)
    side = lambda: d.r.choice([0, 1, 1, 2])
    before, after = [0, 0, side(), side()], [0, 0, side(), side()]
    out = [s + b + a for s, b, a in zip(shape, before, after)]
    value = d.r.choices([0.0, 0.5], [8, 1])[0]
    if d.chance(0.4):
        x = d.same("Relu", x)
    if d.opset < 11:
        y = d.node("Pad", [x], out, pads=before + after, value=value)
    else:
        y = d.node("Pad", [x, d.ints(before + after), *([d.number(value, ())] if value or d.chance(0.5) else [])], out)
    if not y:
        return None
    if d.chance(0.1):
        y = d.same(d.pick("Relu", "Identity", "Sigmoid"), y)
    return (layers.conv if d.chance(0.6) else layers.pool)(d, y)


def tile(d, x):
    shape = d.shape(x)
    repeats = [1] + [d.r.choice([1, 1, 2, 3]) for _ in shape[1:]]
    return d.node("Tile", [x, d.ints(repeats)], [s * r for s, r in zip(shape, repeats)])


def depth_and_space(d, x):
    if d.rank(x) != 4:
        return None
    b, c, h, w = d.shape(x)
    if d.chance(0.5):
        sizes = [s for s in (2, 3) if c % (s * s) == 0]
        if not sizes:
            return None
        s = d.r.choice(sizes)
        mode = d.r.choice([None, "DCR", "CRD"]) if d.opset >= 11 else None
        return d.node("DepthToSpace", [x], [b, c // s // s, h * s, w * s], blocksize=s, mode=mode)
    sizes = [s for s in (2, 3) if h % s == 0 and w % s == 0]
    if not sizes:
        return None
    s = d.r.choice(sizes)
    return d.node("SpaceToDepth", [x], [b, c * s * s, h // s, w // s], blocksize=s)


def resize(d, x):
    """Images made larger or smaller; the nearest element mostly."""
    shape, rank = d.shape(x), d.rank(x)
    if rank < 3:
        return None
    scales = [1.0] * rank
    for a in range(2, rank):
        scales[a] = d.r.choice([1.0, 2.0, 2.0, 3.0, 0.5, 1.5, 0.75])
    if d.chance(0.05):
        scales[1] = 2.0
    if d.opset < 11:
        # Only what is larger before operator set 10.
        if d.opset < 10:
            scales = [max(1.0, s) for s in scales]
        out = [int(s * f) for s, f in zip(shape, scales)]
        mode = d.r.choices([None, "nearest", "linear"], [3, 3, 0.3])[0]
        if d.opset < 9:
            return d.node("Upsample", [x], out, scales=scales, mode=mode)
        return d.node("Upsample" if d.opset < 10 else "Resize", [x, d.constant(np.array(scales, np.float32))], out, mode=mode)
    mode = d.r.choices([None, "nearest", "linear", "cubic"], [2, 6, 0.5, 0.2])[0]
    places = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    attributes = {"mode": mode, "coordinate_transformation_mode": d.r.choice([None, *places]),
                  "nearest_mode": d.r.choice([None, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])}
    roi = d.pick("", d.constant(np.zeros(0, np.float32), plain=True)) if d.opset >= 13 else d.constant(np.zeros(0, np.float32), plain=True)
    if d.chance(0.5):
        out = [int(np.floor(s * np.float32(f))) for s, f in zip(shape, scales)]
        return d.node("Resize", [x, roi, d.constant(np.array(scales, np.float32))], out, **attributes)
    out = [*shape[:2], *[d.r.choice([s, s * 2, s * 3, max(1, s // 2), s + 1]) for s in shape[2:]]]
    none = "" if d.opset >= 13 else d.constant(np.zeros(0, np.float32), plain=True)
    return d.node("Resize", [x, roi, none, d.ints(out)], out, **attributes)


STEPS = [(transpose, 6), (reshape, 6), (computed_reshape, 1), (flatten, 5), (squeeze, 3), (unsqueeze, 2), (expand, 1), (slice_, 4), (split, 3),
         (concat, 5), (gather, 4), (pad, 3), (padded_window, 4), (tile, 0.5), (depth_and_space, 1), (resize, 2)]
