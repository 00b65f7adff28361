"""trl's GRPOTrainer for AD-Copilot, and only what it can't carry by itself.

Two images a prompt, their placeholders with the comparison slots, ``generate`` and the positions of
what is scored all come out right by themselves: the rows hold messages with places for images, our
processor fills them, and the model finds the images of a row and their positions from its ids. The
prompts must be padded on the left, which is a setting of the tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from datasets import Dataset
from peft import PeftConfig
from transformers import PreTrainedModel
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.processor import ADCopilotProcessor


class PairGrpoTrainer(GRPOTrainer):
    """GRPOTrainer with four corrections for our classes.

    - The reference of a model that learns in full. trl would load it from the folder that the model
      came from, by its class's name in transformers, where it is not; it is a copy here. With
      adapters the model without them is the reference, as in trl.
    - Loading the weights of a full model when a run is resumed. transformers would fill them in by
      their names on disk, which are not those in memory, and pass over all that do not fit.
    - Figures of a kind of prompt that a step had none of are left out of the log, where trl has
      None, which TensorBoard complains of.
    - No model card beside each checkpoint: it would speak of a model on the hub.
    """

    def __init__(
        self,
        model: ADCopilotForConditionalGeneration,
        processor: ADCopilotProcessor,
        *,
        args: GRPOConfig,
        rewards: Sequence[Callable[..., list[float | None]]],
        rows: Dataset,
        adapters: PeftConfig | None = None,
    ) -> None:
        beta: float = args.beta
        reference = deepcopy(model) if beta and adapters is None else None
        if reference is not None:
            args.beta = 0.0  # so that trl loads none
        processor.tokenizer.padding_side = "left"
        super().__init__(
            model=model,
            reward_funcs=list(rewards),
            args=args,
            train_dataset=rows,
            processing_class=processor,
            peft_config=adapters,
        )
        if reference is not None:
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                raise ConfigError("a full model's reference can't be sharded: use lora, or beta 0")
            reference.requires_grad_(False).eval()
            add_fused_lm_head(reference, temperature=args.temperature)
            self.ref_model = self.accelerator.prepare_model(reference, evaluation_mode=True)
            self.beta = args.beta = beta

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        chosen = model if model is not None else self.model
        if not isinstance(chosen, PreTrainedModel) or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = type(chosen).from_pretrained(resume_from_checkpoint, dtype=chosen.dtype)
        chosen.load_state_dict(saved.state_dict())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """See ``Trainer.log``."""
        assert self.model is not None
        figures = self._metrics["train" if self.model.training else "eval"]
        for name in [name for name, values in figures.items() if all(map(math.isnan, values))]:
            del figures[name]
        super().log(logs, start_time)

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Write none."""
