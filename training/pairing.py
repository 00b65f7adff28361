"""Which images of a batch are compared with each other, and their features in equal rows.

Knows no model (that is ``model.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adcopilot_edge.training.comparison import FeatureBatch


def pad_images(
    index: Sequence[int],
    features: Sequence[Tensor],
    rotary: Sequence[tuple[Tensor, Tensor]] | None,
    waves: Sequence[Tensor] | None = None,
) -> FeatureBatch:
    """Stack the chosen images, zero-padded at the end to the longest (spec 3.4)."""

    def stack(items: list[Tensor]) -> Tensor:
        return nn.utils.rnn.pad_sequence(items, batch_first=True)

    chosen = [features[i] for i in index]
    lengths = [len(item) for item in chosen]
    mask = None
    if len(set(lengths)) > 1:
        columns = torch.arange(max(lengths), device=chosen[0].device)
        mask = columns[None] < torch.tensor(lengths, device=columns.device)[:, None]
    tables = None
    if rotary is not None:
        tables = (stack([rotary[i][0] for i in index]), stack([rotary[i][1] for i in index]))
    places = None if waves is None else stack([waves[i] for i in index])
    return FeatureBatch(stack(chosen), mask, tables, places)


def pair_images(
    images_per_sample: Sequence[int], *, sequence_compare: bool
) -> list[tuple[int, int]]:
    """(previous, current) of every image: its predecessor in the same sample.

    The first image of a sample is paired with itself, or with the sample's last one when
    ``sequence_compare`` is false (spec 3.2).
    """
    pairs: list[tuple[int, int]] = []
    for count in images_per_sample:
        first = len(pairs)
        if count:
            pairs.append((first if sequence_compare else first + count - 1, first))
        pairs.extend((i - 1, i) for i in range(first + 1, first + count))
    return pairs
