"""The sums over the inputs of a language model's layers, against those of one whole run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import tiny_checkpoint
from torch import nn

from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.describe import describe, read_tokenizer
from adcopilot_edge.export.grams import LayerGrams
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.reference import TorchReference
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.training.synthetic import generate_pair

pytestmark = pytest.mark.torch

PAIRS = [generate_pair(seed, size=112).to_labelled() for seed in range(2)]
# Every layer whose input is another one's is called by that one's name.
LEAVES = ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> TorchReference:
    path = tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")
    checkpoint = open_checkpoint(path)
    recipe = ExportRecipe(image_height=112, image_width=112)
    return TorchReference(
        checkpoint,
        describe(checkpoint, recipe, DEFAULT_PROMPT),
        read_tokenizer(checkpoint),
        budget_bytes=0,
    )


def test_sums_are_those_of_a_whole_run(reference: TorchReference) -> None:
    expected: dict[str, NDArray[np.float64]] = {}

    def adder(name: str) -> Any:
        def add(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            rows = arguments[0].flatten(0, -2).double().numpy()
            expected[name] = expected.get(name, 0) + rows.T @ rows

        return add

    handles = [
        layer.get_submodule(leaf).register_forward_pre_hook(
            adder(f"language_model.layers.{index}.{leaf}")
        )
        for index, layer in enumerate(reference.layers)
        for leaf in LEAVES
    ]
    calls = [reference.layer_call(pair.golden, pair.test) for pair in PAIRS]
    assert not expected  # nothing behind the first layer's beginning is computed
    with torch.inference_mode():
        for call in calls:
            hidden = call.hidden
            for layer in reference.layers:
                hidden = layer(hidden, **call.settings)
    for handle in handles:
        handle.remove()
    grams = LayerGrams(reference.layers, calls)
    assert len(expected) == len(LEAVES) * len(reference.layers)
    for name, gram in expected.items():
        np.testing.assert_allclose(grams.gram(name), gram, rtol=1e-9, err_msg=name)


def test_a_call_goes_on_to_the_models_own_logits(reference: TorchReference) -> None:
    pair = PAIRS[0]
    stages = reference.stages(pair.golden, pair.test, max_new_tokens=1)
    call = reference.layer_call(pair.golden, pair.test)
    hidden = call.hidden
    with torch.inference_mode():
        for layer in reference.layers:
            hidden = layer(hidden, **call.settings)
        model = reference.model
        logits = model.lm_head(model.model.language_model.norm(hidden))[0, -1]
    assert int(logits.argmax()) == int(stages["greedy_ids"][0])


def test_layers_are_walked_forwards_only(reference: TorchReference) -> None:
    pair = PAIRS[0]
    grams = LayerGrams(reference.layers, [reference.layer_call(pair.golden, pair.test)])
    grams.gram("language_model.layers.1.mlp.down_proj")
    with pytest.raises(AssertionError, match="comes behind layer 1"):
        grams.gram("language_model.layers.0.mlp.down_proj")
