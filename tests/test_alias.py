"""``optimum-cli export adcopilot`` is found by optimum, and is our export."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_checkpoint

from adcopilot_edge.alias import ALIAS, export_by_alias
from adcopilot_edge.cli import main

pytestmark = pytest.mark.torch

# What `optimum-cli` does, where the package is installed in the folder of the first word alone.
OPTIMUM_CLI = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from optimum.commands.optimum_cli import main
main()
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    """Run a command line; returns exit code, stdout and stderr."""

    def run(program: Any, *words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            program([*map(str, words)])
        return (int(stopped.value.code or 0), *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    "words",
    [
        ["--int8", "--llm", "int4", "--max-ram", "4G", "--dry-run", "--json"],
        ["--fp32", "--int8"],
        ["--image-size", "large", "--json"],
        ["--max-ram", "1K"],
    ],
)
def test_alias_says_what_the_command_says(
    call, checkpoint: Path, tmp_path: Path, words: list[str]
) -> None:
    out = tmp_path / "bundle"
    expected = call(main, "export", checkpoint, "--out", out, *words)
    assert call(export_by_alias, checkpoint, out, *words) == expected
    assert call(export_by_alias, *words, checkpoint, out) == expected


def test_alias_exports(call, checkpoint: Path, tmp_path: Path) -> None:
    words = ["--image-size", "56", "--llm", "int4", "--parity-pairs", 1, "--json"]
    code, out, _ = call(export_by_alias, checkpoint, tmp_path / "bundle", *words)
    assert code == 0
    assert json.loads(out)["path"] == str(tmp_path / "bundle")
    assert (tmp_path / "bundle" / "manifest.json").is_file()


def test_alias_has_the_options_of_the_command(call) -> None:
    _, expected, _ = call(main, "export", "--help")
    code, help_text, _ = call(export_by_alias, "--help")
    assert code == 0
    assert options(help_text) == options(expected) - {"--out"}
    assert "--out" not in help_text
    assert "adcopilot-edge" not in help_text


def options(help_text: str) -> set[str]:
    return set(re.findall(r"^  (--[\w-]+)", help_text, re.MULTILINE))


def test_alias_calls_itself_by_its_name(call, checkpoint: Path) -> None:
    code, _, err = call(export_by_alias, checkpoint)
    assert code == 2
    assert f"Try '{ALIAS} --help'" in err
    assert "Missing argument 'out'" in err


@pytest.fixture(scope="module", params=["wheel", "editable_wheel"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what an installation puts into ``site-packages``."""
    folder = tmp_path_factory.mktemp(request.param)
    with zipfile.ZipFile(request.getfixturevalue(request.param)) as archive:
        archive.extractall(folder)
    return folder


def optimum_cli(installed: Path, cwd: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run ``optimum-cli`` where our package is nowhere but in ``installed``."""
    paths = (str(installed), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    return subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", OPTIMUM_CLI, str(installed), *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},  # which -S leaves as they are
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_optimum_cli_finds_the_command(installed: Path, tmp_path: Path) -> None:
    done = optimum_cli(installed, tmp_path, "export", "adcopilot", "--help")
    assert done.returncode == 0, done.stderr
    assert f"Usage: {ALIAS} [OPTIONS]" in done.stdout
    assert {"--int8", "--llm", "--max-ram"} <= options(done.stdout)
    listed = optimum_cli(installed, tmp_path, "export", "--help")
    assert "Export AD-Copilot to a bundle" in listed.stdout


def test_optimum_cli_runs_the_command(
    call, installed: Path, checkpoint: Path, tmp_path: Path
) -> None:
    words = ["--int8", "--llm", "int4", "--max-ram", "4G", "--dry-run", "--json"]
    done = optimum_cli(installed, tmp_path, "export", "adcopilot", checkpoint, "bundle", *words)
    expected = call(main, "export", checkpoint, "--out", "bundle", *words)
    assert (done.returncode, done.stdout, done.stderr) == expected
