"""Reads the MMAD benchmark: which images there are, what is asked about them, which are missing.

Two layouts. MMAD's own has ``mmad.json``, one object whose keys are the paths of the test images
and whose values hold ``conversation``, ``similar_templates``, ``random_templates`` and
``mask_path``. AD-Copilot's script reads ``mmad_questions.json``, a list of objects with
``good_image``, ``test_image``, ``prompt``, ``answer`` and ``task``. All paths are relative to the
folder.

An image is normal when its path holds ``good``, as in MMAD's scripts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adcopilot_edge.calibration.mmad_questions import Question, read_prompt, read_question
from adcopilot_edge.errors import DatasetError

KNOWN_BAD = ("DS-MVTec/pill/image/good/",)
"""Images that are not what their name says: of the published files here many show metal nuts."""

_MOST_FINDINGS = 8
_SPELLINGS = ("rbg_mask", "rgb_mask")  # the data says rbg; copies of it were put right


@dataclass(frozen=True, slots=True, kw_only=True)
class MmadImage:
    """A test image and what is asked about it.

    name: its path as the data has it. template: the path of the normal sample, or None in a run
    without one. mask: the paths at which its mask may lie, the likeliest first; none where the
    data names no mask. malformed: what is wrong with the questions that can't be asked.
    """

    name: str
    template: str | None
    questions: tuple[Question, ...]
    mask: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()

    @property
    def is_normal(self) -> bool:
        """True for an image without a defect."""
        return "good" in self.name

    @property
    def dataset(self) -> str:
        """The data set that it comes from, the first part of its path."""
        return self.name.split("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mmad:
    """What a folder holds.

    images: those that can be asked about. missing: files that the data names and the folder lacks.
    left_out: names of images whose own file or template is missing. known_bad: names of images that
    every run leaves out. malformed: questions that can't be asked, with the reason. has_prompts:
    the questions are whole prompts and are asked as they stand. sha256: hash of the file with the
    questions.
    """

    root: Path
    images: tuple[MmadImage, ...]
    missing: tuple[str, ...]
    left_out: tuple[str, ...]
    known_bad: tuple[str, ...]
    malformed: tuple[str, ...] = ()
    has_prompts: bool = False
    sha256: str = ""


def read_mmad(root: Path, *, shots: int = 1, similar_template: bool = False) -> Mmad:
    """Read the questions and look for the files they are about.

    Args:
        root: The folder with ``mmad.json`` or ``mmad_questions.json``.
        shots: 1 takes the first template of an image, 0 none.
        similar_template: Take it from ``similar_templates`` instead of ``random_templates``.

    Raises:
        DatasetError: There is no such file, it has another form, or none of the images is there.
    """
    path = root / "mmad.json"
    if not path.is_file():
        path = root / "mmad_questions.json"
    raw = _read_bytes(path, root)
    try:
        content = json.loads(raw)
    except ValueError as err:
        raise DatasetError(f"can't read {path} as JSON: {err}. Download it again.") from err
    templates = "similar_templates" if similar_template else "random_templates"
    if isinstance(content, dict):
        images = _read_all(content, lambda name, entry: _read_entry(name, entry, templates), path)
    elif isinstance(content, list) and not similar_template:
        images = _read_list(content, path)
    else:
        raise DatasetError(
            f"{path} is no question file of MMAD: one object with a key an image is needed, or "
            "(without similar templates, which it does not name) a list of prompts"
        )
    found = _sort_out(root, path, images, shots=shots)
    return replace(
        found, has_prompts=isinstance(content, list), sha256=hashlib.sha256(raw).hexdigest()
    )


def _read_bytes(path: Path, root: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise DatasetError(
            f"there is no MMAD in {root}: it needs mmad.json (or mmad_questions.json) beside the "
            "folders of images. Download it from huggingface.co/datasets/jiang-cc/MMAD"
        ) from err


def _read_all(
    entries: Mapping[str, Any], read: Callable[[str, Any], MmadImage], path: Path
) -> list[MmadImage]:
    """Read every entry; one error names all those of another form."""
    results = [(name, _read_or_tell(read, name, entry)) for name, entry in entries.items()]
    wrong = [f"{name}: {result}" for name, result in results if isinstance(result, str)]
    if wrong:
        shown = wrong[:_MOST_FINDINGS]
        rest = [f"and {len(wrong) - len(shown)} more"] if len(wrong) > len(shown) else []
        raise DatasetError(
            f"{path} has entries of another form than MMAD's: {'; '.join(shown + rest)}"
        )
    return [result for _, result in results if not isinstance(result, str)]


def _read_or_tell(read: Callable[[str, Any], MmadImage], name: str, entry: Any) -> MmadImage | str:
    """The image, or what is wrong with its entry."""
    try:
        return read(name, entry)
    except DatasetError as err:
        return str(err)


def _read_entry(name: str, entry: Any, templates: str) -> MmadImage:
    """An entry of the container."""
    if not isinstance(entry, dict) or not isinstance(entry.get("conversation"), list):
        raise DatasetError("needs a list under conversation")
    listed = entry.get(templates) or []
    if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed[:1]):
        raise DatasetError(f"needs a list of paths under {templates}")
    mask = entry.get("mask_path") or ""
    if not isinstance(mask, str):
        raise DatasetError("needs a path under mask_path, or nothing")
    # One bad question among 39,672 must not cost the others; it is told.
    results = [_question_or_tell(item) for item in entry["conversation"]]
    return MmadImage(
        name=name,
        template=listed[0] if listed else None,
        questions=tuple(item for item in results if isinstance(item, Question)),
        mask=_mask_places(name, mask),
        malformed=tuple(f"{name}: {item}" for item in results if isinstance(item, str)),
    )


def _question_or_tell(entry: Any) -> Question | str:
    """The question, or what is wrong with it."""
    try:
        return read_question(entry)
    except DatasetError as err:
        return str(err)


def _mask_places(name: str, mask: str) -> tuple[str, ...]:
    """Where the mask of an image may lie: below the product's folder, its parent, or the root."""
    if not mask:
        return ()
    parts = name.split("/")
    folders = ["/".join(parts[:depth]) for depth in (2, 3, 1)]
    spelled = {mask: None}  # in the folder's name and, or only there
    for one, other in (_SPELLINGS, _SPELLINGS[::-1]):
        spelled.update(dict.fromkeys((mask.replace(one, other), mask.replace(one, other, 1))))
    places = [f"{folder}/{path}" for folder in folders for path in spelled]
    return (*places, *spelled)


def _read_list(entries: list[Any], path: Path) -> list[MmadImage]:
    """The images of ``mmad_questions.json``: prompts about the same pair in a row are joined."""
    numbered = {f"entry {index}": entry for index, entry in enumerate(entries)}
    joined: dict[tuple[str, str | None], list[Question]] = {}
    for image in _read_all(numbered, _read_prompt_entry, path):
        joined.setdefault((image.name, image.template), []).extend(image.questions)
    return [
        MmadImage(name=name, template=template, questions=tuple(questions))
        for (name, template), questions in joined.items()
    ]


def _read_prompt_entry(_: str, entry: Any) -> MmadImage:
    keys = ("good_image", "test_image", "prompt", "answer", "task")
    if not isinstance(entry, dict):
        raise DatasetError("must be a JSON object")
    if lacking := [key for key in keys if not isinstance(entry.get(key), str)]:
        raise DatasetError(f"needs text under {', '.join(lacking)}")
    good, test, prompt, answer, task = (entry[key] for key in keys)
    return MmadImage(name=test, template=good, questions=(read_prompt(prompt, answer, task),))


def _sort_out(root: Path, path: Path, images: list[MmadImage], *, shots: int) -> Mmad:
    """Set apart the known bad images and those with a missing file."""
    kept: list[MmadImage] = []
    missing: dict[str, None] = {}
    left_out, known_bad = [], []
    is_there: dict[str, bool] = {}
    for image in images:
        if image.name.startswith(KNOWN_BAD):
            known_bad.append(image.name)
            continue
        template = image.template if shots else None
        if shots and template is None:
            needed = [image.name, f"(a template for {image.name})"]
        else:
            needed = [image.name] if template is None else [image.name, template]
        for name in needed:
            if name not in is_there:
                is_there[name] = (root / name).is_file()
        if lacking := [name for name in needed if not is_there[name]]:
            missing.update(dict.fromkeys(lacking))
            left_out.append(image.name)
            continue
        kept.append(replace(image, template=template))
    if not kept:
        example = next(iter(missing), "nothing")
        raise DatasetError(
            f"none of the {len(images)} images of {path} can be asked about; missing is, for "
            f"example, {example}. Put the folders of images beside {path.name}"
        )
    return Mmad(
        root=root,
        images=tuple(kept),
        missing=tuple(missing),
        left_out=tuple(left_out),
        known_bad=tuple(known_bad),
        malformed=tuple(finding for image in kept for finding in image.malformed),
    )
