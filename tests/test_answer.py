"""Reading the model's words: a table of nasty texts, each with what is left of it."""

from __future__ import annotations

import pytest

from adcopilot_edge.errors import AnswerError
from adcopilot_edge.runtime.answer import LabelledBox, parse_boxes, parse_types

HEIGHT, WIDTH = 100, 200
HUGE = "9" * 400
A_BOX = '{"bbox_2d": [10, 20, 30, 40], "label": "open"}'
OPEN = LabelledBox((10.0, 20.0, 30.0, 40.0), "open")
SHORT = LabelledBox((1.0, 2.0, 3.0, 4.0), "short")

ANSWERS = {
    "plain": (f"[{A_BOX}]", [OPEN], 0),
    "two": (f'[{A_BOX}, {{"bbox_2d": [1, 2, 3, 4], "label": "short"}}]', [OPEN, SHORT], 0),
    "no list around it": (A_BOX, [OPEN], 0),
    "objects in a row": (
        f'{A_BOX}\n{{"bbox_2d": [1, 2, 3, 4], "label": "short"}}',
        [OPEN, SHORT],
        0,
    ),
    "fences": (f"```json\n[{A_BOX}]\n```", [OPEN], 0),
    "open fence": (f"```json\n[{A_BOX}]", [OPEN], 0),
    "words around it": (f"Sure! [1] Here it is: [{A_BOX}]. Anything else?", [OPEN], 0),
    "thinking before it": ("<think>[0, 0, 9, 9]? {maybe</think>" + f"[{A_BOX}]", [OPEN], 0),
    "a box only in the thinking": (f"<think>{A_BOX}</think>[]", [], 0),
    "end of thinking alone": (f"hm {A_BOX[:20]}</think>[{A_BOX}]", [OPEN], 0),
    "deeper": (f'{{"answer": {{"defects": [[{A_BOX}]]}}}}', [OPEN], 0),
    "cut in the second box": (f'[{A_BOX}, {{"bbox_2d": [1, 2, 3', [OPEN], 0),
    "cut before the closing": (f"[{A_BOX}", [OPEN], 0),
    "single quotes": ("[{'bbox_2d': [10, 20, 30, 40], 'label': 'open'}]", [OPEN], 0),
    "tuple of Python": ("{'bbox_2d': (10, 20, 30, 40), 'label': 'open'}", [OPEN], 0),
    "lone backslash in Python": (
        "{'bbox_2d': [1, 2, 3, 4], 'label': 'a\\d'}",
        [LabelledBox((1.0, 2.0, 3.0, 4.0), "a\\d")],
        0,
    ),
    "line break in a label": (
        '[{"bbox_2d": [1, 2, 3, 4], "label": "mouse\nbite"}]',
        [LabelledBox((1.0, 2.0, 3.0, 4.0), "mouse bite")],
        0,
    ),
    "box in a list of its own": ('[{"bbox_2d": [[10, 20, 30, 40]], "label": "open"}]', [OPEN], 0),
    "floats": (
        '[{"bbox_2d": [0.5, 1e1, 2.5, 20.0], "label": "open"}]',
        [LabelledBox((0.5, 10.0, 2.5, 20.0), "open")],
        0,
    ),
    "unicode": (
        '[{"bbox_2d": [1, 2, 3, 4], "label": " 划痕 \\u00e9 \U0001f4a5 "}]',
        [LabelledBox((1.0, 2.0, 3.0, 4.0), "划痕 é \U0001f4a5")],
        0,
    ),
    "missing label": ('[{"bbox_2d": [1, 2, 3, 4]}]', [LabelledBox(SHORT.bbox_2d, "defect")], 0),
    "empty label": (
        '[{"bbox_2d": [1, 2, 3, 4], "label": " "}]',
        [LabelledBox(SHORT.bbox_2d, "defect")],
        0,
    ),
    "label is no text": (
        '[{"bbox_2d": [1, 2, 3, 4], "label": ["short"]}]',
        [LabelledBox(SHORT.bbox_2d, "defect")],
        0,
    ),
    "label that can't be printed": (
        '[{"bbox_2d": [10, 20, 30, 40], "label": "\\ud800op\\u001ben\\n"}]',
        [OPEN],
        0,
    ),
    "swapped corners": ('[{"bbox_2d": [30, 40, 10, 20], "label": "open"}]', [OPEN], 0),
    "negative, clipped": (
        '[{"bbox_2d": [-5, -5, 10, 10], "label": "open"}]',
        [LabelledBox((0.0, 0.0, 10.0, 10.0), "open")],
        0,
    ),
    "huge, clipped": (
        f'[{{"bbox_2d": [0, 0, {HUGE}, 1e300], "label": "open"}}]',
        [LabelledBox((0.0, 0.0, 200.0, 100.0), "open")],
        0,
    ),
    "all outside": ('[{"bbox_2d": [500, 20, 600, 40], "label": "open"}]', [], 1),
    "no area": (f'[{{"bbox_2d": [10, 20, 10, 40], "label": "open"}}, {A_BOX}]', [OPEN], 1),
    "NaN": (f'[{{"bbox_2d": [NaN, 1, 2, 3], "label": "open"}}, {A_BOX}]', [OPEN], 1),
    "infinite": ('[{"bbox_2d": [0, 0, Infinity, 1e999], "label": "open"}]', [], 1),
    "three numbers": ('[{"bbox_2d": [1, 2, 3], "label": "open"}]', [], 1),
    "numbers as text": ('[{"bbox_2d": ["1", "2", "3", "4"], "label": "open"}]', [], 1),
    "booleans": ('[{"bbox_2d": [false, false, true, true], "label": "open"}]', [], 1),
    "null": ('[{"bbox_2d": null, "label": "open"}]', [], 1),
    "empty list": ("[]", [], 0),
    "empty list in fences": ("```json\n[]\n```", [], 0),
    "no defect in words": ("No defect", [], 0),
    "no defect with a full stop": (' "no defect". ', [], 0),
}

REFUSED = {
    "nothing": "",
    "white space": " \n\t",
    "words": "There is a scratch at the top left.",
    "numbers without a name": "[10, 20, 30, 40]",
    "cut in the first box": '[{"bbox_2d": [10, 20,',
    "cut, with an empty list inside": '[{"bbox_2d": []',
    "thinking that never ended": f"<think>{A_BOX}",
    "other JSON": '{"verdict": "A"}',
    "open brackets": "[" * 20_000,
    "open braces": '{"a":' * 4_000,
    "an integer of thousands of digits": f'[{{"bbox_2d": [0, 0, {"9" * 5000}, 1]}}]',
    "zero bytes": "\x00\x00",
    "half a surrogate pair": "\ud83d",
}


@pytest.mark.parametrize("case", ANSWERS)
def test_boxes(case):
    text, boxes, num_dropped = ANSWERS[case]
    parsed = parse_boxes(text, height=HEIGHT, width=WIDTH)
    assert list(parsed.boxes) == boxes
    assert parsed.num_dropped == num_dropped


@pytest.mark.parametrize("case", REFUSED)
def test_no_boxes_is_an_answer_error(case):
    with pytest.raises(AnswerError, match="holds no list of boxes") as caught:
        parse_boxes(REFUSED[case], height=HEIGHT, width=WIDTH)
    assert len(str(caught.value)) < 300


def test_an_answer_cut_anywhere_gives_its_whole_boxes_or_an_answer_error():
    text = f'```json\n[{A_BOX}, {{"bbox_2d": [1, 2, 3, 4], "label": "short"}}]\n```'
    counts = []
    for length in range(len(text) + 1):
        try:
            boxes = parse_boxes(text[:length], height=HEIGHT, width=WIDTH).boxes
        except AnswerError:
            boxes = ()
        assert boxes == (OPEN, SHORT)[: len(boxes)]
        counts.append(len(boxes))
    assert counts == sorted(counts)
    assert counts[-1] == 2


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("scratch", ("scratch",)),
        ("Open, short; open.\nspur and stain", ("Open", "short", "open", "spur", "stain")),
        ("'scratch'", ("scratch",)),
        ("<think>stain?</think> scratch", ("scratch",)),
        ("sand", ("sand",)),
        ("scratch, scratch", ("scratch",)),
        ("No defect", ()),
        ("", ()),
        (",;.", ()),
    ],
)
def test_types(text, types):
    assert parse_types(text) == types
