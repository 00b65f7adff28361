"""The surfaces by name: how each draws a product and which defects it can have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from adcopilot_edge.training.synthetic import assemblies, textures, unseen
from adcopilot_edge.training.synthetic.binary_boards import damage_layout, draw_binary_board
from adcopilot_edge.training.synthetic.canvas import dilate
from adcopilot_edge.training.synthetic.collage import draw_collage
from adcopilot_edge.training.synthetic.colour_boards import draw_colour_board
from adcopilot_edge.training.synthetic.dials import draw_dial
from adcopilot_edge.training.synthetic.drawing import Drawing, Mark, is_clear
from adcopilot_edge.training.synthetic.records import SURFACE_LABELS
from adcopilot_edge.training.synthetic.sprites import Sprite, compose, spoil_part
from adcopilot_edge.training.synthetic.surface_defects import paint_surface_defect

DrawSurface = Callable[[np.random.Generator, int, int], Drawing]
"""(rng, side of the canvas in pixels, number of defects) -> drawing."""

BINARY_BOARD = "binary board"
COLOUR_BOARD = "colour board"


def _paint_defects(
    rng: np.random.Generator, surface: Image.Image, marks: list[Mark], num_defects: int
) -> Image.Image:
    """``surface`` with painted defects until ``marks``, which grows, holds ``num_defects``."""
    for _ in range(num_defects * 5):
        if len(marks) >= num_defects:
            break
        label = SURFACE_LABELS[int(rng.integers(len(SURFACE_LABELS)))]
        painted = paint_surface_defect(rng, surface, label)
        if painted is not None and is_clear(painted[1].mask, marks):
            surface = painted[0]
            marks.append(painted[1])
    return surface


def _texture(draw: Callable[[np.random.Generator, int], textures.Redraw]) -> DrawSurface:
    """A surface without parts: drawn twice, painted defects on the second."""

    def draw_texture(rng: np.random.Generator, extent: int, num_defects: int) -> Drawing:
        redraw = draw(rng, extent)
        golden, marks = redraw(rng), list[Mark]()
        test = _paint_defects(rng, redraw(rng), marks, num_defects)
        return Drawing(golden, test, tuple(marks))

    return draw_texture


def _spoil_parts(
    rng: np.random.Generator,
    background: Image.Image,
    sprites: list[Sprite],
    marks: list[Mark],
    num_defects: int,
) -> Image.Image:
    """The assembled product; each planned defect is one of a part with even odds."""
    for _ in range(num_defects):
        if rng.random() < 0.45:
            spoiled = spoil_part(rng, background, sprites)
            if spoiled is not None and is_clear(spoiled[1].mask, marks):
                sprites = spoiled[0]
                marks.append(spoiled[1])
    return compose(background, sprites)


def _assembly(draw: Callable[[np.random.Generator, int], assemblies.Assembly]) -> DrawSurface:
    """A surface with parts: missing and misplaced parts, and painted defects."""

    def draw_assembly(rng: np.random.Generator, extent: int, num_defects: int) -> Drawing:
        product = draw(rng, extent)
        golden, marks = compose(product.background, product.sprites), list[Mark]()
        test = _spoil_parts(rng, product.background, product.sprites, marks, num_defects)
        test = _paint_defects(rng, test, marks, num_defects)
        return Drawing(golden, test, tuple(marks))

    return draw_assembly


def _colour_board(rng: np.random.Generator, extent: int, num_defects: int) -> Drawing:
    """A colour board: defects of the copper, of the components, and painted ones."""
    layout, finish, sprites = draw_colour_board(rng, extent)
    bare = finish.render(layout)
    golden, marks = compose(bare, sprites), list[Mark]()
    num_copper = int(rng.binomial(num_defects, 0.6))
    damaged, copper_marks = damage_layout(rng, layout, num_copper)
    if copper_marks:
        bare = finish.render(damaged)
        seen = _visible(golden, compose(bare, sprites), copper_marks)
        if len(seen) < len(copper_marks):
            return _colour_board(rng, extent, num_defects)
        marks += seen
    test = _spoil_parts(rng, bare, sprites, marks, num_defects - len(marks))
    return Drawing(golden, _paint_defects(rng, test, marks, num_defects), tuple(marks))


def _visible(golden: Image.Image, test: Image.Image, marks: list[Mark]) -> list[Mark]:
    """The marks most of whose pixels differ between two renders (a part may cover the others).

    They are grown by the pixel that the soft edges of a render add.
    """
    change = np.abs(np.asarray(test, dtype=np.int16) - np.asarray(golden)).max(axis=2) > 14
    return [Mark(mark.label, dilate(mark.mask)) for mark in marks if change[mark.mask].mean() > 0.6]


DRAW_SURFACE: dict[str, DrawSurface] = {
    BINARY_BOARD: draw_binary_board,
    COLOUR_BOARD: _colour_board,
    "woven": _texture(textures.draw_woven),
    "brushed metal": _texture(textures.draw_brushed),
    "collage": _texture(draw_collage),
    "granular": _texture(textures.draw_granular),
    "printed": _assembly(assemblies.draw_printed),
    "stamped part": _assembly(assemblies.draw_stamped),
    "moulded part": _assembly(assemblies.draw_moulded),
    "ceramic tile": _texture(unseen.draw_ceramic),
    "blister pack": _assembly(unseen.draw_blister),
    "instrument dial": _assembly(draw_dial),
}

SURFACES: tuple[str, ...] = tuple(sorted(DRAW_SURFACE))

_BOARD_SHARES = {BINARY_BOARD: 0.45, COLOUR_BOARD: 0.15}
UNSEEN_SURFACES: tuple[str, ...] = ("blister pack", "ceramic tile", "instrument dial")
"""Drawn only where one asks for them by name: no training has them, so they may measure it."""

_NUM_OTHERS = len(SURFACES) - len(_BOARD_SHARES) - len(UNSEEN_SURFACES)
_OTHER_SHARE = (1.0 - sum(_BOARD_SHARES.values())) / _NUM_OTHERS
TRAINING_SURFACES: tuple[str, ...] = tuple(
    surface for surface in SURFACES if surface not in UNSEEN_SURFACES
)
"""Those that training may draw; the others are for measuring."""

SURFACE_SHARES: tuple[float, ...] = tuple(
    0.0 if surface in UNSEEN_SURFACES else _BOARD_SHARES.get(surface, _OTHER_SHARE)
    for surface in SURFACES
)
"""How often each of ``SURFACES`` is drawn when none is asked for."""
