#!/usr/bin/env python3
"""Compiles ONNX files and compares what they give with what ONNX Runtime gives, on random inputs. Needs numpy and
onnxruntime, and the two programs built (cargo build --release -p thinfer -p thinfer-compiler --features thinfer/cli).

    python3 agree.py FILE.onnx ... [--count 100] [--device cpu|gpu] [--bin target/release] [--compile "--ranks dense"]
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime as ort

ROOT = pathlib.Path(__file__).resolve().parents[3]


def compare(path, arguments, folder):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    meta = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in meta.shape]
    rng = np.random.default_rng(0)
    # A file may fix how many samples it takes at once.
    batch = shape[0]
    count = -(-arguments.count // batch) * batch
    inputs = rng.random((count, *shape[1:])).astype(np.float32)
    expected = [session.run(None, {meta.name: inputs[i:i + batch]})[0].reshape(batch, -1) for i in range(0, count, batch)]
    expected = np.concatenate(expected)
    model, array, result = (folder / name for name in ("model.thin", "x.npy", "out.json"))
    # So that no rank is chosen in secret: dense unless --compile says otherwise.
    compiled = subprocess.run([arguments.bin / "thinferc", "compile", path, *shlex.split(arguments.compile), "-o", model], capture_output=True, text=True)
    if compiled.returncode:
        return f"{path.name}: {compiled.stderr.strip()}"
    np.save(array, inputs)
    command = [arguments.bin / "thinfer", "run", model, "--input", array, "--device", arguments.device, "--json", result]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        return f"{path.name}: {ran.stderr.strip()}"
    figures = json.loads(result.read_text())
    got = np.array([r["output"] for r in figures["results"]], np.float64)
    off = np.abs(got - expected).max()
    same = int((got.argmax(1) == expected.argmax(1)).sum())
    print(f"{path.name}: largest difference {off:.2e} of outputs up to {np.abs(expected).max():.3g}, "
          f"{same} of {count} largest outputs the same, on {figures['adapter']}")
    return None if off <= arguments.tolerance * max(1.0, np.abs(expected).max()) else f"{path.name}: off by {off:.2e}"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE.onnx")
    arguments.add_argument("--count", type=int, default=100)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--tolerance", type=float, default=1e-4, help="of the outputs' size, where that is above 1")
    arguments.add_argument("--compile", default="--ranks dense")
    arguments.add_argument("--bin", type=pathlib.Path, default=ROOT / "target" / "release")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        failures = [f for f in (compare(p, arguments, pathlib.Path(folder)) for p in arguments.files) if f]
    for failure in failures:
        print(f"FAILED {failure}")
    sys.exit(1 if failures else 0)
