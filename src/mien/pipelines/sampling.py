"""The denoise_fn of the streaming sampler: what it knows of the frames in flight, and its prediction of a window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from mien.diffusion import SamplerState, WindowPlan, noised
from mien.models.x_portrait import WindowChange
from mien.pipelines.pictures import PictureLike, to_pixels


@dataclass(frozen=True)
class Start:
    """What a frame starts from in place of the source.

    Attributes:
        latents: of a picture [1, c, h, w].
        change: what a model of face windows has made of it.
    """

    latents: Tensor
    change: WindowChange | None = None


class FrameDenoiser(ABC):
    """Reads frames as they go in, predicts windows of them, and forgets them as they come out."""

    def __init__(
        self,
        pipe: Any,
        plan: WindowPlan,
        guidance_scale: float,
        sources: Sequence[Tensor],
        count: int | None = None,
        callback: Callable[..., Any] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Set up.

        Args:
            pipe: the pipeline, with the scheduler's timesteps set.
            plan: the windows.
            guidance_scale: 1: no guidance.
            sources: latents [r, c, h, w] of each portrait.
            count: how many frames there will be, for `progress`; None: not known.
            callback: called with pipe, step, timestep and the latents after every prediction, as diffusers does.
            progress: called with a fraction from 0 to 1.
        """
        if not sources:
            raise ValueError("no portrait is set; call set_portrait first")
        self.pipe, self.plan, self.guidance_scale, self.sources = pipe, plan, guidance_scale, sources
        self.networks, self.device = pipe.networks, pipe._execution_device
        self.timesteps = [t.to(self.device) for t in pipe.scheduler.timesteps]
        self.starts: dict[int, Start] = {}
        self._callback, self._progress, self._count = callback, progress, count
        self._predicted = 0
        self._total = plan.cost(len(self.timesteps), count) if count else 0

    @abstractmethod
    def __call__(self, step: int, rows: Sequence[int], latents: Tensor) -> Tensor:
        """The guided prediction for one window of frames `rows` with noisy latents [f, c, h, w]."""

    @abstractmethod
    def read(self, index: int, frame: Any) -> Tensor:
        """Keep what the networks are told of a frame.

        Args:
            index: of the frame.
            frame: what the stream gives; each pipeline has its own.

        Returns:
            The clean latents [1, c, h, w] that it starts from.
        """

    def init_latents(
        self,
        frames: Iterable[Any],
        generator: torch.Generator | None,
        state: SamplerState | None = None,
    ) -> Iterator[Tensor]:
        """x_T [c, h, w] of one frame after the other: what it starts from, noised.

        Args:
            frames: what `read` takes of every frame that has not come out.
            generator: of the noise.
            state: of a sampler that goes on: frames that went in before get no noise again.
        """
        first, pulled = (0, 0) if state is None else (state.emitted, state.pulled)
        if self._count:
            self._predicted = self._total * first // self._count
        rows = enumerate(frames, first)
        for index, frame in islice(rows, pulled - first):
            self.read(index, frame)
        return self._noisy(rows, generator, int(self.timesteps[0]))

    def _noisy(
        self, rows: Iterator[tuple[int, Any]], generator: torch.Generator | None, level: int
    ) -> Iterator[Tensor]:
        device = torch.device("cpu") if generator is None else generator.device
        for index, frame in rows:
            clean = self.read(index, frame)
            noise = torch.randn(clean.shape, generator=generator, device=device).to(clean)
            yield noised(clean, noise, self.pipe.scheduler.alphas_cumprod, level)[0]

    def start_at(self, index: int, picture: PictureLike) -> Tensor:
        """Let a frame start from a picture in place of the source.

        Args:
            index: of the frame.
            picture: a square of any size.

        Returns:
            Its latents [1, c, h, w].
        """
        latents: Tensor = self.pipe._encode(to_pixels([picture], self.pipe.image_size), device=self.device)
        self.starts[index] = Start(latents)
        return latents

    def release(self, index: int) -> Start | None:
        """Forget a frame that has come out.

        Args:
            index: of the frame.

        Returns:
            What it started from; None: the source.
        """
        return self.starts.pop(index, None)

    def kept_with(self, state: SamplerState) -> SamplerState:
        """The sampler's state with what is kept here of frames that have not come out; `init_latents` takes it back.

        Args:
            state: of the sampler.

        Returns:
            The same, or a copy with more in it.
        """
        return state

    def source_latents(self, rows: Sequence[int]) -> Tensor:
        """What a network that reads its start beside the noisy latents is shown.

        Args:
            rows: frames of the window.

        Returns:
            [f, c, h, w], or [1, c, h, w] where all start from the source.
        """
        return torch.cat([self.starts[row].latents for row in rows]) if self.starts else self.sources[0]

    def report(self, step: int, latents: Tensor) -> None:
        """A window was predicted: tell callback and progress.

        Args:
            step: the denoising step.
            latents: of the window [f, c, h, w].
        """
        self._predicted += len(latents)
        if self._callback is not None:
            self._callback(self.pipe, step, int(self.timesteps[step]), {"latents": latents})
        if self._progress is not None and self._total:
            self._progress(min(1.0, self._predicted / self._total))
