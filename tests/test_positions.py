"""M-RoPE ids of text, image and comparison tokens, and the rotary tables made of them."""

from __future__ import annotations

import numpy as np
import pytest

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.positions import (
    PLACE_WAVES,
    ImageSpan,
    TextSpan,
    grid_places,
    mrope_positions,
    place_waves,
    rotary_tables,
)

# The worked example of the AD-Copilot spec, section 5.
IMAGE = ImageSpan(rows=18, cols=18, num_comparison=100)
SPANS = (TextSpan(15), IMAGE, TextSpan(2), IMAGE, TextSpan(30))
FIRST_CELLS, FIRST_COMPARISON = slice(15, 339), slice(339, 439)
SECOND_CELLS, SECOND_COMPARISON = slice(441, 765), slice(765, 865)


@pytest.mark.parametrize(
    ("mode", "second_image", "final_text", "delta"),
    [
        ("shared", 18, (19, 48), -846),
        ("diagonal", 117, (217, 246), -648),
        # By the rule: 18 cells a side move the text on by 18, 15 + 18 + 2 = 35 and 35 + 18 = 53.
        ("diagonal_scaled", 35, (53, 82), -812),
    ],
)
def test_the_worked_example(mode, second_image, final_text, delta):
    positions = mrope_positions(SPANS, mode)
    ids = positions.ids
    assert ids.shape == (3, 895)
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(ids[:, :15], np.tile(np.arange(15), (3, 1)))
    for cells, base in ((FIRST_CELLS, 15), (SECOND_CELLS, second_image)):
        np.testing.assert_array_equal(ids[:, cells].min(axis=1), [base, base, base])
        np.testing.assert_array_equal(ids[:, cells].max(axis=1), [base, base + 17, base + 17])
        np.testing.assert_array_equal(ids[:, cells][:, 19], [base, base + 1, base + 1])
    assert (ids[0, -30], ids[0, -1]) == final_text
    assert positions.next_text == final_text[1] + 1
    assert positions.maximum + 1 - ids.shape[1] == delta


@pytest.mark.parametrize(
    ("mode", "first", "last"),
    [
        ("shared", (18, 18, 18), (18, 18, 18)),
        ("diagonal", (117, 117, 117), (117, 216, 216)),
        ("diagonal_scaled", (35, 35, 35), (35, 52, 52)),
    ],
)
def test_comparison_tokens_of_the_second_image(mode, first, last):
    comparison = mrope_positions(SPANS, mode).ids[:, SECOND_COMPARISON]
    assert tuple(comparison[:, 0]) == first
    assert tuple(comparison[:, -1]) == last


@pytest.mark.parametrize("mode", ["shared", "diagonal", "diagonal_scaled", "grid"])
def test_without_comparison_tokens_the_modes_agree_with_the_stock_rule(mode):
    positions = mrope_positions((TextSpan(3), ImageSpan(2, 4, 0), TextSpan(1)), mode)
    expected = [
        [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 7],
        [0, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4, 7],
        [0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 7],
    ]
    np.testing.assert_array_equal(positions.ids, expected)


@pytest.mark.parametrize("mode", ["shared", "diagonal", "diagonal_scaled"])
def test_parts_continue_as_the_whole(mode):
    whole = mrope_positions(SPANS, mode)
    start = mrope_positions(SPANS[:3], mode)
    rest = mrope_positions(SPANS[3:], mode, after=start)
    np.testing.assert_array_equal(np.hstack([start.ids, rest.ids]), whole.ids)
    assert (rest.next_text, rest.maximum) == (whole.next_text, whole.maximum)


def test_the_maximum_stays_where_shared_text_falls_back_behind_an_image():
    image = mrope_positions([TextSpan(1), ImageSpan(30, 30, 4)], "shared")
    assert (image.next_text, image.maximum) == (2, 30)
    text = mrope_positions([TextSpan(2)], "shared", after=image)
    assert (text.next_text, text.maximum) == (4, 30)


def test_nothing_follows_nothing():
    positions = mrope_positions([], "shared")
    assert (positions.ids.shape, positions.next_text, positions.maximum) == ((3, 0), 0, -1)


def test_a_grid_of_comparison_tokens_lies_over_the_cells():
    positions = mrope_positions([TextSpan(2), ImageSpan(4, 6, 9), TextSpan(1)], "grid")
    comparison = positions.ids[:, 2 + 24 : -1] - 2
    assert comparison.tolist() == [
        [0] * 9,
        [0, 0, 0, 1, 1, 1, 2, 2, 2],
        [0, 2, 4, 0, 2, 4, 0, 2, 4],
    ]
    assert positions.ids[0, -1] == 2 + 6


def test_a_grid_needs_a_square_number_of_tokens():
    with pytest.raises(ConfigError, match="square number of comparison tokens, got 6"):
        mrope_positions([ImageSpan(4, 6, 6)], "grid")


def test_places_of_a_grid_are_the_middles_of_its_cells():
    places = grid_places(4, 6, 4)
    assert places.tolist() == [[0.5, 1.0], [0.5, 4.0], [2.5, 1.0], [2.5, 4.0]]


def test_waves_tell_every_place_apart_and_know_the_middle():
    places = np.indices((4, 6), dtype=np.float32).reshape(2, -1).T
    waves = place_waves(places, 4, 6)
    assert waves.shape == (24, PLACE_WAVES)
    assert len(np.unique(waves.round(5), axis=0)) == 24
    (middle,) = place_waves(np.array([[1.5, 2.5]], dtype=np.float32), 4, 6)
    half_turns = np.tile([0.5, 1, 2, 4, 8], 2)
    expected = np.concatenate([np.sin(np.pi * half_turns), np.cos(np.pi * half_turns)])
    np.testing.assert_allclose(middle, expected, atol=1e-5)


def test_an_unknown_mode_is_a_config_error():
    with pytest.raises(ConfigError, match="shared, diagonal, diagonal_scaled, grid, got 'spiral'"):
        mrope_positions(SPANS, "spiral")  # type: ignore[arg-type]


def test_each_section_takes_the_angle_of_its_axis():
    ids = np.array([[1], [2], [3]])
    cos, sin = rotary_tables(ids, theta=10_000.0, sections=(2, 3, 3), head_dim=16)
    angles = np.array([1, 1, 2, 2, 2, 3, 3, 3]) * 10_000.0 ** (-np.arange(8) / 8)
    np.testing.assert_allclose(cos[0], np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(sin[0], np.sin(angles), atol=1e-6)
    assert cos.dtype == sin.dtype == np.float32


def test_sections_must_fill_half_a_head():
    with pytest.raises(ConfigError, match=r"sum to head_dim / 2 = 8, got \[2, 3\]"):
        rotary_tables(np.zeros((3, 1), np.int64), theta=1e4, sections=(2, 3), head_dim=16)
