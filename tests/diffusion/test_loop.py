"""The slanted front gives what whole-clip steps give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice

import pytest
import torch
from diffusers import LCMScheduler
from torch import Tensor

from mien.diffusion import (
    SamplerState,
    StreamingSampler,
    WindowPlan,
    XPortraitDDIMScheduler,
    advance,
)


def scheduler(steps: int) -> XPortraitDDIMScheduler:
    made = XPortraitDDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False)
    made.set_timesteps(steps)
    return made


def window_dependent(step: int, rows: Sequence[int], latents: Tensor) -> Tensor:
    """A prediction in which frames of one window see each other and their place in it."""
    place = torch.linspace(0, 1, len(rows)).view(-1, 1, 1, 1)
    return 0.3 * latents + 0.2 * latents.mean(0, keepdim=True) + 0.1 * place * (step + 1)


def whole_clip(start: Tensor, steps: int, plan: WindowPlan) -> Tensor:
    made, latents = scheduler(steps), start
    for step in range(len(made.timesteps)):
        total, counts = torch.zeros_like(latents), torch.zeros(len(latents))
        for low, high in plan.windows(step, len(latents)):
            total[low:high] += window_dependent(step, range(low, high), latents[low:high])
            counts[low:high] += 1
        latents = advance(made, step, total / counts.view(-1, 1, 1, 1), latents)
    return latents


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 40, 100])
@pytest.mark.parametrize(("length", "overlap"), [(8, 2), (16, 4), (5, 4), (1, 0)])
def test_stream_equals_whole_clip(count: int, length: int, overlap: int) -> None:
    torch.manual_seed(count)
    start, plan = torch.randn(count, 2, 3, 3, dtype=torch.float64), WindowPlan(length, overlap)
    got = torch.stack(list(StreamingSampler(iter(start), scheduler(4), plan, window_dependent)))
    assert torch.allclose(got, whole_clip(start, 4, plan), atol=1e-12)


def test_stream_holds_only_the_front() -> None:
    pulled, widest = 0, 0

    def source():
        nonlocal pulled
        for _ in range(600):
            pulled += 1
            yield torch.zeros(1, 1, 1)

    for emitted, _ in enumerate(StreamingSampler(source(), scheduler(4), WindowPlan(8, 2), window_dependent), 1):
        widest = max(widest, pulled - emitted)
    assert emitted == 600
    assert widest <= 5 * 8 + 2 * 8


@pytest.mark.parametrize("stopped", [0, 1, 5, 8, 13, 39, 40])
@pytest.mark.parametrize(("length", "overlap", "steps"), [(8, 2, 4), (8, 0, 1), (5, 4, 3)])
def test_a_front_that_goes_on_gives_the_same(stopped: int, length: int, overlap: int, steps: int) -> None:
    """The noise of the start and of LCM's steps comes from one generator, whose state goes along."""
    plan, clean = WindowPlan(length, overlap), torch.arange(40.0).view(40, 1, 1, 1)

    def sampler() -> LCMScheduler:
        made = LCMScheduler()
        made.set_timesteps(steps)
        return made

    def start(generator: torch.Generator, first: int = 0) -> Iterator[Tensor]:
        for frame in clean[first:]:
            yield frame + torch.randn(1, 2, 2, generator=generator)

    generator = torch.Generator().manual_seed(1)
    undisturbed = list(StreamingSampler(start(generator), sampler(), plan, window_dependent, generator))
    generator = torch.Generator().manual_seed(1)
    front = StreamingSampler(start(generator), sampler(), plan, window_dependent, generator)
    before = list(islice(front, stopped))
    state = front.state()
    numbers = json.loads(json.dumps(state.numbers))
    assert sum(t.numel() for t in state.tensors.values() if t.dtype != torch.uint8) <= 8 * (steps + 2) * length
    next(front, None)  # what the killed run did after that counts for nothing
    state = SamplerState(state.emitted, state.pulled, state.tensors, numbers)
    generator = torch.Generator().manual_seed(7)
    rest = StreamingSampler(start(generator, state.pulled), sampler(), plan, window_dependent, generator, state)
    assert all(torch.equal(*pair) for pair in zip(undisturbed, [*before, *rest], strict=True))


def test_official_timesteps() -> None:
    assert len(scheduler(30).timesteps) == 31
    assert scheduler(30).timesteps[0] == 991
    assert len(scheduler(6).timesteps) == 7
    assert scheduler(5).timesteps.tolist() == [801, 601, 401, 201, 1]
