"""The model against the AD-Copilot spec, section 12, and what any decoder must keep."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.training.comparison import ComparisonEncoder, FeatureBatch
from adcopilot_edge.training.config import ADCopilotConfig, ADCopilotVisionConfig
from adcopilot_edge.training.model import (
    ADCopilotForConditionalGeneration,
    YangJianForConditionalGeneration,
)
from adcopilot_edge.training.pairing import pair_images
from adcopilot_edge.training.processor import ADCopilotProcessor

pytestmark = pytest.mark.torch

PROMPT = DEFAULT_PROMPT.golden + DEFAULT_PROMPT.test + DEFAULT_PROMPT.ask_task("verdict")
QUERIES = "visual.compare_visual_encoder.query_embeddings"


@pytest.fixture(scope="module")
def model() -> ADCopilotForConditionalGeneration:
    return tiny.tiny_model(tiny.tiny_config())


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> ADCopilotProcessor:
    folder = tiny.tiny_checkpoint(tmp_path_factory.mktemp("processor"))
    return AutoProcessor.from_pretrained(folder)


def pictures(count: int, height: int = 112, width: int = 112, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    size = (count, height // 14, width // 14, 3)
    blocks = rng.integers(0, 255, size, dtype=np.uint8)
    return [Image.fromarray(b.repeat(14, axis=0).repeat(14, axis=1)) for b in blocks]


def released_config() -> ADCopilotConfig:
    # Flat, as released files have it; transformers sorts the keys into text_config.
    return ADCopilotConfig(  # type: ignore[call-arg]
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        rope_theta=1e6,
        rope_scaling={"type": "default", "rope_type": "default", "mrope_section": [16, 24, 24]},
        vision_config={"hidden_size": 1280, "out_hidden_size": 3584},
    )


def test_the_released_shape_has_the_released_counts() -> None:
    with torch.device("meta"):
        whole = ADCopilotForConditionalGeneration(released_config())
    encoder = whole.model.visual.compare_visual_encoder
    assert len(encoder.state_dict()) == 36
    assert sum(p.numel() for p in encoder.parameters()) == 63_801_344
    assert sum(p.numel() for p in whole.parameters()) == 8_355_968_000


def test_two_504_pixel_images_fill_848_places(processor: ADCopilotProcessor) -> None:
    config = tiny.tiny_config(compare_token_size=100)
    model = tiny.tiny_model(config)
    wide = ADCopilotProcessor(
        image_processor=processor.image_processor, tokenizer=processor.tokenizer
    )
    inputs = wide(text=[PROMPT], images=pictures(2, 504, 504), return_tensors="pt")
    assert int((inputs["input_ids"] == config.image_token_id).sum()) == 848
    with torch.no_grad():
        features = model.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
    merged, extra = 324, 100
    assert [len(item) for item in features.pooler_output] == [merged + extra] * 2


@pytest.mark.parametrize(
    ("counts", "sequence_compare", "expected"),
    [
        ([2], True, [(0, 0), (0, 1)]),
        ([2], False, [(1, 0), (0, 1)]),
        ([1], False, [(0, 0)]),
        ([3, 0, 2], True, [(0, 0), (0, 1), (1, 2), (3, 3), (3, 4)]),
        ([2, 2], False, [(1, 0), (0, 1), (3, 2), (2, 3)]),
    ],
)
def test_images_are_paired_inside_their_sample(
    counts: list[int], sequence_compare: bool, expected: list[tuple[int, int]]
) -> None:
    assert pair_images(counts, sequence_compare=sequence_compare) == expected


def random_encoder(**changes: object) -> ComparisonEncoder:
    config = tiny.tiny_config(**changes)
    return tiny.tiny_model(config).model.visual.compare_visual_encoder


def test_tokens_do_not_depend_on_the_order_of_patches_without_rope() -> None:
    encoder = random_encoder(compare_rope=False)
    previous, current = torch.randn(1, 16, 64), torch.randn(1, 16, 64)
    order = torch.randperm(16)
    plain, _ = encoder(FeatureBatch(previous, None, None), FeatureBatch(current, None, None))
    mixed, _ = encoder(
        FeatureBatch(previous[:, order], None, None), FeatureBatch(current[:, order], None, None)
    )
    torch.testing.assert_close(mixed, plain, atol=1e-5, rtol=1e-5)


def test_padding_does_not_leak(model: ADCopilotForConditionalGeneration) -> None:
    tower = model.model.visual
    grid = torch.tensor([[1, 4, 6], [1, 8, 4]])
    features = [torch.randn(24, 64), torch.randn(32, 64)]
    together, logits = tower.compare(features, grid, [(0, 0), (0, 1), (1, 0)])
    assert logits is not None
    assert [len(item) for item in logits] == [24, 32, 24]
    alone, _ = tower.compare(features[:1], grid[:1], [(0, 0)])
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-5)


def test_minus_residual_is_the_released_sign() -> None:
    minus = random_encoder(compare_rope=False)
    assert ADCopilotVisionConfig().compare_minus_residual
    batch = FeatureBatch(torch.randn(1, 8, 64), None, None)
    subtracted, _ = minus(batch, batch)
    minus.minus_residual = False
    added, _ = minus(batch, batch)
    assert (subtracted - added).abs().max() > 1e-3


def encode(processor: ADCopilotProcessor, images: list[Image.Image], samples: int = 1) -> Any:
    return processor(text=[PROMPT] * samples, images=images, padding=True, return_tensors="pt")


@torch.no_grad()
def test_the_first_image_is_independent_of_the_second(
    model: ADCopilotForConditionalGeneration, processor: ADCopilotProcessor
) -> None:
    golden, one, other = pictures(3)
    tokens: list[Tensor] = []
    for test in (one, other):
        inputs = encode(processor, [golden, test])
        features = model.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
        tokens.append(features.pooler_output[0])
    torch.testing.assert_close(tokens[0], tokens[1])


@torch.no_grad()
def test_a_sample_gives_the_same_alone_and_in_a_batch(
    model: ADCopilotForConditionalGeneration, processor: ADCopilotProcessor
) -> None:
    images = pictures(6)
    batch = model(**encode(processor, images, samples=3)).logits
    for row in range(3):
        alone = model(**encode(processor, images[2 * row : 2 * row + 2])).logits
        torch.testing.assert_close(batch[row : row + 1], alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_without_comparison_tokens_the_model_is_stock_qwen() -> None:
    ours = tiny.tiny_model(tiny.tiny_config(compare_token_size=0, compare_rope=False))
    config = ours.config.to_dict()
    config["vision_config"]["model_type"] = "qwen2_5_vl_vision"
    stock = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(**{**config, "model_type": "qwen2_5_vl"})
    ).eval()
    stock.load_state_dict(ours.state_dict())
    image_id = ours.config.image_token_id
    ids = torch.tensor([[1, 2, 3, *[image_id] * 6, 4, *[image_id] * 6, 5, 6]])
    inputs = {
        "input_ids": ids,
        "mm_token_type_ids": (ids == image_id).int(),
        "pixel_values": torch.randn(48, 1176),
        "image_grid_thw": torch.tensor([[1, 4, 6], [1, 6, 4]]),
    }
    torch.testing.assert_close(ours(**inputs).logits, stock(**inputs).logits, atol=1e-4, rtol=1e-4)


def test_gradient_reaches_every_parameter(processor: ADCopilotProcessor) -> None:
    model = tiny.tiny_model(tiny.tiny_config()).train()
    inputs = encode(processor, pictures(2))
    features = model.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
    assert features.anomaly_logits is not None
    loss = model(**inputs, labels=inputs["input_ids"]).loss + features.anomaly_logits[1].sum()
    loss.backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert without == []


@torch.no_grad()
@pytest.mark.parametrize("mode", ["shared", "diagonal", "diagonal_scaled"])
def test_cached_generation_equals_uncached(processor: ADCopilotProcessor, mode: str) -> None:
    model = tiny.tiny_model(tiny.tiny_config(compare_position_mode=mode))
    model.generation_config.eos_token_id = None
    inputs = encode(processor, pictures(2))
    cached, uncached = (
        model.generate(**inputs, max_new_tokens=12, do_sample=False, use_cache=use_cache)
        for use_cache in (True, False)
    )
    assert cached.tolist() == uncached.tolist()


@torch.no_grad()
@pytest.mark.parametrize("mode", ["shared", "diagonal", "diagonal_scaled"])
def test_a_batch_is_generated_as_its_rows_alone_step_by_step(
    processor: ADCopilotProcessor, mode: str
) -> None:
    """Rows of different lengths, each with two images of its own, against a loop without cache."""
    model = tiny.tiny_model(tiny.tiny_config(compare_position_mode=mode, is_tied=False))
    images = [pictures(2, seed=0), pictures(2, 56, 84, seed=1)]
    texts = [PROMPT, PROMPT.replace("Is there", "Tell me at once, is there")]
    inputs = processor(
        text=texts, images=images, padding=True, padding_side="left", return_tensors="pt"
    )
    chosen = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    made = model.generate(**inputs, **chosen, output_logits=True, return_dict_in_generate=True)
    length = inputs["input_ids"].shape[1]
    for row in range(2):
        alone = dict(processor(text=[texts[row]], images=[images[row]], return_tensors="pt"))
        for step in range(5):
            logits = model(**alone, use_cache=False).logits[0, -1]
            torch.testing.assert_close(made.logits[step][row], logits, atol=1e-4, rtol=1e-4)
            token = logits.argmax()[None, None]
            assert int(made.sequences[row, length + step]) == int(token)
            more = {"input_ids": token, "mm_token_type_ids": 0 * token, "attention_mask": token**0}
            alone |= {name: torch.cat([alone[name], value], 1) for name, value in more.items()}


@pytest.mark.parametrize("layout", ["disk", "memory", "query_weight"])
def test_every_released_layout_loads(tmp_path: Path, layout: str) -> None:
    model = tiny.tiny_model(tiny.tiny_config())
    prefix = "memory" if layout == "memory" else "disk"
    tiny.save_tiny(tmp_path, model, prefix=prefix)
    if layout == "query_weight":
        tensors = load_file(tmp_path / "model.safetensors")
        tensors[f"{QUERIES}.weight"] = tensors.pop(QUERIES)
        save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert type(loaded).__name__ == ADCopilotForConditionalGeneration.__name__
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_saving_writes_the_released_layout(tmp_path: Path) -> None:
    tiny.save_tiny(tmp_path, tiny.tiny_model(tiny.tiny_config()))
    names = load_file(tmp_path / "model.safetensors").keys()
    assert QUERIES in names
    assert "model.layers.0.mlp.up_proj.weight" in names


def test_the_older_name_loads_too(tmp_path: Path) -> None:
    tiny.save_tiny(tmp_path, tiny.tiny_model(tiny.tiny_config()))
    path = tmp_path / "config.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"ad_copilot"', '"yangjian"'), encoding="utf-8")
    assert AutoConfig.from_pretrained(tmp_path).model_type == "yangjian"
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert type(loaded).__name__ == YangJianForConditionalGeneration.__name__
    assert isinstance(AutoProcessor.from_pretrained(tmp_path), ADCopilotProcessor)


def test_an_unknown_position_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="compare_position_mode must be one of"):
        ADCopilotConfig(compare_position_mode="square")  # type: ignore[arg-type]


def test_the_processor_keeps_its_token_count(tmp_path: Path, processor: ADCopilotProcessor) -> None:
    processor.save_pretrained(tmp_path)
    assert AutoProcessor.from_pretrained(tmp_path).compare_token_size == 6


def test_a_new_encoder_starts_at_the_same_place() -> None:
    """Without training, a patch attends most to its own place in the other image."""
    model = ADCopilotForConditionalGeneration(tiny.tiny_config())
    attention = model.model.visual.compare_visual_encoder.encoder_cross_attn2
    bias = attention.q_proj.bias.detach().unflatten(0, (attention.num_heads, -1))
    half = bias.shape[1] // 2
    frequency = 10_000.0 ** (-torch.arange(0, half, 2) / half)
    weights = bias[0, : half // 2] ** 2
    scores = [float((weights * torch.cos(step * frequency)).sum()) for step in range(4)]
    assert all(near > far for near, far in pairwise(scores))
