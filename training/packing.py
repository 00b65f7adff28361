"""Pack a pair's questions behind one copy of its images, each question blind to the others.

The images cost most of a sample, so all four exchanges share them: every branch attends to the
common prefix and to itself, and its positions continue from the prefix. That is how the runtime
asks, too: one prefill of the images, then a branch for each question. Knows only ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adcopilot_edge.positions import ComparePositionMode, Positions, TextSpan, mrope_positions
from adcopilot_edge.types import IntArray

IGNORED = -100
_PADDING_BRANCH = -1
_LENGTH_STEP = 64  # few distinct lengths: a CPU kernel is prepared anew for each


@dataclass(frozen=True, slots=True)
class Branch:
    """One exchange in ids. kind: the task's index, for losses a task."""

    kind: int
    question: Sequence[int]
    answer: Sequence[int]


@dataclass(frozen=True, slots=True)
class Packed:
    """One sample of T tokens: ids, labels and kinds (T,), positions (3, T), branch (T,).

    branch is 0 in the prefix and counts from 1 behind it. labels hold the id to be predicted *at*
    that place for answer tokens, ``IGNORED`` elsewhere; kinds is -1 where nothing is predicted.
    """

    ids: IntArray
    labels: IntArray
    kinds: IntArray
    positions: IntArray
    branch: IntArray


def pack(
    prefix: Sequence[int],
    prefix_positions: Positions,
    branches: Sequence[Branch],
    mode: ComparePositionMode,
) -> Packed:
    """Lay ``branches`` behind ``prefix``."""
    ids = list(prefix)
    labels = [IGNORED] * len(prefix)
    kinds = [-1] * len(prefix)
    owner = [0] * len(prefix)
    positions = [prefix_positions.ids]
    for number, item in enumerate(branches, start=1):
        length = len(item.question) + len(item.answer)
        ids += [*item.question, *item.answer]
        labels += [IGNORED] * len(item.question) + list(item.answer)
        kinds += [-1] * len(item.question) + [item.kind] * len(item.answer)
        owner += [number] * length
        positions.append(mrope_positions([TextSpan(length)], mode, after=prefix_positions).ids)
    return Packed(
        ids=np.array(ids),
        labels=np.array(labels),
        kinds=np.array(kinds),
        positions=np.concatenate(positions, axis=1),
        branch=np.array(owner),
    )


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Samples padded at the end.

    ids, labels, kinds: (B, T). positions: (3, B, T). mask: (B, 1, T, T), true where visible.
    """

    ids: Tensor
    labels: Tensor
    kinds: Tensor
    positions: Tensor
    mask: Tensor


def collate(samples: Sequence[Packed], *, pad_id: int) -> PackedBatch:
    """Pad and stack, and build the attention mask that keeps branches apart."""
    length = -(-max(len(sample.ids) for sample in samples) // _LENGTH_STEP) * _LENGTH_STEP

    def stack(name: str, fill: int) -> Tensor:
        rows = [getattr(sample, name) for sample in samples]
        padded = [np.pad(row, (0, length - len(row)), constant_values=fill) for row in rows]
        return torch.from_numpy(np.stack(padded))

    positions = [np.pad(s.positions, ((0, 0), (0, length - len(s.ids)))) for s in samples]
    branch = stack("branch", _PADDING_BRANCH)
    same = branch[:, :, None] == branch[:, None, :]
    visible = same | (branch == 0)[:, None, :]
    return PackedBatch(
        ids=stack("ids", pad_id),
        labels=stack("labels", IGNORED),
        kinds=stack("kinds", -1),
        positions=torch.from_numpy(np.stack(positions, axis=1)),
        mask=(visible & torch.ones(length, length, dtype=torch.bool).tril())[:, None],
    )
