"""Windows: every frame covered, inside the clip, weights that sum to one."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mien.diffusion import WindowPlan


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 15, 16, 17, 31, 100, 257])
@pytest.mark.parametrize(("length", "overlap"), [(16, 4), (16, 0), (8, 7), (1, 0), (24, 5)])
def test_every_frame_is_covered_at_every_step(count: int, length: int, overlap: int) -> None:
    plan = WindowPlan(length, overlap)
    for step in range(31):
        windows = plan.windows(step, count)
        covered = {frame for start, end in windows for frame in range(start, end)}
        assert covered == set(range(count))
        assert all(0 <= start < end <= count and end - start == min(length, count) for start, end in windows)
        starts = [start for start, _ in windows]
        assert starts == sorted(set(starts))
        gaps = [a[1] - b[0] for a, b in pairwise(windows)]
        assert all(shared >= min(overlap, length - 1) for shared in gaps)


def test_seams_move_from_step_to_step() -> None:
    plan = WindowPlan(16, 4)
    assert len({tuple(plan.windows(step, 200)) for step in range(12)}) >= 4


@pytest.mark.parametrize(("length", "overlap"), [(0, 0), (4, 4), (4, -1), (4, 9)])
def test_impossible_plans_are_refused(length: int, overlap: int) -> None:
    with pytest.raises(ValueError):
        WindowPlan(length, overlap)
