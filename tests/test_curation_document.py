"""The documents' commands of ``curate`` work on small data sets in the layouts that they name."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from curation import BOX, SIZE, draw_part, write_set
from PIL import Image, ImageDraw

Cli = Callable[..., tuple[int, str, str]]


def save(path: Path, picture: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def part(seed: int, *, is_bad: bool) -> Image.Image:
    """A part, a bad one with a black box."""
    image = Image.fromarray(draw_part(seed))
    if is_bad:
        ImageDraw.Draw(image).rectangle(BOX, fill="black")
    return image


def mask(*, is_bad: bool) -> Image.Image:
    image = Image.new("L", SIZE)
    if is_bad:
        ImageDraw.Draw(image).rectangle(BOX, fill=255)
    return image


def write_kolektor(root: Path) -> None:
    for number in range(4):
        folder = root / f"kos{number:02d}"
        save(folder / "Part0.jpg", part(200 + number, is_bad=number == 0))
        save(folder / "Part0_label.bmp", mask(is_bad=number == 0))


def write_real_iad(root: Path) -> None:
    entries = []
    for number in range(4):
        is_bad = number == 0
        name = f"{'NG/HS' if is_bad else 'OK'}/{number}"
        save(root / f"realiad_1024/mint/{name}.jpg", part(300 + number, is_bad=is_bad))
        save(root / f"realiad_1024/mint/{name}.png", mask(is_bad=is_bad))
        entries.append(
            {
                "category": "mint",
                "anomaly_class": "HS" if is_bad else "OK",
                "image_path": f"{name}.jpg",
                "mask_path": f"{name}.png" if is_bad else None,
            }
        )
    meta = {"prefix": "mint/", "normal_class": "OK"}
    (root / "realiad_jsons").mkdir()
    text = json.dumps({"meta": meta, "train": entries[1:3], "test": [entries[0], entries[3]]})
    (root / "realiad_jsons/mint.json").write_text(text)


def write_line(root: Path) -> None:
    for number, name in enumerate(("golden/g", "good/0", "good/1", "bad/scratch/0")):
        save(root / f"{name}.png", part(400 + number, is_bad=name.startswith("bad")))


@pytest.fixture
def data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small data set under each of the documents' names; the current one."""
    write_set(tmp_path / "MPDD", ("bracket_black", "tubes"))
    write_kolektor(tmp_path / "KolektorSDD")
    write_real_iad(tmp_path / "Real-IAD")
    write_line(tmp_path / "line-images")
    save(tmp_path / "my-test-set" / "0.png", part(999, is_bad=False))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(text: str) -> list[list[str]]:
    """The arguments of each ``curate`` in a document, but for the program's name."""
    blocks = "\n".join(re.findall(r"```sh\n(.+?)```", text, re.DOTALL)).replace("\\\n", " ")
    lines = (shlex.split(line, comments=True) for line in blocks.splitlines())
    return [words[1:] for words in lines if words[:2] == ["adcopilot-edge", "curate"]]


@pytest.mark.parametrize("name", ["README.md", "docs/training.md"])
def test_the_commands_work(cli: Cli, repository: Path, data_sets: Path, name: str) -> None:
    found = commands((repository / name).read_text(encoding="utf-8"))
    assert len(found) >= 2
    for words in found:
        if "--out" in words:
            shutil.rmtree(data_sets / words[words.index("--out") + 1], ignore_errors=True)
        code, out, err = cli(*words)
        assert code == 0, f"{shlex.join(words)}: {out}{err}"
        if "--validation" in words:
            assert sorted(path.name.split("-")[0] for path in Path("chat-ad/data").iterdir()) == [
                "train",
                "validation",
            ]


def test_the_commands_of_the_help_work(cli: Cli, data_sets: Path) -> None:
    _, out, _ = cli("curate", "--help")
    examples = " ".join(out.split()).split("Examples: ")[1].split(" Arguments:")[0]
    for example in examples.split(";"):
        words = shlex.split(example)
        assert words[0] == "adcopilot-edge"
        code, _, err = cli(*words[1:])
        assert code == 0, f"{example}: {err}"
