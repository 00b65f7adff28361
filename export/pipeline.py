"""Export a checkpoint: the steps on one page. Read, write graphs, prove, package."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile

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
from adcopilot_edge.errors import EdgeError, ExportError
from adcopilot_edge.export.calibrate import (
    record_pairs,
    require_pairs,
    smooth,
    take_grams,
    take_ranges,
)
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.describe import TOKENIZER_FILE, describe
from adcopilot_edge.export.embedding import write_embedding
from adcopilot_edge.export.graphs import write_graphs
from adcopilot_edge.export.layout import check_layout
from adcopilot_edge.export.parity import require_passed, store_pair
from adcopilot_edge.export.plan import plan_export
from adcopilot_edge.export.precision import vision_style
from adcopilot_edge.export.proof import prove, take_images
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.tensorrt import lint_graph
from adcopilot_edge.manifest import FileEntry, Manifest, Parity, Source
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.types import LabelledPair, OnStep

EMBEDDING_FILE = "embedding.npy"
PARITY_FILE = "parity.safetensors"


def export_bundle(
    source: str | os.PathLike[str] | Checkpoint,
    out: str | os.PathLike[str],
    recipe: ExportRecipe,
    *,
    pairs: Iterable[LabelledPair],
    calibration: CalibrationPairs | None = None,
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
    """
    on_step("read", 0, 1)
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source)
    check_layout(checkpoint)
    description = describe(checkpoint, recipe, DEFAULT_PROMPT)
    memory = plan_export(checkpoint, recipe, max_ram).memory
    recipe = recipe.with_proof(is_whole=memory.is_whole)
    images = take_images(pairs, recipe.num_parity_pairs)
    require_pairs(recipe, calibration)
    key = _key(checkpoint, recipe, calibration)
    with _write_errors(out), new_bundle(out, key=key) as folder:
        record_pairs(folder, recipe, calibration)
        smoothed = smooth(checkpoint, folder, recipe, calibration, memory, on_step)
        ranges = take_ranges(smoothed, folder, recipe, calibration, memory, on_step)
        style = vision_style(recipe, ranges)
        grams = take_grams(checkpoint, description, recipe, calibration, memory, on_step)
        graphs = write_graphs(smoothed, folder, recipe, description.model, style, grams, on_step)
        if recipe.target == "tensorrt":
            for name in ("vision", "comparison"):
                if name in graphs:
                    lint_graph(folder / graphs[name].file)
        on_step("embedding", 0, 1)
        table = folder / EMBEDDING_FILE
        embedding = write_embedding(table, checkpoint, is_half=recipe.llm != "fp32")
        copyfile(checkpoint.path / TOKENIZER_FILE, folder / TOKENIZER_FILE)
        manifest = Manifest(
            created_by=f"adcopilot-edge {adcopilot_edge.__version__}",
            target=recipe.target,
            source=_source(checkpoint),
            model=description.model,
            preprocessing=description.preprocessing,
            tokens=description.tokens,
            prompt=description.prompt,
            graphs=graphs,
            embedding=embedding,
            tokenizer=TOKENIZER_FILE,
            files=list_files(folder),
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
    return open_bundle(out, verify=False)


def _key(checkpoint: Checkpoint, recipe: ExportRecipe, calibration: CalibrationPairs | None) -> str:
    """What the files of a bundle depend on: a killed export goes on only with the same."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.files]
    seen = calibration.sha256() if calibration is not None and recipe.needs_pairs else None
    return repr((adcopilot_edge.__version__, recipe, stats, checkpoint.adapter, seen))


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


def _source(checkpoint: Checkpoint) -> Source:
    """Where the weights come from."""
    return Source(
        name=checkpoint.name,
        model_type=checkpoint.model_type,
        sha256=checkpoint.sha256(),
        adapter=checkpoint.adapter,
    )


def _with_parity(manifest: Manifest, folder: Path, parity: Parity) -> Manifest:
    """``manifest`` with its proof and the file that holds the proof's pair."""
    path = folder / PARITY_FILE
    entry = FileEntry(sha256=hash_file(path), size_bytes=path.stat().st_size)
    files = {**manifest.files, PARITY_FILE: entry}
    return manifest.model_copy(update={"parity": parity, "files": files})
