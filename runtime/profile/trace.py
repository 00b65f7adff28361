"""How many operations the graphs of one inspection do, counted from onnxruntime's own trace.

Counted are products and attention over given inputs; norms, activations, and what the decoder's
attention reads of its cache are not. So a count is a lower bound, as a least time needs it.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import SessionError
from adcopilot_edge.runtime.engine import open_engine
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.runtime.ort import error_classes, load_onnxruntime
from adcopilot_edge.runtime.session import PROVIDER_CLASSES, GraphSession
from adcopilot_edge.runtime.threads import session_options
from adcopilot_edge.runtime.timing import StageClock

_ATTENTION = ("MultiHeadAttention", "Attention")
_INTEGER_WORDS = ("Integer", "Quantize", "QLinear", "NBits", "QGemm")


@dataclass(frozen=True, slots=True)
class Operations:
    """Multiplications and additions, in floating point and in integers."""

    floating: int = 0
    integer: int = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(self.floating + other.floating, self.integer + other.integer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one stage does: its operations, and how often it runs its graph."""

    operations: Operations
    num_runs: int = 1

    def times(self, count: int) -> Work:
        """The same work done ``count`` times."""
        done = self.operations
        return Work(
            operations=Operations(count * done.floating, count * done.integer),
            num_runs=count * self.num_runs,
        )


def count_work(
    bundle: Bundle,
    golden: Path,
    test: Path,
    *,
    provider: str,
    num_threads: int | None,
    questions: Mapping[str, str],
    max_new_tokens: int,
) -> dict[str, Work]:
    """The work of each stage of one inspection; opens the bundle a second time.

    Each of ``questions``, words by name, is a stage beside the verdict. Stages whose graph
    onnxruntime does not run, as engines, are left out.

    Raises:
        EdgeError: As ``open_engine`` and its parts.
    """
    with tempfile.TemporaryDirectory() as folder:
        graphs: dict[str, TracedGraph] = {}

        def open_traced(path: Path, **options: Any) -> TracedGraph:
            graphs[path.name] = TracedGraph(path, folder=Path(folder), **options)
            return graphs[path.name]

        engine = open_engine(
            bundle, provider=provider, num_threads=num_threads, open_graph=open_traced
        )
        preprocessor = engine.preprocessor
        reference = engine.read_golden(open_image(golden))
        patches = preprocessor.patches(preprocessor.resize(open_image(test)))
        encoded = engine.encoder.encode(patches)
        comparison = engine.encoder.compare(reference.features, encoded.features)
        engine.dialogue.show(reference.prefix, encoded.tokens, comparison.tokens)
        engine.verdict_logits()
        num_tokens = {}
        for name, words in questions.items():
            answer = engine.dialogue.answer(
                words, max_new_tokens=max_new_tokens, clock=StageClock()
            )
            # The last token is not read again.
            num_tokens[name] = len(answer.ids)
        runs = {
            name: graphs[graph.file].close()
            for name, graph in bundle.manifest.graphs.items()
            if graph.file in graphs
        }
    return _by_stage(runs, num_tokens)  # type: ignore[arg-type]


def _by_stage(runs: dict[str, list[Operations]], num_tokens: dict[str, int]) -> dict[str, Work]:
    """Work by stage: the runs of each graph in the order in which ``count_work`` asked for them."""
    work: dict[str, Work] = {
        name: Work(operations=runs[name][-1]) for name in ("vision", "comparison") if name in runs
    }
    steps = iter(runs["decoder"][1:])  # the first read the golden
    for stage, count in {"prefill": 1, "verdict": 1, **num_tokens}.items():
        taken = list(islice(steps, count))
        work[stage] = Work(operations=sum(taken, Operations()), num_runs=len(taken))
    return work


class TracedGraph(GraphSession):
    """A graph of which onnxruntime writes down every node that runs.

    Args:
        path: As for ``GraphSession``, as the other arguments.
        folder: Where the trace goes.
    """

    def __init__(self, path: Path, *, folder: Path, **options: Any) -> None:
        super().__init__(path, **options)
        ort = load_onnxruntime()
        settings = session_options(ort, path, options.get("num_threads"), has_fixed_shapes=False)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(folder / path.stem)
        self._session = None  # two copies of the weights at once would be too much
        try:
            self._session = ort.InferenceSession(
                str(path), settings, providers=[PROVIDER_CLASSES[self.provider]]
            )
        except error_classes() as err:
            raise SessionError(f"can't open {path} a second time: {err}") from err

    def close(self) -> list[Operations]:
        """The operations of each run, in order."""
        events = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        self._session = None
        return count_runs(events)


def count_runs(events: list[dict[str, Any]]) -> list[Operations]:
    """The operations of each run of a graph, from the events of its trace."""
    runs = sorted(
        (event["ts"], event["ts"] + event["dur"])
        for event in events
        if event["name"] == "model_run"
    )
    totals = [Operations() for _ in runs]
    for event in events:
        if not event["name"].endswith("_kernel_time"):
            continue
        for place, (start, end) in enumerate(runs):
            if start <= event["ts"] <= end:
                totals[place] += node_operations(event["args"])
                break
    return totals


def node_operations(arguments: dict[str, Any]) -> Operations:
    """The operations of a node: none unless it is a product or attention.

    Args:
        arguments: What the trace says of it: ``op_name``, ``input_type_shape`` and
            ``output_type_shape``, where weights that were packed at the start are left out.
    """
    name = arguments["op_name"]
    inputs = [shape for entry in arguments["input_type_shape"] for shape in entry.values()]
    outputs = [shape for entry in arguments["output_type_shape"] for shape in entry.values()]
    if name in _ATTENTION and len(inputs) > 1 and len(inputs[0]) == len(inputs[1]) == 3:
        batch, queries, width = inputs[0]
        return Operations(floating=2 * 2 * batch * queries * inputs[1][1] * width)
    if "MatMul" in name or "Gemm" in name:
        count = 2 * math.prod(outputs[0]) * inputs[0][-1]
        if any(word in name for word in _INTEGER_WORDS):
            return Operations(integer=count)
        return Operations(floating=count)
    return Operations()
