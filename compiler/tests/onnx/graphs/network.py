"""A drawn network as plain data, so that it can be judged, changed and made smaller."""

import copy
import dataclasses

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclasses.dataclass
class Node:
    op: str
    inputs: list
    outputs: list
    attributes: dict
    name: str
    domain: str = ""


@dataclasses.dataclass
class Network:
    """One float input `x` with its values, one output; constants by name. `free` says that the file leaves the batch open."""

    opset: int
    x: np.ndarray
    free: bool = False
    nodes: list = dataclasses.field(default_factory=list)
    constants: dict = dataclasses.field(default_factory=dict)
    output: str = "x"
    # Initialisers that stand among the inputs too, as files before IR version 4 have them.
    listed: bool = False

    def copy(self):
        """Another network with nodes of its own; arrays are shared, since nobody writes into them."""
        nodes = [Node(n.op, list(n.inputs), list(n.outputs), copy.copy(n.attributes), n.name, n.domain) for n in self.nodes]
        return Network(self.opset, self.x, self.free, nodes, dict(self.constants), self.output, self.listed)

    def model(self, outputs=None):
        """The ONNX model; `outputs` instead of the one output."""
        shape = ["N" if self.free else self.x.shape[0], *self.x.shape[1:]]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        tensors = [numpy_helper.from_array(a, name) for name, a in self.constants.items()]
        if self.listed:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
        nodes = []
        for n in self.nodes:
            attributes = {k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in n.attributes.items()}
            nodes.append(helper.make_node(n.op, n.inputs, n.outputs, name=n.name, domain=n.domain, **attributes))
        results = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs or [self.output]]
        for r in results:
            r.type.tensor_type.ClearField("shape")
        graph = helper.make_graph(nodes, "drawn", inputs, results, tensors)
        opsets = [helper.make_opsetid("", self.opset)]
        # The oldest format that knows this operator set; before 4 initialisers must be listed.
        version = max(helper.find_min_ir_version_for(opsets), 3 if self.listed else 4)
        return helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="thinfer random_graphs")

    def bytes(self):
        return self.model().SerializeToString()

    def pruned(self):
        """Without nodes and constants that the output does not depend on."""
        wanted, kept = {self.output}, []
        for n in reversed(self.nodes):
            if wanted & set(n.outputs):
                wanted.update(n.inputs)
                kept.append(n)
        new = self.copy()
        alive = {n.name for n in kept}
        new.nodes = [n for n in new.nodes if n.name in alive]
        new.constants = {k: v for k, v in self.constants.items() if k in wanted}
        return new

    def said(self):
        """The network in a few lines."""
        lines = [f"opset {self.opset}, x {'free ' if self.free else ''}{list(self.x.shape)}"]
        for n in self.nodes:
            read = [f"{i}{list(self.constants[i].shape)}" if i in self.constants else i for i in n.inputs]
            attributes = {k: f"{v.dtype}{list(v.shape)}" if isinstance(v, np.ndarray) else v for k, v in n.attributes.items()}
            lines.append(f"  {', '.join(n.outputs)} = {n.op}({', '.join(read)})" + (f" {attributes}" if attributes else ""))
        small = {k: [float(f"{i:.7g}") for i in v.reshape(-1).tolist()] if v.dtype.kind == 'f' else v.tolist() for k, v in self.constants.items() if v.size <= 12}
        return "\n".join(lines + [f"  {k} = {v}" for k, v in small.items()] + [f"  output {self.output}"])

    def signature(self):
        """What two networks that show the same fault tend to have in common."""
        return "+".join(n.op for n in self.nodes) or "nothing"
