"""How an export stays below a limit of memory: what may stay loaded, and the least that works.

The figures are estimates with room: the measured peak of an export lies below its limit.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.memory import free_bytes

# torch, transformers and onnxruntime themselves, measured as the resident set after their import.
LIBRARY_BYTES = 600 << 20
# Chunks that are converted on the way, and what allocators hold back.
_WORKING_BYTES = 288 << 20
# A module's weights as the file has them, while they become float32 or float64.
_TORCH_FACTOR = 1.5
# onnxruntime maps a weight and keeps a second copy in the order of its kernels.
_ORT_FACTOR = 2.2
_DEFAULT_SHARE = 0.8
_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBytes:
    """What the parts of a model take, in bytes.

    torch_total, torch_largest: weights of the reference, all and of the largest module. graphs:
    data of all graphs, that of the vision graph twice for its probes. largest_node: the largest
    weight of one node. activations: of the proof's widest layer. rounding: what choosing the levels
    of the largest layer takes.
    """

    torch_total: int
    torch_largest: int
    graphs: int
    largest_node: int
    activations: int
    rounding: int = 0


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How the proof keeps to a limit.

    limit: bytes of the whole process. torch_budget: what the reference may keep between calls.
    piece_budget: weights of one piece of a graph, or None where the graphs run whole. peak: the
    estimate of what the export takes.
    """

    limit: int
    torch_budget: int
    piece_budget: int | None
    peak: int

    @property
    def is_whole(self) -> bool:
        """Whether reference and graphs stay loaded from pair to pair."""
        return self.piece_budget is None


def plan_memory(model: ModelBytes, limit: int | None) -> MemoryPlan:
    """Share ``limit`` bytes; None takes four fifths of what the machine has free.

    Raises:
        ConfigError: The limit is below the least that works, which the message says.
    """
    base = LIBRARY_BYTES + _WORKING_BYTES + model.activations
    largest_torch = int(_TORCH_FACTOR * model.torch_largest)
    rounding = largest_torch + model.rounding if model.rounding else 0
    least = base + max(largest_torch, int(_ORT_FACTOR * model.largest_node), rounding)
    chosen = limit if limit is not None else _default_limit()
    if chosen < least:
        raise ConfigError(
            f"this export needs at least {math.ceil(10 * least / _GIB) / 10} GiB of memory, "
            + (
                f"--max-ram allows {chosen / _GIB:.1f} GiB"
                if limit is not None
                else f"{chosen / _GIB:.1f} GiB are free"
            )
            + ". Close other programs or allow more with --max-ram."
        )
    whole_torch = base + largest_torch + model.torch_total
    whole_graphs = base + int(_ORT_FACTOR * model.graphs)
    if max(whole_torch, whole_graphs) <= chosen:
        peak = max(whole_torch, whole_graphs, base + rounding)
        return MemoryPlan(chosen, model.torch_total, None, peak)
    torch_budget = min(model.torch_total, chosen - base - largest_torch - model.rounding)
    piece_budget = max(model.largest_node, int((chosen - base) / _ORT_FACTOR))
    peak = base + max(
        largest_torch + model.rounding + torch_budget,
        int(_ORT_FACTOR * min(piece_budget, model.graphs)),
    )
    return MemoryPlan(chosen, torch_budget, piece_budget, peak)


def return_freed() -> None:
    """Give memory that was freed back to the system, where the C library can be told to.

    glibc keeps what threads of onnxruntime and torch freed, over 1 GiB behind a piece of a deep
    tower, and the next phase would come on top.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _default_limit() -> int:
    """Most of what is free. Raises ConfigError where that is not known."""
    free = free_bytes()
    if free is None:
        raise ConfigError("how much memory is free is not known here; say it with --max-ram")
    return int(_DEFAULT_SHARE * free)
