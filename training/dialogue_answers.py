"""A few dialogues whose last question has one right answer, answered by the model itself.

They are asked and held against the truth as in GRPO, of which this needs neither trl nor a run.
"""

from __future__ import annotations

import torch
from torch import nn

from adcopilot_edge.training.answers import MAX_NEW_TOKENS
from adcopilot_edge.training.chat_ad.shards import StoredSample
from adcopilot_edge.training.dialogues import DialogueSamples
from adcopilot_edge.training.greedy import greedy_answers
from adcopilot_edge.training.grpo_prompts import CHECKABLE_DIALOGUES, ChatPrompts, is_checkable
from adcopilot_edge.training.grpo_recipe import GrpoRecipe
from adcopilot_edge.training.image_rule import ImageRule, taking_any_size
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.rewards import TruthKind, task_reward

_ANSWERS_AT_ONCE = 8


@torch.no_grad()
def earn_answers(
    model: nn.Module,
    processor: ADCopilotProcessor,
    rule: ImageRule,
    dialogues: DialogueSamples,
    *,
    count: int,
    grpo: GrpoRecipe | None = None,
) -> list[tuple[TruthKind, float]]:
    """What each answer to the first ``count`` checkable dialogues earns, 0..1, and of which kind.

    grpo: of a stage that thinks before it answers, whose questions ask for it. Every process calls
    it and answers all, since shards can only be run together. The model's mode is left as it was.
    """
    tags = grpo.thinking if grpo else None
    prompts = ChatPrompts(_checkable(dialogues, count), rule, tags=tags)
    sized = taking_any_size(processor)
    was_training = model.training
    model.eval()
    earned: list[tuple[TruthKind, float]] = []
    for start in range(0, len(prompts), _ANSWERS_AT_ONCE):
        places = range(start, min(start + _ANSWERS_AT_ONCE, len(prompts)))
        batch = [prompts[place] for place in places]
        said = greedy_answers(
            model,
            sized,
            batch,
            max_new_tokens=grpo.max_new_tokens if grpo else MAX_NEW_TOKENS,
        )
        earned += [
            (prompt.truth.kind, task_reward(text, prompt.truth, tags))
            for prompt, text in zip(batch, said, strict=True)
        ]
    model.train(was_training)
    return earned


def _checkable(dialogues: DialogueSamples, count: int) -> list[StoredSample]:
    found: list[StoredSample] = []
    for number in range(dialogues.size):
        if len(found) == count:
            break
        if dialogues.task(number) in CHECKABLE_DIALOGUES:
            stored = dialogues.stored(number)
            found += [stored] * is_checkable(stored.sample)
    return found
