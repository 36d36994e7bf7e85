"""The denoising loops: over a stream of frames (ours) and over a ring of frames (the published script's)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from mien.diffusion.windows import WindowPlan, official_windows

# step index, indices of the frames, their noisy latents [f, c, h, w] -> (guided) prediction of the same shape
Predict = Callable[[int, Sequence[int], Tensor], Tensor]


def advance(
    scheduler: SchedulerMixin, step: int, prediction: Tensor, latents: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """One update of some frames; schedulers that count their calls are told the step, for frames arrive in pieces."""
    if hasattr(scheduler, "_step_index"):
        scheduler._step_index = step
    timestep = scheduler.timesteps[step]
    result: Tensor = scheduler.step(prediction, timestep, latents, generator=generator, return_dict=False)[0]
    return result


@dataclass(frozen=True)
class FrontState:
    """A `DenoisingFront` between two frames, from which another one goes on as if nothing had happened.

    emitted: frames that have come out. pulled: frames that have gone in. tensors, numbers: what the steps hold.
    """

    emitted: int
    pulled: int
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class DenoisingFront(Iterator[Tensor]):
    """The final latents [c, h, w] of a stream of frames, in order.

    `start` yields x_T of each frame. The result is the same as doing every step over the whole clip at once, because a
    step needs only the neighbours' previous step: the steps run as a slanted front along the clip, at most about
    steps x stride frames wide, so that an hour needs no more memory than a minute.
    `state`: go on from there, on `device`; `start` then yields the frames from `state.pulled` on, and the generator is
    set back.
    """

    def __init__(
        self,
        start: Iterator[Tensor],
        scheduler: SchedulerMixin,
        plan: WindowPlan,
        predict: Predict,
        generator: torch.Generator | None = None,
        state: FrontState | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._device = device
        self._start, self._scheduler, self._predict, self._generator = start, scheduler, predict, generator
        self._levels = [_Level(step, plan) for step in range(len(scheduler.timesteps))]
        self._finished: deque[Tensor] = deque()
        self.emitted, self._pulled, self._ended = 0, 0, False
        if state is not None:
            self._restore(state)

    def __next__(self) -> Tensor:
        while not self._finished:
            if self._ended and self.emitted == self._pulled:
                raise StopIteration
            self._advance()
        self.emitted += 1
        return self._finished.popleft()

    def _advance(self) -> None:
        """Run the latest step that can run, or take in a frame."""
        ready = next((level for level in reversed(self._levels) if level.ready(self._pulled, self._ended)), None)
        if ready is not None:
            count = self._pulled if self._ended else None
            done = ready.run(self._scheduler, self._predict, count, self._generator)
            last = ready is self._levels[-1]
            target = self._finished if last else self._levels[ready.step + 1].latents
            target.extend(done)
        elif not self._ended:
            latents = next(self._start, None)
            self._ended = latents is None
            if latents is not None:
                self._levels[0].latents.append(latents)
                self._pulled += 1
        else:
            raise AssertionError("the front is stuck")

    def state(self) -> FrontState:
        """What another front needs to go on from here. Its size is that of the frames in flight."""
        tensors: dict[str, Tensor] = {}
        held = {"finished": list(self._finished)}
        for level in self._levels:
            held |= {f"{level.step}.latents": level.latents, f"{level.step}.sums": level.sums}
        for name, rows in held.items():
            if rows:
                tensors[name] = torch.stack(rows).cpu()
        if self._generator is not None:
            tensors["generator"] = self._generator.get_state()
        numbers = {"ended": self._ended, "levels": [level.numbers() for level in self._levels]}
        return FrontState(self.emitted, self._pulled, tensors, numbers)

    def _restore(self, state: FrontState) -> None:
        self.emitted, self._pulled, self._ended = state.emitted, state.pulled, state.numbers["ended"]

        def rows(name: str) -> list[Tensor]:
            return list(state.tensors[name].to(device=self._device)) if name in state.tensors else []

        self._finished.extend(rows("finished"))
        for level, numbers in zip(self._levels, state.numbers["levels"], strict=True):
            level.restore(rows(f"{level.step}.latents"), rows(f"{level.step}.sums"), numbers)
        if self._generator is not None:
            self._generator.set_state(state.tensors["generator"])


class _Level:
    """One denoising step: frames waiting for it (from index `first` on), sums of the windows that have seen them."""

    def __init__(self, step: int, plan: WindowPlan) -> None:
        self.step, self.plan = step, plan
        self.latents: list[Tensor] = []
        self.sums: list[Tensor] = []
        self.counts: list[int] = []
        self.first = 0
        self._place(0)
        self.over = False

    def _place(self, runs: int) -> None:
        """The windows after so many."""
        self.runs = runs
        self._wished = islice(self.plan.wished(self.step), runs, None)
        self.now, self.after = islice(self._wished, 2)

    def numbers(self) -> list[Any]:
        """All that is not a tensor, for `restore`."""
        return [self.first, self.runs, self.over, list(self.counts)]

    def restore(self, latents: list[Tensor], sums: list[Tensor], numbers: list[Any]) -> None:
        """Take over what another one held."""
        self.latents, self.sums = latents, sums
        self.first, runs, self.over, self.counts = numbers
        self._place(runs)

    def ready(self, pulled: int, ended: bool) -> bool:
        """Whether the next window has all its frames, and enough is known of the clip's end to place the one after."""
        if self.over or not self.latents:
            return False
        if ended:
            start = min(self.now, max(0, pulled - self.plan.length))
            return self.first + len(self.latents) >= min(start + self.plan.length, pulled)
        return pulled >= self.after + self.plan.length and self.first + len(self.latents) >= self.now + self.plan.length

    def run(
        self, scheduler: SchedulerMixin, predict: Predict, count: int | None, generator: torch.Generator | None
    ) -> list[Tensor]:
        """Run the next window; returns the frames that no later window of this step will see, updated."""
        last = None if count is None else max(0, count - self.plan.length)
        start = self.now if last is None else min(self.now, last)
        end = start + self.plan.length if count is None else min(start + self.plan.length, count)
        low, high = start - self.first, end - self.first
        prediction = predict(self.step, range(start, end), torch.stack(self.latents[low:high]))
        for place, part in enumerate(prediction, low):
            if place < len(self.sums):
                self.sums[place] = self.sums[place] + part
                self.counts[place] += 1
            else:
                self.sums.append(part)
                self.counts.append(1)
        self.over = last is not None and self.now >= last
        self.now, self.after = self.after, next(self._wished)
        self.runs += 1
        following = end if self.over else self.now if last is None else min(self.now, last)
        return self._retire(scheduler, following - self.first, generator)

    def _retire(self, scheduler: SchedulerMixin, number: int, generator: torch.Generator | None) -> list[Tensor]:
        if number == 0:
            return []
        mean = torch.stack([total / n for total, n in zip(self.sums[:number], self.counts[:number], strict=True)])
        done = advance(scheduler, self.step, mean, torch.stack(self.latents[:number]), generator)
        del self.latents[:number], self.sums[:number], self.counts[:number]
        self.first += number
        return list(done)


def denoise_ring(
    latents: Tensor,
    scheduler: SchedulerMixin,
    predict: Predict,
    offsets: Sequence[int],
    length: int = 16,
    overlap: int = 4,
    generator: torch.Generator | None = None,
    on_step: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """The published script's loop, for comparison with it: `latents` [n, c, h, w] form a ring, cut at `offsets[step]`.

    `on_step(step, mean prediction, new latents)` sees every step. Raises ValueError where the script divides by zero.
    """
    count = len(latents)
    if count <= overlap:
        raise ValueError(f"the published script cannot animate {count} frames with an overlap of {overlap}")
    for step in range(len(scheduler.timesteps)):
        total, counts = torch.zeros_like(latents), torch.zeros(count, device=latents.device, dtype=latents.dtype)
        for rows in official_windows(count, length, overlap, offsets[step]):
            # repeated indices inside one window: the last write wins and is counted once, as in the script
            seen = torch.zeros_like(total)
            seen[rows] = predict(step, rows, latents[rows])
            total += seen
            counts[sorted(set(rows))] += 1
        mean = total / counts.view(-1, 1, 1, 1)
        latents = advance(scheduler, step, mean, latents, generator)
        if on_step is not None:
            on_step(step, mean, latents)
    return latents
