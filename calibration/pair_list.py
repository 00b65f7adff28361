"""Labelled pairs as files: a list in JSONL, folders of golden, good and bad parts, or DeepPCB.

A line of the list is one JSON object::

    {"golden": "golden.png", "test": "7.png", "boxes": [[10, 20, 40, 36]], "label": "scratch"}
    {"golden": "golden.png", "test": "8.png", "mask": "8-mask.png", "label": "dent"}
    {"golden": "golden.png", "test": "9.png", "category": "lids"}

``golden`` and ``test`` are paths relative to the list's folder. ``boxes`` are [x1, y1, x2, y2] in
pixels of the test image, x2 and y2 exclusive; ``mask`` is a picture in which a pixel that is not
black is defective. ``label`` names the defect, for all boxes or as a list with one name a box;
``category`` names the product. A line without boxes, mask and label, or with the label "good",
"normal" or "ok", is a good part. A label alone is a bad part of which nobody knows where the defect
is. Lines with boxes about one pair, as when each defect has a line, are one pair with all of them.
The ``conversations`` of Chat-AD's lines are left alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adcopilot_edge.deeppcb_files import BoardBox, read_boards, read_boxes
from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.runtime.pair_folder import UNNAMED, PairFile, PairFiles, list_pair_folder
from adcopilot_edge.types import BBox, validate_bbox

# Labels of good parts, in any case.
_GOOD = frozenset({"", "good", "normal", "ok"})
_KEYS = {"golden", "test", "boxes", "mask", "label", "category"}
# What Chat-AD says of a pair besides. Any other key may be one of the above, misspelt.
_LEFT_ALONE = {"conversations"}
_MOST_FINDINGS = 8


def read_pair_files(path: Path) -> PairFiles:
    """The pairs of a JSONL file, of a folder with ``pairs.jsonl``, or of golden, good and bad.

    A folder with ``boards.json`` is DeepPCB's, and its pairs are whole scans, all of them bad.

    Raises:
        DatasetError: It is none of these, a line has another form, or a file is missing.
    """
    if path.is_file():
        return read_pair_list(path)
    if (path / "pairs.jsonl").is_file():
        return read_pair_list(path / "pairs.jsonl")
    if (path / "boards.json").is_file():
        return _list_scans(path)
    return list_pair_folder(path)


def read_pair_list(path: Path) -> PairFiles:
    """The pairs of a list; blank lines are skipped.

    Raises:
        DatasetError: A line has another form, or a file is missing; all of them are named.
    """
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8").splitlines()
    except (OSError, ValueError) as err:
        raise DatasetError(f"can't read the list of pairs {path}: {err}") from err
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    results = [(number, _parse_or_tell(line, path.parent)) for number, line in numbered]
    wrong = [f"line {number}: {result}" for number, result in results if isinstance(result, str)]
    if wrong or not results:
        shown = wrong[:_MOST_FINDINGS] or ["it has no line"]
        rest = [f"and {len(wrong) - len(shown)} more"] if len(wrong) > len(shown) else []
        raise DatasetError(f"{path} is no list of pairs: {'; '.join(shown + rest)}")
    pairs = [result for _, result in results if isinstance(result, PairFile)]
    return PairFiles(_join_boxes(pairs), hashlib.sha256(raw).hexdigest())


def _join_boxes(pairs: Sequence[PairFile]) -> tuple[PairFile, ...]:
    """Lines about one pair that have boxes, as when each defect has a line, as one pair."""
    joined: dict[object, PairFile] = {}
    for number, pair in enumerate(pairs):
        key = (pair.golden, pair.test, pair.category) if pair.boxes else number
        first = joined.setdefault(key, pair)
        if first is not pair:
            defects = list(dict.fromkeys([*_defects(first), *_defects(pair)]))
            joined[key] = replace(
                first,
                boxes=tuple(box for box, _ in defects),
                labels=tuple(label for _, label in defects),
            )
    return tuple(joined.values())


def _defects(pair: PairFile) -> list[tuple[BBox, str]]:
    """The boxes of a pair, each with its label."""
    boxes = pair.boxes or ()
    labels = pair.labels if len(pair.labels) == len(boxes) else pair.labels * len(boxes)
    return list(zip(boxes, labels, strict=True))


def _list_scans(root: Path) -> PairFiles:
    """The whole scans of DeepPCB."""
    pairs = []
    digest = hashlib.sha256((root / "boards.json").read_bytes())
    for pair_id, board in read_boards(root).items():
        annotation = root / "pairs" / f"{pair_id}.txt"
        boxes = read_boxes(annotation)
        digest.update(annotation.read_bytes())
        pairs.append(
            PairFile(
                name=pair_id,
                category=board,
                golden=annotation.with_name(f"{pair_id}_temp.png"),
                test=annotation.with_name(f"{pair_id}_test.png"),
                is_anomaly=bool(boxes),
                boxes=tuple(_corners(box) for box in boxes),
                labels=tuple(box.label for box in boxes),
            )
        )
    return PairFiles(tuple(pairs), digest.hexdigest())


def _corners(box: BoardBox) -> BBox:
    x1, y1, x2, y2 = map(float, box.bbox)
    return x1, y1, x2, y2


def _parse_or_tell(line: str, folder: Path) -> PairFile | str:
    """The pair, or what is wrong with its line."""
    try:
        return _parse(line, folder)
    except (ValueError, DatasetError) as err:  # not JSON, or no pair
        return str(err)


def _parse(line: str, folder: Path) -> PairFile:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise DatasetError("must be a JSON object")
    if unknown := sorted(set(record) - _KEYS - _LEFT_ALONE):
        raise DatasetError(f"has {', '.join(unknown)}; known are {', '.join(sorted(_KEYS))}")
    paths = _paths(record, folder)
    mask = paths.get("mask")
    boxes = None if record.get("boxes") is None else _boxes(record["boxes"])
    if mask is not None and boxes is not None:
        raise DatasetError("has boxes and a mask; one of them is the truth")
    labels = _labels(record.get("label"), boxes)
    is_anomaly = bool(boxes) or mask is not None or bool(labels)
    category = record.get("category", folder.name)
    return PairFile(
        name=str(record["test"]),
        category=str(category),
        golden=paths["golden"],
        test=paths["test"],
        is_anomaly=is_anomaly,
        boxes=boxes if boxes or not is_anomaly else None,
        labels=labels or ((UNNAMED,) if is_anomaly else ()),
        mask=mask,
    )


def _paths(record: dict[str, Any], folder: Path) -> dict[str, Path]:
    """The files that a line names. Raises DatasetError with all that are missing."""
    names = {key: record.get(key) for key in ("golden", "test", "mask")}
    if names["mask"] is None:
        del names["mask"]
    paths = {key: folder / name for key, name in names.items() if isinstance(name, str)}
    findings = [f"needs a path under {key}" for key in names if key not in paths]
    findings += [f"there is no file {path}" for path in paths.values() if not path.is_file()]
    if findings:
        raise DatasetError(", ".join(findings))
    return paths


def _boxes(value: Any) -> tuple[BBox, ...]:
    if not isinstance(value, list):
        raise DatasetError("boxes must be a list of [x1, y1, x2, y2]")
    return tuple(map(_box, value))


def _box(value: Any) -> BBox:
    if not isinstance(value, list) or len(value) != 4:
        raise DatasetError(f"a box must be [x1, y1, x2, y2], got {value!r}")
    try:
        x1, y1, x2, y2 = (float(corner) for corner in value)
    except (TypeError, ValueError) as err:
        raise DatasetError(f"a box must be four numbers, got {value!r}") from err
    try:
        validate_bbox((x1, y1, x2, y2))
    except ConfigError as err:
        raise DatasetError(str(err)) from err
    return x1, y1, x2, y2


def _labels(value: Any, boxes: Sequence[BBox] | None) -> tuple[str, ...]:
    """The names of the defects; none for a good part."""
    is_good = value is None or (isinstance(value, str) and value.lower() in _GOOD)
    names = value if isinstance(value, list) else [] if is_good else [value]
    if not all(isinstance(name, str) for name in names):
        raise DatasetError(f"label must be a name or a list of names, got {value!r}")
    if value and is_good and boxes:
        raise DatasetError(f"the label is {value!r}, but there are boxes")
    if isinstance(value, list) and len(names) != len(boxes or ()):
        raise DatasetError(f"has {len(names)} labels for {len(boxes or ())} boxes")
    return tuple(names)
