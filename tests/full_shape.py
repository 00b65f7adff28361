"""Write a random AD-Copilot checkpoint of a released shape, one shard at a time.

Real classes, real shapes, real layout; the values are noise of realistic scale. Memory stays below
2 GB, since a tensor is drawn and written before the next.

    python tests/full_shape.py 7b checkpoint-7b
    python tests/full_shape.py 3b checkpoint-3b --stock
    python tests/full_shape.py nano checkpoint-nano
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tiny
import torch
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import load_recipe
from adcopilot_edge.training.tokenizer import CHAT_TEMPLATE

# Of Qwen2.5-VL: width, MLP, layers, heads, key-value heads, vocabulary, tied head.
SHAPES: dict[str, tuple[int, int, int, int, int, int, bool]] = {
    "3b": (2048, 11008, 36, 16, 2, 151936, True),
    "7b": (3584, 18944, 28, 28, 4, 152064, False),
}
_SHARD_BYTES = 1 << 30


def full_config(
    shape: str,
    *,
    compare_token_size: int = 100,
    layers: int | None = None,
    vocab_size: int | None = None,
) -> Any:
    """The configuration of ``shape``; layers, vocab_size: fewer of the language model's."""
    width, mlp, depth, heads, kv_heads, vocab, is_tied = SHAPES[shape]
    small = tiny.tiny_config()
    return ADCopilotConfig(
        text_config={
            "vocab_size": vocab_size or vocab,
            "hidden_size": width,
            "intermediate_size": mlp,
            "num_hidden_layers": layers or depth,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": 128_000,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1_000_000.0,
                "mrope_section": [16, 24, 24],
            },
            "bos_token_id": small.text.bos_token_id,
            "eos_token_id": small.text.eos_token_id,
            "pad_token_id": small.text.pad_token_id,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": width,
            "fullatt_block_indexes": [7, 15, 23, 31],
            "compare_token_size": compare_token_size,
        },
        image_token_id=small.image_token_id,
        video_token_id=small.video_token_id,
        vision_start_token_id=small.vision_start_token_id,
        vision_end_token_id=small.vision_end_token_id,
        tie_word_embeddings=is_tied,
    )


def nano_config() -> Any:
    """The configuration of the nano, but for its vocabulary."""
    shapes = load_recipe("nano").model
    assert shapes is not None
    return tiny.tiny_config(**shapes.model_dump(exclude={"vocab_size"}))


def write_checkpoint(folder: Path, config: Any, *, seed: int = 0) -> Path:
    """Write a checkpoint of ``config`` in bfloat16 shards of about 1 GB."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        model = ADCopilotForConditionalGeneration(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        del shapes["lm_head.weight"]
    weight_map: dict[str, str] = {}
    for number, names in enumerate(_shards(shapes), start=1):
        file = f"model-{number:05}.safetensors"
        _write_shard(folder / file, {name: shapes[name] for name in names}, seed)
        weight_map.update(dict.fromkeys(map(_disk_name, names), file))
    total = 2 * sum(torch.Size(shape).numel() for shape in shapes.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    config.save_pretrained(folder)
    ADCopilotProcessor(
        image_processor=Qwen2VLImageProcessorPil(),
        tokenizer=tiny.tiny_tokenizer(),
        chat_template=CHAT_TEMPLATE,
        compare_token_size=config.vision.compare_token_size,
    ).save_pretrained(folder)
    return folder


def _write_shard(path: Path, shapes: dict[str, tuple[int, ...]], seed: int) -> None:
    """A safetensors file: the length of the header, the header, the tensors. Rows go out as drawn.

    The library's own writer holds a shard twice.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        offsets = [start, end]
        header[_disk_name(name)] = {"dtype": "BF16", "shape": shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            for rows in _draw(name, shape, seed):
                file.write(rows.bfloat16().view(torch.uint8).numpy().data)


def _shards(shapes: dict[str, tuple[int, ...]]) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, shape in shapes.items():
        length = 2 * torch.Size(shape).numel()
        if names and size + length > _SHARD_BYTES:
            yield names
            names, size = [], 0
        names.append(name)
        size += length
    yield names


def _disk_name(name: str) -> str:
    """The released layout: ``visual.*`` and ``model.layers.*``."""
    if name.startswith("model.visual."):
        return name.removeprefix("model.")
    return name.replace("model.language_model.", "model.")


def _draw(name: str, shape: tuple[int, ...], seed: int) -> Iterator[Tensor]:
    """Noise that keeps the scale of what passes through: gains near 1, products near unit gain.

    A matrix comes some rows at a time. Its rows are 256 drawn ones, shifted anew each time: drawing
    8 billion values would take minutes.
    """
    generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
    if len(shape) == 1:
        noise = 0.02 * torch.randn(shape, generator=generator)
        yield noise if name.endswith("bias") else 1 + noise
        return
    fan_in = torch.Size(shape[1:]).numel()
    gain = 1.0 if "embed" in name else (1.0 if fan_in == shape[0] else 0.7) * fan_in**-0.5
    block = gain * torch.randn((min(shape[0], 256), *shape[1:]), generator=generator)
    for start in range(0, shape[0], len(block)):
        shift = int(torch.randint(fan_in, (1,), generator=generator))
        yield block[: shape[0] - start].roll(shift, dims=-1).contiguous()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("shape", choices=[*sorted(SHAPES), "nano"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--stock", action="store_true", help="without a Comparison Encoder")
    parser.add_argument("--layers", type=int, help="fewer layers of the language model")
    arguments = parser.parse_args()
    started = time.monotonic()
    if arguments.shape == "nano":
        if arguments.stock or arguments.layers:
            parser.error("the nano has one shape: no --stock, no --layers")
        config = nano_config()
    else:
        config = full_config(
            arguments.shape,
            compare_token_size=0 if arguments.stock else 100,
            layers=arguments.layers,
        )
    folder = write_checkpoint(arguments.out, config)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder}: {size / 1e9:.2f} GB in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
