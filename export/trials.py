"""Vision sides tried out under one language model, each with other modules in INT8.

A trial is no bundle: its graphs lie in a hidden folder of the export for as long as it is open.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.graphs import Graphs, write_vision_side
from adcopilot_edge.export.memory import MemoryPlan
from adcopilot_edge.export.mixed import int8_modules
from adcopilot_edge.export.precision import vision_style
from adcopilot_edge.export.proof import graph_opener
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.manifest import Manifest, ModelSpec
from adcopilot_edge.runtime.engine import Engine, open_engine
from adcopilot_edge.runtime.vision import ImageEncoder


@dataclass(kw_only=True)
class Trials:
    """What all trials of an export have in common.

    folder: of the export, in which the language model lies already. ranges: of the vision side,
    where the recipe needs them. draft: a manifest around the vision side's graphs, whose files
    nobody hashes. memory: what may stay loaded.
    """

    checkpoint: Checkpoint
    folder: Path
    recipe: ExportRecipe
    model: ModelSpec
    ranges: Ranges
    draft: Callable[[Graphs], Manifest]
    memory: MemoryPlan
    _language: Engine | None = field(default=None, init=False)

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """What can be kept in float, in the order of computing."""
        return int8_modules(self.checkpoint, self.recipe)

    @property
    def can_be_timed(self) -> bool:
        """Whether times on this machine say something about the bundle's."""
        return self.recipe.target == "cpu" and self.memory.is_whole

    def in_order(self, modules: Collection[str]) -> tuple[str, ...]:
        """``modules`` in the order of computing."""
        return tuple(name for name in self.modules if name in modules)

    def others(self, module: str) -> frozenset[str]:
        """All modules but one: what is kept where that one alone is INT8."""
        return frozenset(self.modules) - {module}

    @contextmanager
    def open(self, kept: Collection[str]) -> Iterator[Engine]:
        """The language model behind a vision side in INT8 but for ``kept``, on the CPU.

        Raises:
            SessionError: onnxruntime refuses a graph.
        """
        recipe = replace(self.recipe, kept=self.in_order(kept))
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
            opener = graph_opener(self.memory)
            if self._language is None:
                self._language = open_engine(
                    bundle, provider="cpu", num_threads=None, open_graph=opener
                )
            encoder = ImageEncoder(bundle, provider="cpu", num_threads=None, open_graph=opener)
            yield replace(self._language, bundle=bundle, encoder=encoder)
