"""Progress with the time left: bars on a terminal, a line now and then where stderr is a file or a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from mien.media.files import readable_name

_QUIET = 30.0  # seconds between lines


class TerminalProgress:
    """A `mien.jobs.run.progress.Progress` and a context manager.

    Bars go to stderr if it is a terminal, else a line every half minute; notes always do.
    """

    def __init__(self, interrupted: str | Callable[[], str] = "") -> None:
        """interrupted: what Ctrl-C leaves and what it does not, told (or found out) when it was pressed."""
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task: TaskID | None = None
        self._notes: list[str] = []
        self._interrupted = interrupted
        self._lines = None if console.is_terminal else _Lines()

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        if isinstance(error, KeyboardInterrupt) and self._interrupted:
            left = self._interrupted() if callable(self._interrupted) else self._interrupted
            sys.stderr.write(f"mien: interrupted; {readable_name(left)}\n")
        if error is None:  # after an error there is one sentence to read, and it is not one of these
            for text in self._notes:
                sys.stderr.write(f"mien: {readable_name(text)}\n")

    def stage(self, title: str, total: float | None) -> None:
        """See `Progress.stage`."""
        self._complete()
        self._task = self._bars.add_task(title, total=total)
        if self._lines is not None:
            self._lines.stage(title, total)

    def update(self, done: float) -> None:
        """See `Progress.update`."""
        if self._task is not None:
            self._bars.update(self._task, completed=done)
        if self._lines is not None:
            self._lines.update(done)

    def note(self, text: str) -> None:
        """See `Progress.note`; shown at the end, where it is not scrolled away by bars."""
        self._notes.append(text)

    def _complete(self) -> None:
        if self._task is not None:
            task = self._bars.tasks[self._task]
            self._bars.update(self._task, total=task.total or task.completed or 1, completed=task.total or 1)


class _Lines:
    """Writes how far the work is at most every half minute; what takes less than that is silent."""

    def __init__(self) -> None:
        self._told = self._began = time.monotonic()
        self._title = ""
        self._total: float | None = None
        self._first = 0.0

    def stage(self, title: str, total: float | None) -> None:
        """A stage begins."""
        self._title, self._total, self._began, self._first = title, total, time.monotonic(), 0.0
        self._tell(title)

    def update(self, done: float) -> None:
        """So much of it is done."""
        now = time.monotonic()
        if self._total is None or done <= 0:
            return
        if self._first == 0.0 and now - self._began < 1.0:
            self._first, self._began = done, now  # of a run that goes on, what lay behind
        line = f"{self._title} {done:.0f} of {self._total:.0f} ({100 * done / self._total:.0f} %)"
        if done > self._first:
            left = (now - self._began) / (done - self._first) * (self._total - done)
            line += f", {left / 60:.0f} min left" if left >= 90 else f", {left:.0f} s left"
        self._tell(line)

    def _tell(self, line: str) -> None:
        now = time.monotonic()
        if now - self._told >= _QUIET:
            self._told = now
            sys.stderr.write(f"{readable_name(line)}\n")
            sys.stderr.flush()
