"""Sentences held against the truth of a pair: what is true passes, all else fails."""

from __future__ import annotations

import pytest
from teacher_pairs import BENT_EDGE, SCRATCH, mined_pair

from adcopilot_edge.training.chat_ad.teacher.claims import judge_caption
from adcopilot_edge.training.chat_ad.teacher.truth import Truth

ONE = Truth.of(mined_pair(SCRATCH))
TWO = Truth.of(mined_pair(SCRATCH, BENT_EDGE))
NORMAL = Truth.of(mined_pair())

TRUE_OF_ONE = """
The query sample shows a scratch at the upper left.
There is a small dark scratch in the upper left corner.
In the upper left region the query shows a small elongated scratch, darker than its surroundings.
The template is intact, while the query sample has one scratch at the upper left.
A single scratch, small and elongated, runs across the top left of the metal nut.
The nut is scratched at the upper left.
Unlike the template, the query image has a scratch near the left edge.
A scratch that is not present in the template is visible at the top left.
Apart from the scratch at the upper left, the part is intact.
There is a scratch in the upper left; the rest of the part matches the template.
No dents or pinholes are visible, but there is a scratch at the upper left.
The query sample is not normal: it has a scratch.
The part isn't flawless; a dark scratch is seen at the upper left.
In the upper left, there is a scratch.
The scratch is small and darker than the same place of the template.
The query is defective. It shows a scratch. It is located at the upper left and is small.
The query sample differs from the template by a scratch on the left side.
The only defect is a scratch in the upper-left area.
Both images show the same part, but the second image has a scratch at the upper left.
A thin, dark scratch is present in the top-left corner; otherwise the surface is smooth.
There is exactly one defect, a scratch.
The scratch is horizontal and lies at the upper left.
No other defects are present besides the scratch.
A scratch is visible at the upper left, with no pinholes.
The anomaly is a scratch in the northwest.
The scratch is not large.
The query sample has a scratch, not a dent.
The scratch isn't at the lower right but at the upper left.
A scratch at the top.
""".strip().splitlines()

FALSE_OF_ONE = """
The query sample shows a dent at the upper left.
The query sample shows a scratch at the lower left.
The query sample shows a scratch and a dent.
There are two scratches at the upper left.
There are scratches at the upper left.
The query sample shows no scratch.
The query sample shows no defect.
The part is normal apart from nothing; a scratch.
The part is intact and has a scratch.
A large scratch is at the upper left.
A bright scratch is at the upper left.
A round scratch is at the upper left.
A scratch at [10, 20, 30, 40].
The scratch is 5 mm long.
A scratch lies in the centre.
A scratch lies at the right edge.
The scratch is missing.
The scratch is nowhere to be found.
There might be a scratch.
A scratch is at the upper left and a pinhole is at the lower right.
A scratch and a pimple are visible.
A scratch is visible, and there is a weld splash.
A red scratch is at the upper left.
The scratch is not at the upper left.
The scratch is not small.
The template has a scratch.
The template shows a scratch, the query is intact.
Several scratches are at the upper left.
A second scratch is visible.
Another scratch is at the upper left.
The scratch is vertical.
The scratch is above the hole.
The surface is discoloured and has a scratch.
The edge is bent and scratched.
The scratch is not visible.
A scratch is absent.
It is scratch-free.
The part is free of scratches.
The part is not scratched.
Neither a scratch nor a dent is visible.
The query matches the template; the scratch is part of the design.
A scratch runs from the upper left to the lower right.
A scratch at the upper right.
A scratch in the bottom left corner.
There is not only a scratch but also a dent.
The scratch cannot be denied.
The scratch spans the whole image everywhere.
A scratch at 45 degrees.
There is a scratch at x = 10.
Nothing is wrong with the scratch.
Die Probe zeigt einen Kratzer.
Scratch, dent.
A scratch of about 20 % of the area.
The scratch does not differ from the template.
No difference to the template can be seen despite the scratch.
There is a scrach at the upper left and a scratch.
The query sample shows a scratch at the upper left and one at the lower right.
The scratch is at the upper left, not the upper left.
The scratch, which is at the lower right, is small.
The scratch lies in the same place as the dent.
The part is scratched, dented and bent.
A scratch can be seen in the top row, right column.
On the right-hand side there is a scratch.
The scratch sits at 10 o'clock.
Three small scratches.
A pair of scratches.
The scratch covers most of the surface.
Scratch: none.
The scratch was removed.
The scratch is only in the template.
The scratch belongs to the part in the first image.
The first image shows a scratch.
The first one shows a scratch.
Both images show a scratch.
A scratch is visible in each picture.
There is a scratch, but it is part of the design.
The scratch is harmless.
What looks like a scratch is a reflection.
The scratch turns out to be dirt.
There is a scratch; the part passes inspection.
The scratch lies on the left, at the bottom.
The scratch runs diagonally.
The scratch is deep.
No scratch? Wrong, there is one.
It is false that there is a scratch.
Far from being scratched, the part shines.
Instead of a scratch the part has a smooth surface.
The part is anything but scratched.
The part fails to show a scratch.
The scratch disappeared.
The part avoids a scratch.
The template, unlike the query, shows a scratch.
The query is fine, the template is scratched.
Relative to the query sample, a scratch is seen in the reference.
The left image shows a scratch.
The former shows a scratch.
A scratch and several pimples.
The scratch looks as in the template.
The scratch of the template is at the upper left.
The non-scratch is at the upper left.
The scratch is brownish.
The scratch is medium in size.
A scratch is at the upper left and a scratch is at the lower right.
Upper left: nothing.
The scratch is next to the pimples.
""".strip().splitlines()

TRUE_OF_TWO = """
There is a scratch at the upper left and a bent edge at the lower right.
Two defects are visible: a scratch at the upper left and a bent edge at the lower right.
At the upper left there is a scratch, at the lower right a bent edge.
The edge at the lower right is bent, and a scratch lies at the upper left.
The small dark scratch is at the upper left, whereas the brighter bent edge is at the lower right.
The query shows two types of defects, a scratch and a bent edge.
""".strip().splitlines()

FALSE_OF_TWO = """
There is a scratch at the lower right and a bent edge at the upper left.
A scratch is visible.
There is a bent edge.
Three defects: a scratch and a bent edge.
The only defect is a scratch; a bent edge.
A scratch and a bent edge are at the lower right.
A bright scratch and a dark bent edge.
At the lower right there is a scratch, at the upper left a bent edge.
A single defect is seen: a scratch with a bent edge.
There is a scratch and a bent edge. It lies at the upper left.
""".strip().splitlines()

TRUE_OF_NORMAL = """
The query sample shows no defect.
The query sample matches the template; no scratches, dents or pinholes are visible.
There is no difference between the two images.
The part is intact and free of defects.
The surface is smooth, without any scratches.
No anomaly can be seen.
The query sample is normal.
The query image is identical to the template.
It is defect-free.
Neither scratches nor dents are visible.
The nut does not show any signs of damage.
Nothing is wrong with the part.
The query does not differ from the template.
No scratch is visible.
Scratches are not visible.
The part is not damaged.
There are no visible dents, scratches, or other defects.
The sample has zero defects.
Both images show the same intact part.
""".strip().splitlines()

FALSE_OF_NORMAL = """
The query sample shows a scratch.
The query sample has a pimple at the upper left.
No scratches, but a dent is visible.
The part is intact except for a mark.
It is almost identical; only the edge is bent.
The query differs from the template.
The part does not match the template.
The part is defective.
The query has a dark spot at the centre.
The template has a scratch, the query is intact.
There is a blob.
There is not no defect.
The part is not free of scratches.
The part is not without defects.
Pimples are visible.
The surface looks abnormal.
The part is not intact.
A lump, otherwise identical.
No doubt the part is damaged.
The upper left is darker.
The left edge deviates.
It should be rejected.
The query shows two defects.
One corner is chipped.
The query might have a defect.
The screw lies on a table.
No dents and a scratch.
No dents, a scratch is visible.
Without a dent, the scratch stands out.
The part is no longer intact.
The part has lost its smooth finish.
""".strip().splitlines()


def failures(text: str, truth: Truth) -> list[tuple[str, str]]:
    return [(one.code, one.words) for one in judge_caption(text, truth).failures]


@pytest.mark.parametrize("text", TRUE_OF_ONE)
def test_true_of_a_pair_with_one_defect(text: str) -> None:
    assert failures(text, ONE) == []


@pytest.mark.parametrize("text", FALSE_OF_ONE)
def test_not_true_of_a_pair_with_one_defect(text: str) -> None:
    assert failures(text, ONE)


@pytest.mark.parametrize("text", TRUE_OF_TWO)
def test_true_of_a_pair_with_two_defects(text: str) -> None:
    assert failures(text, TWO) == []


@pytest.mark.parametrize("text", FALSE_OF_TWO)
def test_not_true_of_a_pair_with_two_defects(text: str) -> None:
    assert failures(text, TWO)


@pytest.mark.parametrize("text", TRUE_OF_NORMAL)
def test_true_of_a_normal_pair(text: str) -> None:
    assert failures(text, NORMAL) == []


@pytest.mark.parametrize("text", FALSE_OF_NORMAL)
def test_not_true_of_a_normal_pair(text: str) -> None:
    assert failures(text, NORMAL)


@pytest.mark.parametrize(
    "text",
    [
        "Apart from the scratch at the upper left, the part is not intact.",
        "A scratch is visible at the upper left and lower right, with no pinholes.",
        "The scratch at the upper left is the same in both images.",
        "A single scratch runs across the top left of the metal nut in both images.",
        "A scratch is at the upper left. The part can be accepted.",
        "A scratch is at the upper left. It can still be used.",
        "A scratch is at the upper left, or so.",
        "In the upper left region the template shows a small elongated scratch.",
    ],
)
def test_found_by_changing_true_sentences(text: str) -> None:
    assert failures(text, ONE)


@pytest.mark.parametrize(
    "text",
    [
        "It is not defect-free.",
        "The part is free of defects and dented.",
        "The query sample shows no defect and pimples are present.",
        "The surface is smooth, without any scratches and pimples are present.",
        "The query sample is normal; something is off.",
    ],
)
def test_found_by_changing_sentences_of_a_normal_pair(text: str) -> None:
    assert failures(text, NORMAL)
