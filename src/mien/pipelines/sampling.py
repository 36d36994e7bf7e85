"""The moving front of a sampling run: what is kept for the frames in flight and for the timesteps in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.diffusion import DenoisingFront, FrontState, WindowPlan, classifier_free, noised
from mien.models.x_portrait import Hints, ReferenceBank, XPortraitNetworks
from mien.pipelines.finishing import Keeper, kept
from mien.pipelines.pictures import Picture, to_pixels
from mien.pipelines.reenactment import Reenacted, Start

MODES = ("control", "balance")


@dataclass(frozen=True)
class Sampling:
    """Resolved options of a run."""

    plan: WindowPlan
    guidance_scale: float
    guidance_mode: str = "control"

    def __post_init__(self) -> None:
        if self.guidance_mode not in MODES:
            raise ValueError(f"guidance_mode must be one of {', '.join(MODES)}, not {self.guidance_mode!r}")


class SampledPipeline(Protocol):
    """What sampling and its costs are computed from: `XPortraitPipeline`, which need not be imported for it."""

    unet: Any
    vae: Any
    scheduler: Any
    _execution_device: torch.device
    _sources: list[Tensor]

    @property
    def networks(self) -> XPortraitNetworks:
        """All networks."""

    @property
    def image_size(self) -> int:
        """Side of the pictures, in pixels."""

    def _encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pictures [n, 3, h, w] in [-1, 1] to scaled latents."""


class Front:
    """Hints of the frames in flight, reference banks of the timesteps, and the guided prediction of a window."""

    def __init__(
        self,
        pipe: SampledPipeline,
        sampling: Sampling,
        sources: Sequence[Tensor],
        count: int | None,
        callback: Callable[..., Any] | None,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.pipe, self.sampling, self.sources = pipe, sampling, sources
        self.networks = pipe.networks
        self.device = pipe._execution_device
        self.timesteps = [t.to(self.device) for t in pipe.scheduler.timesteps]
        self.hints: dict[int, Hints] = {}
        self.banks: dict[int, ReferenceBank] = {}
        self.starts: dict[int, Start] = {}
        self.callback, self.progress = callback, progress
        self.count = count
        self.predicted = 0
        self.total = sampling.plan.cost(len(self.timesteps), count) if count else None

    def begin(
        self,
        frames: Iterable[Picture],
        local_frames: Iterable[Picture] | None,
        start_frames: Iterable[Picture | Reenacted] | None,
        generator: torch.Generator | None,
        noise_level: int | None = None,
        state: FrontState | None = None,
    ) -> Iterator[Tensor]:
        """x_T of one frame after the other; its hints are encoded on the way, once for all timesteps.

        `noise_level`: the timestep the source is noised to; None: the first one (the published script takes 999, also
        where its first timestep is far below, as with few steps). `state`: of a front that is to go on; the streams
        then begin with the first frame that has not come out, and those that went in already get no noise.
        """
        level = int(self.timesteps[0]) if noise_level is None else noise_level
        if self.networks.local_control is not None and local_frames is None:
            raise ValueError("this model has local control: pass local_frames (see mien.geometry.local_patches)")
        first, pulled = (0, 0) if state is None else (state.emitted, state.pulled)
        if self.total is not None and state is not None and self.count:
            self.predicted = self.total * first // self.count
        rows = enumerate(_together(frames, local_frames, start_frames), first)
        for index, row in islice(rows, pulled - first):
            self._read(index, *row)
        return self._noisy(rows, generator, level)

    def _noisy(
        self, rows: Iterator[tuple[int, tuple[Picture, Any, Any]]], generator: torch.Generator | None, level: int
    ) -> Iterator[Tensor]:
        for index, row in rows:
            clean = self._read(index, *row)
            noise = torch.randn(clean.shape, generator=generator, device=_device_of(generator)).to(clean)
            yield noised(clean, noise, self.pipe.scheduler.alphas_cumprod, level)[0]

    @torch.no_grad()
    def _read(self, index: int, frame: Picture, patch: Any, start: Any) -> Tensor:
        """Encode what the networks are told of a frame; returns the latents [1, c, h, w] that it starts from."""
        size, dtype = self.pipe.image_size, self.pipe.unet.dtype
        # The reenactor's picture shows the driver's motion just where the start has its features; the aligned driver,
        # another face, does not, and eyes would be drawn twice.
        shown = start.picture if isinstance(start, Reenacted) else frame
        pixels = to_pixels([shown], size).to(self.device, dtype)
        local = None if patch is None else to_pixels([patch], size).to(self.device, dtype)
        self.hints[index] = self.networks.read_motion(pixels, local)
        if start is None:
            return self.sources[0]
        face = start.face if isinstance(start, Reenacted) else None
        picture = to_pixels([start.picture if isinstance(start, Reenacted) else start], size)
        clean = self.pipe._encode(picture)
        self.starts[index] = Start(picture[0], clean, face)
        return clean

    def run(
        self,
        streams: tuple[Iterable[Picture], Iterable[Picture] | None, Iterable[Picture | Reenacted] | None],
        generator: torch.Generator | None,
        decode: Callable[[Sequence[Any]], Tensor],
        chunk_size: int,
        state: FrontState | None,
        keeper: Keeper | None,
        note: Callable[[str], None] | None,
    ) -> Iterator[NDArray[Any]]:
        """Frames uint8 [h, w, 3] as they are finished, decoded by `chunk_size` and kept.

        streams: driving frames, their patches and what they start from, without those that came out before `state`.
        """
        starts = self.begin(*streams, generator, state=state)
        scheduler, plan = self.pipe.scheduler, self.sampling.plan
        done = DenoisingFront(starts, scheduler, plan, self.predict, generator, state, self.device)
        yield from kept(done, self.release(done, done.emitted), decode, chunk_size, keeper, note)

    def release(self, finished: Iterator[Tensor], first: int = 0) -> Iterator[tuple[Tensor, Start | None]]:
        """Pass final latents on, with what they started from if that was not the source, and forget their frames.

        first: the number of the first frame that comes.
        """
        for index, latents in enumerate(finished, first):
            del self.hints[index]
            yield latents, self.starts.pop(index, None)

    @torch.no_grad()
    def predict(self, step: int, rows: Sequence[int], latents: Tensor) -> Tensor:
        """The guided prediction for one window of frames `rows` with latents [f, c, h, w]."""
        timestep = self.timesteps[step]
        scaled = self.pipe.scheduler.scale_model_input(latents, timestep)
        bank, hints = self._bank(step, rows), self._gather(rows)
        got = self._guided(scaled, timestep, bank, hints, self._beside(rows))
        self._report(step, latents)
        return got

    def _beside(self, rows: Sequence[int]) -> Tensor:
        """What a network that reads its start beside the noisy latents is shown: [f, c, h, w], or [1, c, h, w]."""
        return torch.cat([self.starts[row].latents for row in rows]) if self.starts else self.sources[0]

    def _guided(self, latents: Tensor, timestep: Tensor, bank: ReferenceBank, hints: Hints, beside: Tensor) -> Tensor:
        nets, scale, count = self.networks, self.sampling.guidance_scale, len(latents)
        conditional = nets.predict(latents, timestep, count, bank, hints, beside)
        if scale == 1:
            return conditional
        if self.sampling.guidance_mode == "balance":
            unconditional = nets.predict(latents, timestep, count, bank, self._blank(latents), beside)
        else:
            unconditional = nets.predict(latents, timestep, count)
        return classifier_free(unconditional, conditional, scale)

    def _bank(self, step: int, rows: Sequence[int]) -> ReferenceBank:
        """Reference tokens and their keys and values: they depend on the portrait and the timestep alone.

        Sources with latents per frame, which only the published script has, give each frame its own tokens.
        """
        if step not in self.banks:
            self.banks[step] = self.networks.read_appearance(self.sources, self.timesteps[step])
        bank, per_frame = self.banks[step], len(self.sources[0]) > 1
        return bank.select(torch.as_tensor(rows, device=self.device)) if per_frame else bank

    def _gather(self, rows: Sequence[int]) -> Hints:
        chosen = [self.hints[row] for row in rows]
        locals_ = [hint.local for hint in chosen if hint.local is not None]
        return Hints(torch.cat([hint.motion for hint in chosen]), torch.cat(locals_) if locals_ else None)

    def _blank(self, latents: Tensor) -> Hints:
        """Hints of grey pictures (0 in [-1, 1]), as the published script's "balance" mode uses."""
        pixels = 2 ** (len(self.pipe.vae.config.block_out_channels) - 1)
        height, width = latents.shape[-2] * pixels, latents.shape[-1] * pixels
        grey = torch.zeros(1, 3, height, width, device=self.device, dtype=self.pipe.unet.dtype)
        hints = self.networks.read_motion(grey, grey if self.networks.local_control is not None else None)
        return hints.select(torch.zeros(len(latents), dtype=torch.long, device=self.device))

    def _report(self, step: int, latents: Tensor) -> None:
        self.predicted += len(latents)
        if self.callback is not None:
            self.callback(self.pipe, step, int(self.timesteps[step]), {"latents": latents})
        if self.progress is not None and self.total:
            self.progress(min(1.0, self.predicted / self.total))


def remaining(state: FrontState | None, *streams: Any) -> tuple[Any, ...]:
    """Streams of frames, None among them, without what came out before `state`."""
    if state is None:
        return streams
    return tuple(stream if stream is None else islice(stream, state.emitted, None) for stream in streams)


def _together(
    frames: Iterable[Picture], patches: Iterable[Picture] | None, starts: Iterable[Picture | Reenacted] | None
) -> Iterator[tuple[Picture, Any, Any]]:
    """Frame, patch and start frame by frame; ValueError if a stream that was given is shorter than the frames."""
    streams: dict[str, Iterable[Any] | None] = {"local_frames": patches, "start_frames": starts}
    beside = {name: iter(stream) for name, stream in streams.items() if stream is not None}
    for index, frame in enumerate(frames):
        got: dict[str, Any] = {name: next(stream, None) for name, stream in beside.items()}
        for name, picture in got.items():
            if picture is None:
                raise ValueError(f"{name} ends after {index} frames, before the driving frames do")
        yield frame, got.get("local_frames"), got.get("start_frames")


def _device_of(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device
