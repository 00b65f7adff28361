"""Samples for one model: images cut into patches, text laid out, the map's targets; and batches.

A pair is asked in branches behind one copy of its images, a dialogue is one sequence. Knows not
where pairs and dialogues come from.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.positions import (
    ComparePositionMode,
    ImageSpan,
    Positions,
    TextSpan,
    mrope_positions,
)
from adcopilot_edge.prompt import DEFAULT_PROMPT, IMAGE_TOKEN
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.training.batch import Batch, Sample
from adcopilot_edge.training.chat_ad.sample import ChatSample, fill_boxes
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.training.conversation import encode_turns
from adcopilot_edge.training.image_rule import ImageRule, image_rule
from adcopilot_edge.training.packing import (
    KINDS,
    Branch,
    collate_rows,
    fit_rows,
    pack,
    sequence,
)
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import ROOM_PX
from adcopilot_edge.training.targets import (
    fill_mask,
    pair_mask,
    patch_targets,
    patch_types,
    type_image,
)
from adcopilot_edge.training.tasks import DEFAULT_NUM_QUESTIONS, chosen_exchanges
from adcopilot_edge.types import (
    TASKS,
    BBox,
    ImageArray,
    IntArray,
    LabelledPair,
    MaskArray,
    Task,
)

Picture = ImageArray | Image.Image


class SampleBuilder:
    """Turns pairs and dialogues into samples for one model.

    template: the processor's chat template. packing: let short samples of a batch share a row.
    map_cells: cells of the anomaly map in a patch.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        images: ImageRule,
        template: str,
        *,
        compare_token_size: int,
        mode: ComparePositionMode,
        map_scale: int,
        map_types: Sequence[str] = (),
        grown_px: int,
        packing: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        self.images = images
        self._template = template
        self._compare_token_size = compare_token_size
        self._mode = mode
        self._map_scale = map_scale
        self.map_cells = map_scale**2
        self._map_types = tuple(map_types)
        self._grown_px = grown_px
        self._packing = packing
        self.pad_id: int = tokenizer.pad_token_id
        self._image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.prefix, self.prefix_positions = self._build_prefix()

    def _build_prefix(self) -> tuple[list[int], Positions]:
        """Ids and positions of everything up to the end of the test image of a square pair."""
        ids = self.encode(DEFAULT_PROMPT.golden + DEFAULT_PROMPT.test)
        filled, _, positions = self._expand(ids, [False] * len(ids), [self.images.square.grid] * 2)
        return filled, positions

    def _expand(
        self, ids: Sequence[int], flags: Sequence[bool], grids: Sequence[tuple[int, int, int]]
    ) -> tuple[list[int], list[bool], Positions]:
        """Make room for each image's cells and comparison tokens; ids, flags and positions."""
        merge = self.images.square.merge_size
        rest = iter(grids)
        filled: list[int] = []
        kept: list[bool] = []
        spans: list[TextSpan | ImageSpan] = []
        run = 0
        for token, flag in zip(ids, flags, strict=True):
            if token != self._image_id:
                filled.append(token)
                kept.append(flag)
                run += 1
                continue
            _, rows, columns = next(rest)
            span = ImageSpan(rows // merge, columns // merge, self._compare_token_size)
            count = span.rows * span.cols + span.num_comparison
            filled += [self._image_id] * count
            kept += [False] * count
            spans += [TextSpan(run), span]
            run = 0
        return filled, kept, mrope_positions([*spans, TextSpan(run)], self._mode)

    def image_tokens(self, width: int, height: int) -> int:
        """Tokens of an image of ``width`` by ``height`` pixels, comparison tokens included."""
        return self.images.num_cells(width, height) + self._compare_token_size

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``; special tokens in it count as such."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def build(
        self,
        pair: LabelledPair,
        rng: random.Random,
        tasks: Sequence[Task] = TASKS,
        num_questions: int = DEFAULT_NUM_QUESTIONS,
    ) -> Sample:
        """The sample of ``pair``, which must have the recipe's image size.

        tasks, num_questions: what may be asked; see ``chosen_exchanges``.
        """
        branches = [
            Branch(KINDS.index(item.task), self.encode(item.question), self.encode(item.answer))
            for item in chosen_exchanges(pair, rng, tasks, num_questions)
        ]
        square = self.images.square
        return Sample(
            patches=np.concatenate([square.patches(item) for item in (pair.golden, pair.test)]),
            grid=np.array([square.grid] * 2),
            mask=pair_mask(pair),
            packed=pack(self.prefix, self.prefix_positions, branches, self._mode),
            types=type_image(pair, self._map_types) if self._map_types else None,
        )

    def build_dialogue(self, sample: ChatSample, template: Picture, query: Picture) -> Sample:
        """The sample of a dialogue about two upright RGB images.

        Raises:
            DatasetError: A turn holds a control token of the tokenizer.
            InputError: An image is more than 200 times as long as wide.
        """
        pictures = [
            item if isinstance(item, Image.Image) else Image.fromarray(item)
            for item in (template, query)
        ]
        rules = [self.images.preprocessor(*picture.size) for picture in pictures]
        scale = _scale(sample.query_size, rules[1])
        turns = fill_boxes(sample.turns, sample.bboxes, scale)
        coded = encode_turns(self._tokenizer, self._template, turns)
        grids = [rule.grid for rule in rules]
        return Sample(
            patches=np.concatenate(
                [
                    rule.patches(rule.resize(picture))
                    for rule, picture in zip(rules, pictures, strict=True)
                ]
            ),
            grid=np.array(grids),
            mask=None
            if sample.is_anomaly and not sample.boxes
            else fill_mask(
                [scale(box) for box in sample.boxes], rules[1].image_height, rules[1].image_width
            ),
            packed=sequence(*self._expand(coded.ids, coded.is_answer, grids)),
        )

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Lay samples in rows and turn their masks into the map's targets."""
        lengths = [len(sample.packed) for sample in samples]
        rows = fit_rows(lengths) if self._packing else [[index] for index in range(len(samples))]
        ordered = [samples[index] for row in rows for index in row]
        return Batch(
            patches=torch.from_numpy(np.concatenate([sample.patches for sample in ordered])),
            grid=torch.from_numpy(np.concatenate([sample.grid for sample in ordered])),
            images_per_sample=tuple(len(sample.grid) for sample in ordered),
            targets=tuple(self._target(sample.mask) for sample in ordered),
            types=tuple(self._patch_types(sample.types) for sample in ordered),
            text=collate_rows(
                [[samples[index].packed for index in row] for row in rows], pad_id=self.pad_id
            ),
        )

    def _target(self, mask: MaskArray | None) -> Tensor | None:
        if mask is None:
            return None
        square = self.images.square
        return patch_targets(
            torch.from_numpy(mask)[None],
            patch_size=square.patch_size,
            merge_size=square.merge_size,
            scale=self._map_scale,
            grown_px=self._grown_px,
        )[0]

    def _patch_types(self, types: IntArray | None) -> Tensor | None:
        if types is None:
            return None
        square = self.images.square
        return torch.from_numpy(
            patch_types(types, patch_size=square.patch_size, merge_size=square.merge_size)
        )


def sample_builder(
    config: ADCopilotConfig,
    processor: ADCopilotProcessor,
    image_size: int,
    *,
    limits: tuple[int, int] | None = None,
    packing: bool = False,
) -> SampleBuilder:
    """The builder of samples for a model and its processor.

    image_size: side of square images in pixels. limits: as in ``ImageRule``. Raises ConfigError for
    a processor without a chat template.
    """
    if not isinstance(processor.chat_template, str):
        raise ConfigError(
            "this checkpoint's processor has no chat template, so nobody knows how its turns are "
            "written; add chat_template.jinja to it"
        )
    return SampleBuilder(
        processor.tokenizer,
        image_rule(processor, image_size, limits),
        processor.chat_template,
        compare_token_size=config.vision.compare_token_size,
        mode=config.compare_position_mode,
        map_scale=config.vision.compare_map_scale,
        map_types=config.vision.compare_map_types,
        grown_px=ROOM_PX - config.vision.compare_map_margin,
        packing=packing,
    )


def _scale(size: tuple[int, int], rule: Preprocessor) -> Callable[[BBox], BBox]:
    """From pixels of an image of ``size`` (width, height) to those of the model's input."""
    across, down = rule.image_width / size[0], rule.image_height / size[1]
    return lambda box: (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
