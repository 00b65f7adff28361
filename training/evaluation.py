"""Quick evaluation while training: verdicts, the map's patches and boxes, boxes in words.

The full evaluation, with all answers in words, is done on an exported bundle by ``evaluate``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from adcopilot_edge.metrics import balanced_accuracy, box_mask_iou
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.runtime.anomaly_map import map_boxes, map_probabilities
from adcopilot_edge.training.batch import Batch
from adcopilot_edge.training.forward import Outputs, Words, answer_rows, to_device
from adcopilot_edge.training.packing import KINDS
from adcopilot_edge.training.process_share import gather_in_order, share_of
from adcopilot_edge.training.sample_builder import SampleBuilder
from adcopilot_edge.training.targets import place_cells
from adcopilot_edge.types import BBox, FloatArray, LabelledPair

MAP_THRESHOLD = 0.5
"""Where a cell of the map is marked, and a region of it gets a box."""

_VERDICT = KINDS.index("verdict")


@dataclass(frozen=True, slots=True)
class QuickScores:
    """Scores over a set of pairs.

    verdict: balanced accuracy of the answer letter. map_verdict: the same when the map's largest
    value decides. map_iou: intersection over union of cells marked and cells covered by a defect,
    all pairs together. map_miou: mean BBox-Mask IoU of the boxes around the map's regions, over the
    defective pairs whose place is known; map_types: share of the patches of defects whose type is
    right; text_miou: of the boxes in words, over those of them that were asked in words, which are
    num_answers. token_accuracy: share of answer tokens predicted, per task. What was not asked or
    has no head is None.
    """

    num_pairs: int
    num_answers: int
    verdict: float | None
    map_verdict: float | None
    map_iou: float | None
    map_miou: float | None
    map_types: float | None
    text_miou: float | None
    token_accuracy: dict[str, float]

    def to_json(self) -> dict[str, object]:
        """The scores as a JSON object."""
        return asdict(self)


@dataclass(slots=True)
class PairFinding:
    """What a model found in one pair.

    says, map_says: whether it is called an anomaly, or None. cells: marked and covered, marked or
    covered. types: patches of a known type whose type is right, and all such patches. anomaly_map:
    (rows, columns) float32 in 0..1. hits: tokens predicted and asked, a task.
    """

    is_anomaly: bool
    says: bool | None = None
    map_says: bool | None = None
    cells: tuple[int, int] = (0, 0)
    types: tuple[int, int] = (0, 0)
    anomaly_map: FloatArray | None = field(default=None, repr=False)
    map_boxes: tuple[BBox, ...] = ()
    map_iou: float | None = None
    hits: dict[str, tuple[int, int]] = field(default_factory=dict)


@torch.no_grad()
def find_in_pairs(
    model: nn.Module,
    builder: SampleBuilder,
    pairs: Sequence[LabelledPair],
    *,
    has_text: bool = True,
    batch_size: int = 32,
    margin: int = 0,
) -> list[PairFinding]:
    """Ask ``model`` about ``pairs`` of the builder's image size; its mode is left as it was.

    has_text: also ask the language model; without it there is the map only. margin: pixels that
    boxes around the map's regions are widened by. Every process calls it and takes a share.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    share = share_of(len(pairs))
    found: list[tuple[int, PairFinding]] = []
    for start in range(0, len(share), batch_size):
        numbers = share[start : start + batch_size]
        chosen = [pairs[number] for number in numbers]
        batch = builder.batch([builder.build(pair, random.Random(pair.name)) for pair in chosen])
        outputs: Outputs = model(batch=to_device(batch, device), has_text=has_text)
        findings = [PairFinding(pair.is_anomaly) for pair in chosen]
        if outputs.words is not None:
            _read_words(findings, outputs.words, batch, builder)
        if outputs.anomaly_logits is not None:
            _read_maps(findings, outputs.anomaly_logits, batch, chosen, margin, builder.map_cells)
        found += zip(numbers, findings, strict=True)
    model.train(was_training)
    return gather_in_order(found)


def summarise(findings: Sequence[PairFinding], text_ious: Sequence[float] = ()) -> QuickScores:
    """The scores over all pairs. text_ious: of the boxes in words, of the pairs that were asked."""
    hits: dict[str, list[tuple[int, int]]] = {}
    for item in findings:
        for kind, counts in item.hits.items():
            hits.setdefault(kind, []).append(counts)
    types = [item.types for item in findings]
    typed = sum(known for _, known in types)
    union = sum(item.cells[1] for item in findings)
    return QuickScores(
        num_pairs=len(findings),
        num_answers=len(text_ious),
        verdict=_verdicts([(item.is_anomaly, item.says) for item in findings]),
        map_verdict=_verdicts([(item.is_anomaly, item.map_says) for item in findings]),
        map_iou=sum(item.cells[0] for item in findings) / union if union else None,
        map_miou=_mean([item.map_iou for item in findings if item.map_iou is not None]),
        map_types=sum(right for right, _ in types) / typed if typed else None,
        text_miou=_mean(text_ious),
        token_accuracy={
            kind: sum(right for right, _ in counts) / sum(asked for _, asked in counts)
            for kind, counts in sorted(hits.items(), key=lambda item: KINDS.index(item[0]))
        },
    )


def _read_words(
    findings: Sequence[PairFinding], words: Words, batch: Batch, builder: SampleBuilder
) -> None:
    """Set what was said of each pair; every row of the batch has one."""
    kinds, labels = words.kinds.cpu(), words.labels.cpu()
    correct = words.logits.argmax(-1).cpu() == labels
    yes, no = (builder.encode(letter)[0] for letter in (DEFAULT_PROMPT.yes, DEFAULT_PROMPT.no))
    prefers_yes = words.logits[:, yes].cpu() >= words.logits[:, no].cpu()
    row = answer_rows(batch.text)
    for number, item in enumerate(findings):
        mine = row == number
        for kind, name in enumerate(KINDS):
            asked = mine & (kinds == kind)
            if asked.any():
                item.hits[name] = (int(correct[asked].sum()), int(asked.sum()))
        # The letter is the first of a verdict's two answer tokens; the other ends the turn.
        letters = mine & (kinds == _VERDICT) & ((labels == yes) | (labels == no))
        if letters.any():
            place = int(letters.nonzero()[0])
            is_right = bool(prefers_yes[place]) == (int(labels[place]) == yes)
            item.says = item.is_anomaly if is_right else not item.is_anomaly


def _read_maps(
    findings: Sequence[PairFinding],
    logits: Sequence[Tensor],
    batch: Batch,
    pairs: Sequence[LabelledPair],
    margin: int,
    map_cells: int,
) -> None:
    """Set what the maps show of each pair."""
    grids = batch.grid.view(len(pairs), -1, 3)[:, -1].tolist()
    for item, both, target, truth, pair, grid in zip(
        findings, logits, batch.targets, batch.types, pairs, grids, strict=True
    ):
        values, types = both.float().cpu().tensor_split([map_cells], dim=1)
        if truth is not None and types.shape[1]:
            known = truth.cpu() >= 0
            right = types[known].argmax(1) == truth.cpu()[known]
            item.types = int(right.sum()), int(known.sum())
        marked = values > 0
        item.map_says = bool(marked.any())
        if target is not None:
            covered = target > 0.5
            item.cells = int((marked & covered).sum()), int((marked | covered).sum())
        height, width = pair.test.shape[:2]
        item.anomaly_map = map_probabilities(place_cells(values, grid[1], grid[2]).numpy())
        item.map_boxes = tuple(
            map_boxes(
                item.anomaly_map,
                threshold=MAP_THRESHOLD,
                height=height,
                width=width,
                margin=margin,
            )
        )
        if pair.boxes:
            item.map_iou = box_mask_iou(item.map_boxes, pair.boxes, height, width)


def _verdicts(answers: Sequence[tuple[bool, bool | None]]) -> float | None:
    known = [(truth, said) for truth, said in answers if said is not None]
    if not known:
        return None
    truth, said = zip(*known, strict=True)
    return balanced_accuracy(np.array(truth), np.array(said))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
