"""A tiny random checkpoint: the real classes and files, weights that let every error show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import onnxruntime
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from adcopilot_edge.areas import TOLD_GAIN
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import ModelRecipe
from adcopilot_edge.training.scratch import build_config
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.training.tokenizer import CHAT_TEMPLATE, build_tokenizer

RECIPE = ModelRecipe(
    vocab_size=320,
    vision_width=64,
    vision_depth=3,
    vision_heads=4,
    vision_mlp=96,
    full_attention_blocks=(1,),
    hidden_size=64,
    layers=2,
    heads=4,
    kv_heads=2,
    mlp=96,
    mrope_section=(2, 3, 3),
    compare_token_size=6,
    compare_position_mode="diagonal",
    compare_rope=True,
    compare_anomaly_map=True,
)

# A small image that is no square, and two pairs at its size.
PREPROCESSOR = Preprocessor(image_height=56, image_width=84)
PAIR_IMAGES = [
    (PREPROCESSOR.resize(pair.golden), PREPROCESSOR.resize(pair.test))
    for pair in (generate_pair(seed, size=112) for seed in range(2))
]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, the special tokens, and a few merges of the prompt's words."""
    texts = [DEFAULT_PROMPT.golden, *DEFAULT_PROMPT.tasks.values()]
    return build_tokenizer(texts, vocab_size=RECIPE.vocab_size)


def tiny_processor(
    *, compare_token_size: int = RECIPE.compare_token_size, template: str = CHAT_TEMPLATE
) -> ADCopilotProcessor:
    """The processor of a tiny model, with the stock limits of image sizes."""
    return ADCopilotProcessor(
        image_processor=Qwen2VLImageProcessorPil(),
        tokenizer=tiny_tokenizer(),
        chat_template=template,
        compare_token_size=compare_token_size,
    )


def tiny_config(*, is_tied: bool = True, **changes: Any) -> ADCopilotConfig:
    """The configuration of ``RECIPE`` with ``changes`` to the recipe."""
    recipe = RECIPE.model_copy(update=changes)
    config = build_config(recipe, tiny_tokenizer())
    config.tie_word_embeddings = is_tied
    return config


def tiny_model(config: ADCopilotConfig, seed: int = 0) -> ADCopilotForConditionalGeneration:
    """A model whose outputs depend on every weight: unit-gain matrices, biases and gains at odds.

    The default initialisation is too weak: with it, a wrong sign in a block hardly shows.
    """
    model = ADCopilotForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.copy_(0.1 * noise + (0.0 if name.endswith("bias") else 1.0))
            elif "embed_tokens" in name or "query_embeddings" in name:
                parameter.copy_(noise)
            elif "told_map" in name:
                parameter.copy_(noise / TOLD_GAIN)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return model


def save_tiny(
    folder: Path,
    model: ADCopilotForConditionalGeneration,
    *,
    prefix: Literal["disk", "memory"] = "disk",
    is_stock: bool = False,
) -> Path:
    """Write ``model`` to ``folder`` as a whole checkpoint.

    prefix: tensor names as transformers saves them, or as they are called in memory. is_stock: say
    in the configuration that it is a plain Qwen2.5-VL.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    if prefix == "memory":
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        if model.config.tie_word_embeddings:
            del tensors["lm_head.weight"]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    count = model.model.visual.config.compare_token_size
    tiny_processor(compare_token_size=count).save_pretrained(folder)
    if is_stock:
        _call_it_stock(folder / "config.json")
    return folder


def tiny_checkpoint(
    folder: Path,
    *,
    prefix: Literal["disk", "memory"] = "disk",
    is_tied: bool = True,
    is_stock: bool = False,
    **changes: Any,
) -> Path:
    """A checkpoint of ``RECIPE`` with ``changes`` in ``folder``; returns the folder."""
    if is_stock:
        changes = {"compare_token_size": 0, **changes}
    model = tiny_model(tiny_config(is_tied=is_tied, **changes))
    return save_tiny(folder, model, prefix=prefix, is_stock=is_stock)


def _call_it_stock(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model_type"] = "qwen2_5_vl"
    content["architectures"] = ["Qwen2_5_VLForConditionalGeneration"]
    for key in ("compare_position_mode", "sequence_compare"):
        del content[key]
    vision = content["vision_config"]
    vision["model_type"] = "qwen2_5_vl_vision"
    for key in [key for key in vision if key.startswith("compare_")]:
        del vision[key]
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object in a file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def edit_tensors(path: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of a weight file in place."""
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def shard(folder: Path, num_shards: int = 2) -> list[Path]:
    """Cut a checkpoint's weight file into shards with an index; returns their paths."""
    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    files = [f"model-{number}-of-{num_shards}.safetensors" for number in range(1, num_shards + 1)]
    places = {name: files[index % num_shards] for index, name in enumerate(sorted(tensors))}
    for file in files:
        part = {name: tensors[name] for name in places if places[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = json.dumps({"metadata": {}, "weight_map": places})
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    return [folder / file for file in files]


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A session on one thread: tiny graphs gain nothing from more, and waiting threads cost."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
