"""Denoising a stream of frames in overlapping windows, in memory that does not grow with the clip.

step 0   |########|--->            the steps run as a slanted front along the clip, each a few windows behind the
step 1   |#####|--->               one before; a frame comes out when the last step has passed it, while others
step 2   |##|--->                  are still going in on the left side of step 0
         frames of the clip -->
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from mien.diffusion.windows import WindowPlan

# step index, indices of the frames, their noisy latents [f, c, h, w] -> (guided) prediction of the same shape
DenoiseFn = Callable[[int, Sequence[int], Tensor], Tensor]


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
class SamplerState:
    """A `StreamingSampler` between two frames, from which another one goes on as if nothing had happened.

    Attributes:
        emitted: frames that have come out.
        pulled: frames that have gone in.
        tensors: latents in flight and the generator's state.
        numbers: all else that the steps hold, fit for JSON.
    """

    emitted: int
    pulled: int
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class StreamingSampler(Iterator[Tensor]):
    """The final latents [c, h, w] of a stream of frames, in order.

    The result is the same as doing every step over the whole clip at once, because a step needs only the neighbours'
    previous step; at most about steps x stride frames are in flight.
    """

    def __init__(
        self,
        init_latents: Iterator[Tensor],
        scheduler: SchedulerMixin,
        plan: WindowPlan,
        denoise_fn: DenoiseFn,
        generator: torch.Generator | None = None,
        state: SamplerState | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Set up, or go on from a state.

        Args:
            init_latents: x_T [c, h, w] of each frame; with a `state`, of the frames from `state.pulled` on.
            scheduler: with its timesteps set.
            plan: how the clip is cut into windows at every step.
            denoise_fn: the (guided) prediction for one window at one step.
            generator: of the scheduler's fresh noise; set back to where it was with a `state`.
            state: where an earlier sampler stood.
            device: where latents of the `state` go.
        """
        self._device, self._generator = device, generator
        self._init_latents, self._scheduler, self._denoise_fn = init_latents, scheduler, denoise_fn
        self._steps = [_Step(index, plan) for index in range(len(scheduler.timesteps))]
        self._finished: deque[Tensor] = deque()
        self.emitted, self._pulled, self._ended = 0, 0, False
        if state is not None:
            self._restore(state)

    def __next__(self) -> Tensor:
        while not self._finished:
            # the latest step that has all the frames of its next window; else one more frame is taken in
            step = next((step for step in reversed(self._steps) if step.ready(self._pulled, self._ended)), None)
            if step is not None:
                frames = step.window(self._pulled if self._ended else None)
                prediction = self._denoise_fn(step.index, frames, step.latents_of(frames))
                done = step.add(frames, prediction, self._scheduler, self._generator)
                (self._finished if step is self._steps[-1] else self._steps[step.index + 1].latents).extend(done)
            elif self._ended:
                raise StopIteration
            elif (latents := next(self._init_latents, None)) is None:
                self._ended = True
            else:
                self._steps[0].latents.append(latents)
                self._pulled += 1
        self.emitted += 1
        return self._finished.popleft()

    def state(self) -> SamplerState:
        """What another sampler needs to go on from here. Its size is that of the frames in flight."""
        tensors: dict[str, Tensor] = {}
        held = {"finished": list(self._finished)}
        for step in self._steps:
            held |= {f"{step.index}.latents": step.latents, f"{step.index}.sums": step.sums}
        for name, frames in held.items():
            if frames:
                tensors[name] = torch.stack(frames).cpu()
        if self._generator is not None:
            tensors["generator"] = self._generator.get_state()
        numbers = {"ended": self._ended, "levels": [step.numbers() for step in self._steps]}
        return SamplerState(self.emitted, self._pulled, tensors, numbers)

    def _restore(self, state: SamplerState) -> None:
        self.emitted, self._pulled, self._ended = state.emitted, state.pulled, state.numbers["ended"]

        def frames(name: str) -> list[Tensor]:
            return list(state.tensors[name].to(device=self._device)) if name in state.tensors else []

        self._finished.extend(frames("finished"))
        for step, numbers in zip(self._steps, state.numbers["levels"], strict=True):
            step.restore(frames(f"{step.index}.latents"), frames(f"{step.index}.sums"), numbers)
        if self._generator is not None:
            self._generator.set_state(state.tensors["generator"])


class _Step:
    """One denoising step: frames waiting for it (from number `first` on), sums of the windows that have seen them."""

    def __init__(self, index: int, plan: WindowPlan) -> None:
        self.index, self.plan = index, plan
        self.latents: list[Tensor] = []
        self.sums: list[Tensor] = []
        self.counts: list[int] = []
        self.first, self.over = 0, False
        self._place(0)

    def _place(self, runs: int) -> None:
        """The windows after so many."""
        self.runs = runs
        self._wished = islice(self.plan.wished(self.index), runs, None)
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

    def window(self, count: int | None) -> range:
        """The frames of the next window; count: how many the clip has, None: not known yet. Moves on to the next."""
        last = None if count is None else max(0, count - self.plan.length)
        start = self.now if last is None else min(self.now, last)
        end = start + self.plan.length if count is None else min(start + self.plan.length, count)
        self.over = last is not None and self.now >= last
        self.now, self.after = self.after, next(self._wished)
        self.runs += 1
        self._following = end if self.over else self.now if last is None else min(self.now, last)
        return range(start, end)

    def latents_of(self, frames: range) -> Tensor:
        """Noisy latents [f, c, h, w] of some frames."""
        return torch.stack(self.latents[frames.start - self.first : frames.stop - self.first])

    def add(
        self, frames: range, prediction: Tensor, scheduler: SchedulerMixin, generator: torch.Generator | None
    ) -> list[Tensor]:
        """Take in a window's prediction; returns the frames that no later window of this step will see, updated."""
        for place, part in enumerate(prediction, frames.start - self.first):
            if place < len(self.sums):
                self.sums[place] = self.sums[place] + part
                self.counts[place] += 1
            else:
                self.sums.append(part)
                self.counts.append(1)
        number = self._following - self.first
        if number == 0:
            return []
        mean = torch.stack([total / n for total, n in zip(self.sums[:number], self.counts[:number], strict=True)])
        done = advance(scheduler, self.index, mean, torch.stack(self.latents[:number]), generator)
        del self.latents[:number], self.sums[:number], self.counts[:number]
        self.first += number
        return list(done)
