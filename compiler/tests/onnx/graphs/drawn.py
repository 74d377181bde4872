"""One network by its number."""

import collections

import numpy as np

from . import computed, contributed, flow, folds, indices, layers, logic, moves, patterns, products, quantised, sequences, windows
from .draw import Drawer

FAMILIES = [layers, moves, patterns, logic, folds, indices, products, sequences, windows, flow, quantised, contributed, computed]
STEPS = [step for family in FAMILIES for step in family.STEPS]
WEIGHTS = [w for _, w in STEPS]


class Stuck(Exception):
    """A step gave up half-way: the network is drawn anew."""


def network(seed, index, opsets):
    """The network number `index` of `seed`."""
    for attempt in range(50):
        try:
            return attempted(seed, f"{index}/{attempt}" if attempt else index, opsets)
        except Stuck:
            continue
    raise RuntimeError(f"no network for {seed}/{index}")


def attempted(seed, index, opsets):
    d = Drawer(seed, index, opsets)
    x = "x"
    length = d.r.choices([0, 1, 2, 3, 4, 5, 6, 8, 10], [0.2, 6, 8, 7, 5, 4, 3, 2, 1])[0]
    for _ in range(length):
        source = x if d.chance(0.88) else d.r.choice(d.values)
        x = step(d, source)
    # Files that compute nothing are seldom.
    moved = {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Constant", "Shape", "Cast", "Expand"}
    if all(n.op in moved for n in d.net.nodes) and d.chance(0.9):
        x = layers.activation(d, x) if d.chance(0.5) else layers.beside_constant(d, x) or x
    # Values that somebody looked at on the way, and at times any other, join the last one.
    if d.chance(0.12) and len(d.values) > 2:
        d.extra.append(d.r.choice(d.values))
    for y in d.extra:
        x = joined(d, x, y)
    if d.chance(0.05):
        # Somebody reads the output, whom nobody reads.
        d.same("Relu", x)
    if d.chance(0.05):
        step(d, d.r.choice(d.values))
    d.net.output = x
    more_outputs(d)
    more_inputs(d)
    return d.net


def more_outputs(d):
    """Values on the way as outputs, too, at times."""
    others = [v for v in d.values if v not in ("x", d.net.output)]
    if others and d.chance(0.06):
        d.net.given = {v: "float" for v in d.r.sample(others, min(len(others), d.r.randint(1, 2)))}


def more_inputs(d):
    """Constants that are added, multiplied or joined as inputs, at times."""
    net = d.net
    if net.listed or not d.chance(0.05):
        return
    readers = collections.Counter(i for n in net.nodes for i in n.reads())
    joins = {"Add", "Sub", "Mul", "Div", "Sum", "Concat", "Where", "Max", "Min"}
    constants = [i for n in net.nodes if n.op in joins for i in n.inputs if i in net.constants and readers[i] == 1]
    constants = sorted({c for c in constants if net.constants[c].dtype == np.float32 and net.constants[c].size})
    for name in d.r.sample(constants, min(len(constants), d.r.randint(1, 2))):
        net.more[name] = net.constants.pop(name)


def step(d, x):
    """What a drawn step makes of `x`."""
    for _ in range(12):
        f = d.r.choices([f for f, _ in STEPS], WEIGHTS)[0]
        net = d.net
        before = len(net.nodes), dict(net.constants), d.count, dict(d.shapes), list(d.values), list(d.extra), dict(net.more), list(net.functions)
        try:
            y = f(d, x)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError):
            # A value was too large for a later node of the step.
            y = None
        if y is not None:
            return y
        nodes, net.constants, d.count, d.shapes, d.values, d.extra, net.more, net.functions = before
        del net.nodes[nodes:]
    raise Stuck


def joined(d, x, y):
    """`x` and `y` in one value, where they can be brought together."""
    try:
        both = np.broadcast_shapes(d.shape(x), d.shape(y))
    except ValueError:
        both = None
    if both is None:
        return x
    return d.node(d.pick("Add", "Mul"), [x, y], both) or x
