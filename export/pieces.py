"""Run a graph that is larger than the memory: in pieces, one session at a time.

The pieces are runs of nodes in the graph's own order whose weights fit into a budget; they refer to
the same data file. What it offers is what ``GraphSession`` offers, so that the runtime's own code
runs on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.memory import return_freed
from adcopilot_edge.runtime.bound import Buffer
from adcopilot_edge.runtime.session import GraphSession, Runner
from adcopilot_edge.runtime.tensors import AnyArray, TensorSpec, check_feeds, require_names
from adcopilot_edge.runtime.threads import Threads

State = Mapping[tuple[str, str], Buffer]

# The CPU dequantizes INT8 weights once for all, into float32.
_DEQUANTIZED = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """Some nodes of a graph, the weights they use, and what crosses their border."""

    nodes: Sequence[NodeProto]
    weights: Sequence[TensorProto]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class PiecewiseGraph:
    """A graph of a bundle, run piece by piece on the CPU.

    Args:
        path: The ONNX file; its external data lies beside it, and the pieces' own files come there.
        budget_bytes: What the weights of a piece may take; a node with more is a piece of its own.
        num_threads, has_fixed_shapes, keeps_order: As for ``GraphSession``.

    Raises:
        SessionError: onnxruntime refuses the graph.
    """

    def __init__(
        self,
        path: Path,
        *,
        budget_bytes: int,
        provider: str = "cpu",
        num_threads: Threads = None,
        has_fixed_shapes: bool = True,
        keeps_order: bool = False,
    ) -> None:
        if provider != "cpu":
            raise ConfigError(f"a graph runs in pieces on the cpu only, not on {provider!r}")
        self.name = path.name
        self.provider = provider
        self._path = path
        self._num_threads = num_threads
        self._has_fixed_shapes = has_fixed_shapes
        self._keeps_order = keeps_order
        self._model = onnx.load(path, load_external_data=False)
        self._pieces = split(self._model, budget_bytes)
        self.inputs = {item.name: _spec(item) for item in self._model.graph.input}
        self.outputs = {item.name: _spec(item) for item in self._model.graph.output}

    def require(self, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """As ``GraphSession.require``."""
        require_names(
            self.name, self.inputs, self.outputs, wanted_inputs=inputs, wanted_outputs=outputs
        )

    def bind(self, state: State) -> BoundPieces:
        """As ``GraphSession.bind``."""
        return BoundPieces(self, state)

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """As ``GraphSession.run``."""
        check_feeds(self.name, self.inputs, feeds)
        return self.run_pieces(feeds, {})

    def run_pieces(self, feeds: Mapping[str, AnyArray], state: State) -> dict[str, AnyArray]:
        """Run all pieces; ``state`` is updated in place, and is no part of the outputs."""
        values = dict(feeds)
        for index in range(len(self._pieces)):
            values.update(self._run_piece(index, values, state))
            wanted = {name for later in self._pieces[index + 1 :] for name in later.inputs}
            values = {
                name: value
                for name, value in values.items()
                if name in wanted or name in self.outputs
            }
        targets = {target for _, target in state}
        return {name: values[name] for name in self.outputs if name not in targets}

    def _run_piece(
        self, index: int, values: Mapping[str, AnyArray], state: State
    ) -> dict[str, AnyArray]:
        """The outputs of one piece. Its session, and with it the memory, is gone at the end."""
        piece = self._pieces[index]
        own = {names: buffer for names, buffer in state.items() if names[0] in piece.inputs}
        held = {source for source, _ in own}
        feeds = {name: values[name] for name in piece.inputs if name not in held}
        with self._session(piece, index, feeds) as session:
            runner: Runner = session.bind(own) if own else session
            # Copies: onnxruntime's own array keeps all memory of its session alive.
            found = {name: array.copy() for name, array in runner.run(feeds).items()}
            del session, runner
        return_freed()
        return found

    @contextmanager
    def _session(
        self, piece: Piece, index: int, feeds: Mapping[str, AnyArray]
    ) -> Iterator[GraphSession]:
        """The session of one piece, whose inputs but for its state are like ``feeds``."""
        given = {item.name: item for item in [*self._model.graph.input, *self._model.graph.output]}
        inputs = [given.get(name) or _like(name, feeds[name]) for name in piece.inputs]
        outputs = [given.get(name) or ValueInfoProto(name=name) for name in piece.outputs]
        graph = helper.make_graph(
            piece.nodes, f"{self._path.stem}.{index}", inputs, outputs, initializer=piece.weights
        )
        model = helper.make_model(
            graph,
            opset_imports=self._model.opset_import,
            ir_version=self._model.ir_version,
        )
        path = self._path.with_name(f".{self._path.stem}.{index}.onnx")
        path.write_bytes(model.SerializeToString())
        try:
            yield GraphSession(
                path,
                num_threads=self._num_threads,
                has_fixed_shapes=self._has_fixed_shapes,
                keeps_order=self._keeps_order,
            )
        finally:
            path.unlink()


class BoundPieces:
    """A piecewise graph whose state lives in buffers; see ``BoundGraph``."""

    def __init__(self, graph: PiecewiseGraph, state: State) -> None:
        self._graph = graph
        self._state = state
        sources = {source for source, _ in state}
        self._inputs: dict[str, TensorSpec] = {
            name: spec for name, spec in graph.inputs.items() if name not in sources
        }

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """As ``BoundGraph.run``."""
        check_feeds(self._graph.name, self._inputs, feeds)
        return self._graph.run_pieces(feeds, self._state)


def split(model: onnx.ModelProto, budget_bytes: int) -> list[Piece]:
    """Cut ``model`` into pieces whose weights take at most ``budget_bytes`` where nodes allow it.

    A weight that several pieces use counts, and is loaded, in each.
    """
    graph = model.graph
    weights = {item.name: item for item in graph.initializer}
    groups: list[list[NodeProto]] = [[]]
    size = 0
    for node in graph.node:
        used = sum(tensor_bytes(weights[name]) for name in set(node.input) if name in weights)
        if node.op_type == "DequantizeLinear":
            used *= _DEQUANTIZED
        if groups[-1] and size + used > budget_bytes:
            groups.append([])
            size = 0
        groups[-1].append(node)
        size += used
    ends = {item.name for item in graph.output}
    used_by = [{name for node in group for name in node.input if name} for group in groups]
    pieces = []
    for index, group in enumerate(groups):
        made = {name: None for node in group for name in node.output if name}
        later = set().union(*used_by[index + 1 :]) | ends
        needed = dict.fromkeys(name for node in group for name in node.input if name)
        pieces.append(
            Piece(
                nodes=group,
                weights=[weights[name] for name in needed if name in weights],
                inputs=tuple(name for name in needed if name not in weights and name not in made),
                outputs=tuple(name for name in made if name in later),
            )
        )
    return pieces


def tensor_bytes(tensor: TensorProto) -> int:
    """What a weight takes on the CPU, wherever its values are; that computes float16 in float32."""
    factor = 2 if tensor.data_type == TensorProto.FLOAT16 else 1
    for entry in tensor.external_data:
        if entry.key == "length":
            return factor * int(entry.value)
    return factor * int(numpy_helper.to_array(tensor).nbytes)


def _spec(item: ValueInfoProto) -> TensorSpec:
    """What the graph says of an input or output; a named length varies."""
    kind = item.type.tensor_type
    lengths = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)
    return TensorSpec(
        name=item.name,
        dtype=np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)),
        shape=lengths,
    )


def _like(name: str, array: AnyArray) -> ValueInfoProto:
    """An input of the dtype and the rank of ``array``; its lengths may vary."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, [None] * array.ndim)
