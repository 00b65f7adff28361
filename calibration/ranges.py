"""The ranges of a model's values over real pairs: what INT8 scales and float16 limits follow from.

One readable JSON table. Knows nothing of graphs: ``export/observe.py`` fills it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import CalibrationError


@dataclass(frozen=True, slots=True)
class Ranges:
    """The smallest and the largest value of each observed tensor.

    pairs: what the pairs were, in words. num_pairs: how many. table: by tensor name, for a layer
    ``L`` the names ``L.input`` and ``L.output``.
    """

    pairs: str
    num_pairs: int
    table: Mapping[str, tuple[float, float]] = field(repr=False)

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

    def bound(self, name: str) -> float:
        """The largest magnitude of the tensor ``name``. Raises CalibrationError."""
        if name not in self.table:
            raise CalibrationError(
                f"no range of {name} is known. Calibrate again with this release's export."
            )
        low, high = self.table[name]
        return max(-low, high)

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
        return Ranges(self.pairs, self.num_pairs + 1, table)

    def to_json(self) -> dict[str, Any]:
        """The table as one object."""
        return {
            "pairs": self.pairs,
            "num_pairs": self.num_pairs,
            "ranges": {name: list(edges) for name, edges in sorted(self.table.items())},
        }


def write_ranges(path: Path, ranges: Ranges) -> None:
    """Write ``ranges`` to ``path``, one tensor a line."""
    with atomic_write(path) as file:
        file.write(json.dumps(ranges.to_json(), indent=1).encode() + b"\n")


def read_ranges(path: Path) -> Ranges:
    """Read what ``write_ranges`` wrote. Raises CalibrationError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        table = {
            str(name): (float(low), float(high)) for name, (low, high) in content["ranges"].items()
        }
        return Ranges(str(content["pairs"]), int(content["num_pairs"]), table)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise CalibrationError(f"{path} is no table of ranges: {err}. Calibrate again.") from err
