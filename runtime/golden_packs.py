"""A folder of golden packs: found by key, stored, listed, removed, kept under a limit by last use.

Beside a bundle it is ``goldens/``, made by ``adcopilot-edge golden add``: like engines and verdict
states packs are no part of the bundle. Knows nothing of how a golden image is read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import PackError
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.golden_pack import (
    PackOrigin,
    PackRecord,
    read_pack,
    read_record,
    write_pack,
)

FOLDER = "goldens"
_SUFFIX = ".safetensors"
_DRAFT_AGE_S = 3600  # a draft of atomic_write that is older was left by a power cut


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPack:
    """A pack in a folder.

    record: None where the header is damaged, and ``problem`` says how. last_used: seconds since
    1970.
    """

    path: Path
    size_bytes: int
    last_used: float
    record: PackRecord | None
    problem: str | None = None


class GoldenPacks:
    """The packs in one folder, which need not exist.

    The last use of a pack is the time stamp of its file; where the folder can't be written to it
    stays as it was.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, bundle: Bundle) -> GoldenPacks:
        """The packs in the bundle's own folder."""
        return cls(bundle.path / FOLDER)

    def path(self, key: str) -> Path:
        """Where the pack with a key lies, or would."""
        return self.folder / f"{key[:32]}{_SUFFIX}"

    def load(self, key: str, *, bundle: str) -> GoldenReference | None:
        """The reference with this key, mapped from its file; None where there is none.

        Raises:
            PackError: The pack is damaged or of something else.
        """
        path = self.path(key)
        if not path.exists():
            return None
        _, reference = read_pack(path, key=key, bundle=bundle)
        with suppress(OSError):
            os.utime(path)
        return reference

    def store(self, reference: GoldenReference, origin: PackOrigin) -> StoredPack:
        """Store a reference, in the place of a pack with the same key.

        Raises:
            PackError: The folder can't be written to.
        """
        path = self.path(origin.key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            record = write_pack(path, reference, origin)
            return _stored(path, record)
        except OSError as err:
            raise PackError(
                f"can't write the golden pack {path}: {err.strerror or err}. Check the permissions "
                "and the free space, or name another folder with --packs"
            ) from err

    def stored(self) -> list[StoredPack]:
        """All packs, the one used last in front; their tensors are not looked at."""
        packs = []
        for path in self.folder.glob(f"[!.]*{_SUFFIX}"):
            with suppress(FileNotFoundError):  # removed by another process meanwhile
                try:
                    packs.append(_stored(path, read_record(path)))
                except PackError as err:
                    packs.append(_stored(path, None, str(err)))
        return sorted(packs, key=lambda pack: pack.last_used, reverse=True)

    def select(self, words: Sequence[str]) -> list[StoredPack]:
        """The packs that each word names: a product, or the start of an id of 6 digits or more.

        Raises:
            PackError: There is none for a word.
        """
        stored, chosen = self.stored(), []
        for word in words:
            found = [pack for pack in stored if _is_named(pack, word)]
            if not found:
                known = ", ".join(sorted({_label(pack) for pack in stored})) or "none"
                raise PackError(f"no golden pack {word!r} in {self.folder}, which has: {known}")
            chosen += [pack for pack in found if pack not in chosen]
        return chosen

    def remove(self, pack: StoredPack) -> None:
        """Remove a pack; inspections that use it go on. Raises PackError."""
        try:
            pack.path.unlink(missing_ok=True)
        except OSError as err:
            raise PackError(
                f"can't remove the golden pack {pack.path}: {err.strerror or err}"
            ) from err

    def prune(self, max_bytes: int, *, keep: Collection[Path] = ()) -> list[StoredPack]:
        """Remove the packs unused for longest until the others take at most ``max_bytes``.

        Args:
            max_bytes: The limit.
            keep: Files that stay, even if they take more than the limit.

        Returns:
            Those that were removed.

        Raises:
            PackError: One can't be removed.
        """
        self._remove_drafts()
        packs = self.stored()
        num_bytes = sum(pack.size_bytes for pack in packs)
        removed = []
        for pack in reversed(packs):
            if num_bytes <= max_bytes:
                break
            if pack.path not in keep:
                self.remove(pack)
                num_bytes -= pack.size_bytes
                removed.append(pack)
        return removed

    def _remove_drafts(self) -> None:
        """Remove what writers that lost their power have left."""
        for draft in self.folder.glob(f".*{_SUFFIX}.*.tmp"):
            with suppress(OSError):
                if time.time() - draft.stat().st_mtime > _DRAFT_AGE_S:
                    draft.unlink()


def _stored(path: Path, record: PackRecord | None, problem: str | None = None) -> StoredPack:
    status = path.stat()
    return StoredPack(
        path=path,
        size_bytes=status.st_size,
        last_used=status.st_mtime,
        record=record,
        problem=problem,
    )


def _is_named(pack: StoredPack, word: str) -> bool:
    if pack.path.name == word or (len(word) >= 6 and pack.path.name.startswith(word)):
        return True
    return pack.record is not None and pack.record.name == word


def _label(pack: StoredPack) -> str:
    return (pack.record.name if pack.record else None) or pack.path.name[:16]
