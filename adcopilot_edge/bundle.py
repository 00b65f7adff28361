"""A bundle on disk: open it, check it, write it.

A bundle is a directory with ``manifest.json`` and the files it lists, nothing else that matters:
no code, no side files. Its id is a hash over the manifest, which holds the hash of every file.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from adcopilot_edge.errors import (
    BundleNotFoundError,
    BundleVersionError,
    ChecksumError,
    ConfigError,
    EdgeError,
    ManifestError,
)
from adcopilot_edge.manifest import FORMAT_VERSION, FileEntry, Manifest

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
_CHUNK_BYTES = 1 << 20
_KEY_NAME = ".key"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: where it lies, what its manifest says, and its id."""

    path: Path
    manifest: Manifest
    id: str

    def file(self, name: str) -> Path:
        """The path of one of the bundle's files."""
        return self.path / name

    def verify_files(self, *, on_file: Callable[[str], None] | None = None) -> None:
        """Hash every file.

        Raises ChecksumError that lists each missing, changed or unreadable one.
        """
        wrong = []
        for name, entry in self.manifest.files.items():
            if on_file is not None:
                on_file(name)
            if (fault := _find_fault(self.file(name), entry)) is not None:
                wrong.append(f"{name} ({fault})")
        if wrong:
            raise ChecksumError(
                f"bundle {self.path} is damaged: {'; '.join(wrong)}. Copy or export it again."
            )


def _find_fault(path: Path, entry: FileEntry) -> str | None:
    """What is wrong with a file of a bundle, if anything."""
    if not path.is_file():
        return "missing"
    if (size := path.stat().st_size) != entry.size_bytes:
        return f"{size} bytes, expected {entry.size_bytes}"
    try:
        return None if hash_file(path) == entry.sha256 else "content changed"
    except OSError as err:
        return f"can't be read: {err.strerror}"


def open_bundle(path: str | os.PathLike[str], *, verify: bool = True) -> Bundle:
    """Read a bundle's manifest and, unless told otherwise, hash its files.

    Raises BundleNotFoundError, ManifestError, BundleVersionError or ChecksumError.
    """
    folder = Path(path)
    manifest_path = folder / MANIFEST_NAME
    if not manifest_path.is_file():
        raise BundleNotFoundError(
            f"no bundle at {folder}: {MANIFEST_NAME} is not there. "
            "Make one with: adcopilot-edge export CHECKPOINT --out BUNDLE"
        )
    raw = manifest_path.read_bytes()
    manifest = _parse_manifest(raw, manifest_path)
    bundle = Bundle(path=folder, manifest=manifest, id=hashlib.sha256(raw).hexdigest()[:16])
    if verify:
        bundle.verify_files()
    return bundle


def _parse_manifest(raw: bytes, path: Path) -> Manifest:
    try:
        content = json.loads(raw)
    except ValueError as err:
        raise ManifestError(f"{path} is not valid JSON: {err}. Copy the bundle again.") from err
    if not isinstance(content, dict) or content.get("format") != "adcopilot-edge-bundle":
        raise ManifestError(f"{path} is not the manifest of an adcopilot-edge bundle.")
    version = content.get("version")
    if version != FORMAT_VERSION:
        raise BundleVersionError(
            f"{path} has bundle format {version!r}; this release reads format {FORMAT_VERSION}. "
            "Export the bundle again with this release, or install the release that wrote it."
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as err:
        findings = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'manifest'}: {item['msg']}"
            for item in err.errors()
        )
        raise ManifestError(f"{path} is not a valid manifest: {findings}") from err


@contextmanager
def new_bundle(out: str | os.PathLike[str], *, key: str | None = None) -> Iterator[Path]:
    """A folder to write a bundle into; it takes the name ``out`` only when all went well.

    The folder lies beside ``out``. After an error it is removed and ``out`` is as it was. An
    existing bundle at ``out`` is replaced; anything else there is a ConfigError.

    Args:
        out: The bundle's folder.
        key: What the bundle is made of. With it, the folder of a run that was killed or met an
            OSError stays, and the next run with the same key gets it as it was left; the runs of
            other keys are removed. Hidden files and folders in it are a run's own notes, no part of
            the bundle.
    """
    target = Path(out)
    is_empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty and not (target / MANIFEST_NAME).is_file():
        raise ConfigError(f"{target} exists and is no bundle; choose another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = _claim(target, key)
    keep = False
    try:
        yield folder
        for note in folder.glob(".*"):
            if note.is_dir():
                shutil.rmtree(note)
            else:
                note.unlink()
        _fsync_tree(folder)
        old = target.with_name(f".{target.name}.{os.getpid()}.old")
        if target.exists():
            target.rename(old)
        try:
            folder.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, KeyboardInterrupt) as err:
        keep = key is not None and not isinstance(err, EdgeError)
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _claim(target: Path, key: str | None) -> Path:
    """The folder of this process beside ``target``: one left by a dead run of ``key``, or new."""
    folder = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    for left in sorted(target.parent.glob(f".{glob.escape(target.name)}.*.partial")):
        if _is_running(left):
            continue
        if key is not None and not folder.exists() and _read_key(left) == key:
            left.rename(folder)  # of two runs that want it, one gets it
        else:
            shutil.rmtree(left, ignore_errors=True)
    if not folder.exists():
        folder.mkdir()
        if key is not None:
            (folder / _KEY_NAME).write_text(key, encoding="utf-8")
    return folder


def is_resumable(folder: Path) -> bool:
    """Whether ``folder`` is one of ``new_bundle`` with a key: what lies in it is of this export."""
    return _read_key(folder) is not None


def _read_key(folder: Path) -> str | None:
    try:
        return (folder / _KEY_NAME).read_text(encoding="utf-8")
    except OSError:
        return None


def _is_running(folder: Path) -> bool:
    """Whether the process that ``folder`` is named after still lives (never this one)."""
    pid = folder.name.split(".")[-2]
    if not pid.isdecimal() or os.name != "posix":
        return True  # not ours, or nothing is known about it: leave it alone
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``: the last step of making a bundle."""
    text = manifest.model_dump_json(indent=2)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Size and hash of every file under ``folder``, by name.

    Left out are the manifest, its signature, and hidden files.
    """
    return {
        path.relative_to(folder).as_posix(): FileEntry(
            sha256=hash_file(path), size_bytes=path.stat().st_size
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in (MANIFEST_NAME, SIGNATURE_NAME)
        and not _is_hidden(path, folder)
    }


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _fsync_tree(folder: Path) -> None:
    """Bring every file and folder below ``folder`` to the disk."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
