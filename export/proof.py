"""The proof of a bundle: torch and the runtime over the same pairs, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.describe import read_tokenizer
from adcopilot_edge.export.memory import MemoryPlan, return_freed
from adcopilot_edge.export.parity import compare_pairs
from adcopilot_edge.export.pieces import PiecewiseGraph
from adcopilot_edge.export.plan import plan_export
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.reference import TorchReference
from adcopilot_edge.manifest import Manifest, StageParity
from adcopilot_edge.runtime.engine import open_engine
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ladder import Stages, run_ladder
from adcopilot_edge.runtime.session import GraphSession, OpenGraph
from adcopilot_edge.runtime.verify import VerifyReport
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import ImageArray, LabelledPair, OnStep

ImagePair = tuple[ImageArray, ImageArray]

# Far above the seeds that training and its evaluations draw from.
_FIRST_SEED = 1 << 40
# Pixels beyond the bundle's own size, so that the resize has something to do.
_MARGIN = 28
# The generator's smallest size, and one that still takes well under a second a pair.
_SMALLEST, _LARGEST = 112, 476


@dataclass(frozen=True, slots=True)
class Proof:
    """How every stage came out over all pairs, and what torch answered to the first pair."""

    stages: tuple[StageParity, ...]
    first: Stages


def prove(
    bundle: Bundle,
    checkpoint: Checkpoint,
    images: Sequence[ImagePair],
    recipe: ExportRecipe,
    memory: MemoryPlan,
    on_step: OnStep,
    *,
    provider: str = "cpu",
) -> Proof:
    """Ask torch, then the bundle, about ``images``, and compare.

    Args:
        bundle: What is to be proven.
        checkpoint: What it was made of.
        images: Pairs of any size.
        recipe: What the bundle was made by, the size of the proof settled.
        memory: What may stay loaded; only the CPU runs graphs in pieces.
        on_step: Told of the progress.
        provider: Where the bundle runs.
    """
    num_ids = recipe.max_new_tokens
    assert num_ids is not None
    references: list[Stages] = []
    on_step("torch", 0, len(images))
    reference = TorchReference(
        checkpoint,
        bundle.manifest,
        read_tokenizer(checkpoint),
        budget_bytes=memory.torch_budget,
    )
    for golden, test in images:
        expected = reference.stages(
            golden,
            test,
            max_new_tokens=num_ids,
            threshold=bundle.manifest.decision.threshold,
        )
        references.append(expected)
        on_step("torch", len(references), len(images))
    del reference  # its weights, before those of the graphs come
    return_freed()
    actuals: list[Stages] = []
    on_step("onnxruntime", 0, len(images))
    opened = graph_opener(memory) if provider == "cpu" else GraphSession
    inspector = Inspector(
        open_engine(bundle, provider=provider, num_threads=None, open_graph=opened)
    )
    for golden, test in images:
        actuals.append(run_ladder(inspector, golden, test, max_new_tokens=num_ids))
        on_step("onnxruntime", len(actuals), len(images))
    return Proof(compare_pairs(recipe, references, actuals), references[0])


def prove_again(
    bundle: Bundle,
    checkpoint: Checkpoint,
    pairs: Iterable[LabelledPair],
    *,
    num_pairs: int | None,
    max_ram: int | None,
    provider: str,
    on_step: OnStep,
) -> VerifyReport:
    """The proof of a finished bundle, anew: on other pairs, or where it is to run.

    Args:
        bundle: The bundle, its hashes checked.
        checkpoint: What it was made of.
        pairs: Images of any size.
        num_pairs: How many of them; None takes as many as an export does.
        max_ram: As for an export.
        provider: Where the bundle runs; torch is on the CPU.
        on_step: Told of the progress.

    Raises:
        ConfigError: The bundle was made of another checkpoint, or the memory is too small.
    """
    require_source(bundle, checkpoint)
    recipe = recipe_of(bundle.manifest, num_pairs=num_pairs)
    memory = plan_export(checkpoint, recipe, max_ram).memory
    recipe = recipe.with_proof(is_whole=memory.is_whole)
    images = take_images(pairs, recipe.num_parity_pairs)
    proof = prove(bundle, checkpoint, images, recipe, memory, on_step, provider=provider)
    return VerifyReport(
        bundle=bundle.id,
        provider=provider,
        num_files=len(bundle.manifest.files),
        num_pairs=len(images),
        stages=proof.stages,
    )


def require_source(bundle: Bundle, checkpoint: Checkpoint) -> None:
    """Raise ConfigError unless ``bundle`` was made of ``checkpoint``, adapter included."""
    source = bundle.manifest.source
    if checkpoint.sha256() != source.sha256:
        raise ConfigError(
            f"bundle {bundle.path} was made of another checkpoint than {checkpoint.name}: of "
            f"{source.name}, whose files hash to {source.sha256[:16]}. Name that one."
        )
    made, given = (item and item.sha256 for item in (source.adapter, checkpoint.adapter))
    if made != given:
        what = "no adapter" if source.adapter is None else f"the adapter {source.adapter.name}"
        raise ConfigError(f"bundle {bundle.path} was made with {what}: say so with --adapter.")


def recipe_of(manifest: Manifest, *, num_pairs: int | None) -> ExportRecipe:
    """What a bundle was made by, as far as the proof must know it."""
    return ExportRecipe(
        image_height=manifest.model.image_height,
        image_width=manifest.model.image_width,
        target=manifest.target,
        vision=manifest.graphs["vision"].precision,
        llm=manifest.graphs["decoder"].precision,
        max_sequence_length=manifest.model.max_sequence_length,
        num_parity_pairs=num_pairs,
    )


def synthetic_pairs(height: int, width: int) -> Iterator[LabelledPair]:
    """Pairs for the proof of a bundle of this image size, without end; squares, as generated."""
    size = min(max(_SMALLEST, height, width) + _MARGIN, _LARGEST)
    return (generate_pair(seed, size=size).to_labelled() for seed in count(_FIRST_SEED))


def take_images(pairs: Iterable[LabelledPair], limit: int | None = None) -> list[ImagePair]:
    """Golden and test of the first ``limit`` pairs, or of all. Raises ConfigError without any."""
    images = [(pair.golden, pair.test) for pair in islice(pairs, limit)]
    if not images:
        raise ConfigError("the proof of an export needs at least one pair of images")
    return images


def graph_opener(memory: MemoryPlan) -> OpenGraph:
    """How graphs are run within the memory: whole or in pieces."""
    if memory.piece_budget is None:
        return GraphSession
    return partial(PiecewiseGraph, budget_bytes=memory.piece_budget)
