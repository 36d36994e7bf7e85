"""Work counted without computing, against what torch's own profiler and counter see of the real thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from mien.models.x_portrait import XPortraitNetworks
from mien.pipelines.cost import on_meta
from mien.pipelines.work import measure
from tiny import tiny_networks


def window(networks: XPortraitNetworks, device: str) -> Callable[[], Any]:
    """A window of 4 frames, its inputs made beforehand."""
    with torch.device(device), torch.no_grad():
        noisy, source, timestep = torch.zeros(4, 4, 32, 32), torch.zeros(1, 4, 32, 32), torch.ones(())
        pixels = torch.zeros(4, 3, 64, 64)
        bank, hints = networks.read_appearance([source], timestep), networks.read_motion(pixels, pixels)
    return lambda: networks.predict(noisy, timestep, 4, bank, hints)


def real_peak(work: Callable[[], Any]) -> int:
    """Bytes at once, by the allocator's own events."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    now = peak = 0
    for event in seen.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


@torch.no_grad()
def test_a_window_s_peak_is_that_of_the_allocator() -> None:
    networks = tiny_networks()
    counted = measure(window(on_meta(networks), "meta"))
    assert 0.9 < counted.peak / real_peak(window(networks, "cpu")) < 1.1


@torch.no_grad()
def test_attention_counts_as_its_two_products() -> None:
    with torch.device("meta"):
        query, key = torch.empty(2, 3, 5, 7), torch.empty(2, 3, 11, 7)
    attended = measure(lambda: nn.functional.scaled_dot_product_attention(query, key, key))
    assert attended.flops == 2 * (2 * 2 * 3 * 5 * 11 * 7)
    assert attended.peak == 4 * query.numel(), "the scores are never held"
    with torch.device("meta"):
        layer, given = nn.Linear(8, 4), torch.empty(3, 8)
    with FlopCounterMode(display=False) as counter:
        layer(given)
    assert measure(lambda: layer(given)).flops == counter.get_total_flops() == 2 * 3 * 8 * 4


def test_views_and_writing_in_place_take_nothing() -> None:
    with torch.device("meta"):
        given = torch.empty(10)

    def work() -> torch.Tensor:
        made = given + 1
        made.view(2, 5).add_(1)
        return made[2:]

    assert measure(work).peak == 40
    assert measure(lambda: [given + 1 for _ in range(3)]).peak == 120
    assert measure(lambda: (given + 1) * 2).peak == 80
