"""All of a bundle but its vision side: what pairs taught, the language model, the tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

import adcopilot_edge
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.export.calibrate import record_pairs, smooth, take_grams, take_ranges
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.describe import TOKENIZER_FILE, Description
from adcopilot_edge.export.embedding import write_embedding
from adcopilot_edge.export.graphs import Graphs, write_language_model
from adcopilot_edge.export.memory import MemoryPlan
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.trials import Trials
from adcopilot_edge.manifest import Decision, Embedding, FileEntry, Manifest, Source
from adcopilot_edge.types import OnStep

EMBEDDING_FILE = "embedding.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A bundle without its vision side, in ``folder``.

    checkpoint: what the vision side is written from, smoothed where the recipe says so. source:
    what the bundle is made of. ranges: of the vision side, where the recipe needs them. memory:
    what may stay loaded.
    """

    checkpoint: Checkpoint
    source: Source
    folder: Path
    recipe: ExportRecipe
    description: Description
    ranges: Ranges
    language: Graphs
    embedding: Embedding
    memory: MemoryPlan

    def manifest(self, vision: Graphs, files: dict[str, FileEntry], **more: Any) -> Manifest:
        """The manifest with this vision side; ``more`` are further keys of it."""
        return Manifest(
            created_by=f"adcopilot-edge {adcopilot_edge.__version__}",
            target=self.recipe.target,
            source=self.source,
            model=self.description.model,
            preprocessing=self.description.preprocessing,
            tokens=self.description.tokens,
            prompt=self.description.prompt,
            graphs={**vision, **self.language},
            embedding=self.embedding,
            tokenizer=TOKENIZER_FILE,
            decision=Decision(
                threshold=self.recipe.threshold,
                map_margin=self.checkpoint.vision.compare_map_margin,
            ),
            files=files,
            **more,
        )

    def trials(self) -> Trials:
        """Vision sides that can be tried out behind this language model."""
        return Trials(
            checkpoint=self.checkpoint,
            folder=self.folder,
            target=self.recipe.target,
            model=self.description.model,
            ranges=self.ranges,
            draft=lambda vision: self.manifest(vision, self._unhashed(vision)),
            memory=self.memory,
        )

    def _unhashed(self, vision: Graphs) -> dict[str, FileEntry]:
        """The files of a bundle that is tried out: nobody copies it, so nothing is hashed."""
        names = [path.name for path in self.folder.iterdir() if path.is_file()]
        visible = [name for name in names if not name.startswith(".")]
        nothing = FileEntry(sha256="0" * 64, size_bytes=0)
        return dict.fromkeys([*visible, *(graph.file for graph in vision.values())], nothing)


def prepare(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    description: Description,
    calibration: CalibrationPairs | None,
    memory: MemoryPlan,
    on_step: OnStep,
) -> Prepared:
    """Do all of an export that comes before the vision side; what is done already stays.

    Args:
        checkpoint: What the bundle is made of.
        folder: Where the bundle is made.
        recipe: By which recipe.
        description: What the manifest says of the checkpoint.
        calibration: Pairs to learn from, where the recipe needs any.
        memory: What may stay loaded.
        on_step: Told of the progress.
    """
    record_pairs(folder, calibration)
    smoothed = smooth(checkpoint, folder, recipe, calibration, memory, on_step)
    ranges = take_ranges(smoothed, folder, recipe, calibration, memory, on_step)
    grams = take_grams(checkpoint, description, recipe, calibration, memory, on_step)
    language = write_language_model(checkpoint, folder, recipe, description.model, grams, on_step)
    on_step("embedding", 0, 1)
    table = folder / EMBEDDING_FILE
    embedding = write_embedding(table, checkpoint, is_half=recipe.llm != "fp32")
    copyfile(checkpoint.path / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    return Prepared(
        checkpoint=smoothed,
        source=Source(
            name=checkpoint.name,
            model_type=checkpoint.model_type,
            sha256=checkpoint.sha256(),
            adapter=checkpoint.adapter,
        ),
        folder=folder,
        recipe=recipe,
        description=description,
        ranges=ranges,
        language=language,
        embedding=embedding,
        memory=memory,
    )
