"""A small checkpoint as ``export --target tensorrt`` writes it."""

from __future__ import annotations

from pathlib import Path

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.record import Precision
from adcopilot_edge.training.synthetic import generate_pair


def tensorrt_bundle(checkpoint: Path, folder: Path, vision: Precision) -> Bundle:
    """A bundle for images of 112 x 140 pixels, calibrated on two generated pairs."""
    pairs = [generate_pair(seed, size=112).to_labelled() for seed in range(2)]
    recipe = ExportRecipe(
        image_height=112,
        image_width=140,
        target="tensorrt",
        vision=vision,
        llm="int4",
        num_parity_pairs=1,
        max_new_tokens=4,
    )
    calibration = CalibrationPairs("generated boards", pairs)
    return export_bundle(checkpoint, folder, recipe, pairs=pairs, calibration=calibration)
