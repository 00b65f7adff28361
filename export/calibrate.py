"""What an export learns from pairs: smoothing and ranges of the vision side, decoder inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.calibration.pairs import CalibrationPairs, Pairs
from adcopilot_edge.calibration.ranges import Ranges, read_ranges, write_ranges
from adcopilot_edge.calibration.record import RECORD_FILE, write_record
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.describe import Description, read_preprocessing, read_tokenizer
from adcopilot_edge.export.float_run import FloatRun
from adcopilot_edge.export.grams import LayerGrams
from adcopilot_edge.export.histogram import int8_inputs, observe_clips
from adcopilot_edge.export.memory import MemoryPlan
from adcopilot_edge.export.observe import observe_ranges
from adcopilot_edge.export.precision import NO_RANGES
from adcopilot_edge.export.proof import ImagePair, graph_opener
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.reference import TorchReference
from adcopilot_edge.export.smooth import fold, read_smoothing, write_smoothing
from adcopilot_edge.export.strength import search_strengths
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.types import OnStep

RANGES_FILE = "ranges.json"
SMOOTHING_FILE = "smoothing.json"


def require_pairs(recipe: ExportRecipe, calibration: CalibrationPairs | None) -> None:
    """Raise ConfigError where the recipe must see pairs, and there are none."""
    if calibration is not None or not recipe.needs_pairs:
        return
    what = (
        f"the vision side in {recipe.vision} for {recipe.target} needs pairs to take ranges from"
        if recipe.needs_ranges
        else f"the quantizer {recipe.quantizer!r} needs pairs to see what the decoder's layers get"
    )
    raise ConfigError(f"{what}: name them with --calib")


def record_pairs(folder: Path, calibration: CalibrationPairs | None) -> None:
    """Write which pairs were learned from into the bundle at ``folder``, where any were."""
    if calibration is not None:
        write_record(folder / RECORD_FILE, calibration)


def take_ranges(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    calibration: CalibrationPairs | None,
    memory: MemoryPlan,
    on_step: OnStep,
) -> Ranges:
    """The ranges that the vision side's precision follows from; an earlier run may have left them.

    They become a file of the bundle.
    """
    if not recipe.needs_ranges:
        return NO_RANGES
    assert calibration is not None
    path = folder / RANGES_FILE
    if path.is_file():
        return read_ranges(path)
    run = _float_run(checkpoint, folder, recipe, calibration, memory)
    count = len(run.images)
    on_step("ranges", 0, count)
    ranges = observe_ranges(run, lambda done: on_step("ranges", done, count))
    if recipe.vision == "int8":
        ranges.require_width(int8_inputs(ranges))
        if recipe.calib_method != "min-max":
            on_step("histograms", 0, count)
            ranges = observe_clips(
                run,
                ranges,
                recipe.calib_method,
                lambda done: on_step("histograms", done, count),
            )
    write_ranges(path, ranges)
    return ranges


def smooth(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    calibration: CalibrationPairs | None,
    memory: MemoryPlan,
    on_step: OnStep,
) -> Checkpoint:
    """``checkpoint`` with its vision side smoothed for INT8, where the recipe says so.

    How becomes a file of the bundle; an earlier run may have left it.
    """
    if not recipe.smooth:
        return checkpoint
    assert calibration is not None
    path = folder / SMOOTHING_FILE
    if path.is_file():
        return fold(checkpoint, read_smoothing(path))
    run = _float_run(checkpoint, folder, recipe, calibration, memory)
    count = len(run.images)
    on_step("smoothing", 0, count)
    smoothed = search_strengths(run, lambda done: on_step("smoothing", done, count))
    write_smoothing(path, smoothed)
    return fold(checkpoint, smoothed)


@dataclass(frozen=True, slots=True)
class _Resized:
    """Pairs at the preprocessor's size, one at a time."""

    pairs: Pairs
    preprocessor: Preprocessor

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[ImagePair]:
        resize = self.preprocessor.resize
        return ((resize(pair.golden), resize(pair.test)) for pair in self.pairs)


def _float_run(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    calibration: CalibrationPairs,
    memory: MemoryPlan,
) -> FloatRun:
    """The vision side of ``checkpoint`` over the pairs, at the size of the bundle."""
    settings = read_preprocessing(checkpoint)
    preprocessor = Preprocessor(
        image_height=recipe.image_height,
        image_width=recipe.image_width,
        image_mean=settings.image_mean,
        image_std=settings.image_std,
    )
    return FloatRun(
        checkpoint,
        preprocessor,
        _Resized(calibration.pairs, preprocessor),
        pairs=f"{len(calibration.pairs)} pairs of {calibration.name}",
        scratch=folder,
        open_graph=graph_opener(memory),
    )


def take_grams(
    checkpoint: Checkpoint,
    description: Description,
    recipe: ExportRecipe,
    calibration: CalibrationPairs | None,
    memory: MemoryPlan,
    on_step: OnStep,
) -> LayerGrams | None:
    """What the decoder's layers get as input, where the quantizer asks for it."""
    if recipe.quantizer != "gptq":
        return None
    assert calibration is not None
    reference = TorchReference(
        checkpoint,
        description,
        read_tokenizer(checkpoint),
        budget_bytes=memory.torch_budget,
    )
    count = len(calibration.pairs)
    on_step("inputs", 0, count)
    calls = []
    for pair in calibration.pairs:
        calls.append(reference.layer_call(pair.golden, pair.test))
        on_step("inputs", len(calls), count)
    return LayerGrams(reference.layers, calls)
