from __future__ import annotations

import time

import pytest

from mien.jobs.run.progress import Silent, TimedProgress


def test_shares_of_the_time() -> None:
    timed = TimedProgress(Silent())
    timed.stage("short", None)
    time.sleep(0.01)
    timed.stage("long", 3)
    time.sleep(0.05)
    timed.stage("short", None)
    shares = timed.stage_time_fractions()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["long"] > shares["short"] > 0


def test_no_stage_at_all() -> None:
    assert TimedProgress(Silent()).stage_time_fractions() == {}
