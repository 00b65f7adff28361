"""The graphs' inputs, outputs and dummy inputs, declared for optimum's exporters.

Importing this module registers the exporter ``adcopilot`` with optimum. Nothing is exported from
these declarations: ``vision.py``, ``comparison.py`` and ``decoder.py`` write the graphs, and a test
holds the two equal.
"""

from __future__ import annotations

from typing import Any, get_args

from optimum.exporters.base import ExporterConfig
from optimum.exporters.tasks import TasksManager
from optimum.utils import DummyInputGenerator, NormalizedConfig
from transformers import PreTrainedConfig

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import MODEL_TYPES
from adcopilot_edge.export.language import read_language
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.manifest import GraphName

EXPORTER = "adcopilot"
TASK = "image-text-to-text"

# By tensor: the axes whose length is not fixed in the graph, and the names they have there.
Axes = dict[str, dict[int, str]]


class ADCopilotNormalizedConfig(NormalizedConfig):
    """A checkpoint's configuration under the names that optimum uses."""

    HIDDEN_SIZE = "text_config.hidden_size"
    NUM_LAYERS = "text_config.num_hidden_layers"
    NUM_KEY_VALUE_HEADS = "text_config.num_key_value_heads"
    NUM_CHANNELS = "vision_config.in_channels"
    PATCH_SIZE = "vision_config.patch_size"
    TEMPORAL_PATCH_SIZE = "vision_config.temporal_patch_size"
    VISION_HIDDEN_SIZE = "vision_config.hidden_size"
    COMPARE_TOKEN_SIZE = "vision_config.compare_token_size"
    COMPARE_ANOMALY_MAP = "vision_config.compare_anomaly_map"
    COMPARE_MAP_TYPES = "vision_config.compare_map_types"

    @property
    def head_dim(self) -> int:
        """Values of a key, which many configurations do not state."""
        return read_language(self.config).head_dim

    @property
    def has_comparison(self) -> bool:
        """False for stock Qwen2.5-VL, whose configuration does not know the Comparison Encoder."""
        return self.has_attribute("compare_token_size") and self.compare_token_size > 0


class DummyVisionGenerator(DummyInputGenerator):
    """Random patches (N, 1176) of one image, and random features (N, C) of two.

    height, width: pixels of the image, positive multiples of 28. The graphs take one image, so what
    optimum says of batches has no meaning here.

    Raises:
        ConfigError: A side is no multiple of 28.
    """

    SUPPORTED_INPUT_NAMES = ("patches", "previous", "current")

    def __init__(
        self,
        task: str,
        normalized_config: ADCopilotNormalizedConfig,
        height: int = 224,
        width: int = 224,
        **_: object,
    ) -> None:
        size = ExportRecipe(image_height=height, image_width=width)
        side = normalized_config.patch_size
        copies = normalized_config.num_channels * normalized_config.temporal_patch_size
        self._num_patches = (size.image_height // side) * (size.image_width // side)
        self._patch_values = copies * side**2
        self._feature_width = normalized_config.vision_hidden_size

    def generate(
        self,
        input_name: str,
        framework: str = "pt",
        int_dtype: str = "int32",
        float_dtype: str = "fp32",
    ) -> Any:
        """The input of this name; float32 whatever ``float_dtype``, as at the graphs' border."""
        width = self._patch_values if input_name == "patches" else self._feature_width
        return self.random_float_tensor([self._num_patches, width], -1, 1, framework, "fp32")


class DummySequenceGenerator(DummyInputGenerator):
    """Random embeddings of ``sequence_length`` tokens, behind ``past_sequence_length`` others.

    Keys and values of those others are random too, the lengths and the tables fit the two numbers.
    """

    SUPPORTED_INPUT_NAMES = (
        "embeds",
        "cos",
        "sin",
        "seqlens_k",
        "total_sequence_length",
        "past_key",
        "past_value",
    )

    def __init__(
        self,
        task: str,
        normalized_config: ADCopilotNormalizedConfig,
        sequence_length: int = 16,
        past_sequence_length: int = 16,
        **_: object,
    ) -> None:
        self._total = past_sequence_length + sequence_length
        head_dim, kv_heads = normalized_config.head_dim, normalized_config.num_key_value_heads
        self._embeds = [1, sequence_length, normalized_config.hidden_size]
        self._table = [self._total, head_dim // 2]
        self._past = [1, kv_heads, past_sequence_length, head_dim]

    def generate(
        self,
        input_name: str,
        framework: str = "pt",
        int_dtype: str = "int32",
        float_dtype: str = "fp32",
    ) -> Any:
        """The input of this name; ``float_dtype`` is that of keys and values alone.

        Lengths are int32 whatever ``int_dtype``, all else is float32, as at the graph's border.
        """
        if input_name == "seqlens_k":
            return self._length([1], self._total - 1, framework)
        if input_name == "total_sequence_length":
            return self._length([], self._total, framework)
        if input_name.startswith("past_"):
            return self.random_float_tensor(self._past, -1, 1, framework, float_dtype)
        shape = self._embeds if input_name == "embeds" else self._table
        return self.random_float_tensor(shape, -1, 1, framework, "fp32")

    def _length(self, shape: list[int], value: int, framework: str) -> Any:
        return self.random_int_tensor(shape, value + 1, value, framework, "int32")


class ADCopilotExporterConfig(ExporterConfig):
    """What one graph of a bundle takes and gives.

    Args:
        config: The checkpoint's configuration.
        task: As optimum calls it; there is one.
        int_dtype: Without effect: lengths are int32.
        float_dtype: Of the decoder's keys and values; all else is float32.
        graph: Which of the three.

    Raises:
        ConfigError: There is no such graph, or the model has none.
    """

    NORMALIZED_CONFIG_CLASS = ADCopilotNormalizedConfig
    DUMMY_INPUT_GENERATOR_CLASSES = (DummyVisionGenerator, DummySequenceGenerator)

    def __init__(
        self,
        config: PreTrainedConfig,
        task: str = TASK,
        int_dtype: str = "int32",
        float_dtype: str = "fp32",
        *,
        graph: GraphName = "vision",
    ) -> None:
        super().__init__(config, task, int_dtype, float_dtype)
        if graph not in get_args(GraphName):
            raise ConfigError(
                f"graph must be one of {', '.join(get_args(GraphName))}, got {graph!r}"
            )
        if graph == "comparison" and not self._normalized_config.has_comparison:
            raise ConfigError(
                f"model_type {config.model_type!r} without a Comparison Encoder has no graph "
                "'comparison'; choose vision or decoder"
            )
        self.graph = graph

    @property
    def inputs(self) -> Axes:
        """The graph's inputs and their free axes."""
        if self.graph == "vision":
            return {"patches": {}}
        if self.graph == "comparison":
            return {"previous": {}, "current": {}}
        lengths: Axes = {"seqlens_k": {}, "total_sequence_length": {}}
        tables = {"cos": {0: "T"}, "sin": {0: "T"}}
        return {"embeds": {1: "S"}, **lengths, **tables, **self._state("past", "P")}

    @property
    def outputs(self) -> Axes:
        """The graph's outputs and their free axes."""
        if self.graph == "vision":
            return {"features": {}, "tokens": {}}
        if self.graph == "comparison":
            maps = {
                "anomaly_logits": self._normalized_config.compare_anomaly_map,
                "type_logits": self._normalized_config.compare_map_types,
            }
            return {"comparison_tokens": {}, **{name: {} for name, has in maps.items() if has}}
        return {"logits": {}, **self._state("present", "P_present")}

    def _state(self, when: str, length: str) -> Axes:
        """Keys and values of every layer."""
        return {
            f"{when}_{kind}.{layer}": {2: length}
            for layer in range(self._normalized_config.num_layers)
            for kind in ("key", "value")
        }


for model_type in MODEL_TYPES:
    TasksManager.create_register(EXPORTER)(model_type, TASK)(ADCopilotExporterConfig)
