"""Many parts, one behind the other: the image of the next is prepared while one is inspected.

Knows nothing of how a part is inspected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace

import numpy as np
from PIL import Image

from adcopilot_edge.errors import ConfigError, InputError
from adcopilot_edge.runtime.ahead import one_ahead
from adcopilot_edge.runtime.golden_set import has_votes
from adcopilot_edge.runtime.images import ImageSource
from adcopilot_edge.runtime.part_image import PartImage
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.types import Inspection, PartResult


def check_tests(golden: object, tests: Iterable[ImageSource]) -> None:
    """Raise ConfigError for a vote, or for one image, whose letters or rows would count."""
    if has_votes(golden):
        raise ConfigError("votes are not prepared ahead. Choose the nearest golden, or inspect")
    if isinstance(tests, (str, bytes, os.PathLike, Image.Image, np.ndarray)):
        raise ConfigError(
            f"tests must give several images, got one {type(tests).__name__}. Put it into a list; "
            "a stack of arrays goes as list(stack)"
        )


def inspecting_many(
    tests: Iterable[ImageSource],
    preprocessor: Preprocessor,
    inspect: Callable[[PartImage], Inspection],
    *,
    tile: bool,
    notes: tuple[str, ...],
) -> Generator[PartResult, None, None]:
    """Inspect each image; one that can't be used is told in its place, and the others go on.

    Args:
        tests: As for ``one_ahead``.
        preprocessor: Of the bundle.
        inspect: Called in the caller's thread, in order.
        tile: The parts are inspected in tiles, which are cut later.
        notes: Of the first inspection.

    Raises:
        Exception: What ``tests`` raises, and what ``inspect`` does but InputError.
    """
    parts = one_ahead(
        tests,
        lambda test: PartImage(test, preprocessor).announce(),
        lambda part: part.prepare(is_whole=not tile),
    )
    with closing(parts):
        for index, part in enumerate(parts):
            try:
                inspection = inspect(part)
            except InputError as err:
                yield PartResult(index=index, error=err)
                continue
            finally:
                del part  # its picture is not kept while the caller looks at the result
            yield PartResult(
                index=index,
                inspection=replace(inspection, notes=(*inspection.notes, *notes)),
            )
            notes = ()
