"""What an export would write, and how much memory it would take: the answer to ``--dry-run``.

Reads a checkpoint's configuration and the headers of its weight files, nothing more.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.describe import TOKENIZER_FILE, describe_model
from adcopilot_edge.export.embedding import EMBEDDING_TENSOR
from adcopilot_edge.export.linear import FloatForm, LinearForm
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.manifest import ModelSpec

# torch, transformers and onnxruntime themselves, measured as the resident set after their import.
_LIBRARY_BYTES = 500 << 20
# Nodes, names and small constants of one block, about, as the written graphs have them.
_BLOCK_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """Estimates in bytes. files: by name, but for the manifest. peak_memory: of the whole export.

    The proof takes the most memory: it holds the whole model in float32.
    """

    files: dict[str, int]
    peak_memory: int

    @property
    def total(self) -> int:
        """The size of the bundle."""
        return sum(self.files.values())

    def to_json(self) -> dict[str, Any]:
        """The plan as the object that ``export --dry-run --json`` prints."""
        return {
            "files": self.files,
            "total_bytes": self.total,
            "peak_memory_bytes": self.peak_memory,
        }


def plan_export(checkpoint: Checkpoint, recipe: ExportRecipe) -> ExportPlan:
    """The files that ``recipe`` would make of ``checkpoint``.

    Raises:
        ConfigError: A setting does not fit the model.
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
    files["embedding.npy"] = (4 if recipe.llm == "fp32" else 2) * vocab * width
    files["parity.safetensors"] = _parity_bytes(model)
    files[TOKENIZER_FILE] = (checkpoint.path / TOKENIZER_FILE).stat().st_size
    num_values = sum(math.prod(entry.shape) for entry in checkpoint.entries.values())
    return ExportPlan(files=files, peak_memory=4 * num_values + _LIBRARY_BYTES)


def _graph_of(name: str) -> str:
    """The graph that a tensor goes to."""
    if name.startswith("visual.compare_visual_encoder."):
        return "comparison"
    return "vision" if name.startswith("visual.") else "decoder"


def _form_of(name: str, recipe: ExportRecipe) -> LinearForm:
    """The form of the layer that a tensor belongs to."""
    if ".anomaly_map." in name:
        return FloatForm()
    return recipe.vision_form if name.startswith("visual.") else recipe.decoder_form


def _tensor_bytes(name: str, shape: tuple[int, ...], form: LinearForm) -> int:
    """What a tensor takes in a graph's data file: matrices in ``form``, all else in float32."""
    if len(shape) > 1 and name.endswith(".weight"):
        return form.weight_bytes(shape[0], math.prod(shape[1:]))
    return 4 * math.prod(shape)


def _parity_bytes(model: ModelSpec) -> int:
    """The stored pair: two images, and the output of every stage."""
    floats = model.num_patches * (model.patch_values + model.vision_width)
    floats += (model.num_merged + model.compare_token_size) * model.hidden_size
    floats += model.vocab_size + (model.num_patches if model.has_anomaly_map else 0)
    return 6 * model.image_height * model.image_width + 4 * floats
