"""What a stage of training is, for the one loop that runs them all (`mien.training.engine.trainer`).

A stage says which networks there are (`build`), who learns in which of them (`optimizer_steps`), what a batch is
(`batch`), and what to look at (`pictures`, `clip`). It knows nothing of devices, processes, precision, checkpoints or
time. A stage with one loss has one; a GAN has two, generator and discriminator:

    class MyStage(Stage):
        name = "my-stage"

        def __init__(self, options: MyConfig) -> None:
            self.optimizer_steps = (
                OptimizerStep("generator", ("generator",), 2e-4, self.generator_loss, betas=(0.5, 0.999)),
                OptimizerStep("discriminator", ("discriminator",), 2e-4, self.discriminator_loss, betas=(0.5, 0.999)),
            )
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien.typing import Picture

Batch = dict[str, Tensor]
Losses = dict[str, Tensor]  # the loss is their sum; each is a curve of its own
Loss = Callable[[nn.Module, Batch, torch.Generator], Losses]


@dataclass(frozen=True)
class OptimizerStep:
    """One optimizer step within a step of the loop.

    Attributes:
        name: of its curves and its file in a checkpoint.
        parts: names of submodules or parameters of the model ("unet", "controls.local") that learn in it; everything
            else is frozen while it lasts, though gradients flow through it.
        learning_rate: of AdamW, as are betas and weight_decay.
        loss: loss(model, batch, generator) draws from the generator only, which is a CPU one whatever the device; it
            may leave detached tensors in the batch for the optimizer steps that follow.
        rates: factors of the learning rate for some of the parts.
        every: take it at every so many steps.
    """

    name: str
    parts: tuple[str, ...]
    learning_rate: float
    loss: Loss
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    rates: Mapping[str, float] = field(default_factory=dict)
    every: int = 1


class Stage(ABC):
    """One stage: which networks there are, who learns in which of them, what a batch is, and what to look at.

    The attributes are what the loop takes where the options leave them open.

    Attributes:
        name: the entry's in `mien.training.registry`.
        optimizer_steps: of a step of the loop.
        steps: in all.
        batch_size: of a micro-batch on one device.
        accumulate: micro-batches of a step on one device.
        warmup: steps until the learning rate is full.
        clip_norm: largest norm of a gradient.
        ema: decay of the moving average.
        checkpointing: compute activations again to save memory.
    """

    name: str
    optimizer_steps: Sequence[OptimizerStep]
    steps: int = 1000
    batch_size: int = 4
    accumulate: int = 1
    warmup: int = 100  # steps
    clip_norm: float = 1.0
    ema: float = 0.995
    checkpointing: bool = False

    def check(self) -> None:
        """Called before anything is built or written: InputError where the options or the data do not suffice."""
        return None

    @abstractmethod
    def build(self) -> nn.Module:
        """All networks under one roof, on the CPU, with their weights at the start of the stage.

        They are drawn from a seed, or loaded. What no optimizer step trains stays as it is, byte for byte.
        """

    @abstractmethod
    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """A micro-batch.

        It is called in worker processes where there are any. Everything random comes from `rng`, so that a run that was
        stopped draws what one that was not would have drawn.

        Args:
            rng: of this micro-batch.
            batch_size: how many samples.

        Returns:
            CPU tensors by name.
        """

    def at_step(self, step: int) -> None:
        """Told before each batch which step it is for, wherever it is made: for data that move on slowly.

        Args:
            step: its number, from 0.
        """
        return None

    @abstractmethod
    def pictures(self, model: nn.Module) -> Picture:
        """A grid to judge by eye, always of the same inputs and seeds; gradients are off.

        Args:
            model: with the averaged weights, in eval mode.

        Returns:
            uint8 [h, w, 3].
        """

    def clip(self, model: nn.Module) -> list[Picture] | None:
        """Frames of a short clip of fixed inputs, for what a grid does not show.

        Args:
            model: with the averaged weights, in eval mode.

        Returns:
            uint8 [h, w, 3] each; None: there is none.
        """
        return None

    def images(self, batch: Batch) -> int:
        """How many images a batch is, for images per second.

        Args:
            batch: tensors by name.

        Returns:
            The length of its first tensor, unless told otherwise.
        """
        return len(next(iter(batch.values())))

    def outside(self) -> tuple[str, ...]:
        """Parts that checkpoints leave out because `build` loads them anew (a frozen backbone from elsewhere)."""
        return ()

    def loaded_anew(self) -> dict[str, Path]:
        """The files that hold the parts of `outside`, by part: checkpoints name them with their sums."""
        return {}

    def unused(self) -> tuple[str, ...]:
        """Parts of the finished system that this stage does not have: `build` leaves them away."""
        return ()

    def handed_on(self, place: Path) -> dict[str, Tensor]:
        """What `--start` knows of the parts of `unused`: kept on disk for the stages that follow.

        Args:
            place: a run or a model folder.

        Returns:
            Weights by name.
        """
        return {}

    def halved(self) -> tuple[str, ...]:
        """Parts that do not learn and may be held in bf16 where the activations are."""
        return ()

    def follows(self) -> tuple[str, ...]:
        """Parts that change though no optimizer step trains them: what `after_step` moves."""
        return ()

    def start(self, model: nn.Module, place: Path) -> None:
        """Take over another run's averaged weights (`--start`), strictly.

        Args:
            model: to be filled.
            place: a run or a model folder.

        Raises:
            InputError: it holds no checkpoint.
            WeightsError: its weights do not fit.
        """
        from mien.training.engine import checkpoints

        checkpoints.fill(model, checkpoints.find(place).averaged_weights(), self.outside())

    def sketch(self) -> tuple[nn.Module, Batch] | None:
        """The networks and one micro-batch on the meta device, for `--dry-run`; None: there is nothing to count."""
        return None

    def block_types(self) -> tuple[type[nn.Module], ...]:
        """The modules whose insides gradient checkpointing computes again instead of keeping."""
        return ()

    def after_step(self, model: nn.Module, step: int) -> None:
        """Called when a step is done, before its checkpoint: a teacher that follows its student, say.

        Args:
            model: with the new weights.
            step: the number of the step, from 0.
        """
        return None

    def refresh(self) -> None:
        """Called now and then: look for data that has come in since."""
        return None

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write what inference loads.

        Args:
            model: with the averaged weights.
            folder: where to.

        Raises:
            NotImplementedError: the stage has nothing of its own to export.
        """
        raise NotImplementedError(f"the stage {self.name} has nothing of its own to export")


def part_parameters(model: nn.Module, part: str) -> dict[str, nn.Parameter]:
    """The parameters of a part.

    Args:
        model: that has it.
        part: the full name of a module or a parameter.

    Returns:
        By their full names.

    Raises:
        KeyError: the model has no such part.
    """
    found = {
        name: parameter for name, parameter in model.named_parameters() if name == part or name.startswith(f"{part}.")
    }
    if not found:
        raise KeyError(f"the model has no part {part} with parameters")
    return found


def trained_names(model: nn.Module, optimizer_steps: Sequence[OptimizerStep]) -> list[str]:
    """What some optimizer step trains.

    Args:
        model: whose parameters they are.
        optimizer_steps: of the stage.

    Returns:
        Full names, in the model's order.
    """
    wanted = {name for update in optimizer_steps for part in update.parts for name in part_parameters(model, part)}
    return [name for name, _ in model.named_parameters() if name in wanted]
