"""The two graphs that see: patches to features and tokens, two images' features to a comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import SessionError
from adcopilot_edge.runtime.session import Graph, GraphSession, OpenGraph
from adcopilot_edge.types import FloatArray


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image: features (N, C) before the merger, in patch order, and its tokens (N / 4, D).

    Of an engine both lie on the device, valid until the next image.
    """

    features: FloatArray
    tokens: FloatArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """A current image against a previous one: tokens (L, D), and logits of the anomaly map.

    anomaly_logits: (rows, columns), one a patch, or None where the bundle has no map.
    """

    tokens: FloatArray
    anomaly_logits: FloatArray | None


class ImageEncoder:
    """The vision and the comparison graph of a bundle.

    Raises:
        SessionError: A graph can't be used, or lacks an input or output.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        provider: str,
        num_threads: int | None,
        open_graph: OpenGraph = GraphSession,
    ) -> None:
        manifest = bundle.manifest
        self._model = manifest.model
        self._vision = open_graph(
            bundle.file(manifest.graphs["vision"].file), provider=provider, num_threads=num_threads
        )
        self._vision.require(inputs=["patches"], outputs=["features", "tokens"])
        self._comparison: Graph | None = None
        if self._model.compare_token_size:
            path = bundle.file(manifest.graphs["comparison"].file)
            self._comparison = open_graph(path, provider=provider, num_threads=num_threads)
            outputs = ["comparison_tokens"]
            if self._model.has_anomaly_map:
                outputs.append("anomaly_logits")
            self._comparison.require(inputs=["previous", "current"], outputs=outputs)

    def encode(self, patches: FloatArray) -> EncodedImage:
        """Encode one image.

        Args:
            patches: (N, 1176) float32, as the preprocessor makes them.

        Raises:
            SessionError: The graph fails.
        """
        outputs = self._vision.run({"patches": patches})
        return EncodedImage(features=outputs["features"], tokens=outputs["tokens"])

    def compare(self, previous: FloatArray, current: FloatArray) -> Comparison:
        """Compare the features (N, C) of the current image with those of the previous one.

        A bundle without comparison tokens gives none: L is 0.

        Raises:
            SessionError: The graph fails, or its map is not finite.
        """
        if self._comparison is None:
            no_tokens = np.zeros((0, self._model.hidden_size), dtype=np.float32)
            return Comparison(tokens=no_tokens, anomaly_logits=None)
        outputs = self._comparison.run({"previous": previous, "current": current})
        logits = np.asarray(outputs["anomaly_logits"]) if self._model.has_anomaly_map else None
        # A NaN is in no region, so the map would show a defect as nothing.
        if logits is not None and not np.isfinite(logits).all():
            raise SessionError(
                "the anomaly map is not finite. If its precision is fp16 or int8, export the "
                "bundle again with a higher one"
            )
        return Comparison(tokens=outputs["comparison_tokens"], anomaly_logits=logits)
