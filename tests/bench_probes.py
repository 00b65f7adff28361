"""What a model's comparison tokens and patches know of a defect: its type and its place.

Pairs of our generator with one defect each go through the vision side. A linear classifier, and a
small one with a hidden layer, learn the type from four fifths of them and are scored on the rest;
a ridge regression does so for the centre. What a probe can't read there, no language model behind
the tokens can be expected to say.

    python tests/bench_probes.py runs/nano/checkpoint --surface "binary board"
"""

from __future__ import annotations

import argparse
import json
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from adcopilot_edge.training.base import load_base
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.recipe import BaseRecipe
from adcopilot_edge.training.sample_builder import sample_builder
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.training.targets import patch_targets
from adcopilot_edge.types import LabelledPair

_FIRST_SEED = 10_000_000  # far from those that training uses
_BATCH = 16
_HIDDEN = 64


class Known(NamedTuple):
    """Of each pair: tokens (L * D), the mean of its defect's patches (C), type, centre (2)."""

    tokens: Tensor
    patches: Tensor
    types: Tensor
    centres: Tensor


def main() -> None:
    options = parse_options()
    pairs = single_defects(options.pairs, options.image_size, options.surface)
    known = read(options.checkpoint, pairs, options.image_size)
    print(json.dumps(figures(known, options.image_size), indent=1))


def single_defects(count: int, size: int, surface: str | None) -> list[LabelledPair]:
    """Pairs with one defect each."""
    pairs: list[LabelledPair] = []
    seed = _FIRST_SEED
    while len(pairs) < count:
        pair = generate_pair(seed, size=size, surface=surface).to_labelled()
        seed += 1
        if len(pair.boxes) == 1:
            pairs.append(pair)
    return pairs


@torch.no_grad()
def read(checkpoint: str, pairs: list[LabelledPair], size: int) -> Known:
    """What the vision side makes of pairs."""
    model, processor = load_base(BaseRecipe(checkpoint=checkpoint))
    model.float()
    builder = sample_builder(model.config, processor, size)
    square = builder.images.square
    names = sorted({pair.labels[0] for pair in pairs})
    tokens, patches = [], []
    for start in range(0, len(pairs), _BATCH):
        some = pairs[start : start + _BATCH]
        masks = torch.stack([torch.from_numpy(pair.mask) for pair in some])
        shares = patch_targets(
            masks,
            patch_size=square.patch_size,
            merge_size=square.merge_size,
            scale=1,
            grown_px=0,
        )
        images = [square.patches(image) for pair in some for image in (pair.golden, pair.test)]
        compared, features = compare(model, torch.from_numpy(np.concatenate(images)), square.grid)
        tokens.append(compared.flatten(1))
        patches.append((features * shares).sum(1) / shares.sum(1).clamp(min=1e-6))
    boxes = torch.tensor([pair.boxes[0] for pair in pairs])
    return Known(
        tokens=torch.cat(tokens),
        patches=torch.cat(patches),
        types=torch.tensor([names.index(pair.labels[0]) for pair in pairs]),
        centres=(boxes[:, :2] + boxes[:, 2:]) / 2,
    )


def compare(
    model: ADCopilotForConditionalGeneration, patches: Tensor, grid: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Comparison tokens (B, L, D) and updated features (B, N, C) of the test images."""
    encoder = model.model.visual.compare_visual_encoder
    if encoder is None or encoder.anomaly_map is None:
        raise SystemExit("the probes read the features that the anomaly map reads: it has none")
    seen: list[Tensor] = []
    handle = encoder.anomaly_map.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    images = len(patches) // (grid[0] * grid[1] * grid[2])
    try:
        features = model.model.get_image_features(
            patches, torch.tensor([grid] * images), images_per_sample=[2] * (images // 2)
        )
    finally:
        handle.remove()
    assert features.pooler_output is not None
    count = len(encoder.query_embeddings)
    return torch.stack([item[-count:] for item in features.pooler_output[1::2]]), seen[0][1::2]


def figures(known: Known, size: int) -> dict[str, float]:
    """How right the probes are on the last fifth."""
    train = len(known.types) * 4 // 5
    most = known.types[train:].bincount().max() / (len(known.types) - train)
    return {
        "pairs": len(known.types),
        "type_by_guessing": round(float(most), 3),
        "type_from_patches_linear": classified(known.patches, known.types, train, hidden=0),
        "type_from_patches_hidden": classified(known.patches, known.types, train, hidden=_HIDDEN),
        "type_from_tokens_linear": classified(known.tokens, known.types, train, hidden=0),
        "centre_px_by_guessing": placed(torch.ones(len(known.types), 1), known.centres, train),
        "centre_px_from_tokens": placed(known.tokens, known.centres, train),
        "image_px": size,
    }


def classified(values: Tensor, types: Tensor, train: int, *, hidden: int) -> float:
    """The share of right types behind a classifier."""
    torch.manual_seed(0)
    inputs, classes = scaled(values, train), int(types.max()) + 1
    layers: list[nn.Module] = [nn.Linear(inputs.shape[1], hidden or classes)]
    if hidden:
        layers += [nn.GELU(), nn.Linear(hidden, classes)]
    probe = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(400):
        chosen = torch.randint(0, train, (256,))
        loss = functional.cross_entropy(probe(inputs[chosen]), types[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = probe(inputs[train:]).argmax(1) == types[train:]
    return round(float(right.float().mean()), 3)


def placed(values: Tensor, centres: Tensor, train: int) -> float:
    """The mean error along an axis in pixels, of the best of some ridge regressions."""
    inputs, mean = scaled(values, train), centres[:train].mean(0)
    square = inputs[:train].T @ inputs[:train]
    errors = []
    for strength in (1e1, 1e2, 1e3, 1e4, 1e5):
        ridge = square + strength * torch.eye(len(square))
        weights = torch.linalg.solve(ridge, inputs[:train].T @ (centres[:train] - mean))
        found = inputs[train:] @ weights + mean
        errors.append(float((found - centres[train:]).abs().mean()))
    return round(min(errors), 1)


def scaled(values: Tensor, train: int) -> Tensor:
    """Each value less its mean, over its deviation, both of the part that trains."""
    return (values - values[:train].mean(0)) / (values[:train].std(0) + 1e-5)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--surface")
    return parser.parse_args()


if __name__ == "__main__":
    main()
