#!/usr/bin/env python3
"""Exports networks of torchvision and timm (torch_networks.py) with random weights by both of PyTorch's exporters, runs ONNX Runtime and the
two programs on each file and prints a table: right and by how much, refused and why, ill conditioned, or WRONG. Needs torch, torchvision, timm, onnx,
onnxscript and onnxruntime, and both programs built (cargo build --release --workspace --features thinfer/cli).

    python3 torch_table.py [--only 'timm/*'] [--exporter script|dynamo] [--csv FILE] [--keep FOLDER] [--device cpu|gpu] [--bin target/release]

`script` is torch.onnx.export(dynamo=False), `dynamo` is dynamo=True, both with what else they do by default. --free leaves the sample axis free
and runs two samples. --keep keeps the exported files and takes those that it finds there. Errors are shares of an output's largest
element. Ends with exit code 1 where a network gave a wrong value, a panic or no answer."""

import argparse
import csv
import fnmatch
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import onnx
import torch

from graphs.judge import difference, runtime_of
from torch_networks import NETWORKS, randomised

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Of an output's largest element.
TOLERANCE = 1e-4
# How much the input must move an output, so that this says something of the layers between.
LEAST = 1e-2
FAULTS = ("WRONG", "CRASH", "HANGS")
FIELDS = ["network", "exporter", "opset", "input", "came", "off", "why"]


class Came(Exception):
    """What came of a network that is not right: a word, and why."""


def exported(make, exporter, free, path):
    """Writes the network to `path`."""
    module, x = make()
    axes = {}
    if free:
        axes = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if exporter == "dynamo" else {"dynamic_axes": {"x": {0: "batch"}}}
    names = {"input_names": ["x"]} if exporter == "script" else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(module, (x,), str(path), dynamo=exporter == "dynamo", **names, **axes)


def reason(error):
    """What was wrong first, in a line."""
    while error.__cause__:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]


def call(what, *command):
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        raise Came("HANGS", f"{what}: no answer in 900 s")
    if done.returncode not in (0, 1) or "panicked" in done.stderr:
        raise Came("CRASH", f"{what} ended with {done.returncode}: {' '.join(done.stderr.split())[-300:]}")
    if done.returncode:
        raise Came("refused", " ".join(done.stderr.split()))


def compared(path, name, x, folder, arguments):
    """The largest difference of all outputs as a share of the output's largest element."""
    want = runtime_of(str(path), {name: x})
    other = runtime_of(str(path), {name: x[..., ::-1].copy()})
    for at, (w, o) in enumerate(zip(want, other)):
        if not np.isfinite(w).all() or difference(o, w) < LEAST:
            raise Came("invalid", f"output {at} hardly depends on the input")
    np.save(folder / "x.npy", x)
    call("thinferc", arguments.bin / "thinferc", "compile", path, "--ranks", "dense", "-o", folder / "m.thin")
    run = [arguments.bin / "thinfer", "run", folder / "m.thin", "--device", arguments.device, "--no-tune", "--input", folder / "x.npy"]
    call("thinfer", *run, "--outputs", folder / "out")
    worst = 0.0
    for at, w in enumerate(want):
        got = np.load(folder / "out" / f"{at}.npy")
        if got.shape != w.shape or got.dtype != w.dtype:
            raise Came("WRONG", f"output {at} is {got.dtype}{list(got.shape)}, not {w.dtype}{list(w.shape)}")
        worst = max(worst, difference(got, w))
    if not worst <= TOLERANCE:
        moved = max(by_last_digits(path, name, x, want, seed) for seed in range(3))
        if worst <= moved:
            raise Came("ill conditioned", f"off by {worst:.1e}; ONNX Runtime itself by {moved:.1e} where each input changes in its last digit")
        raise Came("WRONG", f"off by {worst:.1e}")
    return worst


def by_last_digits(path, name, x, want, seed):
    """How much ONNX Runtime's outputs change where each element of the input is the next float up or down."""
    up = np.random.default_rng(seed).random(x.shape) < 0.5
    near = np.nextafter(x, np.where(up, np.inf, -np.inf).astype(x.dtype))
    return max(difference(o, w) for o, w in zip(runtime_of(str(path), {name: near}), want))


def row_of(name, made, exporter, folder, arguments):
    """One line of the table; `made` gives module and input and is only called where there is no file."""
    row = dict.fromkeys(FIELDS, "") | {"network": name, "exporter": exporter}
    path = (arguments.keep or folder) / name.replace("/", "-") / f"{exporter}{'-free' if arguments.free else ''}" / "network.onnx"
    try:
        if not path.exists():
            try:
                exported(made, exporter, arguments.free, path)
            except Exception as e:
                path.unlink(missing_ok=True)
                raise Came("not exported", reason(e))
        model = onnx.load(path, load_external_data=False)
        row["opset"] = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        given = model.graph.input[0]
        shape = [d.dim_value or 2 for d in given.type.tensor_type.shape.dim]
        row["input"] = "x".join(str(d.dim_value or "N") for d in given.type.tensor_type.shape.dim)
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        row["off"] = f"{compared(path, given.name, x, folder, arguments):.1e}"
        row["came"] = "right"
    except Came as e:
        row["came"], row["why"] = e.args
    except Exception as e:
        row["came"], row["why"] = "invalid", reason(e)
    row["why"] = row["why"].replace(f"{path}: ", "")
    return row


def child(name, folder, arguments):
    """Writes a line for each exporter. A process of its own: what crashes in an exporter or in ONNX Runtime ends only that."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    # Exporters print what they did.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if not arguments.verbose:
        os.dup2(1, 2)
    kept = []

    def made():
        if not kept:
            torch.manual_seed(0)
            module, shape = NETWORKS[name]()
            x = torch.randn((2 if arguments.free else 1, *shape[1:]))
            kept.extend([randomised(module, x), x])
        return kept

    with open(folder / "rows", "a") as rows:
        for exporter in arguments.exporter:
            rows.write(json.dumps(row_of(name, made, exporter, folder, arguments)) + "\n")
            rows.flush()


def rows_of(name, arguments):
    """A line for each exporter, whatever happens."""
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        process = multiprocessing.get_context("fork").Process(target=child, args=(name, folder, arguments), daemon=True)
        process.start()
        process.join(arguments.patience)
        if process.is_alive():
            process.kill()
            process.join()
        rows = [json.loads(line) for line in (folder / "rows").read_text().splitlines()] if (folder / "rows").exists() else []
        for exporter in arguments.exporter[len(rows):]:
            why = f"exporter or ONNX Runtime ended with {process.exitcode}"
            rows.append(dict.fromkeys(FIELDS, "") | {"network": name, "exporter": exporter, "came": "invalid", "why": why})
        return rows
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="GLOB", action="append")
    parser.add_argument("--exporter", choices=["script", "dynamo"], action="append")
    parser.add_argument("--csv", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--patience", type=float, default=1800, help="seconds for one network")
    parser.add_argument("--verbose", action="store_true", help="show what exporters say")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "target/release")
    arguments = parser.parse_args()
    arguments.exporter = arguments.exporter or ["script", "dynamo"]
    # So that folders are deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    names = [n for n in NETWORKS if not arguments.only or any(fnmatch.fnmatch(n, glob) for glob in arguments.only)]
    rows, began = [], time.monotonic()
    table = csv.DictWriter(open(arguments.csv, "w", newline="", buffering=1), FIELDS) if arguments.csv else None
    if table:
        table.writeheader()
    print(f"{'network':<46} {'exporter':<8} {'opset':>5} {'input':<12} came", flush=True)
    for name in names:
        for row in rows_of(name, arguments):
            rows.append(row)
            if table:
                table.writerow(row)
            came = " ".join(filter(None, [row["came"], row["off"], row["why"]]))
            print(f"{name:<46} {row['exporter']:<8} {row['opset']:>5} {row['input']:<12} {came}", flush=True)
    came = [r["came"] for r in rows]
    print(f"{len(names)} networks in {time.monotonic() - began:.0f} s: " + ", ".join(f"{came.count(c)} {c}" for c in dict.fromkeys(came)))
    return 1 if set(came) & set(FAULTS) else 0


if __name__ == "__main__":
    sys.exit(main())
