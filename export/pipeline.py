"""Export a checkpoint: the steps on one page. Read, write graphs, prove, package."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
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
from adcopilot_edge.calibration.ranges import Ranges, read_ranges, write_ranges
from adcopilot_edge.errors import ConfigError, EdgeError, ExportError
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.decoder import write_decoder_graph
from adcopilot_edge.export.describe import (
    TOKENIZER_FILE,
    describe_model,
    find_tokens,
    read_preprocessing,
    read_tokenizer,
)
from adcopilot_edge.export.embedding import write_embedding
from adcopilot_edge.export.layout import check_layout
from adcopilot_edge.export.memory import MemoryPlan
from adcopilot_edge.export.observe import observe_ranges
from adcopilot_edge.export.parity import judge, store_pair
from adcopilot_edge.export.pieces import PiecewiseGraph
from adcopilot_edge.export.plan import plan_export
from adcopilot_edge.export.precision import NO_RANGES, VisionStyle, vision_style
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.reference import TorchReference
from adcopilot_edge.export.tensorrt import lint_graph
from adcopilot_edge.export.tolerances import Stages
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.manifest import (
    FileEntry,
    Graph,
    GraphName,
    Manifest,
    ModelSpec,
    Parity,
    Precision,
    Source,
)
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.runtime.engine import open_engine
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ladder import run_ladder
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.runtime.session import GraphSession, OpenGraph
from adcopilot_edge.types import ImageArray, LabelledPair

EMBEDDING_FILE = "embedding.npy"
PARITY_FILE = "parity.safetensors"
RANGES_FILE = "ranges.json"

# Called with the name of a step, how much of it is done, and how much there is.
OnStep = Callable[[str, int, int], None]
ImagePair = tuple[ImageArray, ImageArray]


def export_bundle(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    recipe: ExportRecipe,
    *,
    pairs: Iterable[LabelledPair],
    calibration: CalibrationPairs | None = None,
    max_ram: int | None = None,
    on_step: OnStep = lambda *_: None,
) -> Bundle:
    """Export the checkpoint folder ``path`` to a new bundle at ``out``.

    An export that was killed goes on behind its last finished block when it is started again.

    Args:
        path: A Hugging Face folder.
        out: The bundle's folder; it appears when all is proven, an older bundle there is replaced.
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
    checkpoint = open_checkpoint(Path(path))
    check_layout(checkpoint)
    model = describe_model(checkpoint, recipe)
    memory = plan_export(checkpoint, recipe, max_ram).memory
    recipe = recipe.with_proof(is_whole=memory.is_whole)
    tokens = find_tokens(checkpoint, read_tokenizer(checkpoint), DEFAULT_PROMPT)
    images = _images(pairs, recipe, recipe.num_parity_pairs)
    key = _key(checkpoint, recipe, calibration)
    with _write_errors(out), new_bundle(out, key=key) as folder:
        ranges = _ranges(checkpoint, folder, recipe, calibration, memory, on_step)
        style = vision_style(recipe, ranges)
        graphs = _write_graphs(checkpoint, folder, recipe, model, style, on_step)
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
            model=model,
            preprocessing=read_preprocessing(checkpoint),
            tokens=tokens,
            prompt=DEFAULT_PROMPT,
            graphs=graphs,
            embedding=embedding,
            tokenizer=TOKENIZER_FILE,
            files=list_files(folder),
        )
        write_manifest(folder, manifest)
        references = _ask_torch(checkpoint, manifest, images, recipe, memory, on_step)
        actuals = _ask_bundle(folder, images, recipe, memory, on_step)
        stages = judge(recipe, references, actuals)
        on_step("package", 0, 1)
        store_pair(folder / PARITY_FILE, *images[0], references[0])
        parity = Parity(num_pairs=len(images), inputs=PARITY_FILE, stages=stages)
        write_manifest(folder, _with_parity(manifest, folder, parity))
    return open_bundle(out, verify=False)


def _key(checkpoint: Checkpoint, recipe: ExportRecipe, calibration: CalibrationPairs | None) -> str:
    """What the files of a bundle depend on: a killed export goes on only with the same."""
    files = sorted(
        {checkpoint.path / "config.json", *(e.file for e in checkpoint.entries.values())}
    )
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    seen = calibration.sha256() if calibration is not None and recipe.needs_ranges else None
    return repr((adcopilot_edge.__version__, recipe, stats, seen))


@contextmanager
def _write_errors(out: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the disk refuses into an error with advice."""
    try:
        yield
    except EdgeError:
        raise
    except OSError as err:
        raise ExportError(
            f"writing {out} failed: {err.strerror or err}. Make room or choose another --out; "
            "started again, the export goes on behind its last finished block."
        ) from err


def _images(
    pairs: Iterable[LabelledPair], recipe: ExportRecipe, count: int | None = None
) -> list[ImagePair]:
    """The first ``count`` pairs, or all, golden and test at the bundle's size."""
    resizer = Preprocessor(image_height=recipe.image_height, image_width=recipe.image_width)
    images = [
        (resizer.resize(pair.golden), resizer.resize(pair.test)) for pair in islice(pairs, count)
    ]
    if not images:
        raise ConfigError("the proof of an export needs at least one pair of images")
    return images


def _ranges(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    calibration: CalibrationPairs | None,
    memory: MemoryPlan,
    on_step: OnStep,
) -> Ranges:
    """The ranges that the vision side's precision follows from; an earlier run may have left them.

    Raises:
        ConfigError: The recipe needs pairs, and there are none.
    """
    if not recipe.needs_ranges:
        return NO_RANGES
    if calibration is None:
        raise ConfigError(
            f"the vision side in {recipe.vision} for {recipe.target} needs pairs to take ranges "
            "from: name them with --calib"
        )
    path = folder / RANGES_FILE
    if path.is_file():
        return read_ranges(path)
    images = _images(calibration.pairs, recipe)
    on_step("ranges", 0, len(images))
    settings = read_preprocessing(checkpoint)
    ranges = observe_ranges(
        checkpoint,
        Preprocessor(
            image_height=recipe.image_height,
            image_width=recipe.image_width,
            image_mean=settings.image_mean,
            image_std=settings.image_std,
        ),
        images,
        pairs=f"{len(images)} pairs of {calibration.name}",
        scratch=folder,
        open_graph=_open_graph(memory),
        on_pair=lambda done: on_step("ranges", done, len(images)),
    )
    write_ranges(path, ranges)
    return ranges


def _open_graph(memory: MemoryPlan) -> OpenGraph:
    """How graphs are run within the memory: whole or in pieces."""
    if memory.piece_budget is None:
        return GraphSession
    return partial(PiecewiseGraph, budget_bytes=memory.piece_budget)


def _write_graphs(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    model: ModelSpec,
    style: VisionStyle,
    on_step: OnStep,
) -> dict[GraphName, Graph]:
    """Write the graphs that the model has."""
    graphs: dict[GraphName, Graph] = {}

    def target(name: GraphName, precision: Precision) -> Path:
        exact = () if name == "decoder" else style.exact_of(name)
        graphs[name] = Graph(file=f"{name}.onnx", precision=precision, exact=exact)
        return folder / graphs[name].file

    depth = checkpoint.vision.depth
    on_step("vision", 0, depth)
    write_vision_graph(
        target("vision", recipe.vision),
        checkpoint,
        grid=model.grid,
        form=style.form,
        dialect=style.dialect,
        on_block=lambda done: on_step("vision", done, depth),
    )
    if model.compare_token_size:
        on_step("comparison", 0, 1)
        path = target("comparison", recipe.vision)
        write_comparison_graph(
            path, checkpoint, grid=model.grid, form=style.form, dialect=style.dialect
        )
    on_step("decoder", 0, model.num_layers)
    write_decoder_graph(
        target("decoder", recipe.llm),
        checkpoint,
        form=recipe.decoder_form,
        head_form=recipe.head_form,
        on_layer=lambda done: on_step("decoder", done, model.num_layers),
    )
    return graphs


def _source(checkpoint: Checkpoint) -> Source:
    """Where the weights come from."""
    return Source(
        name=checkpoint.path.resolve().name,
        model_type=checkpoint.model_type,
        sha256=checkpoint.sha256(),
    )


def _ask_torch(
    checkpoint: Checkpoint,
    manifest: Manifest,
    images: Sequence[ImagePair],
    recipe: ExportRecipe,
    memory: MemoryPlan,
    on_step: OnStep,
) -> list[Stages]:
    """What the checkpoint answers to every pair. Its model is gone again at the end."""
    on_step("torch", 0, len(images))
    assert recipe.max_new_tokens is not None
    reference = TorchReference(
        checkpoint, manifest, read_tokenizer(checkpoint), budget_bytes=memory.torch_budget
    )
    answers: list[Stages] = []
    for golden, test in images:
        answers.append(reference.stages(golden, test, max_new_tokens=recipe.max_new_tokens))
        on_step("torch", len(answers), len(images))
    return answers


def _ask_bundle(
    folder: Path,
    images: Sequence[ImagePair],
    recipe: ExportRecipe,
    memory: MemoryPlan,
    on_step: OnStep,
) -> list[Stages]:
    """What the runtime answers to every pair, with the graphs in ``folder``."""
    on_step("onnxruntime", 0, len(images))
    assert recipe.max_new_tokens is not None
    bundle = open_bundle(folder, verify=False)
    inspector = Inspector(
        open_engine(bundle, provider="cpu", num_threads=None, open_graph=_open_graph(memory))
    )
    answers: list[Stages] = []
    for golden, test in images:
        answers.append(run_ladder(inspector, golden, test, max_new_tokens=recipe.max_new_tokens))
        on_step("onnxruntime", len(answers), len(images))
    return answers


def _with_parity(manifest: Manifest, folder: Path, parity: Parity) -> Manifest:
    """``manifest`` with its proof and the file that holds the proof's pair."""
    path = folder / PARITY_FILE
    entry = FileEntry(sha256=hash_file(path), size_bytes=path.stat().st_size)
    files = {**manifest.files, PARITY_FILE: entry}
    return manifest.model_copy(update={"parity": parity, "files": files})
