"""Branches, loops, scans, functions of the file, and arithmetic on shapes."""

import math

import numpy as np

from . import layers, logic
from .network import OWN, Function


def shaped(d, x, steps):
    """One or two of `steps` behind `x` that leave its shape."""
    shape = d.shape(x)
    for _ in range(d.r.randint(1, 2)):
        y = d.r.choice(steps)(d, x)
        if y is None or d.shape(y) != shape:
            return None
        x = y
    return x


PLAIN = [layers.activation, layers.shaped_activation, layers.beside_constant, layers.clip, layers.batch_norm]


def part(d, x, *inputs, build=None):
    """A graph of a few plain steps behind `x`."""
    return d.part(build or (lambda: [shaped(d, x, PLAIN)]), *inputs)


def branch(d, x):
    """If: on a constant, on a truth that is computed, with values of the network in both branches."""
    if d.opset < 8:
        return None
    shape = d.shape(x)
    then, other = part(d, x), part(d, x)
    if not then or not other:
        return None
    if d.chance(0.5):
        condition = d.constant(np.array(d.chance(0.5)).reshape(d.pick((), (1,))), plain=True)
        if d.chance(0.3) and d.opset >= 9:
            condition = d.node("Not", [condition], (), of="truth")
    else:
        if d.net.x.shape[0] > 1 or d.net.free:
            return None
        axes = list(range(len(shape)))
        if d.opset < 18:
            most = d.node("ReduceMean", [x], [], axes=axes, keepdims=0)
        else:
            most = d.node("ReduceMean", [x, d.ints(axes)], [], keepdims=0)
        condition = d.node(d.pick("Greater", "Less"), [most, d.number(0.1, ())], [], of="truth")
    return d.node("If", [condition], shape, then_branch=then, else_branch=other)


def loop(d, x):
    """A Loop of known turns: a value carried, what each turn gives stacked at times."""
    if d.opset < 11:
        return None
    shape, turns = d.shape(x), d.r.randint(1, 3)
    d.count += 1
    turn, condition, carried = (f"{what}{d.count}" for what in ("turn", "goes_on", "carried"))
    rows = d.chance(0.4)

    def build():
        y = shaped(d, carried, PLAIN)
        if y is None:
            return None
        if d.chance(0.4):
            number = d.node("Cast", [turn], [], to=1)
            y = d.same(d.pick("Add", "Sub"), y, number)
        if d.chance(0.3):
            y = d.same("Add", y, x)
        goes_on = d.node("Identity", [condition], [], of="truth")
        return [goes_on, y, d.same("Tanh", y)] if rows else [goes_on, y]
    body = part(d, None, (turn, [], "int"), (condition, [], "truth"), (carried, shape, "float"), build=build)
    if not body:
        return None
    body.types[body.outputs[0]] = "truth"
    goes_on = "" if d.chance(0.3) else d.constant(np.array(True), plain=True)
    read = [d.constant(np.array(turns, np.int64), plain=True), goes_on, x]
    if rows:
        made = d.node("Loop", read, [shape, [turns, *shape]], outputs=2, body=body)
        if not made:
            return None
        if d.chance(0.5):
            # The rows behind the samples.
            order = [1, 0, *range(2, len(shape) + 1)]
            return d.node("Transpose", [made[1]], [shape[0], turns, *shape[1:]], perm=order)
        summed = d.node("ReduceSum", [made[1]], shape, axes=[0], keepdims=0) if d.opset < 13 else d.node("ReduceSum", [made[1], d.ints([0])], shape, keepdims=0)
        return d.node("Add", [made[0], summed], shape)
    return d.node("Loop", read, shape, body=body)


def scan(d, x):
    """A Scan along an axis, forwards or backwards, with a state."""
    shape, rank = d.shape(x), d.rank(x)
    if d.opset < 9 or rank < 2:
        return None
    axis = d.r.randrange(1, rank)
    turns = shape[axis]
    if turns > 6:
        return None
    row = [s for i, s in enumerate(shape) if i != axis]
    d.count += 1
    state, given = f"state{d.count}", f"row{d.count}"
    start = d.constant(np.zeros(row, np.float32) if d.chance(0.5) else np.repeat(d.rng.standard_normal((1, *row[1:])), row[0], 0).astype(np.float32))

    def build():
        y = d.same(d.pick("Add", "Mul", "Sub"), given, d.same(d.pick("Tanh", "Sigmoid", "Relu"), state))
        new = d.same("Tanh", y) if d.chance(0.6) else d.same("Mul", y, d.number(0.5, ()))
        return [new, d.same("Add", y, state) if d.chance(0.5) else d.same("Relu", y)]
    body = part(d, None, (state, row, "float"), (given, row, "float"), build=build)
    if not body:
        return None
    put = d.r.choice([None, axis])
    attributes = {"num_scan_inputs": 1, "body": body, "scan_input_axes": [axis], "scan_input_directions": d.r.choice([None, [1]]),
                  "scan_output_axes": [axis if put is not None else 0], "scan_output_directions": d.r.choice([None, [1]])}
    out = shape if put is not None else [turns, *row]
    made = d.node("Scan", [start, x], [row, out], outputs=2, **attributes)
    if not made:
        return None
    if put is None:
        return d.node("Transpose", [made[1]], [row[0], turns, *row[1:]], perm=[1, 0, *range(2, rank)])
    return made[1] if d.chance(0.7) else made[0]


def function(d, x):
    """A function of the file, called once or twice."""
    if d.opset < 13 or d.net.listed:
        return None
    shape = d.shape(x)
    d.count += 1
    formal, name = f"formal{d.count}", f"Own{d.count}"
    body = part(d, None, (formal, shape, "float"), build=lambda: [shaped(d, formal, PLAIN)])
    if not body or body.captured():
        return None
    from .network import Node
    constants = [Node("Constant", [], [k], {"value": v}, f"n{k}") for k, v in body.constants.items()]
    d.net.functions.append(Function(name, [formal], body.outputs, constants + body.nodes))
    for _ in range(d.r.randint(1, 2)):
        x = d.node(name, [x], shape, domain=OWN)
    return x


# Shapes

def size_of(d, x):
    """The shape of `x`, or a part of it, as integers."""
    return d.node("Shape", [x], [d.rank(x)], of="int")


def at(d, size, axis):
    """One element of a shape, as a list."""
    if d.chance(0.5) and d.opset >= 10:
        return d.node("Slice", [size, d.ints([axis]), d.ints([axis + 1]), d.ints([0])], [1], of="int")
    return d.node("Gather", [size, d.ints([axis])], [1], of="int", axis=0)


def flattened(d, x):
    """Two axes in one, by the value's own shape."""
    shape, rank = d.shape(x), d.rank(x)
    if rank < 3:
        return None
    i = d.r.randrange(1, rank - 1)
    size = size_of(d, x)
    parts = [at(d, size, j) for j in range(i)]
    both = d.node("Mul", [at(d, size, i), at(d, size, i + 1)], [1], of="int")
    if d.chance(0.4):
        both = d.ints([-1])
    parts += [both, *(at(d, size, j) for j in range(i + 2, rank))]
    target = d.node("Concat", parts, [rank - 1], of="int", axis=0)
    return d.node("Reshape", [x, target], [*shape[:i], shape[i] * shape[i + 1], *shape[i + 2:]])


def halves(d, x):
    """An axis as two, by integer division of its length."""
    shape, rank = d.shape(x), d.rank(x)
    even = [i for i in range(1, rank) if shape[i] % 2 == 0]
    if not even or rank > 4:
        return None
    i = d.r.choice(even)
    size = size_of(d, x)
    half = d.node("Div", [at(d, size, i), d.ints([2])], [1], of="int")
    parts = [*(at(d, size, j) for j in range(i)), half, d.ints([2]), *(at(d, size, j) for j in range(i + 1, rank))]
    target = d.node("Concat", parts, [rank + 1], of="int", axis=0)
    return d.node("Reshape", [x, target], [*shape[:i], shape[i] // 2, 2, *shape[i + 1:]])


def as_another(d, x):
    """Reshaped or expanded to the shape of another value."""
    shape = d.shape(x)
    if d.chance(0.5) and d.opset >= 8:
        found = d.fitting(x)
        if found:
            y, both = found
            return d.node("Expand", [x, size_of(d, y)], both)
    same = [v for v in d.values if math.prod(d.shape(v)) == math.prod(shape) and d.shape(v)[:1] == shape[:1] and d.rank(v)]
    y = d.r.choice(same)
    return d.node("Reshape", [x, size_of(d, y)], d.shape(y))


def filled(d, x):
    """A constant as large as the value, by its shape, added or where it is chosen."""
    if d.opset < 9:
        return None
    shape = d.shape(x)
    c = d.node("ConstantOfShape", [size_of(d, x)], shape, of="int", value=np.array([d.pick(0.5, 1.0)], np.float32))
    return d.same(d.pick("Add", "Mul", "Sub"), x, c)


def positions(d, x):
    """Numbers along an axis, as many as it has elements."""
    shape, rank = d.shape(x), d.rank(x)
    if d.opset < 11 or rank < 2:
        return None
    size = size_of(d, x)
    length = d.node("Gather", [size, d.ints(rank - 1)], [], of="int", axis=0)
    line = d.node("Range", [d.ints(0), length, d.ints(1)], [shape[-1]], of="int")
    numbers = d.node("Cast", [line], [shape[-1]], to=1)
    if d.chance(0.3):
        table = d.floats(shape[-1] + 2, 1)
        y = d.node("Gather", [table, line], [shape[-1], 1], axis=0)
        numbers = d.node("Reshape", [y, d.ints([-1])], [shape[-1]])
    return d.same(d.pick("Add", "Mul"), x, d.same("Div", numbers, d.number(10.0, ())) if d.chance(0.5) else numbers)


def part_by_shape(d, x):
    """The first half of an axis, its end computed from the shape."""
    shape, rank = d.shape(x), d.rank(x)
    axis = d.any_axis(x)
    if d.opset < 10 or shape[axis] < 2 or rank < 2:
        return None
    end = d.node("Div", [at(d, size_of(d, x), axis), d.ints([2])], [1], of="int")
    out = [s // 2 if i == axis else s for i, s in enumerate(shape)]
    return d.node("Slice", [x, d.ints([0]), end, d.ints([axis])], out)


def mean_by_size(d, x):
    """A sum over as many elements as there are."""
    shape, rank = d.shape(x), d.rank(x)
    if rank < 2:
        return None
    out = [*shape[:-1], 1]
    y = d.node("ReduceSum", [x], out, axes=[rank - 1]) if d.opset < 13 else d.node("ReduceSum", [x, d.ints([-1])], out)
    n = d.node("Cast", [at(d, size_of(d, x), rank - 1)], [1], of="int", to=1)
    return d.node("Div", [y, n], out) if y else None


def looked_at(d, x):
    """A value whose truth chooses between branches for each element."""
    if d.opset < 9:
        return None
    t, shape = logic.truth(d, x)
    a, b = (shaped(d, x, PLAIN) for _ in range(2))
    return d.node("Where", [t, a, b], np.broadcast_shapes(shape, d.shape(x))) if t and a and b else None


STEPS = [(branch, 2), (loop, 1.2), (scan, 1.2), (function, 1.2), (flattened, 1), (halves, 0.7), (as_another, 1), (filled, 0.7), (positions, 0.7),
         (part_by_shape, 0.7), (mean_by_size, 0.5), (looked_at, 0.7)]
