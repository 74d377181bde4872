"""Truths and integers that are computed, and what is chosen, counted or cast by them."""

import numpy as np


def truth(d, x, depth=0):
    """A truth about each element of `x`, and its shape; `None` where the two cannot be compared."""
    shape = d.shape(x)
    if depth < 2 and d.chance(0.3):
        return joined(d, x, depth)
    kinds = ["number", "number", "constant", "value", "whole"] + ["IsNaN"] * (d.opset >= 9) + ["IsInf"] * (d.opset >= 10)
    kind = d.r.choice(kinds)
    if kind in ("IsNaN", "IsInf"):
        infinite = kind == "IsInf" and d.chance(0.5)
        signs = {"detect_negative": d.pick(0, 1), "detect_positive": d.pick(0, 1)} if infinite else {}
        return d.node(kind, [x], shape, of="truth", **signs), shape
    ops = ["Greater", "Less"] + ["GreaterOrEqual", "LessOrEqual"] * (d.opset >= 12)
    if kind == "whole" and d.opset >= 11:
        # Steps of a half, so that some are equal.
        halves = d.same("Floor", d.same("Mul", d.same("Tanh", x), d.number(3.0, ())))
        other = d.number(d.pick(0.0, 1.0, -1.0, -2.0), ())
        op = d.r.choice(["Equal", "Equal", *ops])
        return d.node(op, [halves, other] if d.chance(0.7) else [other, halves], shape, of="truth"), shape
    if d.opset < 9:
        ops = ["Greater", "Less"]
    if kind == "value":
        found = d.fitting(x)
        if found:
            y, both = found
            if d.opset >= 11 and d.chance(0.15):
                ops = ["Equal"]
            return d.node(d.r.choice(ops), [x, y] if d.chance(0.5) else [y, x], both, of="truth"), both
    if kind == "constant":
        own, both = d.beside(shape, raise_rank=False)
        c = d.floats(*own, scale=0.5)
        return d.node(d.r.choice(ops), [x, c] if d.chance(0.6) else [c, x], both, of="truth"), both
    c = d.number(d.pick(0.0, 0.1, -0.5, 1.0), ())
    return d.node(d.r.choice(ops), [x, c] if d.chance(0.7) else [c, x], shape, of="truth"), shape


def joined(d, x, depth):
    a, shape = truth(d, x, depth + 1)
    if d.chance(0.3):
        return d.node("Not", [a], shape, of="truth"), shape
    if d.chance(0.3):
        own, both = d.beside(shape, raise_rank=False)
        b = d.constant(d.rng.random(own) < 0.5)
    else:
        b, other = truth(d, x, depth + 1)
        both = np.broadcast_shapes(shape, other)
    return d.node(d.pick("And", "Or", "Xor"), [a, b] if d.chance(0.5) else [b, a], both, of="truth"), both


def chosen(d, x):
    """Where, by a computed condition."""
    if d.opset < 9:
        return None
    condition, shape = truth(d, x)
    if not condition:
        return None
    sides = []
    for _ in range(2):
        found = d.fitting(x) if d.chance(0.3) else None
        if found:
            sides.append((found[0], d.shape(found[0])))
        elif d.chance(0.4):
            own, _ = d.beside(d.shape(x), raise_rank=False)
            sides.append((d.floats(*own), own) if d.chance(0.6) else (d.number(d.pick(0.0, 1.0, -1e4), ()), ()))
        else:
            sides.append((x, d.shape(x)))
    both = np.broadcast_shapes(shape, *(s for _, s in sides))
    if all(name not in d.shapes for name, _ in sides) and d.chance(0.8):
        sides[0] = x, d.shape(x)
        both = np.broadcast_shapes(shape, *(s for _, s in sides))
    return d.node("Where", [condition, *(name for name, _ in sides)], both)


def as_number(d, x):
    """A truth as a float: alone, or times the value."""
    t, shape = truth(d, x)
    if d.chance(0.2):
        t = d.node("Cast", [t], shape, of="int", to=d.pick(6, 7))
    y = d.node("Cast", [t], shape, to=1)
    return d.node("Mul", [x, y], np.broadcast_shapes(d.shape(x), shape)) if y and d.chance(0.5) else y


def whole(d, x, most=None):
    """Integers of the shape of `x`, from −most to most, and their type."""
    if d.opset < 9:
        return None
    most = most or d.pick(2, 4, 9, 100)
    scaled = d.same("Mul", d.same("Tanh", x), d.number(float(most), ()))
    if d.opset >= 11 and d.chance(0.2):
        scaled = d.same("Round", scaled)
    to = d.pick(6, 7, 7)
    return d.node("Cast", [scaled], d.shape(x), of="int", to=to), np.int32 if to == 6 else np.int64


def integers(d, x):
    """Arithmetic, comparisons and choices of integers, and back to floats."""
    shape = d.shape(x)
    y, dtype = whole(d, x)
    ops = ["Abs", "Neg", "Equal", "Less", "Greater", "truth", "Sign"] + ["Max", "Min", "Clip", "Where"] * (d.opset >= 12) + \
        ["reduced"] * (d.opset >= 12) + ["Mod", "Add", "Mul", "Div", "Sub"] * (d.chance(0.15))
    for _ in range(d.r.randint(1, 3)):
        op = d.r.choice(ops)
        if not y:
            return None
        number = lambda: d.constant(np.array(d.pick(1, 2, 3, -1), dtype), "i")
        if op in ("Abs", "Neg", "Sign"):
            y = d.node(op, [y], shape, of="int")
        elif op in ("Max", "Min", "Mod", "Add", "Mul", "Div", "Sub"):
            y = d.node(op, [y, d.constant(np.array(d.pick(1, 2, 3), dtype), "i") if op in ("Mod", "Div") else number()], shape, of="int")
        elif op == "Clip":
            y = d.node("Clip", [y, d.constant(np.array(-1, dtype), "i"), d.constant(np.array(3, dtype), "i")], shape, of="int")
        elif op == "Where":
            condition = d.node("Less", [y, number()], shape, of="truth")
            y = d.node("Where", [condition, y, number()], shape, of="int")
        elif op == "reduced":
            axis = d.any_axis(x)
            name, out = d.pick("ReduceMax", "ReduceMin"), [1 if i == axis else s for i, s in enumerate(shape)]
            y = d.node(name, [y], out, of="int", axes=[axis]) if d.opset < 18 else d.node(name, [y, d.ints([axis])], out, of="int")
            break
        elif op == "truth":
            y = d.node("Cast", [d.node("Cast", [y], shape, of="truth", to=9)], shape, of="int", to=6 if dtype == np.int32 else 7)
        else:
            t = d.node(op, [y, number()], shape, of="truth")
            return d.node("Cast", [t], shape, to=1)
    return d.node("Cast", [y], d.shape(y), to=1) if y else None


def truncated(d, x):
    """A float as an integer or a truth, and back."""
    if d.opset < 9:
        return None
    y = d.same("Mul", d.same("Tanh", x), d.number(5.0, ()))
    to = d.pick(6, 7, 9, 3, 5)
    return d.same("Cast", d.node("Cast", [y], d.shape(x), of="int", to=to), to=1)


def remainder(d, x):
    """Mod of floats: with the sign of the dividend."""
    if d.opset < 10:
        return None
    own, both = d.beside(d.shape(x), raise_rank=False)
    return d.node("Mod", [x, d.positive(*own)], both, fmod=1)


STEPS = [(chosen, 3), (as_number, 1.5), (integers, 1.5), (truncated, 0.5), (remainder, 0.4)]
