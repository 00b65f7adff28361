"""Checkpoints of a run: folders ``checkpoint-N``, whole or not there, the last two of them.

A checkpoint is a Hugging Face folder that ``export`` takes, with what is needed to go on training
beside the weights. It is written under another name, ends with a list of its files, reaches the
disk, and is renamed; one that a crash, or a copy that was cut short, left in pieces is passed over.
Knows nothing of what is in the files.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.recipe import TrainRecipe

LATEST_NAME = "checkpoint"
"""A link in the folder of a run to its last whole checkpoint."""

NUM_KEPT = 2
_PREFIX = "checkpoint-"
_PROGRESS_NAME = "progress.json"
_RECIPE_NAME = "recipe.json"
_EARLIER_NAME = "training_state.pt"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run was. step: steps of all stages; stage_steps: those of the stage ``stage``."""

    step: int
    stage: int
    stage_steps: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint: its folder, and how far the run was."""

    path: Path
    progress: Progress


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint behind ``step`` steps of a run lies."""
    return run / f"{_PREFIX}{step}"


@contextmanager
def write_checkpoint(
    run: Path,
    progress: Progress,
    recipe: TrainRecipe,
    *,
    is_writer: bool = True,
    wait: Callable[[], None] = lambda: None,
) -> Iterator[Path]:
    """Yield a folder for every process to write its files to; then it is a checkpoint.

    is_writer: whether this process makes and names the folder, as exactly one has to. wait: returns
    once all processes have called it.
    """
    target = checkpoint_path(run, progress.step)
    partial = run / f".{target.name}.partial"
    if is_writer:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    wait()
    yield partial
    wait()
    if is_writer:
        text = recipe.model_dump_json(indent=2) + "\n"
        (partial / _RECIPE_NAME).write_text(text, encoding="utf-8")
        _seal(partial, progress)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _sync(run)
        _point_to(target)
        _rotate(run)
    wait()


def find_checkpoint(run: Path) -> Checkpoint | None:
    """The last whole checkpoint of ``run``, if it has one."""
    found = _whole_checkpoints(run)
    return found[-1] if found else None


def check_run(run: Path, *, resume: bool) -> Checkpoint | None:
    """The checkpoint that a run in the folder ``run`` goes on from.

    Raises ConfigError when the folder holds a checkpoint and ``resume`` is false, or only such as
    are not whole, or one of an earlier release.
    """
    found = find_checkpoint(run)
    if found is not None and not resume:
        raise ConfigError(f"{run} holds a checkpoint; pass --resume or choose another --out")
    if found is None and (cut := sorted(path.name for path in run.glob(f"{_PREFIX}*"))):
        raise ConfigError(
            f"{run} holds {', '.join(cut)}, and files of each are missing or cut short; "
            "copy the run again, or choose another --out"
        )
    earlier = run / LATEST_NAME
    if (earlier / _EARLIER_NAME).is_file():
        raise ConfigError(
            f"{earlier} is of an earlier release, whose runs can't be continued; choose another "
            f"--out, with a recipe whose [base] has checkpoint = {str(earlier)!r} to start from it"
        )
    return found


def check_recipe(checkpoint: Checkpoint, recipe: TrainRecipe) -> None:
    """Raise ConfigError unless ``checkpoint`` was made by ``recipe``, but for its schedule.

    The steps of another recipe would not be comparable.
    """
    stored = json.loads((checkpoint.path / _RECIPE_NAME).read_text(encoding="utf-8"))
    wanted = json.loads(recipe.model_dump_json())
    changed = sorted(key for key in wanted if key != "schedule" and stored.get(key) != wanted[key])
    if changed:
        raise ConfigError(
            f"{checkpoint.path} was trained with another recipe ({', '.join(changed)} differ); "
            "choose another --out, or the recipe it was started with"
        )


def remove_leftovers(run: Path) -> None:
    """Remove what a crash while writing left behind."""
    for path in run.glob(f".{_PREFIX}*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def _seal(folder: Path, progress: Progress) -> None:
    """Write the list of the files, last, and bring everything to the disk.

    All get the mode of a new file: weights are written so that only their owner reads them.
    """
    mode = (folder / _RECIPE_NAME).stat().st_mode
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    content = json.dumps({**asdict(progress), "files": sizes}, indent=2)
    (folder / _PROGRESS_NAME).write_text(content + "\n", encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _point_to(target: Path) -> None:
    """Let the link to the last checkpoint name ``target``, without a moment in which it is gone."""
    draft = target.parent / f".{LATEST_NAME}.link"
    draft.unlink(missing_ok=True)
    draft.symlink_to(target.name)
    draft.replace(target.parent / LATEST_NAME)


def _rotate(run: Path) -> None:
    for old in _whole_checkpoints(run)[:-NUM_KEPT]:
        shutil.rmtree(old.path)


def _whole_checkpoints(run: Path) -> list[Checkpoint]:
    """The whole checkpoints of ``run`` by their steps."""
    found = [_read(path) for path in run.glob(f"{_PREFIX}*")]
    return sorted((item for item in found if item is not None), key=lambda item: item.progress.step)


def _read(path: Path) -> Checkpoint | None:
    """The checkpoint in ``path``, or None where a file is missing or has another size."""
    try:
        content: dict[str, Any] = json.loads((path / _PROGRESS_NAME).read_text(encoding="utf-8"))
        sizes: dict[str, int] = content.pop("files")
        is_whole = all((path / name).stat().st_size == size for name, size in sizes.items())
        return Checkpoint(path, Progress(**content)) if is_whole else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
