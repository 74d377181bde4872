#!/usr/bin/env python3
"""Draws random ONNX networks of all operations that can be imported, runs ONNX Runtime and thinfer on them and compares. What differs is made
smaller and kept. Needs numpy, onnx and onnxruntime, and the other half built: cargo build --release -p thinfer-compiler --example import_many

    python3 random_graphs.py --seed 1 --count 10000 [--jobs 2] [--keep FOLDER] [--bin target/release/examples/import_many]
    python3 random_graphs.py --seed 1 --only 4711        one network: what it is and what came of it

A network is known by its seed and number, whatever the count and the jobs. Ends with exit code 1 where one gave a wrong value, a panic or
no answer, or could not be judged."""

import argparse
import collections
import json
import multiprocessing
import pathlib
import re
import sys
import tempfile
import time

import numpy as np

from graphs import drawn
from graphs.judge import FAULTS, Driver, judge
from graphs.shrink import Shrinker

ROOT = pathlib.Path(__file__).resolve().parents[3]
# A network that could not be drawn or judged.
BROKEN = "not judged"
OPSETS = [*range(7, 29)] + [11, 11, 13, 13, 17, 17, 18]


def scratch():
    memory = pathlib.Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="random_graphs")


def work(jobs, job, arguments, at, results):
    """Judges each `jobs`-th network and tells what came of it."""
    # Bounds of 3e38 overflow where they are rounded or compared.
    np.seterr(all="ignore")
    try:
        with scratch() as folder:
            driver = Driver(arguments.bin, folder)
            shrunk = 0
            for index in range(at.value, arguments.first + arguments.count, jobs):
                at.value = index
                network = drawn.network(arguments.seed, index, arguments.opsets)
                verdict = judge(network, driver)
                small = None
                if verdict.kind in FAULTS and shrunk < arguments.shrink:
                    shrunk += 1
                    small = Shrinker(driver, verdict.kind).run(network.pruned())
                    keep(arguments, index, network, small, driver, verdict)
                ops = sorted(network.ops())
                guilty = guilty_operations(network, verdict)
                results.put((index, verdict.kind, verdict.said, ops, guilty, small.signature() if small else None))
            driver.stop()
        at.value = arguments.first + arguments.count
    finally:
        results.put(None)


def guilty_operations(network, verdict):
    """The operations that a refusal names."""
    if verdict.kind != "refused":
        return []
    return sorted({n.op for n in network.nodes if f"'{n.name}'" in verdict.said})


def keep(arguments, index, network, small, driver, verdict):
    """Writes the network, the smaller one and what both runtimes make of that."""
    if not arguments.keep:
        return
    again = judge(small, driver)
    name = f"{verdict.kind}-{small.signature()[:80]}-{arguments.seed}-{index}"
    arguments.keep.mkdir(parents=True, exist_ok=True)
    (arguments.keep / f"{name}.onnx").write_bytes(small.bytes())
    arrays = {f"{what}{i}": a for what, all_ in (("want", again.want), ("got", again.got)) for i, a in enumerate(all_ or [])}
    np.savez(arguments.keep / f"{name}.npz", **small.inputs(), **arrays)
    text = f"seed {arguments.seed}, number {index}: {verdict.kind}: {verdict.said}\n\n{network.said()}\n\nsmaller: {again.kind}: {again.said}\n\n"
    shown = lambda arrays: "; ".join(f"{list(a.shape)} {np.array2string(a.reshape(-1)[:12], precision=5)}" for a in arrays or []) or "none"
    text += f"{small.said()}\n  x = {shown([small.x])}\n  want {shown(again.want)}\n  got {shown(again.got)}\n"
    (arguments.keep / f"{name}.txt").write_text(text)


def one(arguments):
    """Shows one network and its verdict."""
    network = drawn.network(arguments.seed, arguments.only, arguments.opsets)
    print(network.said())
    with scratch() as folder:
        driver = Driver(arguments.bin, folder)
        verdict = judge(network, driver)
        print(f"{verdict.kind}: {verdict.said}")
        if verdict.kind in FAULTS:
            small = Shrinker(driver, verdict.kind).run(network.pruned())
            keep(arguments, arguments.only, network, small, driver, verdict)
            print(small.said())
        driver.stop()
    return verdict.kind in FAULTS


def reason(said):
    """A refusal without what is peculiar to the network."""
    said = re.sub(r"^.*?\.onnx: ", "", said)
    return re.sub(r"'[^']*'", "'…'", re.sub(r"\[[^\]]*\]", "[…]", re.sub(r"-?\d[\d.e+-]*", "#", said)))[:150]


def many(arguments):
    started = time.time()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    ats = [context.Value("q", arguments.first + job) for job in range(arguments.jobs)]
    start = lambda job: context.Process(target=work, args=(arguments.jobs, job, arguments, ats[job], results), daemon=True)
    processes = [start(job) for job in range(arguments.jobs)]
    [p.start() for p in processes]
    kinds, right, guilty, reasons, faults = (collections.Counter() for _ in range(5))
    end, told, done = arguments.first + arguments.count, started, 0
    while True:
        try:
            result = results.get(timeout=1)
        except Exception:
            result = None
        if result is None:
            # A job that ends before its last network was ended by the network: by a signal in ONNX Runtime, since thinfer runs in
            # a process of its own, or by a fault of the drawing.
            for job, process in enumerate(processes):
                if not process.is_alive() and ats[job].value < end:
                    what = BROKEN if process.exitcode >= 0 else "ONNX Runtime died"
                    kinds[what] += 1
                    print(f"{what} {arguments.seed}/{ats[job].value}: exit code {process.exitcode}", flush=True)
                    ats[job].value += arguments.jobs
                    processes[job] = start(job)
                    processes[job].start()
            if not any(p.is_alive() for p in processes) and results.empty() and all(at.value >= end for at in ats):
                break
            continue
        index, kind, said, ops, named, signature = result
        done += 1
        kinds[kind] += 1
        if kind == "right":
            right.update(ops)
        if kind == "refused":
            guilty.update(named)
            reasons[reason(said)] += 1
        if kind == arguments.show:
            print(f"{kind} {arguments.seed}/{index}: {said}", flush=True)
        if kind in FAULTS:
            faults[f"{kind}: {signature or 'not made smaller'}"] += 1
            print(f"{kind} {arguments.seed}/{index}: {said}" + (f" [{signature}]" if signature else ""), flush=True)
        if time.time() - told > 60:
            told = time.time()
            print(f"… {done} of {arguments.count} in {told - started:.0f} s: {dict(kinds)}", flush=True)
    report(arguments, time.time() - started, kinds, right, guilty, reasons, faults)
    return any(kinds[k] for k in (*FAULTS, BROKEN))


def report(arguments, seconds, kinds, right, guilty, reasons, faults):
    total = sum(kinds.values())
    print(f"{total} networks of seed {arguments.seed} in {seconds:.0f} s ({1000 * seconds / max(total, 1):.1f} ms each): "
          + ", ".join(f"{n} {k}" for k, n in kinds.most_common()))
    ops = sorted(set(right) | set(guilty))
    print("operation: networks that are right with it / refused because of it")
    width = max(map(len, ops), default=0)
    cells = [f"{op:{width}} {right[op]:6} / {guilty[op]:<6}" for op in ops]
    rows = -(-len(cells) // 3)
    for i in range(rows):
        print("  " + "  ".join(cells[i::rows]))
    if arguments.reasons:
        for text, n in reasons.most_common(arguments.reasons):
            print(f"  {n:6} {text}")
    for text, n in faults.most_common():
        print(f"  {n:6} {text}")
    if arguments.json:
        figures = {"kinds": kinds, "right": right, "refused": guilty, "reasons": reasons, "faults": faults, "seconds": seconds}
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--first", type=int, default=0, help="the number to begin with")
    arguments.add_argument("--only", type=int, help="show one network")
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--keep", type=pathlib.Path, help="folder for networks with faults")
    arguments.add_argument("--bin", type=pathlib.Path, default=ROOT / "target" / "release" / "examples" / "import_many")
    arguments.add_argument("--shrink", type=int, default=40, help="faults that each job makes smaller")
    arguments.add_argument("--opsets", type=lambda s: [int(v) for v in s.split(",")], default=OPSETS, help="operator sets, with commas between")
    arguments.add_argument("--reasons", type=int, default=0, help="show the most frequent reasons for refusals")
    arguments.add_argument("--show", metavar="KIND", help="also name the networks of this kind, such as \"ill conditioned\"")
    arguments.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    arguments = arguments.parse_args()
    if not arguments.bin.exists():
        sys.exit(f"{arguments.bin} is not there: cargo build --release -p thinfer-compiler --example import_many")
    sys.exit(one(arguments) if arguments.only is not None else many(arguments))
