"""When a run ends: after so many steps, after so much processor time, or at whichever comes first.

Processor time is counted over all slices of a run: what a slice has taken is written into its checkpoints, and the next
one counts on from there. It is that of the loop; what a slice takes to begin (imports, building the networks) is left
out. The learning rate follows `progress`, so a run that ends by its budget ends with a rate that has fallen.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from mien.training.engine.config import LoopConfig
from mien.training.engine.core_time import core_seconds
from mien.training.engine.distributed import Processes

_ENDLESS = 1 << 40  # steps, where the budget alone ends the run


class Budget:
    """How far a run is on its way to its end.

    Attributes:
        steps: after which the run ends.
        spent: processor seconds of all slices and processes, as of the last `measure`.
    """

    def __init__(self, options: LoopConfig, spent: float, processes: Processes) -> None:
        """options: their `steps` and `budget_minutes` end the run, at least one of them. spent: by earlier slices."""
        self.steps = _ENDLESS if options.steps is None else options.steps
        self.spent = self._before = spent
        self.seconds = None if options.budget_minutes is None else 60 * options.budget_minutes
        self._meet, self._processes = max(1, options.average_every), processes
        self._clock: Callable[[], float] = core_seconds if options.workers else time.process_time
        self._since = self._clock()

    def start(self) -> None:
        """Count from now on."""
        self._since = self._clock()

    def measure(self) -> None:
        """Take the time; all processes do so together, and have the same sum."""
        here = torch.tensor(self._clock() - self._since, device=self._processes.device)
        self._processes.sum([here])
        self.spent = self._before + float(here)

    def progress(self, step: int) -> float:
        """How much of the run lies behind: of its steps or of its time, if that is more.

        Args:
            step: steps that are done.

        Returns:
            0 to 1.
        """
        by_time = 0.0 if self.seconds is None else self.spent / self.seconds
        return min(1.0, max(step / self.steps, by_time))

    def over(self, step: int) -> bool:
        """Whether the run ends here. By time it does so only where processes that average their weights meet.

        Args:
            step: steps that are done.

        Returns:
            True at the end.
        """
        by_time = self.seconds is not None and self.spent >= self.seconds and step % self._meet == 0
        return step >= self.steps or by_time

    def total(self) -> float:
        """Of a bar: steps, or core-minutes where there is no end of the steps."""
        return self.steps if self.steps < _ENDLESS or self.seconds is None else self.seconds / 60

    def done(self, step: int) -> float:
        """How much is done, for a bar of progress.

        Args:
            step: steps that are done.

        Returns:
            Of `total`, in its unit.
        """
        return self.total() * self.progress(step)

    def describe(self, step: int) -> str:
        """How far the run is, for the log.

        Args:
            step: steps that are done.

        Returns:
            A few words.
        """
        steps = f"step {step}" + (f" of {self.steps}" if self.steps < _ENDLESS else "")
        if self.seconds is None:
            return steps
        return f"{steps}, {self.spent / 60:.1f} of {self.seconds / 60:g} core-minutes"
