"""Time a bundle's vision tower beside transformers' own, from patches to merged tokens.

    python tests/full_shape.py 3b checkpoint-3b
    python tests/bench_vision.py checkpoint-3b bundle --rounds 5

The same weights, image and threads; all take turns. Transformers' tower is the stock one of
Qwen2.5-VL, in float32 and in bfloat16; ``--batched`` adds this project's training tower, whose
windows go through one attention and whose patch embedding is a product. The error is the largest
difference of the tokens to the stock tower in float32, over the largest value.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from bench_takt import time_in_turns
from transformers import PreTrainedModel
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.runtime.machine import cpu_model
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.runtime.vision import ImageEncoder
from adcopilot_edge.training.model import ADCopilotVisionTower
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import FloatArray

_PREFIX = "visual."


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    bundle, checkpoint = open_bundle(options.bundle), open_checkpoint(options.checkpoint)
    manifest = bundle.manifest
    model = manifest.model
    preprocessor = Preprocessor(
        image_height=model.image_height,
        image_width=model.image_width,
        patch_size=model.patch_size,
        temporal_patch_size=model.temporal_patch_size,
        merge_size=model.merge_size,
        image_mean=manifest.preprocessing.image_mean,
        image_std=manifest.preprocessing.image_std,
    )
    patches = preprocessor.patches(preprocessor.resize(generate_pair(0, size=448).test))
    encoder = ImageEncoder(bundle, provider="cpu", num_threads=options.threads)
    ours, exact = f"ours, {manifest.graphs['vision'].precision}", "transformers, float32"
    runs: dict[str, Callable[[], FloatArray]] = {
        ours: lambda: np.asarray(encoder.encode(patches).tokens)
    }
    towers: dict[str, type[PreTrainedModel]] = {
        "transformers": Qwen2_5_VisionTransformerPretrainedModel
    }
    if options.batched:
        towers["training's"] = ADCopilotVisionTower
    for name, kind in towers.items():
        for word in ("float32", "bfloat16"):
            tower = open_tower(kind, checkpoint, getattr(torch, word))
            runs[f"{name}, {word}"] = runner(tower, patches, preprocessor.grid)
    tokens = {name: run() for name, run in runs.items()}
    seconds = time_in_turns(runs, options.rounds, pause_s=0.2)
    print(f"{cpu_model()}, {options.threads} threads, {options.rounds} rounds in turns")
    print(f"{len(patches)} patches, {model.num_merged} tokens of {model.hidden_size}\n")
    print(f"{'':<28}{'median':>12}{'x ours':>9}{'error':>10}")
    rows = {}
    for name, times in seconds.items():
        ratio = median(one / first for one, first in zip(times, seconds[ours], strict=True))
        error = np.abs(tokens[name] - tokens[exact]).max() / np.abs(tokens[exact]).max()
        rows[name] = {
            "median_s": round(median(times), 4),
            "times_ours": round(ratio, 2),
            "max_rel": float(f"{error:.2g}"),
        }
        print(f"{name:<28}{median(times):>10.4f} s{ratio:>9.2f}{error:>10.2g}")
    print(json.dumps({"precision": manifest.precision, "threads": options.threads, "rows": rows}))


def open_tower(
    kind: type[PreTrainedModel], checkpoint: Checkpoint, dtype: torch.dtype
) -> PreTrainedModel:
    """A tower in transformers with the weights of ``checkpoint``."""
    tower: PreTrainedModel = kind._from_config(checkpoint.vision)
    expected = set(tower.state_dict())
    weights = {
        name: torch.from_numpy(checkpoint.tensor(f"{_PREFIX}{name}")).to(dtype) for name in expected
    }
    # The rotary frequencies stay in float32, as transformers keeps them.
    tower.load_state_dict(weights, assign=True)
    return tower.eval().requires_grad_(False)


def runner(
    tower: PreTrainedModel, patches: FloatArray, grid: tuple[int, int, int]
) -> Callable[[], FloatArray]:
    """From patches to the merged tokens (N / 4, D) float32."""
    grid_thw = torch.tensor([grid])
    dtype = next(tower.parameters()).dtype

    @torch.inference_mode()
    def run() -> FloatArray:
        found = tower(torch.from_numpy(patches).to(dtype), grid_thw=grid_thw)
        tokens: FloatArray = found.pooler_output.float().numpy()
        return tokens

    return run


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--batched", action="store_true", help="the training's tower as well")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()
