"""Ranges that a device measured anew for the static INT8 layers of a bundle.

Knows nothing of files: :mod:`adcopilot_edge.runtime.ranges_store`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from adcopilot_edge.errors import ConfigError, StateError
from adcopilot_edge.manifest import GraphName, Manifest
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.levels import levels_of
from adcopilot_edge.runtime.tensors import AnyArray

_SHA256 = r"^[0-9a-f]{64}$"
Edge = Annotated[float, Field(allow_inf_nan=False)]


class RangesState(Record):
    """How far the inputs of every static INT8 layer of one bundle reach, for all its inspections.

    golden_sha256: of the decoded pixels of the golden image that the parts were compared with.
    num_good, good_sha256: the good parts, hashed as those of a verdict state. replaces: the id of
    the state in use before, None where that was the bundle's own ranges. layers: low and high by
    graph and layer.
    """

    format: Literal["adcopilot-edge-ranges"] = "adcopilot-edge-ranges"
    version: Literal[1] = 1
    created_by: str
    created_at: datetime
    bundle: str
    golden_sha256: str = Field(pattern=_SHA256)
    num_good: int = Field(gt=0)
    good_sha256: str = Field(pattern=_SHA256)
    replaces: str | None = None
    layers: dict[GraphName, dict[str, tuple[Edge, Edge]]] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_edges(self) -> RangesState:
        for layers in self.layers.values():
            for name, (low, high) in layers.items():
                if low >= high:
                    raise ValueError(f"the range of {name} has no width")
        return self

    @property
    def id(self) -> str:
        """A hash over all of the state, which inspections and verdict states name."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """The state as a JSON object, its id in front."""
        return {"id": self.id, **self.model_dump(mode="json")}

    def initializers(self, graph: GraphName) -> dict[str, AnyArray]:
        """Scale and zero point of every layer of a graph, by the names that the graph has."""
        tensors: dict[str, AnyArray] = {}
        for name, (low, high) in self.layers.get(graph, {}).items():
            levels = levels_of(low, high)
            tensors[f"{name}.input_scale"] = np.array(levels.scale, np.float32)
            tensors[f"{name}.input_zero"] = np.array(levels.zero, np.uint8)
        return tensors

    def check_fits(self, bundle: str) -> None:
        """Raise StateError where the state is of another bundle than the one with this id."""
        if self.bundle != bundle:
            raise StateError(
                f"the ranges {self.id} were measured with the bundle {self.bundle}, this is "
                f"{bundle}. Measure again with: adcopilot-edge calibrate --ranges, or remove them"
            )


def require_static(manifest: Manifest) -> None:
    """Raise ConfigError unless the bundle has ranges that a device can measure anew."""
    vision = manifest.graphs["vision"]
    if vision.ranges is not None:
        return
    if vision.form == "static":
        why = "the scales of its INT8 layers are compiled into engines"
    elif vision.precision == "int8":
        why = "its INT8 form is dynamic: every run finds the ranges of its own"
    else:
        why = f"its vision side is in {vision.precision}"
    raise ConfigError(
        f"this bundle has no ranges to calibrate: {why}. Those that have are exported for a CPU "
        "with: adcopilot-edge export --int8 --int8-form static --calib"
    )
