"""A curated set as the conversation JSON that other trainers read, pictures as files beside it.

LLaMA-Factory: ``messages`` and ``images`` with an ``<image>`` where a picture stands, and
``dataset_info.json``. It scales pictures and leaves numbers in texts alone, so boxes are written in
pixels of what Qwen2.5-VL gets to see there: ``llama_factory_size``. ms-swift: the boxes stay marks,
in pixels of the picture, with ``objects`` that say which picture; it scales them itself. Both open
a picture by Pillow's ``convert("RGB")`` and no more, so one that this would show otherwise than
``open_image`` is written anew. Knows neither models nor how the set was made.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import DatasetError, InputError
from adcopilot_edge.runtime.images import decoder_errors, open_header, open_raster
from adcopilot_edge.runtime.preprocess import smart_resize
from adcopilot_edge.training.chat_ad.sample import ChatSample, fill_boxes
from adcopilot_edge.training.chat_ad.shard_writer import read_picture
from adcopilot_edge.training.chat_ad.shards import ShardSet, StoredSample, find_shards
from adcopilot_edge.types import BBox, OnStep

Trainer = Literal["llama-factory", "ms-swift"]
TRAINERS: tuple[Trainer, ...] = get_args(Trainer)

IMAGE_MARK = "<image>"
_IMAGES = "images"
_ORIENTATION = 0x0112  # EXIF
_QUERY = 1  # place of the query among the images of a sample, the template first
# Limits of Qwen2.5-VL's own image processor, which follow LLaMA-Factory's.
_PROCESSOR_PIXELS = {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 16384}
_LEAST_SIDE, _MOST_ASPECT, _CUT_ASPECT = 28, 200, 180

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationForm:
    """For whom conversations are written.

    min_pixels, max_pixels: LLaMA-Factory's ``image_min_pixels`` and ``image_max_pixels``, with its
    own defaults; the training must run with the same. Of no meaning for ms-swift.
    """

    trainer: Trainer
    min_pixels: int = 32 * 32
    max_pixels: int = 768 * 768


def export_conversations(
    source: Path,
    folder: Path,
    form: ConversationForm,
    *,
    name: str,
    final: Path,
    report: OnStep | None = None,
) -> dict[str, int]:
    """Write all splits of the curated set ``source`` into ``folder``, which exists.

    Args:
        source: A curated set.
        folder: Is filled.
        form: For whom.
        name: Of the data sets in ``dataset_info.json``: ``name_train`` and so on.
        final: The folder that ``folder`` will be; ms-swift asks for absolute paths.
        report: Is told of progress.

    Returns:
        The number of conversations of each split.

    Raises:
        DatasetError: The set is damaged.
        OSError: The folder can't be written.
    """
    splits = {split: ShardSet(paths) for split, paths in find_shards(source).items()}
    total, done = sum(len(shards) for shards in splits.values()), 0
    pictures = _Pictures(folder, final.absolute() if form.trainer == "ms-swift" else Path())
    for split, shards in splits.items():
        is_lines = form.trainer == "ms-swift"
        opening, between, closing = ("", "\n", "\n") if is_lines else ("[\n", ",\n", "\n]\n")
        with atomic_write(folder / _file_name(split, form.trainer)) as file:
            for number, stored in enumerate(_in_order(shards, form)):
                record = json.dumps(_record(stored, pictures, form), ensure_ascii=False)
                file.write(f"{between if number else opening}{record}".encode())
                done += 1
                if report is not None:
                    report("samples", done, total)
            file.write(closing.encode())
    if form.trainer == "llama-factory":
        with atomic_write(folder / "dataset_info.json") as file:
            file.write(json.dumps(_dataset_info(name, list(splits)), indent=2).encode() + b"\n")
    return {split: len(shards) for split, shards in splits.items()}


def llama_factory_size(width: int, height: int, form: ConversationForm) -> tuple[int, int]:
    """(width, height) of what Qwen2.5-VL sees of a picture in LLaMA-Factory.

    Two steps: LLaMA-Factory scales the area into the form's limits and mends very small or long
    pictures (``_preprocess_image`` of its plugin for Qwen2-VL); then the image processor rounds to
    multiples of 28 by its own limits.
    """
    for is_out, limit in (
        (width * height > form.max_pixels, form.max_pixels),
        (width * height < form.min_pixels, form.min_pixels),
    ):
        if is_out:
            scale = math.sqrt(limit / (width * height))
            width, height = max(1, int(width * scale)), max(1, int(height * scale))
    if min(width, height) < _LEAST_SIDE:
        width, height = max(width, _LEAST_SIDE), max(height, _LEAST_SIDE)
    if width / height > _MOST_ASPECT:
        width = height * _CUT_ASPECT
    if height / width > _MOST_ASPECT:
        height = width * _CUT_ASPECT
    rows, columns = smart_resize(height, width, **_PROCESSOR_PIXELS)
    return columns, rows


def _in_order(shards: ShardSet, form: ConversationForm) -> Iterator[StoredSample]:
    """The samples in their order, for ms-swift one with boxes first.

    It reads by ``datasets``, which fixes the columns by the first ten megabytes; ``objects`` must
    be among them.
    """
    first = 0
    if form.trainer == "ms-swift":
        first = next((at for at, stored in enumerate(shards) if stored.sample.bboxes), 0)
    return (shards[at] for at in sorted(range(len(shards)), key=lambda at: at != first))


def _record(stored: StoredSample, pictures: _Pictures, form: ConversationForm) -> Record:
    sample = stored.sample
    turns = sample.turns
    record: Record = {}
    if form.trainer == "llama-factory":
        turns = fill_boxes(turns, sample.bboxes, _scaling(sample, form))
    elif sample.bboxes:
        boxes = [list(box) for box in sample.bboxes]
        record["objects"] = {"ref": [], "bbox": boxes, "image_id": [_QUERY] * len(boxes)}
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    messages[0]["content"] = f"{IMAGE_MARK}{IMAGE_MARK}{messages[0]['content']}"
    images = [
        pictures.add(sample.template, stored.template),
        pictures.add(sample.query, stored.query),
    ]
    return {"messages": messages, "images": images, **record}


def _scaling(sample: ChatSample, form: ConversationForm) -> Callable[[BBox], BBox]:
    width, height = sample.query_size
    columns, rows = llama_factory_size(width, height, form)
    across, down = columns / width, rows / height
    return lambda box: (box[0] * across, box[1] * down, box[2] * across, box[3] * down)


class _Pictures:
    """The pictures of a set as files, each once, under the hash of its bytes."""

    def __init__(self, folder: Path, base: Path) -> None:
        self._folder = folder
        self._base = base
        self._places: dict[str, str] = {}

    def add(self, name: Path, content: bytes | None) -> str:
        """Where the picture is, as trainers can open it.

        One that is no part of the set (``content`` is None) stays where it lies, if it is plain.

        Raises:
            DatasetError: It can't be read.
        """
        key = str(name) if content is None else hashlib.sha256(content).hexdigest()
        if key not in self._places:
            try:
                self._places[key] = self._place(name, content)
            except InputError as err:
                raise DatasetError(f"{name}: {err}") from err
        return self._places[key]

    def _place(self, name: Path, content: bytes | None) -> str:
        stored = read_picture(name) if content is None else content
        is_plain = _is_plain(stored)
        if content is None and is_plain:
            return str(name)
        digest = hashlib.sha256(stored).hexdigest()
        suffix = name.suffix.lower() if is_plain else ".png"
        place = Path(_IMAGES, digest[:2], f"{digest[:24]}{suffix}")
        path = self._folder / place
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                if is_plain:
                    file.write(stored)
                else:
                    open_raster(stored).save(file, format="PNG")
        return str(self._base / place)


def _is_plain(content: bytes) -> bool:
    """Whether ``convert("RGB")`` alone shows what ``open_image`` does: upright, opaque, 8 bits."""
    with decoder_errors("its file"), open_header(io.BytesIO(content)) as image:
        is_opaque = "A" not in image.getbands() and "transparency" not in image.info
        is_upright = image.getexif().get(_ORIENTATION, 1) == 1
        return is_opaque and is_upright and not image.mode.startswith(("I", "F"))


def _file_name(split: str, trainer: Trainer) -> str:
    return f"{split}.jsonl" if trainer == "ms-swift" else f"{split}.json"


def _dataset_info(name: str, splits: list[str]) -> Record:
    """What LLaMA-Factory must know of the files: its format "sharegpt" with OpenAI's names."""
    return {
        f"{name}_{split}": {
            "file_name": _file_name(split, "llama-factory"),
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
            },
        }
        for split in splits
    }
