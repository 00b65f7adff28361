"""What a teacher is asked: the rules, the facts of the pair, the form of the answer.

Knows no endpoint; pictures are put in by the client.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from adcopilot_edge.training.chat_ad.mined import MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.teacher.answer import answer_schema
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherTask
from adcopilot_edge.training.chat_ad.teacher.structured import teacher_box
from adcopilot_edge.training.chat_ad.teacher.words import BOX
from adcopilot_edge.training.places import place_word

SYSTEM = f"""\
You write training texts for a model that inspects industrial parts. You see two pictures: first \
the template, which is a normal part, then the query. Facts about the query come with them; they \
were measured and are right. Put the facts into natural, varied English and add nothing that they \
do not say.

A program checks every sentence against the facts and throws away what it can't check. So:
- Plain English sentences only: no lists, no markup, no other language.
- Call the pictures the template and the query sample. Call the part by its category, or the part.
- Name a defect only by its label, or as the defect. Never name any other thing that may be wrong, \
except to deny it with no or without.
- Places only in the words of the facts, such as upper left, centre, middle right. Never numbers, \
pixels, coordinates, clock positions or words such as above and below.
- Sizes, shapes and contrast only in the words of the facts; leave out those that are not given. \
No colours.
- How many only as the fact count says. No other number anywhere.
- State, never doubt: no maybe, might, could, seems to, probably.
- Say at once what belongs to which defect: one defect with its place in a clause.
- Where a box should stand, write {BOX} in the text, right behind the defect it is of, and put the \
box of the facts into the claims of that sentence, in the same order. No {BOX} in a question.
- claims lists what the sentence says of each defect: label, is_anomaly, and box, place, count and \
contrast, each null where the sentence does not say it.
Answer with one JSON object and nothing else."""

_TASKS: dict[TeacherTask, str] = {
    "caption": "caption: two to four sentences that compare the query sample with the template. "
    "Name every defect with its place; of a normal query sample say only that it is normal and "
    "which defects are absent.",
    "dialogue": "dialogue: three to five exchanges of a user and an assistant about the query "
    "sample, each building on the one before. A user's question must not take a defect for granted "
    "that is not there. An answer to a question for yes or no begins with Yes or No.",
    "choice": "choice: one question with four options of which exactly one is right. about says "
    "what the options are: presence (Yes and No, two options), label, place, count, contrast or "
    "size. An option is only the label, the place, the number or the word; take wrong labels from "
    "other_labels, and No defect where it fits. right is the index of the right option from 0.",
}


def question(pair: MinedPair, tasks: Sequence[TeacherTask]) -> str:
    """The text behind the two pictures: the facts, then what to write."""
    facts = json.dumps(facts_of(pair), ensure_ascii=False)
    wanted = "\n".join(f"- {_TASKS[task]}" for task in tasks)
    return f"Facts: {facts}\nWrite a JSON object with verdict (normal or anomaly) and:\n{wanted}"


def facts_of(pair: MinedPair) -> dict[str, Any]:
    """What a teacher is told of a pair, as plain JSON values; unknown facts are left out."""
    return {
        "category": pair.category,
        "verdict": "normal" if pair.is_normal else "anomaly",
        "defects": [_defect(one, pair) for one in pair.defects],
        "other_labels": [label for label in pair.other_labels if label not in pair.labels],
    }


@lru_cache
def schema_hint(tasks: tuple[TeacherTask, ...]) -> str:
    """The form of the answer in words, for a server that enforces no schema."""
    schema = json.dumps(answer_schema(tasks), separators=(",", ":"))
    return f"\nThe object must be valid for this JSON schema: {schema}"


def _defect(defect: MinedDefect, pair: MinedPair) -> dict[str, Any]:
    told: dict[str, Any] = {"label": defect.label}
    if defect.description:
        told["description"] = defect.description
    if defect.boxes:
        told["count"] = len(defect.boxes)
        told["boxes"] = [
            {
                "box": list(teacher_box(box, pair.query_size)),
                "place": place_word(box, height=pair.query_size[1], width=pair.query_size[0]),
            }
            for box in defect.boxes
        ]
    if facts := defect.facts:
        told |= {"place": facts.place, "size": facts.size}
        told |= {"contrast": facts.contrast} if facts.contrast else {}
        told |= {"shape": facts.shape} if facts.shape else {}
    return told
