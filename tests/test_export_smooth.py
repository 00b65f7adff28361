"""Smoothing: the model computes the same, INT8 comes nearer to it, and no layer gets worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import save_tiny, tiny_config, tiny_model

from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.errors import CalibrationError, ParityError
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.float_run import FloatRun
from adcopilot_edge.export.pieces import PiecewiseGraph
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.smooth import (
    Smoothed,
    fold,
    list_folds,
    read_smoothing,
    tell_smoothing,
    write_smoothing,
)
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.strength import STRENGTHS, find_strength, search_strengths
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.runtime.session import GraphSession, OpenGraph
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

PREPROCESSOR = Preprocessor(image_height=56, image_width=84)
PAIRS = [generate_pair(seed, size=112).to_labelled() for seed in range(2)]
IMAGES = [(PREPROCESSOR.resize(pair.golden), PREPROCESSOR.resize(pair.test)) for pair in PAIRS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with channels that reach far further than the others, as trained towers have.

    What it computes is what it did without them: the weights behind are as much smaller.
    """
    model, root = tiny_model(tiny_config()), tmp_path_factory.mktemp("tiny")
    places = list_folds(open_checkpoint(save_tiny(root / "plain", model)))
    with torch.no_grad():
        for place in places:
            model.get_parameter(f"model.{place.norm}.weight")[::16] *= 100
            for module in place.modules:
                model.get_parameter(f"model.{module}.weight")[:, ::16] /= 100
    return save_tiny(root / "checkpoint", model)


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return open_checkpoint(folder)


def run(checkpoint: Checkpoint, scratch: Path, open_graph: OpenGraph = GraphSession) -> FloatRun:
    return FloatRun(checkpoint, PREPROCESSOR, IMAGES, "boards", scratch, open_graph)


@pytest.fixture(scope="module")
def smoothed(
    checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Smoothed]:
    return search_strengths(run(checkpoint, tmp_path_factory.mktemp("strengths")))


def outputs(checkpoint: Checkpoint, scratch: Path) -> list[dict[str, AnyArray]]:
    found: list[dict[str, AnyArray]] = []

    def see(seen) -> None:
        found.extend(dict(one) for one in seen)

    run(checkpoint, scratch).over_pairs(lambda *_: None, StandardDialect(), see)
    return found


def test_the_model_computes_the_same(
    checkpoint: Checkpoint, smoothed: dict[str, Smoothed], tmp_path: Path
) -> None:
    """Powers of two leave every digit of every product and sum: the tolerance is zero."""
    folded = fold(checkpoint, smoothed)
    name = "visual.blocks.0.norm1.weight"
    assert not np.array_equal(folded.tensor(name), checkpoint.tensor(name))
    before, after = (outputs(one, tmp_path) for one in (checkpoint, folded))
    assert len(before) == 8
    for one, other in zip(before, after, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_every_norm_with_linears_of_its_own_is_a_place(checkpoint: Checkpoint) -> None:
    layers = [place.layer for place in list_folds(checkpoint)]
    assert layers[:2] == ["visual.blocks.0.attn.qkv", "visual.blocks.0.mlp.gate_up"]
    assert len(layers) == 2 * 3 + 3
    for place in list_folds(checkpoint):
        for module in place.modules:
            shape = checkpoint.entries[f"{module}.weight"].shape
            assert shape[1:] == checkpoint.entries[f"{place.norm}.weight"].shape


def test_rows_are_scaled_wherever_they_are_read(
    checkpoint: Checkpoint, smoothed: dict[str, Smoothed]
) -> None:
    folded = fold(checkpoint, smoothed)
    name = "visual.blocks.0.mlp.up_proj.weight"
    whole = folded.tensor(name)
    factors = np.ldexp(1.0, smoothed["visual.blocks.0.mlp.gate_up"].exponents)
    np.testing.assert_array_equal(whole, checkpoint.tensor(name) * factors)
    np.testing.assert_array_equal(np.concatenate(list(folded.chunks(name, 5))), whole)
    gain = "visual.blocks.0.norm2.weight"
    np.testing.assert_array_equal(folded.tensor(gain), checkpoint.tensor(gain) / factors)
    np.testing.assert_array_equal(folded.rows(gain, [3]), folded.tensor(gain)[3:4])


def test_outlier_channels_are_smoothed(smoothed: dict[str, Smoothed]) -> None:
    assert len(smoothed) == 9
    for name, one in smoothed.items():
        assert one.after < 0.7 * one.before, name
        assert one.strength in STRENGTHS
        is_outlier = np.arange(len(one.exponents)) % 16 == 0
        assert one.exponents[is_outlier].min() > np.median(one.exponents[~is_outlier])
    assert tell_smoothing(smoothed).startswith("9 of 9 layers; mean error of their INT8 output")


def test_pieces_give_the_same(
    checkpoint: Checkpoint, smoothed: dict[str, Smoothed], tmp_path: Path
) -> None:
    def open_pieces(path: Path, **how):
        return PiecewiseGraph(path, **how, budget_bytes=60_000)

    again = search_strengths(run(checkpoint, tmp_path, open_pieces))
    assert {name: one.to_json() for name, one in again.items()} == {
        name: one.to_json() for name, one in smoothed.items()
    }
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def layer(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Rows (64, 32) and weights (48, 32) without outliers."""
    shapes = ((64, 32), (48, 32))
    rows, weights = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return rows, weights


def search(rows: FloatArray, weights: FloatArray) -> Smoothed:
    return find_strength(rows, np.abs(rows).max(axis=0), weights)


def test_no_layer_gets_worse(layer: tuple[FloatArray, FloatArray]) -> None:
    rows, weights = layer
    plain = search(rows, weights)
    assert plain.after <= plain.before
    weights[:, 5] *= 100  # spread in the weights already: more of it would only harm
    assert search(rows, weights).after <= search(rows, weights).before


def test_strength_follows_the_outliers(layer: tuple[FloatArray, FloatArray]) -> None:
    rows, weights = layer
    rows[:, 7] *= 100
    found = search(rows, weights)
    assert found.after < 0.3 * found.before
    assert found.exponents.argmax() == 7


def test_channels_of_zeros_are_left_alone(layer: tuple[FloatArray, FloatArray]) -> None:
    rows, weights = layer
    rows[:, 7] *= 100
    rows[:, 3] = 0
    weights[:, 4] = 0
    assert search(rows, weights).exponents[[3, 4]].tolist() == [0, 0]
    nothing = search(np.zeros_like(rows), weights)
    assert (nothing.strength, nothing.before, nothing.after) == (0, 0, 0)


def test_a_record_is_read_as_it_was_written(smoothed: dict[str, Smoothed], tmp_path: Path) -> None:
    path = tmp_path / "smoothing.json"
    write_smoothing(path, smoothed)
    assert len(path.read_text().splitlines()) == 2 + 9
    for name, one in read_smoothing(path).items():
        assert one.to_json() == smoothed[name].to_json()
    for content in ("", "[]", '{"a": {}}', '{"a": 1}'):
        path.write_text(content)
        with pytest.raises(CalibrationError, match="is no record of smoothing"):
            read_smoothing(path)


def test_what_int8_fails_passes_smoothed(folder: Path, tmp_path: Path) -> None:
    recipe = ExportRecipe(
        image_height=56,
        image_width=84,
        target="tensorrt",
        vision="int8",
        llm="int4",
        num_parity_pairs=2,
        max_new_tokens=2,
    )
    calibration = CalibrationPairs("generated boards", PAIRS)
    with pytest.raises(ParityError, match="first at the stage 'block_0'"):
        export_bundle(folder, tmp_path / "plain", recipe, pairs=PAIRS, calibration=calibration)
    recipe = replace(recipe, smooth=True)
    bundle = export_bundle(
        folder, tmp_path / "smooth", recipe, pairs=PAIRS, calibration=calibration
    )
    assert {"ranges.json", "smoothing.json"} <= set(bundle.manifest.files)
