"""``curate`` at work: the plan from options, the run, and what is printed of it."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from adcopilot_edge.training.chat_ad.pipeline import Curated
    from adcopilot_edge.training.chat_ad.plan import CurationPlan
    from adcopilot_edge.training.chat_ad.teacher.estimate import Estimate
    from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings

_PACKAGES = ("datasets", "imagehash")
_MOST_ROWS = 12


def plan_of(
    *,
    tasks: str,
    split_by: str,
    engine: str,
    licences: Sequence[str],
    shard_size: str,
    teacher: Path | None,
    out: Path | None,
    **checked: Any,
) -> CurationPlan:
    """The plan of options as a person writes them.

    Raises:
        ConfigError: One has a value that can't be used.
        DatasetError: A source is not there.
        MissingExtraError: The packages of curation are not installed.
    """
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(feature="curate", extra="curate", package=package)
    from adcopilot_edge.runtime.memory import parse_bytes
    from adcopilot_edge.training.chat_ad.engines import EngineName
    from adcopilot_edge.training.chat_ad.plan import CurationPlan
    from adcopilot_edge.training.chat_ad.sample import SampleTask
    from adcopilot_edge.training.chat_ad.splitting import SplitBy

    return CurationPlan(
        tasks=tuple(dict.fromkeys(_one_of(SampleTask, "--tasks", task) for task in _words(tasks))),
        split_by=_one_of(SplitBy, "--split-by", split_by),
        engine=_one_of(EngineName, "--engine", engine),
        licences=dict(map(_licence, licences)),
        shard_bytes=parse_bytes(shard_size),
        teacher=None if teacher is None else _teacher(teacher, out),
        **checked,
    )


def run_curation(plan: CurationPlan, out: Path, *, as_json: bool) -> None:
    """Make the set and print what is in it."""
    from adcopilot_edge.training.chat_ad.pipeline import curate_set

    with StepProgress() as progress:
        curated = curate_set(plan, out, report=progress)
    if as_json:
        print_json(_to_json(curated))
        return
    counts = curated.counts
    print_fact("set", str(curated.folder))
    print_fact("dialogues", f"{counts.samples}: {_listed(counts.splits)}")
    print_fact("pairs", f"{counts.pairs}: {counts.normal} normal, {counts.defective} defective")
    print_fact("tasks", _listed(counts.tasks))
    if counts.letters:
        print_fact("letters", _listed(counts.letters))
    print_fact("categories", str(len(counts.categories)))
    _print_numbers(counts.categories)
    print_fact("labels", str(len(counts.labels)))
    _print_numbers(counts.labels)
    _print_left_out(curated.left_out)
    if curated.teacher is not None:
        print_fact("teacher", _listed(curated.teacher))
    print_fact("look at", str(curated.folder / "sheet.png"))


def run_preview(plan: CurationPlan, *, as_json: bool) -> None:
    """Print of how much a set would be made, and what its teacher would be sent."""
    from adcopilot_edge.training.chat_ad.comparable import count_comparable, lone_categories
    from adcopilot_edge.training.chat_ad.pipeline import estimate_teacher, preview

    with StepProgress() as progress:
        images, left_out = preview(plan, report=progress)
        estimated = estimate_teacher(plan, report=progress)
    categories = Counter(f"{image.source}/{image.category}" for image in images)
    lone = {f"{one.source}/{one.category}": one.words for one in lone_categories(images)}
    normal = sum(image.is_normal for image in images)
    most = count_comparable(images) * len(plan.tasks) * plan.per_pair
    reasons = Counter[tuple[str, str]]((one.step, one.reason) for one in left_out)
    if as_json:
        print_json(
            {
                "images": len(images),
                "normal": normal,
                "defective": len(images) - normal,
                "categories": dict(sorted(categories.items())),
                "without_templates": sorted(lone),
                "most_dialogues": most,
                "left_out": _reasons(reasons),
                "teacher": None if estimated is None else estimated.to_json(),
            }
        )
        return
    print_fact("images", f"{len(images)}: {normal} normal, {len(images) - normal} defective")
    print_fact("categories", str(len(categories)))
    _print_numbers(categories)
    if lone:
        print_fact("useless", "\n".join(f"{name}: {lone[name]}" for name in sorted(lone)))
    print_fact("dialogues", f"at most {most}" if most else "none")
    _print_left_out(reasons)
    if plan.teacher is not None and estimated is not None:
        _print_estimate(estimated, plan.teacher)


def export_set(
    sources: Sequence[Path],
    out: Path,
    trainer: str,
    pixels: tuple[int, int],
    *,
    name: str | None,
    as_json: bool,
) -> None:
    """Write a curated set as another trainer's conversations, whole or not at all."""
    from adcopilot_edge.training.chat_ad.conversations import (
        ConversationForm,
        Trainer,
        export_conversations,
    )
    from adcopilot_edge.training.chat_ad.work_folder import WorkFolder

    if len(sources) != 1:
        raise ConfigError(f"--export takes one curated set, got {len(sources)} folders")
    source = sources[0]
    form = ConversationForm(
        trainer=_one_of(Trainer, "--export", trainer), min_pixels=pixels[0], max_pixels=pixels[1]
    )
    if form.min_pixels > form.max_pixels:
        raise ConfigError("--min-pixels must not be more than --max-pixels")
    origin = {"export": trainer, "source": str(source.resolve()), "pixels": list(pixels)}
    with WorkFolder(out, origin) as work, StepProgress() as progress:
        try:
            splits = export_conversations(
                source,
                work.set_folder,
                form,
                name=name or source.resolve().name,
                final=out,
                report=progress,
            )
            work.publish()
        except OSError as err:
            raise ConfigError(f"{out} can't be written: {err}; choose another --out") from err
    if as_json:
        print_json({"folder": str(out), "trainer": trainer, "splits": splits})
        return
    print_fact("written", f"{out} for {trainer}: {_listed(splits)}")
    if form.trainer == "llama-factory":
        print_fact("train with", f"image_min_pixels: {pixels[0]}, image_max_pixels: {pixels[1]}")


def _print_estimate(estimated: Estimate, settings: TeacherSettings) -> None:
    print_fact(
        "teacher",
        f"{estimated.requests} requests to {settings.model}, {estimated.cached} answers are in "
        f"{settings.folder}",
    )
    words, pictures = estimated.text_tokens_in, estimated.picture_tokens_in
    print_fact(
        "tokens",
        f"in about {words + pictures}: {words} of words, {pictures} of pictures\n"
        f"out at most {estimated.max_tokens_out}",
    )
    print_fact("sends", f"about {estimated.sent_bytes / 1e6:.1f} MB of pictures")
    if estimated.max_cost is not None:
        print_fact("costs", f"at most {estimated.max_cost:.4f}, by the prices of its budget")
    if estimated.limits:
        print_fact("budget", f"the run may stop at {', '.join(estimated.limits)}")


def _to_json(curated: Curated) -> dict[str, Any]:
    return {
        "folder": str(curated.folder),
        "resumed": curated.is_resumed,
        **curated.counts.to_json(),
        "left_out": _reasons(curated.left_out),
        "teacher": curated.teacher,
    }


def _reasons(left_out: Counter[tuple[str, str]]) -> dict[str, int]:
    return {f"{step}: {reason}": number for (step, reason), number in sorted(left_out.items())}


def _print_left_out(left_out: Counter[tuple[str, str]]) -> None:
    print_fact("left out", str(left_out.total()) if left_out else "nothing")
    if left_out:
        print_rows((reason, str(number)) for reason, number in _reasons(left_out).items())


def _print_numbers(numbers: Counter[str]) -> None:
    """The largest numbers, one a line."""
    rows = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    shown = [(" ".join(name.split()), str(number)) for name, number in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        rest = sum(number for _, number in rows[_MOST_ROWS:])
        shown.append((f"{len(rows) - _MOST_ROWS} more", str(rest)))
    if shown:
        print_rows(shown)


def _listed(numbers: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(numbers.items()))


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]


def _one_of(kind: Any, option: str, word: str) -> Any:
    """``word`` if it is one of a Literal's values."""
    known = get_args(kind)
    if word not in known:
        raise ConfigError(f"{option} {word}: it must be one of {', '.join(known)}")
    return word


def _licence(text: str) -> tuple[str, str]:
    source, equals, licence = text.partition("=")
    if not equals or not source.strip() or not licence.strip():
        raise ConfigError(f"--license {text}: write SOURCE=LICENCE, as in line-images=CC-BY-4.0")
    return source.strip(), licence.strip()


def _teacher(path: Path, out: Path | None) -> TeacherSettings:
    """The settings in a TOML file; what the teacher answered lies beside the set by default."""
    import sys

    from adcopilot_edge.training.chat_ad.teacher.settings import teacher_settings

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        values: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ConfigError(f"--teacher {path} can't be read: {err}") from err
    folder = Path("teacher") if out is None else out.with_name(f"{out.name}.teacher")
    return teacher_settings({"folder": str(folder), **values})
