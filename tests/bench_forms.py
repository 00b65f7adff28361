"""The INT8 forms of the vision side beside float32 on this CPU: time and error, as tables.

    python tests/bench_forms.py --shape nano
    python tests/bench_forms.py --shape 3b --repeats 15

Layers first, each a graph of its own, then the whole graphs of a checkpoint of that shape with
random weights and ranges from one generated pair. The forms take turns, run by run, so that what
else the machine does hits all of them; a ratio is the median over the turns of float32's time over
the form's, both of one turn.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from full_shape import full_config, nano_config, write_checkpoint

from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.float_run import FloatRun
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.graph import new_graph
from adcopilot_edge.export.half import HalfForm
from adcopilot_edge.export.linear import DynamicInt8Form, FloatForm, LinearForm
from adcopilot_edge.export.observe import observe_ranges
from adcopilot_edge.export.pieces import PiecewiseGraph
from adcopilot_edge.export.qdq import QdqForm
from adcopilot_edge.export.section import Section
from adcopilot_edge.export.static import StaticInt8Form
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import FloatArray

_PIECE_BYTES = 512 << 20
_FLAGS = ("avx2", "avx_vnni", "avx512_vnni")
_BLOCK = "visual.blocks.0"
# Above it, onnxruntime writes no graph of its own that could be read.
_MOST_BYTES = 1 << 30

Feeds = Mapping[str, FloatArray]


def all_forms(ranges: Ranges, layers: Sequence[str]) -> dict[str, LinearForm]:
    """The forms under test; ``qdq`` is that of TensorRT with float32 around it."""
    return {
        "fp32": FloatForm(),
        "dynamic": DynamicInt8Form(),
        "static": StaticInt8Form(ranges),
        "qdq": QdqForm(HalfForm(frozenset(layers)), ranges),
    }


def shape_checkpoint(folder: Path, shape: str) -> Checkpoint:
    """A random checkpoint whose vision side has the ``shape``; its language model is cut short."""
    config = nano_config() if shape == "nano" else full_config(shape, layers=1)
    return open_checkpoint(write_checkpoint(folder, config))


def take_turns(paths: Mapping[str, Path], feeds: Feeds, options: argparse.Namespace) -> None:
    """Time the graphs in turns and print a row for each."""
    sessions = {name: open_session(path, options.threads) for name, path in paths.items()}
    outputs = {name: session.run(None, feeds)[0] for name, session in sessions.items()}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(options.repeats):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, feeds)
            times[name].append(1e3 * (time.perf_counter() - started))
    expected, base = outputs["fp32"], np.array(times["fp32"])
    for name, path in paths.items():
        ratio = float(np.median(base / np.array(times[name])))
        error = float(np.abs(outputs[name] - expected).max() / np.abs(expected).max())
        cells = f"{np.median(times[name]):.2f} | {ratio:.2f} | {error:.2g} | {products_of(path)}"
        print(f"| {path.stem.partition('-')[2]} | {name} | {cells} |", flush=True)


def open_session(
    path: Path, threads: int, optimized: Path | None = None
) -> onnxruntime.InferenceSession:
    """A session as the runtime opens it; ``optimized``: where its graph is to be written."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def products_of(path: Path) -> str:
    """The operators that multiply in what onnxruntime makes of the graph at ``path``."""
    if path.with_name(f"{path.name}.data").stat().st_size > _MOST_BYTES:
        return ""
    target = path.with_name("optimized.onnx")
    open_session(path, 1, target)
    nodes = onnx.load(target).graph.node
    counts = Counter(node.op_type for node in nodes if re.search("Gemm|MatMul", node.op_type))
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def time_layers(
    folder: Path, checkpoint: Checkpoint, rows: int, options: argparse.Namespace
) -> None:
    """The layers of a block, each alone, over ``rows`` patches of noise."""
    block = Section(None, checkpoint, FloatForm(), FUSED, _BLOCK)  # type: ignore[arg-type]
    gate = block.child("mlp").layer("gate_proj", "up_proj", name="gate_up")
    layers = [block.layer("attn.qkv"), block.layer("attn.proj"), gate]
    for layer in [*layers, block.layer("mlp.down_proj")]:
        outputs, inputs = layer.shape
        values = np.random.default_rng(0).standard_normal((rows, inputs)).astype(np.float32)
        seen = {f"{layer.name}.input": (float(values.min()), float(values.max()))}
        paths = {}
        for name, form in all_forms(Ranges("noise", 1, seen), [layer.name]).items():
            paths[name] = folder / f"{name}-{rows} x {inputs} x {outputs}.onnx"
            with new_graph(paths[name]) as graph:
                value = graph.input("rows", values.shape)
                product = form.apply(graph, value, layer)
                graph.output(product, "product", (rows, outputs))
        take_turns(paths, {"rows": values}, options)


def time_graphs(folder: Path, run: FloatRun, options: argparse.Namespace) -> None:
    """The vision and the comparison graph in every form, on one generated pair."""
    ranges = observe_ranges(run)
    layers = [name.removesuffix(".input") for name in ranges.table if name.endswith(".input")]
    _, rows, columns = run.preprocessor.grid
    write = partial(write_vision_graph, checkpoint=run.checkpoint, grid=(rows, columns))
    paths = {}
    for name, form in all_forms(ranges, layers).items():
        paths[name] = folder / f"{name}-vision.onnx"
        write(paths[name], form=form)
    ((golden, test),) = run.images
    patches = [run.preprocessor.patches(image) for image in (golden, test)]
    take_turns(paths, {"patches": patches[1]}, options)
    session = open_session(paths["fp32"], options.threads)
    previous, current = (session.run(None, {"patches": one})[0] for one in patches)
    compare = partial(write_comparison_graph, checkpoint=run.checkpoint, grid=(rows, columns))
    for name, form in all_forms(ranges, layers).items():
        paths[name] = folder / f"{name}-comparison.onnx"
        compare(paths[name], form=form)
    take_turns(paths, {"previous": previous, "current": current}, options)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=("nano", "3b", "7b"), default="nano")
    parser.add_argument("--image-size", type=int, help="224, or 448 at the full shapes")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    size = options.image_size or (224 if options.shape == "nano" else 448)
    print(f"{cpu()}, {options.threads} threads, onnxruntime {onnxruntime.__version__}\n")
    print("| rows x inputs x outputs | form | ms | fp32 / form | error | products |")
    print("| --- | --- | --- | --- | --- | --- |")
    preprocessor = Preprocessor(image_height=size, image_width=size)
    pair = generate_pair(0, size=112)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = shape_checkpoint(folder / "checkpoint", options.shape)
        run = FloatRun(
            checkpoint,
            preprocessor,
            [(preprocessor.resize(pair.golden), preprocessor.resize(pair.test))],
            pairs="1 generated pair",
            scratch=folder,
            open_graph=partial(PiecewiseGraph, budget_bytes=_PIECE_BYTES),
        )
        time_layers(folder, checkpoint, int(np.prod(preprocessor.grid)), options)
        time_graphs(folder, run, options)


def cpu() -> str:
    """The processor's name, and which of the instructions that matter to INT8 it has."""
    facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = {
        key.strip(): value for key, _, value in (line.partition(":") for line in facts.splitlines())
    }
    flags = found.get("flags", "").split()
    has = [f"{flag} {'yes' if flag in flags else 'no'}" for flag in _FLAGS]
    return f"{found.get('model name', '?').strip()}: {', '.join(has)}"


if __name__ == "__main__":
    main()
