#!/usr/bin/env python3
"""Writes small_cnn.onnx, a network for 28×28 images, and cases/*.onnx: one small network for each operation, each with an input and what ONNX Runtime makes of it as the
initialisers `thinfer.input` and `thinfer.output`, which no node reads. Needs numpy, onnx and onnxruntime.

    python3 cases.py [FOLDER [CASE …]]
"""

import pathlib
import sys
import zlib

import numpy as np
import onnxruntime as ort
from onnx import numpy_helper

# Each adds its cases as it is imported.
import attention  # noqa: F401
import computed  # noqa: F401
import found  # noqa: F401
import layouts  # noqa: F401
import operations  # noqa: F401
import recurrent  # noqa: F401
from kinds import CASES
from net import Net


def write(folder, only):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.onnx"):
        if old.stem not in CASES:
            old.unlink()
    for name, build in sorted(CASES.items()):
        if only and name not in only:
            continue
        net, output = build()
        net.op("Identity", output, name="end")
        batch = net.batch if isinstance(net.batch, int) else 1
        x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal((batch, *net.shape)).astype(np.float32)
        bare = net.model("end_out")
        expected = ort.InferenceSession(bare.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        extra = [numpy_helper.from_array(x, "thinfer.input"), numpy_helper.from_array(expected.astype(np.float32), "thinfer.output")]
        (folder / f"{name}.onnx").write_bytes(net.model("end_out", extra).SerializeToString())
    print(f"{len(CASES)} cases in {folder}")


def small_cnn():
    n = Net([1, 28, 28], seed=7, batch="N")
    x = n.relu(n.bn(n.conv("x", 1, 6, 5, 2, name="conv1", bias=False), 6, name="norm1"))
    x = n.bn(n.relu(n.conv(x, 6, 8, 3, 2, name="conv2")), 8, name="norm2")
    x = n.op("LogSoftmax", n.gemm(n.op("Flatten", x, axis=1), 200, 10, name="fc"), axis=1)
    return n.model(x)


if __name__ == "__main__":
    (pathlib.Path(__file__).parent / "small_cnn.onnx").write_bytes(small_cnn().SerializeToString())
    write(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "cases"), sys.argv[2:])
