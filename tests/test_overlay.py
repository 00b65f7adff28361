"""The picture for people: its size, its colours, and where it differs from the images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageColor, features

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.font import fit_text, text_font, wrap_text
from adcopilot_edge.runtime.heat import draw_heat, heat_colours
from adcopilot_edge.runtime.marks import SOURCE_COLOURS, draw_marks
from adcopilot_edge.runtime.overlay import draw_overlay, save_image
from adcopilot_edge.types import Defect, Inspection

NORMAL = Inspection(
    verdict="normal",
    anomaly_score=0.031,
    defects=(),
    text={},
    timings_ms={"vision": 88.0, "prefill": 140.0},
    golden_cached=True,
    bundle="nano",
    provider="CPUExecutionProvider",
    precision="fp32",
)
CRACK = Defect(label="crack", bbox_2d=(80, 100, 130, 140), source="text")
HOT = np.pad(np.ones((1, 1), np.float32), ((9, 6), (5, 10)))  # one hot patch of 16 x 16
PANEL = 560


def grey(height: int = 224, width: int = 224) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    """(H, W) bool: the pixels that differ."""
    return np.asarray(np.any(np.asarray(before) != np.asarray(after), axis=2))


@pytest.mark.parametrize(
    ("height", "width", "columns", "rows"),
    [
        (224, 224, 560, 560),
        (2000, 3000, 840, 560),
        (100, 400, 1120, 280),  # more than twice as wide as high: one below the other
        (400, 100, 140, 560),
    ],
)
@pytest.mark.parametrize("has_map", [False, True])
def test_the_size_follows_from_the_panels(height, width, columns, rows, has_map):
    inspection = dataclasses.replace(NORMAL, anomaly_map=HOT if has_map else None)
    overlay = draw_overlay(grey(height, width), grey(height, width), inspection)
    panels = 3 if has_map else 2
    assert overlay.mode == "RGB"
    if columns == 1120:
        assert overlay.width == columns + 40
        assert overlay.height > panels * rows
    else:
        assert overlay.width == max(760, panels * (columns + 20) + 20)
        assert rows < overlay.height < rows + 250


@pytest.mark.parametrize("verdict", ["normal", "anomaly", "uncertain"])
def test_the_header_has_the_colour_of_the_verdict(verdict):
    overlay = draw_overlay(grey(), grey(), dataclasses.replace(NORMAL, verdict=verdict))
    red, green, blue = (int(value) for value in np.asarray(overlay)[3, 3])
    seen = "anomaly" if red > 2 * green else "normal" if green > 2 * red else "uncertain"
    assert seen == verdict
    assert blue < max(red, green)


def test_boxes_change_the_test_panel_only():
    with_box = dataclasses.replace(NORMAL, defects=(CRACK,))
    plain, marked = (draw_overlay(grey(), grey(), one) for one in (NORMAL, with_box))
    top, left = 72 + 34, PANEL + 40  # below header and caption, right of the golden panel
    rows, columns = np.nonzero(changed(plain, marked)[top : top + PANEL])
    x1, _, x2, y2 = (value * PANEL / 224 for value in CRACK.bbox_2d)
    assert left + x1 - 8 < columns.min() <= left + x1
    assert left + x2 <= columns.max() + 1 < left + x2 + 8
    assert y2 <= rows.max() + 1 < y2 + 8


def test_a_frame_surrounds_its_box_in_the_colour_of_its_source():
    for source in ("text", "map"):
        picture = Image.new("RGB", (400, 400), "black")
        draw_marks(picture, [dataclasses.replace(CRACK, source=source)], scale=2.0)
        pixels = np.asarray(picture)
        assert not pixels[200:280, 160:260].any()  # the defect itself stays visible
        frame = (pixels == ImageColor.getrgb(SOURCE_COLOURS[source])).all(axis=2)
        assert frame[200:280, 150:160].sum(axis=1).min() >= 3
        assert frame[200:280, 260:270].sum(axis=1).min() >= 3
        assert frame[280:290, 160:260].sum(axis=0).min() >= 3


def test_the_labels_of_close_boxes_do_not_hide_each_other():
    near = [
        Defect(label=f"defect {i}", bbox_2d=(100, 100 + 22 * i, 160, 118 + 22 * i), source="map")
        for i in range(4)
    ]
    # A plate's ground is the map colour; had two plates coincided, a fourth would be missing.
    whole = Image.new("RGB", (400, 400), "black")
    draw_marks(whole, near, scale=1.0)
    ground = ImageColor.getrgb(SOURCE_COLOURS["map"])
    single = Image.new("RGB", (400, 400), "black")
    draw_marks(single, near[:1], scale=1.0)
    area = [(np.asarray(one) == ground).all(axis=2).sum() for one in (whole, single)]
    assert area[0] > 3.6 * area[1]


@pytest.mark.parametrize("size", [(3, 3), (16, 1000), (560, 560)])
@pytest.mark.parametrize(
    "bbox", [(-50, -40, 3, 4), (990, 990, 1200, 1100), (0, 0, 1000, 1000), (5, 5, 5.001, 5.001)]
)
def test_boxes_beyond_the_border_are_drawn_inside(size, bbox):
    picture = Image.new("RGB", size, "black")
    draw_marks(picture, [Defect(label="a long label", bbox_2d=bbox, source="text")], scale=0.56)
    assert np.asarray(picture).any()


def test_the_heat_is_where_the_map_is_high():
    picture = Image.fromarray(grey(320, 320))
    pixels = np.asarray(draw_heat(picture, HOT)).astype(int)
    colourful = pixels.max(axis=2) - pixels.min(axis=2)
    row, column = np.unravel_index(colourful.argmax(), colourful.shape)
    assert abs(row - 9.5 * 20) <= 20
    assert abs(column - 5.5 * 20) <= 20
    assert colourful[:100].max() <= 1  # grey elsewhere


def test_the_ramp_gets_lighter_all_the_way():
    colours = heat_colours(np.linspace(0, 1, 64, dtype=np.float32)).astype(float)
    lightness = colours @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness) > 0).all()


def test_words_and_notes_make_the_footer_higher():
    wordy = dataclasses.replace(
        NORMAL, text={"describe": "A crack. " * 200}, notes=("answer_unparsed:locate",)
    )
    plain, longer = (draw_overlay(grey(), grey(), one) for one in (NORMAL, wordy))
    assert longer.height == plain.height + 3 * 26
    assert longer.width == plain.width


def test_text_is_cut_and_wrapped_to_the_width():
    font = text_font(14)
    assert fit_text("short", font, 200) == "short"
    cut = fit_text("a label far too long for its plate", font, 100)
    assert cut.endswith("…")
    assert font.getlength(cut) <= 100
    lines = wrap_text("one two three four five six seven eight nine ten", font, 90, max_lines=3)
    assert len(lines) == 3
    assert all(font.getlength(line) <= 90 for line in lines)
    assert wrap_text("", font, 90, max_lines=3) == []


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("Kratzer über 5 µm", "Kratzer uber 5 um"),
        ("划痕", "??"),
        ("0.2–0.4 × 3", "0.2-0.4 x 3"),  # noqa: RUF001
        ("90 °", "90 °"),
        ("two\nlines\t", "two lines"),
    ],
)
def test_characters_that_the_font_lacks_are_replaced(text, drawn):
    assert fit_text(text, text_font(14), 1000) == drawn


def test_without_freetype_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(features, "check", lambda feature: feature != "freetype2")
    text_font.cache_clear()
    with pytest.raises(ConfigError, match="pip install"):
        draw_overlay(grey(), grey(), NORMAL)


@pytest.mark.parametrize("name", ["a.png", "b.JPG", "c.jpeg", "d.webp", "e.bmp"])
def test_the_extension_chooses_the_format(tmp_path, name):
    save_image(Image.new("RGB", (30, 20), "red"), tmp_path / name)
    with Image.open(tmp_path / name) as saved:
        assert saved.size == (30, 20)
        assert saved.format in {"PNG", "JPEG", "WEBP", "BMP"}
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["overlay.gif", "overlay", "absent/overlay.png"])
def test_an_unknown_extension_or_folder_is_a_config_error(tmp_path, name):
    with pytest.raises(ConfigError, match="can't"):
        save_image(Image.new("RGB", (30, 20)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_encoder_leaves_the_old_picture(tmp_path):
    path = tmp_path / "overlay.jpg"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="RGBA"):
        save_image(Image.new("RGBA", (30, 20)), path)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]
