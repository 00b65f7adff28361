"""The exchanges of a dialogue: a question that goes on from what is known, and its true answer.

Each gives None where the pair has nothing to say to it. Knows no order of questions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from adcopilot_edge.training.chat_ad import captions, wording
from adcopilot_edge.training.chat_ad.captions import Written, write_caption
from adcopilot_edge.training.chat_ad.cells import are_any_close
from adcopilot_edge.training.chat_ad.choices import write_choice
from adcopilot_edge.training.chat_ad.distractors import wrong_types
from adcopilot_edge.training.chat_ad.locating import boxes_answer, write_location
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.nouns import noun_of
from adcopilot_edge.training.chat_ad.phrasebook import Voice
from adcopilot_edge.training.chat_ad.spots import Spot, boxes_of, spots_of
from adcopilot_edge.training.words import numeral, sentences

Topic = Literal[
    "verdict",
    "kind",
    "number",
    "where",
    "boxes",
    "size",
    "looks",
    "contrast",
    "knowledge",
    "other",
    "nothing",
    "template",
    "sure",
    "decision",
    "summary",
]
_WITH_YES_OR_NO = 0.6


@dataclass(slots=True)
class Talk:
    """A dialogue so far. told: what its answers have said."""

    pair: MinedPair
    voice: Voice
    told: set[Topic] = field(default_factory=set)
    spots: tuple[Spot, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.spots = spots_of(self.pair)

    @property
    def is_alone(self) -> bool:
        """Whether there is one kind of defect."""
        return len(self.spots) == 1

    def ask(self, table: str, spots: Sequence[Spot] = (), **values: str) -> str:
        """A question about ``spots``, by name where that was told, else about "the defect"."""
        is_named = bool(spots) and "kind" in self.told
        is_one = not is_named or wording.is_one(spots)
        known = {
            "the": wording.definite(spots, many="the defects") if is_named else "the defect",
            "it": "it" if is_one else "they",
            "them": "it" if is_one else "them",
            "is_are": "is" if is_one else "are",
            "does": "does" if is_one else "do",
        }
        # Where there are several kinds, what is asked of one must name it.
        must = "the" if is_named and len(spots) < len(self.spots) else None
        must = None if "quoted" in values else must
        return self.voice.say("follow_ups", table, must=must, **(known | values))

    def reply(self, table: str, spots: Sequence[Spot] = (), **values: str) -> str:
        """An answer about ``spots``, or one about a normal pair."""
        is_one = wording.is_one(spots)
        known = {}
        if spots:
            things = wording.things(spots, self.voice.rng, with_place=False)
            heading = ", ".join(spot.noun.heading(spot.count) for spot in spots)
            known = {
                "things_only": things,
                "things_cap": sentences(things),
                "single": things if is_one else "",
                "heading": heading,
                "heading_cap": sentences(heading),
                "names": ", ".join(spot.noun.name for spot in spots),
                "the": wording.definite(spots, many="the named defects"),
                "is_are": "is" if is_one else "are",
                "is_first": "is" if spots[0].is_one else "are",
                "stands": "stands" if is_one else "stand",
            }
        return self.voice.say("replies", table, **(known | values))

    def pick(self, spots: Sequence[Spot]) -> Spot | None:
        """One of the spots."""
        return self.voice.rng.choice(spots) if spots else None


Write = Callable[[Talk], Written | None]


def open_verdict(talk: Talk) -> Written:
    """Whether it is defective, without saying what it is."""
    return _verdict(talk, "verdict_bad" if talk.spots else "verdict_good")


def open_named_verdict(talk: Talk) -> Written | None:
    """Whether it is defective, and by what."""
    return _verdict(talk, "verdict_bad_named") if talk.spots else None


def open_choice(talk: Talk) -> Written:
    """The verdict by a letter, as the runtime asks for it."""
    choice = write_choice(talk.pair, "verdict", talk.voice)
    return Written(choice.question, choice.answer)


def open_sentence(talk: Talk) -> Written:
    """The whole difference in one sentence."""
    return write_caption(talk.pair, "sentence", talk.voice)


def open_types(talk: Talk) -> Written:
    """The types alone."""
    return write_caption(talk.pair, "types", talk.voice)


def open_boxes(talk: Talk) -> Written | None:
    """The boxes at once."""
    return write_location(talk.pair, talk.voice) if talk.pair.is_placed else None


def ask_kind(talk: Talk) -> Written:
    """What is wrong."""
    if not talk.spots:
        return Written(talk.ask("kind_normal"), talk.reply("kind_good"))
    return Written(talk.ask("kind"), talk.reply("kind", talk.spots))


def ask_number(talk: Talk) -> Written | None:
    """How many defective regions there are."""
    boxes = [box for box, _ in boxes_of(talk.pair)]
    if not boxes or are_any_close(boxes, talk.pair.query_size):
        return None
    number = len(boxes)
    counted = f"{numeral(number)} {'defect' if number == 1 else 'defects'}"
    answer = talk.reply(
        "number" if talk.is_alone else "number_several",
        talk.spots,
        counted=counted,
        counted_cap=sentences(counted),
        is_are_n="is" if number == 1 else "are",
        digits=str(number),
    )
    return Written(talk.ask("number"), answer)


def ask_where(talk: Talk) -> Written | None:
    """Where all of it is, or nowhere."""
    if not talk.spots:
        return Written(talk.ask("where_normal"), talk.reply("where_good"))
    told = [captions.where_spot(spot, talk.voice) for spot in talk.spots]
    if not all(told):
        return None
    at = wording.at(talk.spots[0]) if talk.is_alone else ""
    note = "; ".join(wording.place_note(spot, is_alone=talk.is_alone) for spot in talk.spots)
    answer = talk.reply(
        "where", sentence=" ".join(told), at_cap=sentences(at), note=note, note_cap=sentences(note)
    )
    return Written(talk.ask("where", talk.spots), answer)


def ask_boxes(talk: Talk) -> Written | None:
    """Where all of it is, in boxes."""
    if not talk.pair.is_placed:
        return None
    boxes = tuple(box for box, _ in boxes_of(talk.pair))
    table = "boxes" if talk.spots else "boxes_normal"
    return Written(talk.ask(table, talk.spots), boxes_answer(talk.pair), boxes)


def ask_size(talk: Talk) -> Written | None:
    """How large the area of one kind is."""
    spot = talk.pick([spot for spot in talk.spots if spot.size and not spot.is_each])
    if spot is None:
        return None
    area = wording.area(spot, is_alone=True, is_again=talk.voice.likely(0.5))
    size = wording.size_word(spot)
    answer = talk.reply("size", area=area, size=size, size_cap=sentences(size))
    return Written(talk.ask("size", [spot]), answer)


def ask_looks(talk: Talk) -> Written | None:
    """How one kind looks."""
    spot = talk.pick([spot for spot in talk.spots if spot.size or spot.shape or spot.contrast])
    if spot is None:
        return None
    answer = captions.looks_spot(talk.pair, spot, talk.voice, is_alone=True, is_again=True)
    return Written(talk.ask("looks", [spot]), answer)


def ask_contrast(talk: Talk) -> Written | None:
    """How the tone of one kind differs."""
    spot = talk.pick([one for one in talk.spots if one.contrast])
    if spot is None or spot.contrast is None:
        return None
    contrast = wording.contrast(spot.contrast, talk.pair.rule, talk.voice.template)
    area = wording.area(spot, is_alone=True, is_again=talk.voice.likely(0.5))
    answer = talk.reply("contrast", area=area, contrast=contrast, contrast_cap=sentences(contrast))
    return Written(talk.ask("contrast", [spot]), answer)


def ask_knowledge(talk: Talk) -> Written | None:
    """What is known of one type."""
    spot = talk.pick([spot for spot in talk.spots if spot.description])
    if spot is None:
        return None
    question = talk.ask("knowledge", [spot], quoted=f'"{spot.noun.name}"')
    return Written(question, captions.known_of(spot, talk.voice, is_alone=True))


def ask_other(talk: Talk) -> Written | None:
    """Whether there is another defect, which there is not."""
    names = wrong_types(talk.pair, 3, talk.voice.rng)
    if not names:
        return None
    noun = noun_of(talk.voice.rng.choice(names))
    other = noun.phrase(1)
    is_other = "is" if noun.is_singular else "are"
    values = {"other": other, "other_single": other if noun.is_singular else ""}
    table = "other_bad" if talk.spots else "other_good"
    asked = "other" if talk.spots else "other_normal"
    question = talk.ask(asked, (), **values, is_other=is_other)
    return Written(question, talk.reply(table, talk.spots, **values, is_other=is_other))


def ask_nothing(talk: Talk) -> Written | None:
    """What can be said of a normal pair."""
    if talk.spots:
        return None
    return Written(talk.ask("nothing"), talk.voice.say("answers", "more_good"))


def ask_template(talk: Talk) -> Written | None:
    """Whether the template shows the defects too."""
    if not talk.spots:
        return None
    return Written(talk.ask("template"), talk.reply("template_bad", talk.spots))


def ask_sure(talk: Talk) -> Written:
    """Whether a second look gives the same."""
    table = "sure_bad" if talk.spots else "sure_good"
    return Written(talk.ask("sure"), talk.reply(table, talk.spots))


def ask_decision(talk: Talk) -> Written:
    """Whether the part passes."""
    table = "decision_bad" if talk.spots else "decision_good"
    return Written(talk.ask("decision"), talk.reply(table, talk.spots))


def ask_summary(talk: Talk) -> Written:
    """All of it in one sentence."""
    return Written(talk.ask("summary"), captions.sentence(talk.spots, talk.voice))


def _verdict(talk: Talk, table: str) -> Written:
    """The verdict in words, behind a yes or no that fits how it is asked."""
    form = talk.voice.rng.choice(("defect", "fine", "neutral"))
    answer = talk.reply(table, talk.spots)
    if form != "neutral" and talk.voice.likely(_WITH_YES_OR_NO):
        is_yes = bool(talk.spots) == (form == "defect")
        answer = f"{'Yes' if is_yes else 'No'}. {answer}"
    return Written(talk.ask(f"verdict_{form}"), answer)
