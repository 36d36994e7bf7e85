"""What a run does when it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_when_told(stop: Callable[[], None]) -> Iterator[None]:
    """While it lasts, SIGTERM (a cluster that wants its node back) stops the run in good order.

    Args:
        stop: called then.

    Yields:
        Nothing.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
