"""Parts of the trainer: the loss of any split, batches of like lengths, rates, scores."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from adcopilot_edge.training.batch import Sample
from adcopilot_edge.training.evaluation import PairFinding, find_in_pairs, summarise
from adcopilot_edge.training.forward import Outputs
from adcopilot_edge.training.model_parts import train_only
from adcopilot_edge.training.objective import LOSSES, loss_counts, loss_sums
from adcopilot_edge.training.optimizer import make_optimizer
from adcopilot_edge.training.order import LengthGroupedOrder
from adcopilot_edge.training.recipe import load_recipe
from adcopilot_edge.training.sample_builder import sample_builder
from adcopilot_edge.training.schedule import plan_stages, rate_share
from adcopilot_edge.training.stage_recipe import LossRecipe
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.training.targets import patch_targets, place_cells

pytestmark = pytest.mark.torch

PAIRS = [generate_pair(seed, size=112).to_labelled() for seed in range(4)]


def test_the_loss_of_a_step_does_not_depend_on_how_it_is_split() -> None:
    model = tiny.tiny_model(tiny.tiny_config())
    builder = sample_builder(model.config, tiny.tiny_processor(), 112)
    samples = [builder.build(pair, random.Random(pair.name)) for pair in PAIRS]

    def loss(parts: list[list[Sample]]) -> dict[str, float]:
        batches = [builder.batch(part) for part in parts]
        counts = torch.stack([loss_counts(batch) for batch in batches]).sum(0).clamp(min=1)
        with torch.no_grad():
            sums = [loss_sums(model(batch=batch), batch) for batch in batches]
        return dict(zip(LOSSES, (sum(sums) / counts).tolist(), strict=True))

    # Sums in another order: float32 has 6e-8, over some hundred terms.
    assert loss([samples[:1], samples[1:]]) == pytest.approx(loss([samples]), rel=2e-5)


def test_batches_hold_like_lengths_in_an_order_of_their_own() -> None:
    lengths = [int(value) for value in torch.randint(50, 900, (1030,))]
    order = LengthGroupedOrder(len(lengths), 4, seed=3, length=lengths.__getitem__)
    indices = list(order)
    assert sorted(indices) == list(range(1030))
    assert indices == list(order)
    batches = [indices[start : start + 4] for start in range(0, 1000, 4)]
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert sum(spread) / len(spread) < 60
    firsts = [lengths[batch[0]] for batch in batches[:50]]
    assert firsts != sorted(firsts)
    # A window knows nothing of what comes behind it.
    shorter = LengthGroupedOrder(200, 4, seed=3, length=lengths.__getitem__)
    assert list(shorter) == indices[:200]


def test_the_rate_rises_and_falls_to_a_tenth() -> None:
    shares = [rate_share(step, warmup_steps=4, steps=20) for step in range(1, 21)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[3:] == sorted(shares[3:], reverse=True)
    assert shares[-1] == pytest.approx(0.1)


def test_stages_lie_one_behind_the_other() -> None:
    plans = plan_stages(load_recipe("nano"))
    assert [plan.last_step for plan in plans[:-1]] == [plan.first_step for plan in plans[1:]]
    first = plans[0].stage
    assert plans[1].first_sample == first.steps * first.batch_size


def test_towers_may_have_a_rate_of_their_own_and_norms_never_decay() -> None:
    model = tiny.tiny_model(tiny.tiny_config())
    train_only(model, ["tower", "language"])
    recipe = load_recipe("nano")
    stage = recipe.stages[2].model_copy(update={"vision_learning_rate": 1e-6})
    optimizer = make_optimizer(model, stage, recipe.optimizer)
    rates = {group["lr"] for group in optimizer.param_groups}
    assert rates == {1e-6, stage.learning_rate}
    for group in optimizer.param_groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] > 0) for p in group["params"])


@pytest.mark.parametrize("scale", [1, 7])
def test_cells_lie_where_their_targets_were_cut(scale: int) -> None:
    mask = torch.zeros(1, 56, 84, dtype=torch.bool)
    mask[0, 28:42, 42:56] = True
    cells = patch_targets(mask, patch_size=14, merge_size=2, scale=scale, grown_px=0)[0]
    placed = place_cells(cells, 4, 6)
    assert placed.shape == (4 * scale, 6 * scale)
    assert placed[2 * scale : 3 * scale, 3 * scale : 4 * scale].eq(1).all()
    assert placed.sum() == scale * scale


def test_scores_add_up_what_was_found() -> None:
    findings = [
        PairFinding(True, says=True, map_says=False, cells=(2, 4), map_iou=0.5),
        PairFinding(False, says=True, map_says=False, hits={"verdict": (1, 2)}),
        PairFinding(True, cells=(0, 4), map_iou=0.0, hits={"verdict": (2, 2)}),
    ]
    scores = summarise(findings, [0.25])
    assert scores.verdict == 0.5
    assert scores.map_verdict == 0.5
    assert scores.map_iou == 0.25
    assert scores.map_miou == 0.25
    assert (scores.text_miou, scores.num_answers) == (0.25, 1)
    assert scores.token_accuracy == {"verdict": 0.75}
    assert summarise([PairFinding(False)]).verdict is None


def test_findings_do_not_depend_on_the_batch() -> None:
    model = tiny.tiny_model(tiny.tiny_config())
    builder = sample_builder(model.config, tiny.tiny_processor(), 112)
    ones, all_at_once = (
        find_in_pairs(model, builder, PAIRS, batch_size=size) for size in (1, len(PAIRS))
    )
    for one, other in zip(ones, all_at_once, strict=True):
        assert (one.says, one.cells, one.hits) == (other.says, other.cells, other.hits)


@pytest.mark.parametrize("side", [0, 6, 40, 112])
def test_even_defects_weigh_marked_cells_by_how_many_there_are(side: int) -> None:
    model = tiny.tiny_model(tiny.tiny_config())
    builder = sample_builder(model.config, tiny.tiny_processor(), 112)
    mask = np.zeros((112, 112), dtype=np.bool_)
    mask[:side, :side] = True
    batch = builder.batch([builder.build(replace(PAIRS[0], mask=mask), random.Random(0))])
    (truth,) = batch.targets
    assert truth is not None
    # Logits of zero: a cell that counts once has a loss of log 2.
    outputs = Outputs(None, (torch.zeros(truth.shape),))
    sums = (loss_sums(outputs, batch, even_defects=even) for even in (False, True))
    plain, even = (float(found[LOSSES.index("anomaly_map")]) / math.log(2) for found in sums)
    assert plain == pytest.approx(truth.numel(), rel=1e-5)
    num_marked = float(truth.sum())
    assert (num_marked > 0) == (side > 0)
    each = min(max(250 / num_marked, 0.5), 6.0) if side else 1.0
    assert even == pytest.approx(truth.numel() + num_marked * (each - 1), rel=1e-5)


def test_even_defects_need_the_loss_of_the_map() -> None:
    with pytest.raises(ValueError, match="even_defects weighs the loss anomaly_map"):
        LossRecipe(verdict=1.0, even_defects=True)


def verdict_loss(truth: torch.Tensor, cells: torch.Tensor) -> float:
    """``map_verdict`` of one pair by its cells' truth and logits."""
    builder = sample_builder(tiny.tiny_config(), tiny.tiny_processor(), 112)
    batch = builder.batch([builder.build(PAIRS[0], random.Random(0))])
    known = replace(batch, targets=(truth,))
    assert loss_counts(known)[LOSSES.index("map_verdict")] == 1
    return float(loss_sums(Outputs(None, (cells,)), known)[LOSSES.index("map_verdict")])


def test_the_verdict_of_the_map_is_made_of_its_highest_cells() -> None:
    good, cells = torch.zeros(64, 1), torch.full((64, 1), -9.0)
    cells[:20] = torch.linspace(3.0, -1.0, 20)[:, None]
    highest = float(torch.linspace(3.0, -1.0, 20)[:16].mean())
    assert verdict_loss(good, cells) == pytest.approx(math.log1p(math.exp(highest)), rel=1e-5)
    # Of a bad pair only those count that lie where its defect is.
    bad = torch.zeros(64, 1)
    bad[40:42] = 1.0
    cells[41] = 2.0
    assert verdict_loss(bad, cells) == pytest.approx(math.log1p(math.exp(3.5)), rel=1e-5)


def test_a_defect_that_fills_no_cell_is_looked_for_where_it_covers_most() -> None:
    bad, cells = torch.zeros(64, 1), torch.full((64, 1), -4.0)
    bad[7], bad[8], cells[7] = 0.3, 0.1, 4.0
    assert verdict_loss(bad, cells) == pytest.approx(math.log1p(math.exp(-4.0)), rel=1e-5)


def test_pairs_of_which_nobody_knows_the_place_have_no_verdict_of_the_map() -> None:
    builder = sample_builder(tiny.tiny_config(), tiny.tiny_processor(), 112)
    batch = builder.batch([builder.build(PAIRS[0], random.Random(0))])
    unknown = replace(batch, targets=(None,))
    place = LOSSES.index("map_verdict")
    assert loss_counts(unknown)[place] == 0
    assert loss_sums(Outputs(None, (torch.zeros(64, 1),)), unknown)[place] == 0
