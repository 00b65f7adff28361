"""How the vision side of a bundle computes: form and dialect by target, precision and ranges.

float16 holds 65504 and steps of a thousandth. What comes near either limit on real pairs stays in
float32, module by module, with the reason written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.export.dialect import Dialect
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.half import HALF_MAX, HalfForm
from adcopilot_edge.export.linear import DynamicInt8Form, FloatForm, LinearForm
from adcopilot_edge.export.mixed import MixedForm
from adcopilot_edge.export.qdq import QdqForm
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.standard import StandardDialect
from adcopilot_edge.export.static import StaticInt8Form
from adcopilot_edge.manifest import ExactModule, GraphName

# Other parts than the calibration's may reach further than these pairs did.
_HEADROOM = 8
# At 64, neighbouring float16 values are 1/16 apart: a weight of the softmax is off by 3 %.
_SCORE_LIMIT = 64.0


@dataclass(frozen=True, slots=True)
class VisionStyle:
    """How the vision and the comparison graph are written.

    exact: what stays in float32, and why. kept: what stays in the float of the target, by choice.
    """

    form: LinearForm
    dialect: Dialect
    exact: tuple[ExactModule, ...] = ()
    kept: tuple[str, ...] = ()

    def exact_of(self, graph: GraphName) -> tuple[ExactModule, ...]:
        """What of ``exact`` is in one of the two graphs."""
        return tuple(module for module in self.exact if _graph_of(module.name) == graph)

    def kept_of(self, graph: GraphName) -> tuple[str, ...]:
        """What of ``kept`` is in one of the two graphs."""
        return tuple(module for module in self.kept if _graph_of(module) == graph)


# For an estimate of sizes, before anything was seen.
NO_RANGES = Ranges("no pair", 0, {})


def vision_style(recipe: ExportRecipe, ranges: Ranges = NO_RANGES) -> VisionStyle:
    """The style of ``recipe``; ranges: of the vision side, where ``recipe.needs_ranges``."""
    if not recipe.needs_ranges:
        if recipe.vision == "fp32":
            return VisionStyle(FloatForm(), FUSED)
        form = _mixed(DynamicInt8Form(), FloatForm(), recipe)
        return VisionStyle(form, FUSED, kept=recipe.kept)
    if recipe.target == "cpu":  # float32 around the INT8 layers, which has no such limits
        form = _mixed(StaticInt8Form(ranges), FloatForm(), recipe)
        return VisionStyle(form, FUSED, kept=recipe.kept)
    layers, attentions = tuple(_exact_layers(ranges)), tuple(_exact_attention(ranges))
    half = HalfForm(frozenset(module.name for module in layers))
    if recipe.target == "cuda":  # onnxruntime's kernels keep scores in float32 themselves
        return VisionStyle(half, FUSED, layers)
    dialect = StandardDialect(frozenset(module.name for module in attentions))
    form = _mixed(QdqForm(half, ranges), half, recipe) if recipe.vision == "int8" else half
    return VisionStyle(form, dialect, (*layers, *attentions), recipe.kept)


def _graph_of(module: str) -> GraphName:
    """The graph that a module of the vision side is in."""
    return "comparison" if module.startswith("visual.compare_visual_encoder.") else "vision"


def _mixed(int8: LinearForm, floats: LinearForm, recipe: ExportRecipe) -> LinearForm:
    """``int8``, but ``floats`` for the modules that the recipe keeps."""
    return MixedForm(int8, floats, frozenset(recipe.kept)) if recipe.kept else int8


def _exact_layers(ranges: Ranges) -> Iterator[ExactModule]:
    """Linear layers whose input or output comes too near the end of float16."""
    for name in sorted(ranges.table):
        layer, _, place = name.rpartition(".")
        if place == "input":
            reached = {end: ranges.bound(f"{layer}.{end}") for end in ("input", "output")}
            end, bound = max(reached.items(), key=lambda item: item[1])
            if bound > HALF_MAX / _HEADROOM:
                reason = (
                    f"its {end} reaches {bound:.3g} on {ranges.pairs}; float16 ends at {HALF_MAX:g}"
                )
                yield ExactModule(name=layer, reason=reason)


def _exact_attention(ranges: Ranges) -> Iterator[ExactModule]:
    """Attentions whose scores are too large for the steps of float16."""
    largest: dict[str, float] = {}
    for name in sorted(ranges.table):
        if name.endswith(".scores"):
            module = name.removesuffix(".scores").split(".window")[0]
            largest[module] = max(largest.get(module, 0.0), ranges.bound(name))
    for module, bound in largest.items():
        if bound > _SCORE_LIMIT:
            reason = f"its scores reach {bound:.3g} on {ranges.pairs}; float16 is too coarse there"
            yield ExactModule(name=module, reason=reason)
