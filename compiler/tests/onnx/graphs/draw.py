"""The drawing of a network: a value's shape is followed by hand, so that nearly every network is a sound one."""

import random

import numpy as np

from .network import Graph, Network, Node

# The most elements of a value; larger ones take time and show nothing more.
MOST = 3000
CHANNELS = [1, 1, 2, 3, 3, 4, 4, 5, 6, 8, 9, 12]


class Drawer:
    """A network under construction. Everything is drawn from the seed and the number of the network alone."""

    def __init__(self, seed, index, opsets):
        self.r = random.Random(f"{seed}/{index}")
        self.rng = np.random.default_rng(self.r.getrandbits(62))
        free = self.chance(0.12)
        batch = self.r.choices([1, 2, 3], [4, 3, 3] if free else [8, 1.5, 0.5])[0]
        shape = [batch, *self.input_shape()]
        if self.chance(0.01):
            # A vector alone: there are no samples.
            shape, free = [self.r.randint(1, 12)], False
        x = self.rng.standard_normal(shape).astype(np.float32)
        self.net = Network(self.r.choice(opsets), x, free=free, listed=self.chance(0.05))
        self.shapes = {"x": tuple(shape)}
        self.values = ["x"]
        # Values on the way that are read again at the end.
        self.extra = []
        self.count = 0
        # How constants stand in this file.
        self.style = self.r.choices(["initialisers", "nodes", "mixed"], [7, 1, 2])[0]

    def input_shape(self):
        r = self.r
        image = lambda: [r.choice(CHANNELS), r.randint(1, 9), r.randint(1, 9)]
        kind = r.choices(["image", "vector", "tokens", "nhwc", "volume", "line", "deep"], [10, 4, 4, 2, 0.5, 1, 0.5])[0]
        if kind == "vector":
            return [r.randint(1, 16)]
        if kind == "tokens":
            return [r.randint(1, 7), r.choice([1, 2, 3, 4, 6, 8, 12])]
        if kind == "nhwc":
            c, h, w = image()
            return [h, w, c]
        if kind == "volume":
            return [r.choice([1, 2, 3, 4]), r.randint(1, 4), r.randint(1, 4), r.randint(1, 4)]
        if kind == "line":
            return [r.choice(CHANNELS), r.randint(1, 12)]
        if kind == "deep":
            return [r.randint(1, 4) for _ in range(5)]
        c, h, w = image()
        return [c, h, h if r.random() < 0.4 else w]

    # Draws

    def chance(self, p):
        return self.r.random() < p

    def pick(self, *choices):
        return self.r.choice(choices)

    @property
    def opset(self):
        return self.net.opset

    def shape(self, value):
        return self.shapes[value]

    def rank(self, value):
        return len(self.shapes[value])

    def axis(self, axis, rank, since=11):
        """`axis`, counted from the end at times; operator sets before `since` know no such axes."""
        return axis - rank if self.opset >= since and self.chance(0.4) else axis

    def any_axis(self, value):
        """An axis, seldom that of the batch."""
        rank = self.rank(value)
        return 0 if rank < 2 or self.chance(0.03) else self.r.randrange(1, rank)

    # Constants

    def constant(self, array, hint="c", plain=False):
        """A constant's name. It is an initialiser, a node, or made by one from another constant."""
        array = np.asarray(array)
        # Tied weights; what must be positive is tied to nothing.
        if not plain and hint != "p" and array.dtype == np.float32 and array.size > 1 and self.chance(0.08):
            same = [k for k, v in self.net.constants.items() if v.shape == array.shape and v.dtype == array.dtype]
            if same:
                return self.r.choice(same)
        self.count += 1
        name = f"{hint}{self.count}"
        if not plain and self.chance(0.06):
            made = self.prepared(array, name)
            if made:
                return made
        if self.style == "nodes" or self.style == "mixed" and self.chance(0.5):
            self.net.nodes.append(Node("Constant", [], [name], {"value": array}, f"n{self.count}"))
        else:
            self.net.constants[name] = array
        return name

    def prepared(self, array, name):
        """A constant that a node makes of another one."""
        def node(op, inputs, **attributes):
            self.net.nodes.append(Node(op, inputs, [name], attributes, f"n{name}"))
            return name
        source = f"{name}.from"
        kind = self.pick("identity", "transpose", "half", "double", "reshape", "scaled")
        if kind == "identity":
            self.net.constants[source] = array
            return node("Identity", [source])
        if array.dtype != np.float32:
            return None
        if kind == "transpose" and array.ndim > 1:
            order = list(range(array.ndim))
            self.r.shuffle(order)
            self.net.constants[source] = np.ascontiguousarray(array.transpose(np.argsort(order)))
            return node("Transpose", [source], perm=order)
        if kind in ("half", "double") and self.opset >= 9 and np.abs(array).max(initial=0) < 60000:
            self.net.constants[source] = array.astype(np.float16 if kind == "half" else np.float64)
            return node("Cast", [source], to=1)
        if kind == "reshape" and array.size:
            self.net.constants[source] = array.reshape(-1)
            self.net.constants[f"{name}.shape"] = np.array(array.shape, np.int64)
            return node("Reshape", [source, f"{name}.shape"])
        if kind == "scaled" and np.abs(array).max(initial=0) < 1e6:
            self.net.constants[source] = array * np.float32(2)
            self.net.constants[f"{name}.by"] = np.array(2, np.float32)
            return node("Div", [source, f"{name}.by"])
        return None

    def floats(self, *shape, scale=1.0, hint="c"):
        return self.constant((self.rng.standard_normal(shape) * scale).astype(np.float32), hint)

    def positive(self, *shape):
        return self.constant((self.rng.random(shape) + 0.5).astype(np.float32), "p")

    def weight(self, *shape, fan):
        """Named as PyTorch names it, at times."""
        self.count += 1
        array = (self.rng.standard_normal(shape) / max(fan, 1) ** 0.5).astype(np.float32)
        if self.chance(0.5):
            name = f"layer{self.count}.weight"
            self.net.constants[name] = array
            return name
        return self.constant(array, "w")

    def number(self, value, shape=None):
        """A float constant of one element, in one of the shapes that exporters give it."""
        if shape is None:
            shape = self.r.choices([(), (1,), (1, 1)], [8, 2, 0.3])[0]
        return self.constant(np.full(shape, value, np.float32), "s")

    def ints(self, values, dtype=np.int64):
        return self.constant(np.array(values, dtype), "i")

    # Nodes

    def node(self, op, inputs, shape, outputs=1, of="float", domain="", **attributes):
        """Appends a node; `shape` is that of its output, or a list of shapes for `outputs` of them, which are floats, or of another type `of`."""
        shapes = shape if outputs > 1 else [shape]
        # A value before it was too large, or did not fit.
        if any(i is None for i in inputs):
            return None
        # A list without elements has no type in a file.
        if any(isinstance(v, list) and not v for v in attributes.values()):
            return None
        if any(int(np.prod(s)) > MOST or int(np.prod(s)) < 1 for s in shapes):
            return None
        self.count += 1
        names = [f"v{self.count}" if outputs == 1 else f"v{self.count}_{i}" for i in range(outputs)]
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self.net.nodes.append(Node(op, list(inputs), names, attributes, f"n{self.count}", domain))
        is_float = of == "float" and op not in ("Greater", "Less", "IsNaN", "Shape") and not (op == "Cast" and attributes["to"] != 1)
        for name, s in zip(names, shapes):
            self.shapes[name] = tuple(int(d) for d in s)
            # Only floats are read by what is drawn later.
            if is_float:
                self.values.append(name)
        return names[0] if outputs == 1 else names

    def part(self, build, *inputs):
        """A graph within the network, of what `build` appends, that gives what it returns. `inputs` are its own: a name, a shape and a type
        each. `None` where `build` gives up. It sees all values of the network; nobody outside sees its own."""
        net, values, extra = self.net, list(self.values), list(self.extra)
        nodes, constants = net.nodes, net.constants
        net.nodes, net.constants = [], {}
        try:
            for name, shape, of in inputs:
                self.shapes[name] = tuple(shape)
            given = build()
            if given is None or any(g is None for g in given):
                return None
            made = {o for n in net.nodes for o in n.outputs}
            if len(set(given)) < len(given) or not made.issuperset(given):
                return None
            return Graph(list(inputs), net.nodes, net.constants, list(given))
        finally:
            net.nodes, net.constants, self.values, self.extra = nodes, constants, values, extra

    def same(self, op, x, *more, **attributes):
        """A node whose output has the shape of `x`."""
        return self.node(op, [x, *more], self.shape(x), **attributes)

    def beside(self, shape, raise_rank=True):
        """The shape of a constant that `shape` is brought together with, and the shape of both."""
        r, rank = self.r, len(shape)
        kind = r.choices(["one", "ones", "last", "channel", "some", "full", "sample", "wider", "longer"],
                         [4, 1, 3, 4, 3, 1, 1, 1.5, 0.7 if raise_rank else 0])[0]
        if kind == "one":
            own = [[], [1]][r.random() < 0.4]
        elif kind == "ones":
            own = [1] * r.randint(1, rank + (1 if raise_rank and self.chance(0.2) else 0))
        elif kind == "last":
            own = [shape[-1]]
        elif kind == "channel" and rank > 1:
            own = [shape[1]] + [1] * (rank - 2)
            own = [1] * r.choice([0, 1, 1]) + own
        elif kind == "some" or kind == "channel":
            own = [d if self.chance(0.4) else 1 for d in shape]
            own[0] = 1
            own = own[r.randrange(rank):] if self.chance(0.4) else own
        elif kind == "full":
            own = list(shape)
        elif kind == "sample":
            own = list(shape[1:])
        elif kind == "wider":
            own = [r.choice([2, 3]) if d == 1 and (i > 0 or self.chance(0.05)) else r.choice([1, d]) if i else 1 for i, d in enumerate(shape)]
        else:
            own = [r.choice([1, 1, 2])] + [r.choice([1, d]) for d in shape]
        return tuple(own), np.broadcast_shapes(tuple(own), tuple(shape))

    def fitting(self, x, same=False):
        """Another value that can be brought together with `x`, and the shape of both; `None` where there is none."""
        found = []
        for y in self.values:
            try:
                both = np.broadcast_shapes(self.shape(x), self.shape(y))
            except ValueError:
                continue
            if int(np.prod(both)) <= MOST and (not same or self.shape(x) == self.shape(y)):
                found.append((y, both))
        return self.r.choice(found[-6:]) if found else None
