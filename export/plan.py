"""What an export would write, and how much memory it would take: the answer to ``--dry-run``.

Reads a checkpoint's configuration and the headers of its weight files, nothing more.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.describe import TOKENIZER_FILE, describe_model
from adcopilot_edge.export.embedding import EMBEDDING_TENSOR
from adcopilot_edge.export.linear import BlockForm, FloatForm, LinearForm
from adcopilot_edge.export.memory import MemoryPlan, ModelBytes, plan_memory
from adcopilot_edge.export.precision import vision_style
from adcopilot_edge.export.qdq import QdqForm, is_quantized
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.reference import VISION_DTYPE
from adcopilot_edge.export.static import StaticInt8Form
from adcopilot_edge.export.streamed import unit_bytes
from adcopilot_edge.manifest import ModelSpec

_STACKED = re.compile(r"(mlp\d?|self_attn)\.(?:gate|up|q|k|v)_proj")
_GATED = re.compile(r"(?:gate|up)_proj$")
# Nodes, names and small constants of one block, about, as the written graphs have them.
_BLOCK_BYTES = 20_000
# Of an MLP's width: gate, up, what the activation makes of the gate, the product, and two of a
# conversion; 0.33 MB a patch at full width, as measured between 448 and 840 pixels.
_MLP_COPIES = 6
# The words of the prompt, about.
_PROMPT_TOKENS = 128
# The sums of all inputs, a copy to work on, its inverse, and the factor of that.
_GRAM_COPIES = 5


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """Estimates in bytes.

    files: by name, but for the manifest. memory: how the proof, which takes the most, keeps to its
    limit.
    """

    files: dict[str, int]
    memory: MemoryPlan

    @property
    def total(self) -> int:
        """The size of the bundle."""
        return sum(self.files.values())

    def to_json(self) -> dict[str, Any]:
        """The plan as the object that ``export --dry-run --json`` prints."""
        return {
            "files": self.files,
            "total_bytes": self.total,
            "peak_memory_bytes": self.memory.peak,
            "memory_limit_bytes": self.memory.limit,
            "proof": "whole" if self.memory.is_whole else "in pieces",
        }


def plan_export(
    checkpoint: Checkpoint, recipe: ExportRecipe, max_ram: int | None = None
) -> ExportPlan:
    """The files that ``recipe`` would make of ``checkpoint``, within ``max_ram`` bytes of memory.

    Raises:
        ConfigError: A setting does not fit the model, or the memory is too small.
    """
    model = describe_model(checkpoint, recipe)
    data: Counter[str] = Counter()
    for name, entry in checkpoint.entries.items():
        if name not in (EMBEDDING_TENSOR, "lm_head.weight"):
            data[_graph_of(name)] += _tensor_bytes(name, entry.shape, _form_of(name, recipe))
    vocab, width = checkpoint.entries[EMBEDDING_TENSOR].shape
    data["decoder"] += recipe.head_form.weight_bytes(vocab, width)
    blocks = {
        "vision": checkpoint.vision.depth,
        "comparison": 3,
        "decoder": model.num_layers,
    }
    files = {}
    for graph, size in sorted(data.items()):
        files[f"{graph}.onnx"] = blocks[graph] * _BLOCK_BYTES
        files[f"{graph}.onnx.data"] = size
    files["vision.probes.onnx"] = files["vision.onnx"]
    if isinstance(vision_style(recipe).form, StaticInt8Form):
        for graph in {"vision", "comparison"} & data.keys():
            files[f"{graph}.ranges.onnx"] = files[f"{graph}.onnx"]
    files["embedding.npy"] = (4 if recipe.llm == "fp32" else 2) * vocab * width
    files["parity.safetensors"] = _parity_bytes(model, checkpoint.vision.compare_map_scale)
    files[TOKENIZER_FILE] = (checkpoint.path / TOKENIZER_FILE).stat().st_size
    units = unit_bytes(checkpoint, vision_dtype=VISION_DTYPE)
    model_bytes = ModelBytes(
        torch_total=sum(units),
        torch_largest=max(units),
        graphs=sum(products := list(_node_bytes(checkpoint, recipe))) + data["vision"],
        largest_node=max(products),
        activations=_activation_bytes(checkpoint, model),
        rounding=_rounding_bytes(checkpoint) if recipe.quantizer == "gptq" else 0,
    )
    return ExportPlan(files=files, memory=plan_memory(model_bytes, max_ram))


def _node_bytes(checkpoint: Checkpoint, recipe: ExportRecipe) -> Iterator[int]:
    """The weights of every product on the CPU, layers with the same input counted as one."""
    products: Counter[str] = Counter()
    for name, entry in checkpoint.entries.items():
        if name not in (EMBEDDING_TENSOR, "lm_head.weight"):
            product = _STACKED.sub(r"\1", name)
            form = _proof_form(_form_of(name, recipe), recipe)
            products[product] += _tensor_bytes(name, entry.shape, form)
    yield from products.values()
    head = _proof_form(recipe.head_form, recipe)
    yield head.weight_bytes(*checkpoint.entries[EMBEDDING_TENSOR].shape)


def _activation_bytes(checkpoint: Checkpoint, model: ModelSpec) -> int:
    """What torch holds inside an MLP: gate, up and their product, of both images or the prompt."""
    vision = 2 * model.num_patches * checkpoint.vision.intermediate_size * VISION_DTYPE.itemsize
    tokens = 2 * (model.num_merged + model.compare_token_size) + _PROMPT_TOKENS
    text = tokens * checkpoint.config.text.intermediate_size * torch.float32.itemsize
    return _MLP_COPIES * max(vision, text)


def _rounding_bytes(checkpoint: Checkpoint) -> int:
    """What GPTQ takes: the sums over the widest input and what is made of them, in float64."""
    widest = max(
        entry.shape[1]
        for name, entry in checkpoint.entries.items()
        if name.startswith("language_model.layers.") and len(entry.shape) == 2
    )
    return _GRAM_COPIES * 8 * widest**2


def _graph_of(name: str) -> str:
    """The graph that a tensor goes to."""
    if name.startswith("visual.compare_visual_encoder."):
        return "comparison"
    return "vision" if name.startswith("visual.") else "decoder"


def _form_of(name: str, recipe: ExportRecipe) -> LinearForm:
    """The form of the layer that a tensor belongs to."""
    if ".anomaly_map." in name or ".type_map." in name:
        return FloatForm()
    if not name.startswith("visual."):
        return recipe.decoder_form()
    form = vision_style(recipe).form
    if is_quantized(_GATED.sub("gate_up", name.removesuffix(".weight"))):
        return form
    if isinstance(form, StaticInt8Form):
        return FloatForm()
    return form.floats if isinstance(form, QdqForm) else form


def _proof_form(form: LinearForm, recipe: ExportRecipe) -> LinearForm:
    """What a form takes in the proof: the CPU computes float16, and observes ranges, in float32."""
    if isinstance(form, BlockForm):
        return form
    return FloatForm() if recipe.target != "cpu" or recipe.needs_ranges else form


def _tensor_bytes(name: str, shape: tuple[int, ...], form: LinearForm) -> int:
    """What a tensor takes in a graph's data file: matrices in ``form``, all else in float32."""
    if len(shape) > 1 and name.endswith(".weight"):
        return form.weight_bytes(shape[0], math.prod(shape[1:]))
    return 4 * math.prod(shape)


def _parity_bytes(model: ModelSpec, map_scale: int) -> int:
    """The stored pair: two images, and the output of every stage."""
    floats = model.num_patches * (model.patch_values + model.vision_width)
    floats += (model.num_merged + model.compare_token_size) * model.hidden_size
    floats += model.vocab_size
    if model.has_anomaly_map:
        floats += model.num_patches * (map_scale**2 + len(model.map_types))
    return 6 * model.image_height * model.image_width + 4 * floats
