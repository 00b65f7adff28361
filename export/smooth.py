"""Move the spread of a layer's input channels into its weights, where a norm comes before it.

The norm's gain is divided, and the columns of the weights behind it multiplied, by a factor for
each channel, after SmoothQuant (arXiv:2211.10438). The factors are powers of two, so that every
product and every sum in floating point keeps all its digits: the model computes what it did.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import CalibrationError
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.tensors import TensorEntry
from adcopilot_edge.types import FloatArray

_ENCODER = "visual.compare_visual_encoder"
# The norms of the Comparison Encoder that one gated MLP alone reads.
_ENCODER_MLPS = {
    "encoder_norm2": "encoder_mlp1",
    "encoder_norm4": "encoder_mlp2",
    "decoder_norm2": "decoder_mlp",
}


@dataclass(frozen=True, slots=True)
class Fold:
    """A norm and all that reads it.

    layer: what the product is called in the graph. modules: its weights in the checkpoint, stacked.
    """

    norm: str
    layer: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Smoothed:
    """How a layer was smoothed.

    strength: how much of the spread went into the weights, 0 where none did. exponents: (C,), the
    factor of each channel as a power of two. before, after: error of the layer's INT8 output on the
    pairs, as a share of the output.
    """

    strength: float
    exponents: NDArray[np.int64] = field(repr=False)
    before: float
    after: float

    def to_json(self) -> dict[str, Any]:
        """The record as one object."""
        return {
            "strength": self.strength,
            "before": self.before,
            "after": self.after,
            "exponents": self.exponents.tolist(),
        }


@dataclass(frozen=True, slots=True)
class ScaledEntry(TensorEntry):
    """A tensor that is read with the last axis multiplied by ``factors`` (C,)."""

    base: TensorEntry
    factors: FloatArray = field(compare=False, repr=False)

    def read(self, rows: slice = slice(None)) -> FloatArray:
        """The rows of the tensor, multiplied; raises as that of a plain tensor."""
        values = self.base.read(rows)
        values *= self.factors[rows] if values.ndim == 1 else self.factors
        return values


def list_folds(checkpoint: Checkpoint) -> Iterator[Fold]:
    """The places of the vision side where factors can go from a norm into weights."""
    for index in range(checkpoint.vision.depth):
        block = f"visual.blocks.{index}"
        yield Fold(f"{block}.norm1", f"{block}.attn.qkv", (f"{block}.attn.qkv",))
        yield _mlp_fold(f"{block}.norm2", f"{block}.mlp")
    if checkpoint.vision.compare_token_size:
        for norm, mlp in _ENCODER_MLPS.items():
            yield _mlp_fold(f"{_ENCODER}.{norm}", f"{_ENCODER}.{mlp}")


def _mlp_fold(norm: str, mlp: str) -> Fold:
    return Fold(norm, f"{mlp}.gate_up", (f"{mlp}.gate_proj", f"{mlp}.up_proj"))


def fold(checkpoint: Checkpoint, smoothed: Mapping[str, Smoothed]) -> Checkpoint:
    """``checkpoint`` with the factors of ``smoothed``, by layer, folded into its tensors."""
    entries = dict(checkpoint.entries)
    for place in list_folds(checkpoint):
        exponents = smoothed[place.layer].exponents
        for tensor, powers in (
            (f"{place.norm}.weight", -exponents),
            *((f"{module}.weight", exponents) for module in place.modules),
        ):
            base = entries[tensor]
            factors = np.ldexp(np.float32(1), powers)
            entries[tensor] = ScaledEntry(
                base.file, base.name, base.shape, base.dtype, base, factors
            )
    return replace(checkpoint, entries=entries)


def tell_smoothing(smoothed: Mapping[str, Smoothed]) -> str:
    """How many layers were smoothed, and what that did to the error of their INT8 output."""
    changed = [one for one in smoothed.values() if one.strength]
    before = np.mean([one.before for one in smoothed.values()])
    after = np.mean([one.after for one in smoothed.values()])
    return (
        f"{len(changed)} of {len(smoothed)} layers; mean error of their INT8 output {before:.3g} "
        f"before, {after:.3g} after"
    )


def write_smoothing(path: Path, smoothed: Mapping[str, Smoothed]) -> None:
    """Write ``smoothed`` to ``path``, one layer a line."""
    rows = ",\n".join(
        f" {json.dumps(name)}: {json.dumps(one.to_json())}" for name, one in smoothed.items()
    )
    with atomic_write(path) as file:
        file.write(f"{{\n{rows}\n}}\n".encode())


def read_smoothing(path: Path) -> dict[str, Smoothed]:
    """Read what ``write_smoothing`` wrote. Raises CalibrationError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): Smoothed(
                strength=float(one["strength"]),
                exponents=np.array(one["exponents"], dtype=np.int64),
                before=float(one["before"]),
                after=float(one["after"]),
            )
            for name, one in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise CalibrationError(f"{path} is no record of smoothing: {err}. Export again.") from err
