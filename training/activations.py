"""How much memory the passes of a stage take on one device, beside weights and optimizer.

The sum of what autograd keeps of every block (see ``kept``), which is counted on one block of each
kind in the precision of the products:

- tower: ``depth`` blocks over the patches of all images, those with attention in windows and those
  with attention over the image apart; nothing where no part of the tower learns;
- merger and Comparison Encoder over the same patches;
- language model: ``layers`` layers over all tokens; nothing where neither it nor what its images
  come from learns, or where no text is asked;
- head: of each answer token the logits, the logits in float32, and their gradient in float32.

With gradient checkpointing a block keeps its input alone, and one block at a time all it needs.
Not counted: what a kernel takes while it runs, and what the allocator holds back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adcopilot_edge.positions import PLACE_WAVES
from adcopilot_edge.training.comparison import FeatureBatch
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.saved_tensors import kept_bytes
from adcopilot_edge.training.stage_recipe import StageRecipe


@dataclass(frozen=True, slots=True)
class SampleShape:
    """A sample of two images: patches of each, tokens of the sequence, those that are answers."""

    patches: int
    tokens: int
    answers: int


def activation_bytes(
    model: ADCopilotForConditionalGeneration, stage: StageRecipe, shape: SampleShape, batch: int
) -> int:
    """The estimate for ``batch`` samples at once.

    model: with the stage's adapters and what learns marked, all tensors on the meta device.
    """
    parts = {*stage.learning_parts}
    has_text = stage.method == "grpo" or stage.loss.has_text
    sees = "tower" in parts
    depth, layers = model.config.vision.depth, model.config.text.num_hidden_layers
    patches = 2 * batch * shape.patches
    width = model.config.vision.hidden_size
    full = len(model.config.vision.fullatt_block_indexes)
    in_windows, over_image = _vision_blocks(model, batch, shape.patches) if sees else (0, 0)
    fixed = _merger(model, patches) if sees or "merger" in parts else 0
    fixed += _comparison(model, 2 * batch, shape.patches, needs_input=sees)
    layer = _layer(model, batch, shape.tokens) if has_text else 0
    size = next(model.parameters()).dtype.itemsize
    if has_text:
        answers = batch * shape.answers * model.config.text.vocab_size
        fixed += answers * (size + 2 * torch.float32.itemsize)
    if not stage.gradient_checkpointing:
        return fixed + (depth - full) * in_windows + full * over_image + layers * layer
    inputs = depth * patches * width if sees else 0
    if has_text:
        inputs += layers * batch * shape.tokens * model.config.text.hidden_size
    return fixed + inputs * size + max(in_windows, over_image, layer)


def _vision_blocks(
    model: ADCopilotForConditionalGeneration, batch: int, patches: int
) -> tuple[int, int]:
    """What a block with attention in windows keeps, and one with attention over each image."""
    vision = model.config.vision
    assert isinstance(vision.patch_size, int)
    window = (vision.window_size // vision.patch_size) ** 2
    found = []
    for block, length in (
        (_block(model, is_full=False), window),
        (_block(model, is_full=True), patches),
    ):
        count = -(-2 * batch * patches // length)
        hidden = _meta(block, count * length, vision.hidden_size)
        tables = _meta(block, 2, count * length, vision.hidden_size // vision.num_heads)
        lengths = torch.arange(count + 1, dtype=torch.int32) * length
        found.append(_kept(block, hidden, lengths, position_embeddings=tuple(tables.detach())))
    return found[0], found[1]


def _block(model: ADCopilotForConditionalGeneration, *, is_full: bool) -> nn.Module:
    """A block of the tower of that kind; any, where it has none."""
    visual = model.model.visual
    indices = set(visual.config.fullatt_block_indexes)
    chosen = [block for index, block in enumerate(visual.blocks) if (index in indices) == is_full]
    return (chosen or list(visual.blocks))[0]


def _merger(model: ADCopilotForConditionalGeneration, patches: int) -> int:
    merger = model.model.visual.merger
    return _kept(merger, _meta(merger, patches, model.config.vision.hidden_size))


def _comparison(
    model: ADCopilotForConditionalGeneration, images: int, patches: int, *, needs_input: bool
) -> int:
    encoder = model.model.visual.compare_visual_encoder
    if encoder is None:
        return 0
    vision = model.config.vision
    head = vision.hidden_size // vision.num_heads
    tables = anchors = waves = None
    if vision.compare_rope or vision.compare_query_grid:
        both = _meta(encoder, 2, images, patches, head).detach()
        tables = (both[0], both[1])
    if vision.compare_query_grid:
        both = _meta(encoder, 2, images, vision.compare_token_size, head).detach()
        anchors = (both[0], both[1])
    if vision.compare_patch_places:
        waves = _meta(encoder, images, patches, PLACE_WAVES).detach()
    batches = []
    for _ in range(2):
        features = _meta(encoder, images, patches, vision.hidden_size)
        batches.append(FeatureBatch(features.requires_grad_(needs_input), None, tables, waves))
    # What is kept of the told map is the same for all shapes of an image: here one row of cells.
    merge = vision.spatial_merge_size
    return _kept(encoder, *batches, anchors, [(merge, patches // merge)] * images)


def _layer(model: ADCopilotForConditionalGeneration, batch: int, tokens: int) -> int:
    layer = model.model.language_model.layers[-1]
    text = model.config.text
    hidden = _meta(layer, batch, tokens, text.hidden_size)
    tables = _meta(layer, 2, batch, tokens, text.hidden_size // text.num_attention_heads)
    return _kept(layer, hidden, position_embeddings=tuple(tables.detach()))


def _meta(module: nn.Module, *shape: int) -> Tensor:
    """A tensor without values that a module would get, and that the gradient goes on from."""
    dtype = next(module.parameters()).dtype
    return torch.empty(shape, dtype=dtype, device="meta", requires_grad=True)


def _kept(module: nn.Module, *inputs: object, **named: object) -> int:
    return kept_bytes(lambda: module(*inputs, **named), module.parameters())
