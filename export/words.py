"""Settings of an export as a person writes them."""

from __future__ import annotations

import re

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.recipe import BlockSize

_SIZE = re.compile(r"(\d+)(?:x(\d+))?")


def parse_block_size(text: str) -> BlockSize:
    """The block size of ``128`` or ``row``; whether it is a possible one, the recipe says.

    Raises:
        ConfigError: It is neither a number nor ``row``.
    """
    if text == "row":
        return "row"
    if not text.isdecimal():
        raise ConfigError(f"a block size is a number of weights or 'row', got {text!r}")
    return int(text)


def parse_image_size(text: str) -> tuple[int, int]:
    """(height, width) of ``224`` or ``448x560``, height first. Raises ConfigError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ConfigError(f"an image size is written 224 or 448x560 (height x width), got {text!r}")
    height = int(match[1])
    return height, int(match[2] or height)
