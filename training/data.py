"""Pairs to tensors: synthetic pairs by seed, packed with their questions, batched for the model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from adcopilot_edge.positions import (
    ComparePositionMode,
    ImageSpan,
    Positions,
    TextSpan,
    mrope_positions,
)
from adcopilot_edge.prompt import DEFAULT_PROMPT, IMAGE_TOKEN
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.training.packing import Branch, Packed, PackedBatch, collate, pack
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.training.tasks import chosen_exchanges
from adcopilot_edge.types import TASKS, FloatArray, LabelledPair, MaskArray


@dataclass(frozen=True, slots=True)
class Sample:
    """One pair, ready to batch: patches (2N, values) of golden then test, mask (H, W), text."""

    patches: FloatArray
    mask: MaskArray
    packed: Packed


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples. patches (B*2N, values), grid (2B, 3), target (B, N, cells) 0..1, text."""

    patches: Tensor
    grid: Tensor
    target: Tensor
    text: PackedBatch


class SampleBuilder:
    """Turns labelled pairs of one image size into samples; holds the constant prefix."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        preprocessor: Preprocessor,
        *,
        compare_token_size: int,
        mode: ComparePositionMode,
        map_scale: int,
        grown_px: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._map_scale = map_scale
        self._grown_px = grown_px
        self._preprocessor = preprocessor
        self._mode = mode
        _, rows, cols = preprocessor.grid
        merge = preprocessor.merge_size
        self._span = ImageSpan(rows // merge, cols // merge, compare_token_size)
        self.prefix, self.prefix_positions = self._build_prefix()
        self.pad_id: int = tokenizer.pad_token_id

    def _build_prefix(self) -> tuple[list[int], Positions]:
        """Ids and positions of everything up to the end of the test image."""
        image_id = self._tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        ids: list[int] = []
        spans: list[TextSpan | ImageSpan] = []
        run = 0
        for token in self.encode(DEFAULT_PROMPT.golden + DEFAULT_PROMPT.test):
            if token != image_id:
                ids.append(token)
                run += 1
                continue
            count = self._span.rows * self._span.cols + self._span.num_comparison
            ids += [image_id] * count
            spans += [TextSpan(run), self._span]
            run = 0
        return ids, mrope_positions([*spans, TextSpan(run)], self._mode)

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``; special tokens in it count as such."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def build(self, pair: LabelledPair, rng: random.Random) -> Sample:
        """The sample of ``pair``, which must have the model's image size."""
        branches = [
            Branch(TASKS.index(item.task), self.encode(item.question), self.encode(item.answer))
            for item in chosen_exchanges(pair, rng)
        ]
        height, width = pair.test.shape[:2]
        mask = pair.mask if pair.mask is not None else _boxes_mask(pair, height, width)
        images = [self._preprocessor.patches(image) for image in (pair.golden, pair.test)]
        return Sample(
            patches=np.concatenate(images),
            mask=mask,
            packed=pack(self.prefix, self.prefix_positions, branches, self._mode),
        )

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples and turn their masks into patch targets."""
        grid = torch.tensor(self._preprocessor.grid).repeat(2 * len(samples), 1)
        masks = torch.from_numpy(np.stack([sample.mask for sample in samples]))
        return Batch(
            patches=torch.from_numpy(np.concatenate([sample.patches for sample in samples])),
            grid=grid,
            target=patch_targets(
                masks,
                patch_size=self._preprocessor.patch_size,
                merge_size=self._preprocessor.merge_size,
                scale=self._map_scale,
                grown_px=self._grown_px,
            ),
            text=collate([sample.packed for sample in samples], pad_id=self.pad_id),
        )


class SyntheticDataset(Dataset[Sample]):
    """Sample i is the synthetic pair of seed ``first_seed + i``: the same in every run."""

    def __init__(
        self, builder: SampleBuilder, *, first_seed: int, length: int, image_size: int
    ) -> None:
        self._builder = builder
        self._first_seed = first_seed
        self._length = length
        self._image_size = image_size

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        seed = self._first_seed + index
        pair = generate_pair(seed, size=self._image_size).to_labelled()
        return self._builder.build(pair, random.Random(seed))


def patch_targets(
    masks: Tensor, *, patch_size: int, merge_size: int, scale: int, grown_px: int
) -> Tensor:
    """How much of each cell a defect covers: (B, H, W) bool -> (B, N, scale * scale) 0..1.

    The order is the processor's: patches grouped by merge cell, the map's cells of a patch in
    raster order. grown_px: added around each defect before.
    """
    side = 2 * grown_px + 1
    grown = masks[:, None].float()
    for kernel, padding in (((side, 1), (grown_px, 0)), ((1, side), (0, grown_px))):
        grown = functional.max_pool2d(grown, kernel, stride=1, padding=padding)
    coverage = functional.avg_pool2d(grown, patch_size // scale)[:, 0]
    sizes = (-1, merge_size, scale)
    cells = coverage.unflatten(2, sizes).unflatten(1, sizes)
    return cells.permute(0, 1, 4, 2, 5, 3, 6).flatten(5).flatten(1, 4)


def _boxes_mask(pair: LabelledPair, height: int, width: int) -> MaskArray:
    """The filled boxes, for sources that have no pixel masks."""
    mask = np.zeros((height, width), dtype=np.bool_)
    for x1, y1, x2, y2 in pair.boxes:
        mask[int(y1) : int(y2), int(x1) : int(x2)] = True
    return mask
