"""Elements by indices: stated, computed or given, taken from places or put there."""

import numpy as np

from . import logic


def index(d, n, own, negative=True):
    """Integers below `n` of the shape `own`, some counted from the end."""
    return d.rng.integers(-n if negative and d.chance(0.4) else 0, n, own)


def computed(d, x, n, wide=False):
    """Indices below `n` that depend on `x`, and their shape: elements made whole, or where the largest is. `wide` asks for 64 bits."""
    shape = d.shape(x)
    if d.opset >= 12 and len(shape) > 1 and d.chance(0.3):
        axis = len(shape) - 1
        if shape[axis] <= n:
            return d.node("ArgMax", [x], [*shape[:-1], 1], of="int", axis=axis), (*shape[:-1], 1)
    y = d.same("Mul", d.same("Sigmoid", x), d.number(n - 0.01, ()))
    if d.opset >= 11 and d.chance(0.3):
        y = d.same("Sub", y, d.number(float(n), ()))
        y = d.same("Floor", y)
    return d.node("Cast", [y], shape, of="int", to=7 if wide else d.pick(6, 7)), shape


def embedding(d, x):
    """Rows of a table at computed indices, as text networks begin."""
    if d.opset < 11:
        return None
    shape = d.shape(x)
    n, width = d.r.randint(2, 9), d.r.randint(1, 5)
    at, own = computed(d, x, n)
    table = d.floats(n, width)
    if not at:
        return None
    if d.chance(0.2):
        # Of a computed value along any axis.
        axis = d.any_axis(x)
        at, own = computed(d, x, shape[axis])
        return d.node("Gather", [x, at], [*shape[:axis], *own, *shape[axis + 1:]], axis=axis)
    if d.chance(0.3):
        table, width = d.floats(width, n), width
        return d.node("Gather", [table, at], [width, *own], axis=1)
    return d.node("Gather", [table, at], [*own, width], axis=None if d.chance(0.5) else 0)


def given(d, x):
    """Rows of a table at indices that the network is given."""
    if d.opset < 11 or d.net.more or d.net.listed:
        return None
    shape = d.shape(x)
    batch = d.net.x.shape[0]
    n = d.r.randint(2, 9)
    tokens = shape[1] if len(shape) == 3 else d.r.randint(1, 5)
    d.count += 1
    name = f"ids{d.count}"
    d.net.more[name] = index(d, n, (batch, tokens), False).astype(d.pick(np.int64, np.int32))
    d.net.batched.add(name)
    width = shape[2] if len(shape) == 3 else d.r.randint(1, 4)
    y = d.node("Gather", [d.floats(n, width), name], [batch, tokens, width], axis=0)
    if y and len(shape) == 3 and shape[0] == batch:
        return d.same("Add", x, y)
    return y


def elements(d, x):
    """GatherElements, its indices stated or computed."""
    if d.opset < 11:
        return None
    shape, rank = d.shape(x), d.rank(x)
    axis = d.any_axis(x)
    if d.chance(0.4):
        at, own = computed(d, x, shape[axis])
        return d.node("GatherElements", [x, at], own, axis=d.axis(axis, rank))
    own = [s if i == 0 else d.r.randint(1, s) for i, s in enumerate(shape)]
    own[axis] = d.r.randint(1, shape[axis] + 2)
    at = d.constant(index(d, shape[axis], own).astype(d.pick(np.int64, np.int64, np.int32)), "i")
    return d.node("GatherElements", [x, at], own, axis=None if axis == 0 and d.chance(0.5) else d.axis(axis, rank))


def rows(d, x):
    """GatherND, its indices stated or computed."""
    if d.opset < 11:
        return None
    shape, rank = d.shape(x), d.rank(x)
    batched = d.r.choice([0, 1, 1]) if d.opset >= 12 and rank > 1 else 0
    batched += batched == 1 and rank > 2 and d.chance(0.2)
    named = d.r.randint(1, rank - batched)
    own = [*shape[:batched], *[d.r.randint(1, 3) for _ in range(d.r.choice([0, 1, 1, 2]))]]
    out = [*own, *shape[batched + named:]]
    if not out:
        return None
    attributes = {"batch_dims": batched if batched or d.opset >= 12 and d.chance(0.2) else None}
    if named == 1 and batched and d.chance(0.4):
        # One computed index for each place.
        most = d.node("ArgMax", [x], [*shape[:batched], 1, *shape[batched + 1:]], of="int", axis=batched)
        if len(shape) == batched + 1:
            return d.node("GatherND", [x, most], shape[:batched], **attributes)
    at = np.stack([index(d, n, own) for n in shape[batched:batched + named]], -1)
    return d.node("GatherND", [x, d.constant(at.astype(np.int64), "i")], out, **attributes)


def reduction(d, more=True):
    kinds = [None, None, "none"] if d.opset >= 16 else [None]
    if more and d.opset >= 16:
        kinds += ["add", "add", "mul"] + ["max", "min"] * (d.opset >= 18)
    return d.r.choice(kinds)


def updates(d, x, own):
    """What is put somewhere: a constant, or a computed value of that shape."""
    size = int(np.prod(own))
    if d.chance(0.5) and size <= int(np.prod(d.shape(x))) and d.net.x.shape[0] == 1 and not d.net.free:
        flat = d.node("Reshape", [x, d.ints([-1])], [int(np.prod(d.shape(x)))])
        part = d.node("Gather", [flat, d.ints(list(range(size)))], [size], axis=0)
        return d.node("Reshape", [part, d.ints(list(own))], own) if own else None
    return d.floats(*own)


def put_elements(d, x):
    shape, rank = d.shape(x), d.rank(x)
    if d.opset < 9:
        return None
    op = "Scatter" if d.opset < 11 else "ScatterElements"
    axis = d.any_axis(x)
    joins = reduction(d)
    own = [s if i == 0 and d.chance(0.9) else d.r.randint(1, s) for i, s in enumerate(shape)]
    n = shape[axis]
    if joins in (None, "none"):
        # Each place once: ONNX does not say which of several stays.
        own[axis] = d.r.randint(1, n)
        lines = int(np.prod(own)) // own[axis]
        at = np.stack([d.rng.permutation(n)[:own[axis]] for _ in range(lines)])
        rest = [s for i, s in enumerate(own) if i != axis]
        at = np.moveaxis(at.reshape(*rest, own[axis]), -1, axis)
        if d.opset >= 11 and d.chance(0.3):
            at = at - n
    else:
        own[axis] = d.r.randint(1, n + 2)
        at = index(d, n, own)
    own = at.shape
    new = updates(d, x, own)
    return d.same(op, x, d.constant(at.astype(np.int64), "i"), new, axis=d.axis(axis, rank), reduction=joins) if new else None


def put_rows(d, x):
    if d.opset < 11:
        return None
    shape, rank = d.shape(x), d.rank(x)
    named = d.r.randint(1, rank)
    joins = reduction(d)
    places = int(np.prod(shape[:named]))
    count = d.r.randint(1, min(4, places))
    if joins in (None, "none"):
        flat = d.rng.permutation(places)[:count]
    else:
        flat = d.rng.integers(0, places, count)
    at = np.stack(np.unravel_index(flat, shape[:named]), -1)
    if d.chance(0.3):
        at = at - np.array(shape[:named]) * (d.rng.random(named) < 0.5)
    own = [count, *shape[named:]]
    new = updates(d, x, own)
    return d.same("ScatterND", x, d.constant(at.astype(np.int64), "i"), new, reduction=joins) if new else None


def one_hot(d, x):
    if d.opset < 11:
        return None
    shape, rank = d.shape(x), d.rank(x)
    depth = d.r.randint(1, 6)
    # ONNX Runtime has it for indices of 64 bits.
    at, own = computed(d, x, depth, wide=True)
    axis = d.r.choice([None, -1, d.r.randint(1, len(own)), d.r.randint(-len(own), -1)])
    place = len(own) if axis is None else axis % (len(own) + 1)
    out = [*own[:place], depth, *own[place:]]
    values = d.constant(np.array(d.r.choice([[0, 1], [-1, 2], [0.5, 0]]), np.float32), plain=True)
    return d.node("OneHot", [at, d.ints(depth if d.chance(0.5) else [depth]), values], out, axis=axis)


def compressed(d, x):
    if d.opset < 9:
        return None
    shape, rank = d.shape(x), d.rank(x)
    axis = d.any_axis(x)
    taken = d.rng.random(d.r.randint(1, shape[axis])) < 0.6
    taken[0] = True
    out = [int(taken.sum()) if i == axis else s for i, s in enumerate(shape)]
    return d.node("Compress", [x, d.constant(taken, "i")], out, axis=d.axis(axis, rank))


def backwards(d, x):
    """ReverseSequence: a part of each sequence turned round."""
    if d.opset < 10 or d.rank(x) < 2:
        return None
    shape = d.shape(x)
    time, batch = d.pick((0, 1), (1, 0))
    lengths = d.constant(d.rng.integers(1, shape[time] + 1, shape[batch]).astype(np.int64), "i")
    return d.same("ReverseSequence", x, lengths, time_axis=time, batch_axis=batch)


def cache(d, x):
    """TensorScatter: new tokens written into a cache."""
    if d.opset < 24 or d.rank(x) < 3:
        return None
    shape, rank = d.shape(x), d.rank(x)
    axis = rank - 2
    n, new = shape[axis], d.r.randint(1, shape[axis])
    mode = d.r.choice([None, "linear", "circular"])
    own = [new if i == axis else s for i, s in enumerate(shape)]
    most = n if mode == "circular" else n - new + 1
    starts = [d.constant(d.rng.integers(0, most, shape[0]).astype(np.int64), "i")] if d.chance(0.8) else []
    return d.same("TensorScatter", x, d.floats(*own), *starts, axis=d.r.choice([None, axis, -2]), mode=mode)


def shape_of_parts(d, x):
    """A part of each row, picked by a computed truth: the mask is the value's own."""
    t, shape = logic.truth(d, x)
    if d.opset < 9 or not t:
        return None
    axis = d.any_axis(x)
    n = d.shape(x)[axis]
    at = d.ints(d.r.sample(range(n), d.r.randint(1, n)))
    out = [int(d.net.constants[at].size) if i == axis and at in d.net.constants else s for i, s in enumerate(shape)]
    if at not in d.net.constants or shape != d.shape(x):
        return None
    picked = d.node("Gather", [t, at], out, of="truth", axis=axis)
    return d.node("Cast", [picked], out, to=1)


STEPS = [(embedding, 1.5), (given, 1), (elements, 1.5), (rows, 1.5), (put_elements, 1.5), (put_rows, 1.2), (one_hot, 1), (compressed, 0.5),
         (backwards, 0.6), (cache, 1), (shape_of_parts, 0.3)]
