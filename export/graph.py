"""Record an ONNX graph while its weights go straight to the data file beside it.

A weight is on disk as soon as it is added, so a graph of any size needs memory for its largest
block only. Knows nothing of models: that is ``vision.py``, ``comparison.py`` and ``decoder.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcopilot_edge.bundle import is_resumable
from adcopilot_edge.export.datafile import Chunks, DataFile

# Opset 20 brings Gelu, and is the newest that TensorRT 10.3 (JetPack 6) reads. onnxruntime reads
# IR version 10 from 1.18 on.
OPSETS = {"": 20, "com.microsoft": 1}
IR_VERSION = 10
MICROSOFT = "com.microsoft"

# Constants up to this size stay in the graph: shape inference must see the targets of Reshape.
_INLINE_BYTES = 1024

Shape = Sequence[int | str]
Attributes = Mapping[str, Any]


class GraphBuilder:
    """One ONNX graph under construction; make it with :func:`new_graph`."""

    def __init__(self, name: str, data: DataFile) -> None:
        self._name = name
        self._data = data
        self._tape = ir.tape.Tape()
        self._inputs: list[ir.Value] = []
        self._outputs: list[ir.Value] = []
        self._probes: list[tuple[str, ir.Value, NDArray[np.int64]]] = []
        self._watched: list[tuple[str, ir.Value]] = []

    def input(self, name: str, shape: Shape, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        """A new input of the graph; a string in ``shape`` names a free dimension."""
        value = ir.val(name, dtype=dtype, shape=shape)
        self._inputs.append(value)
        return value

    def output(
        self, value: ir.Value, name: str, shape: Shape, dtype: ir.DataType = ir.DataType.FLOAT
    ) -> None:
        """Make ``value`` an output of the graph under ``name``, in ``dtype``."""
        value = self.cast(value, dtype, name=name)
        value.name, value.shape = name, ir.Shape(shape)
        self._outputs.append(value)

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        name: str,
        domain: str = "",
        dtype: ir.DataType | None = None,
    ) -> ir.Value:
        """Add a node with one output, which takes the node's ``name``; returns the output.

        dtype: of the output, where it is not that of the first input.
        """
        return self.op_outputs(op_type, inputs, attributes, name=name, domain=domain, dtype=dtype)[
            0
        ]

    def op_outputs(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        name: str,
        domain: str = "",
        num_outputs: int = 1,
        dtype: ir.DataType | None = None,
    ) -> Sequence[ir.Value]:
        """Add a node with ``num_outputs`` outputs, named ``name``, ``name.1`` and so on."""
        values = self._tape.op_multi_out(
            op_type, inputs, attributes, domain=domain, name=name, num_outputs=num_outputs
        )
        for index, value in enumerate(values):
            value.name = f"{name}.{index}" if index else name
            known = dtype or (inputs[0].dtype if inputs[0] is not None else None)
            if known is not None:
                value.dtype = known
        return values

    def cast(self, value: ir.Value, dtype: ir.DataType, *, name: str) -> ir.Value:
        """``value`` in another type; itself where it already has that type."""
        if value.dtype == dtype:
            return value
        return self.op("Cast", [value], {"to": dtype}, name=name, dtype=dtype)

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        """A constant tensor: in the graph when small, otherwise in the data file."""
        if array.nbytes > _INLINE_BYTES:
            return self.stream(name, array.dtype, array.shape, lambda: [array])
        return self._tape.initializer(ir.tensor(array, name=name))

    def stream(self, name: str, dtype: Any, shape: tuple[int, ...], chunks: Chunks) -> ir.Value:
        """A constant tensor whose row-major ``chunks()`` go to the data file one by one.

        ``chunks`` is not called for a tensor that an earlier run left whole.
        """
        length = math.prod(shape) * np.dtype(dtype).itemsize
        tensor = ir.ExternalTensor(
            self._data.name,
            self._data.append(name, length, chunks),
            length,
            ir.DataType.from_numpy(np.dtype(dtype)),
            shape=ir.Shape(shape),
            name=name,
        )
        return self._tape.initializer(tensor)

    def observe(self, value: ir.Value, name: str) -> None:
        """Make the smallest and the largest of ``value`` outputs, ``name.min`` and ``name.max``."""
        for end, op_type in (("min", "ReduceMin"), ("max", "ReduceMax")):
            edge = self.op(op_type, [value], {"keepdims": 0}, name=f"{name}.{end}")
            self.output(edge, f"{name}.{end}", ())

    def probe(self, value: ir.Value, name: str, rows: NDArray[np.int64]) -> None:
        """Make ``rows`` of ``value`` the output ``name`` of the graph's twin with probes."""
        self._probes.append((name, value, rows))

    @property
    def has_probes(self) -> bool:
        """Whether the graph has a twin with probes."""
        return bool(self._probes)

    def watch(self, value: ir.Value, name: str) -> None:
        """Make the edges of ``value``, as of ``observe``, outputs of the graph's twin of ranges."""
        self._watched.append((name, value))

    @property
    def is_watched(self) -> bool:
        """Whether the graph has a twin of ranges."""
        return bool(self._watched)

    def end_block(self) -> None:
        """All weights so far are on disk: a later run need not convert them again."""
        self._data.mark()

    def reshape(self, value: ir.Value, shape: Sequence[int], *, name: str) -> ir.Value:
        """``value`` under another shape; one entry may be -1."""
        target = self.constant(f"{name}.shape", np.array(shape, dtype=np.int64))
        return self.op("Reshape", [value, target], name=name)

    def split(
        self, value: ir.Value, sizes: Sequence[int], *, axis: int, name: str
    ) -> Sequence[ir.Value]:
        """``value`` cut along ``axis`` into parts of ``sizes``."""
        if len(sizes) == 1:
            return [value]
        lengths = self.constant(f"{name}.sizes", np.array(sizes, dtype=np.int64))
        return self.op_outputs(
            "Split", [value, lengths], {"axis": axis}, name=name, num_outputs=len(sizes)
        )

    def gather_rows(self, value: ir.Value, index: NDArray[np.int64], *, name: str) -> ir.Value:
        """The rows of ``value`` in the constant order ``index``."""
        return self.op("Gather", [value, self.constant(f"{name}.index", index)], name=name)

    def add(self, left: ir.Value, right: ir.Value, *, name: str) -> ir.Value:
        """The sum of two values, in the type of ``left``."""
        assert left.dtype is not None
        return self.op("Add", [left, self.cast(right, left.dtype, name=f"{name}.right")], name=name)

    def add_probes(self, model: ir.Model) -> None:
        """Make every probe an output of ``model``, which is this builder's."""
        tape = ir.tape.Tape(model.graph)
        for name, value, rows in self._probes:
            index = tape.initializer(ir.tensor(rows, name=f"{name}.index"))
            picked = tape.op("Gather", [value, index], name=name)
            assert value.dtype is not None
            picked.name, picked.dtype, picked.shape = name, value.dtype, ir.Shape((len(rows), "C"))
            model.graph.outputs.append(picked)

    def add_edges(self, model: ir.Model) -> None:
        """Make the edges of every watched value outputs of ``model``, which is this builder's."""
        tape = ir.tape.Tape(model.graph)
        for name, value in self._watched:
            for end, op_type in (("min", "ReduceMin"), ("max", "ReduceMax")):
                edge = tape.op(op_type, [value], {"keepdims": 0}, name=f"{name}.{end}")
                assert value.dtype is not None
                edge.name, edge.dtype, edge.shape = f"{name}.{end}", value.dtype, ir.Shape(())
                model.graph.outputs.append(edge)

    def model(self) -> ir.Model:
        """The graph recorded so far; its large tensors refer to the data file."""
        graph = ir.Graph(
            self._inputs,
            self._outputs,
            nodes=self._tape.nodes,
            initializers=self._tape.initializers,
            opset_imports=OPSETS,
            name=self._name,
        )
        return ir.Model(graph, ir_version=IR_VERSION, producer_name="adcopilot-edge")


@contextmanager
def new_graph(path: Path) -> Iterator[GraphBuilder]:
    """A builder whose graph goes to ``path``, its large tensors to ``path`` plus ``.data``.

    A graph with probes gets a twin at ``probes_path(path)``: the same nodes and the same data file,
    with the probes as further outputs. One whose values are watched has a second twin likewise, at
    ``ranges_path(path)``.

    In the folder of a bundle whose export was killed, the data file goes on behind its last whole
    block.
    """
    data_path = path.with_name(f"{path.name}.data")
    with DataFile(data_path, resumes=is_resumable(path.parent)) as data:
        builder = GraphBuilder(path.stem, data)
        yield builder
        builder.end_block()
    model = builder.model()
    ir.save(model, path)
    if builder.is_watched:
        num_outputs, num_nodes = len(model.graph.outputs), len(model.graph)
        builder.add_edges(model)
        ir.save(model, ranges_path(path))
        del model.graph.outputs[num_outputs:]
        model.graph.remove(list(model.graph)[num_nodes:], safe=True)
    if builder.has_probes:
        builder.add_probes(model)
        ir.save(model, probes_path(path))


def probes_path(path: Path) -> Path:
    """Where the twin of the graph at ``path`` lies: ``vision.probes.onnx`` of ``vision.onnx``."""
    return path.with_suffix(".probes.onnx")


def ranges_path(path: Path) -> Path:
    """Where the twin that tells ranges of the graph at ``path`` lies: ``vision.ranges.onnx``."""
    return path.with_suffix(".ranges.onnx")
