"""One network by its number."""

import numpy as np

from . import layers, moves, patterns
from .draw import Drawer

STEPS = layers.STEPS + moves.STEPS + patterns.STEPS
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
    d.extra = []
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
    return d.net


def step(d, x):
    """What a drawn step makes of `x`."""
    for _ in range(12):
        f = d.r.choices([f for f, _ in STEPS], WEIGHTS)[0]
        nodes, constants, count, shapes, values, extra = len(d.net.nodes), dict(d.net.constants), d.count, dict(d.shapes), list(d.values), list(d.extra)
        try:
            y = f(d, x)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError):
            # A value was too large for a later node of the step.
            y = None
        if y is not None:
            return y
        del d.net.nodes[nodes:]
        d.net.constants, d.count, d.shapes, d.values, d.extra = constants, count, shapes, values, extra
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
