"""The forms of a language model's layers beside float32 on this CPU: prefill and one token.

    python tests/bench_decoder_forms.py --shape 3b --rows 358 1

Layers of the shape with random weights, each a graph of its own; the forms take turns, run by run,
and a ratio is the median over the turns of float32's time over the form's.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
from bench_forms import cpu, shape_checkpoint, take_turns

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.graph import new_graph
from adcopilot_edge.export.linear import BlockForm, DynamicInt8Form, FloatForm, LinearForm
from adcopilot_edge.export.rounding import Bits
from adcopilot_edge.export.rows import RowInt8Form
from adcopilot_edge.export.section import Section


def all_forms() -> dict[str, LinearForm]:
    """Float, INT8 with one scale an output, and blocks with float and with INT8 inputs."""
    forms: dict[str, LinearForm] = {
        "fp32": FloatForm(),
        "int8, one range for all tokens": DynamicInt8Form(),
        "int8, a range for each token": RowInt8Form(),
    }
    for bits, block, level in product((4, 8), (32, 64, 128, 256), (0, 4)):
        inputs = "int8" if level else "float"
        forms[f"int{bits}, blocks of {block}, {inputs} inputs"] = BlockForm(
            bits=cast(Bits, bits), block_size=block, accuracy_level=level
        )
    return forms


def time_layers(checkpoint: Checkpoint, rows: int, options: argparse.Namespace) -> None:
    """The MLP and the attention's output of the first layer over ``rows`` tokens of noise."""
    layer = Section(None, checkpoint, FloatForm(), FUSED, "language_model.layers.0")  # type: ignore[arg-type]
    mlp = layer.child("mlp")
    layers = [
        layer.layer("self_attn.o_proj"),
        mlp.layer("gate_proj", "up_proj", name="gate_up"),
        mlp.layer("down_proj"),
    ]
    for linear in layers:
        outputs, inputs = linear.shape
        values = np.random.default_rng(0).standard_normal((rows, inputs)).astype(np.float32)
        with tempfile.TemporaryDirectory() as name:
            paths: dict[str, Path] = {}
            for form_name, form in all_forms().items():
                paths[form_name] = Path(name) / f"{len(paths)}-{rows} x {inputs} x {outputs}.onnx"
                with new_graph(paths[form_name]) as graph:
                    value = graph.input("rows", values.shape)
                    result = form.apply(graph, value, linear)
                    graph.output(result, "product", (rows, outputs))
            take_turns(paths, {"rows": values}, options)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=("3b", "7b"), default="3b")
    parser.add_argument("--rows", type=int, nargs="+", default=[358, 1])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(f"{cpu()}, {options.threads} threads, onnxruntime {onnxruntime.__version__}\n")
    print("| rows x inputs x outputs | form | ms | fp32 / form | error | products |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        checkpoint = shape_checkpoint(Path(name) / "checkpoint", options.shape)
        for rows in options.rows:
            time_layers(checkpoint, rows, options)


if __name__ == "__main__":
    main()
