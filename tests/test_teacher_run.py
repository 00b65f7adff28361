"""The teacher against a server on this machine: each way it may answer, and what comes of it."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from teacher_pairs import SCRATCH, mined_pair
from teacher_runs import change_caption, draw, failing, review, run, settings_for, six_pairs
from teacher_server import Response, answering, facts_in, right_answer, teacher_server

from adcopilot_edge.errors import ConfigError, TeacherError, TeacherUnavailableError
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.sample import BOX_MARK

SOON = {"retry-after-ms": "5"}


@pytest.fixture
def pairs(tmp_path: Path) -> list[MinedPair]:
    return six_pairs(tmp_path)


def test_right_answers_become_samples_in_the_order_of_the_pairs(teacher, pairs, tmp_path) -> None:
    settings = settings_for(teacher, tmp_path, concurrency=4)
    samples, report = run(pairs, settings)
    tasks = ("caption", "dialogue", "choice")
    assert [one.key for one in samples] == [
        f"{p.key}:{task}:teacher" for p in pairs for task in tasks
    ]
    assert len(teacher.requests) == report.requests == report.pairs == 6
    assert review(settings) == []
    caption = next(one for one in samples if one.is_anomaly and one.task == "caption")
    assert caption.turns[1].text.endswith(f"a scratch {BOX_MARK} at the upper left.")
    assert caption.bboxes == caption.boxes == SCRATCH.boxes
    assert (caption.labels, caption.author) == (("scratch",), "teacher")
    choice = next(one for one in samples if one.is_anomaly and one.task == "choice")
    assert f"{choice.choice}. scratch" in choice.turns[0].text
    assert choice.turns[1].text == choice.choice


def test_requests_are_made_side_by_side_up_to_a_limit(teacher, pairs, tmp_path) -> None:
    two = threading.Barrier(2)  # passed only by two requests that wait at the same time

    def answer(request: Any, _: int) -> Response:
        two.wait(timeout=20)
        return answering(right_answer(request))

    teacher.answer = answer
    samples, _ = run(pairs, settings_for(teacher, tmp_path, concurrency=2))
    assert (len(samples), teacher.most_at_once) == (18, 2)


def test_what_is_sent(teacher, pairs, tmp_path) -> None:
    large = draw(tmp_path / "large.png", 200, (600, 400))
    pair = mined_pair(SCRATCH, query=large, template=pairs[0].template, size=(600, 400))
    run([pair], settings_for(teacher, tmp_path, image_side=150))
    (request,) = teacher.requests
    parts = request["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url", "text"]
    assert (parts[0]["text"], parts[2]["text"]) == ("Template:", "Query sample:")
    pictures = []
    for part in (parts[1], parts[3]):
        start, _, coded = part["image_url"]["url"].partition(",")
        assert start == "data:image/jpeg;base64"
        pictures.append(Image.open(io.BytesIO(base64.b64decode(coded))))
    assert [picture.size for picture in pictures] == [(150, 150), (150, 100)]
    assert np.asarray(pictures[0]).mean() == pytest.approx(90, abs=2)
    assert request["response_format"]["type"] == "json_schema"
    assert request["response_format"]["json_schema"]["strict"] is True
    assert (request["temperature"], request["max_tokens"], request["seed"]) == (0.2, 2048, 0)
    facts = facts_in(request)
    assert facts["defects"][0]["boxes"] == [{"box": [17, 25, 100, 75], "place": "upper left"}]
    assert "scratch" not in facts["other_labels"]


@pytest.mark.parametrize(
    ("change", "task", "code"),
    [
        (change_caption("There is also a dent."), "caption", "other_label"),
        (change_caption("The scratch is at the lower right."), "caption", "place"),
        (change_caption("It lies at [1, 2, 3, 4]."), "caption", "coordinates"),
        (
            lambda answer: answer["caption"][1]["claims"][0].update(box=[1, 2, 3, 4]),
            "caption",
            "box",
        ),
        (
            lambda answer: answer["caption"][1]["claims"][0].update(label="dent"),
            "caption",
            "claim_label",
        ),
        (lambda answer: answer["choice"].update(right=0), "choice", "wrong_option"),
        (lambda answer: answer.pop("dialogue"), "dialogue", "malformed"),
        (
            lambda answer: answer["dialogue"][1].update(question="Is it large?"),
            "dialogue",
            "unchecked",
        ),
    ],
)
def test_a_piece_that_is_wrong_goes_to_the_review_alone(
    teacher, pairs, tmp_path, change, task, code
) -> None:
    teacher.answer = failing(change)
    settings = settings_for(teacher, tmp_path)
    samples, report = run(pairs[:2], settings)
    assert sorted(one.task for one in samples if one.is_anomaly) == sorted(
        {"caption", "dialogue", "choice"} - {task}
    )
    (line,) = review(settings)
    assert (line["pair"], line["task"], line["model"]) == (pairs[1].key, task, "teacher")
    assert code in [failure["code"] for failure in line["failures"]]
    assert "Facts: " in line["asked"]
    assert json.loads(line["answered"])["verdict"] == "anomaly"
    assert (report.num_failed, report.failures[code]) == (1, 1)


def test_an_invented_defect_on_a_normal_part(teacher, pairs, tmp_path) -> None:
    def answer(request: Any, _: int) -> Response:
        right = right_answer(request)
        right["caption"][1]["text"] = "A small scratch is at the upper left."
        return answering(right)

    teacher.answer = answer
    settings = settings_for(teacher, tmp_path)
    samples, _ = run(pairs[:1], settings)
    assert [one.task for one in samples] == ["dialogue", "choice"]
    (line,) = review(settings)
    assert {one["code"] for one in line["failures"]} >= {"invented_defect", "invented_detail"}


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (Response(text="The part is fine."), "malformed"),
        (Response(text='{"verdict": "nor', finish="length"), "cut"),
        (answering({"verdict": "anomaly", "caption": []}), "verdict"),
        (Response(text=""), "malformed"),
    ],
)
def test_an_answer_that_is_wrong_as_a_whole(teacher, pairs, tmp_path, response, code) -> None:
    teacher.answer = lambda *_: response
    settings = settings_for(teacher, tmp_path)
    samples, report = run(pairs[:1], settings)
    assert (samples, report.failures[code]) == ([], 3)
    assert [line["failures"][0]["code"] for line in review(settings)] == [code] * 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failure_that_passes_is_asked_again(teacher, pairs, tmp_path, status) -> None:
    def answer(request: Any, number: int) -> Response:
        return (
            Response(status=status, headers=SOON)
            if number < 2
            else answering(right_answer(request))
        )

    teacher.answer = answer
    samples, report = run(pairs[:1], settings_for(teacher, tmp_path))
    assert (len(samples), len(teacher.requests)) == (3, 3)
    assert (report.requests, report.retries, report.unanswered) == (1, 2, 0)


def test_a_slow_answer_is_given_up_and_asked_again(teacher, pairs, tmp_path) -> None:
    is_over = threading.Event()

    def answer(request: Any, number: int) -> Response:
        if number == 0:
            is_over.wait(timeout=60)
        return answering(right_answer(request))

    teacher.answer = answer
    try:
        settings = settings_for(teacher, tmp_path, timeout_s=0.8, max_retries=10)
        samples, report = run(pairs[:1], settings)
    finally:
        is_over.set()
    assert len(samples) == 3
    assert report.retries >= 1


def test_one_request_that_fails_for_good_stops_no_other(teacher, pairs, tmp_path) -> None:
    def answer(request: Any, _: int) -> Response:
        broken = facts_in(request)["verdict"] == "anomaly"
        return Response(status=500, headers=SOON) if broken else answering(right_answer(request))

    teacher.answer = answer
    settings = settings_for(teacher, tmp_path, concurrency=1, max_retries=1)
    samples, report = run(pairs, settings)
    assert {one.pair for one in samples} == {pair.key for pair in pairs[::2]}
    assert (report.unanswered, len(teacher.requests)) == (3, 9)
    assert review(settings) == []
    teacher.answer = lambda request, _: answering(right_answer(request))
    again, report = run(pairs, settings)
    assert (len(again), report.cached, report.requests) == (18, 3, 3)


def test_a_server_that_always_fails_stops_the_run(teacher, pairs, tmp_path) -> None:
    teacher.answer = lambda *_: Response(status=500, headers=SOON)
    settings = settings_for(teacher, tmp_path, max_unanswered=3, max_retries=1, concurrency=2)
    with pytest.raises(TeacherUnavailableError, match=r"\d requests in a row.*start again"):
        run(pairs, settings)
    assert TeacherError.exit_code == 9


def test_no_server_at_all(pairs, tmp_path) -> None:
    with teacher_server() as gone:
        pass
    settings = settings_for(gone, tmp_path, max_retries=0, max_unanswered=1)
    with pytest.raises(TeacherUnavailableError, match="Connection"):
        run(pairs[:1], settings)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_the_run_at_once_and_is_never_shown(
    teacher, pairs, tmp_path, monkeypatch, caplog, status
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TEACHER_KEY", "sk-very-secret")
    body = {"error": {"message": "Incorrect API key provided: sk-very-secret"}}
    teacher.answer = lambda *_: Response(status=status, body=body)
    settings = settings_for(teacher, tmp_path, api_key_env="TEACHER_KEY", concurrency=1)
    with pytest.raises(TeacherUnavailableError, match="check the key in TEACHER_KEY") as caught:
        run(pairs, settings)
    assert len(teacher.requests) == 1
    assert teacher.headers[0]["authorization"] == "Bearer sk-very-secret"
    stored = b"".join(path.read_bytes() for path in settings.folder.iterdir())
    for shown in (str(caught.value), caplog.text, repr(settings), stored.decode(errors="replace")):
        assert "sk-very-secret" not in shown


def test_a_key_that_is_not_set(pairs, teacher, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    with pytest.raises(ConfigError, match="TEACHER_KEY is not set"):
        run(pairs, settings_for(teacher, tmp_path, api_key_env="TEACHER_KEY"))


def test_a_wrong_model_stops_the_run(teacher, pairs, tmp_path) -> None:
    body = {"error": {"message": "The model `teacher` does not exist"}}
    teacher.answer = lambda *_: Response(status=404, body=body)
    with pytest.raises(TeacherUnavailableError, match=r"check base_url .* the model 'teacher'"):
        run(pairs, settings_for(teacher, tmp_path))
