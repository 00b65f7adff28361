"""Quick evaluation while training: verdicts from the letters' logits, and the map's patch IoU.

The full evaluation, with boxes and text, is done on an exported bundle by ``evaluate``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from adcopilot_edge.metrics import balanced_accuracy
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.training.data import SampleBuilder
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.objective import run_batch
from adcopilot_edge.types import TASKS, LabelledPair

_VERDICT_KIND = TASKS.index("verdict")


@dataclass(frozen=True, slots=True)
class QuickScores:
    """Scores over a set of pairs.

    verdict: balanced accuracy of the answer letter. map_verdict: the same when the map's largest
    value decides at 0.5. map_iou: intersection over union of patches marked and patches covered by
    a defect, all pairs together. token_accuracy: share of answer tokens predicted, per task. What
    was not asked or has no head is None.
    """

    num_pairs: int
    verdict: float | None
    map_verdict: float | None
    map_iou: float | None
    token_accuracy: dict[str, float]

    def to_json(self) -> dict[str, object]:
        """The scores as a JSON object."""
        return asdict(self)


@torch.no_grad()
def quick_scores(
    model: ADCopilotForConditionalGeneration,
    builder: SampleBuilder,
    pairs: Sequence[LabelledPair],
    *,
    has_text: bool = True,
    batch_size: int = 32,
) -> QuickScores:
    """Evaluate ``model`` on ``pairs`` of its image size. The model's mode is left as it was.

    has_text: also ask the language model; without it only the map is scored.
    """
    was_training = model.training
    model.eval()
    yes, no = (builder.encode(letter)[0] for letter in (DEFAULT_PROMPT.yes, DEFAULT_PROMPT.no))
    truth, said, map_said = [], [], []
    hits: dict[int, list[float]] = {kind: [] for kind in range(len(TASKS))}
    intersection = union = 0
    for start in range(0, len(pairs), batch_size):
        chosen = pairs[start : start + batch_size]
        batch = builder.batch([builder.build(pair, random.Random(pair.name)) for pair in chosen])
        outputs = run_batch(model, batch, has_text=has_text)
        anomalous = np.array([pair.is_anomaly for pair in chosen])
        truth.append(anomalous)
        if outputs.words is not None:
            words = outputs.words
            correct = (words.logits.argmax(-1) == words.labels).float()
            for kind, found in hits.items():
                found += correct[words.kinds == kind].tolist()
            # The letter is the first of a verdict's two answer tokens; the other ends the turn.
            is_letter = (words.labels == yes) | (words.labels == no)
            asked = is_letter & (words.kinds == _VERDICT_KIND)
            is_right = (words.logits[asked][:, [yes, no]].argmax(-1) == 0) == (
                words.labels[asked] == yes
            )
            said.append(np.where(is_right.numpy(), anomalous, ~anomalous))
        if outputs.anomaly_logits is not None:
            marks = [logits > 0 for logits in outputs.anomaly_logits]
            for marked, target in zip(marks, batch.targets, strict=True):
                if target is not None:
                    intersection += int((marked & (target > 0.5)).sum())
                    union += int((marked | (target > 0.5)).sum())
            map_said.append(np.array([bool(marked.any()) for marked in marks]))
    model.train(was_training)
    decided = np.concatenate(truth)
    return QuickScores(
        num_pairs=len(pairs),
        verdict=balanced_accuracy(decided, np.concatenate(said)) if said else None,
        map_verdict=balanced_accuracy(decided, np.concatenate(map_said)) if map_said else None,
        map_iou=intersection / union if union else None,
        token_accuracy={
            TASKS[kind]: float(np.mean(found)) for kind, found in hits.items() if found
        },
    )
