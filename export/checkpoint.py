"""Read a checkpoint: a Hugging Face folder or repository, its settings, its tensors one at a time.

The only place that knows how checkpoints are spelled: the released ``model_type`` names, stock
Qwen2.5-VL, language models alone; one file or shards. Inside, tensors are called ``visual.*``,
``language_model.*`` and ``lm_head.weight``, whatever the spelling.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from adcopilot_edge.bundle import hash_file
from adcopilot_edge.embedded import embedded_checkpoint, is_embedded
from adcopilot_edge.errors import CheckpointError, UnsupportedModelError
from adcopilot_edge.export.hub import Origin, locate
from adcopilot_edge.export.language import TEXT_CONFIGS, LanguageSettings, read_language
from adcopilot_edge.export.tensors import TensorEntry, our_name
from adcopilot_edge.manifest import AdapterSource
from adcopilot_edge.training.config import ADCopilotConfig, ADCopilotVisionConfig
from adcopilot_edge.types import FloatArray

STOCK_MODEL_TYPE = "qwen2_5_vl"
MODEL_TYPES = ("ad_copilot", "yangjian", STOCK_MODEL_TYPE)

_SINGLE_FILE = "model.safetensors"
_INDEX_FILE = "model.safetensors.index.json"
# What an export reads beside the weights, where a checkpoint has it.
_SETTINGS_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    _INDEX_FILE,
)
_MAX_FINDINGS = 10


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint. ``entries`` maps our name of each tensor to where it lies.

    model_type: the folder's own word. settings: the configuration in transformers' class for it;
    stock Qwen2.5-VL has ours, with ``compare_token_size`` 0. Tensors are read anew at each call and
    belong to the caller; nothing stays mapped in between. files: the configuration and the weight
    files, in name order. hub_name: ``owner/name@commit`` where it came from the hub. adapter: what
    is merged into the entries, if anything; its tensors lie in other files.
    """

    path: Path
    model_type: str
    settings: PreTrainedConfig
    entries: dict[str, TensorEntry]
    files: tuple[Path, ...] = ()
    hub_name: str | None = None
    adapter: AdapterSource | None = None

    @property
    def name(self) -> str:
        """What a bundle calls it: the hub's name or the folder's."""
        return self.hub_name or self.path.resolve().name

    def tensor(self, name: str) -> FloatArray:
        """The whole tensor, in float32.

        Raises:
            CheckpointError: The tensor holds NaN or infinity, or can't be read.
        """
        return self._read(name, slice(None))

    def chunks(self, name: str, max_rows: int) -> Iterator[FloatArray]:
        """The rows of a tensor in order, at most ``max_rows`` at a time; raises as ``tensor``."""
        for start in range(0, self.entries[name].shape[0], max_rows):
            yield self._read(name, slice(start, start + max_rows))

    def rows(self, name: str, indices: Sequence[int]) -> FloatArray:
        """The rows ``indices`` of a tensor, (n, ...) in their order; raises as ``tensor``."""
        return np.concatenate([self._read(name, slice(index, index + 1)) for index in indices])

    def _read(self, name: str, rows: slice) -> FloatArray:
        return self.entries[name].read(rows)

    @property
    def config(self) -> ADCopilotConfig:
        """The settings of the whole model.

        Raises:
            UnsupportedModelError: The checkpoint is a language model and nothing else.
        """
        if not isinstance(self.settings, ADCopilotConfig):
            raise UnsupportedModelError(
                f"{self.path} is a language model without a vision tower (model_type "
                f"{self.model_type!r}); this release exports {', '.join(MODEL_TYPES)}."
            )
        return self.settings

    @property
    def vision(self) -> ADCopilotVisionConfig:
        """The settings of the vision tower and the Comparison Encoder; raises as ``config``."""
        return self.config.vision

    @property
    def language(self) -> LanguageSettings:
        """The settings of the language model, of every family alike."""
        return read_language(self.settings)

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side."""
        return cast(int, self.vision.patch_size)

    @property
    def vision_rope(self) -> dict[str, Any]:
        """The rotary settings of the vision tower."""
        return cast(dict[str, Any], self.vision.rope_parameters)

    @property
    def head_name(self) -> str:
        """The tensor of the output head: the embedding table itself where the two are tied."""
        tied = self.settings.tie_word_embeddings or "lm_head.weight" not in self.entries
        return "language_model.embed_tokens.weight" if tied else "lm_head.weight"

    def sha256(self) -> str:
        """A hash over the files."""
        return hash_files(self.files)


def open_checkpoint(
    source: str | os.PathLike[str], *, revision: str | None = None, headers_only: bool = False
) -> Checkpoint:
    """Open a checkpoint: read its configuration and the headers of its weight files.

    Args:
        source: A folder, a hub id like ``jiang-cc/AD-Copilot``, which is downloaded first, or
            ``embedded``, the checkpoint of the package. A ``Path`` is always a folder.
        revision: Branch, tag or commit of a hub repository.
        headers_only: Weights that are not downloaded yet stay on the hub, so that shapes are known
            and values are not: enough for a plan.

    Raises:
        CheckpointError: A file is missing, damaged, or of an unknown form, or can't be had from the
            hub.
        ConfigError: There is a revision, and no hub repository.
        UnsupportedModelError: The model is none that the exporter knows.
    """
    place = embedded_checkpoint() if is_embedded(source) else source
    origin = locate(place, revision=revision, files=_SETTINGS_FILES)
    path = origin.folder
    raw = read_json(path / "config.json")
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or model_type not in (*MODEL_TYPES, *TEXT_CONFIGS):
        raise UnsupportedModelError(
            f"{path / 'config.json'} has model_type {model_type!r}; this release exports "
            f"{', '.join(MODEL_TYPES)}."
        )
    settings = _settings(raw, path)
    entries = _entries(origin, headers_only=headers_only)
    return Checkpoint(
        path,
        model_type,
        settings,
        entries,
        files=tuple(sorted({path / "config.json", *(entry.file for entry in entries.values())})),
        hub_name=None if origin.repo_id is None else origin.name,
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of the checkpoint. Raises CheckpointError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise CheckpointError(
            f"{path} is missing: {path.parent} is no Hugging Face checkpoint folder."
        ) from err
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{path} can't be read as JSON: {err}") from err
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(content).__name__}")
    return content


def hash_files(files: Iterable[Path]) -> str:
    """A hash over the names and contents of ``files``, in the order given."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {hash_file(file)}\n".encode())
    return digest.hexdigest()


def join_findings(findings: Sequence[str]) -> str:
    """All findings in one line; of a long list the first ones, and how many more there are."""
    more = len(findings) - _MAX_FINDINGS
    return "; ".join([*findings[:_MAX_FINDINGS], *([f"and {more} more"] if more > 0 else [])])


def _settings(raw: dict[str, Any], path: Path) -> PreTrainedConfig:
    """``config.json`` in its class of transformers, or in ours where there is a vision tower."""
    config_class = TEXT_CONFIGS.get(raw["model_type"], ADCopilotConfig)
    if raw["model_type"] == STOCK_MODEL_TYPE:
        raw = {**raw, "vision_config": {**raw.get("vision_config", {}), "compare_token_size": 0}}
    with warnings.catch_warnings():
        # Released files say rope_scaling; transformers reads it and says it is old.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return config_class.from_dict({**raw, "model_type": config_class.model_type})
        except (TypeError, ValueError, KeyError, StrictDataclassError) as err:
            raise CheckpointError(f"{path / 'config.json'} is not valid: {err}") from err


def _entries(origin: Origin, *, headers_only: bool) -> dict[str, TensorEntry]:
    """The tensors of every weight file under our names."""
    places = _index(origin.folder)
    files = sorted(set(places.values())) if places else [_SINGLE_FILE]
    if origin.repo_id is None or not headers_only:
        origin.fetch(files)
    tensors = [entry for name in files for entry in origin.list_tensors(name)]
    found = {(entry.name, entry.file.name) for entry in tensors}
    if lost := [f"{name} in {file}" for name, file in places.items() if (name, file) not in found]:
        raise CheckpointError(
            f"{origin.folder / _INDEX_FILE} names tensors that the files lack: "
            f"{join_findings(lost)}. Download or copy the checkpoint again."
        )
    return {our_name(entry.name): entry for entry in tensors}


def _index(path: Path) -> dict[str, str]:
    """File names by tensor name, as the index of a checkpoint in shards has them; else nothing."""
    file = path / _INDEX_FILE
    if not file.is_file():
        return {}
    places = read_json(file).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{file} has no weight_map. Download or copy it again.")
    return {str(name): str(place) for name, place in places.items()}
