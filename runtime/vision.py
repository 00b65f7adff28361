"""The two graphs that see: patches to features and tokens, two images' features to a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import SessionError
from adcopilot_edge.runtime.session import Graph, GraphSession, OpenGraph
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.runtime.threads import Threads
from adcopilot_edge.types import FloatArray

_VISION_OUTPUTS = ("features", "tokens")


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

    anomaly_logits: (rows, columns), at least one a patch, or None where the bundle has no map.
    type_logits: (rows, columns, types), a vector for each patch, or None where it knows no types.
    """

    tokens: FloatArray
    anomaly_logits: FloatArray | None
    type_logits: FloatArray | None = None


class ImageEncoder:
    """The vision and the comparison graph of a bundle.

    Args:
        bundle: Where they are.
        provider: As for ``GraphSession``.
        num_threads: As for ``GraphSession``.
        open_graph: How the two are opened.
        open_probes: How the vision graph's twin with probes is opened, once somebody asks for it.

    Raises:
        SessionError: A graph can't be used, or lacks an input or output.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        provider: str,
        num_threads: Threads,
        open_graph: OpenGraph = GraphSession,
        open_probes: OpenGraph = GraphSession,
    ) -> None:
        manifest = bundle.manifest
        self._model = manifest.model
        probes = manifest.graphs["vision"].probes
        self._open_probes = (
            None
            if probes is None
            else partial(
                open_probes, bundle.file(probes), provider=provider, num_threads=num_threads
            )
        )
        self._probes: Graph | None = None
        self._vision = open_graph(
            bundle.file(manifest.graphs["vision"].file), provider=provider, num_threads=num_threads
        )
        self._vision.require(inputs=["patches"], outputs=_VISION_OUTPUTS)
        self._comparison: Graph | None = None
        if self._model.compare_token_size:
            path = bundle.file(manifest.graphs["comparison"].file)
            self._comparison = open_graph(path, provider=provider, num_threads=num_threads)
            outputs = ["comparison_tokens"]
            if self._model.has_anomaly_map:
                outputs.append("anomaly_logits")
            if self._model.map_types:
                outputs.append("type_logits")
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

    def probe(self, patches: FloatArray) -> dict[str, AnyArray]:
        """What the patch embedding and each block make of some patches, each (P, C), in order.

        Nothing where the bundle has no probes. The first call loads the graph a second time.

        Args:
            patches: As for ``encode``.

        Raises:
            SessionError: The graph fails.
        """
        if self._open_probes is None:
            return {}
        if self._probes is None:
            self._probes = self._open_probes()
        outputs = self._probes.run({"patches": patches})
        return {name: value for name, value in outputs.items() if name not in _VISION_OUTPUTS}

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
        types = np.asarray(outputs["type_logits"]) if self._model.map_types else None
        # A NaN is in no region, so the map would show a defect as nothing.
        if any(found is not None and not np.isfinite(found).all() for found in (logits, types)):
            raise SessionError(
                "the anomaly map is not finite. If its precision is fp16 or int8, export the "
                "bundle again with a higher one"
            )
        return Comparison(
            tokens=outputs["comparison_tokens"], anomaly_logits=logits, type_logits=types
        )
