#!/usr/bin/env python3
"""Draws random ONNX networks of several inputs and outputs, runs ONNX Runtime and the two programs on them and compares every output by its
place, type and shape. Needs numpy, onnx and onnxruntime, and both programs: cargo build --release --workspace --features thinfer/cli

    python3 several_ends.py --seed 1 --count 1000 [--device cpu|gpu] [--keep FOLDER] [--bin target/release]

A network of random_graphs.py gives values on its way as outputs, too, and takes some of its constants as inputs: floats, or whole numbers of
32 bits that it casts. Ends with exit code 1 where one gave a wrong value, shape or type, a panic or no answer."""

import argparse
import collections
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import numpy as np
from onnx import TensorProto, helper

from graphs import drawn
from graphs.judge import difference, runtime_of
from graphs.network import Node

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Of the largest element of an output.
TOLERANCE = 1e-3
# A change of the inputs' last digits that tells whether an output is exact to that at all.
NOISE = 1e-6
JOINS = {"Add", "Sub", "Mul", "Div", "Sum", "Concat"}


def several(network, rng):
    """The model of `network` with more ends, its inputs by name, or `None` where it has nothing to give or to take."""
    network = network.pruned()
    if network.listed or network.more or network.given:
        return None
    shape = ["N" if network.free else network.x.shape[0], *network.x.shape[1:]]
    inputs, values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], {"x": network.x}
    readers = collections.Counter(i for n in network.nodes for i in n.inputs)
    constants = [i for n in network.nodes if n.op in JOINS for i in n.inputs if i in network.constants and readers[i] == 1]
    constants = [c for c in constants if network.constants[c].dtype == np.float32 and network.constants[c].size]
    for name in rng.sample(constants, min(len(constants), rng.randint(0, 2))):
        value = network.constants.pop(name)
        if rng.random() < 0.5:
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
            values[name] = value
        else:
            whole = f"{name}.whole"
            inputs.append(helper.make_tensor_value_info(whole, TensorProto.INT32, value.shape))
            values[whole] = np.clip(np.round(value * 4), -99, 99).astype(np.int32) + (value == 0)
            values[whole] = np.where(values[whole] == 0, 1, values[whole]).astype(np.int32)
            network.nodes.insert(0, Node("Cast", [whole], [name], {"to": TensorProto.FLOAT}, f"{name}.cast"))
    given = [o for n in network.nodes for o in n.outputs if o and o != network.output and n.op != "Cast"]
    outputs = rng.sample(given, min(len(given), rng.randint(0, 2))) + [network.output]
    rng.shuffle(outputs)
    if len(inputs) + len(outputs) < 3:
        return None
    model = network.model(outputs)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model, values


def judge(model, values, folder, arguments):
    """What came of it: a word, and why."""
    file = folder / "m.onnx"
    file.write_bytes(model.SerializeToString())
    try:
        want = runtime_of(model.SerializeToString(), values)
    except Exception as e:
        return "invalid", (str(e).strip().splitlines() or [type(e).__name__])[0][:150]
    if any(not isinstance(w, np.ndarray) or w.dtype != np.float32 or not np.isfinite(w).all() or np.abs(w).max(initial=0) > 1e6 for w in want):
        return "invalid", "an output is no finite float array"
    for name, value in values.items():
        np.save(folder / f"{name.replace('/', '_')}.npy", value)
    given = [part for name in values for part in ("--input", f"{name}={folder / name.replace('/', '_')}.npy")]

    def call(*command):
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60)
        if done.returncode not in (0, 1) or "panicked" in done.stderr:
            raise RuntimeError(done.stderr[-300:])
        return done

    try:
        done = call(arguments.bin / "thinferc", "compile", file, "--ranks", "dense", "-o", folder / "m.thin")
        if done.returncode:
            return "refused", " ".join(done.stderr.split())
        done = call(arguments.bin / "thinfer", "run", folder / "m.thin", "--device", arguments.device, "--no-tune", "--outputs", folder / "out", *given)
        if done.returncode:
            return "run refused", " ".join(done.stderr.split())
    except Exception as e:
        return "CRASH", str(e)
    got = [np.load(folder / "out" / f"{i}.npy") for i in range(len(want))]
    for at, (g, w) in enumerate(zip(got, want)):
        if g.shape != w.shape or g.dtype != w.dtype:
            return "WRONG", f"output {at} is {g.dtype}{list(g.shape)}, not {w.dtype}{list(w.shape)}"
        off = difference(g, w)
        if off > TOLERANCE:
            noise = np.random.default_rng(0)
            moved = {n: (v * (1 + NOISE * noise.standard_normal(v.shape))).astype(v.dtype) if v.dtype == np.float32 else v for n, v in values.items()}
            if difference(runtime_of(model.SerializeToString(), moved)[at], w) * 3 > off:
                return "ill conditioned", f"output {at} off by {off:.1e}"
            return "WRONG", f"output {at} off by {off:.1e}"
    return "right", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "target/release")
    arguments = parser.parse_args()
    np.seterr(all="ignore")
    kinds, reasons = collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for index in range(arguments.count):
            drawing = several(drawn.network(arguments.seed, index, [11, 13, 15, 17, 18, 21]), random.Random(f"{arguments.seed}/{index}"))
            kind, why = judge(*drawing, pathlib.Path(folder), arguments) if drawing else ("invalid", "one input and one output")
            kinds[kind] += 1
            if kind in ("WRONG", "CRASH", "run refused"):
                print(f"{kind} {arguments.seed}/{index}: {why}", flush=True)
                if arguments.keep:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    (arguments.keep / f"{kind}-{arguments.seed}-{index}.onnx").write_bytes(drawing[0].SerializeToString())
                    np.savez(arguments.keep / f"{kind}-{arguments.seed}-{index}.npz", **drawing[1])
            elif kind == "refused":
                reasons[re.sub(r"'[^']*'", "'…'", re.sub(r"\[[^\]]*\]", "[…]", why.split(".onnx: ")[-1]))[:110]] += 1
    print(dict(kinds))
    for reason, count in reasons.most_common(12):
        print(f"{count:6} {reason}")
    return 1 if kinds["WRONG"] or kinds["CRASH"] else 0


if __name__ == "__main__":
    sys.exit(main())
