"""What ONNX Runtime and thinfer make of one network, and whether it is the same."""

import dataclasses
import os
import pathlib
import select
import subprocess
import warnings

import numpy as np
import onnxruntime as ort

from .network import Node

# Of the largest output.
TOLERANCE = 1e-4
# Below this an output counts as if it were so large: sums of values near 1 are not exact to less.
LEAST = 1e-2
# Values on the way beyond which one order of summing overflows where another does not.
VAST = 1e30
# Seconds for one small network.
PATIENCE = 20
FAULTS = ("WRONG", "CRASH", "HANGS")


@dataclasses.dataclass
class Verdict:
    """One of right, WRONG, CRASH, HANGS, refused, invalid (not a network for ONNX Runtime either), overflow, ill conditioned,
    half precision, runtimes disagree; and what was said."""

    kind: str
    said: str = ""
    want: np.ndarray = None
    got: np.ndarray = None


class Driver:
    """The Rust program that imports, compiles and runs; started again when it ends or hangs."""

    def __init__(self, program, folder):
        self.program, self.folder, self.process = program, pathlib.Path(folder), None
        self.model, self.input, self.output = (self.folder / name for name in ("drawn.onnx", "x.f32", "y.f32"))

    def start(self):
        environment = {**os.environ, "THINFER_THREADS": "1"}
        self.process = subprocess.Popen([self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        env=environment, bufsize=0)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def ask(self, model, x):
        """Outcome, what was said, and the output."""
        if self.process is None or self.process.poll() is not None:
            self.stop()
            self.start()
        self.model.write_bytes(model)
        self.input.write_bytes(np.ascontiguousarray(x, np.float32).tobytes())
        self.process.stdin.write(f"{self.model}\t{self.input}\t{self.output}\n".encode())
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            if not ready:
                self.stop()
                return "HANGS", f"no answer in {PATIENCE} s", None
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                code = self.process.wait()
                self.stop()
                return "CRASH", f"the program ended with {code}", None
            line += part
        word, _, said = line.decode(errors="replace").strip().partition(" ")
        if word == "right":
            return "ran", "", np.frombuffer(self.output.read_bytes(), np.float32)
        return {"refused": "refused", "panicked": "CRASH"}[word], said, None


def runtime(model, x, outputs=None):
    """ONNX Runtime's outputs of a network of one input, as [`runtime_of`]."""
    return runtime_of(model, {"x": x}, outputs)


def runtime_of(model, inputs, outputs=None):
    """ONNX Runtime's outputs, its own rewrites off; an exception where it takes no such network."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(outputs, inputs)


def reference(network):
    """What onnx.reference makes of it, or `None`."""
    from onnx.reference import ReferenceEvaluator
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return np.asarray(ReferenceEvaluator(network.model()).run(None, {"x": network.x})[0])
    except Exception:
        return None


def difference(got, want):
    """The largest difference of two lists of numbers as a share of the largest of `want`; infinite where they do not compare."""
    got, want = (np.asarray(a, np.float64).reshape(-1) for a in (got, want))
    if got.shape != want.shape:
        return np.inf
    if not got.size:
        return 0.0
    fine = np.isfinite(want)
    if not np.array_equal(got[~fine], want[~fine], equal_nan=True) or not np.isfinite(got[fine]).all():
        return np.inf
    if not fine.any():
        return 0.0
    return float(np.abs(got[fine] - want[fine]).max() / max(np.abs(want[fine]).max(), LEAST))


def judge(network, driver, confirm=True):
    """The verdict on `network`. `confirm` asks onnx.reference too where the two differ."""
    model = network.bytes()
    try:
        want = runtime(model, network.x)[0]
    except Exception as e:
        # What ONNX Runtime knows and has not built it computes written out, else onnx.reference does.
        network, missing = written_out(network), "NOT_IMPLEMENTED" in str(e)
        try:
            want = runtime(network.bytes(), network.x)[0] if missing else None
        except Exception:
            want, confirm = reference(network), False
        if want is None:
            return Verdict("invalid", str(e).strip().splitlines()[0][:200] if str(e).strip() else type(e).__name__)
    if not isinstance(want, np.ndarray) or want.dtype != np.float32:
        return Verdict("invalid", "the output is no float array")
    kind, said, got = driver.ask(model, network.x)
    if kind != "ran":
        return Verdict(kind, said, want)
    off = difference(got, want)
    if off <= TOLERANCE:
        return Verdict("right", f"{off:.1e}", want, got)
    way = on_the_way(network)
    if not all(np.abs(a).max(initial=0) < VAST for a in (network.x, *way.values())):
        return Verdict("overflow", "", want, got)
    full = in_full_precision(network)
    if full and confirm:
        wide = runtime(full.bytes(), network.x)[0]
        apart = difference(got, wide)
        if apart <= TOLERANCE or is_ill_conditioned(full, wide, apart, on_the_way(full)):
            return Verdict("half precision", "thinfer keeps f32 where the file goes through f16", want, got)
    said = f"{got.size} values instead of {want.size}" if got.size != want.size else f"off by {off:.1e} of the largest, {np.abs(want).max():.2e}"
    if got.size == want.size and is_ill_conditioned(network, want, off, way):
        return Verdict("ill conditioned", said, want, got)
    if confirm:
        other = reference(network)
        if other is not None and (other.shape != want.shape or difference(other, want) > TOLERANCE / 2):
            return Verdict("runtimes disagree", said + (", thinfer gives what onnx.reference gives" if difference(got, other) <= TOLERANCE else ""),
                           want, got)
        if other is None:
            said += " (onnx.reference does not run it)"
    return Verdict("WRONG", said, want, got)


def on_the_way(network):
    """All floats that the network computes from its input, by name. A constant is not on the way."""
    found, from_input = {}, {"x"}
    for n in network.nodes:
        if not from_input & set(n.inputs):
            continue
        from_input.update(n.outputs)
        for name in filter(None, n.outputs):
            try:
                value = runtime(network.model([name]).SerializeToString(), network.x)[0]
            except Exception:
                # No float.
                continue
            found[name] = value
    return found


def written_out(network):
    """The network with operations in plainer ones that ONNX Runtime has not built: Swish."""
    new = network.copy()
    nodes = []
    for n in new.nodes:
        if n.op != "Swish":
            nodes.append(n)
            continue
        scaled, gate, alpha = (f"{n.outputs[0]}.{part}" for part in ("scaled", "gate", "alpha"))
        new.constants[alpha] = np.array(n.attributes.get("alpha", 1.0), np.float32)
        nodes += [Node("Mul", [n.inputs[0], alpha], [scaled], {}, scaled), Node("Sigmoid", [scaled], [gate], {}, gate),
                  Node("Mul", [n.inputs[0], gate], n.outputs, {}, n.name)]
    new.nodes = nodes
    return new


def in_full_precision(network):
    """The network with its casts to half precision made casts to f32; `None` where it has none."""
    new = network.copy()
    halves = [n for n in new.nodes if n.op == "Cast" and n.attributes.get("to") in (10, 16)]
    for n in halves:
        n.attributes["to"] = 1
    return new if halves else None


def is_ill_conditioned(network, want, off, way):
    """Whether the output changes as much as it is off where the input and every value on the way change in their last digits."""
    rng = np.random.default_rng(0)
    noise = lambda a: (1 + 1e-6 * rng.standard_normal(a.shape)).astype(np.float32)
    for _ in range(3):
        new = network.copy()
        new.x = network.x * noise(network.x)
        new.nodes = []
        for n in network.copy().nodes:
            new.nodes.append(n)
            for at, name in enumerate(n.outputs):
                if name in way:
                    n.outputs[at] = f"{name}.exact"
                    new.constants[f"{name}.noise"] = noise(way[name])
                    new.nodes.append(Node("Mul", [f"{name}.exact", f"{name}.noise"], [name], {}, f"{n.name}.{at}"))
        try:
            if difference(runtime(new.bytes(), new.x)[0], want) * 3 > off:
                return True
        except Exception:
            return False
    return False
