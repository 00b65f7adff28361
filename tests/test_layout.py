"""The shape of the repository and of the wheel: links, versions, what is shipped."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import pytest

import adcopilot_edge

# Where optimum looks for it. An __init__.py on the way there would hide optimum itself.
COMMAND = "optimum/commands/register/adcopilot.py"
FOLDERS = ("runtime", "export", "calibration", "training")


@pytest.mark.parametrize("folder", FOLDERS)
def test_link_leads_to_the_folder(repository: Path, folder: str) -> None:
    link = repository / "adcopilot_edge" / folder
    assert link.is_symlink(), (
        f"{link} must be a symbolic link to ../{folder}. A checkout without links (Windows, a zip "
        "download) turns it into a text file: clone with git on Linux, macOS or WSL."
    )
    assert link.resolve() == repository / folder
    assert (link / "__init__.py").is_file()


def test_version_is_the_same_everywhere(repository: Path) -> None:
    project = re.search(r'^version = "(.+)"', text(repository / "pyproject.toml"), re.MULTILINE)
    newest = re.search(r"^## \[(.+)\]", text(repository / "CHANGELOG.md"), re.MULTILINE)
    assert project
    assert newest
    assert project[1] == newest[1] == adcopilot_edge.__version__


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_brings_one_package_and_one_command(wheel_names: set[str]) -> None:
    others = {name for name in wheel_names if not name.startswith("adcopilot_edge/")}
    about = f"adcopilot_edge-{adcopilot_edge.__version__}.dist-info/"
    assert {name for name in others if not name.startswith(about)} == {COMMAND}


def test_wheel_holds_every_file_of_the_package(repository: Path, wheel_names: set[str]) -> None:
    walk = os.walk(repository / "adcopilot_edge", followlinks=True)
    files = {Path(folder, name) for folder, _, names in walk for name in names}
    expected = {str(path.relative_to(repository)) for path in files if path.suffix != ".pyc"}
    missing = expected - wheel_names - {f"adcopilot_edge/{COMMAND}"}
    assert not missing, f"add a line of package data for: {sorted(missing)}"
    assert f"adcopilot_edge/{COMMAND}" not in wheel_names, "a file has one place in an installation"
