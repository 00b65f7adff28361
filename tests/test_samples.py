"""Samples of dialogues: ids of the processor, positions of the model, labels on answers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_config, tiny_model, tiny_processor, tiny_tokenizer

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.positions import COMPARE_POSITION_MODES, ComparePositionMode
from adcopilot_edge.training.batch import Sample
from adcopilot_edge.training.chat_ad.sample import ChatSample, Turn, fill_boxes
from adcopilot_edge.training.conversation import chat_messages
from adcopilot_edge.training.objective import LOSSES, loss_counts, loss_sums
from adcopilot_edge.training.packing import IGNORED, fit_rows
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.sample_builder import SampleBuilder, sample_builder
from adcopilot_edge.training.tokenizer import CHAT_TEMPLATE

pytestmark = pytest.mark.torch

LIMITS = (28 * 28 * 4, 28 * 28 * 12)
TURNS = (
    Turn("user", "What differs?"),
    Turn("assistant", "A dent at <bbox>.\n\nIt is bright."),
    Turn("user", "  How large? "),
    Turn("assistant", "Kleiner als 3 mm, ganz außen."),
)


def processor(template: str = CHAT_TEMPLATE) -> ADCopilotProcessor:
    chosen = tiny_processor(template=template)
    chosen.image_processor.size = {"shortest_edge": LIMITS[0], "longest_edge": LIMITS[1]}
    return chosen


def builder(
    mode: ComparePositionMode = "diagonal", *, packing: bool = False, **changes: Any
) -> SampleBuilder:
    config = tiny_config(compare_position_mode=mode, **changes)
    return sample_builder(config, processor(), 56, limits=LIMITS, packing=packing)


def dialogue(**changes: Any) -> ChatSample:
    content: dict[str, Any] = {
        "key": "k",
        "pair": "p",
        "source": "s",
        "category": "c",
        "split": "train",
        "task": "dialogue",
        "template": Path("template.png"),
        "query": Path("query.png"),
        "query_size": (168, 112),
        "turns": TURNS,
        "is_anomaly": True,
        "bboxes": ((84.0, 0.0, 168.0, 56.0),),
        "boxes": ((84.0, 0.0, 168.0, 56.0),),
        "labels": ("dent",),
    }
    return ChatSample(**content | changes)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


IMAGES = (picture(90, 130), picture(168, 112, 1))


def built(chosen: SampleBuilder, **changes: Any) -> Sample:
    return chosen.build_dialogue(dialogue(**changes), *IMAGES)


def test_a_dialogue_has_the_ids_and_patches_of_the_processor() -> None:
    sample = built(builder())
    # 168x112 becomes 112x56 in these limits.
    turns = fill_boxes(TURNS, dialogue().bboxes, lambda box: (56, 0, 112, 28))
    chosen = processor()
    text = chosen.apply_chat_template(chat_messages(turns), tokenize=False)
    expected = chosen(text=[text], images=list(IMAGES), return_tensors="pt")
    assert sample.packed.ids.tolist() == expected["input_ids"][0].tolist()
    assert sample.grid.tolist() == expected["image_grid_thw"].tolist()
    np.testing.assert_array_equal(sample.patches, expected["pixel_values"].numpy())


@pytest.mark.parametrize("mode", COMPARE_POSITION_MODES)
def test_positions_are_those_of_the_model(mode: ComparePositionMode) -> None:
    tokens = 9 if mode == "grid" else 6
    sample = built(builder(mode, compare_token_size=tokens))
    config = tiny_config(compare_position_mode=mode, compare_token_size=tokens)
    ids = torch.from_numpy(sample.packed.ids)[None]
    expected, _ = tiny_model(config).model.get_rope_index(
        ids, (ids == config.image_token_id).int(), torch.from_numpy(sample.grid)
    )
    assert sample.packed.positions.tolist() == expected[:, 0].tolist()


def test_only_what_the_assistant_says_is_learnt_with_its_end_of_turn() -> None:
    packed = built(builder()).packed
    tokenizer = tiny_tokenizer()
    answers = tokenizer.decode(packed.labels[packed.labels != IGNORED])
    assert answers == (
        "A dent at [56, 0, 112, 28].\n\nIt is bright.<|im_end|>"
        "Kleiner als 3 mm, ganz außen.<|im_end|>"
    )
    assert (packed.labels[packed.labels != IGNORED] == packed.ids[packed.labels != IGNORED]).all()
    assert set(packed.kinds.tolist()) == {-1, 4}


def test_the_truth_is_scaled_to_what_the_model_sees_and_may_be_unknown() -> None:
    chosen = builder()
    mask = built(chosen).mask
    assert mask is not None
    assert mask.shape == (56, 112)
    assert np.argwhere(mask).min(0).tolist() == [0, 56]
    assert np.argwhere(mask).max(0).tolist() == [27, 111]
    unknown = {"boxes": (), "labels": ()}
    assert built(chosen, **unknown).mask is None
    normal = built(chosen, is_anomaly=False, **unknown).mask
    assert normal is not None
    assert not normal.any()


def test_a_turn_that_holds_a_control_token_is_refused() -> None:
    turns = (Turn("user", "What is <|image_pad|>?"), Turn("assistant", "No."))
    with pytest.raises(DatasetError, match="image_pad"):
        built(builder(), turns=turns, bboxes=())


def test_a_template_that_rewrites_what_was_said_is_refused() -> None:
    # As templates do that drop the thoughts of earlier turns.
    forgetting = CHAT_TEMPLATE.replace(
        "{{ part['text'] }}", "{{ part['text'] if loop.last or messages|length < 4 else '' }}"
    ).replace("{{ message['content'] }}", "")
    rewriting = forgetting.replace("part['text'] if loop.last", "part['text'][:5] if loop.last")
    chosen = sample_builder(tiny_config(), processor(rewriting), 56, limits=LIMITS)
    with pytest.raises(ConfigError, match="chat template"):
        built(chosen)


def test_images_of_any_size_share_a_batch_and_give_the_losses_they_have_alone() -> None:
    model = tiny_model(tiny_config())
    chosen = builder()
    short = (Turn("user", "Any defect?"), Turn("assistant", "No."))
    samples = [
        built(chosen),
        chosen.build_dialogue(
            dialogue(turns=short, bboxes=(), boxes=(), labels=(), is_anomaly=False),
            picture(60, 60, 2),
            picture(70, 200, 3),
        ),
    ]

    def losses(group: list[Sample], packing: bool) -> dict[str, float]:
        with torch.no_grad():
            batch = builder(packing=packing).batch(group)
            means = loss_sums(model(batch=batch), batch) / loss_counts(batch).clamp(min=1)
        return dict(zip(LOSSES, means.tolist(), strict=True))

    alone = [losses([sample], packing=False) for sample in samples]
    counts = [int((sample.packed.kinds >= 0).sum()) for sample in samples]
    cells = [int(sample.grid[-1].prod()) for sample in samples]
    text = np.average([item["text"] for item in alone], weights=counts)
    placed = np.average([item["anomaly_map"] for item in alone], weights=cells)
    for packing in (False, True):
        both = losses(samples, packing)
        # Sums in another order: float32 has 6e-8, over some hundred terms.
        assert both["text"] == pytest.approx(text, rel=2e-5)
        assert both["anomaly_map"] == pytest.approx(placed, rel=2e-5)


def test_packing_lays_short_samples_in_a_row_that_is_no_longer_than_the_longest() -> None:
    assert fit_rows([3, 10, 6, 4]) == [[1], [2, 3], [0]]
    chosen = builder(packing=True)
    short = (Turn("user", "Any?"), Turn("assistant", "No."))
    small = [
        chosen.build_dialogue(dialogue(turns=short, bboxes=()), picture(56, 56), picture(56, 56))
        for _ in range(2)
    ]
    long = built(chosen, turns=(*TURNS, *(short * 30)))
    batch = chosen.batch([small[0], long, small[1]])
    assert len(batch.text.ids) == 2
    assert batch.images_per_sample == (2, 2, 2)
    # The long sample's row comes first, and so do its images.
    assert batch.grid[:2].tolist() == long.grid.tolist()


def test_plain_sequences_have_a_mask_that_any_causal_kernel_takes() -> None:
    chosen = builder()
    batch = chosen.batch([built(chosen)])
    assert batch.text.mask.shape == batch.text.ids.shape
    assert int(batch.text.mask.sum()) == len(built(chosen).packed)
