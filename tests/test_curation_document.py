"""The documents' commands and files for ``curate`` work, on small data sets in their layouts."""

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
from teacher_server import Request, Response, answering, facts_in, right_answer, teacher_server

from adcopilot_edge.training.chat_ad.knowledge import load_knowledge
from adcopilot_edge.training.chat_ad.readers import READERS, find_reader
from adcopilot_edge.training.chat_ad.teacher.settings import Budget, TeacherSettings

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
    script = "\n".join(blocks(text, "sh")).replace("\\\n", " ")
    lines = (shlex.split(line, comments=True) for line in script.splitlines())
    return [words[1:] for words in lines if words[:2] == ["adcopilot-edge", "curate"]]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.+?)```", text, re.DOTALL)


@pytest.fixture
def document(repository: Path) -> str:
    return (repository / "docs/curation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "docs/training.md"])
def test_the_commands_work(cli: Cli, repository: Path, data_sets: Path, name: str) -> None:
    run_commands(cli, data_sets, (repository / name).read_text(encoding="utf-8"))


def run_commands(cli: Cli, data_sets: Path, text: str) -> None:
    """Each in turn; a set that is made again is removed before."""
    found = commands(text)
    assert len(found) >= 2
    for words in found:
        if "--out" in words:
            shutil.rmtree(data_sets / words[words.index("--out") + 1], ignore_errors=True)
        code, out, err = cli(*words)
        assert code == 0, f"{shlex.join(words)}: {out}{err}"
        if "--validation" in words:
            made = data_sets / words[words.index("--out") + 1] / "data"
            assert {path.name.split("-")[0] for path in made.iterdir()} == {"train", "validation"}


def test_the_commands_of_the_help_work(cli: Cli, data_sets: Path) -> None:
    _, out, _ = cli("curate", "--help")
    examples = " ".join(out.split()).split("Examples: ")[1].split(" Arguments:")[0]
    for example in examples.split(";"):
        words = shlex.split(example)
        assert words[0] == "adcopilot-edge"
        code, _, err = cli(*words[1:])
        assert code == 0, f"{example}: {err}"


def _partly_right(request: Request, _: int) -> Response:
    """Right about good parts, and no answer of any form about bad ones."""
    is_good = facts_in(request)["verdict"] == "normal"
    return answering(right_answer(request) if is_good else "I see a scratch.")


def test_the_document_of_curation_holds(cli: Cli, data_sets: Path, document: str) -> None:
    """Its commands run with its own files; only the endpoint is another."""
    knowledge, teacher_file = blocks(document, "toml")
    Path("knowledge.toml").write_text(knowledge)
    known = load_knowledge([Path("knowledge.toml")])
    assert known.product("line-images") == "gear lid"
    assert known.look_up("line-images", "Kratzer")[0] == "scratch"
    assert known.look_up("line-images", "grat") == (
        "burr",
        "a thin rim of metal that stands over the edge",
    )
    with teacher_server() as teacher:
        teacher.answer = _partly_right
        url = "http://127.0.0.1:8000/v1"
        assert url in teacher_file
        Path("teacher.toml").write_text(teacher_file.replace(url, teacher.url))
        run_commands(cli, data_sets, document)
        assert teacher.requests
        assert {request["model"] for request in teacher.requests} == {"Qwen2.5-VL-72B-Instruct"}
    assert (data_sets / "taught.teacher/cache.sqlite").is_file()
    lines = (data_sets / "taught.teacher/review.jsonl").read_text().splitlines()
    told = json.loads(lines[0])
    names = {*told, *told["failures"][0]}
    assert {name for name in names if f"`{name}`" not in document} == set()


def test_the_document_names_every_layout_and_setting(document: str) -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", document, re.MULTILINE) == [
        one.name for one in READERS
    ]
    teacher_file = blocks(document, "toml")[1]
    names = {*TeacherSettings.model_fields, *Budget.model_fields}
    assert {
        name for name in names if f"`{name}`" not in document and name not in teacher_file
    } == set()


def test_the_list_of_the_document_is_read(document: str, tmp_path: Path) -> None:
    (lines,) = blocks(document, "json")
    (tmp_path / "pairs.jsonl").write_text(lines)
    for number, name in enumerate(("golden", "7", "8", "9")):
        save(tmp_path / f"{name}.png", part(number, is_bad=False))
    save(tmp_path / "8-mask.png", mask(is_bad=True))
    reader = find_reader(tmp_path)
    held = reader.survey(tmp_path, source="line")
    assert (reader.name, held.findings) == ("list", ())
    assert [image.is_normal for image in held.images] == [False, False, True]
    assert {image.category for image in held.images} == {"lid"}
