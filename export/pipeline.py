"""Export a checkpoint: the steps on one page. Read, write graphs, prove, package."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
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
from adcopilot_edge.errors import ConfigError
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
from adcopilot_edge.export.parity import judge, store_pair
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.reference import TorchReference
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
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ladder import run_ladder
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.types import ImageArray, LabelledPair

EMBEDDING_FILE = "embedding.npy"
PARITY_FILE = "parity.safetensors"

# Called with the name of a step, how much of it is done, and how much there is.
OnStep = Callable[[str, int, int], None]
ImagePair = tuple[ImageArray, ImageArray]


def export_bundle(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    recipe: ExportRecipe,
    *,
    pairs: Iterable[LabelledPair],
    on_step: OnStep = lambda *_: None,
) -> Bundle:
    """Export the checkpoint folder ``path`` to a new bundle at ``out``.

    Args:
        path: A Hugging Face folder.
        out: The bundle's folder; it appears when all is proven, an older bundle there is replaced.
        recipe: What to export.
        pairs: Images for the proof, of any size; ``recipe.num_parity_pairs`` of them are taken.
        on_step: Told of the progress.

    Raises:
        ConfigError: ``out`` is something else than a bundle, or a setting does not fit the model.
        CheckpointError: The checkpoint is incomplete or damaged.
        UnsupportedModelError: The exporter does not know this kind of model.
        ParityError: The graphs do not reproduce the checkpoint.
    """
    on_step("read", 0, 1)
    checkpoint = open_checkpoint(Path(path))
    check_layout(checkpoint)
    model = describe_model(checkpoint, recipe)
    tokens = find_tokens(checkpoint, read_tokenizer(checkpoint), DEFAULT_PROMPT)
    images = _images(pairs, recipe)
    with new_bundle(out) as folder:
        graphs = _write_graphs(checkpoint, folder, recipe, model, on_step)
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
        references = _ask_torch(checkpoint, manifest, images, recipe, on_step)
        actuals = _ask_bundle(folder, images, recipe, on_step)
        stages = judge(recipe, references, actuals)
        on_step("package", 0, 1)
        store_pair(folder / PARITY_FILE, *images[0], references[0])
        parity = Parity(num_pairs=len(images), inputs=PARITY_FILE, stages=stages)
        write_manifest(folder, _with_parity(manifest, folder, parity))
    return open_bundle(out, verify=False)


def _images(pairs: Iterable[LabelledPair], recipe: ExportRecipe) -> list[ImagePair]:
    """The first pairs, golden and test at the bundle's size."""
    resizer = Preprocessor(image_height=recipe.image_height, image_width=recipe.image_width)
    images = [
        (resizer.resize(pair.golden), resizer.resize(pair.test))
        for pair in islice(pairs, recipe.num_parity_pairs)
    ]
    if not images:
        raise ConfigError("the proof of an export needs at least one pair of images")
    return images


def _write_graphs(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    model: ModelSpec,
    on_step: OnStep,
) -> dict[GraphName, Graph]:
    """Write the graphs that the model has."""
    graphs: dict[GraphName, Graph] = {}

    def target(name: GraphName, precision: Precision) -> Path:
        graphs[name] = Graph(file=f"{name}.onnx", precision=precision)
        return folder / graphs[name].file

    on_step("vision", 0, 1)
    path = target("vision", recipe.vision)
    write_vision_graph(path, checkpoint, grid=model.grid, form=recipe.vision_form)
    if model.compare_token_size:
        on_step("comparison", 0, 1)
        path = target("comparison", recipe.vision)
        write_comparison_graph(path, checkpoint, grid=model.grid, form=recipe.vision_form)
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
    on_step: OnStep,
) -> list[Stages]:
    """What the checkpoint answers to every pair. Its model is gone again at the end."""
    on_step("torch", 0, len(images))
    reference = TorchReference(checkpoint, manifest, read_tokenizer(checkpoint))
    answers: list[Stages] = []
    for golden, test in images:
        answers.append(reference.stages(golden, test, max_new_tokens=recipe.max_new_tokens))
        on_step("torch", len(answers), len(images))
    return answers


def _ask_bundle(
    folder: Path, images: Sequence[ImagePair], recipe: ExportRecipe, on_step: OnStep
) -> list[Stages]:
    """What the runtime answers to every pair, with the graphs in ``folder``."""
    on_step("onnxruntime", 0, len(images))
    inspector = Inspector.open(folder, verify=False)
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
