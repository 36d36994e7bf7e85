"""Processes as `accelerate launch` starts them, on the CPU, without the seconds that a fresh interpreter needs."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable

from accelerate import PartialState


def _process(rank: int, count: int, port: int, work: Callable[[int], None]) -> None:
    os.environ |= {"ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{count}", "LOCAL_WORLD_SIZE": f"{count}"}
    PartialState._reset_state()  # the parent's, in which the tests before have run
    work(rank)


def launch(count: int, work: Callable[[int], None], seconds: float = 240) -> None:
    """Run `work(rank)` in so many processes that know of each other; an AssertionError unless all end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")  # a fresh interpreter would spend its time on importing torch
    started = [context.Process(target=_process, args=(rank, count, port, work)) for rank in range(count)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=seconds)
    for process in started:
        if process.is_alive():
            process.kill()
    assert [process.exitcode for process in started] == [0] * count
