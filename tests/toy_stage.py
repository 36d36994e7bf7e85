"""A stage small enough to be run a hundred times in a test: a frozen part, a generator and a discriminator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien.training.engine.config import StageConfig
from mien.training.engine.stage import Batch, Losses, OptimizerStep, Stage
from mien.typing import Picture


class ToyModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
        self.generator = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
        self.discriminator = nn.Linear(6, 1)


class Toy(Stage):
    """The generator learns to undo the frozen part, and to please a discriminator."""

    name = "toy"
    steps, batch_size, accumulate = 6, 4, 1

    def __init__(self, poison: int | None = None, nap: float = 0.0) -> None:
        self.poison, self.nap = poison, nap
        self.optimizer_steps = (
            OptimizerStep("generator", ("generator",), 1e-2, self._generator, rates={"generator": 0.5}),
            OptimizerStep("discriminator", ("discriminator",), 1e-2, self._discriminator, betas=(0.5, 0.999), every=2),
        )

    def build(self) -> nn.Module:
        torch.manual_seed(3)
        return ToyModel()

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        if self.nap:
            import time

            time.sleep(self.nap)
        return {"x": torch.from_numpy(rng.normal(size=(batch_size, 6)).astype(np.float32))}

    def _generator(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        x = batch["x"]
        made = model.generator(model.frozen(x) + 0.1 * torch.randn(x.shape, generator=generator))
        batch["made"] = made.detach()
        factor = -0.1 if self.poison is None else float("nan")
        return {"near": (made - x).square().mean(), "pleasing": factor * model.discriminator(made).mean()}

    def _discriminator(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        gap: Tensor = model.discriminator(batch["made"]).mean() - model.discriminator(batch["x"]).mean()
        return {"gap": gap.tanh()}

    def pictures(self, model: nn.Module) -> Picture:
        assert not torch.is_grad_enabled() and not model.generator.training
        return np.full((8, 8, 3), 128, np.uint8)

    def clip(self, model: nn.Module) -> list[Picture]:
        return [np.full((16, 16, 3), 60 * i, np.uint8) for i in range(3)]


def toy_options(out: Path, **more: object) -> StageConfig:
    """Exact arithmetic, quiet; `toy` is no registered stage."""
    base = StageConfig("toy", str(out)).changed(precision="fp32", warmup=2, show_every=0, save_every=1000, ema=0.5)
    return base.changed(**more)
