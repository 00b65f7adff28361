"""``evaluate mmad`` from the command line, on a generated folder and the toy bundle."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mmad_folder import BAD, GOOD, TEMPLATE, write_mmad
from PIL import Image
from toy import MODEL, write_toy_bundle

from adcopilot_edge.calibration.benchmark_prompt import benchmark_prompt
from adcopilot_edge.calibration.questioner import open_questioner
from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.prompt import DEFAULT_PROMPT, VISION_SPAN
from adcopilot_edge.runtime.images import open_image

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy bundle with room for MMAD's prompt, of which each byte is a token."""
    model = MODEL.model_copy(update={"max_sequence_length": 2048})
    return write_toy_bundle(tmp_path_factory.mktemp("mmad") / "bundle", model).path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_mmad(tmp_path / "MMAD")


@pytest.fixture
def call(cli: Call, bundle: Path, tmp_path: Path) -> Call:
    """Runs ``evaluate`` into tmp_path / "run"; returns exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        out = [] if "--out" in words else ["--out", tmp_path / "run"]
        return cli("evaluate", *words, "--bundle", bundle, "--threads", 1, *out)

    return run


def test_a_whole_run(call: Call, root: Path, tmp_path: Path) -> None:
    code, out, err = call("mmad", root, "--json", "--max-new-tokens", 4)
    assert code == 0
    report = json.loads(out)
    assert (report["images"], report["questions"]) == (3, 6)
    assert report["known_bad_images"] == 1
    assert report["malformed_questions"] == []
    assert "1 image is known to be wrong" in err
    folder = tmp_path / "run"
    assert report["folder"] == str(folder)
    stored = json.loads((folder / "report.json").read_text())
    assert stored == {key: value for key, value in report.items() if key != "folder"}
    for way in ("letters", "words"):
        rows = list(csv.reader((folder / f"{way}_accuracy.csv").read_text().splitlines()))
        assert [row[0] for row in rows] == ["", "DS-MVTec", "MVTec-LOCO", "Average"]
        assert rows[0][-4:] == ["Average", "Recall", "Precision", "F1"]
        average = float(rows[-1][rows[0].index("Average")])
        assert report[way]["average"] == pytest.approx(average, abs=0.005)  # it is rounded
        assert report[way]["counts"]["DS-MVTec"] == {
            "Anomaly Detection": 2, "Object Analysis": 2, "Defect Classification": 1
        }  # fmt: skip
    with Image.open(folder / "accuracy.png") as chart:
        assert chart.size[0] == 900


def test_marks_are_those_of_the_letters(call: Call, root: Path, tmp_path: Path) -> None:
    """The toy says A to the detection where the images differ, else B."""
    code, out, _ = call("mmad", root, "--json", "--no-text", "--prompt", "bundle")
    assert code == 0
    answers = [
        json.loads(line) for line in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()
    ][1:]
    said = [answer["letter"] for answer in answers if answer["task"] == "Anomaly Detection"]
    assert said == ["B", "A", "A"]
    # Right is B, A and, where No comes first, B.
    rows = json.loads(out)["letters"]["table"]
    assert rows["DS-MVTec"]["Anomaly Detection"] == 100
    assert rows["DS-MVTec"]["F1"] == 100
    assert rows["MVTec-LOCO"]["Anomaly Detection"] == 0
    assert rows["MVTec-LOCO"]["Object Analysis"] is None
    assert rows["Average"]["Anomaly Detection"] == 50
    assert "words" not in json.loads(out)


def test_goes_on_behind_a_killed_run(
    call: Call, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = call("mmad", root, "--json", "--no-text")[1]
    log = tmp_path / "run" / "answers.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:4]) + lines[4][:20])
    shown = []
    real = open_image

    def counted(path: Path) -> object:
        shown.append(path.relative_to(root).as_posix())
        return real(path)

    monkeypatch.setattr("adcopilot_edge.calibration.mmad_run.open_image", counted)
    assert call("mmad", root, "--json", "--no-text")[1] == whole
    assert GOOD not in shown
    assert BAD in shown
    assert log.read_bytes().splitlines()[:4] == [line.rstrip() for line in lines[:4]]


def test_another_setting_does_not_mix(call: Call, root: Path) -> None:
    assert call("mmad", root, "--no-text")[0] == 0
    code, _, err = call("mmad", root, "--no-text", "--similar-template")
    assert code == ConfigError.exit_code
    assert "template is 'random' there, 'similar' here" in err


def test_zero_shots_see_the_query_alone(call: Call, root: Path, bundle: Path) -> None:
    code, out, _ = call("mmad", root, "--json", "--no-text", "--shots", 0)
    assert code == 0
    report = json.loads(out)
    assert report["prompt"]["golden"].count(VISION_SPAN) == 1
    assert "normal sample" not in report["prompt"]["golden"]
    # Compared with itself a defect makes no difference, which is all that the toy can see.
    questioner = open_questioner(bundle, wording="bundle", shots=0, num_threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "adcopilot_edge.runtime.engine.Engine.read_golden", lambda *_: pytest.fail("a golden")
        )
        questioner.show(open_image(root / BAD), None)
    logits = questioner.ask("Is there a defect? A. Yes B. No", "AB", max_new_tokens=None).letters
    assert logits["A"] < logits["B"]


def test_missing_files_are_told(call: Call, root: Path) -> None:
    (root / BAD).unlink()
    code, out, err = call("mmad", root, "--json", "--no-text")
    assert code == 0
    assert json.loads(out)["missing_files"] == [BAD]
    assert json.loads(out)["images_left_out"] == 1
    assert f"1 file is missing, so 1 image is left out: {BAD}" in err


def test_malformed_questions_are_told(call: Call, root: Path) -> None:
    content = json.loads((root / "mmad.json").read_text())
    content[GOOD]["conversation"][1]["Answer"] = "Z"
    (root / "mmad.json").write_text(json.dumps(content))
    code, out, err = call("mmad", root, "--json", "--no-text")
    assert code == 0
    assert json.loads(out)["questions"] == 5
    assert f"1 question is malformed and left out: {GOOD}: the answer 'Z'" in err


def test_a_table_for_people(call: Call, root: Path) -> None:
    code, out, _ = call("mmad", root, "--no-text", "--pairs", 2)
    assert code == 0
    assert "questions about 2 images" in out.splitlines()[0]
    assert "Average" in out


def test_options_of_other_sources_are_refused(call: Call, root: Path) -> None:
    assert "does not take --against" in call("mmad", root, "--against", root)[2]
    assert "does not take --out" in call("synthetic")[2]
    assert (
        "does not take --shots, --prompt"
        in call("pairs", root, "--shots", 0, "--prompt", "mmad")[2]
    )
    assert "does not take --similar-template" in call("pairs", root, "--similar-template")[2]
    assert "needs the data as second argument" in call("mmad")[2]


def test_prompts_are_asked_as_they_stand(call: Call, root: Path, tmp_path: Path) -> None:
    (root / "mmad.json").unlink()
    entry = {"good_image": TEMPLATE, "test_image": BAD, "task": "Anomaly Detection"}
    entries = [
        entry | {"prompt": "Any defect? A. Yes. B. No. Only the letter.", "answer": "A"},
        entry | {"prompt": "Describe it.", "answer": "a crack"},
    ]
    (root / "mmad_questions.json").write_text(json.dumps(entries))
    code, out, _ = call("mmad", root, "--json", "--max-new-tokens", 2)
    assert code == 0
    report = json.loads(out)
    assert report["prompt"]["question"] == DEFAULT_PROMPT.question
    assert report["letters"]["counts"] == {"DS-MVTec": {"Anomaly Detection": 1}}
    assert report["words"]["counts"] == {"DS-MVTec": {"Anomaly Detection": 2}}
    assert report["words"]["unreadable"] == 1

    entries = entries[1:]
    (root / "mmad_questions.json").write_text(json.dumps(entries))
    code, _, err = call("mmad", root, "--no-text", "--out", tmp_path / "other")
    assert code == DatasetError.exit_code
    assert "without options are 1, and must be asked in words" in err


def test_a_letter_of_several_tokens(bundle: Path, root: Path) -> None:
    questioner = open_questioner(bundle, wording="bundle", shots=1, num_threads=1)
    questioner.show(open_image(root / BAD), open_image(root / TEMPLATE))
    with pytest.raises(ConfigError, match="the letter Ä has 2 tokens"):
        questioner.ask("Which?", ["Ä"], max_new_tokens=None)


def test_prompts() -> None:
    one = benchmark_prompt(DEFAULT_PROMPT, "mmad", shots=1)
    assert one.golden.endswith(f"to compare the image being queried.Picture 1: {VISION_SPAN}")
    assert one.test == f"Following is the query image: Picture 2: {VISION_SPAN}"
    assert one.ask("Q?").startswith("Following is the question list: Q?<|im_end|>")
    own = benchmark_prompt(DEFAULT_PROMPT, "bundle", shots=1)
    assert (own.golden, own.test) == (DEFAULT_PROMPT.golden, DEFAULT_PROMPT.test)
    assert own.ask("Q?").startswith(" is the query sample. Q? Answer with the option's letter")
    with pytest.raises(ConfigError, match="shots must be 0 or 1, got 2"):
        benchmark_prompt(DEFAULT_PROMPT, "mmad", shots=2)
