"""``profile`` from the outside: what it refuses, and a short run of a toy bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from profile_cases import settings

from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.errors import ConfigError, ImageNotFoundError, InputError
from adcopilot_edge.runtime.profile.run import _look_notes, _waited_s, run_case
from adcopilot_edge.runtime.profile.settings import find_pictures, parse_duration
from adcopilot_edge.runtime.profile.sweep import Sweep, parse_sweep, plan_cases, run_cases


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """A golden image, and a folder with two test images."""
    golden, folder = tmp_path / "golden.png", tmp_path / "parts"
    folder.mkdir()
    Image.new("RGB", (84, 56)).save(golden)
    for shade in (0, 200):
        Image.new("RGB", (84, 56), (shade, 0, 0)).save(folder / f"{shade}.png")
    return golden, folder


@pytest.mark.parametrize(
    ("text", "seconds"), [("45", 45), ("90s", 90), ("30m", 1800), ("1.5h", 5400), (" 2m ", 120)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0m", "-5", "5 minutes", "m", "1e3", "nan", "5d"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        parse_duration(text)


def test_pictures(pictures) -> None:
    golden, folder = pictures
    assert find_pictures(golden, folder) == (golden, (folder / "0.png", folder / "200.png"))
    assert find_pictures(golden, folder / "0.png")[1] == (folder / "0.png",)
    embedded, tests = find_pictures(None, None)
    assert embedded.is_file()
    assert tests[0].is_file()


def test_no_pictures(pictures, tmp_path: Path) -> None:
    golden, folder = pictures
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        find_pictures(golden, tmp_path / "empty")
    with pytest.raises(ImageNotFoundError, match="no folder"):
        find_pictures(golden, tmp_path / "absent")
    for alone in ((golden, None), (None, folder)):
        with pytest.raises(ConfigError, match="needs --"):
            find_pictures(*alone)


def test_pictures_of_another_view_are_named(pictures) -> None:
    golden, folder = pictures
    Image.new("RGB", (84, 84)).save(folder / "square.png")
    with pytest.raises(InputError, match=r"square\.png: "):
        find_pictures(golden, folder)


def test_a_sweep() -> None:
    assert parse_sweep(["threads=1,2", "image-size=224,448x560", "task=all"]) == Sweep(
        threads=(1, 2), image_sizes=((224, 224), (448, 560)), tasks=("all",)
    )
    assert parse_sweep([]) == Sweep()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["cores=1"], "threads, concurrency, task, got 'cores=1'"),
        (["threads"], "key=value"),
        (["threads=0"], "at least 1, got '0'"),
        (["threads=1,,2"], "got ''"),
        (["threads=one"], "got 'one'"),
        (["image-size=big"], "448x560"),
        (["image-size=0"], "448x560"),
        (["precision=int3"], "got 'int3'"),
        (["task=guess"], "got 'guess'"),
        (["threads=1", "threads=2"], "twice"),
    ],
)
def test_no_sweep(words, reason) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_sweep(words)


def test_cases_of_a_sweep(toy_bundle) -> None:
    sweep = parse_sweep(["threads=1,2", "task=verdict,all", "image-size=56x84"])
    cases = plan_cases([toy_bundle.path], sweep, settings())
    assert [(case.threads, case.task) for case in cases] == [
        (1, "verdict"),
        (1, "all"),
        (2, "verdict"),
        (2, "all"),
    ]
    assert {case.bundle for case in cases} == {toy_bundle.path}


def test_a_size_chooses_among_the_bundles(toy_bundle) -> None:
    both = [toy_bundle.path, embedded_bundle()]
    (case,) = plan_cases(both, parse_sweep(["image-size=224"]), settings())
    assert case.bundle == embedded_bundle()


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("image-size=448", "export CHECKPOINT --image-size 448 --out BUNDLE"),
        ("image-size=448x560", "--image-size 448x560"),
        ("precision=fp16", "export CHECKPOINT --fp16 --out BUNDLE"),
    ],
)
def test_what_no_bundle_has_is_an_export(toy_bundle, word, command) -> None:
    with pytest.raises(ConfigError, match=command):
        plan_cases([toy_bundle.path], parse_sweep([word]), settings())


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["--takt-ms", "0"], 2, "takt_ms"),
        (["--takt-ms", "-1"], 2, "takt_ms"),
        (["--ask", " "], 2, "the question is empty"),
        (["--ask", "<|im_end|>"], 6, "<|im_end|>"),
        (["--duration", "0"], 2, "above 0"),
        (["--soak", "30m", "--duration", "5"], 2, "leave out"),
        (["--sweep", "cores=2"], 2, "a sweep is written"),
        (["--sweep", "image-size=448"], 2, "--image-size 448"),
        (["--images", "nowhere"], 2, "needs --golden"),
        (["nowhere"], 3, "no bundle at nowhere"),
    ],
)
def test_refusals(cli, options, code, reason) -> None:
    exit_code, out, err = cli("profile", *options, "--json")
    assert exit_code == code
    assert reason in err
    assert reason in json.loads(out)["error"]["message"]


def test_a_short_run(cli, toy_bundle, pictures, tmp_path: Path) -> None:
    golden, folder = pictures
    words = ["--golden", golden, "--images", folder, "--threads", 1, "--max-new-tokens", 2]
    files = ["--csv", tmp_path / "out" / "p.csv", "--html", tmp_path / "out" / "p.html"]
    load = ["--duration", "0.05", "--warm-up", 1, "--concurrency", 2, "--takt-ms", 60_000]
    code, out, err = cli("profile", toy_bundle.path, *words, *files, *load, "--no-limits", "--json")
    assert code == 0, err
    assert out.count("\n") == 1
    (case,) = json.loads(out)["cases"]
    assert case["bundle"]["id"] == toy_bundle.id
    assert (case["pictures"], case["concurrency"], case["threads"]) == (2, 2, 1)
    assert case["stopped_by"] == "duration"
    assert case["goodput"] == 1
    seeing = ["decode_image", "health", "preprocess", "vision", "comparison"]
    stages = [*seeing, "prefill", "verdict"]
    names = ["wait", *stages, "classify", "locate", "describe", "other"]
    assert list(case["stages_ms"]) == [*names, "until_verdict", "inspection"]
    assert {*case["asides_ms"]} == {"golden_uncached", "golden_cached", "overlay"}
    assert case["tokens"]["locate"]["written"] <= 2
    assert case["tokens"]["golden"]["read"] > 0
    assert case["memory_bytes"]["peak_rss"] > 1 << 20
    assert case["limits"] is None
    assert (tmp_path / "out" / "p.csv").read_text(encoding="utf-8").startswith("case,bundle")
    assert (tmp_path / "out" / "p.html").read_text(encoding="utf-8").endswith("</html>\n")


def test_a_question_in_free_words_is_a_stage(cli, toy_bundle, pictures) -> None:
    golden, folder = pictures
    words = ["--golden", golden, "--images", folder, "--threads", 1, "--max-new-tokens", 2]
    load = ["--duration", "0.05", "--warm-up", 0, "--task", "classify", "--ask", " Why? "]
    code, out, err = cli("profile", toy_bundle.path, *words, *load, "--json")
    assert code == 0, err
    (case,) = json.loads(out)["cases"]
    assert case["ask"] == " Why? "
    assert list(case["stages_ms"])[-5:-2] == ["classify", "ask", "other"]
    assert case["stages_ms"]["ask"]["p50"] > 0
    assert 0 < case["tokens"]["ask"]["written"] <= 2
    assert case["tokens"]["ask"]["read"] > 0
    assert case["limits"]["stages"]["ask"]["runs"] == case["limits"]["stages"]["classify"]["runs"]
    assert "and a question in free words" in settings(ask="Why?").words()


def test_a_profile_in_tiles(cli, toy_bundle, tmp_path: Path, image_pair) -> None:
    """A part of 2 x 2 tiles with one defect; stages are sums over the tiles."""
    golden, test = (image.repeat(2, 0).repeat(2, 1)[:84, :126] for image in image_pair)
    for image, name in ((golden, "golden.png"), (test, "part.png")):
        Image.fromarray(image).save(tmp_path / name)
    words = ["--golden", tmp_path / "golden.png", "--images", tmp_path / "part.png", "--threads", 1]
    load = ["--duration", "0.05", "--warm-up", 0, "--max-new-tokens", 2, "--ask", "Why?"]
    code, out, err = cli("profile", toy_bundle.path, *words, *load, "--tile", "--json")
    assert code == 0, err
    (case,) = json.loads(out)["cases"]
    (whole,) = json.loads(cli("profile", toy_bundle.path, *words, *load, "--json")[1])["cases"]
    assert (case["tiles"], whole["tiles"]) == (4, None)
    assert "golden" in case["stages_ms"]
    assert case["stages_ms"]["until_verdict"]["p50"] < case["stages_ms"]["inspection"]["p50"]
    for stage in ("prefill", "verdict"):
        # The worst tile is shown once more for the question.
        assert case["tokens"][stage]["read"] == 5 * whole["tokens"][stage]["read"]
        in_tiles, at_once = (it["limits"]["stages"][stage] for it in (case, whole))
        assert (in_tiles["runs"], at_once["runs"]) == (5, 1)
        assert in_tiles["float_ops"] == 5 * at_once["float_ops"]
    assert case["tokens"]["golden"]["read"] == 4 * whole["tokens"]["golden"]["read"]
    assert case["tokens"]["ask"]["read"] == whole["tokens"]["ask"]["read"]  # of the worst tile
    assert case["tokens"]["locate"]["read"] % whole["tokens"]["locate"]["read"] == 0
    assert "locate" not in case["limits"]["stages"]
    assert settings(tile=True).words().endswith("in tiles")


def test_parts_in_several_numbers_of_tiles_are_told() -> None:
    assert _look_notes([4, 4]) == []
    (note,) = _look_notes([4, 5, 16])
    assert note == "a part took 4 to 16 looks at tiles: the least times are those of 4"


def test_parts_of_an_inspection_add_up(toy_bundle, pictures) -> None:
    golden, folder = pictures
    one = settings(
        golden=golden,
        tests=(folder / "0.png",),
        bundle=toy_bundle.path,
        duration_s=0.01,
        max_new_tokens=2,
        with_limits=False,
    )
    report = run_case(one)
    for trial in report.measurement.trials:
        assert sum(trial.stages_ms.values()) == pytest.approx(trial.latency_ms, rel=1e-6)
        assert 0 < trial.verdict_ms < trial.latency_ms
    assert min(report.asides_ms["golden_uncached"]) > 0


def test_time_that_others_had_the_cores_is_told(toy_bundle, pictures, tmp_path: Path) -> None:
    """The kernel's file is a constant here, so nothing was waited for: and there is no note."""
    golden, folder = pictures
    stat = tmp_path / "root" / "proc" / "self" / "schedstat"
    stat.parent.mkdir(parents=True)
    stat.write_text("1000 500000000 3\n", encoding="ascii")
    one = settings(
        golden=golden,
        tests=(folder / "0.png",),
        bundle=toy_bundle.path,
        task="verdict",
        duration_s=0.01,
        with_limits=False,
    )
    assert _waited_s(tmp_path / "root") == 0.5
    assert _waited_s(tmp_path) == 0.0
    assert not any("other programs" in note for note in run_case(one, root=tmp_path / "root").notes)


def test_a_sweep_uses_a_process_for_each_case(toy_bundle, pictures) -> None:
    golden, folder = pictures
    one = settings(
        golden=golden,
        tests=(folder / "0.png",),
        bundle=toy_bundle.path,
        task="verdict",
        warm_up=0,
        duration_s=0.01,
        with_limits=False,
    )
    steps: list[tuple[str, int, int]] = []
    cases = plan_cases([toy_bundle.path], parse_sweep(["threads=1,2"]), one)
    reports = list(run_cases(cases, on_step=lambda *step: steps.append(step)))
    assert [report.settings.threads for report in reports] == [1, 2]
    assert steps == [("case", 0, 2), ("case", 1, 2), ("case", 2, 2)]
