"""A LoRA adapter in peft's format, merged into a checkpoint's weights as they are read.

A merged weight exists while somebody holds what was read, and no second copy of the model is ever
made. Knows peft's files and needs no peft.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, FiniteFloat, ValidationError

from adcopilot_edge.errors import CheckpointError, UnsupportedModelError
from adcopilot_edge.export.checkpoint import Checkpoint, hash_files, join_findings, read_json
from adcopilot_edge.export.embedding import EMBEDDING_TENSOR
from adcopilot_edge.export.hub import locate
from adcopilot_edge.export.tensors import FLOAT_TYPES, TensorEntry, our_name
from adcopilot_edge.manifest import AdapterSource
from adcopilot_edge.types import FloatArray

_CONFIG_FILE = "adapter_config.json"
_WEIGHTS_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
# Settings that, once set, make something else of an adapter than the sum that is computed here.
_OTHER_ARITHMETIC = (
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
)
# Initialisations that leave the base weights as they are; PiSSA, OLoRA and others change them.
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
# 16 MiB of float32: what a piece of the product takes beside the weights that it is added to.
_PIECE_VALUES = 1 << 22


class _LoraConfig(BaseModel):
    """What is read of ``adapter_config.json``; alpha_pattern: names of modules, as expressions."""

    lora_alpha: FiniteFloat
    alpha_pattern: dict[re.Pattern[str], FiniteFloat] | None = None
    use_rslora: bool | None = None

    def scale(self, module: str, rank: int) -> float:
        """The factor of a module's product, by the adapter's own name of the module."""
        alphas = (
            alpha
            for pattern, alpha in (self.alpha_pattern or {}).items()
            if re.match(rf"(.*\.)?({pattern.pattern})$", module)  # peft's own rule
        )
        return next(alphas, self.lora_alpha) / (rank**0.5 if self.use_rslora else rank)


@dataclass(frozen=True, slots=True)
class MergedEntry(TensorEntry):
    """A tensor that is read with the product of two factors added to it.

    up: (outputs, rank), down: (rank, inputs); those of a convolution have its kernel's axes behind.
    """

    up: TensorEntry
    down: TensorEntry
    scale: float

    def read(self, rows: slice = slice(None)) -> FloatArray:
        """The rows of ``weights + scale * up @ down``; raises as that of a plain tensor."""
        weights = TensorEntry.read(self, rows)  # super() knows no class with slots
        matrix = weights.reshape(len(weights), -1)
        up = self.scale * self.up.read(rows).reshape(len(weights), -1)
        down = self.down.read().reshape(up.shape[1], -1)
        step = max(1, _PIECE_VALUES // matrix.shape[1])
        for start in range(0, len(matrix), step):
            matrix[start : start + step] += up[start : start + step] @ down
        return matrix.reshape(weights.shape)


def merge_adapter(checkpoint: Checkpoint, source: str | os.PathLike[str]) -> Checkpoint:
    """``checkpoint`` with the adapter in the folder or hub repository ``source`` merged.

    Modules and biases that the adapter holds in full take the place of the checkpoint's.

    Raises:
        CheckpointError: A file is missing or damaged, or a tensor fits none of the checkpoint.
        UnsupportedModelError: The adapter is more than a sum of products of two factors.
    """
    origin = locate(source, revision=None, files=(_CONFIG_FILE, _WEIGHTS_FILE))
    config = _read_config(origin.folder / _CONFIG_FILE)
    origin.fetch([_WEIGHTS_FILE])
    entries, findings = _merge(checkpoint, origin.list_tensors(_WEIGHTS_FILE), config)
    if findings:
        raise CheckpointError(
            f"the adapter {origin.name} does not fit {checkpoint.name}: {join_findings(findings)}. "
            "Name the checkpoint that it was trained on."
        )
    sha256 = hash_files(origin.folder / name for name in (_CONFIG_FILE, _WEIGHTS_FILE))
    return replace(
        checkpoint, entries=entries, adapter=AdapterSource(name=origin.name, sha256=sha256)
    )


def _read_config(path: Path) -> _LoraConfig:
    """The settings of an adapter that is plain LoRA."""
    raw = read_json(path)
    findings = [f"{name} is set" for name in _OTHER_ARITHMETIC if raw.get(name)]
    if (kind := raw.get("peft_type")) != "LORA":
        findings.insert(0, f"peft_type is {kind!r}, only 'LORA' is known")
    if (start := raw.get("init_lora_weights")) not in _PLAIN_STARTS:
        findings.append(f"init_lora_weights {start!r} changed the weights that it was added to")
    if findings:
        raise UnsupportedModelError(
            f"{path} asks for what is not merged on the way: {join_findings(findings)}. Merge the "
            "adapter with peft (merge_and_unload), save the model, and export that."
        )
    try:
        return _LoraConfig.model_validate(raw)
    except ValidationError as err:
        raise CheckpointError(f"{path} is not valid: {err}") from err


def _merge(
    checkpoint: Checkpoint, tensors: Sequence[TensorEntry], config: _LoraConfig
) -> tuple[dict[str, TensorEntry], list[str]]:
    """The checkpoint's tensors with ``tensors`` in their place or on top, and what does not fit."""
    factors: dict[str, dict[str, TensorEntry]] = defaultdict(dict)
    entries, findings = dict(checkpoint.entries), []
    for tensor in tensors:
        module = tensor.name.removeprefix(_PREFIX).replace(".base_layer.", ".")
        if match := _FACTOR.fullmatch(module):
            factors[match["module"]][match["side"]] = tensor
        elif finding := _misfit(tensor, entries.get(our_name(module))):
            findings.append(finding)
        else:
            entries[our_name(module)] = tensor
    for module, pair in factors.items():
        base = entries.get(name := our_name(f"{module}.weight"))
        if finding := _pair_misfit(module, pair, base):
            findings.append(finding)
        else:
            assert base is not None
            scale = config.scale(module, pair["A"].shape[0])
            entries[name] = MergedEntry(
                base.file, base.name, base.shape, base.dtype, pair["B"], pair["A"], scale
            )
    changed = {name for name, entry in entries.items() if entry != checkpoint.entries[name]}
    if checkpoint.head_name == EMBEDDING_TENSOR and changed & {EMBEDDING_TENSOR, "lm_head.weight"}:
        findings.append("it changes the embedding table or the head, which are one tensor here")
    if not tensors:
        findings.append("it holds no tensors")
    return entries, findings


def _misfit(tensor: TensorEntry, base: TensorEntry | None) -> str | None:
    """Why ``tensor`` can't stand in the place of ``base``, if it can't."""
    if ".lora_" in tensor.name:
        return f"{tensor.name} is a factor of another kind than lora_A and lora_B"
    if base is None:
        return f"{tensor.name} matches no tensor"
    if tensor.shape != base.shape:
        return f"{tensor.name} has shape {tensor.shape}, not {base.shape}"
    return None


def _pair_misfit(module: str, pair: dict[str, TensorEntry], base: TensorEntry | None) -> str | None:
    """Why the product of a pair of factors can't be added to ``base``, if it can't."""
    if base is None:
        return f"{module} matches no tensor"
    if len(pair) != 2:
        return f"{module} has lora_{next(iter(pair))} and not its partner"
    up, down = pair["B"].shape, pair["A"].shape
    rank, kernel = math.prod(down[:1]), base.shape[2:]
    if (
        not rank
        or down != (rank, *base.shape[1:])
        or up != (base.shape[0], rank, *(1 for _ in kernel))
    ):
        return f"{module} has factors {up} and {down} for a weight {base.shape}"
    types = {entry.dtype for entry in pair.values()}
    if not types <= set(FLOAT_TYPES):
        return f"{module} has factors of type {', '.join(sorted(types))}"
    return None
