"""What the torch checkpoint itself answers: the reference side of the parity ladder.

Runs transformers on the CPU with the model's own position ids and cache. The stages have the names
and shapes of :mod:`adcopilot_edge.runtime.ladder`.

The language model computes in float32, the vision side in float64: on trained nano weights, whose
features reach 138, torch's own float32 rounding is 1.8e-4, five times that of the exported graphs
(3.6e-5 against float64, 12 images), and would hide a real error of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.describe import Description
from adcopilot_edge.export.grams import LayerCall, capture_call
from adcopilot_edge.export.streamed import streamed_model
from adcopilot_edge.export.vision import probe_rows
from adcopilot_edge.export.windows import map_of_cells, patch_indices
from adcopilot_edge.manifest import Manifest
from adcopilot_edge.prompt import IMAGE_TOKEN
from adcopilot_edge.runtime.ladder import Stages
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.training.model import ImageFeatures
from adcopilot_edge.types import FloatArray, ImageArray, IntArray, Task

VISION_DTYPE = torch.float64


@dataclass(frozen=True, slots=True)
class Seen:
    """Images as the language model sees them, and their grids of patches (images, 3)."""

    features: ImageFeatures
    grid: Tensor


class TorchReference:
    """The checkpoint's model, ready to answer for pairs of images.

    Args:
        checkpoint: The weights.
        description: Prompt, token ids and image size; a manifest has them all.
        tokenizer: The checkpoint's tokenizer.
        budget_bytes: Memory for weights that stay between two calls (see ``streamed_model``).
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        description: Description | Manifest,
        tokenizer: Tokenizer,
        *,
        budget_bytes: int,
    ) -> None:
        self._description = description
        self._tokenizer = tokenizer
        model = description.model
        # The constants are the manifest's; the steps are upstream's, which is what the stages
        # "resize" and "patches" are to prove.
        self._processor = Qwen2VLImageProcessorPil(
            do_resize=False,
            image_mean=list(description.preprocessing.image_mean),
            image_std=list(description.preprocessing.image_std),
            patch_size=model.patch_size,
            temporal_patch_size=model.temporal_patch_size,
            merge_size=model.merge_size,
        )
        self._size = SizeDict(height=model.image_height, width=model.image_width)
        self.model = streamed_model(
            checkpoint, budget_bytes=budget_bytes, vision_dtype=VISION_DTYPE
        )

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The layers of the language model; the weights of one come when it runs."""
        return list(self.model.model.language_model.layers)

    @torch.inference_mode()
    def layer_call(self, golden: ImageArray, test: ImageArray) -> LayerCall:
        """A pair and the question ``describe`` before the first of ``layers``."""
        _, patches, grid = self._patches(golden, test)
        features = self.model.model.get_image_features(patches, grid, images_per_sample=[2])
        return capture_call(
            self.layers[0],
            lambda: self._read(self._ids(*self._task("describe")), features, grid, use_cache=False),
        )

    @torch.inference_mode()
    def look_at(self, *images: ImageArray) -> Seen:
        """What the vision side makes of images (H, W, 3) uint8, in the order of a prompt.

        Each is compared with the one before it, the first with itself.
        """
        _, patches, grid = self._patches(*images)
        count = len(images)
        return Seen(
            self.model.model.get_image_features(patches, grid, images_per_sample=[count]), grid
        )

    @torch.inference_mode()
    def first_logits(self, seen: Seen, *texts: str) -> FloatArray:
        """The logits (V,) of the first token of an answer.

        Args:
            seen: The images of the prompt.
            *texts: The prompt, one placeholder an image.
        """
        logits, _ = self._read(self._ids(*texts), seen.features, seen.grid)
        return logits.float().numpy()

    @torch.inference_mode()
    def answer(self, seen: Seen, *texts: str, max_new_tokens: int) -> str:
        """The greedy answer in words; the arguments are those of ``first_logits``."""
        ids = self._answer(self._ids(*texts), seen.features, seen.grid, max_new_tokens)
        return self._tokenizer.decode(ids.tolist(), skip_special_tokens=True).strip()

    @torch.inference_mode()
    def stages(
        self, golden: ImageArray, test: ImageArray, *, max_new_tokens: int, threshold: float = 0.5
    ) -> Stages:
        """The expected output of every stage for one pair, images (H, W, 3) uint8 of any size.

        threshold: the score, 0..1, from which on the test image is an anomaly.
        """
        resized, patches, grid = self._patches(golden, test)
        with self._probed(grid) as probes:
            features = self.model.model.get_image_features(patches, grid, images_per_sample=[2])
        logits, _ = self._read(self._ids(*self._task("verdict")), features, grid)
        tokens = self._description.tokens
        margin = float(logits[tokens.yes] - logits[tokens.no])
        is_anomaly = margin >= math.log(threshold / (1.0 - threshold))
        return {
            "resize": resized,
            "patches": patches[len(patches) // 2 :].numpy(),
            **probes,
            **self._vision_stages(features),
            "logits": logits.numpy(),
            "greedy_ids": self._answer(
                self._ids(*self._task("describe")), features, grid, max_new_tokens
            ),
            "verdict": np.array(is_anomaly, dtype=np.int64),
        }

    def _patches(self, *pictures: ImageArray) -> tuple[ImageArray, Tensor, Tensor]:
        """The last image at the model's size, the patches (N, 1176) of all in a row, the grids."""
        # Upstream's own resize, but for its choice of a size: the model's is fixed.
        resize = super(Qwen2VLImageProcessorPil, self._processor).resize
        images = [
            resize(
                image.transpose(2, 0, 1), size=self._size, resample=PILImageResampling.BICUBIC
            ).transpose(1, 2, 0)
            for image in pictures
        ]
        inputs = self._processor(images=images, return_tensors="pt")
        return images[-1], inputs["pixel_values"], inputs["image_grid_thw"]

    @contextmanager
    def _probed(self, grid: Tensor) -> Iterator[dict[str, AnyArray]]:
        """Keeps, of the test image, the rows that the bundle's probes have; no more of a block."""
        tower = self.model.model.visual
        num_patches = self._description.model.num_patches
        rows = num_patches + probe_rows(num_patches)  # the test image is the second
        found: dict[str, AnyArray] = {}

        def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
            def pick(_: nn.Module, __: object, output: Tensor) -> None:
                # The patch embedding comes before the tower sorts its patches by window.
                ordered = output if name == "patch_embed" else tower.to_patch_order(output, grid)
                found[name] = ordered[rows].float().numpy()

            return pick

        named = {"patch_embed": tower.patch_embed}
        named.update({f"block_{index}": block for index, block in enumerate(tower.blocks)})
        handles = [module.register_forward_hook(keep(name)) for name, module in named.items()]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()

    def _vision_stages(self, features: ImageFeatures) -> dict[str, AnyArray]:
        """What the vision side made of the test image, the second of the pair."""
        assert features.patch_features is not None
        assert features.pooler_output is not None
        model = self._description.model
        merged = features.pooler_output[1].float()
        stages: dict[str, AnyArray] = {
            "features": features.patch_features[1].float().numpy(),
            "tokens": merged[: model.num_merged].numpy(),
        }
        if model.compare_token_size:
            stages["comparison_tokens"] = merged[model.num_merged :].numpy()
        if features.anomaly_logits is not None:
            both = features.anomaly_logits[1].float().numpy()
            cells, types = np.split(both, [both.shape[1] - len(model.map_types)], axis=1)
            stages["anomaly_logits"] = map_of_cells(cells, model.grid, model.merge_size)
            if model.map_types:
                raster = patch_indices(*model.grid, model.merge_size).ravel()
                stages["type_logits"] = types[raster].reshape(*model.grid, -1)
        return stages

    def _task(self, task: Task) -> tuple[str, str, str]:
        """The prompt of a task about a pair, in its three texts."""
        prompt = self._description.prompt
        return prompt.golden, prompt.test, prompt.ask_task(task)

    def _ids(self, *texts: str) -> Tensor:
        """The ids (1, T) of a prompt: its texts tokenized apart, placeholders multiplied."""
        model = self._description.model
        copies = model.num_merged + model.compare_token_size
        ids: list[int] = []
        for text in texts:
            expanded = text.replace(IMAGE_TOKEN, IMAGE_TOKEN * copies)
            ids += self._tokenizer.encode(expanded, add_special_tokens=False).ids
        return torch.tensor([ids])

    def _read(
        self, ids: Tensor, features: ImageFeatures, grid: Tensor, *, use_cache: bool = True
    ) -> tuple[Tensor, object]:
        """The logits (V,) behind the prompt, and the model's cache."""
        output = self.model(
            input_ids=ids,
            mm_encoder_outputs={"image": features},
            image_grid_thw=grid,
            mm_token_type_ids=(ids == self._description.tokens.image).int(),
            use_cache=use_cache,
            logits_to_keep=1,
        )
        return output.logits[0, -1], output.past_key_values

    def _answer(
        self, prompt: Tensor, features: ImageFeatures, grid: Tensor, max_new_tokens: int
    ) -> IntArray:
        """The greedy answer's ids, its end token included."""
        end: Collection[int] = self._description.tokens.end
        logits, cache = self._read(prompt, features, grid)
        ids = [int(logits.argmax())]
        while ids[-1] not in end and len(ids) < max_new_tokens:
            output = self.model(
                input_ids=torch.tensor([ids[-1:]]), past_key_values=cache, use_cache=True
            )
            ids.append(int(output.logits[0, -1].argmax()))
        return np.array(ids, dtype=np.int64)
