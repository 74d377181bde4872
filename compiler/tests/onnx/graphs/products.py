"""Products of two computed values, Einsum, and attention with all that it may be given."""

import math

import numpy as np

from . import moves


def turned(d, x, order):
    shape = d.shape(x)
    return d.node("Transpose", [x], [shape[i] for i in order], perm=list(order))


def partner(d, x, rows):
    """A computed value whose last axes are `rows` and any, its other axes those of `x`, or ones; by a product or a transpose of `x`."""
    shape = d.shape(x)
    lead = list(shape[:-2])
    k = d.r.randint(1, 6)
    if rows == shape[-1] and d.chance(0.6):
        # Of x transposed.
        other = turned(d, x, [*range(len(lead)), len(lead) + 1, len(lead)])
        if d.chance(0.3) and other:
            return other
        return d.node("MatMul", [other, d.weight(shape[-2], k, fan=shape[-2])], [*lead, rows, k]) if other else None
    return d.node("MatMul", [d.weight(rows, shape[-2], fan=shape[-2]), x], [*lead, rows, shape[-1]])


def of_two(d, x):
    """MatMul of two computed values, batched, one of them broadcast or transposed at times."""
    shape = d.shape(x)
    if len(shape) < 2:
        return None
    y = partner(d, x, shape[-1])
    if not y:
        return None
    lead = list(shape[:-2])
    other = d.shape(y)
    if lead and d.chance(0.25):
        # One of the batches becomes one.
        at = d.r.randrange(len(lead))
        if at or d.net.x.shape[0] == 1 and not d.net.free:
            out = [1 if i == at else s for i, s in enumerate(other)]
            y = d.node("ReduceMean", [y], out, axes=[at]) if d.opset < 18 else d.node("ReduceMean", [y, d.ints([at])], out)
            other = out
    if d.chance(0.1):
        y = d.same("Relu", y)
    return d.node("MatMul", [x, y], [*np.broadcast_shapes(tuple(lead), tuple(other[:-2])), shape[-2], other[-1]])


def vectors(d, x):
    """MatMul with a vector that is computed, or a Gemm of two computed matrices."""
    shape = d.shape(x)
    if len(shape) != 2:
        return None
    m, k = shape
    y = partner(d, x, k)
    if not y:
        return None
    n = d.shape(y)[-1]
    attributes = {"alpha": d.r.choice([None, 0.5]), "beta": d.r.choice([None, 2.0])}
    if d.chance(0.3):
        y, attributes["transB"] = turned(d, y, [1, 0]), 1
    more = [] if d.opset < 11 or d.chance(0.4) else [d.r.choice([d.floats(n), d.floats(1, n), d.floats(m, 1)])]
    if d.opset < 11 or more and d.chance(0.3):
        more = [d.floats(n)]
    return d.node("Gemm", [x, y, *more], [m, n], **attributes)


def einsum(d, x):
    if d.opset < 12:
        return None
    shape, rank = d.shape(x), d.rank(x)
    letters = d.r.sample("abcdefghijklmnopqrstuvwxyz", rank + 2)
    mine, free = letters[:rank], letters[rank:]
    size = dict(zip(mine, shape))
    first = mine[0]
    kind = d.r.choice(["weight", "weight", "value", "alone", "outer"])
    spaced = " " if d.chance(0.2) else ""
    arrow = f"{spaced}->{spaced}"
    if kind == "alone":
        kept = [c for c in mine if c == first or d.chance(0.6)]
        d.r.shuffle(kept)
        return d.node("Einsum", [x], [size[c] for c in kept], equation=f"{''.join(mine)}{arrow}{''.join(kept)}")
    if kind == "value":
        found = [v for v in d.values if d.rank(v) == rank and d.shape(v)[0] == shape[0]]
        y = d.r.choice(found)
        other = []
        for i, s in enumerate(d.shape(y)):
            same = [c for c in mine if size[c] == s and c not in other]
            other.append(first if i == 0 else d.r.choice(same) if same and d.chance(0.8) else None)
        if any(o is None for o in other) or len(set(other)) < len(other):
            return None
        # Letters may be the same in another order.
    elif kind == "outer":
        other, y = [free[0]], d.floats(3)
        size[free[0]] = 3
    else:
        some = [c for c in mine if c != first and d.chance(0.6)]
        d.r.shuffle(some)
        other = [*some, *free[:d.r.randint(0 if some else 1, 2)]]
        d.r.shuffle(other)
        for c in free:
            size[c] = d.r.randint(1, 4)
        y = d.floats(*[size[c] for c in other], scale=0.7)
    if kind == "value":
        size.update(zip(other, d.shape(y)))
    both = list(dict.fromkeys([*mine, *other]))
    kept = [c for c in both if c == first or d.chance(0.6)]
    d.r.shuffle(kept)
    pair = [(mine, x), (other, y)]
    if d.chance(0.4):
        pair.reverse()
    left = ",".join("".join(p[0]) for p in pair)
    return d.node("Einsum", [p[1] for p in pair], [size[c] for c in kept], equation=f"{left}{arrow}{''.join(kept)}")


def attention(d, x):
    """Operator set 23's attention with masks, earlier keys, fewer heads of keys, a softcap and a window."""
    shape = d.shape(x)
    if d.opset < 23 or len(shape) not in (3, 4):
        return None
    attributes = {"scale": d.r.choice([None, None, 0.5]), "softcap": d.r.choice([None, None, 2.0])}
    b, t = shape[0], shape[-2]
    if len(shape) == 3:
        group = d.r.choice([1, 2, 3])
        heads, size, values = d.r.choice([1, 2]), d.r.choice([1, 2, 4]), d.r.choice([1, 2, 4])
        q = d.node("MatMul", [x, d.weight(shape[-1], heads * group * size, fan=shape[-1])], [b, t, heads * group * size])
        source, keys = x, t
        if d.chance(0.3):
            found = [v for v in d.values if d.rank(v) == 3 and d.shape(v)[0] == b]
            source = d.r.choice(found)
            keys = d.shape(source)[1]
        f = d.shape(source)[-1]
        k = d.node("MatMul", [source, d.weight(f, heads * size, fan=f)], [b, keys, heads * size])
        v = d.node("MatMul", [source, d.weight(f, heads * values, fan=f)], [b, keys, heads * values])
        attributes.update(q_num_heads=heads * group, kv_num_heads=heads)
        out, queries = [b, t, heads * group * values], heads * group
    else:
        queries = heads = shape[1]
        size = values = shape[-1]
        q, k, v, keys = x, x, d.same("Tanh", x), t
        out = list(shape)
        if queries > 1 and d.chance(0.3):
            divisor = d.r.choice([g for g in range(1, queries + 1) if queries % g == 0])
            heads = queries // divisor
            at = d.ints(list(range(heads)))
            k, v = (d.node("Gather", [p, at], [b, heads, t, size], axis=1) for p in (k, v))
    read = [q, k, v]
    past = 0
    mask = d.r.choices(["none", "float", "truth"], [3, 2, 1])[0]
    if d.chance(0.15):
        past = d.r.randint(1, 3)
    keys += past
    if mask != "none":
        # ONNX Runtime broadcasts a mask over batch and heads alone.
        own = d.r.choice([(t, keys), (1, 1, t, keys), (1, queries, t, keys)])
        if mask == "truth":
            seen = d.rng.random(own) < 0.7
            seen[..., 0] = True
            read.append(d.constant(seen))
        else:
            read.append(d.floats(*own))
    if past:
        read += [""] * (4 - len(read)) + [d.floats(b, heads, past, size), d.floats(b, heads, past, values)]
    if d.chance(0.3) and mask != "truth":
        attributes["is_causal"] = 1
    if past:
        shapes = [out, [b, heads, keys, size], [b, heads, keys, values]]
        return d.node("Attention", read, shapes, outputs=3, **attributes)[0]
    return d.node("Attention", read, out, **attributes)


def rotary(d, x):
    """RotaryEmbedding, of heads apart or together, whole or interleaved, of a part of each head."""
    shape = d.shape(x)
    if d.opset < 23 or len(shape) not in (3, 4):
        return None
    attributes = {"interleaved": d.r.choice([None, 0, 1])}
    if len(shape) == 4:
        b, _, t, size = shape
    else:
        b, t, all_ = shape
        heads = d.r.choice([h for h in (1, 2, 3) if all_ % h == 0])
        size = all_ // heads
        attributes["num_heads"] = heads
    if size % 2:
        return None
    turned_ = size
    if size > 2 and d.chance(0.4):
        turned_ = d.r.choice(range(2, size, 2))
        attributes["rotary_embedding_dim"] = turned_
    angles = lambda *s: d.rng.uniform(-3, 3, s)
    if d.chance(0.5):
        a = angles(t + 3, turned_ // 2)
        where = d.constant(np.stack([d.rng.permutation(t + 3)[:t] for _ in range(b)]).astype(np.int64), "i")
        more = [where]
    else:
        a, more = angles(b, t, turned_ // 2), []
    cos, sin = (d.constant(f(a).astype(np.float32)) for f in (np.cos, np.sin))
    return d.same("RotaryEmbedding", x, cos, sin, *more, **attributes)


def gated(d, x):
    """A linear layer in two halves, one of which opens the other."""
    shape = d.shape(x)
    if len(shape) < 2:
        return None
    k = d.r.randint(1, 4)
    y = d.node("MatMul", [x, d.weight(shape[-1], 2 * k, fan=shape[-1])], [*shape[:-1], 2 * k])
    if not y:
        return None
    halves = d.node("Split", [y, *([d.ints([k, k])] if d.opset >= 13 else [])], [[*shape[:-1], k]] * 2, outputs=2, axis=-1 if d.opset >= 11 else len(shape) - 1)
    if not halves:
        return None
    gate = d.same(d.pick("Sigmoid", "Tanh", "Relu"), halves[0])
    if d.chance(0.5):
        gate = d.same("Mul", gate, halves[0])
    return d.same("Mul", gate, halves[1])


def samples_elsewhere(d, x):
    """The batch behind the axis after it, a linear layer or a softmax there, and back."""
    shape = d.shape(x)
    if len(shape) < 3:
        return None
    order = [1, 0, *range(2, len(shape))] if d.chance(0.6) else [*range(1, len(shape)), 0]
    y = turned(d, x, order)
    if not y:
        return None
    now = d.shape(y)
    if order[-1] == 0:
        y = d.same(d.pick("Relu", "Sigmoid", "Tanh"), y)
        y = d.same("Softmax", y, axis=0) if y and d.opset >= 13 and d.chance(0.4) else y
    else:
        y = d.node("MatMul", [y, d.weight(now[-1], now[-1], fan=now[-1])], now)
        y = d.same("Add", y, d.floats(now[0], 1, *[1] * (len(now) - 2))) if y and d.chance(0.5) else y
    if y and d.chance(0.7):
        y = turned(d, y, [int(i) for i in np.argsort(order)])
    return y


def cosine(d, x):
    """Products of all rows, each over its length."""
    shape = d.shape(x)
    if len(shape) < 3 or math.prod(shape) * shape[-2] > 3000:
        return None
    named = {"axes": [-1 if d.opset >= 11 else len(shape) - 1]}
    more = []
    if d.opset >= 18:
        named, more = {}, [d.ints([-1])]
    length = d.node("ReduceL2", [x, *more], [*shape[:-1], 1], **named)
    unit = d.node("Div", [x, d.node("Add", [length, d.number(0.1, ())], [*shape[:-1], 1])], shape)
    return d.node("MatMul", [unit, turned(d, unit, [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2])], [*shape[:-1], shape[-2]])


STEPS = [(of_two, 3), (vectors, 1), (einsum, 3), (attention, 3), (rotary, 2), (gated, 1), (samples_elsewhere, 1.5), (cosine, 0.5)]
