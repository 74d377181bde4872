"""What ONNX Runtime and thinfer make of one network, and whether it is the same."""

import dataclasses
import os
import pathlib
import select
import subprocess
import warnings

import numpy as np
import onnxruntime as ort

from .network import OWN, Graph, Node

# Of the largest output.
TOLERANCE = 1e-4
# Below this an output counts as if it were so large: sums of values near 1 are not exact to less.
LEAST = 1e-2
# Values on the way beyond which one order of summing overflows where another does not.
VAST = 1e30
# The same of what operations that square within themselves read, and of floats that become integers.
LARGE = 1e18
SQUARING = {"Attention", "MultiHeadAttention", "LinearAttention", "LayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
            "SimplifiedLayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization", "LRN",
            "MeanVarianceNormalization", "ReduceL2", "ReduceSumSquare", "LpPool", "GlobalLpPool"}
COUNTED = 2.0 ** 24
# Seconds for one small network.
PATIENCE = 20
FAULTS = ("WRONG", "CRASH", "HANGS")
# What the program calls the types of inputs.
WORDS = {"float32": "f32", "int64": "i64", "int32": "i32"}
# Functions with steps: where a value lies at one, its last digits decide, which noise shows in every other try only.
JUMPING = {"ArgMax", "ArgMin", "Hardmax", "Round", "Floor", "Ceil", "Sign", "Cast", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal", "Mod",
           "QuantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul", "QLinearConv", "GridSample", "Shrink", "ThresholdedRelu"}
# Sums: where all terms cancel, what is left is as large as the last digits of the largest.
SUMMING = {"MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose", "DFT", "STFT", "ReduceSum", "ReduceMean", "CumSum", "AveragePool", "GlobalAveragePool",
           "FusedMatMul", "FusedGemm", "FusedConv", "LSTM", "GRU", "RNN", "Attention", "Resize"}


@dataclasses.dataclass
class Verdict:
    """One of right, WRONG, CRASH, HANGS, refused, invalid (not a network for ONNX Runtime either), overflow, ill conditioned,
    half precision, runtimes disagree; and what was said."""

    kind: str
    said: str = ""
    # The outputs as lists of arrays.
    want: list = None
    got: list = None


class Driver:
    """The Rust program that imports, compiles and runs; started again when it ends or hangs."""

    def __init__(self, program, folder):
        self.program, self.folder, self.process = program, pathlib.Path(folder), None
        self.model, self.output = self.folder / "drawn.onnx", self.folder / "y.f32"

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

    def ask(self, model, inputs):
        """Outcome, what was said, and all outputs one after the other."""
        if self.process is None or self.process.poll() is not None:
            self.stop()
            self.start()
        self.model.write_bytes(model)
        fields = [str(self.model), str(self.output)]
        for at, (name, array) in enumerate(inputs.items()):
            path = self.folder / f"input{at}"
            path.write_bytes(np.ascontiguousarray(array).tobytes())
            fields += [name, WORDS[array.dtype.name], str(path)]
        self.process.stdin.write(("\t".join(fields) + "\n").encode())
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


def runtime(network, outputs=None):
    """ONNX Runtime's outputs of a network, or values on its way, as [`runtime_of`]."""
    return runtime_of(network.model(outputs).SerializeToString(), network.inputs())


def runtime_of(model, inputs, outputs=None):
    """ONNX Runtime's outputs, its own rewrites off; an exception where it takes no such network."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(outputs, inputs)


def reference(network, outputs=None):
    """What onnx.reference makes of it, or of values on its way; `None` where it does not run it."""
    # It sums the channels of an LRN for as many of them as there are samples.
    if "LRN" in network.ops():
        return None
    from onnx.reference import ReferenceEvaluator
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return [np.asarray(a) for a in ReferenceEvaluator(network.model(outputs)).run(None, network.inputs())]
    except Exception:
        return None


def apart(got, want):
    """The largest difference of two lists of outputs, each as a share of its largest element."""
    if len(got) != len(want):
        return np.inf
    return max((difference(g, w) for g, w in zip(got, want)), default=0.0)


def taken_apart(flat, want):
    """Outputs that stand one after the other, each as long as that of `want`; as one where they are not as many."""
    if flat.size != sum(w.size for w in want):
        return [flat]
    return np.split(flat, np.cumsum([w.size for w in want])[:-1])


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
    model, run = network.bytes(), runtime
    try:
        want = runtime(network)
    except Exception as e:
        # What ONNX Runtime knows and has not built it computes written out, else onnx.reference does.
        network, missing = written_out(network), "NOT_IMPLEMENTED" in str(e)
        try:
            want = runtime(network) if missing else None
        except Exception:
            want, confirm, run = reference(network), False, reference
        if want is None:
            return Verdict("invalid", str(e).strip().splitlines()[0][:200] if str(e).strip() else type(e).__name__)
    if not all(isinstance(w, np.ndarray) and w.dtype.name in ("float32", "int64", "bool") for w in want) or want[0].dtype != np.float32:
        return Verdict("invalid", "an output is no array of floats, integers or truths")
    kind, said, flat = driver.ask(model, network.inputs())
    if kind != "ran":
        return Verdict(kind, said, want)
    got = taken_apart(flat, want)
    off = apart(got, want)
    if off <= TOLERANCE:
        return Verdict("right", f"{off:.1e}", want, got)
    way = on_the_way(network, run)
    if overflows(network, way):
        return Verdict("overflow", "", want, got)
    full = in_full_precision(network)
    if full and confirm:
        wide = runtime(full)
        from_wide = apart(got, wide)
        if from_wide <= TOLERANCE or is_ill_conditioned(full, wide, from_wide, on_the_way(full, runtime), runtime):
            return Verdict("half precision", "thinfer keeps f32 where the file goes through f16", want, got)
    if len(got) == len(want):
        worst = max(range(len(want)), key=lambda i: difference(got[i], want[i]))
        of = f"output {worst} of {len(want)}, " if len(want) > 1 else ""
        said = f"{of}off by {off:.1e} of the largest, {np.abs(want[worst]).max():.2e}"
        if is_ill_conditioned(network, want, off, way, run):
            return Verdict("ill conditioned", said, want, got)
    else:
        said = f"{flat.size} values instead of {sum(w.size for w in want)}"
    if confirm:
        other = reference(network)
        if other is not None and ([o.shape for o in other] != [w.shape for w in want] or apart(other, want) > TOLERANCE / 2):
            return Verdict("runtimes disagree", said + (", thinfer gives what onnx.reference gives" if apart(got, other) <= TOLERANCE else ""),
                           want, got)
        if other is None:
            said += " (onnx.reference does not run it)"
    return Verdict("WRONG", said, want, got)


def overflows(network, way):
    """Whether values are so large that runtimes need not agree."""
    values = {**way, **network.inputs()}
    if not all(np.abs(a).max(initial=0) < VAST for a in values.values()):
        return True
    for n in network.nodes:
        most = LARGE if n.op in SQUARING else COUNTED if n.op == "Cast" and n.attributes.get("to") not in (1, 9, 10, 11, 16) else VAST
        if any(not np.abs(values[i]).max(initial=0) < most for i in n.inputs if i in values):
            return True
    return False


def opened(network):
    """The network with what stands in its branches and functions beside them, for somebody to look at."""
    new, functions = network.copy(), {f.name: f for f in network.functions}
    nodes = []

    def beside(n, which, part, actual):
        """The nodes of `part`, whose own names begin with those of the node and of the part."""
        own = set(part.constants) if isinstance(part, Graph) else set()
        own |= {o for b in part.nodes for o in b.outputs}
        name = lambda i: actual.get(i, f"{n.name}/{which}/{i}" if i in own else i)
        if isinstance(part, Graph):
            new.constants.update({name(k): v for k, v in part.constants.items()})
        for b in part.nodes:
            nodes.append(dataclasses.replace(b, inputs=[name(i) for i in b.inputs], outputs=[name(o) for o in b.outputs], name=f"{n.name}/{which}/{b.name}"))
    for n in new.nodes:
        if n.op == "If":
            for which, part in n.attributes.items():
                beside(n, which, part, {})
        if n.domain == OWN:
            f = functions[n.op]
            beside(n, "body", f, dict(zip(f.inputs, n.inputs)))
        nodes.append(n)
    new.nodes = nodes
    return new


def on_the_way(network, run):
    """All floats that the network computes from its inputs, by name, also within branches and functions. A constant is not on the way."""
    network = opened(network)
    found, from_input = {}, set(network.inputs())
    for n in network.nodes:
        if not from_input & set(n.reads()):
            continue
        from_input.update(n.outputs)
        for name in filter(None, n.outputs):
            if name in network.given and network.given[name] != "float":
                continue
            try:
                value = run(network, [name])[0]
            except Exception:
                # No float.
                continue
            if value.dtype == np.float32:
                found[name] = value
    return found


def written_out(network):
    """The network with operations in plainer ones that ONNX Runtime has not built: Swish, SwiGLU, and GlobalLpPool of operator set 22."""
    new = network.copy()
    new.nodes = plainer(new.nodes)
    new.functions = [dataclasses.replace(f, nodes=plainer(f.nodes)) for f in new.functions]
    return new


def plainer(nodes):
    made = []
    for n in nodes:
        x, names = n.inputs[0] if n.inputs else "", [f"{n.outputs[0]}.{i}" for i in range(5)]

        def number(at, value):
            made.append(Node("Constant", [], [names[at]], {"value": np.array(value)}, names[at]))
        if n.op in ("Swish", "SwiGLU"):
            number(0, np.float32(n.attributes.get("alpha", 1.0)))
            made += [Node("Mul", [x, names[0]], [names[1]], {}, names[1]), Node("Sigmoid", [names[1]], [names[2]], {}, names[2])]
            if n.op == "SwiGLU":
                made.append(Node("Mul", [names[2], n.inputs[1]], [names[3]], {}, names[3]))
            made.append(Node("Mul", [x, names[2] if n.op == "Swish" else names[3]], n.outputs, {}, n.name))
        elif n.op == "GlobalLpPool":
            p = n.attributes.get("p", 2)
            number(0, np.float32(p)), number(1, np.float32(1 / p))
            one = lambda op, read, out, **more: made.append(Node(op, read, [out], more, out))
            one("Abs", [x], names[2])
            one("Pow", [names[2], names[0]], names[3])
            # All axes behind the channels.
            one("Shape", [x], f"{n.outputs[0]}.shape", start=2)
            one("Size", [f"{n.outputs[0]}.shape"], f"{n.outputs[0]}.rank")
            one("Constant", [], f"{n.outputs[0]}.two", value=np.array(2, np.int64))
            one("Constant", [], f"{n.outputs[0]}.one", value=np.array(1, np.int64))
            one("Add", [f"{n.outputs[0]}.rank", f"{n.outputs[0]}.two"], f"{n.outputs[0]}.end")
            one("Range", [f"{n.outputs[0]}.two", f"{n.outputs[0]}.end", f"{n.outputs[0]}.one"], f"{n.outputs[0]}.axes")
            one("ReduceSum", [names[3], f"{n.outputs[0]}.axes"], names[4])
            made.append(Node("Pow", [names[4], names[1]], n.outputs, {}, n.name))
        else:
            graphs = {k: dataclasses.replace(a, nodes=plainer(a.nodes)) for k, a in n.attributes.items() if isinstance(a, Graph)}
            made.append(dataclasses.replace(n, attributes={**n.attributes, **graphs}))
    return made


def in_full_precision(network):
    """The network with its casts to half precision made casts to f32; `None` where it has none."""
    new = network.copy()
    halves = [n for n in new.nodes if n.op == "Cast" and n.attributes.get("to") in (10, 16)]
    for n in halves:
        n.attributes["to"] = 1
    return new if halves else None


def is_ill_conditioned(network, want, off, way, run):
    """Whether the output changes as much as it is off where the input and every value on the way change in their last digits."""
    rng = np.random.default_rng(0)
    noise = lambda a: (1 + 1e-6 * rng.standard_normal(a.shape)).astype(np.float32)
    for _ in range(10 if JUMPING & network.ops() else 3):
        new = network.copy()
        new.x = network.x * noise(network.x)
        new.nodes = []
        for n in network.copy().nodes:
            new.nodes.append(n)
            for at, name in enumerate(n.outputs):
                if name in way:
                    n.outputs[at] = f"{name}.exact"
                    new.constants[f"{name}.noise"] = noise(way[name])
                    sums = n.op in SUMMING
                    product = f"{name}.product" if sums else name
                    new.nodes.append(Node("Mul", [f"{name}.exact", f"{name}.noise"], [product], {}, f"{n.name}.{at}"))
                    if sums:
                        new.constants[f"{name}.rest"] = (noise(way[name]) - 1) * np.float32(0.1 * np.abs(way[name]).max(initial=0))
                        new.nodes.append(Node("Add", [product, f"{name}.rest"], [name], {}, f"{n.name}.{at}.rest"))
        try:
            if apart(run(new), want) * 3 > off:
                return True
        except Exception:
            return False
    return False
