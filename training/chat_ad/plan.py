"""What a user asks of a curation, checked before any work. Knows no step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.training.chat_ad.duplicates import DUPLICATE_BITS
from adcopilot_edge.training.chat_ad.engines import EngineName
from adcopilot_edge.training.chat_ad.files import find_pictures
from adcopilot_edge.training.chat_ad.knowledge import load_knowledge
from adcopilot_edge.training.chat_ad.leakage import MMAD, read_classes
from adcopilot_edge.training.chat_ad.sample import SAMPLE_TASKS, SampleTask
from adcopilot_edge.training.chat_ad.source import escaped
from adcopilot_edge.training.chat_ad.splitting import SplitBy

if TYPE_CHECKING:
    from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings

_MOST_BITS = 64  # a quarter of all: what differs in more has nothing in common
# On which the teacher's answers depend; a larger budget or another time limit lets a run go on.
_TEACHER_FIELDS = {
    *("model", "tasks", "answer_form", "image_side", "jpeg_quality", "temperature", "top_p"),
    *("seed", "max_answer_tokens", "min_iou"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationPlan:
    """A curation.

    sources: folders of data sets. layout: of all of them, or None to recognise each. tasks: which
    dialogues are written. per_pair: how many of each task at most. limit: images of each category,
    half of them defective where there are enough. knowledge: files of what defects are.
    exclude_classes: ``mmad`` or a file. exclude_images: folders. strict: what leaks is an error.
    duplicate_bits: None keeps duplicates. validation: share of the pairs, 0 for none. licences: by
    source. embed: pictures go into the shards. shard_bytes: of pictures in one. engine, workers:
    how it is done, with no say in the result.
    """

    sources: tuple[Path, ...]
    name: str
    layout: str | None = None
    tasks: tuple[SampleTask, ...] = SAMPLE_TASKS
    per_pair: int = 1
    seed: int = 0
    limit: int | None = None
    exclude_classes: str | None = None
    exclude_images: tuple[Path, ...] = ()
    strict: bool = False
    duplicate_bits: int | None = DUPLICATE_BITS
    validation: float = 0.0
    split_by: SplitBy = "category"
    knowledge: tuple[Path, ...] = ()
    teacher: TeacherSettings | None = None
    licences: Mapping[str, str] = field(default_factory=dict)
    embed: bool = True
    shard_bytes: int = 500_000_000
    engine: EngineName = "local"
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise ConfigError(f"--validation must be 0 or more and below 1, got {self.validation}")
        if self.duplicate_bits is not None and not 0 <= self.duplicate_bits <= _MOST_BITS:
            raise ConfigError(
                f"--duplicate-bits must be 0 to {_MOST_BITS} of 256, got {self.duplicate_bits}"
            )
        roots = self.roots()
        for source in self.licences:
            if source not in roots:
                raise ConfigError(
                    f"--license {source}=...: there is no such source; there are: "
                    f"{', '.join(roots)}"
                )
        for folder in self.exclude_images:
            if not folder.is_dir():
                raise ConfigError(f"--exclude-images {folder}: there is no such folder")
        self.evaluated()
        load_knowledge(self.knowledge)
        if self.exclude_classes:
            read_classes(self.exclude_classes)

    def roots(self) -> dict[str, Path]:
        """The folder of each source, by its name: that of the folder.

        Raises:
            DatasetError: Two folders are called the same, or one is not there.
        """
        roots: dict[str, Path] = {}
        for path in self.sources:
            if not path.is_dir():
                raise DatasetError(f"there is no folder {path}; give the folder of a data set")
            name = path.resolve().name
            if name in roots:
                raise DatasetError(
                    f"{roots[name]} and {path} are both called {name}, and a source is known by "
                    "its name; rename one folder"
                )
            roots[name] = path.resolve()
        return roots

    def evaluated(self) -> list[Path]:
        """The pictures of all ``exclude_images``, with absolute paths.

        Raises:
            DatasetError: A folder has none, or a name is not UTF-8.
        """
        found: list[Path] = []
        for folder in self.exclude_images:
            pictures = find_pictures(folder.resolve())
            if not pictures:
                raise DatasetError(
                    f"--exclude-images {folder} holds no picture, so nothing can be compared with "
                    "it; give the folder of the images that are evaluated on"
                )
            odd = [path for path in map(str, pictures) if escaped(path) != path]
            if odd:
                raise DatasetError(
                    f"--exclude-images {folder}: the name {escaped(odd[0])} is not UTF-8; rename it"
                )
            found += pictures
        return found

    def origin(self) -> dict[str, Any]:
        """All that dialogues depend on but the sources' files, and so not the split, as plain JSON.

        What is in the files of knowledge and classes is there as a hash under their names.

        Raises:
            ConfigError: One of these can't be read any more.
        """
        return {
            "sources": [str(path) for path in self.roots().values()],
            "name": self.name,
            "layout": self.layout,
            "tasks": list(self.tasks),
            "per_pair": self.per_pair,
            "seed": self.seed,
            "limit": self.limit,
            "exclude_classes": self.exclude_classes,
            "exclude_images": [str(path.resolve()) for path in self.exclude_images],
            "duplicate_bits": self.duplicate_bits,
            "knowledge": [str(path.resolve()) for path in self.knowledge],
            "teacher": None
            if self.teacher is None
            else self.teacher.model_dump(mode="json", include=_TEACHER_FIELDS),
            "licences": dict(sorted(self.licences.items())),
            "embed": self.embed,
            "shard_bytes": self.shard_bytes,
            **{f"content of {path.resolve()}": _sha256(path) for path in self._files()},
        }

    def _files(self) -> list[Path]:
        """The files, beside the sources, on which the result depends."""
        lists = {self.exclude_classes or MMAD} - {MMAD}
        return [*self.knowledge, *map(Path, lists)]


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as err:
        raise ConfigError(f"can't read {path}: {err}; restore the file") from err
