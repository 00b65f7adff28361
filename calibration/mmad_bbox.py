"""The MMAD-BBox benchmark: boxes on MMAD's images, scored by the BBox-Mask IoU.

All predicted boxes are drawn into one mask and all true boxes into another, and the IoU is that of
the two masks; neither the number of boxes nor their labels matter. The benchmark's code is not
published, so these are the rules here, where its descriptions leave something open:

- Scored are the abnormal images with a mask, or with boxes. mIoU is the mean over images, ACC@t
  the share of images whose IoU is at least t.
- The true boxes are those around the connected regions of the mask, all of them however small;
  masks are drawn at the size of the query image.
- An answer without boxes (an empty list, "No defect") has an IoU of 0, and so has one that can't be
  read, which is counted beside. Boxes are taken from the words whatever the verdict is; they are in
  pixels of the model's input, are scaled to the query image, and what is outside of it is cut off.
- Boxes of the anomaly map, a second source, are those of an inspection: none where the verdict is
  normal.
- Normal images are in neither mIoU nor ACC, as nothing can be hit there. The share of them on which
  a box was drawn is reported beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcopilot_edge.calibration.box_matches import NamedBox, count_matches
from adcopilot_edge.calibration.inspect_run import Inspected
from adcopilot_edge.calibration.mmad import Mmad, MmadImage
from adcopilot_edge.metrics import BoxMetrics, box_mask_iou
from adcopilot_edge.runtime.pair_folder import UNNAMED, PairFile
from adcopilot_edge.types import BBox


@dataclass(frozen=True, slots=True)
class BboxPairs:
    """The pairs of a run, and the abnormal images of which no mask was found."""

    pairs: tuple[PairFile, ...]
    without_mask: tuple[str, ...]


def bbox_pairs(mmad: Mmad) -> BboxPairs:
    """The images of MMAD as pairs, with their masks."""
    pairs, without_mask = [], []
    for image in mmad.images:
        mask = None if image.is_normal else _find_mask(mmad.root, image)
        if mask is None and not image.is_normal:
            without_mask.append(image.name)
            continue
        assert image.template is not None, "boxes are found beside a template"
        pairs.append(
            PairFile(
                name=image.name,
                category=image.dataset,
                golden=mmad.root / image.template,
                test=mmad.root / image.name,
                is_anomaly=not image.is_normal,
                boxes=() if image.is_normal else None,
                labels=() if image.is_normal else (UNNAMED,),
                mask=mask,
            )
        )
    return BboxPairs(tuple(pairs), tuple(without_mask))


def _find_mask(root: Path, image: MmadImage) -> Path | None:
    return next((root / place for place in image.mask if (root / place).is_file()), None)


def report_bbox(inspected: Sequence[Inspected]) -> dict[str, Any]:
    """Give mIoU and ACC for each source of boxes, over all images and by category.

    Sources are ``words`` and ``map``, as far as there are such boxes. Pairs whose place nobody
    knows are counted only.
    """
    scored = [item for item in inspected if item.pair.is_anomaly and item.truth is not None]
    normal = [item for item in inspected if not item.pair.is_anomaly]
    categories = dict.fromkeys(item.pair.category for item in scored)
    report: dict[str, Any] = {
        "scored": len(scored),
        "normal": len(normal),
        "without_place": len(inspected) - len(scored) - len(normal),
    }
    for source in box_sources(inspected):
        figures: dict[str, Any] = {"all": _metrics(scored, source)}
        figures["by_category"] = {
            name: _metrics([item for item in scored if item.pair.category == name], source)
            for name in categories
        }
        drawn = sum(bool(boxes_of(item, source)) for item in normal)
        figures["normal_with_boxes"] = drawn
        figures["without_boxes"] = sum(not boxes_of(item, source) for item in scored)
        report[source] = figures
    if "words" in report:
        asked = [item for item in inspected if item.was_asked]
        report["words"]["unreadable"] = sum(item.word_boxes is None for item in asked)
    return report


def box_sources(inspected: Sequence[Inspected]) -> tuple[str, ...]:
    """Where there are boxes from: ``words`` if the model was asked, ``map`` if it has one."""
    has = {
        "words": any(item.was_asked for item in inspected),
        "map": any(item.map_boxes is not None for item in inspected),
    }
    return tuple(source for source, is_there in has.items() if is_there)


def boxes_of(item: Inspected, source: str) -> tuple[BBox, ...]:
    """The predicted boxes of a source."""
    if source == "map":
        return item.map_boxes or ()
    return tuple(bbox for bbox, _ in item.word_boxes or ())


def iou_of(item: Inspected, source: str) -> float:
    """The BBox-Mask IoU of a source's boxes with the truth, which must be known."""
    assert item.truth is not None
    return box_mask_iou(boxes_of(item, source), item.truth, *item.size)


def _metrics(scored: Sequence[Inspected], source: str) -> dict[str, Any]:
    """The box metrics of a source, with the count of boxes that match one to one."""
    if not scored:
        return {"pairs": 0}
    metrics = BoxMetrics.from_ious([iou_of(item, source) for item in scored]).to_json()
    pictures = [(_named(item, source), item.named_truth) for item in scored]
    metrics["one_to_one"] = {
        "any_label": count_matches(pictures, same_label=False).to_json(),
        "same_label": count_matches(pictures, same_label=True).to_json(),
    }
    return metrics


def _named(item: Inspected, source: str) -> tuple[NamedBox, ...]:
    """Predicted boxes with their labels; a region of the map has the one type that was named."""
    if source == "words":
        return item.word_boxes or ()
    label = item.types[0] if item.types is not None and len(item.types) == 1 else UNNAMED
    return tuple((bbox, label) for bbox in item.map_boxes or ())
