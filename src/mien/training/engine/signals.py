"""What a run does when it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_when_told(stop: Callable[[], None], interrupt: Callable[[], None] | None = None) -> Iterator[None]:
    """While it lasts, SIGTERM (a cluster that wants its node back) stops the run in good order.

    Args:
        stop: called then.
        interrupt: called at the first Ctrl-C, in place of `KeyboardInterrupt`; the second one is not held back. None:
            Ctrl-C is as ever.

    Yields:
        Nothing.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    def hold(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        assert interrupt is not None
        interrupt()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handle)
    usual = signal.getsignal(signal.SIGINT)
    held = interrupt is not None and usual is signal.default_int_handler  # a shell's background jobs hear no Ctrl-C
    if held:
        signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if held:
            signal.signal(signal.SIGINT, usual)
