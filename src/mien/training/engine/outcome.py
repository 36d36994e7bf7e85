"""What a run of the loop tells: how far it is while it lasts, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mien.errors import MienError


class TrainingError(MienError):
    """The training cannot go on; the text says why and what to change."""


class Watcher(Protocol):
    """Who is told how far the run is: in steps, or in core-minutes where a budget of these is all that ends it."""

    def begin(self, total: float, done: float) -> None:
        """The run begins, or goes on.

        Args:
            total: how much there is to do.
            done: how much of it lies behind.
        """

    def update(self, done: float) -> None:
        """So much is done.

        Args:
            done: of the total.
        """


@dataclass(frozen=True)
class Outcome:
    """How a slice of a run ended.

    Attributes:
        step: steps done in all.
        steps_here: steps done in this slice.
        finished: whether all are done, or the budget is spent.
        losses: smoothed, by name.
        images_per_second: over all processes.
        seconds: of the slice.
        core_seconds: processor time of the loop in all slices, over all processes and workers.
        peak_bytes: of memory, of this process.
        checkpoint: the folder of the last one.
        main: whether this is the main process, which writes.
    """

    step: int
    steps_here: int
    finished: bool
    losses: dict[str, float]
    images_per_second: float
    seconds: float
    core_seconds: float
    peak_bytes: int
    checkpoint: Path
    main: bool
