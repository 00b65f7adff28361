"""What a graph takes and gives: names, dtypes and shapes, checked at the border.

Knows nothing of onnxruntime; :mod:`adcopilot_edge.runtime.session` reads the specs from a graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.errors import SessionError

AnyArray = NDArray[Any]


@runtime_checkable
class OnDevice(Protocol):
    """An array whose values lie on a device; a graph on that device takes it without a copy."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: str

    @property
    def address(self) -> int:
        """Where its values begin there."""
        ...


def as_on_device(array: AnyArray | OnDevice) -> OnDevice | None:
    """Return ``array`` where its values lie on a device, else None."""
    # First the common case: to ask a protocol takes longer than to bind an input.
    return array if not isinstance(array, np.ndarray) and isinstance(array, OnDevice) else None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of one input or output; None stands for a length that varies."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    def fits(self, array: AnyArray) -> bool:
        """True when ``array`` has this dtype and this shape."""
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(
                want in (None, have) for want, have in zip(self.shape, array.shape, strict=True)
            )
        )


def require_names(
    graph: str,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    *,
    wanted_inputs: Sequence[str],
    wanted_outputs: Sequence[str],
) -> None:
    """Raise SessionError unless a graph has the wanted inputs and outputs, maybe among others.

    Args:
        graph: What the message calls the graph.
        inputs: What the graph takes.
        outputs: What it gives.
        wanted_inputs: What it must take.
        wanted_outputs: What it must give.
    """
    lacking = [f"input '{name}'" for name in wanted_inputs if name not in inputs]
    lacking += [f"output '{name}'" for name in wanted_outputs if name not in outputs]
    if lacking:
        raise SessionError(f"{graph} has no {', no '.join(lacking)}. Export the bundle again.")


def check_feeds(graph: str, specs: Mapping[str, TensorSpec], feeds: Mapping[str, AnyArray]) -> None:
    """Raise unless ``feeds`` holds one fitting array for each of ``specs`` and nothing else.

    Args:
        graph: What the message calls the graph.
        specs: What the graph takes, by name.
        feeds: The arrays to be fed, by name.

    Raises:
        SessionError: With all findings: what was expected and what came.
    """
    wrong = [f"no input '{name}'" for name in specs if name not in feeds]
    for name, array in feeds.items():
        if name not in specs:
            wrong.append(f"unknown input '{name}'")
        elif not specs[name].fits(array):
            wrong.append(
                f"'{name}' must be {specs[name].dtype} {_shape(specs[name].shape)}, "
                f"got {array.dtype} {_shape(array.shape)}"
            )
    if wrong:
        raise SessionError(f"{graph} can't take these inputs: {'; '.join(wrong)}")


def _shape(lengths: tuple[int | None, ...]) -> str:
    """``(1, any, 64)``: a shape in words."""
    return f"({', '.join('any' if length is None else str(length) for length in lengths)})"
