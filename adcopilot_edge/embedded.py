"""What the package brings: a small bundle, the checkpoint it was made from, a pair of pictures."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

EMBEDDED = "embedded"
"""What the checkpoint is called wherever one is asked for, unless a folder has that name."""

_ASSETS = Path(str(files("adcopilot_edge"))) / "assets"


def embedded_bundle() -> Path:
    """The folder of the small bundle that this package brings."""
    return _ASSETS / "nano"


def embedded_checkpoint() -> Path:
    """The folder of the checkpoint, in float16, that the small bundle was exported from."""
    return _ASSETS / "nano-checkpoint"


def sample_pictures() -> tuple[Path, Path]:
    """The golden and the test picture of the package, of one generated part."""
    return _ASSETS / "samples" / "golden.png", _ASSETS / "samples" / "test.png"


def is_embedded(source: str | os.PathLike[str]) -> bool:
    """Whether ``source`` means the checkpoint of the package; a ``Path`` is always a folder."""
    return source == EMBEDDED and not Path(source).is_dir()
