"""What an export learns from pairs: ranges of the vision side, inputs of the decoder's layers."""

from __future__ import annotations

from pathlib import Path

from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.calibration.ranges import Ranges, read_ranges, write_ranges
from adcopilot_edge.calibration.record import write_record
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
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.types import OnStep

RANGES_FILE = "ranges.json"
RECORD_FILE = "calibration.json"


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


def record_pairs(folder: Path, recipe: ExportRecipe, calibration: CalibrationPairs | None) -> None:
    """Write which pairs were learned from into the bundle at ``folder``, where any were."""
    if calibration is not None and recipe.needs_pairs:
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
    settings = read_preprocessing(checkpoint)
    preprocessor = Preprocessor(
        image_height=recipe.image_height,
        image_width=recipe.image_width,
        image_mean=settings.image_mean,
        image_std=settings.image_std,
    )
    images: list[ImagePair] = [
        (preprocessor.resize(pair.golden), preprocessor.resize(pair.test))
        for pair in calibration.pairs
    ]
    run = FloatRun(
        checkpoint,
        preprocessor,
        images,
        pairs=f"{len(images)} pairs of {calibration.name}",
        scratch=folder,
        open_graph=graph_opener(memory),
    )
    on_step("ranges", 0, len(images))
    ranges = observe_ranges(run, lambda done: on_step("ranges", done, len(images)))
    if recipe.vision == "int8":
        ranges.require_width(int8_inputs(ranges))
        if recipe.calib_method != "min-max":
            on_step("histograms", 0, len(images))
            ranges = observe_clips(
                run,
                ranges,
                recipe.calib_method,
                lambda done: on_step("histograms", done, len(images)),
            )
    write_ranges(path, ranges)
    return ranges


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
    on_step("inputs", 0, 1)
    calls = []
    for pair in calibration.pairs:
        calls.append(reference.layer_call(pair.golden, pair.test))
        on_step("inputs", len(calls), len(calls) + 1)
    return LayerGrams(reference.layers, calls)
