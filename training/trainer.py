"""One stage of a recipe as a run of transformers' Trainer, on one device or many.

What differs from the stock class: the loss is ours and is the same for any number of devices,
checkpoints are those of the whole run, and what happens is told as events. Knows no recipe's other
stages and no files of data.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import save_fsdp_optimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.checkpoint import Progress, write_checkpoint
from adcopilot_edge.training.data import SampleBuilder
from adcopilot_edge.training.forward import to_device
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.objective import (
    loss_counts,
    loss_sums,
    loss_weights,
    named_losses,
)
from adcopilot_edge.training.parts import trainable
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import OptimizerRecipe, TrainRecipe
from adcopilot_edge.training.schedule import RunSchedule, StagePlan, rate_share
from adcopilot_edge.training.shards import shard_on_cpu

Report = Callable[[dict[str, Any]], None]
Evaluate = Callable[[nn.Module, int], None]


@dataclass(frozen=True, slots=True)
class StageRun:
    """What a stage needs to know of the run it is a part of.

    evaluate: scores a model at a step of the run and tells so itself; every process calls it.
    report: takes events; those of one process count.
    """

    folder: Path
    recipe: TrainRecipe
    plan: StagePlan
    processor: ADCopilotProcessor
    builder: SampleBuilder
    evaluate: Evaluate
    report: Report


class StageTrainer(Trainer):
    """Trains ``model`` through one stage."""

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        run: StageRun,
        model: ADCopilotForConditionalGeneration,
        args: TrainingArguments,
        dataset: Dataset[Any],
    ) -> None:
        self._run = run
        self._weights = loss_weights(run.plan.stage.loss)
        self._losses = torch.zeros_like(self._weights)
        self._counts = torch.zeros_like(self._weights)
        self._started, self._first_step = time.monotonic(), 0
        super().__init__(
            model=model,
            args=args,
            train_dataset=dataset,
            data_collator=lambda samples: {"batch": run.builder.batch(samples)},
            callbacks=[RunSchedule(run.recipe.schedule, run.plan)],
        )
        self.remove_callback(PrinterCallback)

    def create_accelerator_and_postprocess(self) -> None:
        """As the stock class, and shards on processors too."""
        super().create_accelerator_and_postprocess()
        self.is_fsdp_enabled = shard_on_cpu(self.accelerator, self.args) or self.is_fsdp_enabled

    @property
    def run_step(self) -> int:
        """Optimizer steps of the whole run."""
        return self._run.plan.first_step + self.state.global_step

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW as the recipe has it; called before the model is wrapped."""
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.model, self._run.plan, self._run.recipe.optimizer)
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Warm-up and cosine; the rate of step ``i`` is set once ``i - 1`` steps are done."""
        stage = self._run.plan.stage
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,
                lambda done: rate_share(
                    done + 1, warmup_steps=stage.rise(), steps=stage.steps
                ),
            )
        self._started, self._first_step = time.monotonic(), self.state.global_step
        return self.lr_scheduler

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        """What divides the sums of losses: the counts of the step's batches on all devices."""
        counts = torch.stack([loss_counts(item["batch"]) for item in batch_samples]).sum(0)
        counts = self.accelerator.reduce(counts.to(device), reduction="sum")
        self._losses = torch.zeros_like(self._losses, device=device)
        self._counts = counts
        return counts

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"batch": to_device(inputs["batch"], self.args.device)}

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The weighted loss of a batch, as its part of the step's.

        Raises ConfigError when it is no number.
        """
        stage = self._run.plan.stage
        outputs = model(batch=inputs["batch"], has_text=stage.loss.has_text)
        sums = loss_sums(outputs, inputs["batch"].targets)
        losses = sums / self._counts.clamp(min=1)
        self._losses += losses.detach()
        self._weights = self._weights.to(losses.device)
        total = (losses * self._weights).sum()
        if not torch.isfinite(total):
            raise ConfigError(
                f"the loss is {total.item()} at step {self.state.global_step + 1} of stage "
                f"{stage.name}; lower its learning_rate and start anew"
            )
        # Gradients are averaged over devices, while the parts of a step's loss add up.
        total = total * self.accelerator.num_processes
        return (total, outputs) if return_outputs else total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Tell of a step; the sums that the stock class logs at the end are left out."""
        if "loss" not in logs:
            return
        losses = self.accelerator.reduce(self._losses.clone(), reduction="sum")
        stage = self._run.plan.stage
        pairs = (self.state.global_step - self._first_step) * stage.batch_size
        self._run.report(
            {
                "event": "step",
                "step": self.run_step,
                "pairs_per_s": round(pairs / (time.monotonic() - self._started), 2),
                "learning_rate": logs["learning_rate"],
                "grad_norm": round(logs["grad_norm"], 4),
                "loss": named_losses(losses, self._counts, has_text=stage.loss.has_text),
            }
        )

    def _evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        self._run.evaluate(self.model, self.run_step)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, {})
        return {}

    def _determine_best_metric(self, *_: Any, **__: Any) -> bool:
        return False

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        run, state = self._run, self.state
        progress = Progress(self.run_step, run.plan.number, state.global_step)
        with write_checkpoint(
            run.folder,
            progress,
            run.recipe,
            is_writer=self.args.should_save,
            wait=self.accelerator.wait_for_everyone,
        ) as folder:
            self._save_weights(folder)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_rng_state(str(folder))
            if self.args.should_save:
                state.save_to_json(str(folder / TRAINER_STATE_NAME))
        path = run.folder / f"checkpoint-{progress.step}"
        run.report({"event": "checkpoint", "step": progress.step, "path": str(path)})

    def _save_weights(self, folder: Path) -> None:
        """A whole Hugging Face folder, from whatever holds the weights."""
        weights = self.accelerator.get_state_dict(self.model)
        if self.args.should_save:
            model = self.accelerator.unwrap_model(self.model)
            model.save_pretrained(folder, state_dict=weights)
            self._run.processor.save_pretrained(folder)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        # The stock class would store the weights a second time.
        plugin = self.accelerator.state.fsdp_plugin
        save_fsdp_optimizer(plugin, self.accelerator, self.optimizer, self.model, output_dir)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_from_checkpoint(self, *_: Any, **__: Any) -> None:
        """Nothing: the stage was given a model with the checkpoint's weights."""


def make_optimizer(
    model: nn.Module, plan: StagePlan, recipe: OptimizerRecipe
) -> torch.optim.Optimizer:
    """AdamW over what learns; norms, biases and the learned queries without weight decay."""
    matrices = [p for name, p in trainable(model) if p.ndim >= 2 and "query" not in name]
    others = [p for name, p in trainable(model) if p.ndim < 2 or "query" in name]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=plan.stage.learning_rate,
        betas=recipe.betas,
    )
