"""The light descriptor: it finds the same pose, whatever the light, and knows colours apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw

from adcopilot_edge.training.chat_ad.likeness import describe_picture


def draw_part(
    *,
    turn: float = 0,
    shift: tuple[int, int] = (0, 0),
    light: float = 1.0,
    slope: float = 0.0,
    seed: int = 0,
    colour: tuple[int, int, int] = (180, 175, 170),
) -> Image.Image:
    """A bracket with a hole on a darker ground, with sensor noise; ``slope`` lights one side."""
    canvas = Image.new("RGB", (240, 160), (60, 62, 66))
    part = Image.new("RGBA", (240, 160))
    draw = ImageDraw.Draw(part)
    draw.rectangle((80, 30, 105, 130), fill=(*colour, 255))
    draw.rectangle((80, 105, 165, 130), fill=(*colour, 255))
    draw.ellipse((84, 40, 100, 56), fill=(30, 30, 30, 255))
    part = part.rotate(turn, resample=Image.Resampling.BILINEAR, translate=shift)
    canvas.paste(part, mask=part)
    pixels = np.asarray(canvas, dtype=np.float64) * light
    pixels *= 1 + slope * np.linspace(-1, 1, 240)[None, :, None]
    pixels += np.random.default_rng(seed).normal(0, 3, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def nearest(query: Image.Image, templates: Sequence[Image.Image]) -> int:
    vectors = np.stack([describe_picture(one) for one in templates])
    return int((vectors @ describe_picture(query)).argmax())


TURNS = tuple(range(0, 360, 30))


@pytest.mark.parametrize("light", [0.6, 1.3])
def test_the_part_that_is_turned_the_same_is_found(light: float) -> None:
    templates = [draw_part(turn=turn, seed=turn) for turn in TURNS]
    for number, turn in enumerate(TURNS):
        query = draw_part(turn=turn + 4, shift=(3, -2), light=light, slope=0.2, seed=7000 + turn)
        assert nearest(query, templates) == number


def test_the_part_that_lies_at_the_same_place_is_found() -> None:
    shifts = [(x, y) for x in (-40, 0, 40) for y in (-20, 0, 20)]
    templates = [draw_part(shift=shift, seed=n) for n, shift in enumerate(shifts)]
    for number, (x, y) in enumerate(shifts):
        query = draw_part(shift=(x + 4, y - 3), light=0.7, slope=-0.2, seed=100 + number)
        assert nearest(query, templates) == number


def test_the_variant_of_the_same_colour_is_found() -> None:
    colours = [(190, 60, 50), (60, 150, 70), (70, 80, 190), (175, 175, 175)]
    templates = [draw_part(colour=colour, seed=n) for n, colour in enumerate(colours)]
    for number, colour in enumerate(colours):
        query = draw_part(colour=colour, shift=(3, 2), light=0.8, seed=50 + number)
        assert nearest(query, templates) == number


def test_a_defect_hides_no_pose() -> None:
    templates = [draw_part(turn=turn) for turn in (0, 90, 180, 270)]
    query = draw_part(turn=180, seed=5)
    ImageDraw.Draw(query).ellipse((100, 60, 135, 95), fill=(240, 240, 240))
    assert nearest(query, templates) == 2


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64), (1000, 20)])
def test_any_size_gives_a_vector_of_length_one(size: tuple[int, int]) -> None:
    vector = describe_picture(Image.new("RGB", size, (10, 20, 30)))
    assert vector.shape == (801,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_pictures_that_show_nothing_are_alike() -> None:
    """Noise of a grey level is no pattern; without a floor their likeness would be chance."""
    rng = np.random.default_rng(0)
    flat = [
        Image.fromarray((level + rng.integers(0, 2, (64, 64, 3))).astype(np.uint8))
        for level in (120, 180)
    ]
    assert describe_picture(flat[0]) @ describe_picture(flat[1]) > 0.5
    assert describe_picture(flat[0]) @ describe_picture(draw_part()) < 0.5
