"""``manifest.json``: everything a device must know about a bundle, as strict records.

Unknown keys are errors, so that an old runtime never half-understands a newer bundle.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from adcopilot_edge.gate_record import Fallback, Gate
from adcopilot_edge.positions import ComparePositionMode
from adcopilot_edge.prompt import PromptTemplate
from adcopilot_edge.record import Precision, Record

FORMAT_VERSION = 1

Target = Literal["cpu", "cuda", "tensorrt"]
GraphName = Literal["vision", "comparison", "decoder"]
# Whether the levels of what INT8 layers get are found in every run, or were fixed by pairs.
Int8Form = Literal["dynamic", "static"]


class ModelSpec(Record):
    """Shapes and constants of the model that the runtime needs; letters as in ``types.py``."""

    image_height: int = Field(gt=0, multiple_of=28)
    image_width: int = Field(gt=0, multiple_of=28)
    patch_size: int = Field(gt=0)
    temporal_patch_size: int = Field(gt=0)
    merge_size: int = Field(gt=0)
    vision_width: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    vocab_size: int = Field(gt=0)
    num_layers: int = Field(gt=0)
    num_heads: int = Field(gt=0)
    num_kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    max_sequence_length: int = Field(gt=0)
    rope_theta: float = Field(gt=0)
    mrope_section: tuple[int, int, int]
    compare_token_size: int = Field(ge=0)
    compare_position_mode: ComparePositionMode
    has_anomaly_map: bool
    map_types: tuple[str, ...] = ()

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.image_height // self.patch_size, self.image_width // self.patch_size

    @property
    def num_patches(self) -> int:
        """N, the patches of one image."""
        rows, cols = self.grid
        return rows * cols

    @property
    def patch_values(self) -> int:
        """Values of one patch: channels x temporal copies x pixels (1176 for Qwen2.5-VL)."""
        return 3 * self.temporal_patch_size * self.patch_size**2

    @property
    def num_merged(self) -> int:
        """Language-model tokens of one image, comparison tokens not counted."""
        return self.num_patches // self.merge_size**2


class Preprocessing(Record):
    """How pixels become patches; bicubic resize to the model's image size, then this."""

    rescale_factor: float = 1 / 255
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]


class Tokens(Record):
    """Token ids that the runtime acts on: the image placeholder, ends of a turn, the letters."""

    image: int
    end: tuple[int, ...] = Field(min_length=1)
    yes: int
    no: int


class ExactModule(Record):
    """A module that computes in float32 in a graph of lower precision, and why."""

    name: str
    reason: str


class Graph(Record):
    """One ONNX file of the bundle and the precision of its weights.

    ``exact`` lists the modules that stay in float32; norms always do. ``kept`` lists those of an
    INT8 graph that stay in the float of its target. ``quantizer`` says how the levels of
    weight-only blocks were chosen. ``form`` is that of layers whose input is INT8 too; bundles
    older than the field have none. ``probes`` names the file of the graph's twin, which
    shares its weights and also gives what ``verify`` compares block by block; ``ranges`` that of
    another, which tells how far the inputs of static INT8 layers reach.
    """

    file: str
    precision: Precision
    exact: tuple[ExactModule, ...] = ()
    kept: tuple[str, ...] = ()
    quantizer: str | None = None
    form: Int8Form | None = None
    probes: str | None = None
    ranges: str | None = None


class Embedding(Record):
    """The embedding table: an .npy file of shape (vocab_size, hidden_size), memory-mapped."""

    file: str
    precision: Literal["fp32", "fp16"]


class FileEntry(Record):
    """Size and hash of one file, so that a damaged copy is found before it is used."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class AdapterSource(Record):
    """The LoRA adapter that was merged into the weights; ``sha256`` is over its files."""

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Source(Record):
    """Where the weights come from; ``sha256`` is over the checkpoint's files, in name order.

    ``name`` is that of a folder, or of a hub repository with the commit, ``owner/name@commit``.
    """

    name: str
    model_type: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    adapter: AdapterSource | None = None


class StageParity(Record):
    """One rung of the parity ladder: the worst error over the pairs, and what was allowed.

    ``metric`` is ``max_abs`` or ``max_rel`` (against the largest reference value) for arrays,
    ``mismatches`` for ids and verdicts.
    """

    stage: str
    metric: Literal["max_abs", "max_rel", "mismatches"]
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """True when the error is a number within the tolerance."""
        return self.error <= self.tolerance


class Parity(Record):
    """The exporter's proof: exported graphs against the torch checkpoint, stage by stage.

    ``inputs`` names the safetensors file with the pairs and expected outputs that ``verify``
    runs again on the device.
    """

    num_pairs: int = Field(gt=0)
    inputs: str
    stages: tuple[StageParity, ...]


class Decision(Record):
    """How a score becomes a verdict, an anomaly at or above the threshold, and the map boxes.

    map_margin: pixels of the model's image that a box leaves around its region of the map.
    """

    threshold: float = Field(default=0.5, gt=0, lt=1)
    map_threshold: float = Field(default=0.5, gt=0, lt=1)
    map_margin: int = Field(default=0, ge=0)


class Manifest(Record):
    """The whole of ``manifest.json``. ``files`` lists every other file of the bundle."""

    format: Literal["adcopilot-edge-bundle"] = "adcopilot-edge-bundle"
    version: Literal[1] = 1
    created_by: str
    target: Target
    source: Source
    model: ModelSpec
    preprocessing: Preprocessing
    tokens: Tokens
    prompt: PromptTemplate
    graphs: dict[GraphName, Graph]
    embedding: Embedding
    tokenizer: str
    decision: Decision = Decision()
    parity: Parity | None = None
    fallback: Fallback | None = None
    gate: Gate | None = None
    files: dict[str, FileEntry]

    @model_validator(mode="after")
    def _check_files(self) -> Manifest:
        """Every file that the manifest names is in ``files``, and no name leaves the folder."""
        named = [graph.file for graph in self.graphs.values()]
        twins = [twin for graph in self.graphs.values() for twin in (graph.probes, graph.ranges)]
        named += [twin for twin in twins if twin is not None]
        named += [self.embedding.file, self.tokenizer]
        if self.parity is not None:
            named.append(self.parity.inputs)
        missing = sorted(set(named) - set(self.files))
        if missing:
            raise ValueError(f"files named but not listed under 'files': {', '.join(missing)}")
        for name in self.files:
            if name.startswith(("/", "\\")) or ".." in name.split("/") or ":" in name:
                raise ValueError(f"file name leaves the bundle: {name}")
        required: set[GraphName] = {"vision", "decoder"}
        if self.model.compare_token_size:
            required.add("comparison")
        if lacking := sorted(required - set(self.graphs)):
            raise ValueError(f"graphs missing: {', '.join(lacking)}")
        return self

    @property
    def precision(self) -> str:
        """The precision of all graphs in one word, as ``vision-int8+decoder-int4``."""
        return "+".join(
            f"{name}-{self.graphs[name].precision}"
            for name in ("vision", "comparison", "decoder")
            if name in self.graphs
        )
