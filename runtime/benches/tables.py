#!/usr/bin/env python3
"""The tables of docs/results.md on this machine's GPU, in one go, beside PyTorch (cuDNN) where that is installed.

usage: python3 runtime/benches/tables.py [--device auto|gpu|cpu] [--batch 1,32] [--rounds 3] [--quick] [-o tables.md]

Networks (VGG-16 for CIFAR, ResNet-18, ResNet-20; random weights) dense and with every convolution but the first at rank 10 %, in f32
and with weights in f16, and single layers at several ranks. thinfer and PyTorch run in turn, in the same minutes, `--rounds` times;
a cell holds the least and the largest of the rounds' medians. PyTorch: f32 with TF32 off and f16, channels last for convolutions,
cuDNN free to choose (benchmark mode), each run timed from the call to the synchronised result; on CUDA also as a CUDA graph, which
pays for no launches. Both start from input that lies on the host for thinfer's networks (`bench` counts upload and readback) and on
the device for PyTorch, which favours PyTorch; single layers leave transfers out on both sides.
"""
import argparse, json, re, statistics, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = {"vgg16": "features.0,classifier", "resnet18": "conv1,fc", "resnet20": "conv1,linear"}
LAYERS = ["linear:512,512", "linear:2048,2048", "conv:3x3,64,64,32x32", "conv:3x3,128,128,16x16", "conv:3x3,256,256,16x16", "conv:3x3,512,512,8x8"]
PERCENT = [5, 10, 25, 50]
VGG16 = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool"]


def call(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def bench(folder, *flags):
    figures = folder / "figures.json"
    call(ROOT / "target/release/thinfer", "bench", *flags, "--json", figures)
    return json.loads(figures.read_text())


def spread(values):
    low, high = min(values), max(values)
    return f"{low:.3f}" if high < 1.02 * low else f"{low:.3f}–{high:.3f}"


def table(head, rows):
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


class Torch:
    """PyTorch on the same device, or nothing where it is not installed."""

    def __init__(self):
        try:
            import torch
        except ImportError:
            self.torch = None
            return
        self.torch, self.cuda = torch, torch.cuda.is_available()
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        torch.set_grad_enabled(False)
        self.name = f"PyTorch {torch.__version__}, " + (torch.cuda.get_device_name() if self.cuda else f"CPU, {torch.get_num_threads()} threads")
        # Half precision is what GPUs are for; CPUs emulate it.
        self.types = {"f32": torch.float32} | ({"f16": torch.float16} if self.cuda else {})

    def convolution(self, cin, cout, kernel, stride, rank):
        nn = self.torch.nn
        whole = lambda out: nn.Conv2d(cin, out, kernel, stride, kernel // 2, bias=rank is None)
        return [whole(cout)] if rank is None else [whole(rank), nn.Conv2d(rank, cout, 1)]

    def layer(self, spec, rank):
        nn, (kind, rest) = self.torch.nn, spec.split(":")
        if kind == "linear":
            cin, cout = map(int, rest.split(","))
            parts = [nn.Linear(cin, cout)] if rank is None else [nn.Linear(cin, rank, bias=False), nn.Linear(rank, cout)]
            return nn.Sequential(*parts, nn.ReLU()), (cin,)
        kernel, cin, cout, size = rest.split(",")
        side = int(size.split("x")[0])
        return nn.Sequential(*self.convolution(int(cin), int(cout), int(kernel[0]), 1, rank), nn.ReLU()), (int(cin), side, side)

    def network(self, name, keep):
        nn = self.torch.nn
        rank = lambda cin, cout, kernel: max(1, int(keep * min(cout, kernel * kernel * cin))) if keep and cin > 3 else None
        conv = lambda cin, cout, kernel, stride: self.convolution(cin, cout, kernel, stride, rank(cin, cout, kernel))
        if name == "vgg16":
            parts, cin = [], 3
            for cout in VGG16:
                parts += [nn.MaxPool2d(2)] if cout == "pool" else [*conv(cin, cout, 3, 1), nn.ReLU()]
                cin = cin if cout == "pool" else cout
            return nn.Sequential(*parts, nn.Flatten(), nn.Linear(512, 10)), (3, 32, 32)

        class Block(nn.Module):
            def __init__(block, cin, cout, stride, projected):
                super().__init__()
                block.body = nn.Sequential(*conv(cin, cout, 3, stride), nn.ReLU(), *conv(cout, cout, 3, 1))
                # The CIFAR nets' shortcuts have no weights: a stride and channels of zeros.
                block.short = (nn.Sequential(*conv(cin, cout, 1, stride)) if projected and (stride > 1 or cin != cout) else None)
                block.pad = (stride, (cout - cin) // 2)

            def forward(block, x):
                stride, pad = block.pad
                short = block.short(x) if block.short else nn.functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, pad, pad))
                return nn.functional.relu(block.body(x) + short)

        big = name == "resnet18"
        widths, count = ([64, 128, 256, 512], 2) if big else ([16, 32, 64], 3)
        parts = [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)] if big else [nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU()]
        cin = widths[0]
        for i, width in enumerate(widths):
            for j in range(count):
                parts.append(Block(cin, width, 2 if i and not j else 1, big))
                cin = width
        side = 224 if big else 32
        return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(cin, 1000 if big else 10)), (3, side, side)

    def ms(self, module, shape, batch, dtype, runs):
        """Median milliseconds of a run, and of one as a CUDA graph (None without CUDA)."""
        torch, device = self.torch, "cuda" if self.cuda else "cpu"
        module, x = module.to(device, self.types[dtype]).eval(), torch.randn(batch, *shape, device=device, dtype=self.types[dtype])
        if len(shape) == 3:
            module, x = module.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)

        def median(run):
            wait = torch.cuda.synchronize if self.cuda else lambda: None
            for _ in range(5):
                run()
            wait()
            times = []
            for _ in range(runs):
                start = time.perf_counter()
                run()
                wait()
                times.append(1e3 * (time.perf_counter() - start))
            return statistics.median(times)

        eager = median(lambda: module(x))
        if not self.cuda:
            return eager, None
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                module(x)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            module(x)
        return eager, median(graph.replay)


def networks(args, folder, torch):
    rows = []
    for name, skip in NETWORKS.items():
        if args.quick and name != "resnet20":
            continue
        source = folder / f"{name}.safetensors"
        compiler = ROOT / "target/release/thinferc"
        call(compiler, "init", "--model", name, "--seed", 1, "-o", source)
        for dtype in ("f32", "f16"):
            dense, thin = folder / f"{name}-{dtype}.thin", folder / f"{name}10-{dtype}.thin"
            call(compiler, "compile", source, "--ranks", "dense", "--dtype", dtype, "-o", dense)
            call(compiler, "compile", source, "--ranks", "local:0.10", "--scheme", "channel", "--skip", skip, "--dtype", dtype, "-o", thin)
        for batch in args.batch:
            ours = {(dtype, which): [] for dtype in ("f32", "f16") for which in ("dense", "thin")}
            theirs, chosen, realised, reached = {}, "", [], []
            for _ in range(args.rounds):
                for dtype in ("f32", "f16"):
                    f = bench(folder, folder / f"{name}10-{dtype}.thin", "--against", folder / f"{name}-{dtype}.thin", "--batch", batch,
                              "--device", args.device, "--runs", args.runs, "--layers")
                    ours[dtype, "thin"].append(f["ms_p50"])
                    ours[dtype, "dense"].append(f["against"]["ms_p50"])
                    if dtype == "f32":
                        realised.append(f["realised"])
                        reached.append(f["against"]["reached"])
                        forms = [l["form"] for l in f["layers"] if l["rank"]]
                        chosen = ", ".join(f"{forms.count(form)} {form}" for form in sorted(set(forms)))
                for dtype in torch.types if torch.torch else ():
                    for which, keep in (("dense", None), ("thin", 0.10)):
                        module, shape = torch.network(name, keep)
                        for how, ms in zip(("", " graph"), torch.ms(module, shape, batch, dtype, args.runs)):
                            if ms is not None:
                                theirs.setdefault((dtype + how, which), []).append(ms)
            cells = [name, batch]
            cells += [f"{spread(ours[d, 'dense'])} → {spread(ours[d, 'thin'])}" for d in ("f32", "f16")]
            cells += [f"{100 * statistics.median(realised):.0f} %", f"{100 * statistics.median(reached):.0f} %", chosen]
            cells += [f"{spread(theirs[how, 'dense'])} → {spread(theirs[how, 'thin'])}" for how, which in theirs if which == "dense"]
            rows.append(cells)
            kinds = [how for how, which in theirs if which == "dense"]
    head = ["network", "batch", "thinfer f32: dense → thin, ms", "thinfer f16", "of the MAC ratio, f32", "dense: of the device's floor", "factored layers run as"]
    return table(head + [f"PyTorch {kind}" for kind in kinds], rows)


def layers(args, folder, torch):
    rows = []
    for spec in LAYERS[:2] if args.quick else LAYERS:
        numbers = [int(n) for n in re.findall(r"\d+", spec)]
        most = min(numbers[:2]) if spec.startswith("linear") else min(numbers[3], numbers[0] * numbers[1] * numbers[2])
        ranks = [max(1, most * p // 100) for p in PERCENT]
        for batch in args.batch:
            found = bench(folder, "--layer", spec, "--rank", ",".join(map(str, ranks)), "--batch", batch, "--device", args.device, "--runs", args.runs)
            ms = {(f["form"], f["rank"]): f["ms_p50"] for f in found["forms"]}
            dense = ms["dense", None]
            for percent, rank in [(100, None), *zip(PERCENT, ranks)]:
                cells = [spec, batch, "dense" if rank is None else f"{rank} ({percent} %)"]
                cells += [f"{dense:.4f}" if rank is None else "", *(f"{ms[form, rank]:.4f} ({dense / ms[form, rank]:.2f}×)" if (form, rank) in ms else "" for form in ("two-stage", "fused"))]
                if torch.torch:
                    for dtype in torch.types:
                        cells += [f"{t:.4f}" for t in torch.ms(*torch.layer(spec, rank), batch, dtype, args.runs) if t is not None]
                rows.append(cells)
    head = ["layer", "batch", "rank", "dense ms", "two-stage ms", "fused ms"]
    if torch.torch:
        head += [f"PyTorch {d}{how}" for d in torch.types for how in (("", " graph") if torch.cuda else ("",))]
    return table(head, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=lambda text: [int(b) for b in text.split(",")], default=[1, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="ResNet-20 and linear layers only")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--workspace"], cwd=ROOT, check=True)
    torch, folder = Torch(), Path(tempfile.mkdtemp())
    ceiling = bench(folder, "--layer", "linear:512,512", "--rank", "8", "--device", args.device)
    text = f"Adapter: {ceiling['adapter']} ({ceiling['backend']}{', software' if ceiling['software'] else ''}); "
    text += f"{torch.name}" if torch.torch else "PyTorch is not installed"
    text += f"; medians of {args.runs} runs, least and largest of {args.rounds} rounds\n\n{networks(args, folder, torch)}\n{layers(args, folder, torch)}"
    print(text)
    if args.output:
        args.output.write_text(text)


main()
