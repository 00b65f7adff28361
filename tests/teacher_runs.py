"""Runs of a teacher against the server of a test: pictures, settings, what came of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from teacher_pairs import SCRATCH, mined_pair
from teacher_server import Response, Teacher, answering, facts_in, right_answer

from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.sample import ChatSample
from adcopilot_edge.training.chat_ad.teacher.report import TeachReport
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings
from adcopilot_edge.training.chat_ad.teacher.teach import teach_all


def six_pairs(folder: Path) -> list[MinedPair]:
    """Six pairs, every second with a scratch; no two queries have equal pixels."""
    template = draw(folder / "template.png", 90)
    found = []
    for number in range(6):
        query = draw(folder / f"{number}.png", 10 * number)
        defects = (SCRATCH,) if number % 2 else ()
        key = f"line/{number}.png"
        found.append(mined_pair(*defects, key=key, query=query, template=template))
    return found


def draw(path: Path, value: int, size: tuple[int, int] = (300, 300)) -> Path:
    Image.new("L", size, value).save(path)
    return path


def settings_for(teacher: Teacher, tmp_path: Path, **changes: Any) -> TeacherSettings:
    settings = TeacherSettings(
        base_url=teacher.url,
        model="teacher",
        folder=tmp_path / "out",
        timeout_s=20.0,
        max_retries=2,
    )
    return settings.model_copy(update=changes)


def run(pairs: list[MinedPair], settings: TeacherSettings) -> tuple[list[ChatSample], TeachReport]:
    report = TeachReport()
    return list(teach_all(pairs, settings, report=report)), report


def review(settings: TeacherSettings) -> list[dict[str, Any]]:
    text = (settings.folder / "review.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def failing(change: Callable[[dict[str, Any]], object]) -> Callable[[Any, int], Response]:
    """Answers that are right but for what ``change`` does to those about pairs with a scratch."""

    def answer(request: Any, _: int) -> Response:
        right = right_answer(request)
        if facts_in(request)["verdict"] == "anomaly":
            change(right)
        return answering(right)

    return answer


def change_caption(text: str) -> Callable[[dict[str, Any]], object]:
    return lambda answer: answer["caption"].append({"text": text, "claims": []})
