"""A curated set as LLaMA-Factory and ms-swift read it."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curation import BOX, SIZE, draw_part, sample, write_pictures
from PIL import Image

from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.training.chat_ad.conversations import ConversationForm, llama_factory_size
from adcopilot_edge.training.chat_ad.sample import ChatSample, Turn
from adcopilot_edge.training.chat_ad.shard_writer import write_shard
from adcopilot_edge.training.chat_ad.shards import DATA_FOLDER, shard_name

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    """A set with a located defect and a normal part, and one sample held out."""
    pictures = write_pictures(tmp_path / "pictures")
    samples = [
        sample(0, folder=pictures),
        sample(0, folder=pictures, name="b", is_anomaly=False),
    ]
    folder = tmp_path / "chat"
    for split, held in (("train", samples), ("validation", samples[1:])):
        write_split(folder, held, split=split)
    return folder


def write_split(
    folder: Path, samples: Sequence[ChatSample], *, split: str = "train", embed: bool = True
) -> Path:
    """A split of one shard."""
    (folder / DATA_FOLDER).mkdir(parents=True, exist_ok=True)
    write_shard(folder / DATA_FOLDER / shard_name(split, 0, 1), samples, embed=embed)
    return folder


def pictures_of(out: Path, trainer: str) -> list[Path]:
    """Where the first record's pictures lie."""
    if trainer == "llama-factory":
        return [out / name for name in json.loads((out / "train.json").read_text())[0]["images"]]
    return [Path(name) for name in read_lines(out)[0]["images"]]


def read_lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]


def save_odd(path: Path, kind: str) -> Path:
    """A picture that ``convert("RGB")`` alone would show otherwise than it is."""
    picture = Image.fromarray(draw_part(1))
    exif = Image.Exif()
    if kind == "turned":
        exif[0x0112] = 6
    elif kind == "deep":
        picture = Image.fromarray(np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16))
    elif kind == "see-through":
        picture.putalpha(90)
    elif kind == "palette":
        picture = picture.quantize(8)
        picture.info["transparency"] = 3
    picture.save(path, exif=exif)
    return path


def test_llama_factory_gets_numbers_in_the_pixels_that_the_model_sees(
    cli: Cli, curated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "lf"
    code, told, _ = cli("curate", curated, "--export", "llama-factory", "--out", out)
    assert code == 0
    assert "image_min_pixels: 1024, image_max_pixels: 589824" in told
    first, second = json.loads((out / "train.json").read_text())
    # 64 x 48 becomes 56 x 56: multiples of 28.
    x1, y1, x2, y2 = (round(value * 56 / side) for value, side in zip(BOX, SIZE * 2, strict=True))
    assert first["messages"] == [
        {"role": "user", "content": "<image><image>Where?"},
        {"role": "assistant", "content": f"At [{x1}, {y1}, {x2}, {y2}]."},
    ]
    assert second["messages"][1]["content"] == "No."
    assert first["images"][0] == second["images"][0], "the template is stored once"
    template, query = (out / name for name in first["images"])
    assert np.array_equal(open_image(template), draw_part(0))
    assert np.array_equal(open_image(query), draw_part(1))
    info = json.loads((out / "dataset_info.json").read_text())
    assert info["chat_validation"] == {
        "file_name": "validation.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
    assert set(info) == {"chat_train", "chat_validation"}
    assert not out.with_name("lf.unfinished").exists()


def test_ms_swift_gets_marks_and_the_image_that_they_are_in(
    cli: Cli, curated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "swift"
    code, told, _ = cli("curate", curated, "--export", "ms-swift", "--out", out, "--json")
    assert code == 0
    assert json.loads(told)["splits"] == {"train": 2, "validation": 1}
    first, second = read_lines(out)
    assert first["messages"][1]["content"] == "At <bbox>."
    assert first["objects"] == {"ref": [], "bbox": [list(BOX)], "image_id": [1]}
    assert "objects" not in second
    assert all(Path(name).is_file() for name in first["images"]), "absolute, and under their names"
    assert all(Path(name).is_relative_to(out) for name in first["images"])


@pytest.mark.parametrize("embed", [True, False])
@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("turned", ".jpg"),
        ("turned", ".png"),
        ("deep", ".png"),
        ("see-through", ".png"),
        ("palette", ".gif"),
    ],
)
def test_a_trainer_that_only_converts_to_rgb_sees_the_picture_that_we_see(
    cli: Cli, tmp_path: Path, kind: str, suffix: str, embed: bool
) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    odd = save_odd(pictures / f"odd{suffix}", kind)
    held = replace(sample(0, folder=pictures), query=odd)
    chat = write_split(tmp_path / "chat", [held], embed=embed)
    for trainer in ("llama-factory", "ms-swift"):
        out = tmp_path / trainer
        assert cli("curate", chat, "--export", trainer, "--out", out)[0] == 0
        template, query = pictures_of(out, trainer)
        with Image.open(query) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), open_image(odd))
        assert template.read_bytes() == (pictures / "template.png").read_bytes()
        assert (template == pictures / "template.png") == (not embed), "such stay where they lie"


def test_a_picture_that_is_gone_from_its_path_exits_with_5(cli: Cli, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    chat = write_split(tmp_path / "chat", [sample(0, folder=pictures)], embed=False)
    words = ("--export", "ms-swift", "--out", tmp_path / "out")
    (pictures / "a.png").write_bytes(b"no picture")
    code, _, err = cli("curate", chat, *words)
    assert (code, "a.png: " in err, "no image of a known format" in err) == (5, True, True)
    (pictures / "a.png").unlink()
    code, _, err = cli("curate", chat, *words)
    assert (code, "a.png can't be read" in err) == (5, True)


def test_an_export_that_goes_on_writes_half_written_pictures_again(
    cli: Cli, tmp_path: Path
) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(pictures / "a.png")
    chat = write_split(tmp_path / "chat", [sample(0, folder=pictures)])
    words = ("curate", chat, "--export", "ms-swift", "--out", tmp_path / "out")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        code, _, err = cli(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (code, "can't be written" in err) == (2, True)
    assert cli(*words)[0] == 0
    _, query = pictures_of(tmp_path / "out", "ms-swift")
    assert np.array_equal(open_image(query), noise)


def test_ms_swift_finds_a_box_before_it_fixes_its_columns(cli: Cli, tmp_path: Path) -> None:
    """Eleven megabytes without a box: ``datasets`` fixes the columns by the first ten."""
    from datasets import load_dataset

    pictures = write_pictures(tmp_path / "pictures")
    talk = (Turn("user", "Where?"), Turn("assistant", "No. " * 250_000))
    normal = replace(sample(0, folder=pictures, name="b", is_anomaly=False), turns=talk)
    normals = [replace(normal, key=f"parts/b:{number}") for number in range(11)]
    defective = [sample(number, folder=pictures) for number in range(2)]
    chat = write_split(tmp_path / "chat", [*normals, *defective])
    out = tmp_path / "swift"
    assert cli("curate", chat, "--export", "ms-swift", "--out", out)[0] == 0
    loaded = load_dataset(
        "json", data_files=str(out / "train.jsonl"), split="train", cache_dir=str(tmp_path / "hf")
    )
    assert ["objects" in line for line in read_lines(out)] == [True, *[False] * 11, True]
    assert loaded[0]["objects"]["bbox"] == loaded[12]["objects"]["bbox"] == [list(BOX)]
    assert loaded[5]["objects"] is None
    lf = tmp_path / "lf"
    assert cli("curate", chat, "--export", "llama-factory", "--out", lf)[0] == 0
    answers = [one["messages"][1]["content"] for one in json.loads((lf / "train.json").read_text())]
    assert [len(answer) > 99 for answer in answers] == [True] * 11 + [False] * 2


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((1000, 1000), (756, 756)),
        ((640, 640), (644, 644)),
        ((1920, 1080), (1036, 588)),  # first 1024 x 576, whose sides are then rounded, not its area
        ((10, 10), (56, 56)),
    ],
)
def test_sizes_are_those_of_llama_factory_and_then_of_the_processor(
    size: tuple[int, int], seen: tuple[int, int]
) -> None:
    assert llama_factory_size(*size, ConversationForm(trainer="llama-factory")) == seen


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--export", "axolotl"], "must be one of llama-factory, ms-swift"),
        (["--export", "ms-swift", "."], "takes one curated set, got 2"),
        (["--export", "llama-factory", "--min-pixels", "9999999"], "must not be more than"),
    ],
)
def test_what_can_not_be_exported_exits_with_2(
    cli: Cli, curated: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    code, _, err = cli("curate", curated, *words, "--out", tmp_path / "out")
    assert code == 2
    assert says in err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_curated_exits_with_5(cli: Cli, tmp_path: Path) -> None:
    words = ("--export", "ms-swift", "--out", tmp_path / "out")
    code, _, err = cli("curate", tmp_path, *words)
    assert code == 5
    assert "holds no curated set" in err
