"""The image of one part on its way to the model: decoded, looked at, scaled, cut into patches.

Each step is done once, when its result is first asked for, or all of them ahead in another thread.
Knows nothing of golden images and of graphs.
"""

from __future__ import annotations

import threading
import time
from functools import cached_property

import numpy as np
from PIL import Image

from adcopilot_edge.runtime.health import View
from adcopilot_edge.runtime.images import ImageSource, open_raster
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.types import FloatArray, ImageArray


class PartImage:
    """The test image of an inspection.

    Args:
        source: The image.
        preprocessor: Of the bundle.
    """

    def __init__(self, source: ImageSource, preprocessor: Preprocessor) -> None:
        self._source = source
        self._preprocessor = preprocessor
        self._clock = StageClock()
        self._prepared: threading.Event | None = None
        self._error: BaseException | None = None

    @cached_property
    def _raster(self) -> Image.Image:
        """The picture as Pillow's; scaling an array of 12 million pixels would convert it twice."""
        with self._clock.stage("decode_image"):
            return open_raster(self._source)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the picture.

        Raises:
            InputError: The image can't be used.
        """
        return self._raster.height, self._raster.width

    @cached_property
    def picture(self) -> ImageArray:
        """The picture, (H, W, 3) uint8 RGB.

        Raises:
            InputError: The image can't be used.
        """
        raster = self._raster
        with self._clock.stage("decode_image"):
            return np.asarray(raster)

    @cached_property
    def view(self) -> View:
        """What its health goes by."""
        raster = self._raster
        with self._clock.stage("health"):
            return View.of(raster)

    @cached_property
    def pixels(self) -> ImageArray:
        """The picture at the bundle's size, (image_height, image_width, 3) uint8 RGB."""
        raster = self._raster
        with self._clock.stage("preprocess"):
            return self._preprocessor.resize(raster)

    @cached_property
    def patches(self) -> FloatArray:
        """The patches (N, 1176) float32 of ``pixels``."""
        pixels = self.pixels
        with self._clock.stage("preprocess"):
            return self._preprocessor.patches(pixels)

    def announce(self) -> PartImage:
        """Let ``take_turn`` wait until ``prepare`` is done; returns itself."""
        self._prepared = threading.Event()
        return self

    def prepare(self, *, is_whole: bool) -> None:
        """Do every step, in any thread, of a part that was announced.

        Nothing of the source is looked at later: its owner may use the memory for the next picture.
        What goes wrong is raised by ``take_turn``.

        Args:
            is_whole: The part is inspected at once and not in tiles.
        """
        try:
            _ = self.view
            _ = self.patches if is_whole else self.picture
        except BaseException as err:  # the part's own thread raises it
            self._error = err
        finally:
            if self._prepared is not None:
                self._prepared.set()

    def take_turn(self) -> StageClock:
        """Begin the inspection: wait until what is prepared ahead is ready.

        Returns:
            The clock of the inspection. Its total counts from this call on.

        Raises:
            InputError: The image can't be used, as found ahead.
        """
        start_ns = time.perf_counter_ns()
        if self._prepared is not None:
            self._prepared.wait()
        if self._error is not None:
            raise self._error
        self._clock.count_from(start_ns)
        return self._clock
