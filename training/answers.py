"""A few answers in words while training: what a model says of pairs, token by token, greedily."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from adcopilot_edge.errors import AnswerError
from adcopilot_edge.metrics import box_mask_iou
from adcopilot_edge.prompt import DEFAULT_PROMPT, IMAGE_TOKEN
from adcopilot_edge.runtime.answer import parse_boxes
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.sample_builder import SampleBuilder
from adcopilot_edge.types import BBox, LabelledPair, Task

MAX_NEW_TOKENS = 96


@torch.no_grad()
def answer_pairs(
    model: Any,
    processor: ADCopilotProcessor,
    builder: SampleBuilder,
    pairs: Sequence[LabelledPair],
    task: Task,
) -> list[str]:
    """The answers to ``task`` about ``pairs`` of the builder's image size, all in one batch.

    Every process of a model in shards has to call it with the same pairs.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    ids = torch.tensor([*builder.prefix, *builder.encode(DEFAULT_PROMPT.ask_task(task))])
    rows = ids.repeat(len(pairs), 1)
    square = builder.images.square
    images = [square.patches(image) for pair in pairs for image in (pair.golden, pair.test)]
    image_id = processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    generated = model.generate(
        input_ids=rows.to(device),
        attention_mask=torch.ones_like(rows, device=device),
        mm_token_type_ids=(rows == image_id).int().to(device),
        pixel_values=torch.from_numpy(np.concatenate(images)).to(device),
        image_grid_thw=torch.tensor(square.grid, device=device).repeat(len(images), 1),
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        pad_token_id=builder.pad_id,
    )
    model.train(was_training)
    answers: list[str] = processor.tokenizer.batch_decode(
        generated[:, len(ids) :].cpu(), skip_special_tokens=True
    )
    return [answer.strip() for answer in answers]


def boxes_in(answer: str, pair: LabelledPair) -> tuple[BBox, ...]:
    """The boxes of an answer in pixels of the test image; none where it can't be read."""
    height, width = pair.test.shape[:2]
    try:
        return tuple(box.bbox_2d for box in parse_boxes(answer, height=height, width=width).boxes)
    except AnswerError:
        return ()


def box_ious(answers: Sequence[str], pairs: Sequence[LabelledPair]) -> list[float]:
    """The BBox-Mask IoU of each answer about a pair whose boxes are known."""
    return [
        box_mask_iou(boxes_in(answer, pair), pair.boxes, *pair.test.shape[:2])
        for answer, pair in zip(answers, pairs, strict=True)
        if pair.boxes
    ]
