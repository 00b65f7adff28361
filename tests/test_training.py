"""Training: packed branches, targets, recipes, and a run that goes on where it stopped."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from train_cases import tiny_recipe
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.windows import map_of_cells
from adcopilot_edge.positions import TextSpan, mrope_positions
from adcopilot_edge.training.comparison_start import point_queries_at_map, start_comparison
from adcopilot_edge.training.model_parts import PARTS, part_of, train_only, trainable
from adcopilot_edge.training.packing import IGNORED, Branch, collate, pack
from adcopilot_edge.training.patch_embed import ProductPatchEmbed
from adcopilot_edge.training.recipe import load_recipe
from adcopilot_edge.training.run import train
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.training.targets import fill_mask, patch_targets
from adcopilot_edge.training.tasks import chosen_exchanges, exchanges
from adcopilot_edge.types import TASKS, BBox

pytestmark = pytest.mark.torch


def test_the_nano_recipe_is_valid_and_small() -> None:
    assert load_recipe("nano").image_size == 224


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 1 =", "not valid TOML"),
        ('name = "x"\nsurprise = 1', "surprise"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_recipe(str(path))


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="nano"):
        load_recipe("giant")


def test_branches_see_the_prefix_and_themselves_only() -> None:
    prefix = mrope_positions([TextSpan(2)], "diagonal")
    branches = [Branch(0, [5], [6, 7]), Branch(1, [8], [9])]
    packed = pack([1, 2], prefix, branches, "diagonal")
    assert packed.ids.tolist() == [1, 2, 5, 6, 7, 8, 9]
    assert packed.labels.tolist() == [IGNORED, IGNORED, IGNORED, 6, 7, IGNORED, 9]
    assert packed.positions[0].tolist() == [0, 1, 2, 3, 4, 2, 3]
    mask = collate([packed], pad_id=0).mask[0, 0]
    assert mask[6, :7].tolist() == [True, True, False, False, False, True, True]
    assert mask[4, :7].tolist() == [True, True, True, True, True, False, False]


def test_targets_follow_the_order_of_patches() -> None:
    mask = torch.zeros(1, 56, 56, dtype=torch.bool)
    mask[0, 20:22, 48:50] = True
    target = patch_targets(mask, patch_size=14, merge_size=2, scale=1, grown_px=10)[0]
    assert target.shape == (16, 1)
    # The pixel lies in patch row 1, column 3: cell (0, 1), place (1, 1) in it.
    assert int(target.argmax()) == 1 * 4 + 3


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((10.2, 20.0, 10.9, 24.0), (slice(20, 24), slice(10, 11))),
        ((3.0, 20.3, 8.0, 20.8), (slice(20, 21), slice(3, 8))),
        ((-0.5, 0.0, 1.0, 2.0), (slice(0, 2), slice(0, 1))),
        ((30.5, 31.2, 32.0, 32.0), (slice(31, 32), slice(30, 32))),
    ],
)
def test_a_box_is_every_pixel_that_it_touches(box: BBox, pixels: tuple[slice, slice]) -> None:
    expected = np.zeros((32, 32), dtype=np.bool_)
    expected[pixels] = True
    np.testing.assert_array_equal(fill_mask([box], 32, 32), expected)


def test_targets_of_several_cells_a_patch_lie_where_the_defect_does() -> None:
    mask = torch.zeros(1, 56, 84, dtype=torch.bool)
    mask[0, 20:22, 48:50] = True
    target = patch_targets(mask, patch_size=14, merge_size=2, scale=7, grown_px=0)[0]
    placed = map_of_cells(target.numpy(), (4, 6), 2)
    assert np.argwhere(placed > 0).tolist() == [[10, 24]]
    assert placed[10, 24] == 1


def test_answers_agree_with_the_truth() -> None:
    for seed in range(30):
        pair = generate_pair(seed, size=112).to_labelled()
        verdict, classify, locate, describe = exchanges(pair, random.Random(seed))
        says_yes = verdict.answer[0] == ("A" if "A. Yes" in verdict.question else "B")
        assert says_yes == pair.is_anomaly
        boxes = json.loads(locate.answer.removesuffix("<|im_end|>"))
        assert sorted(item["label"] for item in boxes) == sorted(pair.labels)
        assert ("No defect" in classify.answer) != pair.is_anomaly
        assert ("no defect" in describe.answer) != pair.is_anomaly


@pytest.mark.parametrize(("count", "kinds"), [(2, 2), (3, 3), (4, 4)])
def test_a_pair_is_asked_for_the_verdict_and_so_many_other_things(count: int, kinds: int) -> None:
    pair = generate_pair(3, size=112).to_labelled()
    asked = [
        [item.task for item in chosen_exchanges(pair, random.Random(seed), TASKS, count)]
        for seed in range(20)
    ]
    assert all(tasks[0] == "verdict" and len({*tasks}) == kinds for tasks in asked)
    assert {task for tasks in asked for task in tasks} == {*TASKS}
    alone = chosen_exchanges(pair, random.Random(0), ("locate", "describe"), count)
    assert len(alone) == min(2, count - 1)


def test_a_stage_may_have_images_of_a_size_of_its_own(tmp_path: Path) -> None:
    seen = []
    recipe = tiny_recipe(3, image_size=140)
    with torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, arguments: (
            seen.append(len(arguments[0]))
            if isinstance(module, ProductPatchEmbed) and module.training
            else None
        )
    ):
        train(recipe, tmp_path)
    # Two images of 10 x 10 patches for each of two pairs, not of 8 x 8.
    assert {*seen} == {2 * 2 * 10 * 10}


def test_every_parameter_has_a_part_and_only_the_chosen_parts_learn() -> None:
    model = tiny.tiny_model(tiny.tiny_config())
    names = [name for name, _ in model.named_parameters()]
    assert {part_of(name) for name in names} == set(PARTS)
    assert part_of("model.visual.compare_visual_encoder.decoder_mlp.up_proj.weight") == "queries"
    assert part_of("model.visual.compare_visual_encoder.anomaly_map.bias") == "comparison"
    train_only(model, ["queries", "language"])
    assert {part_of(name) for name, _ in trainable(model)} == {"queries", "language"}


def test_steps_are_shared_among_the_stages() -> None:
    recipe = load_recipe("nano")
    for steps in (4, 5, 20, 5000):
        shared = [stage.steps for stage in recipe.with_steps(steps).stages]
        assert sum(shared) == steps
        assert min(shared) >= 1
    assert recipe.with_steps(recipe.steps) == recipe
    with pytest.raises(ConfigError, match="4 stages"):
        recipe.with_steps(3)


def test_a_stage_changes_only_what_it_trains(tmp_path: Path) -> None:
    recipe = tiny_recipe(steps=3)
    see, say, _ = recipe.stages
    first = train(recipe.model_copy(update={"stages": (see,)}), tmp_path / "one", workers=0)
    both = train(recipe.model_copy(update={"stages": (see, say)}), tmp_path / "two", workers=0)
    before = load_file(first.checkpoint / "model.safetensors")
    after = load_file(both.checkpoint / "model.safetensors")
    changed = {part_of(name) for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(say.trains)
    assert first.scores["synthetic"]["verdict"] is None
    assert both.scores["synthetic"]["verdict"] is not None


def test_pointed_queries_attend_where_the_map_is_high() -> None:
    encoder = tiny.tiny_model(tiny.tiny_config()).model.visual.compare_visual_encoder
    assert encoder is not None
    assert encoder.anomaly_map is not None
    start_comparison(encoder)
    point_queries_at_map(encoder)
    attention = encoder.decoder_cross_attn
    direction = encoder.anomaly_map.weight[0].detach()
    features = torch.randn(1, 40, len(direction))
    features[0, 7] = 4 * direction / direction.norm() * len(direction) ** 0.5
    normed = encoder.decoder_norm1(features)
    width, head_dim = attention.q_proj.out_features, len(direction) // attention.num_heads
    q = attention.q_proj(encoder.decoder_norm1(encoder.query_embeddings))[:, :head_dim]
    k = attention.kv(normed)[0, :, :width][:, :head_dim]
    weights = (q @ k.T * head_dim**-0.5).softmax(-1)
    assert float(weights[:, 7].detach().median()) > 0.9


def test_the_patch_embedding_equals_the_stock_convolution() -> None:
    vision = tiny.tiny_config().vision
    assert isinstance(vision.patch_size, int)
    stock = Qwen2_5_VisionPatchEmbed(
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        in_channels=vision.in_channels,
        embed_dim=vision.hidden_size,
    )
    ours = tiny.tiny_model(tiny.tiny_config()).model.visual.patch_embed
    ours.load_state_dict(stock.state_dict())
    patches = torch.randn(12, 3 * vision.temporal_patch_size * vision.patch_size**2)
    torch.testing.assert_close(ours(patches), stock(patches), rtol=1e-5, atol=1e-5)
