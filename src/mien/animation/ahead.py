"""Work done ahead in a thread of its own, while what was made before is used: networks beside layers and encoding."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
_END = object()


def ahead(source: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items, the next ones made in a thread as soon as there is room for them.

    The thread begins with the first item that is asked for, and has ended when the iterator is closed or at its end.

    Args:
        source: used by this thread alone from then on.
        count: items that are made ahead at most.

    Yields:
        What `source` gives; what it raises is raised where its item would have been.
    """
    pool, context = ThreadPoolExecutor(1, thread_name_prefix="mien-ahead"), copy_context()

    def following() -> Any:
        return context.run(next, source, _END)

    try:
        waiting = deque(pool.submit(following) for _ in range(count))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(following))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if callable(close := getattr(source, "close", None)):
            close()


def leaving_a_core(source: Iterator[Item]) -> Iterator[Item]:
    """The same items, made with one thread of torch less than usual: the core is somebody else's.

    Threads that wait for each other spin, and with more of them than cores everything takes several times as long.

    Args:
        source: whose items torch makes.

    Yields:
        What `source` gives.
    """
    usual = torch.get_num_threads()
    torch.set_num_threads(max(1, usual - 1))
    try:
        yield from source
    finally:
        torch.set_num_threads(usual)
