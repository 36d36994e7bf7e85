"""Batches in order, by worker processes or not: a batch depends on the seed and its number only, not on who makes it.

Micro-batch k of a step is the same whether one process draws it as its k-th or process k as its first: so one process
that accumulates n micro-batches and n processes see the same data.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mien.training.engine.stage import Batch, Stage


def numbers(seed: int, *where: int) -> int:
    """A seed for torch from the run's seed and a place in the run.

    Args:
        seed: of the run.
        where: such as step and micro-batch.

    Returns:
        A number below 2^63.
    """
    return int(np.random.SeedSequence([seed, *where]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class _Batches(Dataset[Batch]):
    """Micro-batch number i of the run is the i-th entry."""

    def __init__(self, stage: Stage, batch_size: int, seed: int, per_step: int) -> None:
        self._stage, self._batch_size, self._seed, self._per_step = stage, batch_size, seed, per_step

    def __getitem__(self, index: int) -> Batch:
        step, micro = divmod(index, self._per_step)
        self._stage.at_step(step)
        return self._stage.batch(np.random.default_rng([self._seed, step, micro]), self._batch_size)


def micro_batches(
    stage: Stage, batch_size: int, seed: int, steps: range, mine: range, per_step: int, workers: int, pinned: bool
) -> Iterator[Batch]:
    """The micro-batches of a process, in order.

    Where there are workers they see the data as it was when they began: `Stage.refresh` does not reach them.

    Args:
        stage: whose they are.
        batch_size: sources of each.
        seed: of the run.
        steps: of the run, for which they are.
        mine: which of a step's micro-batches are this process's.
        per_step: how many a step has in all processes.
        workers: processes that draw them; 0: this one.
        pinned: whether they lie in memory that a GPU can read from.

    Yields:
        Batches on the CPU.
    """
    batches = _Batches(stage, batch_size, seed, per_step)
    order = (step * per_step + micro for step in steps for micro in mine)  # steps may be without end
    if workers == 0:
        for index in order:
            yield batches[index]
        return
    loader = DataLoader(
        batches, batch_size=None, sampler=order, num_workers=workers, prefetch_factor=2, pin_memory=pinned
    )
    yield from loader


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch where the model is.

    Args:
        batch: tensors by name.
        device: where to.

    Returns:
        The same names.
    """
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}
