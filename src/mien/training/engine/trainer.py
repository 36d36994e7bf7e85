"""The one loop that runs every stage: on one CPU, one GPU, a node or many, as `accelerate launch` starts it.

A step is: for every optimizer step of the stage, gradients over the micro-batches, averaged over the processes, and
clipped; then the moving average. What happens at a step depends on the seed and the step's number, so a run that was
stopped goes on as if it had not been.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mien.allocator import keep_freed_memory
from mien.training.engine import checkpoints, sharding
from mien.training.engine.activation_checkpointing import recompute_blocks
from mien.training.engine.budget import Budget
from mien.training.engine.config import StageConfig, rate_factor
from mien.training.engine.dataloader import micro_batches, numbers, to_device
from mien.training.engine.distributed import Processes
from mien.training.engine.ema import Average
from mien.training.engine.group_norm import quicken
from mien.training.engine.logging import Journal, check_boards, peak_memory
from mien.training.engine.outcome import Outcome, TrainingError, Watcher
from mien.training.engine.saving import Saver
from mien.training.engine.signals import stop_when_told
from mien.training.engine.stage import Batch, Losses, OptimizerStep, Stage, part_parameters, trained_names

logger = logging.getLogger(__name__)

_SMOOTH = 0.98  # of the losses that are reported
_MOST_BROKEN = 20  # steps in a row without a finite gradient, after which a run is given up
_DISK = 150e6  # bytes a second, until the first checkpoint has been timed
_REFRESH = 250  # steps between looks for new data

Value = TypeVar("Value", int, float)


def train(stage: Stage, config: StageConfig, watcher: Watcher | None = None, began: float | None = None) -> Outcome:
    """Run a stage until its steps, its budget or its time are over; the same call goes on where the last one stopped.

    Args:
        stage: what is trained.
        config: of the stage.
        watcher: who is told how far the run is.
        began: `time.monotonic()` from which the time limit counts; None: now.

    Returns:
        How the slice ended.

    Raises:
        InputError: the options or the data do not do.
        WeightsError: weights do not fit.
        TrainingError: the loss is not a number for many steps.
        KeyboardInterrupt: Ctrl-C; the step that was under way is finished and saved.
    """
    return _Run(stage, config, time.monotonic() if began is None else began).go(watcher)


class _Run:
    """One slice of a run in one process."""

    def __init__(self, stage: Stage, config: StageConfig, began: float) -> None:
        open_ones = ["batch_size", "accumulate", "warmup", "clip_norm", "ema", "checkpointing"]
        open_ones += ["steps"] if config.loop.budget_minutes is None else []
        resolved = {name: getattr(stage, name) for name in open_ones if getattr(config.loop, name) is None}
        self.stage, self.began = stage, began
        self.config = replace(config, loop=replace(config.loop, **resolved))
        self.options = self.config.loop
        self.processes = Processes()
        self.accumulate = _known(self.options.accumulate)
        self.folder = Path(config.out)
        self.step, self.first, self.before = 0, 0, 0.0
        self.started = began
        self.losses: dict[str, float] = {}
        self.broken: dict[str, int] = {}
        self.images = 0
        self.stopped = self.interrupted = False
        self.last: Path | None = None
        self.sharded: sharding.ShardedModel | None = None
        self.saver = Saver(self.folder, stage, self.processes, self.options.keep_every)
        self._build()
        self._saving = sum(p.numel() * p.element_size() for p in self.model.state_dict().values()) / _DISK
        self._showing = 0.0

    def _build(self) -> None:
        options, stage, processes = self.options, self.stage, self.processes
        check_boards(options.wandb)
        stage.check()
        split = sharding.wanted(options) and processes.count > 1
        found = self._resume_from()
        with processes.in_turn(split):  # each holds the whole model for a moment
            model = self._loaded(found)
            if processes.device.type == "cpu":
                if not split:  # whoever splits wants for memory: blocks that were gathered are to be given back
                    keep_freed_memory()
                quicken(model)
            if options.checkpointing:
                recompute_blocks(model, stage.block_types())
            if split:
                self.sharded = sharding.shard(model, stage.block_types())
        self.model = model if split else model.to(processes.device)
        spent = 0.0 if found is None else float(found.manifest().get("core_seconds", 0.0))
        self.budget = Budget(options, spent, processes)
        self.average = Average(self.model, self.names, _known(options.ema))
        self.optimizers = {update.name: self._optimizer(update) for update in stage.optimizer_steps}
        if found is not None:
            self.average.load(found.average())
            for name, optimizer in self.optimizers.items():
                sharding.load_state(optimizer, found.optimizer(name))
            logger.info("%s goes on at step %d", stage.name, self.step)
        if not split:
            processes.copy_from_main(self.model.state_dict().values())
        self._modes()

    def _loaded(self, found: checkpoints.Checkpoint | None) -> nn.Module:
        """The model as the run goes on with it or starts, on the CPU; what stays as it is has been set apart."""
        stage, start = self.stage, None if self.config.start is None else Path(self.config.start)
        torch.manual_seed(self.options.seed)
        model = stage.build()
        self.names = trained_names(model, stage.optimizer_steps)
        if found is not None:
            checkpoints.fill(model, found.weights(), (*stage.outside(), *stage.unused()))
            self.step, self.last = found.step, found.path
        elif start is not None:
            stage.start(model, start)
        self.saver.set_apart(model, self.names, found, start)
        if self.options.precision == "bf16":
            for part in stage.halved():
                getattr(model, part).to(torch.bfloat16)
        return model.requires_grad_(False)

    def _resume_from(self) -> checkpoints.Checkpoint | None:
        """All processes go on from the checkpoint that the main one chooses; the run's folder must be shared."""
        chosen = checkpoints.newest(self.folder) if self.processes.main else None
        name = self.processes.from_main(None if chosen is None else str(chosen.path.resolve()))
        return None if name is None else chosen or checkpoints.find(Path(name))

    def _modes(self) -> None:
        """What learns is in training mode, the rest in eval mode: batch norms of frozen networks must not move."""
        self.model.eval()
        for update in self.stage.optimizer_steps:
            for part in update.parts:
                module: Any = self.model
                for piece in part.split("."):
                    module = getattr(module, piece)
                if isinstance(module, nn.Module):
                    module.train()

    def _optimizer(self, update: OptimizerStep) -> torch.optim.Optimizer:
        groups = []
        taken: set[str] = set()
        for part in update.parts:
            chosen = {name: p for name, p in part_parameters(self.model, part).items() if name not in taken}
            taken |= set(chosen)
            groups.append({"params": list(chosen.values()), "factor": update.rates.get(part, 1.0)})
        return torch.optim.AdamW(groups, lr=update.learning_rate, betas=update.betas, weight_decay=update.weight_decay)

    def go(self, watcher: Watcher | None) -> Outcome:
        processes, options = self.processes, self.options
        if processes.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.config.save(self.folder, {"processes": processes.count})
        processes.wait()
        journal = None
        if processes.main:
            journal = Journal(self.folder, self.step, options.wandb, self.config.flat())
        if watcher is not None and processes.main:
            watcher.begin(self.budget.total(), self.budget.done(self.step))
        self.first, self.started = self.step, time.monotonic()
        self.before = self.budget.progress(self.step)
        self.budget.start()
        saved = -1 if self.last is None else self.step
        feed = self._feed()
        with stop_when_told(partial(setattr, self, "stopped", True), self._interrupt):
            while not (self.budget.over(self.step) or self._over()):
                self._take_step(feed)
                ended = self.budget.over(self.step)
                if self.step % options.log_every == 0 or ended:
                    self._tell(journal)
                if self.step % _REFRESH == 0:
                    self.stage.refresh()
                if self._due(options.save_every) and not ended:
                    self._save()
                    saved = self.step
                if self._due(options.show_every) and not ended:
                    self._show(journal)
                if watcher is not None and processes.main:
                    watcher.update(self.budget.done(self.step))
        if saved != self.step:
            self._save()
        if self.budget.over(self.step) and self.step > self.first:
            self._show(journal)
        if journal is not None:
            journal.close()
        if self.interrupted:
            raise KeyboardInterrupt
        return self._outcome()

    def _interrupt(self) -> None:
        """The first Ctrl-C: the step is finished, and a checkpoint is written."""
        self.stopped = self.interrupted = True
        logger.warning("interrupted: this step is finished and saved; Ctrl-C again leaves at once")

    def _feed(self) -> Iterator[Batch]:
        per_step = self.accumulate * self.processes.count
        mine = range(self.processes.rank * self.accumulate, (self.processes.rank + 1) * self.accumulate)
        steps, pinned = range(self.step, self.budget.steps), self.processes.device.type == "cuda"
        workers = self.options.workers
        return micro_batches(
            self.stage, _known(self.options.batch_size), self.options.seed, steps, mine, per_step, workers, pinned
        )

    def _due(self, every: int) -> bool:
        """At every so many steps; under local averaging at the next meeting of the processes."""
        meet = max(1, self.options.average_every)
        every = -(-every // meet) * meet
        return every > 0 and self.step % every == 0

    def _over(self) -> bool:
        """Whether time is up: what is left must do for one more step, a picture, and the last checkpoint."""
        meet = self.options.average_every
        if meet and self.step % meet:
            return False
        limit, over = self.options.time_limit, self.stopped
        if limit is not None:
            spent = time.monotonic() - self.began
            left = 1.5 * self._saving + 1.5 * self._seconds_a_step() * max(1, meet) + self._showing_due()
            over = over or spent + left > limit
        return self.processes.any(over)

    def _seconds_a_step(self) -> float:
        return (time.monotonic() - self.started) / (self.step - self.first) if self.step > self.first else 0.0

    def _showing_due(self) -> float:
        return 1.2 * self._showing if self._due(self.options.show_every) else 0.0

    def _take_step(self, feed: Iterator[Batch]) -> None:
        batches = [to_device(next(feed), self.processes.device) for _ in range(self.accumulate)]
        self.images += sum(self.stage.images(batch) for batch in batches)
        for index, update in enumerate(self.stage.optimizer_steps):
            if self.step % update.every == 0:
                self._take_optimizer_step(update, index, batches)
        self.average.update(self.model, self.step)
        self.step += 1
        if self.budget.seconds is not None:
            self.budget.measure()
        if self.options.average_every and self.step % self.options.average_every == 0:
            self._meet()
        self.stage.after_step(self.model, self.step)

    def _take_optimizer_step(self, update: OptimizerStep, index: int, batches: list[Batch]) -> None:
        optimizer = self.optimizers[update.name]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter in parameters:
            parameter.requires_grad_(True)
        # under --shard the backward pass itself takes the mean over the processes
        share = self.accumulate * (1 if self.options.average_every or self.sharded else self.processes.count)
        generator, seen = torch.Generator(), []
        for place, batch in enumerate(batches, self.processes.rank * self.accumulate):
            seed = numbers(self.options.seed, self.step, place, index)
            generator.manual_seed(seed)
            torch.manual_seed(seed)  # for dropout and the like
            losses = self._compute(partial(update.loss, self.model, batch, generator))
            loss = torch.stack([value.float() for value in losses.values()]).sum()
            (loss / share).backward()  # type: ignore[no-untyped-call]
            seen.append({name: value.detach() for name, value in losses.items()})
        self._note(update, seen)
        gradients = [p.grad if p.grad is not None else _no_gradient(p) for p in parameters]
        if not self.options.average_every and self.sharded is None:
            self.processes.sum(gradients)
        self._descend(update, optimizer, parameters)
        optimizer.zero_grad(set_to_none=True)
        for parameter in parameters:
            parameter.requires_grad_(False)

    def _descend(self, update: OptimizerStep, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
        norm = float(sharding.whole(nn.utils.clip_grad_norm_(parameters, _known(self.options.clip_norm))))
        if not math.isfinite(norm):
            self.broken[update.name] = self.broken.get(update.name, 0) + 1
            logger.warning("step %d: the gradient of %s is not a number; it is left out", self.step, update.name)
            if self.broken[update.name] >= _MOST_BROKEN:
                raise TrainingError(
                    f"{self.stage.name}: no finite gradient in {_MOST_BROKEN} steps; "
                    "start again from an older run with a lower --learning-rate."
                )
            return
        self.broken[update.name] = 0
        wanted = self.options.learning_rate
        base = update.learning_rate * (1.0 if wanted is None else wanted / self.stage.optimizer_steps[0].learning_rate)
        for group in optimizer.param_groups:
            group["lr"] = base * group["factor"] * self._rate_factor(self.step)
        optimizer.step()

    def _rate_factor(self, step: int) -> float:
        return rate_factor(step, self.budget.progress(step), self.options)

    def _compute(self, work: Callable[[], Any]) -> Any:
        """What `work` gives in the run's precision, with the weights at hand."""
        half, split = self.options.precision == "bf16", self.sharded is not None
        # no kept casts: each would be a whole weight
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=half, cache_enabled=not split):
            return work() if self.sharded is None else self.sharded.run(work)

    def _note(self, update: OptimizerStep, seen: list[Losses]) -> None:
        """Smooth the optimizer step's losses, each the mean of this step's micro-batches."""
        prefix = f"{update.name}/" if len(self.stage.optimizer_steps) > 1 else ""
        for name in seen[0]:
            now, key = sum(float(losses[name].detach()) for losses in seen) / len(seen), prefix + name
            self.losses[key] = _SMOOTH * self.losses.get(key, now) + (1 - _SMOOTH) * now

    def _shared_losses(self) -> dict[str, float]:
        """The smoothed losses, averaged over the processes."""
        values = torch.tensor(list(self.losses.values()), device=self.processes.device)
        self.processes.average([values])
        return dict(zip(self.losses, values.tolist(), strict=True))

    def _meet(self) -> None:
        """Local SGD: the mean of all processes' weights and moments, so that one checkpoint is all of them."""
        moments: list[Tensor] = []
        for optimizer in self.optimizers.values():
            for state in optimizer.state.values():
                moments += [state["exp_avg"], state["exp_avg_sq"]]
        parameters = dict(self.model.named_parameters())
        self.processes.average([parameters[name].data for name in self.names] + moments)

    def _save(self) -> None:
        began = time.monotonic()
        if self.budget.seconds is None:  # else it is measured at every step: a run that goes on has the same rates
            self.budget.measure()
        told = {"core_seconds": self.budget.spent}
        self.last = self.saver.save(self.step, self.model, self.average, self.optimizers, told)
        self._saving = time.monotonic() - began

    def _show(self, journal: Journal | None) -> None:
        if self.options.show_every <= 0 or (journal is None and self.sharded is None):
            return
        began = time.monotonic()
        with self.average.shown(self.model):
            grid, clip = self._compute(lambda: (self.stage.pictures(self.model), self.stage.clip(self.model)))
        if journal is not None:
            journal.pictures(self.step, grid, clip)
        self._showing = time.monotonic() - began

    def _tell(self, journal: Journal | None) -> None:
        pace, losses = self._pace(), self._shared_losses()
        values = {f"loss/{name}": value for name, value in losses.items()}
        factor = self._rate_factor(self.step - 1)
        values |= {"learning_rate_factor": factor, "images_per_second": pace, "peak_gib": peak_memory() / 2**30}
        shown = " ".join(f"{name} {value:.4f}" for name, value in losses.items())
        now = self.budget.progress(self.step)
        left = (time.monotonic() - self.started) * (1 - now) / max(1e-9, now - self.before)
        if journal is not None:
            journal.scalars(self.step, values)
            logger.info(
                "%s %s: %s, %.1f images/s, peak %.2f GiB, %.0f min left",
                self.stage.name, self.budget.describe(self.step), shown, pace, values["peak_gib"], left / 60,
            )  # fmt: skip

    def _pace(self) -> float:
        return self.images * self.processes.count / max(1e-9, time.monotonic() - self.started)

    def _outcome(self) -> Outcome:
        seconds = time.monotonic() - self.began
        assert self.last is not None  # it has just been written
        finished = self.budget.over(self.step)
        return Outcome(
            self.step, self.step - self.first, finished, self._shared_losses(), self._pace(), seconds,
            self.budget.spent, peak_memory(), self.last, self.processes.main,
        )  # fmt: skip


def _known(value: Value | None) -> Value:
    """What the stage has filled in where the options left it open."""
    assert value is not None
    return value


def _no_gradient(parameter: nn.Parameter) -> Tensor:
    """Zeros in the gradient's place, so that every process sends as many."""
    parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
