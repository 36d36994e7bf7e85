"""A job in a thread of its own: what it is doing, how to stop it, and when it has taken too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from mien.errors import InputError

Result = TypeVar("Result")

_BEAT = 0.25  # seconds between two looks at a running job


class StoppedError(Exception):
    """The user has stopped the job."""


@dataclass(frozen=True)
class Status:
    """What a job is doing. share: of the stage, 0 to 1, None where nobody knows. left: seconds, None likewise."""

    title: str
    share: float | None = None
    left: float | None = None


class Watch:
    """A `Progress` through which a job is seen and stopped: the job's next word after `stop` ends it."""

    def __init__(self, seconds: float) -> None:
        """seconds: how long the job may take, from `begin` on."""
        self.notes: list[str] = []
        self._limit = seconds
        self._stopped = threading.Event()
        self._begun: float | None = None
        self._title, self._prefix = "Waiting", ""
        self._total: float | None = None
        self._done = 0.0
        self._since = time.monotonic()

    def begin(self) -> None:
        """The job's time starts."""
        self._begun = time.monotonic()

    def part(self, prefix: str) -> None:
        """What follows is this part of several; shown before the stage's title."""
        self._prefix = prefix
        self.check()

    def stop(self) -> None:
        """End the job as soon as it says where it is."""
        self._stopped.set()

    def check(self) -> None:
        """Raise StoppedError after `stop`, InputError after too long a time."""
        if self._stopped.is_set():
            raise StoppedError
        if self._begun is not None and time.monotonic() - self._begun > self._limit:
            raise InputError(
                f"this took longer than the {self._limit:g} seconds a job may take here: use less of the driving video"
            )

    def stage(self, title: str, total: float | None) -> None:
        """See `Progress.stage`."""
        self._title, self._total, self._done, self._since = title, total, 0.0, time.monotonic()
        self.check()

    def update(self, done: float) -> None:
        """See `Progress.update`."""
        self._done = done
        self.check()

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self.notes.append(text)
        self.check()

    def status(self) -> Status:
        """What the job is doing now."""
        title = f"{self._prefix}{self._title}"
        if not self._total:
            return Status(title)
        share = min(self._done / self._total, 1.0)
        spent = time.monotonic() - self._since
        return Status(title, share, spent / share - spent if share > 0.02 and spent > 1 else None)


class Running(Generic[Result]):
    """A job that runs. Follow it to its end: leaving it alone stops it."""

    def __init__(self, work: Callable[[Watch], Result], watch: Watch) -> None:
        self.watch = watch
        self._work = work
        self._ended = threading.Event()
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def follow(self) -> Iterator[Status]:
        """Start, and tell the status until the job has ended."""
        self._thread.start()
        try:
            while not self._ended.wait(_BEAT):
                yield self.watch.status()
        finally:
            self.watch.stop()  # whoever stops listening does not want it any more

    def result(self) -> Result:
        """What the job returned; what it raised is raised here. Only after `follow`."""
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set where nothing was raised

    def _run(self) -> None:
        try:
            self._result = self._work(self.watch)
        except BaseException as error:  # carried to whoever asks for the result
            self._error = error
        finally:
            self._ended.set()


class Watches:
    """The running jobs of the people in front of the web UI."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}
        self._lock = threading.Lock()

    def add(self, person: str, watch: Watch) -> None:
        """person: what the browser's session is called."""
        with self._lock:
            self._watches.setdefault(person, set()).add(watch)

    def remove(self, person: str, watch: Watch) -> None:
        """The job is over."""
        with self._lock:
            self._watches.get(person, set()).discard(watch)
            if not self._watches.get(person, True):
                del self._watches[person]

    def stop(self, person: str) -> int:
        """Stop all that a person runs; returns how many."""
        with self._lock:
            watches = list(self._watches.get(person, ()))
        for watch in watches:
            watch.stop()
        return len(watches)

    def wait(self, person: str, seconds: float) -> None:
        """Until nothing of a person runs any more, at most so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._lock:
                if person not in self._watches:
                    return
            time.sleep(0.05)

    def stop_all(self) -> None:
        """Stop everybody's."""
        with self._lock:
            people = list(self._watches)
        for person in people:
            self.stop(person)
