"""Work ahead in a thread: the same items in order, no more than there is room for, and nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest
import torch

from mien.animation.ahead import ahead, leaving_a_core

ASKED: ContextVar[str] = ContextVar("asked", default="nobody")


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mien-ahead")]


def test_items_come_in_order_and_the_thread_ends() -> None:
    assert list(ahead(iter(range(20)), 3)) == list(range(20))
    assert threads() == []


def test_no_more_is_made_than_there_is_room_for() -> None:
    made: list[int] = []
    enough = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 3:
                enough.set()
            yield number

    items = ahead(numbers(), 3)
    assert made == [], "it begins with the first item that is asked for"
    assert next(items) == 0
    assert enough.wait(5) and len(made) <= 4
    items.close()  # type: ignore[attr-defined]
    assert threads() == [] and len(made) <= 4


def test_what_is_raised_comes_where_its_item_would_have_been() -> None:
    def breaks() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = ahead(breaks(), 4)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert threads() == []


def test_a_source_is_closed_with_it() -> None:
    closed = []

    def open_file() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    items = ahead(open_file(), 2)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_the_thread_sees_the_callers_context() -> None:
    token = ASKED.set("somebody")
    try:
        assert list(ahead((ASKED.get() for _ in range(2)), 1)) == ["somebody"] * 2
    finally:
        ASKED.reset(token)


def test_a_core_is_left_and_given_back() -> None:
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert list(leaving_a_core(torch.get_num_threads() for _ in range(2))) == [1, 1]
        assert torch.get_num_threads() == 2
        assert list(ahead(leaving_a_core(iter([1])), 1)) == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)
