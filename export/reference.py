"""What the torch checkpoint itself answers: the reference side of the parity ladder.

Runs transformers on the CPU with the model's own position ids and cache. The stages have the names
and shapes of :mod:`adcopilot_edge.runtime.ladder`.

The language model computes in float32, the vision side in float64: on trained nano weights, whose
features reach 138, torch's own float32 rounding is 1.8e-4, five times that of the exported graphs
(3.6e-5 against float64, 12 images), and would hide a real error of theirs.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.streamed import streamed_model
from adcopilot_edge.export.windows import patch_indices
from adcopilot_edge.manifest import Manifest
from adcopilot_edge.prompt import IMAGE_TOKEN
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.training.model import ImageFeatures
from adcopilot_edge.types import ImageArray, IntArray, Task

VISION_DTYPE = torch.float64


class TorchReference:
    """The checkpoint's model, ready to answer for pairs of images of the bundle's size.

    Args:
        checkpoint: The weights.
        manifest: The bundle that is to be proven: prompt, token ids, image size.
        tokenizer: The checkpoint's tokenizer.
        budget_bytes: Memory for weights that stay between two calls (see ``streamed_model``).
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        manifest: Manifest,
        tokenizer: Tokenizer,
        *,
        budget_bytes: int,
    ) -> None:
        self._manifest = manifest
        self._tokenizer = tokenizer
        # The constants are the manifest's; the steps are upstream's, which is what the stage
        # "patches" is to prove.
        self._processor = Qwen2VLImageProcessorPil(
            do_resize=False,
            image_mean=list(manifest.preprocessing.image_mean),
            image_std=list(manifest.preprocessing.image_std),
            patch_size=manifest.model.patch_size,
            temporal_patch_size=manifest.model.temporal_patch_size,
            merge_size=manifest.model.merge_size,
        )
        self._model = streamed_model(
            checkpoint, budget_bytes=budget_bytes, vision_dtype=VISION_DTYPE
        )

    @torch.inference_mode()
    def stages(
        self, golden: ImageArray, test: ImageArray, *, max_new_tokens: int
    ) -> dict[str, AnyArray]:
        """The expected output of every stage for one pair, images (H, W, 3) uint8."""
        inputs = self._processor(images=[golden, test], return_tensors="pt")
        patches, grid = inputs["pixel_values"], inputs["image_grid_thw"]
        features = self._model.model.get_image_features(patches, grid, images_per_sample=[2])
        logits, _ = self._read(self._ids("verdict"), features, grid)
        tokens = self._manifest.tokens
        is_anomaly = bool(logits[tokens.yes] >= logits[tokens.no])
        return {
            "patches": patches[len(patches) // 2 :].numpy(),
            **self._vision_stages(features),
            "logits": logits.numpy(),
            "greedy_ids": self._answer("describe", features, grid, max_new_tokens),
            "verdict": np.array(is_anomaly, dtype=np.int64),
        }

    def _vision_stages(self, features: ImageFeatures) -> dict[str, AnyArray]:
        """What the vision side made of the test image, the second of the pair."""
        assert features.patch_features is not None
        assert features.pooler_output is not None
        model = self._manifest.model
        merged = features.pooler_output[1].float()
        stages: dict[str, AnyArray] = {
            "features": features.patch_features[1].float().numpy(),
            "tokens": merged[: model.num_merged].numpy(),
        }
        if model.compare_token_size:
            stages["comparison_tokens"] = merged[model.num_merged :].numpy()
        if features.anomaly_logits is not None:
            raster = patch_indices(*model.grid, model.merge_size)
            stages["anomaly_logits"] = features.anomaly_logits[1].float().numpy()[raster]
        return stages

    def _ids(self, task: Task) -> Tensor:
        """The prompt's ids (1, T): its three texts tokenized apart, placeholders multiplied."""
        prompt, model = self._manifest.prompt, self._manifest.model
        copies = model.num_merged + model.compare_token_size
        ids: list[int] = []
        for text in (prompt.golden, prompt.test, prompt.ask_task(task)):
            expanded = text.replace(IMAGE_TOKEN, IMAGE_TOKEN * copies)
            ids += self._tokenizer.encode(expanded, add_special_tokens=False).ids
        return torch.tensor([ids])

    def _read(self, ids: Tensor, features: ImageFeatures, grid: Tensor) -> tuple[Tensor, object]:
        """The logits (V,) behind the prompt, and the model's cache."""
        output = self._model(
            input_ids=ids,
            mm_encoder_outputs={"image": features},
            image_grid_thw=grid,
            mm_token_type_ids=(ids == self._manifest.tokens.image).int(),
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[0, -1], output.past_key_values

    def _answer(
        self, task: Task, features: ImageFeatures, grid: Tensor, max_new_tokens: int
    ) -> IntArray:
        """The greedy answer's ids, its end token included."""
        end: Collection[int] = self._manifest.tokens.end
        logits, cache = self._read(self._ids(task), features, grid)
        ids = [int(logits.argmax())]
        while ids[-1] not in end and len(ids) < max_new_tokens:
            output = self._model(
                input_ids=torch.tensor([ids[-1:]]), past_key_values=cache, use_cache=True
            )
            ids.append(int(output.logits[0, -1].argmax()))
        return np.array(ids, dtype=np.int64)
