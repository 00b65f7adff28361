"""Place, size, contrast and shape of defects, each against drawings of which one knows them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from adcopilot_edge.training.chat_ad.contrast import contrast_word, to_lab
from adcopilot_edge.training.chat_ad.facts import facts_of, size_word
from adcopilot_edge.training.chat_ad.merging import merged_boxes
from adcopilot_edge.training.chat_ad.outline import Outline
from adcopilot_edge.training.chat_ad.shape import hull_area, shape_word
from adcopilot_edge.training.places import place_word
from adcopilot_edge.types import BBox, ImageArray, MaskArray

SHAPE = (300, 400)


def blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("1", SHAPE[::-1])
    return image, ImageDraw.Draw(image)


def outline_of(mask: MaskArray, *, is_exact: bool = True) -> Outline:
    """The outline of a mask; not exact: of its boxes alone."""
    boxes = merged_boxes(mask)
    left, top = int(min(box[0] for box in boxes)), int(min(box[1] for box in boxes))
    right, bottom = int(max(box[2] for box in boxes)), int(max(box[3] for box in boxes))
    filled = mask.copy()
    if not is_exact:
        for x1, y1, x2, y2 in boxes:
            filled[int(y1) : int(y2), int(x1) : int(x2)] = True
    part = filled[top:bottom, left:right]
    return Outline(boxes=tuple(boxes), left=left, top=top, mask=part, is_exact=is_exact)


def square(side: int = 20) -> MaskArray:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[100 : 100 + side, 150 : 150 + side] = True
    return mask


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ((0, 0, 10, 10), "upper left"),
        ((150, 0, 250, 50), "upper centre"),
        ((390, 0, 400, 10), "upper right"),
        ((0, 140, 10, 160), "middle left"),
        ((0, 0, 400, 300), "centre"),
        ((390, 290, 400, 300), "lower right"),
    ],
)
def test_places(box: BBox, word: str) -> None:
    assert place_word(box, height=300, width=400) == word


@pytest.mark.parametrize(
    ("area", "word"),
    [
        (0.0, "tiny"),
        (0.00099, "tiny"),
        (0.001, "small"),
        (0.0099, "small"),
        (0.01, "medium"),
        (0.099, "medium"),
        (0.1, "large"),
        (1.0, "large"),
    ],
)
def test_sizes(area: float, word: str) -> None:
    assert size_word(area) == word


def test_lab_of_known_colours() -> None:
    """sRGB's white, mid-grey, red and blue, as colour tables give them (D65)."""
    colours = np.array([[255, 255, 255], [119, 119, 119], [255, 0, 0], [0, 0, 255], [0, 0, 0]])
    expected = [[100, 0, 0], [50.03, 0, 0], [53.24, 80.09, 67.2], [32.3, 79.19, -107.86], [0, 0, 0]]
    assert to_lab(colours.astype(np.uint8)) == pytest.approx(np.array(expected), abs=0.1)


def paint(mask: MaskArray, colour: tuple[int, int, int], *, noise: float = 2) -> ImageArray:
    pixels = np.full((*SHAPE, 3), 120.0)
    pixels[mask] = colour
    pixels += np.random.default_rng(0).normal(0, noise, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


CONTRASTS = [
    ((80, 80, 80), "darker"),
    ((170, 170, 170), "brighter"),
    ((150, 105, 110), "differently coloured"),
    ((122, 122, 122), "similar in tone"),
]


@pytest.mark.parametrize(("colour", "word"), CONTRASTS)
def test_contrast_against_what_surrounds(colour: tuple[int, int, int], word: str) -> None:
    mask = square()
    assert contrast_word(paint(mask, colour), outline_of(mask), mask, None) == word


@pytest.mark.parametrize(("colour", "word"), CONTRASTS)
def test_contrast_against_an_aligned_template_in_other_light(
    colour: tuple[int, int, int], word: str
) -> None:
    """The template is a step edge, so a ring would mislead; it is a third brighter as a whole."""
    mask = square()
    scene = np.full((*SHAPE, 3), 120.0)
    scene[:, :150] = 30
    template = (scene * 1.05).astype(np.uint8)
    scene[mask] = colour
    assert contrast_word(scene.astype(np.uint8), outline_of(mask), mask, template) == word


def test_a_box_around_a_small_change_shows_it_against_the_template() -> None:
    template = paint(square(), (120, 120, 120), noise=0)
    picture = template.copy()
    picture[105:108, 155:158] = 20
    outline = outline_of(square(), is_exact=False)
    assert contrast_word(picture, outline, square(), template) == "darker"
    assert contrast_word(picture, outline, square(), None) is None
    assert contrast_word(template, outline, square(), template) == "similar in tone"


def test_changes_to_both_sides_have_no_word() -> None:
    template = paint(square(), (120, 120, 120), noise=0)
    picture = template.copy()
    picture[100:120, 150:160] = 60
    picture[100:120, 160:170] = 180
    assert contrast_word(picture, outline_of(square()), square(), template) is None


def test_texture_is_no_contrast() -> None:
    mask = square()
    picture = paint(mask, (104, 104, 104), noise=60)
    assert contrast_word(picture, outline_of(mask), mask, None) == "similar in tone"


def test_other_defects_are_no_surroundings() -> None:
    mask, other = square(), np.zeros(SHAPE, dtype=np.bool_)
    other[94:126, 144:176] = True
    picture = paint(other, (20, 20, 20))
    picture[mask] = 90
    assert contrast_word(picture, outline_of(mask), mask, None) == "brighter"
    assert contrast_word(picture, outline_of(mask), mask | other, None) is None


def test_a_defect_that_fills_the_image_has_no_surroundings() -> None:
    mask = np.ones(SHAPE, dtype=np.bool_)
    assert contrast_word(paint(mask, (9, 9, 9)), outline_of(mask), mask, None) is None


def draw_shape(name: str) -> MaskArray:
    image, draw = blank()
    if name == "disc":
        draw.ellipse((100, 100, 140, 140), fill=1)
    elif name == "bar":
        draw.rectangle((100, 100, 104, 150), fill=1)
    elif name == "diagonal":
        draw.line((50, 50, 200, 180), fill=1, width=4)
    elif name == "thin line":
        draw.line((50, 50, 80, 50), fill=1, width=1)
    elif name == "broken line":
        for start in range(40, 300, 50):
            draw.line((start, 100, start + 42, 102), fill=1, width=3)
    elif name == "star":
        points = [
            (200 + r * math.cos(n * math.pi / 5), 150 + r * math.sin(n * math.pi / 5))
            for n, r in enumerate([60, 18] * 5)
        ]
        draw.polygon(points, fill=1)
    elif name == "ring":
        draw.arc((100, 100, 160, 160), 0, 320, fill=1, width=4)
    elif name == "dots":
        for x, y in [(30, 40), (200, 60), (320, 230), (100, 250)]:
            draw.ellipse((x, y, x + 12, y + 12), fill=1)
    elif name == "crumbs":
        for n in range(12):
            x, y = 150 + 18 * (n % 4), 100 + 17 * (n // 4)
            draw.rectangle((x, y, x + 14 - 3 * (n % 3), y + 3), fill=1)
    elif name == "two dots":
        draw.ellipse((100, 100, 112, 112), fill=1)
        draw.ellipse((300, 100, 330, 130), fill=1)
    elif name == "speck":
        draw.rectangle((100, 100, 102, 102), fill=1)
    return np.asarray(image)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("disc", "compact"),
        ("bar", "elongated"),
        ("diagonal", "elongated"),
        ("thin line", "elongated"),
        ("broken line", "elongated"),
        ("star", "irregular"),
        ("ring", "irregular"),
        ("dots", "scattered"),
        ("crumbs", "scattered"),
        ("two dots", "compact"),
        ("speck", None),
    ],
)
def test_shapes(name: str, word: str | None) -> None:
    assert shape_word(outline_of(draw_shape(name))) == word


@pytest.mark.parametrize(("name", "word"), [("bar", "elongated"), ("disc", None), ("dots", None)])
def test_boxes_alone_tell_little_of_a_shape(name: str, word: str | None) -> None:
    assert shape_word(outline_of(draw_shape(name), is_exact=False)) == word


def test_the_hull_of_pixels_is_that_of_their_squares() -> None:
    rng = np.random.default_rng(3)
    assert hull_area(np.ones((1, 1), dtype=np.bool_)) == 1
    assert hull_area(np.eye(4, dtype=np.bool_)) == 4 * 4 - 3 * 3
    for _ in range(30):
        mask = rng.random((7, 9)) < 0.2
        if mask.any():
            assert hull_area(mask) == pytest.approx(_slow_hull_area(mask))


def _slow_hull_area(mask: MaskArray) -> float:
    """By gift wrapping around all corners of all pixels."""
    corners = sorted({(x + a, y + b) for y, x in np.argwhere(mask) for a in (0, 1) for b in (0, 1)})
    hull: list[tuple[int, int]] = []
    at = corners[0]
    while not hull or at != hull[0]:
        hull.append(at)
        best = corners[0] if corners[0] != at else corners[1]
        for one in corners:
            turn = (best[0] - at[0]) * (one[1] - at[1]) - (best[1] - at[1]) * (one[0] - at[0])
            is_farther = math.dist(one, at) > math.dist(best, at)
            if one != at and (turn < 0 or (turn == 0 and is_farther)):
                best = one
        at = best
    pairs = zip(hull, [*hull[1:], hull[0]], strict=True)
    return abs(sum(a * d - c * b for (a, b), (c, d) in pairs)) / 2


def test_facts_are_of_all_boxes_together() -> None:
    mask = draw_shape("two dots")
    picture = paint(mask, (30, 30, 30))
    facts = facts_of(outline_of(mask), picture, mask, None)
    assert facts.place == "middle right"
    assert facts.area == mask.sum() / mask.size
    assert (facts.size, facts.contrast, facts.shape) == ("small", "darker", "compact")
