"""How a piece of work tells what it is doing; who shows it, and how, is not its concern."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what is being done. Stages follow one another; each starts at 0 of its total."""

    def stage(self, title: str, total: float | None) -> None:
        """A stage begins.

        Args:
            title: a few words for people.
            total: how many steps (frames, mostly) it has; None: nobody knows.
        """

    def update(self, done: float) -> None:
        """So many steps of the stage's total are done.

        Args:
            done: from 0 to the total.
        """

    def note(self, text: str) -> None:
        """Something the user should know; the work goes on.

        Args:
            text: one sentence.
        """


class Silent:
    """A `Progress` that says nothing."""

    def stage(self, title: str, total: float | None) -> None:
        """See `Progress.stage`."""

    def update(self, done: float) -> None:
        """See `Progress.update`."""

    def note(self, text: str) -> None:
        """See `Progress.note`."""


SILENT = Silent()
