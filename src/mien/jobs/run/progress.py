"""Progress of a job, with the time that each stage takes."""

from __future__ import annotations

import time

from mien.animation.progress import Progress, Silent

__all__ = ["Progress", "Silent", "TimedProgress"]


class TimedProgress:
    """Passes everything on, and measures which part of the time each stage takes."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self._seconds: dict[str, float] = {}
        self._title: str | None = None
        self._since = 0.0

    def stage(self, title: str, total: float | None) -> None:
        """See `Progress.stage`."""
        self._close()
        self._title, self._since = title, time.perf_counter()
        self._inner.stage(title, total)

    def update(self, done: float) -> None:
        """See `Progress.update`."""
        self._inner.update(done)

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self._inner.note(text)

    def stage_time_fractions(self) -> dict[str, float]:
        """Part of the time by stage, sum 1; ends the stage that is running."""
        self._close()
        whole = sum(self._seconds.values()) or 1.0
        return {title: seconds / whole for title, seconds in self._seconds.items()}

    def _close(self) -> None:
        if self._title is not None:
            spent = time.perf_counter() - self._since
            self._seconds[self._title] = self._seconds.get(self._title, 0.0) + spent
            self._title = None
