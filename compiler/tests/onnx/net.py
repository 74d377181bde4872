"""Writes small ONNX networks with drawn weights: what the other scripts here build theirs with."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A network under construction; every method appends a node and returns the name of its output."""

    def __init__(self, shape, seed=0, opset=17, batch=1, dtype=np.float32):
        self.rng = np.random.default_rng(seed)
        self.shape, self.opset, self.batch, self.dtype = list(shape), opset, batch, dtype
        self.nodes, self.initializers, self.count = [], [], 0
        self.functions, self.sparse = [], []

    def name(self, hint):
        self.count += 1
        return f"{hint}_{self.count}"

    def const(self, array, hint="const", name=None):
        """An initialiser."""
        array = np.asarray(array)
        name = name or self.name(hint)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def draw(self, *shape, scale=1.0, name=None, hint="weight"):
        values = self.rng.standard_normal(shape) * scale
        return self.const(values.astype(self.dtype), hint, name)

    def positive(self, *shape, name=None):
        return self.const((self.rng.random(shape) + 0.5).astype(self.dtype), "positive", name)

    def op(self, kind, *inputs, outputs=1, name=None, **attributes):
        name = name or self.name(kind)
        out = [f"{name}_out{i}" if i else f"{name}_out" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), out, name=name, **attributes))
        return out[0] if outputs == 1 else out

    def conv(self, x, inputs, outputs, kernel=3, stride=1, pad=0, groups=1, bias=True, name=None, **more):
        kernel = [kernel, kernel] if isinstance(kernel, int) else list(kernel)
        name = name or self.name("conv")
        fan = inputs // groups * kernel[0] * kernel[1]
        weights = [self.draw(outputs, inputs // groups, *kernel, scale=(2 / fan) ** 0.5, name=f"{name}.weight")]
        if bias:
            weights.append(self.draw(outputs, scale=0.3, name=f"{name}.bias"))
        pads = {} if "auto_pad" in more else {"pads": [pad] * 4 if isinstance(pad, int) else list(pad)}
        strides = [stride, stride] if isinstance(stride, int) else list(stride)
        return self.op("Conv", x, *weights, name=name, kernel_shape=kernel, strides=strides, group=groups, **pads, **more)

    def bn(self, x, channels, name=None, **more):
        name = name or self.name("bn")
        tensors = [self.positive(channels, name=f"{name}.weight"), self.draw(channels, scale=0.3, name=f"{name}.bias"),
                   self.draw(channels, scale=0.3, name=f"{name}.running_mean"), self.positive(channels, name=f"{name}.running_var")]
        return self.op("BatchNormalization", x, *tensors, name=name, **more)

    def relu(self, x):
        return self.op("Relu", x)

    def gemm(self, x, inputs, outputs, bias=True, name=None, **more):
        name = name or self.name("fc")
        shape = (outputs, inputs) if more.setdefault("transB", 1) else (inputs, outputs)
        weights = [self.draw(*shape, scale=inputs ** -0.5, name=f"{name}.weight")]
        if bias:
            weights.append(self.draw(outputs, scale=0.3, name=f"{name}.bias"))
        return self.op("Gemm", x, *weights, name=name, **more)

    def model(self, output, extra=()):
        """The model that gives `output`; `extra` initialisers are read by nobody."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        x = helper.make_tensor_value_info("x", kind, [self.batch, *self.shape])
        y = helper.make_tensor_value_info(output, kind, None)
        graph = helper.make_graph(self.nodes, "net", [x], [y], [*self.initializers, *extra],
                                  sparse_initializer=self.sparse)
        opsets = [helper.make_opsetid("", self.opset)]
        # The oldest format that knows this operator set.
        ir_version = helper.find_min_ir_version_for(opsets)
        opsets += [helper.make_opsetid(domain, 1) for domain in sorted({f.domain for f in self.functions})]
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=self.functions, producer_name="thinfer tests")
