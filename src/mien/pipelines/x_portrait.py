"""XPortraitPipeline: one portrait, any driver (X-Portrait, SIGGRAPH 2024).

    pipe = XPortraitPipeline.from_pretrained("nano")
    pipe.set_portrait([picture])
    frames = pipe.animate(driving_frames).frames

`set_portrait` does what depends on the portrait alone; `animate` returns all frames; `stream` gives them one by one in
flat memory, for clips of any length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, LCMScheduler, ModelMixin, SchedulerMixin
from diffusers.utils import BaseOutput
from torch import Tensor

from mien.diffusion import GatedDDIMScheduler, WindowPlan, XPortraitDDIMScheduler, denoise_ring
from mien.faces import load_face_reader
from mien.models.reenactor import Reenactor
from mien.models.sd_backbone.appearance_reference import AppearanceReference
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait import XPortraitNetworks
from mien.models.x_portrait.denoiser import DenoisingUNet
from mien.models.x_portrait.motion_control import MotionControl
from mien.motion.keypoint_motion import Floats
from mien.motion.motion_limits import Reach
from mien.pipelines import loading
from mien.pipelines.cost import Cost, estimate
from mien.pipelines.finishing import Keeper
from mien.pipelines.lora import load_lora
from mien.pipelines.pictures import Picture, as_output, to_pixels, to_uint8
from mien.pipelines.reenactment import (
    Reenacted,
    Reenactment,
    Start,
    decoded_from_starts,
    portrait_keypoints,
    read_driven,
)
from mien.pipelines.sampling import Front, Sampling, remaining
from mien.weights import bundled

PARTS: dict[str, type[ModelMixin]] = {
    "vae": AutoencoderKL,
    "empty_prompt": EmptyPrompt,
    "appearance_reference": AppearanceReference,
    "motion_control": MotionControl,
    "local_control": MotionControl,
    "unet": DenoisingUNet,
    "temporal": TemporalModules,
}
SCHEDULERS: dict[str, type[SchedulerMixin]] = {
    "XPortraitDDIMScheduler": XPortraitDDIMScheduler,
    "DDIMScheduler": DDIMScheduler,
    "GatedDDIMScheduler": GatedDDIMScheduler,
    "LCMScheduler": LCMScheduler,
}
StepCallback = Callable[[Any, int, int, dict[str, Any]], dict[str, Any] | None]


@dataclass
class XPortraitOutput(BaseOutput):
    """`frames`: PIL pictures ("pil"), uint8 [f, h, w, 3] ("np") or a tensor [f, 3, h, w] in [-1, 1] ("pt")."""

    frames: Any


class XPortraitPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Animates a portrait with the head pose and the expression of driving frames.

    `image_size` is the side of the square the model works at; `defaults` are this model's sampling options.
    """

    scheduler: SchedulerMixin
    vae: AutoencoderKL
    unet: DenoisingUNet
    temporal: TemporalModules | None

    model_cpu_offload_seq = "vae->appearance_reference->motion_control->local_control->unet"
    # temporal modules run between the U-Net's layers, prompt and reenactor are small: they stay where the U-Net is
    _exclude_from_cpu_offload = ["temporal", "empty_prompt", "reenactor"]
    _optional_components = ["local_control", "temporal", "reenactor"]
    _callback_tensor_inputs = ["latents"]

    def __init__(
        self,
        vae: AutoencoderKL,
        empty_prompt: EmptyPrompt,
        appearance_reference: AppearanceReference,
        motion_control: MotionControl,
        unet: DenoisingUNet,
        scheduler: SchedulerMixin,
        local_control: MotionControl | None = None,
        temporal: TemporalModules | None = None,
        reenactor: Reenactor | None = None,
        image_size: int = 512,
        defaults: Mapping[str, Any] | None = None,
        crop_scale: float = 2.5,
        reach: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            empty_prompt=empty_prompt,
            appearance_reference=appearance_reference,
            motion_control=motion_control,
            local_control=local_control,
            unet=unet,
            temporal=temporal,
            reenactor=reenactor,
            scheduler=scheduler,
        )
        options = {"image_size": image_size, "defaults": dict(defaults or {}), "crop_scale": crop_scale, "reach": reach}
        self.register_to_config(**options)
        self._sources: list[Tensor] = []
        self._portrait: Picture | None = None
        self._keypoints: Floats | None = None

    # -- loading ---------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, torch_dtype: torch.dtype | None = None, revision: str | None = None, **parts: Any
    ) -> XPortraitPipeline:
        """Load "nano" (bundled), a folder or a hub id, strictly; `parts` replace parts of the folder by yours.

        Raises WeightsError that names the file and the keys when anything is missing, unexpected or damaged.
        """
        folder = bundled("nano") if str(name) == "nano" else loading.find_folder(name, revision)
        index = loading.read_json(folder / "model_index.json")
        for part, kind in {**PARTS, "reenactor": Reenactor}.items():
            if part in parts:
                continue
            listed = index.get(part)
            if listed in (None, [None, None]) and part in cls._optional_components:
                parts[part] = None
            else:
                parts[part] = loading.load_part(kind, folder / part, torch_dtype)
        if "scheduler" not in parts:
            parts["scheduler"] = loading.load_scheduler(SCHEDULERS, folder / "scheduler")
        options: dict[str, Any] = {
            key: index[key] for key in ("image_size", "defaults", "crop_scale", "reach") if key in index
        }
        return cls(**options, **parts)

    @property
    def networks(self) -> XPortraitNetworks:
        """The parts as training uses them."""
        return XPortraitNetworks(**{part: getattr(self, part) for part in PARTS})

    @property
    def image_size(self) -> int:
        """Side of the square that the model reads and makes, in pixels."""
        return int(self.config.image_size)

    @property
    def default_options(self) -> dict[str, Any]:
        """Sampling options of this model: num_inference_steps, guidance_scale, window, overlap; under "fast", what
        changes in a hurry."""
        general = {"num_inference_steps": 30, "guidance_scale": 5.0, "window": 16, "overlap": 4}
        return {**general, **self.config.defaults}

    @property
    def crop_scale(self) -> float:
        """How large the model knows faces: side of its square over the larger side of the landmarks' box."""
        return float(self.config.crop_scale)

    @property
    def reach(self) -> Reach | None:
        """How far a head may be taken from the portrait's place, size and turn; None: anywhere."""
        return Reach.of(self.config.reach)

    def use_few_steps(self, lora: str | Path | None = None) -> None:
        """Switch to the LCM scheduler, with an LCM-LoRA (a safetensors file, folder or hub id) for the backbone.

        A model whose own sampler is made for few steps (nano) keeps it.
        """
        if lora is None and isinstance(self.scheduler, GatedDDIMScheduler):
            return
        self.scheduler = LCMScheduler.from_config(self.scheduler.config)
        if lora is not None:
            load_lora(self.unet, str(lora))

    # -- the portrait ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def set_portrait(
        self,
        images: Picture | Sequence[Picture],
        generator: torch.Generator | None = None,
        keypoints: Floats | None = None,
    ) -> None:
        """Encode one portrait, or several of the same person (the first one leads; paper, Figure 4).

        Square pictures of any size: PIL, uint8 [h, w, 3] or tensors [3, h, w] in [-1, 1]. With a `generator` the
        latents are drawn from the VAE's posterior as the published script does, else its mode is taken. `keypoints`:
        the first picture's [70, 2] (see `KeypointMotion`), for models with a reenactor; None: read when needed.
        """
        pictures: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images]
        if not pictures:
            raise ValueError("set_portrait needs at least one picture")
        self._sources = [self._encode(to_pixels([picture], self.image_size), generator) for picture in pictures]
        self._portrait, self._keypoints = pictures[0], keypoints

    def _encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        pixels = pixels.to(self._execution_device, self.vae.dtype)
        posterior = self.vae.encode(pixels).latent_dist
        latents = posterior.mode() if generator is None else posterior.sample(generator)
        scaled: Tensor = latents * self.vae.config.scaling_factor
        return scaled

    @torch.no_grad()
    def _decode(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor).sample
        return decoded.float().clamp(-1, 1)

    @torch.no_grad()
    def _finish(self, chunk: Sequence[tuple[Tensor, Start | None]]) -> Tensor:
        """Latents to pixels [n, 3, s, s] in [-1, 1]; see `decoded_from_starts`."""
        if self.reenactor is None:
            return self._decode(torch.stack([latents for latents, _ in chunk]))
        return decoded_from_starts(self._decode, chunk)

    # -- the animation ---------------------------------------------------------------------------------------------

    def stream(
        self,
        frames: Iterable[Picture],
        local_frames: Iterable[Picture] | None = None,
        *,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_mode: str = "control",
        window: int | None = None,
        overlap: int | None = None,
        generator: torch.Generator | None = None,
        start_frames: Iterable[Picture] | None = None,
        driven: Iterable[Floats] | None = None,
        count: int | None = None,
        decode_chunk_size: int = 8,
        callback_on_step_end: StepCallback | None = None,
        progress: Callable[[float], None] | None = None,
        keeper: Keeper | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Iterator[Any]:
        """Frames uint8 [h, w, 3] in order, each as soon as it is final, in memory that does not grow with the clip.

        `frames`: driving squares; `local_frames`: the same with everything but eyes and mouth blank, needed where the
        model has local control; `start_frames`: another reenactment's result to start from in place of the source;
        `count`: how many frames there will be, only for `progress` (called with a fraction from 0 to 1).
        `guidance_mode`: "control" drops reference and control in the unconditional branch, "balance" blanks the hints
        only. Other options default to the model's (`default_options`); `overlap` must be less than `window`.
        `keeper` keeps what is finished; only the rest is yielded. `note` gets sentences for the user. Raises NotFinite.
        """
        sampling = self._sampling(num_inference_steps, guidance_scale, guidance_mode, window, overlap)
        front = Front(self, sampling, self._sources, count, callback_on_step_end, progress)
        state = None if keeper is None else keeper.begun()
        frames, local_frames, start_frames, driven = remaining(state, frames, local_frames, start_frames, driven)
        begun: Iterable[Picture | Reenacted] | None = start_frames
        if self.reenactor is not None and start_frames is None:
            frames, begun = self._reenacted(frames, driven)
        streams = frames, local_frames, begun
        yield from front.run(streams, generator, self._finish, decode_chunk_size, state, keeper, note)

    def _reenacted(
        self, frames: Iterable[Picture], driven: Iterable[Floats] | None
    ) -> tuple[Iterable[Picture], Iterator[Reenacted]]:
        """The frames, and the reenactor's picture for each, a stream each."""
        portrait, reenactor = self._portrait, self.reenactor
        if portrait is None or reenactor is None:
            raise ValueError("no portrait is set; call set_portrait first")
        if driven is None or self._keypoints is None:
            reader = load_face_reader("auto")
            if self._keypoints is None:
                self._keypoints = portrait_keypoints(reader, reenactor, portrait)
            if driven is None:
                frames, watched = tee(frames)
                driven = read_driven(reader, reenactor, portrait, watched)
        source = to_pixels([portrait], self.image_size)
        return frames, map(Reenactment(reenactor, source, self._keypoints).start, driven)

    @torch.no_grad()
    def animate(
        self,
        frames: Iterable[Picture],
        local_frames: Iterable[Picture] | None = None,
        *,
        output_type: str = "pil",
        return_dict: bool = True,
        compat: str | None = None,
        offsets: Sequence[int] | None = None,
        **options: Any,
    ) -> XPortraitOutput | tuple[Any]:
        """All frames at once, as "pil", "np" or "pt"; the options are those of `stream`.

        `compat="official"` repeats the published script's ring of windows, cut at `offsets` (one per step; drawn from
        the generator when not given), for comparison with it.
        """
        if compat not in (None, "official"):
            raise ValueError(f'compat must be None or "official", not {compat!r}')
        if compat is None:
            pictures = self._all_frames(frames, local_frames, **options)
        else:
            pictures = self._ring(frames, local_frames, offsets, **options)
        made = as_output(pictures, output_type)
        return XPortraitOutput(frames=made) if return_dict else (made,)

    def _all_frames(
        self, frames: Iterable[Picture], local_frames: Iterable[Picture] | None, **options: Any
    ) -> list[Any]:
        """`stream` to its end, behind diffusers' progress bar where the number of frames is known."""
        if not isinstance(frames, Sized) or "progress" in options:
            return list(self.stream(frames, local_frames, **options))
        with self.progress_bar(total=100) as bar:

            def advance(share: float) -> None:
                bar.update(round(100 * share) - bar.n)

            return list(self.stream(frames, local_frames, **{"count": len(frames), **options}, progress=advance))

    def _ring(
        self,
        frames: Iterable[Picture],
        local_frames: Iterable[Picture] | None,
        offsets: Sequence[int] | None,
        *,
        generator: torch.Generator | None = None,
        start_frames: Iterable[Picture] | None = None,
        decode_chunk_size: int = 8,
        **options: Any,
    ) -> list[Any]:
        callback = options.pop("callback_on_step_end", None)
        sampling = self._sampling(**options)
        front = Front(self, sampling, self._sources, None, callback, None)
        latents = torch.stack(list(front.begin(frames, local_frames, start_frames, generator, noise_level=999)))
        if offsets is None:
            draws = torch.randint(len(latents), (len(self.scheduler.timesteps),), generator=generator)
            offsets = [int(draw) for draw in draws]
        plan = sampling.plan
        latents = denoise_ring(latents, self.scheduler, front.predict, offsets, plan.length, plan.overlap, generator)
        return [frame for part in latents.split(decode_chunk_size) for frame in to_uint8(self._decode(part))]

    def cost(
        self,
        frames: int,
        *,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        window: int | None = None,
        overlap: int | None = None,
        decode_chunk_size: int = 8,
    ) -> Cost:
        """FLOPs and peak memory to expect for a clip of `frames` frames with these options; runs nothing."""
        sampling = self._sampling(
            num_inference_steps, guidance_scale, window=window, overlap=overlap, need_portrait=False
        )
        return estimate(self, sampling, frames, decode_chunk_size)

    def _sampling(
        self,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_mode: str = "control",
        window: int | None = None,
        overlap: int | None = None,
        need_portrait: bool = True,
    ) -> Sampling:
        if need_portrait and not self._sources:
            raise ValueError("no portrait is set; call set_portrait first")
        defaults = self.default_options
        length = int(defaults["window"] if window is None else window)
        shared = min(int(defaults["overlap"]), length - 1) if overlap is None else int(overlap)
        positions = self.temporal.config.positions if self.temporal is not None else length
        if length > positions:
            raise ValueError(f"this model's temporal modules know windows of at most {positions} frames, not {length}")
        self.scheduler.set_timesteps(
            int(defaults["num_inference_steps"] if num_inference_steps is None else num_inference_steps)
        )
        scale = float(defaults["guidance_scale"] if guidance_scale is None else guidance_scale)
        return Sampling(WindowPlan(length, shared), scale, guidance_mode)

    @torch.no_grad()
    def __call__(
        self, image: Picture | Sequence[Picture], driving_video: Iterable[Picture], **options: Any
    ) -> XPortraitOutput | tuple[Any]:
        """`set_portrait(image)` and `animate(driving_video, …)` in one call."""
        self.set_portrait(image)
        return self.animate(driving_video, **options)
