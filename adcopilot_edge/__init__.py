"""Visual inspection against a golden image, from training to the device.

::

    from adcopilot_edge import Inspector

    inspector = Inspector.open("bundle/")  # without a path: the bundle inside this package
    golden = inspector.golden("reference.png")
    inspection = inspector.inspect(golden, "part.png", task="all")
    print(inspection.verdict, inspection.anomaly_score)

Importing this package loads nothing else; each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["Defect", "EdgeError", "Inspection", "Inspector", "PartResult", "__version__"]

if TYPE_CHECKING:
    from adcopilot_edge.errors import EdgeError
    from adcopilot_edge.runtime.inspector import Inspector
    from adcopilot_edge.types import Defect, Inspection, PartResult
else:
    # Hidden from type checkers, which would otherwise accept any name.
    _HOMES = {
        "Defect": "adcopilot_edge.types",
        "EdgeError": "adcopilot_edge.errors",
        "Inspection": "adcopilot_edge.types",
        "Inspector": "adcopilot_edge.runtime.inspector",
        "PartResult": "adcopilot_edge.types",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
