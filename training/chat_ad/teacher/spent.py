"""What all runs with a folder have spent so far, on disk. Knows no limit and no price."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import ConfigError

SPENT_FILE = "spent.json"


class Spent(BaseModel):
    """Questions that were asked, and their tokens in and out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    requests: int = Field(default=0, ge=0)
    tokens_in: int = Field(default=0, ge=0)
    tokens_out: int = Field(default=0, ge=0)


def read_spent(folder: Path) -> Spent:
    """What was spent with ``folder`` before; nothing where no run was.

    Raises:
        ConfigError: The file can't be read, or is damaged.
    """
    path = folder / SPENT_FILE
    try:
        return Spent.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Spent()
    except (OSError, ValidationError) as err:
        raise ConfigError(
            f"can't read what was spent from {path} ({type(err).__name__}). Choose another folder, "
            "or remove the file, and the budget begins at 0"
        ) from err


def write_spent(folder: Path, spent: Spent) -> None:
    """Keep what was spent; on disk when this returns.

    Raises:
        ConfigError: The file can't be written.
    """
    path = folder / SPENT_FILE
    try:
        with atomic_write(path) as file:
            file.write(spent.model_dump_json().encode() + b"\n")
    except OSError as err:
        raise ConfigError(f"can't write {path}: {err}. Choose another folder") from err
