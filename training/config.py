"""The configuration of AD-Copilot: stock Qwen2.5-VL plus the Comparison Encoder's settings.

Released checkpoints say ``model_type: ad_copilot``, older ones ``yangjian`` (spec section 1);
both load. Settings that the released configuration lacks default to the released behaviour.
"""

from __future__ import annotations

import math

from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLVisionConfig,
)

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.positions import COMPARE_POSITION_MODES, ComparePositionMode


class ADCopilotVisionConfig(Qwen2_5_VLVisionConfig):
    """The vision tower's settings with those of the Comparison Encoder.

    compare_token_size: comparison tokens an image; 0 leaves the encoder out (stock Qwen2.5-VL).
    compare_minus_residual: subtract the MLP on the current-image branch, as released (spec 3.7).
    compare_rope: rotary terms in the two image-to-image attentions; off in released weights.
    compare_query_grid: comparison token k looks at the image from cell k of a square grid; off in
    released weights, whose queries know no place.
    compare_patch_places: what the queries read of a patch tells its place in the image; off in
    released weights.
    compare_anomaly_map: logits of the updated current features; off in released ones.
    compare_map_scale: logits along each side of a patch; 1 is one logit a patch.
    compare_map_margin: pixels that people leave around a defect and the map does not mark.
    compare_map_types: names of the types of defect that each patch is told apart by; needs the map.
    compare_token_cells: each comparison token is told the map of its own cell of a square grid, in
    so many parts along each side, how far it goes on beyond, and the types there; 0, as in released
    weights, is not. Needs the map (``told_map.py``).
    """

    model_type = "ad_copilot_vision"

    compare_token_size: int = 100
    compare_minus_residual: bool = True
    compare_rope: bool = False
    compare_query_grid: bool = False
    compare_patch_places: bool = False
    compare_anomaly_map: bool = False
    compare_map_scale: int = 1
    compare_map_margin: int = 0
    compare_map_types: tuple[str, ...] | list[str] = ()
    compare_token_cells: int = 0

    def __post_init__(self, **kwargs: object) -> None:
        super().__post_init__(**kwargs)
        self.compare_map_types = list(self.compare_map_types)
        if self.compare_map_types and not self.compare_anomaly_map:
            raise ConfigError("compare_map_types needs compare_anomaly_map")
        if self.compare_token_cells and not self.compare_anomaly_map:
            raise ConfigError("compare_token_cells needs compare_anomaly_map")
        side = math.isqrt(self.compare_token_size)
        for name in ("compare_query_grid", "compare_token_cells"):
            if getattr(self, name) and (not side or side**2 != self.compare_token_size):
                raise ConfigError(
                    f"{name} needs a square number of comparison tokens, such as 49 or 100, "
                    f"got compare_token_size {self.compare_token_size}"
                )


class ADCopilotConfig(Qwen2_5_VLConfig):
    """Qwen2.5-VL's configuration, with how images are paired and where comparison tokens stand.

    sequence_compare: the first image of a sample is compared with itself; when false, with the
    sample's last image (spec 3.2). compare_position_mode: M-RoPE ids of the comparison tokens
    (spec section 5), ``shared``, ``diagonal``, ``diagonal_scaled`` or ``grid``.
    """

    model_type = "ad_copilot"
    sub_configs_defaults = {  # noqa: RUF012 - annotated, it would become a field
        "vision_config": ADCopilotVisionConfig,  # type: ignore[dict-item] # as upstream
        "text_config": Qwen2_5_VLTextConfig,  # type: ignore[dict-item]
    }

    sequence_compare: bool = True
    compare_position_mode: ComparePositionMode = "shared"

    @property
    def text(self) -> Qwen2_5_VLTextConfig:
        """``text_config``, which is an object once a configuration exists."""
        assert isinstance(self.text_config, Qwen2_5_VLTextConfig)
        return self.text_config

    @property
    def vision(self) -> ADCopilotVisionConfig:
        """``vision_config``, which is an object once a configuration exists."""
        assert isinstance(self.vision_config, ADCopilotVisionConfig)
        return self.vision_config

    def __post_init__(self, **kwargs: object) -> None:
        if isinstance(self.vision_config, dict):
            # Released files carry the stock vision type; ours needs its own to load as our class.
            self.vision_config = {
                **self.vision_config,
                "model_type": ADCopilotVisionConfig.model_type,
            }
        super().__post_init__(**kwargs)
        if self.compare_position_mode not in COMPARE_POSITION_MODES:
            raise ConfigError(
                f"compare_position_mode must be one of {', '.join(COMPARE_POSITION_MODES)}, "
                f"got {self.compare_position_mode!r}"
            )


class YangJianConfig(ADCopilotConfig):
    """The same configuration under the name that older checkpoints carry."""

    model_type = "yangjian"
