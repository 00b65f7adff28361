"""The ranges of a model's values over real pairs: what INT8 scales and float16 limits follow from.

One readable JSON table. Knows nothing of graphs: ``export/observe.py`` fills it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.calibration.clipping import METHODS, Clip
from adcopilot_edge.errors import CalibrationError


@dataclass(frozen=True, slots=True)
class Ranges:
    """The smallest and the largest value of each observed tensor.

    pairs: what the pairs were, in words. num_pairs: how many. table: by tensor name, for a layer
    ``L`` the names ``L.input`` and ``L.output``. clips: where the INT8 levels of a tensor end
    otherwise than at its largest magnitude, or why they don't.
    """

    pairs: str
    num_pairs: int
    table: Mapping[str, tuple[float, float]] = field(repr=False)
    clips: Mapping[str, Clip] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        broken = sorted(
            name
            for name, (low, high) in self.table.items()
            if not (math.isfinite(low) and math.isfinite(high) and low <= high)
        )
        if broken:
            raise CalibrationError(
                f"ranges must be finite; these are not: {', '.join(broken)}. The checkpoint gives "
                f"NaN or infinity on {self.pairs}"
            )
        wrong = sorted(
            name
            for name, clip in self.clips.items()
            if name not in self.table or not 0 < clip.bound <= self.bound(name)
        )
        if wrong:
            raise CalibrationError(
                f"INT8 levels must end between zero and what was seen; these do not: "
                f"{', '.join(wrong)}. Calibrate again."
            )

    def bound(self, name: str) -> float:
        """The largest magnitude of the tensor ``name``. Raises CalibrationError."""
        if name not in self.table:
            raise CalibrationError(
                f"no range of {name} is known. Calibrate again with this release's export."
            )
        low, high = self.table[name]
        return max(-low, high)

    def level_bound(self, name: str) -> float:
        """Where the INT8 levels of the tensor ``name`` end. Raises CalibrationError."""
        return self.clips[name].bound if name in self.clips else self.bound(name)

    def require_width(self, names: Iterable[str]) -> None:
        """Raise CalibrationError that tells which of ``names`` had one value throughout."""
        flat = sorted(name for name in names if self.table[name][0] == self.table[name][1])
        if flat:
            values = ", ".join(f"{name} ({self.table[name][0]:.3g})" for name in flat)
            raise CalibrationError(
                f"INT8 needs ranges of some width, and on {self.pairs} these tensors have one "
                f"value throughout: {values}. Check the checkpoint and the pictures."
            )

    def with_pair(self, tables: Iterable[Mapping[str, tuple[float, float]]]) -> Ranges:
        """The ranges with what was seen on one more pair, a table for each run of a graph.

        Raises:
            CalibrationError: A new value is not finite.
        """
        table = dict(self.table)
        for name, (low, high) in chain.from_iterable(new.items() for new in tables):
            old_low, old_high = table.get(name, (low, high))
            # Python's min and max keep the first of two where one is a NaN: the new ones, here.
            table[name] = min(low, old_low), max(high, old_high)
        return replace(self, num_pairs=self.num_pairs + 1, table=table)

    def to_json(self) -> dict[str, Any]:
        """The table as one object; ``bound`` is where the INT8 levels end."""
        return {
            "pairs": self.pairs,
            "num_pairs": self.num_pairs,
            "ranges": {name: self._entry(name) for name in sorted(self.table)},
        }

    def _entry(self, name: str) -> dict[str, Any]:
        low, high = self.table[name]
        clip = self.clips.get(name, Clip(self.bound(name), "min-max"))
        entry = {"min": low, "max": high, "bound": clip.bound, "method": clip.method}
        return entry | ({"reason": clip.reason} if clip.reason else {})


def write_ranges(path: Path, ranges: Ranges) -> None:
    """Write ``ranges`` to ``path``, one tensor a line."""
    content = ranges.to_json()
    entries = content.pop("ranges")
    head = json.dumps(content, indent=1).removesuffix("\n}")
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entries[name])}" for name in entries)
    with atomic_write(path) as file:
        file.write(f'{head},\n "ranges": {{\n{rows}\n }}\n}}\n'.encode())


def read_ranges(path: Path) -> Ranges:
    """Read what ``write_ranges`` wrote. Raises CalibrationError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = content["ranges"].items()
        return Ranges(
            str(content["pairs"]),
            int(content["num_pairs"]),
            {str(name): (float(entry["min"]), float(entry["max"])) for name, entry in entries},
            {
                str(name): _read_clip(entry)
                for name, entry in entries
                if entry["method"] != "min-max" or "reason" in entry
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise CalibrationError(f"{path} is no table of ranges: {err}. Calibrate again.") from err


def _read_clip(entry: Mapping[str, Any]) -> Clip:
    if entry["method"] not in METHODS:
        raise ValueError(f"the method must be one of {', '.join(METHODS)}")
    return Clip(float(entry["bound"]), entry["method"], str(entry.get("reason", "")))
