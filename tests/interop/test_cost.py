"""The published cost, taken apart and put together again from our count; and that ours is at most 0.80 of it."""

from __future__ import annotations

import pytest
import torch
from benchmarks.flops import GOAL, PUBLISHED, Parts, measure

from mien.models.x_portrait import SD15, build


@pytest.fixture(scope="module")
def parts() -> Parts:
    with torch.device("meta"):
        networks = build(SD15)
    return measure(networks, SD15.image_size)


def test_ours_is_counted_like_the_published(parts: Parts) -> None:
    # the published script also projects the context for every frame: up to 0.003 in a U-Net of 16 transformers
    ours = {
        "R": parts.reference,
        "C": parts.control + parts.control_features / 2,
        "C_l": parts.local_control + parts.control_features / 2,
        "U-Net, conditional": parts.conditional + parts.keys_values,
        "U-Net, unconditional": parts.unconditional,
    }
    assert ours == pytest.approx(PUBLISHED, abs=0.005)
    assert all(ours[name] <= PUBLISHED[name] + 0.0006 for name in ours)


def test_a_frame_at_a_step_costs_a_fifth_less(parts: Parts) -> None:
    published = sum(PUBLISHED.values())
    assert parts.frame_step(16) <= GOAL * published
    assert parts.frame_step(100, 4, guided=False) < 0.5 * published
