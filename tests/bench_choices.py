"""How the graphs are put together: each choice in its two ways, on this CPU.

    python tests/bench_choices.py --shape 3b --rows 358 1

Random weights; the two ways of a choice take turns, run by run, and a ratio is the median over the
turns of the second way's time over the first's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
from bench_forms import cpu, open_session, shape_checkpoint

from adcopilot_edge.export.attention import window_attention
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.dialect import Dialect
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.graph import GraphBuilder, new_graph
from adcopilot_edge.export.linear import BlockForm, LinearForm
from adcopilot_edge.export.rows import RowInt8Form
from adcopilot_edge.export.section import Section
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.export.windows import WindowGroup, window_layout
from adcopilot_edge.types import FloatArray

FORMS: dict[str, LinearForm] = {
    "int4, blocks of 128": BlockForm(bits=4, block_size=128, accuracy_level=4),
    "int8, a range for each token": RowInt8Form(),
}
HEAD = BlockForm(bits=8, block_size=128, accuracy_level=4)
Write = Callable[[Path], None]
Feeds = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Timing:
    """The options of the command line that say how to time."""

    repeats: int
    threads: int

    def compare(self, choice: str, form: str, one: Write, other: Write, feeds: Feeds) -> None:
        """Print the row of one choice."""
        with tempfile.TemporaryDirectory() as name:
            sessions = []
            for index, write in enumerate((one, other)):
                path = Path(name) / f"{index}.onnx"
                write(path)
                sessions.append(open_session(path, self.threads))
            times: list[list[float]] = [[], []]
            for turn in range(self.repeats + 1):
                for session, seconds in zip(sessions, times, strict=True):
                    started = time.perf_counter()
                    session.run(None, dict(feeds))
                    if turn:
                        seconds.append(time.perf_counter() - started)
        ratio = np.median(np.array(times[1]) / np.array(times[0]))
        cells = " | ".join(f"{1e3 * np.median(way):.2f}" for way in times)
        print(f"| {choice} | {form} | {cells} | {ratio:.2f} |", flush=True)


def products(form: LinearForm, layers: Sequence[Linear], values: FloatArray) -> Write:
    """A graph of ``layers``, all of the same input; what is stacked is split again."""

    def write(path: Path) -> None:
        with new_graph(path) as graph:
            value = graph.input("rows", values.shape)
            for index, layer in enumerate(layers):
                sizes = [replace(layer, modules=(it,)).shape[0] for it in layer.modules]
                stack = form.apply(graph, value, layer)
                parts = graph.split(stack, sizes, axis=-1, name=f"parts{index}")
                for place, (part, size) in enumerate(zip(parts, sizes, strict=True)):
                    graph.output(part, f"product{index}.{place}", (len(values), size))

    return write


def head(form: LinearForm, layer: Linear, values: FloatArray, *, last_only: bool) -> Write:
    """The output head over the last of the rows, or over all."""

    def write(path: Path) -> None:
        with new_graph(path) as graph:
            value = graph.input("rows", values.shape)
            if last_only:
                value = graph.gather_rows(value, np.array([-1]), name="last")
            graph.output(form.apply(graph, value, layer), "logits", ("T", layer.shape[0]))

    return write


def attention(
    dialect: Dialect, groups: Sequence[WindowGroup], shape: tuple[int, int, int]
) -> Write:
    """Attention alone over queries, keys and values (N, H, d)."""

    def write(path: Path) -> None:
        with new_graph(path) as graph:
            operands = [graph.input(name, shape) for name in ("queries", "keys", "values")]
            mixed = window_attention(graph, dialect, operands, groups, shape[1:], name="attn")
            graph.output(mixed, "mixed", (shape[0], shape[1] * shape[2]))

    return write


def masked(groups: Sequence[WindowGroup], shape: tuple[int, int, int]) -> Write:
    """The same as one product over all patches under a mask of the windows."""
    windows = np.repeat(
        np.arange(sum(group.count for group in groups)),
        [group.length for group in groups for _ in range(group.count)],
    )
    mask = np.where(windows[:, None] == windows[None], 0, -1e9).astype(np.float32)[None, None]

    def write(path: Path) -> None:
        with new_graph(path) as graph:
            operands = [
                _by_head(graph, graph.input(name, shape), name)
                for name in ("queries", "keys", "values")
            ]
            queries, keys, values = operands
            keys = graph.op("Transpose", [keys], {"perm": (0, 1, 3, 2)}, name="keys.turned")
            scores = graph.op("MatMul", [queries, keys], name="scores")
            scores = graph.add(scores, graph.constant("mask", mask), name="masked")
            shares = graph.op("Softmax", [scores], {"axis": -1}, name="shares")
            mixed = graph.op("MatMul", [shares, values], name="mixed_heads")
            graph.output(mixed, "mixed", (1, shape[1], shape[0], shape[2]))

    return write


def _by_head(graph: GraphBuilder, value: ir.Value, name: str) -> ir.Value:
    batch = graph.reshape(value, (1, *(value.shape or ())), name=f"{name}.batch")
    return graph.op("Transpose", [batch], {"perm": (0, 2, 1, 3)}, name=f"{name}.by_head")


def time_decoder(checkpoint: Checkpoint, rows: Sequence[int], timing: Timing) -> None:
    """The choices of the language model's layers."""
    form = FORMS["int4, blocks of 128"]
    layer = Section(None, checkpoint, form, FUSED, "language_model.layers.0")  # type: ignore[arg-type]
    names = {
        "queries, keys and values": [f"self_attn.{role}_proj" for role in "qkv"],
        "gate and up": ["mlp.gate_proj", "mlp.up_proj"],
    }
    for count in rows:
        values = noise(count, checkpoint.language.hidden_size)
        for form_name, form in FORMS.items():
            for name, modules in names.items():
                packed = products(form, [layer.layer(*modules)], values)
                apart = products(form, [layer.layer(module) for module in modules], values)
                choice = f"{name} of {count} rows in one product, or apart"
                timing.compare(choice, form_name, packed, apart, {"rows": values})
        linear = Linear(checkpoint, "head", (checkpoint.head_name.removesuffix(".weight"),))
        last = head(HEAD, linear, values, last_only=True)
        if count > 1:
            choice, whole = f"on the last of {count} rows, or on all", HEAD
        else:
            choice, whole = "in 8 bits, or in 4", replace(HEAD, bits=4)
        other = head(whole, linear, values, last_only=False)
        timing.compare(f"head {choice}", "blocks of 128", last, other, {"rows": values})


def time_vision(checkpoint: Checkpoint, side: int, timing: Timing) -> None:
    """The choices of attention in the vision tower, for a square image of ``side`` pixels."""
    config = checkpoint.vision
    cells = side // checkpoint.patch_size
    window = config.window_size // checkpoint.patch_size
    layout = window_layout(cells, cells, merge_size=config.spatial_merge_size, window=window)
    shape = (cells**2, config.num_heads, config.hidden_size // config.num_heads)
    feeds = {
        name: noise(cells**2, shape[1] * shape[2]).reshape(shape)
        for name in ("queries", "keys", "values")
    }
    single = [WindowGroup(1, group.length) for group in layout.groups for _ in range(group.count)]
    ours = attention(FUSED, layout.groups, shape)
    count = len(single)
    choices = {
        f"attention in {count} windows as a batch, or one by one": attention(FUSED, single, shape),
        "the same as one operator, or as products and a softmax": attention(
            StandardDialect(), layout.groups, shape
        ),
        "windows, or all patches with a mask": masked(single, shape),
    }
    for choice, other in choices.items():
        timing.compare(choice, "fp32", ours, other, feeds)
    whole = [WindowGroup(1, cells**2)]
    ours, other = (attention(dialect, whole, shape) for dialect in (FUSED, StandardDialect()))
    choice = "attention over all patches as one operator, or as products and a softmax"
    timing.compare(choice, "fp32", ours, other, feeds)


def noise(*shape: int) -> FloatArray:
    """Normal values."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=("3b", "7b"), default="3b")
    parser.add_argument("--rows", type=int, nargs="+", default=[358, 1])
    parser.add_argument("--image-size", type=int, default=448)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    timing = Timing(options.repeats, options.threads)
    print(f"{cpu()}, {options.threads} threads, onnxruntime {onnxruntime.__version__}\n")
    print("| one way, or the other | form | one, ms | other, ms | other / one |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        checkpoint = shape_checkpoint(Path(name) / "checkpoint", options.shape)
        time_decoder(checkpoint, options.rows, timing)
        time_vision(checkpoint, options.image_size, timing)


if __name__ == "__main__":
    main()
