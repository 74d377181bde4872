"""A faulty network made smaller while it stays as faulty: nodes taken out, axes cut short, numbers made plain."""

import numpy as np

from .judge import FAULTS, judge, runtime
from .network import Graph, Network


class Shrinker:
    """Tries changes of a network; `most` is the number of them that are judged."""

    def __init__(self, driver, kind, most=600):
        self.driver, self.kind, self.left = driver, kind, most

    def holds(self, network):
        if self.left <= 0:
            return False
        self.left -= 1
        try:
            verdict = judge(network, self.driver, confirm=False)
        except Exception:
            return False
        return verdict.kind == self.kind and verdict.kind in FAULTS

    def run(self, network):
        changes = [self.cuts_end, self.without_nodes, self.with_plain_attributes, self.cuts_front, self.with_shorter_axes,
                   self.with_plain_constants]
        before = None
        while before != (size := measure(network)) and self.left > 0:
            before = size
            for change in changes:
                network = self.repeated(network, change)
        return network

    def repeated(self, network, change):
        """`change` as long as one of what it proposes holds."""
        found = True
        while found and self.left > 0:
            found = False
            for proposed in change(network):
                proposed = proposed.pruned()
                if measure(proposed) < measure(network) and self.holds(proposed):
                    network, found = proposed, True
                    break
        return network

    def cuts_end(self, network):
        """An earlier value as the output, the first ones first; one output alone; inputs as constants."""
        for name in network.given:
            new = network.copy()
            del new.given[name]
            yield new
            if network.given[name] == "float":
                new = network.copy()
                new.output, new.given = name, {}
                yield new
        for name in network.more:
            new = network.copy()
            new.constants[name] = new.more.pop(name)
            yield new
        for n in network.nodes:
            for o in n.outputs:
                if o != network.output:
                    new = network.copy()
                    new.output = o
                    yield new

    def cuts_front(self, network):
        """A value on the way as the input, the last ones first."""
        computed = [o for n in network.nodes for o in n.outputs if o and not is_constant(network, n)]
        try:
            values = dict(zip(computed, runtime(network, computed)))
        except Exception:
            values = {}
            for name in computed:
                try:
                    values[name] = runtime(network, [name])[0]
                except Exception:
                    continue
        for name in reversed(computed):
            value = values.get(name)
            if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.ndim == 0:
                continue
            new = network.copy()
            new.nodes = [n for n in new.nodes if name not in n.outputs]
            for n in new.nodes:
                n.inputs = ["x" if i == name else i for i in n.inputs]
            if name == network.output:
                continue
            if any("x" in n.inputs for n in network.nodes if name not in n.outputs and not depends(network, n, name)):
                # Somebody else reads the input: both must be the same value.
                if value.shape != network.x.shape:
                    continue
            new.x = value
            yield new

    def without_nodes(self, network):
        """Each node left out, whoever reads it reading one of its inputs."""
        for at in reversed(range(len(network.nodes))):
            node = network.nodes[at]
            for instead in [i for i in dict.fromkeys(node.inputs) if i]:
                new = network.copy()
                del new.nodes[at]
                for n in new.nodes:
                    n.inputs = [instead if i == node.outputs[0] else i for i in n.inputs]
                if new.output == node.outputs[0]:
                    if instead in new.constants:
                        continue
                    new.output = instead
                yield new
            if len(node.inputs) > 1:
                new = network.copy()
                new.nodes[at].inputs.pop()
                yield new

    def with_plain_attributes(self, network):
        for at, node in enumerate(network.nodes):
            for key, value in node.attributes.items():
                if isinstance(value, (np.ndarray, Graph)):
                    continue
                new = network.copy()
                del new.nodes[at].attributes[key]
                yield new
                if isinstance(value, list) and value:
                    for i, v in enumerate(value):
                        for plain in (0, 1):
                            if v > plain:
                                new = network.copy()
                                new.nodes[at].attributes[key] = value[:i] + [plain] + value[i + 1:]
                                yield new
        if network.free or network.listed:
            new = network.copy()
            new.free = new.listed = False
            yield new
        # A constant as an initialiser instead of a node.
        for at, node in enumerate(network.nodes):
            if node.op == "Constant" and isinstance(node.attributes.get("value"), np.ndarray):
                new = network.copy()
                del new.nodes[at]
                new.constants[node.outputs[0]] = node.attributes["value"]
                yield new

    def with_shorter_axes(self, network):
        """Every axis of one size cut to a smaller one everywhere, constants that hold the size too; then single axes."""
        arrays = [network.x, *network.constants.values()]
        sizes = sorted({s for a in arrays for s in a.shape if s > 1}, reverse=True)
        for size in sizes:
            for smaller in dict.fromkeys([1, 2, 3, size // 2, size - 1]):
                if 0 < smaller < size:
                    cut = lambda a: a[tuple(slice(0, smaller) if s == size else slice(None) for s in a.shape)]
                    new = network.copy()
                    new.x = np.ascontiguousarray(cut(network.x))
                    new.constants = {k: np.ascontiguousarray(cut(v)) if v.dtype == np.float32 else v for k, v in network.constants.items()}
                    yield new
                    told = new.copy()
                    told.constants = {k: np.where(v == size, smaller, v) if v.dtype == np.int64 else v for k, v in new.constants.items()}
                    yield told
        for name, array in [("x", network.x), *network.constants.items()]:
            for axis, s in enumerate(array.shape):
                for smaller in dict.fromkeys([1, s // 2, s - 1]):
                    if 0 < smaller < s:
                        new = network.copy()
                        part = np.ascontiguousarray(np.take(array, range(smaller), axis))
                        if name == "x":
                            new.x = part
                        else:
                            new.constants[name] = part
                        yield new

    def with_plain_constants(self, network):
        """Weights of ones or small numbers."""
        for name, array in [("x", network.x), *network.constants.items()]:
            if array.dtype != np.float32 or not array.size:
                continue
            steps = (np.arange(array.size) % 7 + 1).reshape(array.shape).astype(np.float32)
            for plain in (np.ones_like(array), steps, np.round(array, 1)):
                if not np.array_equal(plain, array):
                    new = network.copy()
                    if name == "x":
                        new.x = plain
                    else:
                        new.constants[name] = plain
                    yield new


def is_constant(network, node):
    return all(i == "" or i in network.constants or any(i in n.outputs and is_constant(network, n) for n in network.nodes) for i in node.inputs)


def depends(network, node, name):
    """Whether `node` reads `name`, itself or by way of others."""
    seen, front = {name}, {name}
    while front:
        front = {o for n in network.nodes if front & set(n.reads()) for o in n.outputs} - seen
        seen |= front
    return bool(seen & set(node.reads()))


def measure(network: Network):
    """What is made smaller, the most important first."""
    own = [v for n in network.nodes for v in n.attributes.values() if isinstance(v, np.ndarray)]
    arrays = [network.x, *network.constants.values(), *own]
    constants = sum(n.op == "Constant" for n in network.nodes)
    attributes = sum(len(n.attributes) for n in network.nodes)
    shown = sum(v if isinstance(v, int) else 0 for n in network.nodes for a in n.attributes.values() if isinstance(a, list) for v in a)
    digits = sum(float((a != np.round(a)).any()) + 1e-3 * len(np.unique(a)) for a in arrays if a.dtype == np.float32)
    inputs = sum(len(n.inputs) for n in network.nodes) + len(network.more) + len(network.given)
    parts = [v for n in network.nodes for v in n.attributes.values() if isinstance(v, Graph)]
    inner = sum(len(p.nodes) for p in parts)
    return (len(network.nodes) - constants + inner, inputs, sum(a.size for a in arrays), constants + attributes, shown, network.free + network.listed, digits)
