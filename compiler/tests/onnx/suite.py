#!/usr/bin/env python3
"""Writes ONNX's own tests of single operations for the evaluator of constants: each as a file whose inputs are all initialisers, with the
outputs that the suite expects as initialisers `thinfer.output.N`, which no node reads. Needs numpy and onnx.

    python3 suite.py FOLDER && THINFER_SUITE=FOLDER cargo test --release -p thinfer-compiler --lib suite -- --nocapture
"""

import pathlib
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

warnings.filterwarnings("ignore")


def tensor(value, name):
    if isinstance(value, onnx.TensorProto):
        made = onnx.TensorProto()
        made.CopyFrom(value)
        made.name = name
        return made
    return numpy_helper.from_array(np.asarray(value), name)


def is_tensor(value, info):
    return info.type.HasField("tensor_type") and (isinstance(value, (np.ndarray, np.generic, onnx.TensorProto)))


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    seen, skipped = set(), 0
    for case in collect_testcases(None):
        if case.name in seen or case.model is None or not case.data_sets:
            continue
        seen.add(case.name)
        inputs, outputs = case.data_sets[0]
        graph = case.model.graph
        infos = [*zip(inputs, graph.input), *zip(outputs, graph.output)]
        if len(inputs) != len(graph.input) or not all(is_tensor(v, i) for v, i in infos):
            skipped += 1
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        try:
            for value, info in zip(inputs, graph.input):
                model.graph.initializer.append(tensor(value, info.name))
            for i, value in enumerate(outputs):
                model.graph.initializer.append(tensor(value, f"thinfer.output.{i}"))
        except Exception as e:  # a type that NumPy does not know
            print(f"{case.name}: {e!r}"[:200])
            skipped += 1
            continue
        del model.graph.input[:]
        (folder / f"{case.name}.onnx").write_bytes(model.SerializeToString())
    print(f"{len(seen) - skipped} files in {folder}, {skipped} cases of sequences, optional values or other types left out")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
