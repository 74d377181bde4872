"""A drawn network as plain data, so that it can be judged, changed and made smaller."""

import copy
import dataclasses

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


# ONNX's numbers of the types of values.
TYPES = {"float": TensorProto.FLOAT, "int": TensorProto.INT64, "int32": TensorProto.INT32, "truth": TensorProto.BOOL}


@dataclasses.dataclass
class Graph:
    """The graph of an attribute: its inputs (name, shape, type), its outputs by name. The first of several outputs may be a truth."""

    inputs: list
    nodes: list
    constants: dict
    outputs: list
    types: dict = dataclasses.field(default_factory=dict)

    def proto(self):
        value = lambda name, of: helper.make_tensor_value_info(name, TYPES[of], None)
        inputs = [helper.make_tensor_value_info(name, TYPES[of], shape) for name, shape, of in self.inputs]
        outputs = [value(o, self.types.get(o, "float")) for o in self.outputs]
        tensors = [numpy_helper.from_array(a, name) for name, a in self.constants.items()]
        return helper.make_graph([n.proto() for n in self.nodes], "part", inputs, outputs, tensors)

    def captured(self):
        """Names of values outside that it reads."""
        known, read = {i[0] for i in self.inputs} | set(self.constants), set(self.outputs)
        for n in self.nodes:
            known.update(n.outputs)
            read.update(n.reads())
        return read - known

    def ops(self):
        return {op for n in self.nodes for op in n.ops()}


@dataclasses.dataclass
class Node:
    op: str
    inputs: list
    outputs: list
    attributes: dict
    name: str
    domain: str = ""

    def reads(self):
        """Its inputs, and what its graphs read."""
        captured = [name for a in self.attributes.values() if isinstance(a, Graph) for name in sorted(a.captured())]
        return [*self.inputs, *captured]

    def ops(self):
        """Its operation, and those of its graphs."""
        own = "a function" if self.domain == OWN else self.op
        return {own}.union(*(a.ops() for a in self.attributes.values() if isinstance(a, Graph)))

    def proto(self):
        plain = lambda v: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v.proto() if isinstance(v, Graph) else v
        attributes = {k: plain(v) for k, v in self.attributes.items()}
        return helper.make_node(self.op, self.inputs, self.outputs, name=self.name, domain=self.domain, **attributes)


@dataclasses.dataclass
class Function:
    """A function of the file, of nodes alone."""

    name: str
    inputs: list
    outputs: list
    nodes: list


# The domain of the file's functions.
OWN = "own"


@dataclasses.dataclass
class Network:
    """A float input `x` with its values, others by name in `more`, one output and others in `given`, with their types; constants by name.
    `free` says that the file leaves the batch open."""

    opset: int
    x: np.ndarray
    free: bool = False
    nodes: list = dataclasses.field(default_factory=list)
    constants: dict = dataclasses.field(default_factory=dict)
    output: str = "x"
    # Initialisers that stand among the inputs too, as files before IR version 4 have them.
    listed: bool = False
    # Further inputs; those of `batched` have as many rows as `x`, left open with it.
    more: dict = dataclasses.field(default_factory=dict)
    batched: set = dataclasses.field(default_factory=set)
    given: dict = dataclasses.field(default_factory=dict)
    functions: list = dataclasses.field(default_factory=list)

    def copy(self):
        """Another network with nodes of its own; arrays are shared, since nobody writes into them."""
        nodes = [Node(n.op, list(n.inputs), list(n.outputs), copy.copy(n.attributes), n.name, n.domain) for n in self.nodes]
        return Network(self.opset, self.x, self.free, nodes, dict(self.constants), self.output, self.listed,
                       dict(self.more), set(self.batched), dict(self.given), list(self.functions))

    def inputs(self):
        """All arrays that the network is given, by name."""
        return {"x": self.x, **self.more}

    def outputs(self):
        return [self.output, *self.given]

    def model(self, outputs=None):
        """The ONNX model; `outputs` instead of the one output."""
        shape = ["N" if self.free else self.x.shape[0], *self.x.shape[1:]]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        for name, array in self.more.items():
            shape = ["N", *array.shape[1:]] if self.free and name in self.batched else array.shape
            inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape))
        tensors = [numpy_helper.from_array(a, name) for name, a in self.constants.items()]
        if self.listed:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
        nodes = [n.proto() for n in self.nodes]
        results = [helper.make_tensor_value_info(o, TYPES[self.given.get(o, "float")], None) for o in outputs or self.outputs()]
        for r in results:
            r.type.tensor_type.ClearField("shape")
        graph = helper.make_graph(nodes, "drawn", inputs, results, tensors)
        opsets = [helper.make_opsetid("", self.opset)]
        # The oldest format that knows this operator set; before 4 initialisers must be listed.
        version = max(helper.find_min_ir_version_for(opsets), 8 if self.functions else 3 if self.listed else 4)
        own = [helper.make_function(OWN, f.name, f.inputs, f.outputs, [n.proto() for n in f.nodes], opsets) for f in self.functions]
        opsets += [helper.make_opsetid(domain, 1) for domain in sorted({n.domain for n in self.nodes} - {""})]
        return helper.make_model(graph, opset_imports=opsets, ir_version=version, functions=own, producer_name="thinfer random_graphs")

    def bytes(self):
        return self.model().SerializeToString()

    def pruned(self):
        """Without nodes and constants that the output does not depend on."""
        wanted, kept = set(self.outputs()), []
        for n in reversed(self.nodes):
            if wanted & set(n.outputs):
                wanted.update(n.reads())
                kept.append(n)
        new = self.copy()
        new.more = {k: v for k, v in self.more.items() if k in wanted}
        new.functions = [f for f in self.functions if any(n.op == f.name and n.domain == OWN for n in kept)]
        alive = {n.name for n in kept}
        new.nodes = [n for n in new.nodes if n.name in alive]
        new.constants = {k: v for k, v in self.constants.items() if k in wanted}
        return new

    def said(self):
        """The network in a few lines."""
        lines = [f"opset {self.opset}, x {'free ' if self.free else ''}{list(self.x.shape)}"]
        for n in self.nodes:
            read = [f"{i}{list(self.constants[i].shape)}" if i in self.constants else i for i in n.inputs]
            attributes = {k: f"{v.dtype}{list(v.shape)}" if isinstance(v, np.ndarray) else v for k, v in n.attributes.items() if not isinstance(v, Graph)}
            lines.append(f"  {', '.join(n.outputs)} = {n.op}({', '.join(read)})" + (f" {attributes}" if attributes else ""))
            for k, v in n.attributes.items():
                if isinstance(v, Graph):
                    own = Network(self.opset, self.x, nodes=v.nodes, constants=v.constants, output=", ".join(v.outputs)).said()
                    lines += [f"    {k} of {', '.join(i[0] for i in v.inputs)}:"] + ["    " + line for line in own.splitlines()[1:]]
        small = {k: [float(f"{i:.7g}") for i in v.reshape(-1).tolist()] if v.dtype.kind == 'f' else v.tolist() for k, v in self.constants.items() if v.size <= 12}
        lines += [f"  input {k} {v.dtype}{list(v.shape)}" for k, v in self.more.items()]
        for f in self.functions:
            own = Network(self.opset, self.x, nodes=f.nodes, output=", ".join(f.outputs)).said()
            lines += [f"  function {f.name} of {', '.join(f.inputs)}:"] + ["  " + line for line in own.splitlines()[1:]]
        return "\n".join(lines + [f"  {k} = {v}" for k, v in small.items()] + [f"  output {', '.join(self.outputs())}"])

    def signature(self):
        """What two networks that show the same fault tend to have in common."""
        return "+".join(n.op for n in self.nodes) or "nothing"

    def ops(self):
        """All operations, those of graphs and functions too."""
        nodes = [*self.nodes, *(n for f in self.functions for n in f.nodes)]
        return set().union(*(n.ops() for n in nodes))
