"""Where the files of a checkpoint or an adapter come from: a folder, or a repository on the hub.

Knows the hub's library and nothing of what the files mean. Downloads go to the library's own cache:
a broken one goes on there, and without a network the cache is the hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import parse_safetensors_file_metadata, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from adcopilot_edge.errors import CheckpointError, ConfigError
from adcopilot_edge.export.tensors import TensorEntry, list_tensors

_HUB_ID = re.compile(r"[a-z0-9][\w.-]*/[a-z0-9][\w.-]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Origin:
    """A folder of files, and what a bundle calls it.

    folder: of a hub repository the snapshot in the cache, which is named after the commit. name:
    that of the folder, or ``owner/name@commit``. repo_id: ``owner/name``, None for a plain folder.
    """

    folder: Path
    name: str
    repo_id: str | None = None

    def fetch(self, files: Sequence[str]) -> None:
        """Download those of ``files`` that are still on the hub.

        Raises:
            CheckpointError: A file is missing afterwards, or the hub refuses.
        """
        if self.repo_id is not None and self._missing(files):
            _download(self.repo_id, self.folder.name, files)
        if missing := self._missing(files):
            again = "Download or copy it again."
            if self.repo_id is not None:
                again = f"Complete it: hf download {self.repo_id} --revision {self.folder.name}"
            raise CheckpointError(f"{self.folder} lacks {', '.join(missing)}. {again}")

    def _missing(self, files: Sequence[str]) -> list[str]:
        return [name for name in files if not (self.folder / name).is_file()]

    def list_tensors(self, file: str) -> list[TensorEntry]:
        """The tensors of a weight file; of one that is still on the hub its header alone is read.

        Raises:
            CheckpointError: The file is damaged, or not here and the hub can't be reached.
        """
        path = self.folder / file
        if self.repo_id is None or path.is_file():
            return list_tensors(path)
        with _hub_errors(self.repo_id, self.folder.name):
            header = parse_safetensors_file_metadata(self.repo_id, file, revision=self.folder.name)
        return [
            TensorEntry(path, name, tuple(tensor.shape), tensor.dtype)
            for name, tensor in header.tensors.items()
        ]


def locate(source: str | os.PathLike[str], *, revision: str | None, files: Sequence[str]) -> Origin:
    """The folder ``source``, or the hub repository of that id with ``files`` downloaded.

    A text that is no folder and has the form ``owner/name`` is a hub id; a ``Path`` never is. Of
    ``files`` those that the repository lacks stay away.

    Raises:
        CheckpointError: The repository, or the revision, is not there, not allowed, or can't be
            reached and is not in the cache.
        ConfigError: A folder has no revisions.
    """
    folder = Path(source)
    if isinstance(source, str) and not folder.is_dir() and _HUB_ID.fullmatch(source):
        snapshot = _download(source, revision, files)
        return Origin(snapshot, f"{source}@{snapshot.name}", source)
    if revision is not None:
        raise ConfigError(
            f"{folder} is read as a folder, which has no revision {revision!r}. Leave it out."
        )
    return Origin(folder, folder.resolve().name)


def _download(repo_id: str, revision: str | None, files: Sequence[str]) -> Path:
    """The snapshot's folder, with those of ``files`` that the repository has."""
    with _hub_errors(repo_id, revision):
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(files)))


@contextmanager
def _hub_errors(repo_id: str, revision: str | None) -> Iterator[None]:
    """Turn what the library raises into an error with advice.

    Whoever mistyped a folder's name meets these too, so they say that there is no such folder.
    """
    no_folder = f"there is no folder {repo_id}, and as a hub id"
    try:
        yield
    except GatedRepoError as err:
        raise CheckpointError(
            f"access to {repo_id} is restricted. Ask for it at https://huggingface.co/{repo_id}, "
            "then log in with: hf auth login"
        ) from err
    except RepositoryNotFoundError as err:
        raise CheckpointError(
            f"{no_folder} it is unknown or private. Check the spelling, or log in with: "
            "hf auth login"
        ) from err
    except HFValidationError as err:
        raise CheckpointError(f"{no_folder} it is not valid: {err}") from err
    except RevisionNotFoundError as err:
        raise CheckpointError(
            f"{repo_id} has no revision {revision!r}. Name a branch, a tag or a whole commit hash."
        ) from err
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as err:
        raise CheckpointError(
            f"{no_folder} it is not in the cache, or only in part, and the hub can't be reached "
            f"({err.__cause__ or err}). Check the spelling, or try again with a network."
        ) from err
    except Exception as err:  # the library raises a dozen kinds, its transport's among them
        raise CheckpointError(
            f"reading {repo_id} from the hub failed: {type(err).__name__}: {err}. Try again; a "
            "download goes on where it was."
        ) from err
