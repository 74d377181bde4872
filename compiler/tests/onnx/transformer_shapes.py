#!/usr/bin/env python3
"""Writes vision transformers as exporters lay them out, with random weights: timm's by torch.onnx.export (TorchScript), by torch.export
with its own operations, with everything written out as old operator sets need it, and in Hugging Face's way. Needs numpy and onnx.

    python3 transformer_shapes.py FOLDER [--dim 384 --depth 12 --heads 6 --side 224 --patch 16] [--keep SHARE] [NAME ...]

With --keep every linear layer is written as two, of so much of its full rank. With --time each network is timed in ONNX Runtime.
"""

import argparse
import pathlib
import statistics
import time

import numpy as np

from net import Net


def f32(x):
    return np.float32(x)


class Vit(Net):
    """What the four have in common; `keep` as above."""

    def __init__(self, a, opset):
        super().__init__([3, a.side, a.side], opset=opset, batch="batch")
        self.dim, self.heads, self.keep, self.patch = a.dim, a.heads, a.keep, a.patch
        self.size, self.count = a.dim // a.heads, 0
        self.tokens = (a.side // a.patch) ** 2

    def ints(self, *values):
        return self.const(np.array(values, np.int64))

    def linear(self, x, inputs, outputs, name):
        rank = max(1, round(self.keep * min(inputs, outputs))) if self.keep else 0
        for i, (a, b) in enumerate([(inputs, rank), (rank, outputs)] if rank else [(inputs, outputs)]):
            x = self.op("MatMul", x, self.draw(a, b, scale=a ** -0.5, name=self.name("onnx::MatMul")), name=f"/{name}/MatMul{i or ''}")
        return self.op("Add", self.draw(outputs, scale=0.1, name=f"{name}.bias"), x)

    def patches(self):
        x = self.conv("x", 3, self.dim, self.patch, self.patch, name="patch_embed.proj")
        x = self.op("Reshape", x, self.ints(0, self.dim, -1))
        return self.op("Transpose", x, perm=[0, 2, 1])

    def with_class(self, x):
        batch = self.op("Gather", self.op("Shape", x), self.ints(0), axis=0)
        shape = self.op("Concat", batch, self.ints(1), self.ints(self.dim), axis=0)
        x = self.op("Concat", self.op("Expand", self.draw(1, 1, self.dim, scale=0.02, name="cls_token"), shape), x, axis=1)
        return self.op("Add", x, self.draw(1, self.tokens + 1, self.dim, scale=0.02, name="pos_embed"))

    def norm(self, x, name):
        return self.op("LayerNormalization", x, self.positive(self.dim, name=f"{name}.weight"),
                       self.draw(self.dim, scale=0.1, name=f"{name}.bias"), axis=-1, epsilon=1e-6)

    def gelu(self, x):
        e = self.op("Add", self.op("Erf", self.op("Div", x, self.const(f32(2 ** 0.5)))), self.const(f32(1)))
        return self.op("Mul", self.op("Mul", x, e), self.const(f32(0.5)))

    def packed(self, x, at):
        qkv = self.linear(x, self.dim, 3 * self.dim, f"{at}.qkv")
        qkv = self.op("Reshape", qkv, self.ints(0, -1, 3, self.heads, self.size))
        return self.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])

    def heads_of(self, x):
        return self.op("Transpose", self.op("Reshape", x, self.ints(0, -1, self.heads, self.size)), perm=[0, 2, 1, 3])

    def together(self, x):
        return self.op("Reshape", self.op("Transpose", x, perm=[0, 2, 1, 3]), self.ints(0, -1, self.dim))

    def turned(self, k):
        return self.op("Transpose", k, perm=[0, 1, 3, 2])

    def softmax_of(self, q, k, v):
        return self.op("MatMul", self.op("Softmax", self.op("MatMul", q, k), axis=-1), v)

    def blocks(self, x, depth):
        for i in range(depth):
            at = f"blocks.{i}"
            y = self.attention(self.norm(x, f"{at}.norm1"), f"{at}.attn")
            x = self.op("Add", x, self.linear(y, self.dim, self.dim, f"{at}.attn.proj"))
            y = self.gelu(self.linear(self.norm(x, f"{at}.norm2"), self.dim, 4 * self.dim, f"{at}.mlp.fc1"))
            x = self.op("Add", x, self.linear(y, 4 * self.dim, self.dim, f"{at}.mlp.fc2"))
        return x

    def head(self, x):
        return self.gemm(self.op("Gather", x, self.const(np.array(0)), axis=1), self.dim, 1000, name="head")

    def build(self, depth):
        return self.head(self.norm(self.blocks(self.with_class(self.patches()), depth), "norm"))


class Script(Vit):
    """timm by torch.onnx.export: unbind by Gather, queries scaled, GELU by erf."""

    def __init__(self, a):
        super().__init__(a, 17)

    def attention(self, x, at):
        qkv = self.packed(x, at)
        q, k, v = (self.op("Gather", qkv, self.const(np.array(i)), axis=0) for i in range(3))
        return self.together(self.softmax_of(self.op("Mul", q, self.const(f32(self.size ** -0.5))), self.turned(k), v))


class Export(Vit):
    """timm by torch.export: the root of the scale on both sides, computed from shapes, GELU as an operation."""

    def __init__(self, a):
        super().__init__(a, 20)

    def gelu(self, x):
        return self.op("Gelu", x)

    def attention(self, x, at):
        parts = self.op("Split", self.packed(x, at), outputs=3, axis=0, num_outputs=3)
        q, k, v = (self.op("Squeeze", p, self.ints(0)) for p in parts)
        size = self.op("Cast", self.op("Slice", self.op("Shape", q), self.ints(-1), self.ints(2**62)), to=1)
        root = self.op("Sqrt", self.op("Div", self.const(np.ones(1, np.float32)), self.op("Sqrt", size)))
        return self.together(self.softmax_of(self.op("Mul", q, root), self.op("Mul", self.turned(k), root), v))


class Old(Vit):
    """Operator set 11: normalisation and GELU (by tanh) written out."""

    def __init__(self, a):
        super().__init__(a, 11)

    def norm(self, x, name):
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        variance = self.op("ReduceMean", self.op("Pow", centred, self.const(f32(2))), axes=[-1])
        x = self.op("Div", centred, self.op("Sqrt", self.op("Add", variance, self.const(f32(1e-6)))))
        x = self.op("Mul", x, self.positive(self.dim, name=f"{name}.weight"))
        return self.op("Add", x, self.draw(self.dim, scale=0.1, name=f"{name}.bias"))

    def gelu(self, x):
        cube = self.op("Mul", self.op("Pow", x, self.const(f32(3))), self.const(f32(0.044715)))
        z = self.op("Tanh", self.op("Mul", self.op("Add", x, cube), self.const(f32((2 / np.pi) ** 0.5))))
        return self.op("Mul", self.op("Mul", x, self.const(f32(0.5))), self.op("Add", z, self.const(f32(1))))

    def attention(self, x, at):
        parts = self.op("Split", self.packed(x, at), outputs=3, axis=0, split=[1, 1, 1])
        q, k, v = (self.op("Squeeze", p, axes=[0]) for p in parts)
        scores = self.op("Mul", self.op("MatMul", q, self.turned(k)), self.const(f32(self.size ** -0.5)))
        return self.together(self.op("MatMul", self.op("Softmax", scores, axis=-1), v))


class HuggingFace(Vit):
    """Three weights, scores divided; the mean of the patches without the class token."""

    def __init__(self, a):
        super().__init__(a, 14)

    def norm(self, x, name):
        return Old.norm(self, x, name)

    def attention(self, x, at):
        q, k, v = (self.heads_of(self.linear(x, self.dim, self.dim, f"{at}.{n}")) for n in ("query", "key", "value"))
        scores = self.op("Div", self.op("MatMul", q, self.turned(k)), self.const(f32(self.size ** 0.5)))
        return self.together(self.op("MatMul", self.op("Softmax", scores, axis=3), v))

    def head(self, x):
        rest = self.op("Slice", x, self.ints(1), self.ints(2**62), self.ints(1), self.ints(1))
        return self.gemm(self.op("ReduceMean", rest, axes=[1], keepdims=0), self.dim, 1000, name="classifier")


NETWORKS = {"vit_script": Script, "vit_export": Export, "vit_old": Old, "vit_hf": HuggingFace}


def timed(path, side, runs=15):
    """Median and tenth percentile of a run's milliseconds in ONNX Runtime, on as many threads as there are cores."""
    import onnxruntime as ort
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = {"x": np.random.default_rng(0).random((1, 3, side, side), np.float32)}
    took = []
    for _ in range(runs + 3):
        start = time.perf_counter()
        session.run(None, x)
        took.append(1e3 * (time.perf_counter() - start))
    return f"{statistics.median(took[3:]):.1f} ms, p10 {sorted(took[3:])[len(took) // 10]:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    for name, value in [("dim", 384), ("depth", 12), ("heads", 6), ("side", 224), ("patch", 16)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--keep", type=float)
    parser.add_argument("--time", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        net = NETWORKS[name](arguments)
        output = net.build(arguments.depth)
        path = arguments.folder / f"{name}.onnx"
        path.write_bytes(net.model(output).SerializeToString())
        print(path, timed(path, arguments.side) if arguments.time else "")
