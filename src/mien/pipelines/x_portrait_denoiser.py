"""X-Portrait's denoise_fn: control features of the frames in flight, reference features of the timesteps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mien.diffusion import WindowPlan, classifier_free
from mien.models.sd_backbone.backbone import FirstLayers
from mien.models.x_portrait import ControlFeatures, ReferenceFeatures
from mien.pipelines.compiled import CompiledWindows, compiled_windows
from mien.pipelines.cost import Needs, in_flight, needs, resident_bytes
from mien.pipelines.pictures import PictureLike, to_pixels
from mien.pipelines.placement import free_bytes, offloading
from mien.pipelines.sampling import Start
from mien.pipelines.window_denoiser import WindowDenoiser, stacked

MODES = ("control", "balance")


@dataclass(frozen=True)
class DrivingFrame:
    """What X-Portrait sees of a frame.

    Attributes:
        frame: the driving square.
        patch: the same with all but eyes and mouth blank; None: the model has no local control.
        start: what the frame starts from in place of the source; None: the source.
    """

    picture: PictureLike
    patch: PictureLike | None = None
    start: PictureLike | None = None


def driving_frames(
    frames: Iterable[PictureLike],
    patches: Iterable[PictureLike] | None,
    starts: Iterable[PictureLike] | None,
) -> Iterator[DrivingFrame]:
    """A frame of each stream together.

    Args:
        frames: driving squares.
        patches: their eyes and mouth; None: the model has no local control.
        starts: what each frame starts from; None: the source.

    Yields:
        One a frame.

    Raises:
        ValueError: one that was given is shorter than the frames.
    """
    given: dict[str, Iterable[Any] | None] = {"local_frames": patches, "start_frames": starts}
    others = {name: iter(stream) for name, stream in given.items() if stream is not None}
    for index, frame in enumerate(frames):
        got: dict[str, Any] = {name: next(stream, None) for name, stream in others.items()}
        for name, picture in got.items():
            if picture is None:
                raise ValueError(f"{name} ends after {index} frames, before the driving frames do")
        yield DrivingFrame(frame, got.get("local_frames"), got.get("start_frames"))


def split_room(
    free: int, need: Needs, plan: WindowPlan, steps: int, frames: int | None, device: torch.device
) -> tuple[int, torch.device]:
    """Of how many steps R's features are kept, and where frames under way wait.

    Features that are not kept are made again for every window, by a pass of R over one picture; frames that wait in
    main memory are brought in a few milliseconds.

    Args:
        free: bytes on the device.
        need: bytes of everything.
        plan: the windows.
        steps: denoising steps.
        frames: of the clip; None: not known.
        device: where the networks are.

    Returns:
        The number of steps, at least 1; the device or, where it has no room, the CPU.
    """
    busy, flying = in_flight(plan, steps, frames)
    room = free - need.work - need.reference_features - plan.length * need.control_features
    kept = max(1, min(busy, 1 + room // need.reference_features))
    room -= (kept - 1) * need.reference_features
    return kept, device if room >= flying * need.control_features else torch.device("cpu")


class XPortraitDenoiser(WindowDenoiser):
    """What `StreamingSampler` asks of X-Portrait.

    With `guidance_mode` "control" reference and control are dropped in the unconditional branch, with "balance" the
    control pictures alone are blanked. With `compiled` OpenVINO runs the networks of face windows where it can.
    """

    def __init__(self, *args: Any, guidance_mode: str = "control", compiled: bool = False, **more: Any) -> None:
        if guidance_mode not in MODES:
            raise ValueError(f"guidance_mode must be one of {', '.join(MODES)}, not {guidance_mode!r}")
        super().__init__(*args, **more)
        self.guidance_mode = guidance_mode
        self._dtype = self.pipe.unet.dtype  # every layer is asked for it
        self.control_features: dict[int, ControlFeatures] = {}
        kept: dict[int, ReferenceFeatures] | None = self.pipe.kept_references
        self.reference_features: dict[int, ReferenceFeatures] = {} if kept is None else kept
        plain = self.device.type == "cpu" and self._dtype == torch.float32 and len(self.sources[0]) == 1
        self._wants_programs = compiled and plain
        self._most_kept, self._waiting = self._room()

    @cached_property
    def _programs(self) -> CompiledWindows | None:
        """What runs in place of the networks; None: nothing does."""
        if not self._wants_programs:
            return None
        return compiled_windows(self.pipe, self.plan.length if self._count else 1, self._features_of(0, [0]))

    def _room(self) -> tuple[int, torch.device]:
        """See `split_room`; on a CPU all are kept, and here."""
        steps, free = len(self.timesteps), free_bytes(self.device)
        if free is None:
            return steps, self.device
        need = needs(self.pipe, self.plan.length, self.guidance_scale != 1, len(self.sources))
        moved = offloading(self.pipe)
        resident = resident_bytes(self.pipe, moved) if moved != "none" else 0
        return split_room(free - resident, need, self.plan, steps, self._count, self.device)

    @torch.no_grad()
    def read(self, index: int, frame: DrivingFrame) -> Tensor:
        """See `FrameDenoiser.read`; controls are encoded here, once for all timesteps."""
        size, dtype, start = self.pipe.image_size, self._dtype, frame.start
        if self.networks.local_control is not None and frame.patch is None:
            raise ValueError("this model has local control: pass local_frames (see mien.geometry.local_patches)")
        pixels = to_pixels([frame.picture], size).to(self.device, dtype)
        local = None if frame.patch is None else to_pixels([frame.patch], self.pipe.local_size).to(self.device, dtype)
        control_features = (self._programs or self.networks).read_motion(pixels, local)
        self.control_features[index] = control_features.to(self._waiting)
        if start is None:
            if self.networks.window_head is not None:
                raise ValueError("this model paints over moved portraits: pass start_frames")
            return self.sources[0]
        return self.start_at(index, start)

    def release(self, index: int) -> Start | None:
        """See `FrameDenoiser.release`."""
        del self.control_features[index]
        return super().release(index)

    @torch.no_grad()
    def __call__(self, step: int, rows: Sequence[int], latents: Tensor) -> Tensor:
        """See `FrameDenoiser.__call__`."""
        nets, timestep, count = self.networks, self.timesteps[step], len(latents)
        reference, control_features = self._features_of(step, rows), self._gather(rows)
        source_latents = self.source_latents(rows)
        noisy = self.pipe.scheduler.scale_model_input(latents, timestep)
        if nets.window_head is not None:
            return self._windows(step, rows, noisy, (reference, control_features, source_latents))
        guided, balanced = self.guidance_scale != 1, self.guidance_mode == "balance"
        # a U-Net that reads the source has it in one branch alone, unless both are told all
        shared = FirstLayers() if guided and (balanced or not nets.unet.reads_source) else None
        prediction = nets.predict(noisy, timestep, count, reference, control_features, source_latents, shared)
        if guided:
            bare = (reference, self._blank(latents), source_latents) if balanced else (None, None, None)
            unconditional = nets.predict(noisy, timestep, count, *bare, shared)
            prediction = classifier_free(unconditional, prediction, self.guidance_scale)
        self._finish_window(step, rows, latents)
        return prediction

    def _windows(self, step: int, rows: Sequence[int], noisy: Tensor, given: tuple[Any, Any, Tensor]) -> Tensor:
        """x_0 of face windows; at the last step, what was done to them is kept."""
        programs = self._programs
        if programs is not None and len(noisy) == programs.batch:
            made, moved = programs.change(noisy, *given), noisy  # the step is the last, which looks at no moved ones
        else:
            change, moved = self.networks.change(noisy, self.timesteps[step], len(noisy), *given)
            made = stacked(change)
        self._finish_window(step, rows, noisy)
        return self.finished_windows(step, rows, made, moved, noisy)

    def _finish_window(self, step: int, rows: Sequence[int], latents: Tensor) -> None:
        if self._count is not None and rows[-1] == self._count - 1:
            self.reference_features.pop(step, None)  # the step has seen the whole clip
        self.report(step, latents)

    def _features_of(self, step: int, rows: Sequence[int]) -> ReferenceFeatures:
        """Reference tokens and their keys and values: they depend on the portrait and the timestep alone.

        Sources with latents per frame, which only the published script has, give each frame its own tokens. Steps come
        round in turn, so where not all can be kept, the same ones are: the last that came in goes.
        """
        per_frame = len(self.sources[0]) > 1
        if step not in self.reference_features:
            if len(self.reference_features) >= self._most_kept:
                self.reference_features.popitem()
            kept = per_frame or self._wants_programs  # its tokens, which programs take
            self.reference_features[step] = self.networks.read_appearance(self.sources, self.timesteps[step], kept)
        reference = self.reference_features[step]
        return reference.select(torch.as_tensor(rows, device=self.device)) if per_frame else reference

    def _gather(self, rows: Sequence[int]) -> ControlFeatures:
        chosen = [self.control_features[row] for row in rows]
        locals_ = [one.local for one in chosen if one.local is not None]
        drivers = [one.driver for one in chosen if one.driver is not None]
        gathered = ControlFeatures(
            torch.cat([one.motion for one in chosen]),
            torch.cat(locals_) if locals_ else None,
            torch.cat(drivers) if drivers else None,
        )
        return gathered.to(self.device)

    def _blank(self, latents: Tensor) -> ControlFeatures:
        """Control features of grey pictures (0 in [-1, 1]), as the published script's "balance" mode uses."""
        pixels = 2 ** (len(self.pipe.vae.config.block_out_channels) - 1)
        height, width = latents.shape[-2] * pixels, latents.shape[-1] * pixels
        grey = torch.zeros(1, 3, height, width, device=self.device, dtype=self._dtype)
        control_features = self.networks.read_motion(grey, grey if self.networks.local_control is not None else None)
        return control_features.select(torch.zeros(len(latents), dtype=torch.long, device=self.device))
