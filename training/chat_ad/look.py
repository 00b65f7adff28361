"""What is kept of a picture to find its template: size, likeness, identity of its pixels.

Knows no category. A picture is decoded once for it; whatever maps functions over many processes
maps ``look_at`` over the paths of ``pictures_of``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adcopilot_edge.errors import InputError
from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.images import open_raster
from adcopilot_edge.training.chat_ad.likeness import Describe, describe_picture
from adcopilot_edge.training.chat_ad.source import Finding, SourceImage
from adcopilot_edge.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A picture as matching sees it.

    size: (width, height), upright. vector: (C,) float32 of length 1. pixels: SHA-256 of them.
    """

    path: Path
    size: tuple[int, int]
    vector: FloatArray = field(repr=False, compare=False)
    pixels: str


def pictures_of(images: Iterable[SourceImage]) -> list[Path]:
    """The pictures that must be looked at to match ``images``: theirs and their templates, once."""
    paths: dict[Path, None] = {}
    for image in images:
        paths[image.path] = None
        if image.template is not None:
            paths[image.template] = None
    return list(paths)


def look_at(path: Path, describe: Describe = describe_picture) -> Look | Finding:
    """What is kept of a picture, or why it can't be used."""
    try:
        picture = open_raster(path)
    except InputError as err:
        return Finding(path, str(err).removeprefix(f"{path} "))
    return Look(
        path=path,
        size=picture.size,
        vector=describe(picture),
        pixels=pixel_hash(np.asarray(picture)),
    )
