"""Export a checkpoint: the steps on one page. Read, write graphs, prove, package."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import adcopilot_edge
from adcopilot_edge.bundle import (
    Bundle,
    hash_file,
    list_files,
    new_bundle,
    open_bundle,
    write_manifest,
)
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.errors import ConfigError, EdgeError, ExportError
from adcopilot_edge.export.admission import admit
from adcopilot_edge.export.calibrate import RANGES_FILE, require_pairs
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.describe import describe
from adcopilot_edge.export.gate_plan import GatePlan
from adcopilot_edge.export.graphs import write_vision_side
from adcopilot_edge.export.layout import check_layout
from adcopilot_edge.export.mixed import check_modules, int8_modules
from adcopilot_edge.export.parity import require_passed, store_pair
from adcopilot_edge.export.plan import plan_export
from adcopilot_edge.export.precision import vision_style
from adcopilot_edge.export.prepare import prepare
from adcopilot_edge.export.proof import graph_opener, prove, require_source, take_images
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.manifest import FileEntry, Manifest, Parity
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.runtime.engine import open_engine
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import LabelledPair, OnStep

PARITY_FILE = "parity.safetensors"
_REFERENCE = ".float/bundle"


def export_bundle(
    source: str | os.PathLike[str] | Checkpoint,
    out: str | os.PathLike[str],
    recipe: ExportRecipe,
    *,
    pairs: Iterable[LabelledPair],
    calibration: CalibrationPairs | None = None,
    gate: GatePlan | None = None,
    max_ram: int | None = None,
    on_step: OnStep = lambda *_: None,
) -> Bundle:
    """Export a checkpoint to a new bundle at ``out``.

    An export that was killed goes on behind its last finished block when it is started again.

    Args:
        source: A Hugging Face folder or hub id (see ``open_checkpoint``), or a checkpoint that is
            open, as one with an adapter merged is.
        out: The bundle's folder; it appears when all is written and, unless the recipe leaves that
            out, proven. An older bundle there is replaced.
        recipe: What to export.
        pairs: Images for the proof, of any size; ``recipe.num_parity_pairs`` of them are taken.
        calibration: Images that INT8 scales and the limits of float16 are taken from, where the
            recipe needs them.
        gate: How the bundle is to be admitted by the task; None leaves that out.
        max_ram: Bytes of memory that the whole process may take; None is four fifths of what is
            free.
        on_step: Told of the progress.

    Raises:
        ConfigError: ``out`` is something else than a bundle, a setting does not fit the model, or
            ``max_ram`` is too small.
        ExportError: The bundle can't be written.
        CheckpointError: The checkpoint is incomplete or damaged.
        UnsupportedModelError: The exporter does not know this kind of model.
        ParityError: The graphs do not reproduce the checkpoint.
        GateError: The bundle loses more of the task than the gate allows.
    """
    on_step("read", 0, 1)
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source)
    check_layout(checkpoint)
    description = describe(checkpoint, recipe, DEFAULT_PROMPT)
    memory = plan_export(checkpoint, recipe, max_ram).memory
    recipe = recipe.with_proof(is_whole=memory.is_whole)
    images = take_images(pairs, recipe.num_parity_pairs) if recipe.is_proven else []
    require_pairs(recipe, calibration)
    check_modules(recipe.kept, int8_modules(checkpoint, recipe))
    if gate is not None:
        gate.check(recipe, calibration)
        if gate.reference is not None:
            _check_reference(open_bundle(gate.reference), checkpoint, recipe)
    key = _key(checkpoint, recipe, calibration, gate)
    refused = Path(f"{os.fspath(out)}.refused.jsonl")
    with _write_errors(out), new_bundle(out, key=key) as folder:
        # The last form asks for the most: ranges, where the static one may be taken.
        forms = recipe.forms(has_pairs=gate is not None and calibration is not None)
        ready = prepare(checkpoint, folder, forms[-1], description, calibration, memory, on_step)
        admitted = None
        if gate is not None:
            admitted = admit(
                forms,
                ready.trials(),
                gate,
                calibration,
                partial(_open_reference, checkpoint, folder, recipe, gate, max_ram, on_step),
                refused=refused,
                on_step=on_step,
            )
            recipe = admitted.recipe
        if not recipe.needs_ranges:
            (folder / RANGES_FILE).unlink(missing_ok=True)  # of a form that was not taken
        style = vision_style(recipe, ready.ranges)
        model = description.model
        vision = write_vision_side(ready.checkpoint, folder, recipe, model, style, on_step)
        manifest = ready.manifest(
            vision,
            list_files(folder),
            gate=admitted and admitted.gate,
            fallback=admitted and admitted.fallback,
        )
        write_manifest(folder, manifest)
        if recipe.is_proven:
            unproven = open_bundle(folder, verify=False)
            proof = prove(unproven, checkpoint, images, recipe, memory, on_step)
            require_passed(proof.stages, len(images))
            store_pair(folder / PARITY_FILE, *images[0], proof.first)
            parity = Parity(num_pairs=len(images), inputs=PARITY_FILE, stages=proof.stages)
            write_manifest(folder, _with_parity(manifest, folder, parity))
        on_step("package", 0, 1)
    refused.unlink(missing_ok=True)
    return open_bundle(out, verify=False)


def _key(
    checkpoint: Checkpoint,
    recipe: ExportRecipe,
    calibration: CalibrationPairs | None,
    gate: GatePlan | None,
) -> str:
    """What the files of a bundle depend on: a killed export goes on only with the same."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.files]
    seen = calibration.sha256() if calibration is not None else None
    judged = None if gate is None else gate.key()
    return repr((adcopilot_edge.__version__, recipe, stats, checkpoint.adapter, seen, judged))


def _check_reference(reference: Bundle, checkpoint: Checkpoint, recipe: ExportRecipe) -> None:
    """Raise ConfigError unless a gate may hold a bundle of ``recipe`` against ``reference``."""
    require_source(reference, checkpoint)
    model, vision = reference.manifest.model, reference.manifest.graphs["vision"]
    size = model.image_height, model.image_width
    if size != (recipe.image_height, recipe.image_width):
        raise ConfigError(
            f"{reference.path} is for images of {size[0]}x{size[1]}, this bundle is to be for "
            f"{recipe.image_height}x{recipe.image_width}; a gate needs both of one size"
        )
    if vision.precision == "int8":
        raise ConfigError(
            f"the vision side of {reference.path} is in INT8 itself; name a float bundle with "
            "--gate-reference, or leave it out and one is made"
        )


def _open_reference(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    gate: GatePlan,
    max_ram: int | None,
    on_step: OnStep,
) -> Inspector:
    """The float bundle that the gate holds others against: the one it names, or one made for it."""
    floats = recipe.all_float()
    memory = plan_export(checkpoint, floats, max_ram).memory
    path = gate.reference or folder / _REFERENCE
    if gate.reference is None and not path.exists():
        export_bundle(checkpoint, path, floats, pairs=(), max_ram=max_ram, on_step=on_step)
    bundle = open_bundle(path)
    return Inspector(
        open_engine(bundle, provider="cpu", num_threads=None, open_graph=graph_opener(memory))
    )


@contextmanager
def _write_errors(out: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the disk refuses into an error with advice."""
    try:
        yield
    except EdgeError:
        raise
    except OSError as err:
        raise ExportError(
            f"writing {out} failed: {err.strerror or err}. Make room or choose another folder; "
            "started again, the export goes on behind its last finished block."
        ) from err


def _with_parity(manifest: Manifest, folder: Path, parity: Parity) -> Manifest:
    """``manifest`` with its proof and the file that holds the proof's pair."""
    path = folder / PARITY_FILE
    entry = FileEntry(sha256=hash_file(path), size_bytes=path.stat().st_size)
    files = {**manifest.files, PARITY_FILE: entry}
    return manifest.model_copy(update={"parity": parity, "files": files})
