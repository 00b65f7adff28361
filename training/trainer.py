"""One stage of a recipe as a run of transformers' Trainer, on one device or many.

What differs from the stock class: the loss is ours and is the same for any number of devices,
checkpoints are those of the whole run, and what happens is told as events. Knows no recipe's other
stages and no files of data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Sampler, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.batch import Sample
from adcopilot_edge.training.checkpoint import Progress, checkpoint_path, write_checkpoint
from adcopilot_edge.training.cpu_sharding import save_optimizer, shard_on_cpu
from adcopilot_edge.training.forward import to_device
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.objective import loss_counts, loss_sums, loss_weights, named_losses
from adcopilot_edge.training.optimizer import make_optimizer
from adcopilot_edge.training.order import LengthGroupedOrder
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.sample_builder import SampleBuilder
from adcopilot_edge.training.schedule import RunSchedule, StagePlan, rate_share
from adcopilot_edge.training.stage_data import StageData
from adcopilot_edge.training.stage_weights import save_weights

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
        data: StageData,
    ) -> None:
        self._run = run
        self._stage = run.plan.stage
        self._weights = loss_weights(self._stage.loss)
        self._losses = torch.zeros_like(self._weights)
        self._counts = torch.zeros_like(self._weights)
        self._started, self._first_step = time.monotonic(), 0
        super().__init__(
            model=model,
            args=args,
            train_dataset=data,
            data_collator=_Collator(run.builder),
            callbacks=[RunSchedule(run.recipe.schedule, run.plan)],
        )
        self.remove_callback(PrinterCallback)

    def create_accelerator_and_postprocess(self) -> None:
        """As the stock class, and shards on processors too."""
        super().create_accelerator_and_postprocess()
        self.is_fsdp_enabled = shard_on_cpu(self.accelerator, self.args) or self.is_fsdp_enabled

    @property
    def _learner(self) -> nn.Module:
        assert isinstance(self.model, nn.Module)
        return self.model

    @property
    def run_step(self) -> int:
        """Optimizer steps of the whole run."""
        return self._run.plan.first_step + self.state.global_step

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW as the recipe has it; called before the model is wrapped."""
        if self.optimizer is None:
            self.optimizer = make_optimizer(self._learner, self._stage, self._run.recipe.optimizer)
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Warm-up and cosine; the rate of step ``i`` is set once ``i - 1`` steps are done."""
        rise, steps = self._stage.rise(), self._stage.steps
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(
                optimizer or self.create_optimizer(),
                lambda done: rate_share(done + 1, warmup_steps=rise, steps=steps),
            )
        self._started, self._first_step = time.monotonic(), self.state.global_step
        return self.lr_scheduler

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        data = self.train_dataset
        assert isinstance(data, StageData)
        if not self._stage.group_by_length:
            return SequentialSampler(data)
        return LengthGroupedOrder(len(data), self._stage.batch_size, self.args.seed, data.length)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        """What divides the sums of losses: the counts of the step's batches on all devices."""
        counts = torch.stack([loss_counts(item["batch"]) for item in batch_samples]).sum(0)
        self._counts = self.accelerator.reduce(counts.to(device), reduction="sum")
        self._losses = torch.zeros_like(self._losses, device=device)
        self._weights = self._weights.to(device)
        return self._counts

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
        batch = inputs["batch"]
        outputs = model(batch=batch, has_text=self._stage.loss.has_text)
        losses = loss_sums(
            outputs, batch, even_defects=self._stage.loss.even_defects
        ) / self._counts.clamp(min=1)
        self._losses += losses.detach()
        total = (losses * self._weights).sum()
        if not torch.isfinite(total):
            raise ConfigError(
                f"the loss is {total.item()} at step {self.state.global_step + 1} of stage "
                f"{self._stage.name}; lower its learning_rate and start anew"
            )
        # Gradients are averaged over devices, while the parts of a step's loss add up.
        total = total * self.accelerator.num_processes
        return (total, outputs) if return_outputs else total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Tell of a step; what the stock class sums up at the end is left out."""
        if "loss" not in logs:
            return
        losses = self.accelerator.reduce(self._losses.clone(), reduction="sum")
        pairs = (self.state.global_step - self._first_step) * self._stage.batch_size
        self._run.report(
            {
                "event": "step",
                "step": self.run_step,
                "pairs_per_s": round(pairs / (time.monotonic() - self._started), 2),
                "learning_rate": float(f"{logs['learning_rate']:.4g}"),
                "grad_norm": round(logs["grad_norm"], 4),
                "loss": named_losses(losses, self._counts, has_text=self._stage.loss.has_text),
            }
        )

    def _evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        self._run.evaluate(self._learner, self.run_step)
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
            weights = self.accelerator.get_state_dict(self.model)
            if self.args.should_save:
                plain = self.accelerator.unwrap_model(self.model)
                is_last = state.global_step == self._stage.steps
                save_weights(folder, plain, weights, self._stage, is_last=is_last)
                run.processor.save_pretrained(folder)
                state.save_to_json(str(folder / TRAINER_STATE_NAME))
            self._save_optimizer_and_scheduler(str(folder))
            self._save_rng_state(str(folder))
        path = checkpoint_path(run.folder, progress.step)
        run.report({"event": "checkpoint", "step": progress.step, "path": str(path)})

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        # The stock class would store the weights a second time.
        save_optimizer(self.accelerator, self.create_optimizer(), self._learner, output_dir)
        if self.args.should_save and self.lr_scheduler is not None:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_from_checkpoint(self, *_: Any, **__: Any) -> None:
        """Nothing: the stage was given a model with the checkpoint's weights."""


@dataclass(frozen=True, slots=True)
class _Collator:
    """Samples to the one argument of the model's forward."""

    builder: SampleBuilder

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        return {"batch": self.builder.batch(samples)}
