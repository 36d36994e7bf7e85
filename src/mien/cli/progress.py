"""Progress on the terminal, with the time left; nothing where nobody is watching."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from mien.media.files import readable_name


class TerminalProgress:
    """A `mien.jobs.run.progress.Progress` and a context manager.

    Bars go to stderr if it is a terminal; notes always do.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task: TaskID | None = None
        self._notes: list[str] = []

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        if error is None:  # after an error there is one sentence to read, and it is not one of these
            for text in self._notes:
                sys.stderr.write(f"mien: {readable_name(text)}\n")

    def stage(self, title: str, total: float | None) -> None:
        """See `Progress.stage`."""
        self._complete()
        self._task = self._bars.add_task(title, total=total)

    def update(self, done: float) -> None:
        """See `Progress.update`."""
        if self._task is not None:
            self._bars.update(self._task, completed=done)

    def note(self, text: str) -> None:
        """See `Progress.note`; shown at the end, where it is not scrolled away by bars."""
        self._notes.append(text)

    def _complete(self) -> None:
        if self._task is not None:
            task = self._bars.tasks[self._task]
            self._bars.update(self._task, total=task.total or task.completed or 1, completed=task.total or 1)
