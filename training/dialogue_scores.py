"""Stored dialogues scored while training: how likely the model finds what the assistant says.

Every answer is read behind the true turns before it, so one pass scores a dialogue. What the model
itself would say is asked in ``dialogue_answers``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import nn

from adcopilot_edge.training.chat_ad.sample import SAMPLE_TASKS, SampleTask
from adcopilot_edge.training.dialogues import DialogueSamples
from adcopilot_edge.training.forward import Outputs, answer_rows, to_device
from adcopilot_edge.training.objective import token_losses
from adcopilot_edge.training.process_share import gather_in_order, share_of
from adcopilot_edge.training.rewards import TRUTH_KINDS, TruthKind
from adcopilot_edge.training.sample_builder import SampleBuilder

ALL = "all"
"""All tasks together, beside each of them."""


class Heard(NamedTuple):
    """One dialogue: its task, the loss added up, tokens predicted and tokens of the assistant."""

    task: SampleTask
    loss: float
    right: int
    tokens: int


@dataclass(frozen=True, slots=True)
class DialogueScores:
    """Scores over a set of dialogues.

    loss: the mean over all tokens of the assistant, as the training loss ``text``; token_accuracy:
    share of them predicted, 0..1; both of ``ALL`` and by task. answers: what the answers to
    num_answers last questions that can be checked earn on average, 0..1, by the kind of their
    truth. What was not asked is not there.
    """

    num_dialogues: int
    num_answers: int
    loss: dict[str, float]
    token_accuracy: dict[str, float]
    answers: dict[TruthKind, float]

    def to_json(self) -> dict[str, object]:
        """The scores as a JSON object."""
        return asdict(self)


@torch.no_grad()
def hear_dialogues(
    model: nn.Module, builder: SampleBuilder, dialogues: DialogueSamples, *, batch_size: int
) -> list[Heard]:
    """Read ``dialogues`` with ``model``, whose mode is left as it was.

    builder: one that does not pack. Every process calls it and takes a share.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    share = share_of(dialogues.size)
    found: list[tuple[int, Heard]] = []
    for start in range(0, len(share), batch_size):
        numbers = share[start : start + batch_size]
        batch = builder.batch([dialogues.sample(number, builder) for number in numbers])
        outputs: Outputs = model(batch=to_device(batch, device), has_text=True)
        assert outputs.words is not None
        losses = token_losses(outputs.words).double().cpu()
        right = (outputs.words.logits.argmax(-1) == outputs.words.labels).cpu()
        row = answer_rows(batch.text)
        for place, number in enumerate(numbers):
            mine = row == place
            heard = Heard(
                dialogues.task(number),
                float(losses[mine].sum()),
                int(right[mine].sum()),
                int(mine.sum()),
            )
            found.append((number, heard))
    model.train(was_training)
    return gather_in_order(found)


def summarise_dialogues(
    size: int, heard: Sequence[Heard], earned: Sequence[tuple[TruthKind, float]]
) -> DialogueScores:
    """The scores of ``size`` dialogues. earned: by each checked answer, with the truth's kind."""
    groups: dict[str, list[Heard]] = {
        ALL: list(heard),
        **{task: [item for item in heard if item.task == task] for task in SAMPLE_TASKS},
    }
    tokens = {name: sum(item.tokens for item in group) for name, group in groups.items()}
    known = {name: group for name, group in groups.items() if tokens[name]}
    values = {kind: [value for other, value in earned if other == kind] for kind in TRUTH_KINDS}
    return DialogueScores(
        num_dialogues=size,
        num_answers=len(earned),
        loss={
            name: sum(item.loss for item in group) / tokens[name] for name, group in known.items()
        },
        token_accuracy={
            name: sum(item.right for item in group) / tokens[name] for name, group in known.items()
        },
        answers={kind: sum(held) / len(held) for kind, held in values.items() if held},
    )
