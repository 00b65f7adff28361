"""Health: known shifts, light, colours and blur come back as numbers; limits only add notes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.health import HealthCheck, HealthLimits, View, measure_health
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import Health

MARGIN = 40
HEIGHT, WIDTH = 300, 400


@pytest.fixture
def scene(rng):
    """Round parts on a board with texture and noise, with a margin around what is seen."""
    rows, cols = np.mgrid[: HEIGHT + 2 * MARGIN, : WIDTH + 2 * MARGIN]
    values = 90 + 20 * np.sin(rows / 17) + 15 * np.cos((rows + 2 * cols) / 23)
    for _ in range(40):
        y, x = rng.uniform(0, rows.shape[0]), rng.uniform(0, rows.shape[1])
        values += rng.uniform(-60, 60) / (
            1 + np.exp(np.hypot(rows - y, cols - x) - rng.uniform(5, 30))
        )
    colours = values[..., None] * np.array([1.0, 0.9, 0.7]) + rng.normal(0, 2, (*rows.shape, 3))
    return as_image(colours)


def as_image(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def view(scene, dx=0, dy=0):
    """What a camera sees whose content lies dx to the right and dy below."""
    return scene[MARGIN - dy : MARGIN - dy + HEIGHT, MARGIN - dx : MARGIN - dx + WIDTH].copy()


def blurred(image, sigma):
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def test_the_golden_itself_is_healthy(scene):
    health = measure_health(view(scene), view(scene))
    numbers = health.to_json()
    assert numbers == {
        "offset_x": 0,
        "offset_y": 0,
        "brightness": 1,
        "colour_shift": 0,
        "sharpness": 1,
        "similarity": 1,
    }


@pytest.mark.parametrize(
    "shift", [(1, 0), (0, -1), (3, -2), (7, 12), (-20, 31), (-37, -40)], ids=str
)
def test_a_shift_comes_back_in_pixels(scene, shift):
    health = measure_health(view(scene), view(scene, *shift))
    np.testing.assert_allclose((health.offset_x, health.offset_y), shift, atol=0.15)
    assert health.similarity > 0.9
    assert health.brightness == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("scale", [2, 5])
def test_a_shift_of_a_large_picture_is_in_its_own_pixels(scene, scale):
    golden, test = (
        np.asarray(Image.fromarray(image).resize((scale * WIDTH, scale * HEIGHT)))
        for image in (view(scene), view(scene, 4, -7))
    )
    health = measure_health(golden, test)
    offset = health.offset_x, health.offset_y
    np.testing.assert_allclose(offset, (4 * scale, -7 * scale), atol=0.2 * scale)
    small = np.asarray(Image.fromarray(golden).resize((WIDTH, HEIGHT)))
    other = measure_health(small, test)
    np.testing.assert_allclose((other.offset_x, other.offset_y), offset, atol=0.2 * scale)


def test_part_of_a_pixel(scene):
    double = np.asarray(Image.fromarray(scene).resize((2 * scene.shape[1], 2 * scene.shape[0]), 3))
    small = [
        np.asarray(Image.fromarray(double[:, start : start + 800]).resize((400, scene.shape[0]), 3))
        for start in (41, 40)
    ]
    assert measure_health(*small).offset_x == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("gain", [0.5, 0.8, 1.25])
def test_exposure_is_a_ratio_and_nothing_else(scene, gain):
    health = measure_health(view(scene), as_image(view(scene) * gain))
    assert health.brightness == pytest.approx(gain, abs=0.01)
    assert health.offset_px < 0.1
    assert health.colour_shift < 0.005
    assert health.sharpness == pytest.approx(1, abs=0.15)  # rounding is noise, more so in the dark
    assert health.similarity > 0.99


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_colour_drift_is_the_change_of_a_share(scene, channel):
    golden = view(scene)
    gains = np.ones(3)
    gains[channel] = 1.1
    test = as_image(golden * gains)
    shares = [it.mean(axis=(0, 1)) / it.mean(axis=(0, 1)).sum() for it in (golden, test)]
    health = measure_health(golden, test)
    assert health.colour_shift == pytest.approx(np.abs(shares[1] - shares[0]).max(), abs=1e-4)
    assert 0.01 < health.colour_shift < 0.04
    assert health.offset_px < 0.1


def test_blur_lowers_sharpness_step_by_step(scene):
    golden = view(scene)
    found = [measure_health(golden, blurred(golden, sigma)) for sigma in (0.5, 1, 2, 4)]
    sharpness = [it.sharpness for it in found]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] < 0.95
    assert sharpness[2] < 0.1
    assert all(it.offset_px < 0.3 for it in found)
    assert measure_health(blurred(golden, 2), golden).sharpness == pytest.approx(
        1 / sharpness[2], rel=1e-6
    )


def test_a_turned_camera_and_another_product_are_not_similar(scene, rng):
    golden = view(scene)
    turned = np.asarray(Image.fromarray(scene).rotate(10, Image.Resampling.BILINEAR))
    similar = measure_health(golden, view(turned)).similarity
    assert similar < 0.8
    noise = rng.integers(0, 256, golden.shape, dtype=np.uint8)
    assert abs(measure_health(golden, noise).similarity) < 0.2


def test_a_defect_and_noise_are_no_ill_health(scene, rng):
    golden = view(scene)
    test = as_image(golden + rng.normal(0, 1, golden.shape))
    test[100:130, 150:190] = (200, 20, 20)
    health = measure_health(golden, test)
    assert health.offset_px < 0.2
    assert health.brightness == pytest.approx(1, abs=0.02)
    assert health.similarity > 0.8


@pytest.mark.parametrize("shape", [(56, 84), (1, 1), (3, 300), (2, 2)], ids=str)
@pytest.mark.parametrize("values", [(0, 0), (0, 255), (255, 0), (7, 7)], ids=str)
def test_pictures_of_one_colour_have_numbers(shape, values):
    golden, test = (np.full((*shape, 3), value, np.uint8) for value in values)
    numbers = measure_health(golden, test).to_json()
    assert all(np.isfinite(value) for value in numbers.values())
    assert (numbers["offset_x"], numbers["offset_y"], numbers["sharpness"]) == (0, 0, 1)
    json.dumps(numbers, allow_nan=False)


def test_what_is_kept_of_a_golden_is_by_its_pixels_and_bounded(scene):
    check = HealthCheck(HealthLimits(), num_kept=2)
    goldens = {str(shift): view(scene, shift) for shift in (0, 5, 9)}
    for _ in range(2):
        for name, golden in goldens.items():
            health, _ = check.check(golden, name, View.of(view(scene)))
            assert health == measure_health(golden, view(scene))
    assert len(check._views) == 2


SICK = Health(
    offset_x=3, offset_y=-4, brightness=0.7, colour_shift=0.05, sharpness=0.4, similarity=0.6
)


def test_limits_tell_and_no_limits_do_not():
    assert list(HealthLimits().notes(SICK)) == []
    limits = {
        "max_offset_px": 4.9,
        "max_brightness_change": 0.29,
        "max_colour_shift": 0.04,
        "min_sharpness": 0.5,
        "min_similarity": 0.7,
    }
    assert list(HealthLimits(**limits).notes(SICK)) == [
        "health:offset 5.0 px",
        "health:brightness x0.70",
        "health:colour 0.050",
        "health:sharpness x0.40",
        "health:similarity 0.60",
    ]
    kept = {"max_offset_px": 5, "max_brightness_change": 0.31, "max_colour_shift": 0.05}
    assert list(HealthLimits(**kept, min_sharpness=0.4, min_similarity=0.6).notes(SICK)) == []
    with pytest.raises(ConfigError, match="max_offset_px must be at least 0, got -1"):
        HealthLimits(max_offset_px=-1)
    with pytest.raises(ConfigError, match="min_sharpness must be at least 0, got nan"):
        HealthLimits(min_sharpness=float("nan"))


@pytest.mark.parametrize("tile", [False, True])
def test_limits_change_notes_and_no_verdict(toy_bundle, image_pair, tile):
    golden, test = image_pair
    moved = np.roll(test, 14, axis=1)
    strict = HealthLimits(max_offset_px=1, min_similarity=1)
    plain, noted = (
        Inspector.open(toy_bundle.path, num_threads=1, health=limits).inspect(
            golden, moved, tile=tile
        )
        for limits in (None, strict)
    )
    assert plain.health == noted.health
    assert plain.health is not None
    assert "health" in plain.timings_ms
    told = [note for note in noted.notes if note.startswith("health:")]
    assert told
    assert [note for note in noted.notes if note not in told] == [*plain.notes]
    assert (noted.verdict, noted.anomaly_score, noted.defects) == (
        plain.verdict,
        plain.anomaly_score,
        plain.defects,
    )


def test_limits_on_the_command_line(cli, toy_bundle, image_pair, tmp_path):
    paths = [tmp_path / name for name in ("golden.png", "test.png")]
    for path, image in zip(paths, (image_pair[0], image_pair[0] // 2), strict=True):
        Image.fromarray(image).save(path)
    words = ["inspect", *paths, "--bundle", toy_bundle.path, "--threads", 1]
    record = json.loads(cli(*words, "--max-brightness-change", 0.2, "--json")[1])
    assert record["notes"] == [f"health:brightness x{record['health']['brightness']:.2f}"]
    assert "brightness x0.5" in cli(*words)[1]
    assert cli(*words, "--max-offset", -1)[0] == 2
