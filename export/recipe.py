"""What to export: image size, target, precisions, how much proof. Knows nothing of weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import onnx_ir as ir

from adcopilot_edge.calibration.clipping import METHODS, Method
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.gptq import Gptq, Grams
from adcopilot_edge.export.half import HalfForm
from adcopilot_edge.export.linear import BlockForm, FloatForm, LinearForm
from adcopilot_edge.export.rounding import Bits, HalfQuadratic, KQuant, Rounding, RoundToNearest
from adcopilot_edge.export.rows import RowInt8Form
from adcopilot_edge.manifest import Int8Form, Target
from adcopilot_edge.record import Precision

# The fast forms of each target; the first of a row is its default.
VISION_PRECISIONS: dict[Target, tuple[Precision, ...]] = {
    "cpu": ("fp32", "int8"),
    "cuda": ("fp16", "fp32"),
    "tensorrt": ("fp16", "int8"),
}
LLM_PRECISIONS: dict[Target, tuple[Precision, ...]] = {
    "cpu": ("fp32", "int8", "int4"),
    "cuda": ("int4", "int8", "fp16"),
    "tensorrt": ("int4", "int8", "fp16"),
}
Quantizer = Literal["rtn", "k-quant", "hqq", "gptq"]
BlockSize = int | Literal["row"]
HeadPrecision = Literal["int8", "int4"]
# The precisions of the language model that each can make.
QUANTIZERS: dict[Quantizer, tuple[Precision, ...]] = {
    "rtn": ("int4", "int8"),
    "k-quant": ("int4", "int8"),
    "hqq": ("int4",),
    "gptq": ("int4", "int8"),
}
# onnxruntime's accuracy level at which a block product quantizes its input to INT8 as well. On
# trained nano weights the logits are then off by 0.8 % of the largest, against 0.6 % without.
_INT8_ACTIVATIONS = 4
# Of the head beside layers with one scale an output: it sees one row, which small blocks slow down.
_HEAD_BLOCK = 128
_BLOCKS = (16, 32, 64, 128, 256)  # that onnxruntime's quantizer and kernels know
_CELL = 28  # pixels of a merged cell: sides must be multiples of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecipe:
    """One export.

    image_height, image_width: pixels, fixed in the graphs. vision: precision of the vision and the
    comparison graph. llm: of the decoder. quantizer: how the levels of an ``int8`` or ``int4``
    decoder are chosen. block_size: weights there that share a scale; ``row`` is all of an output's,
    and a scale of its own for each token. head: of the output head beside layers in integers; None
    is ``int8``. max_sequence_length: tokens that the device's key-value cache holds; None takes
    2048, or more where the images need it. is_proven: whether the bundle is held against the
    checkpoint before it takes its name.
    num_parity_pairs: pairs that the proof runs. max_new_tokens: ids that each greedy answer of the
    proof may have. None for these two takes 20 and 64, or 1 and 2 where the model does not fit into
    the memory and each id reads it anew. int8_form: whether the levels of what the vision side's
    INT8 layers get are found in every run or fixed by pairs; None is ``dynamic`` on a CPU and
    ``static`` for TensorRT, which knows no other. calib_method: how far those fixed levels reach.
    smooth: whether the spread of the layers' channels moves into the weights. kept:
    modules of an ``int8`` vision side that stay in float, as ``visual.blocks.3.mlp``. threshold:
    the score, 0..1, from which on a part is an anomaly.

    Raises:
        ConfigError: A setting is out of range, or not in this release.
    """

    image_height: int
    image_width: int
    target: Target = "cpu"
    vision: Precision = "fp32"
    llm: Precision = "fp32"
    quantizer: Quantizer = "rtn"
    block_size: BlockSize = 32
    head: HeadPrecision | None = None
    threshold: float = 0.5
    max_sequence_length: int | None = None
    is_proven: bool = True
    num_parity_pairs: int | None = None
    max_new_tokens: int | None = None
    int8_form: Int8Form | None = None
    calib_method: Method = "min-max"
    smooth: bool = False
    kept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("image_height", "image_width"):
            side = getattr(self, name)
            if side < _CELL or side % _CELL:
                raise ConfigError(f"{name} must be a positive multiple of {_CELL}, got {side}")
        if not 0.0 < self.threshold < 1.0:
            raise ConfigError(f"threshold must lie between 0 and 1, got {self.threshold}")
        if self.target not in VISION_PRECISIONS:
            raise ConfigError(
                f"target must be one of {', '.join(VISION_PRECISIONS)}, got {self.target!r}"
            )
        for name, table in (("vision", VISION_PRECISIONS), ("llm", LLM_PRECISIONS)):
            known = table[self.target]
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"the precision of {name} must be one of {', '.join(known)} for the "
                    f"target {self.target!r}, got {getattr(self, name)!r}"
                )
        self._check_quantizer()
        self._check_calibration()
        self._check_blocks()
        for name in ("max_sequence_length", "num_parity_pairs", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")

    def _check_quantizer(self) -> None:
        if self.quantizer not in QUANTIZERS:
            raise ConfigError(
                f"quantizer must be one of {', '.join(QUANTIZERS)}, got {self.quantizer!r}"
            )
        known = QUANTIZERS[self.quantizer]
        if self.quantizer != "rtn" and self.llm not in known:
            raise ConfigError(
                f"the quantizer {self.quantizer!r} makes {' or '.join(known)}, and the language "
                f"model is to be {self.llm}. Choose another precision or quantizer."
            )

    def _check_blocks(self) -> None:
        if self.head is not None and self.llm not in ("int8", "int4"):
            raise ConfigError(
                f"an output head in {self.head} is for a language model in int8 or int4, and it is "
                f"to be {self.llm}. Leave the head out, or choose one of these."
            )
        if self.block_size == "row":
            if (self.llm, self.target, self.quantizer) != ("int8", "cpu", "rtn"):
                raise ConfigError(
                    "blocks of a whole row are for a language model in int8, rounded by 'rtn', for "
                    f"the target 'cpu'; it is to be {self.llm}, {self.quantizer!r}, for "
                    f"{self.target!r}. Choose a number of weights, or these."
                )
        elif self.block_size not in _BLOCKS:
            raise ConfigError(
                f"block_size must be one of {', '.join(map(str, _BLOCKS))} or 'row', "
                f"got {self.block_size}"
            )

    def _check_calibration(self) -> None:
        if self.calib_method not in METHODS:
            raise ConfigError(
                f"calib_method must be one of {', '.join(METHODS)}, got {self.calib_method!r}"
            )
        if self.kept and self.vision != "int8":
            raise ConfigError(
                f"{', '.join(self.kept)} can stay in float only where the vision side is in int8, "
                f"and it is to be {self.vision}. Leave that out."
            )
        if self.int8_form is not None and self.vision != "int8":
            raise ConfigError(
                f"the INT8 form {self.int8_form!r} is for the vision side in int8, and it is to be "
                f"{self.vision}. Choose int8, or leave the form out."
            )
        if self.int8_form == "dynamic" and self.target == "tensorrt":
            raise ConfigError(
                "TensorRT compiles static INT8 only: leave the form 'dynamic' out, or choose the "
                "target 'cpu'"
            )
        for what, is_asked in (
            (f"the calibration method {self.calib_method!r}", self.calib_method != "min-max"),
            ("smoothing", self.smooth),
        ):
            if is_asked and not self.is_static:
                form = f"{self.vision_form} " if self.vision_form else ""
                raise ConfigError(
                    f"{what} is for the vision side in static int8, and it is to be "
                    f"{form}{self.vision} for {self.target}. Leave it out, or choose int8 in the "
                    "form 'static'."
                )

    def with_proof(self, *, is_whole: bool) -> ExportRecipe:
        """The recipe with the size of its proof settled; is_whole: the model stays in memory."""
        pairs, ids = (20, 64) if is_whole else (1, 2)
        return replace(
            self,
            num_parity_pairs=self.num_parity_pairs or pairs,
            max_new_tokens=self.max_new_tokens or ids,
        )

    @property
    def needs_ranges(self) -> bool:
        """Whether the vision side's precision follows from ranges of values on pairs."""
        return self.vision == "fp16" or self.vision_form == "static"

    @property
    def vision_form(self) -> Int8Form | None:
        """How the vision side's layers get their levels; None where it is not in INT8."""
        if self.vision != "int8":
            return None
        return self.int8_form or ("dynamic" if self.target == "cpu" else "static")

    @property
    def float_vision(self) -> Precision:
        """What the modules of an INT8 vision side fall back to."""
        return "fp32" if self.target == "cpu" else "fp16"

    def in_float(self) -> ExportRecipe:
        """The recipe with the vision side in the float of the target."""
        return replace(
            self,
            vision=self.float_vision,
            int8_form=None,
            calib_method="min-max",
            smooth=False,
            kept=(),
        )

    def all_float(self) -> ExportRecipe:
        """What a gate holds the recipe against: everything in float32, on the CPU, not proven."""
        return ExportRecipe(
            image_height=self.image_height,
            image_width=self.image_width,
            max_sequence_length=self.max_sequence_length,
            is_proven=False,
        )

    def forms(self, *, has_pairs: bool) -> tuple[ExportRecipe, ...]:
        """What a gate may choose from: both INT8 forms of a CPU, where neither is asked for.

        has_pairs: whether there are pairs that the levels of the static form come from.
        """
        is_open = self.vision == "int8" and self.target == "cpu" and self.int8_form is None
        if not is_open or not has_pairs or self.kept:
            return (self,)
        return replace(self, int8_form="dynamic"), replace(self, int8_form="static")

    @property
    def is_static(self) -> bool:
        """Whether the vision side is INT8 by levels that are fixed at the export."""
        return self.vision_form == "static"

    @property
    def needs_pairs(self) -> bool:
        """Whether the export must see pairs: for ranges, or for the inputs of the decoder."""
        return self.needs_ranges or self.quantizer == "gptq"

    def decoder_form(self, grams: Grams | None = None) -> LinearForm:
        """How the decoder's linear layers compute, but for the head.

        grams: for ``gptq``; where only sizes are asked for, it can do without.
        """
        if self.llm == "fp32":
            return FloatForm()
        if self.llm == "fp16":
            return HalfForm()
        if self.block_size == "row":
            return RowInt8Form()
        return self._blocks(4 if self.llm == "int4" else 8, self._rounding(grams))

    @property
    def head_form(self) -> LinearForm:
        """How the output head computes: rounded to the nearest, of 8 bits where nothing is asked.

        It decides between the answer letters directly, and nothing behind it evens an error out.
        """
        if self.llm in ("fp32", "fp16"):
            return self.decoder_form()
        return self._blocks(4 if self.head == "int4" else 8, RoundToNearest())

    def _rounding(self, grams: Grams | None) -> Rounding:
        if self.quantizer == "k-quant":
            return KQuant()
        if self.quantizer == "hqq":
            return HalfQuadratic()
        if self.quantizer == "gptq":
            return Gptq(grams)
        return RoundToNearest()

    def _blocks(self, bits: Bits, rounding: Rounding) -> BlockForm:
        on_cpu = self.target == "cpu"
        return BlockForm(
            bits=bits,
            block_size=_HEAD_BLOCK if self.block_size == "row" else self.block_size,
            rounding=rounding,
            accuracy_level=_INT8_ACTIVATIONS if on_cpu else 0,
            dtype=ir.DataType.FLOAT if on_cpu else ir.DataType.FLOAT16,
        )
