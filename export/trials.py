"""Vision sides tried out under one language model, each with other modules in INT8.

A trial is no bundle: its graphs lie in a hidden folder of the export for as long as it is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.graphs import Graphs, write_vision_side
from adcopilot_edge.export.memory import MemoryPlan
from adcopilot_edge.export.precision import vision_style
from adcopilot_edge.export.proof import graph_opener
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.manifest import Manifest, ModelSpec, Target
from adcopilot_edge.runtime.engine import Engine, open_engine
from adcopilot_edge.runtime.vision import ImageEncoder


@dataclass(kw_only=True)
class Trials:
    """What all trials of an export have in common.

    folder: of the export, in which the language model lies already. target: of the export. ranges:
    of the vision side, where a recipe needs them. draft: a manifest around the vision side's
    graphs, whose files nobody hashes. memory: what may stay loaded.
    """

    checkpoint: Checkpoint
    folder: Path
    target: Target
    model: ModelSpec
    ranges: Ranges
    draft: Callable[[Graphs], Manifest]
    memory: MemoryPlan
    _language: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    def can_be_timed(self) -> bool:
        """Whether times on this machine say something about the bundle's."""
        return self.target == "cpu" and self.memory.is_whole

    @contextmanager
    def open(self, recipe: ExportRecipe) -> Iterator[Engine]:
        """The language model behind a vision side by ``recipe``, on the CPU.

        Raises:
            SessionError: onnxruntime refuses a graph.
        """
        style = vision_style(recipe, self.ranges)
        with TemporaryDirectory(dir=self.folder, prefix=".trial-") as name:
            path = Path(name)
            written = write_vision_side(self.checkpoint, path, recipe, self.model, style)
            manifest = self.draft(
                {
                    name: graph.model_copy(
                        update={"file": f"{path.name}/{graph.file}", "probes": None, "ranges": None}
                    )
                    for name, graph in written.items()
                }
            )
            bundle = Bundle(self.folder, manifest, path.name)
            settings: dict[str, Any] = {
                "provider": "cpu",
                "num_threads": None,
                "open_graph": graph_opener(self.memory),
            }
            if not self._language:
                engine = open_engine(bundle, **settings)
                # Its vision side goes with the trial.
                self._language = {
                    name: getattr(engine, name)
                    for name in ("preprocessor", "tokenizer", "dialogue")
                }
                yield engine
                return
            encoder = ImageEncoder(bundle, **settings)
            yield Engine(bundle=bundle, provider="cpu", encoder=encoder, **self._language)
