"""Stage 3: GRPO on questions whose answers can be checked, with trl's trainer.

From a checkpoint of ours and prompts to a checkpoint that ``export`` takes. The language model
learns, by adapters or in full; tower and Comparison Encoder stay as they are unless they are named.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType
from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback
from transformers.integrations.integration_utils import TensorBoardCallback
from trl.trainer.grpo_config import GRPOConfig

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.record import tell_changes
from adcopilot_edge.training.arguments import keep_one_device
from adcopilot_edge.training.curves import LOG_NAME
from adcopilot_edge.training.grpo_evaluation import Evaluation
from adcopilot_edge.training.grpo_log import GrpoEvents, Report, Rewards
from adcopilot_edge.training.grpo_prompts import Prompts, as_dataset
from adcopilot_edge.training.grpo_recipe import GrpoRun
from adcopilot_edge.training.grpo_trainer import PairGrpoTrainer
from adcopilot_edge.training.image_rule import taking_any_size
from adcopilot_edge.training.lora import lora_config
from adcopilot_edge.training.lora_recipe import LoraRecipe
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.model_parts import train_only, trainable
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.schedule import LAST_RATE

CHECKPOINT_NAME = "checkpoint"
_TRAINER_NAME = "trainer"
_SETTINGS_NAME = "grpo.json"


@dataclass(frozen=True, slots=True)
class GrpoResult:
    """The end of a run: its checkpoint, and the held-out scores before and after, if asked for."""

    checkpoint: Path
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def train_grpo(
    checkpoint: Path,
    prompts: Prompts,
    settings: GrpoRun,
    run: Path,
    *,
    held_out: Prompts | None = None,
    resume: bool = False,
    report: Report = lambda event: None,
) -> GrpoResult:
    """Train the model in ``checkpoint`` in the folder ``run``.

    held_out: answered greedily before, between and after. report: called with one JSON-able event
    at a time; the same events are appended to ``run/log.jsonl``, and the trainer's own figures go
    to TensorBoard files. A resumed run draws the answers that an uninterrupted one would have.

    Raises ConfigError when ``run`` holds another run and ``resume`` is false, or when it was begun
    with other settings; when the completions of a step do not divide among the devices.
    """
    last = _prepare_folder(run, checkpoint, settings, resume=resume)
    # As in other stages: where nothing but adapters learns, what is frozen keeps its type.
    is_half = settings.is_bf16 and not settings.trains
    dtype: Any = "auto" if is_half else torch.float32
    model = ADCopilotForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype)
    processor = taking_any_size(ADCopilotProcessor.from_pretrained(checkpoint))
    with known_warnings():
        args = trainer_arguments(settings, run)
        rewards = Rewards(
            settings.grpo,
            run,
            every=settings.samples_every_steps,
            is_writer=args.process_index == 0,
        )
        args.reward_weights = rewards.weights
        if settings.lora is None:
            train_only(model, settings.trains)
        trainer = PairGrpoTrainer(
            model,
            processor,
            args=args,
            rewards=rewards.functions,
            rows=as_dataset(
                prompts,
                count=-(-settings.steps // settings.grpo.iterations) * settings.prompts_per_step,
                seed=settings.seed,
                at_once=settings.prompts_per_step,
            ),
            adapters=adapters_of(settings.lora) if settings.lora else None,
        )
        learner = trainer.model
        assert learner is not None
        trainer.remove_callback(PrinterCallback)  # the events say it
        log = _log_to(run / LOG_NAME, report)
        trainer.add_callback(GrpoEvents(log))
        if args.process_index == 0:
            # A writer of its own: by itself the callback goes where the process once said.
            trainer.add_callback(TensorBoardCallback(SummaryWriter(str(run / "tensorboard"))))
        evaluation = None
        if held_out is not None and settings.evaluation_prompts:
            evaluation = Evaluation(learner, processor, held_out, settings, log)
            trainer.add_callback(evaluation)
        if args.process_index == 0:
            log(
                {
                    "event": "start",
                    "step": _step_of(last),
                    "steps": settings.steps,
                    "learning": sum(item.numel() for _, item in trainable(learner)),
                    "rewards": dict(zip(trainer.reward_func_names, rewards.weights, strict=True)),
                }
            )
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    target = run / CHECKPOINT_NAME
    if args.process_index == 0:
        learnt = trainer.accelerator.unwrap_model(learner)
        if isinstance(learnt, PeftModel):
            learnt = learnt.merge_and_unload()
        _save(learnt, checkpoint, target)
        log({"event": "done", "step": settings.steps, "path": str(target)})
    return GrpoResult(
        checkpoint=target,
        before=evaluation.first if evaluation else None,
        after=evaluation.last if evaluation else None,
    )


def trainer_arguments(settings: GrpoRun, run: Path) -> GRPOConfig:
    """The arguments of trl's trainer for ``settings``, still without the weights of the rewards.

    Raises ConfigError when the completions of a step do not divide among the devices.
    """
    grpo = settings.grpo
    world = int(os.environ.get("WORLD_SIZE", "1"))
    accumulation = settings.accumulation(world)
    arguments = GRPOConfig(
        output_dir=str(run / _TRAINER_NAME),
        seed=settings.seed,
        use_cpu=not torch.cuda.is_available(),
        bf16=settings.is_bf16,
        activation_checkpointing=settings.gradient_checkpointing,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.device_batch_size,
        gradient_accumulation_steps=accumulation,
        num_generations=grpo.group_size,
        num_iterations=grpo.iterations,
        shuffle_dataset=False,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": LAST_RATE},
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch",
        loss_type="grpo",
        beta=grpo.beta,
        epsilon=grpo.epsilon,
        temperature=grpo.temperature,
        top_p=grpo.top_p,
        max_completion_length=grpo.max_new_tokens,
        logging_steps=settings.log_every_steps,
        save_steps=settings.checkpoint_every_steps,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
    )
    keep_one_device(arguments)
    return arguments


def adapters_of(recipe: LoraRecipe) -> LoraConfig:
    """The adapters as trl puts them around a model, where other stages put them into it."""
    config = lora_config(recipe)
    config.task_type = TaskType.CAUSAL_LM
    return config


def _prepare_folder(run: Path, start: Path, settings: GrpoRun, *, resume: bool) -> Path | None:
    """The trainer's last whole checkpoint in ``run``, or None for a run from the beginning."""
    # From the run's folder, so that both may be moved together.
    stored = {
        "start": os.path.relpath(start.resolve(), run.resolve()),
        **settings.model_dump(mode="json"),
    }
    path = run / _SETTINGS_NAME
    if not path.exists():
        run.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(json.dumps(stored, indent=2).encode() + b"\n")
        return None
    if not resume:
        raise ConfigError(f"{run} holds a run of GRPO; pass --resume or choose another --out")
    before = json.loads(path.read_text(encoding="utf-8"))
    if changed := tell_changes({**before, **_schedule_of(stored)}, stored):
        raise ConfigError(f"{run} was begun with other settings: {changed}; choose another --out")
    found = filter(_is_whole, (run / _TRAINER_NAME).glob("checkpoint-*"))
    return max(found, key=_step_of, default=None)


def _schedule_of(stored: dict[str, Any]) -> dict[str, Any]:
    """What may change in a run that goes on: how often it says, keeps and scores something."""
    return {name: stored[name] for name in stored if name.endswith("_every_steps")}


def _step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def _is_whole(checkpoint: Path) -> bool:
    """Whether the trainer finished writing: the file that it writes last can be read."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _save(model: ADCopilotForConditionalGeneration, start: Path, target: Path) -> None:
    """Write the model and the processor that it came with to ``target``, whole or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    ADCopilotProcessor.from_pretrained(start).save_pretrained(partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _log_to(path: Path, report: Report) -> Report:
    """Append each event to ``path`` as a JSON line and pass it on."""

    def log(event: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
        report(event)

    return log


@contextmanager
def known_warnings() -> Iterator[None]:
    """Without transformers' notes on names that trl still uses."""
    with warnings.catch_warnings():
        old = "`(is_)?gradient_checkpointing.*deprecated"
        warnings.filterwarnings("ignore", old, FutureWarning)
        yield
