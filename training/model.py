"""AD-Copilot for transformers: Qwen2.5-VL whose vision tower also compares neighbouring images.

Importing this module registers the model and its configuration with transformers' Auto classes,
so that released checkpoints (both ``model_type`` names) load without ``trust_remote_code``.
Images are paired inside each sample (spec 3.2), so results do not depend on the batch.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLModel,
    Qwen2_5_VLTextModel,
)
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from adcopilot_edge.positions import ImageSpan, TextSpan, mrope_positions
from adcopilot_edge.training.attention import BatchedVisionAttention
from adcopilot_edge.training.comparison import ComparisonEncoder, patch_waves, query_places
from adcopilot_edge.training.comparison_start import start_comparison
from adcopilot_edge.training.config import (
    ADCopilotConfig,
    ADCopilotVisionConfig,
    YangJianConfig,
)
from adcopilot_edge.training.forward import run_batch
from adcopilot_edge.training.pairing import pad_images, pair_images
from adcopilot_edge.training.patch_embed import ProductPatchEmbed
from adcopilot_edge.training.tensor_names import renamings

if TYPE_CHECKING:
    from adcopilot_edge.training.batch import Batch


@dataclass
class ImageFeatures(BaseModelOutputWithPooling):
    """What the vision side returns for the images of a call.

    pooler_output: per image, merged tokens then comparison tokens, (n + L, D). patch_features: per
    image (N, C), before the merger, in the processor's patch order. anomaly_logits: per image
    (N, cells + types) in the same order, the cells of a patch in raster order, or None without the
    head.
    """

    pooler_output: tuple[Tensor, ...] | None = None  # type: ignore[assignment] # as upstream
    patch_features: tuple[Tensor, ...] | None = None
    anomaly_logits: tuple[Tensor, ...] | None = None


class ADCopilotVisionTower(Qwen2_5_VisionTransformerPretrainedModel):
    """The stock tower with the Comparison Encoder at ``compare_visual_encoder``."""

    config_class = ADCopilotVisionConfig
    config: ADCopilotVisionConfig

    def __init__(self, config: ADCopilotVisionConfig) -> None:
        super().__init__(config)
        self.patch_embed = ProductPatchEmbed(
            patch_size=config.patch_size,
            temporal_patch_size=config.temporal_patch_size,
            in_channels=config.in_channels,
            embed_dim=config.hidden_size,
        )
        for block in self.blocks:
            block.attn = BatchedVisionAttention(config)
        self.compare_visual_encoder = (
            ComparisonEncoder(config) if config.compare_token_size else None
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ComparisonEncoder):
            start_comparison(module)

    def to_patch_order(self, features: Tensor, grid_thw: Tensor) -> Tensor:
        """Undo the window permutation of ``features`` (N, C): rows in the processor's order."""
        patch_size = self.config.patch_size
        assert isinstance(patch_size, int)
        window_index, _ = get_vision_window_index(
            grid_thw, self.spatial_merge_size, self.window_size, patch_size
        )
        cells = features.unflatten(0, (-1, self.spatial_merge_unit))
        return cells[torch.argsort(window_index)].flatten(0, 1)

    def compare(
        self, features: Sequence[Tensor], grid_thw: Tensor, pairs: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """Comparison tokens (len(pairs), L, D) and anomaly logits of (previous, current) pairs.

        features: per image (N, C) in patch order.
        """
        encoder = self.compare_visual_encoder
        if encoder is None:
            raise ValueError("this model has no Comparison Encoder (compare_token_size is 0)")
        rotary = waves = None
        sizes = [len(item) for item in features]
        position_ids = get_vision_position_ids(grid_thw, self.spatial_merge_size)
        if self.config.compare_patch_places:
            waves = patch_waves(position_ids.split(sizes), grid_thw)
        if self.config.compare_rope or self.config.compare_query_grid:
            cos, sin = self.rotary_pos_emb(features[0], position_ids)
            rotary = list(zip(cos.split(sizes), sin.split(sizes), strict=True))
        previous = pad_images([i for i, _ in pairs], features, rotary)
        current = pad_images([j for _, j in pairs], features, rotary, waves)
        anchors = None
        if self.config.compare_query_grid:
            grids = [grid_thw[j] for _, j in pairs]
            places = query_places(grids, self.config.compare_token_size)
            cos, sin = self.rotary_pos_emb(features[0], places.flatten(0, 1).to(grid_thw.device))
            anchors = (cos.unflatten(0, places.shape[:2]), sin.unflatten(0, places.shape[:2]))
        sides = [(rows, columns) for _, rows, columns in grid_thw.tolist()]
        tokens, logits = encoder(previous, current, anchors, [sides[j] for _, j in pairs])
        if logits is None:
            return tokens, None
        return tokens, tuple(
            row[: len(features[j])] for row, (_, j) in zip(logits, pairs, strict=True)
        )


class ADCopilotModel(Qwen2_5_VLModel):
    """Qwen2.5-VL's inner model with comparison tokens behind each image's own tokens."""

    config_class = ADCopilotConfig
    config: ADCopilotConfig

    def __init__(self, config: ADCopilotConfig) -> None:
        super(Qwen2_5_VLModel, self).__init__(config)
        self.visual = ADCopilotVisionTower._from_config(config.vision_config)
        self.language_model = Qwen2_5_VLTextModel._from_config(config.text_config)
        self.rope_deltas = None
        self.post_init()

    def get_image_features(
        self,
        pixel_values: Tensor,
        image_grid_thw: Tensor | None,
        *,
        images_per_sample: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> ImageFeatures:
        """Merged and comparison tokens of all images; without counts they are one sample's."""
        if image_grid_thw is None:
            raise ValueError("pixel_values need image_grid_thw, the patches of each image")
        outputs = self.visual(pixel_values.type(self.visual.dtype), grid_thw=image_grid_thw)
        sizes = image_grid_thw.prod(-1)
        merged = outputs.pooler_output.split((sizes // self.visual.spatial_merge_unit).tolist())
        features = self.visual.to_patch_order(outputs.last_hidden_state, image_grid_thw)
        patch_features = features.split(sizes.tolist())
        logits = None
        if self.visual.compare_visual_encoder is not None:
            counts = images_per_sample or [len(image_grid_thw)]
            pairs = pair_images(counts, sequence_compare=self.config.sequence_compare)
            tokens, logits = self.visual.compare(patch_features, image_grid_thw, pairs)
            merged = tuple(
                torch.cat([base, extra]) for base, extra in zip(merged, tokens, strict=True)
            )
        return ImageFeatures(
            last_hidden_state=outputs.last_hidden_state,
            pooler_output=merged,
            patch_features=patch_features,
            anomaly_logits=logits,
        )

    def get_video_features(self, *args: Any, **kwargs: Any) -> Any:
        """AD-Copilot compares still images; a video has no defined comparison (spec 3.2)."""
        raise ValueError("AD-Copilot takes still images; pass video frames as images")

    def images_per_sample(self, input_ids: Tensor) -> list[int]:
        """How many images each row of ``input_ids`` (B, T) holds: runs of image placeholders."""
        is_image = (input_ids == self.config.image_token_id).long()
        starts = is_image.diff(dim=1, prepend=is_image.new_zeros(len(is_image), 1)) == 1
        return [int(count) for count in starts.sum(1)]

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        mm_encoder_outputs: dict[str, ImageFeatures] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Stock forward, with the images encoded and compared sample by sample."""
        if pixel_values is not None:
            counts = None if input_ids is None else self.images_per_sample(input_ids)
            features = self.get_image_features(
                pixel_values, image_grid_thw, images_per_sample=counts
            )
            mm_encoder_outputs = {"image": features}
        return super().forward(
            input_ids=input_ids,
            image_grid_thw=image_grid_thw,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )

    def get_rope_index(  # type: ignore[override] # no videos
        self,
        input_ids: Tensor,
        mm_token_type_ids: Tensor,
        image_grid_thw: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Position ids (3, B, T) and deltas (B, 1), comparison tokens included (spec section 5)."""
        grids = iter([] if image_grid_thw is None else image_grid_thw.tolist())
        merge = self.config.vision.spatial_merge_size
        ids = torch.zeros(3, *input_ids.shape, dtype=torch.long)
        deltas = []
        for row, types in enumerate(mm_token_type_ids.cpu()):
            kept = torch.ones_like(types, dtype=torch.bool)
            if attention_mask is not None:
                kept = attention_mask[row].bool().cpu()
            spans: list[TextSpan | ImageSpan] = []
            for kind, group in groupby(types[kept].tolist()):
                length = len(list(group))
                if kind == 0:
                    spans.append(TextSpan(length))
                else:
                    _, rows, cols = next(grids)
                    cells = (rows // merge) * (cols // merge)
                    spans.append(ImageSpan(rows // merge, cols // merge, length - cells))
            positions = mrope_positions(spans, self.config.compare_position_mode)
            ids[:, row, kept] = torch.from_numpy(positions.ids)
            deltas.append(positions.maximum + 1 - int(kept.sum()))
        device = input_ids.device
        return ids.to(device), torch.tensor(deltas, device=device).unsqueeze(1)


class ADCopilotForConditionalGeneration(Qwen2_5_VLForConditionalGeneration):
    """AD-Copilot with its language-model head; the class that checkpoints load into."""

    config_class = ADCopilotConfig
    config: ADCopilotConfig

    def __init__(self, config: ADCopilotConfig) -> None:
        super(Qwen2_5_VLForConditionalGeneration, self).__init__(config)
        self.model = ADCopilotModel(config)
        self.lm_head = nn.Linear(config.text.hidden_size, config.text.vocab_size, bias=False)
        self.post_init()

    # The stock signature, by which ``generate`` knows what it may pass.
    @functools.wraps(Qwen2_5_VLForConditionalGeneration.forward)
    def forward(  # type: ignore[override] # it takes anything, which ``wraps`` hides
        self, *args: Any, batch: Batch | None = None, has_text: bool = True, **kwargs: Any
    ) -> Any:
        """Stock forward; of a training ``batch`` the ``Outputs`` that losses are made of."""
        if batch is not None:
            return run_batch(self, batch, has_text=has_text)
        return super().forward(*args, **kwargs)

    def _maybe_prepare_encoder_kwargs_for_generation(
        self, inputs_tensor: Tensor, model_kwargs: dict[str, Any], *args: Any
    ) -> dict[str, Any]:
        """Stock, with the images counted by row: ``generate`` encodes them without the ids.

        Without the counts all images of a batch would be compared as one sample's.
        """
        if model_kwargs.get("pixel_values") is not None:
            ids = model_kwargs.get("input_ids", inputs_tensor)
            model_kwargs["images_per_sample"] = self.model.images_per_sample(ids)
        stock: Any = super()
        prepared: dict[str, Any] = stock._maybe_prepare_encoder_kwargs_for_generation(
            inputs_tensor, model_kwargs, *args
        )
        return prepared


class YangJianForConditionalGeneration(ADCopilotForConditionalGeneration):
    """The same model under the name that older checkpoints carry."""

    config_class = YangJianConfig


for _class in (ADCopilotForConditionalGeneration, YangJianForConditionalGeneration):
    register_checkpoint_conversion_mapping(_class.__name__, renamings(), overwrite=True)
    AutoConfig.register(_class.config_class.model_type, _class.config_class, exist_ok=True)
    AutoModelForImageTextToText.register(_class.config_class, _class, exist_ok=True)
