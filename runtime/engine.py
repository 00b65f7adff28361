"""An opened bundle: its graphs, tokenizer and preprocessing, put together and checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import BundleNotFoundError, ConfigError, ManifestError
from adcopilot_edge.manifest import Manifest
from adcopilot_edge.runtime.decode import Decoder
from adcopilot_edge.runtime.dialogue import Dialogue
from adcopilot_edge.runtime.embedding import EmbeddingTable
from adcopilot_edge.runtime.engines.api import BACKENDS
from adcopilot_edge.runtime.engines.open import engine_opener
from adcopilot_edge.runtime.golden import GoldenReference, pixel_hash
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.runtime.ranges_state import RangesState, require_static
from adcopilot_edge.runtime.relevel import Edges, releveling_opener, watching_opener
from adcopilot_edge.runtime.session import (
    PROVIDER_CLASSES,
    GraphSession,
    OpenGraph,
    check_provider,
)
from adcopilot_edge.runtime.thread_store import ThreadsInUse, choose_threads
from adcopilot_edge.runtime.threads import Threads
from adcopilot_edge.runtime.tokenizer import TextTokenizer
from adcopilot_edge.runtime.vision import ImageEncoder
from adcopilot_edge.types import FloatArray, ImageArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The parts of one bundle, ready to run; it examines one pair at a time.

    ranges: those that its INT8 layers go by, None for the bundle's own. threads: what computes.
    """

    bundle: Bundle
    provider: str
    preprocessor: Preprocessor
    tokenizer: TextTokenizer
    encoder: ImageEncoder
    dialogue: Dialogue
    ranges: RangesState | None = None
    threads: ThreadsInUse = field(default_factory=ThreadsInUse)

    @property
    def id(self) -> str:
        """What all that it computes depends on; see ``engine_id``."""
        return engine_id(self.bundle, self.ranges)

    @property
    def notes(self) -> tuple[str, ...]:
        """What every inspection tells: ranges that are not the bundle's own, settings not used."""
        ranges = () if self.ranges is None else (f"ranges:{self.ranges.id}",)
        return (*ranges, *self.threads.notes)

    def read_golden(self, image: ImageArray) -> GoldenReference:
        """Compute all that is constant for a golden image.

        Args:
            image: (H, W, 3) uint8 RGB of any size; it is kept, not copied.

        Raises:
            SessionError: A graph fails.
        """
        patches = self.preprocessor.patches(self.preprocessor.resize(image))
        encoded = self.encoder.encode(patches)
        itself = self.encoder.compare(encoded.features, encoded.features)
        # Copies: an engine's own lie on the device, and the next image overwrites them. Features
        # never change, so that an engine need not be given them twice.
        features = np.array(encoded.features)
        features.setflags(write=False)
        return GoldenReference(
            bundle=self.id,
            image=image,
            image_sha256=pixel_hash(image),
            features=features,
            tokens=np.array(encoded.tokens),
            comparison_tokens=np.array(itself.tokens),
            prefix=self.dialogue.read_golden(encoded.tokens, itself.tokens),
        )

    def verdict_logits(self) -> FloatArray:
        """Return the logits (V,) where the verdict about the shown test image would start."""
        return self.dialogue.first_logits(self.bundle.manifest.prompt.tasks["verdict"])

    def score(self, logits: FloatArray) -> float:
        """Return the anomaly score, 0..1: the softmax over the logits of the two letters."""
        tokens = self.bundle.manifest.tokens
        margin = float(logits[tokens.yes]) - float(logits[tokens.no])
        return float(0.5 * (1.0 + np.tanh(0.5 * margin)))  # the sigmoid, safe from overflow


def engine_id(bundle: Bundle, ranges: RangesState | None) -> str:
    """What all that is computed depends on: the bundle, and its ranges where not its own."""
    return bundle.id if ranges is None else f"{bundle.id}+{ranges.id}"


def open_engine(
    bundle: Bundle,
    *,
    provider: str,
    num_threads: Threads | Path,
    open_graph: OpenGraph = GraphSession,
    ranges: RangesState | None = None,
) -> Engine:
    """Open every file of a bundle.

    Args:
        bundle: Where the files are and what the manifest says.
        provider: As for ``GraphSession``; ``tensorrt`` and ``tensorrt-rtx`` run the vision side as
            engines, which ``build`` makes, and the decoder on ``cuda``.
        num_threads: As for ``choose_threads``.
        open_graph: How its graphs are opened; the exporter has a way for little memory.
        ranges: What its static INT8 layers go by instead of their own.

    Raises:
        ConfigError: There is no such provider.
        BundleNotFoundError: A file is missing.
        ManifestError: A file does not fit the manifest.
        ProviderUnavailableError: The provider is absent or did not start.
        SessionError: A graph can't be used.
        EngineError: There is no engine for this machine.
        StateError: ``num_threads`` is a file that is damaged or not for this bundle and machine.
        MissingExtraError: onnxruntime, or the package of the engines, is not installed.
    """
    if provider not in (known := (*PROVIDER_CLASSES, *BACKENDS)):
        raise ConfigError(f"provider must be one of {', '.join(known)}, got {provider!r}")
    graph_provider, open_vision = provider, open_graph
    for backend in BACKENDS:
        if provider == backend:
            # The decoder's int4 products are onnxruntime's: beside engines it runs on CUDA.
            graph_provider, open_vision = "cuda", engine_opener(bundle, backend)
    check_provider(graph_provider)
    threads = choose_threads(bundle, provider, num_threads)
    open_probes = open_graph
    if ranges is not None:
        require_static(bundle.manifest)
        open_vision = open_probes = releveling_opener(bundle, ranges)
    manifest = bundle.manifest
    if missing := [name for name in manifest.files if not bundle.file(name).is_file()]:
        raise BundleNotFoundError(
            f"bundle {bundle.path} lacks {', '.join(missing)}. Copy or export it again."
        )
    model = manifest.model
    tokenizer = TextTokenizer(bundle.file(manifest.tokenizer))
    embedding = EmbeddingTable(
        bundle.file(manifest.embedding.file), (model.vocab_size, model.hidden_size)
    )
    decoder = Decoder(
        bundle.file(manifest.graphs["decoder"].file),
        model,
        embedding,
        provider=graph_provider,
        num_threads=threads.settings,
        open_graph=open_graph,
    )
    return Engine(
        bundle=bundle,
        provider=provider,
        preprocessor=_preprocessor(manifest),
        tokenizer=tokenizer,
        encoder=ImageEncoder(
            bundle,
            provider=graph_provider,
            num_threads=threads.settings,
            open_graph=open_vision,
            open_probes=open_probes,
        ),
        dialogue=Dialogue(manifest, decoder, tokenizer),
        ranges=ranges,
        threads=threads,
    )


def relevel(
    engine: Engine,
    ranges: RangesState | None,
    *,
    num_threads: Threads = None,
    edges: Edges | None = None,
) -> Engine:
    """``engine`` with its vision side under other ranges; both share the rest and take turns.

    Args:
        engine: Of a bundle with static INT8 on onnxruntime.
        ranges: None for the bundle's own.
        num_threads: As for ``GraphSession``; None takes those of ``engine``.
        edges: Widened by how far the inputs of the layers reach in every run.

    Raises:
        SessionError: A graph can't be used.
    """
    opener = releveling_opener(engine.bundle, ranges)
    encoder = ImageEncoder(
        engine.bundle,
        provider=engine.provider,
        num_threads=engine.threads.settings if num_threads is None else num_threads,
        open_graph=opener if edges is None else watching_opener(engine.bundle, ranges, edges),
        open_probes=opener,
    )
    return replace(engine, encoder=encoder, ranges=ranges)


def _preprocessor(manifest: Manifest) -> Preprocessor:
    """The preprocessing that the manifest describes; Qwen2-VL's scale of 1/255 is fixed."""
    settings, model = manifest.preprocessing, manifest.model
    if not np.isclose(settings.rescale_factor, 1 / 255, rtol=1e-6):
        raise ManifestError(
            f"preprocessing.rescale_factor must be 1/255, got {settings.rescale_factor}"
        )
    return Preprocessor(
        image_height=model.image_height,
        image_width=model.image_width,
        patch_size=model.patch_size,
        temporal_patch_size=model.temporal_patch_size,
        merge_size=model.merge_size,
        image_mean=settings.image_mean,
        image_std=settings.image_std,
    )
