"""Lay samples out for the language model: ids, labels, positions, and who sees what.

The images cost most of a sample, so all questions about a pair share them: every branch attends to
the common prefix and to itself, and its positions continue from the prefix. That is how the runtime
asks, too: one prefill of the images, then a branch for each question. A dialogue is one sequence
without branches. Knows only ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from adcopilot_edge.positions import ComparePositionMode, Positions, TextSpan, mrope_positions
from adcopilot_edge.types import TASKS, IntArray, Task

Kind = Task | Literal["text"]
KINDS: tuple[Kind, ...] = (*TASKS, "text")
"""What a predicted token belongs to: the answer to one of the tasks, or a dialogue's text."""

IGNORED = -100
_PADDING = -1
_LENGTH_STEP = 64  # few distinct lengths: a CPU kernel is prepared anew for each


@dataclass(frozen=True, slots=True)
class Branch:
    """One exchange in ids. kind: of its answer, by number in ``KINDS``, for losses a kind."""

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

    def __len__(self) -> int:
        return len(self.ids)


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


def sequence(ids: Sequence[int], is_answer: Sequence[bool], positions: Positions) -> Packed:
    """A dialogue of T tokens as one sequence; ``is_answer`` where the assistant speaks."""
    values, answers = np.array(ids, dtype=np.int64), np.array(is_answer, dtype=np.bool_)
    return Packed(
        ids=values,
        labels=np.where(answers, values, IGNORED),
        kinds=np.where(answers, KINDS.index("text"), -1),
        positions=positions.ids,
        branch=np.zeros(len(values), dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Rows of samples, padded at the end. R rows of T tokens.

    ids, labels, kinds: (R, T). positions: (3, R, T). mask: (R, 1, T, T), true where visible; where
    no row has branches or a second sample (R, T), true where there is a token, so that any kernel
    for causal attention will do.
    """

    ids: Tensor
    labels: Tensor
    kinds: Tensor
    positions: Tensor
    mask: Tensor


def fit_rows(lengths: Sequence[int]) -> list[list[int]]:
    """Which samples share a row: as few rows as first-fit finds, none longer than the longest.

    The samples of all rows one behind the other are the order that their images must have.
    """
    room = max(lengths)
    rows: list[tuple[int, list[int]]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        for number, (used, members) in enumerate(rows):
            if used + lengths[index] <= room:
                rows[number] = (used + lengths[index], [*members, index])
                break
        else:
            rows.append((lengths[index], [index]))
    return [members for _, members in rows]


def collate(samples: Sequence[Packed], *, pad_id: int) -> PackedBatch:
    """Pad and stack, a row for each sample."""
    return collate_rows([[sample] for sample in samples], pad_id=pad_id)


def collate_rows(rows: Sequence[Sequence[Packed]], *, pad_id: int) -> PackedBatch:
    """Lay the samples of each row one behind the other; none sees another."""
    longest = max(sum(len(sample) for sample in row) for row in rows)
    length = -(-longest // _LENGTH_STEP) * _LENGTH_STEP

    def stack(name: str, fill: int) -> Tensor:
        joined = [np.concatenate([getattr(sample, name) for sample in row], -1) for row in rows]
        padded = [
            np.pad(
                item,
                [(0, 0)] * (item.ndim - 1) + [(0, length - item.shape[-1])],
                constant_values=fill,
            )
            for item in joined
        ]
        return torch.from_numpy(np.stack(padded, axis=-2))

    return PackedBatch(
        ids=stack("ids", pad_id),
        labels=stack("labels", IGNORED),
        kinds=stack("kinds", -1),
        positions=stack("positions", 0),
        mask=_mask(rows, stack("branch", _PADDING)),
    )


def _mask(rows: Sequence[Sequence[Packed]], branch: Tensor) -> Tensor:
    """The mask of ``PackedBatch`` for rows whose tokens lie in ``branch`` (R, T)."""
    if all(len(row) == 1 for row in rows) and not (branch > 0).any():
        return branch != _PADDING
    same = branch[:, :, None] == branch[:, None, :]
    visible = same | (branch == 0)[:, None, :]
    if any(len(row) > 1 for row in rows):
        owner = torch.full_like(branch, _PADDING)
        for number, row in enumerate(rows):
            lengths = torch.tensor([len(sample) for sample in row])
            members = torch.arange(len(row)).repeat_interleave(lengths)
            owner[number, : len(members)] = members
        visible &= owner[:, :, None] == owner[:, None, :]
    length = branch.shape[1]
    return (visible & torch.ones(length, length, dtype=torch.bool).tril())[:, None]
