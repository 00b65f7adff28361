"""The processor: images to patches, text to ids, each image placeholder with its comparison slots.

Only still images: the stock video parts need torchvision and have no defined comparison.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoProcessor
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.processing_utils import ProcessorMixin

from adcopilot_edge.training.config import ADCopilotConfig, YangJianConfig


class ADCopilotProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor whose image placeholders make room for comparison tokens (spec 4).

    compare_token_size: extra placeholders an image, 100 where a released ``processor_config.json``
    does not say; must equal the model's.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        compare_token_size: int = 100,
    ) -> None:
        self.compare_token_size = compare_token_size
        self.image_token = "<|image_pad|>"
        self.video_token = "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The parts that are saved and loaded: no video processor."""
        return ["image_processor", "tokenizer"]

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        """As many placeholders as the image has merged cells and comparison tokens."""
        cells = image_inputs["image_grid_thw"][image_idx].prod()
        merged = int(cells) // self.image_processor.merge_size**2
        return self.image_token * (merged + self.compare_token_size)


for _config_class in (ADCopilotConfig, YangJianConfig):
    AutoProcessor.register(_config_class, ADCopilotProcessor, exist_ok=True)
