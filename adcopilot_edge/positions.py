"""M-RoPE position ids of text, image and comparison tokens, and the rotary tables made of them.

One rule for the whole project: the torch model, the exporter's proof and the device runtime all
call these functions. Knows nothing of token ids, prompts or weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.types import FloatArray, IntArray

ComparePositionMode = Literal["shared", "diagonal", "diagonal_scaled", "grid"]
COMPARE_POSITION_MODES: tuple[ComparePositionMode, ...] = get_args(ComparePositionMode)

PLACE_WAVES = 20
"""Numbers that tell a place: sine and cosine of five waves along two axes."""


@dataclass(frozen=True, slots=True)
class TextSpan:
    """``length`` text tokens in a row."""

    length: int


@dataclass(frozen=True, slots=True)
class ImageSpan:
    """The tokens of one image: ``rows * cols`` merged cells, then ``num_comparison`` more."""

    rows: int
    cols: int
    num_comparison: int


@dataclass(frozen=True, slots=True)
class Positions:
    """Position ids of a token sequence.

    ids: (3, T) int64, the temporal, height and width id of each token. next_text: where a text
    token that follows starts. maximum: the largest id so far, -1 when there is none; generated
    tokens count on from it (upstream's ``rope_deltas``).
    """

    ids: IntArray
    next_text: int
    maximum: int


EMPTY = Positions(ids=np.zeros((3, 0), dtype=np.int64), next_text=0, maximum=-1)


def mrope_positions(
    spans: Iterable[TextSpan | ImageSpan],
    mode: ComparePositionMode,
    *,
    after: Positions = EMPTY,
) -> Positions:
    """The positions of ``spans`` that follow ``after``.

    Text and image cells follow transformers' ``Qwen2_5_VLModel.get_rope_index``: an image that
    starts at b holds the ids (b, b + row, b + col) and moves the next text to b + max(rows, cols).
    Comparison token k of L follows the AD-Copilot spec, section 5:

    - ``shared`` (the released code): (b, b, b); the next text starts at b + 1.
    - ``diagonal`` (the paper's figure): (b, b + k, b + k); next text at b + max(L, rows, cols).
    - ``diagonal_scaled``: the diagonal scaled to the grid; next text at b + max(rows, cols).
    - ``grid``: a square of tokens laid over the image's cells, k row by row, so that L must be a
      square number; next text at b + max(rows, cols).

    Returns only the new ids; ``next_text`` and ``maximum`` take ``after`` into account.
    """
    if mode not in COMPARE_POSITION_MODES:
        raise ConfigError(
            "compare_position_mode must be one of "
            f"{', '.join(COMPARE_POSITION_MODES)}, got {mode!r}"
        )
    blocks: list[IntArray] = [EMPTY.ids]
    start = after.next_text
    for span in spans:
        if isinstance(span, TextSpan):
            blocks.append(np.broadcast_to(np.arange(span.length) + start, (3, span.length)))
            start += span.length
            continue
        cells = np.indices((1, span.rows, span.cols)).reshape(3, -1) + start
        blocks.append(cells)
        if span.num_comparison:
            comparison, step = _comparison_positions(span, mode)
            blocks.append(comparison + start)
        else:
            step = max(span.rows, span.cols)
        start += step
    ids = np.concatenate(blocks, axis=1).astype(np.int64)
    maximum = int(ids.max()) if ids.size else -1
    return Positions(ids=ids, next_text=start, maximum=max(after.maximum, maximum))


def _comparison_positions(span: ImageSpan, mode: ComparePositionMode) -> tuple[IntArray, int]:
    """Ids of the comparison tokens relative to the image's start, and the step to the next text."""
    count = span.num_comparison
    ids = np.zeros((3, count), dtype=np.int64)
    if mode == "shared":
        return ids, 1
    index = np.arange(count)
    if mode == "grid":
        side = math.isqrt(count)
        if side**2 != count:
            raise ConfigError(
                "compare_position_mode grid needs a square number of comparison tokens, "
                f"got {count}"
            )
        ids[1] = index // side * span.rows // side
        ids[2] = index % side * span.cols // side
        return ids, max(span.rows, span.cols)
    if mode == "diagonal":
        ids[1:] = index
        return ids, max(count, span.rows, span.cols)
    ids[1] = index * span.rows // count
    ids[2] = index * span.cols // count
    return ids, max(span.rows, span.cols)


def grid_places(rows: int, columns: int, count: int) -> FloatArray:
    """Where ``count`` comparison tokens stand in an image: (count, 2) float32, row and column.

    They stand on the middles of a square grid's cells, in units of patches; place 0 is the middle
    of the first patch. count: a square number.
    """
    side = math.isqrt(count)
    row, column = np.indices((side, side), dtype=np.float32).reshape(2, -1) + np.float32(0.5)
    places = np.stack([row * (rows / side), column * (columns / side)], axis=1)
    return np.asarray(places - 0.5, dtype=np.float32)


def place_waves(places: FloatArray, rows: int, columns: int) -> FloatArray:
    """What ``compare_patch_places`` tells of a place: (N, PLACE_WAVES) float32 in -1..1.

    Sines and cosines of the row and the column in half turns of 1, 2, 4, 8 and 16 an image side.
    places: (N, 2), as in ``grid_places``, on a grid of ``rows`` by ``columns`` patches.
    """
    share = (places + 0.5) / np.array([rows, columns], dtype=np.float32)
    angles = (np.pi * share[..., None] * 2 ** np.arange(PLACE_WAVES // 4)).reshape(len(places), -1)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def rotary_tables(
    ids: IntArray, *, theta: float, sections: Sequence[int], head_dim: int
) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine, each (T, head_dim / 2) float32, of ``ids`` (3, T).

    Frequency f takes its angle from the axis its section belongs to, sections cycling through
    temporal, height, width (transformers' ``Qwen2_5_VLRotaryEmbedding``). Row t already mixes the
    three axes, so a graph needs no knowledge of M-RoPE.
    """
    half = head_dim // 2
    if sum(sections) != half:
        raise ConfigError(f"mrope_section must sum to head_dim / 2 = {half}, got {list(sections)}")
    # float32 throughout, as upstream: the angle of a late position differs in float64.
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    inv_freq = np.float32(1.0) / np.power(np.float32(theta), exponents)
    axis = np.repeat(np.arange(len(sections)) % 3, sections)
    angles = ids.astype(np.float32)[axis].T * inv_freq
    return np.cos(angles), np.sin(angles)
