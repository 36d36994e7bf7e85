"""XPortraitPipeline: one portrait, any driving video (X-Portrait, SIGGRAPH 2024).

    pipe = XPortraitPipeline.from_pretrained("nano")
    pipe.set_portrait([picture])
    frames = pipe.animate(driving_frames).frames

`set_portrait` does what depends on the portrait alone; `animate` returns all frames; `stream` gives them one by one in
flat memory, for clips of any length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, LCMScheduler, ModelMixin, SchedulerMixin
from torch import Tensor

from mien.diffusion import GatedDDIMScheduler
from mien.models.keypoint_basis import KeypointBasis
from mien.models.sd_backbone.appearance_reference import AppearanceReference
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.patch_autoencoder import PatchAutoencoder
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait import ReferenceFeatures, WindowHead, XPortraitNetworks
from mien.models.x_portrait.denoiser import DenoisingUNet
from mien.models.x_portrait.motion_control import MotionControl
from mien.motion.keypoint_motion import FaceBasis
from mien.pipelines.base import SCHEDULERS, PortraitOutput, PortraitPipeline
from mien.pipelines.compiled import FEWEST_FRAMES, CompiledWindows
from mien.pipelines.cost import Cost, estimate
from mien.pipelines.finishing import Checkpoint, unfinished
from mien.pipelines.lora import load_lora
from mien.pipelines.pictures import PictureLike
from mien.pipelines.sampling import Start
from mien.pipelines.window_denoiser import packed_windows
from mien.pipelines.x_portrait_denoiser import XPortraitDenoiser, driving_frames

__all__ = ["PARTS", "SCHEDULERS", "XPortraitPipeline"]

PARTS: dict[str, type[ModelMixin] | tuple[type[ModelMixin], ...]] = {
    "vae": (AutoencoderKL, PatchAutoencoder),
    "empty_prompt": EmptyPrompt,
    "appearance_reference": AppearanceReference,
    "motion_control": MotionControl,
    "local_control": MotionControl,
    "unet": DenoisingUNet,
    "temporal": TemporalModules,
    "window_head": WindowHead,
}
StepCallback = Callable[[Any, int, int, dict[str, Any]], dict[str, Any] | None]


class XPortraitPipeline(PortraitPipeline):
    """Animates a portrait with the head pose and the expression of driving frames.

    `image_size` is the side of the square the model works at; `defaults` are this model's sampling options.

    Attributes:
        kept_references: what R says of the portrait at each step, for one portrait in many runs of a frame each; None:
            every run makes it anew.
        programs: OpenVINO's, see `mien.pipelines.compiled`.
    """

    networks_of = {**PARTS, "keypoint_basis": KeypointBasis}
    exact_parts = ("keypoint_basis",)
    own_defaults = {"num_inference_steps": 30, "guidance_scale": 5.0, "window": 16, "overlap": 4}
    bundled_name = "nano"
    large_parts = ("appearance_reference", "motion_control", "local_control", "unet", "temporal")
    model_cpu_offload_seq = "vae->appearance_reference->motion_control->local_control->unet"
    # temporal modules run between the U-Net's layers, the others are small: they stay where the U-Net is
    _exclude_from_cpu_offload = ["temporal", "empty_prompt", "window_head", "keypoint_basis"]
    _optional_components = ["local_control", "temporal", "window_head", "keypoint_basis"]

    unet: DenoisingUNet

    def __init__(
        self,
        vae: AutoencoderKL | PatchAutoencoder,
        empty_prompt: EmptyPrompt,
        appearance_reference: AppearanceReference,
        motion_control: MotionControl,
        unet: DenoisingUNet,
        scheduler: SchedulerMixin,
        local_control: MotionControl | None = None,
        temporal: TemporalModules | None = None,
        window_head: WindowHead | None = None,
        keypoint_basis: KeypointBasis | None = None,
        image_size: int = 512,
        defaults: Mapping[str, Any] | None = None,
        crop_scale: float = 2.5,
        motion_limits: Sequence[float] | None = None,
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
            window_head=window_head,
            keypoint_basis=keypoint_basis,
            scheduler=scheduler,
        )
        options = {"image_size": image_size, "defaults": dict(defaults or {}), "crop_scale": crop_scale}
        self.register_to_config(**options, motion_limits=motion_limits)
        self._sources: list[Tensor] = []
        self.kept_references: dict[int, ReferenceFeatures] | None = None
        self.programs: dict[Any, CompiledWindows | None] = {}

    @property
    def networks(self) -> XPortraitNetworks:
        """The parts as training uses them."""
        return XPortraitNetworks(**{part: getattr(self, part) for part in PARTS})

    @property
    def face_basis(self) -> FaceBasis | None:
        """See `PortraitPipeline.face_basis`."""
        return None if self.keypoint_basis is None else self.keypoint_basis.basis()

    def use_few_steps(self, lora: str | Path | None = None) -> None:
        """Switch to the LCM scheduler; a model whose own sampler is made for few steps (nano) keeps it.

        Args:
            lora: LCM weights for the backbone: a safetensors file, folder or hub id; None: none.

        Raises:
            WeightsError: if they do not fit.
        """
        if lora is None and isinstance(self.scheduler, GatedDDIMScheduler):
            return
        self.scheduler = LCMScheduler.from_config(self.scheduler.config)
        if lora is not None:
            load_lora(self.unet, str(lora))
            self.programs.clear()

    @torch.no_grad()
    def set_portrait(
        self, images: PictureLike | Sequence[PictureLike], generator: torch.Generator | None = None
    ) -> None:
        """Encode one portrait, or several of the same person (the first one leads; paper, Figure 4).

        Args:
            images: square pictures of any size: PIL, uint8 [h, w, 3] or tensors [3, h, w] in [-1, 1].
            generator: latents are drawn from the VAE's posterior as the published script does; None: its mode.
        """
        self._encode_sources(images, generator)

    @property
    def face_window(self) -> int | None:
        """See `PortraitPipeline.face_window`."""
        return None if self.window_head is None else self.image_size

    @property
    def local_size(self) -> int:
        """Side of the pictures of eyes and mouth that the local control reads, pixels.

        Twice the others' for every level that its encoder has more.
        """
        if self.local_control is None:
            return self.image_size
        local, other = (
            len(control.config.conditioning_embedding_out_channels)
            for control in (self.local_control, self.motion_control)
        )
        return int(self.image_size * 2 ** (local - other))

    def _finish(self, chunk: Sequence[tuple[Tensor, Start | None]]) -> Tensor:
        if self.window_head is not None:
            return packed_windows([start for _, start in chunk])
        return super()._finish(chunk)

    def stream(
        self,
        frames: Iterable[PictureLike],
        local_frames: Iterable[PictureLike] | None = None,
        *,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_mode: str = "control",
        window: int | None = None,
        overlap: int | None = None,
        generator: torch.Generator | None = None,
        start_frames: Iterable[PictureLike] | None = None,
        count: int | None = None,
        decode_chunk_size: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        progress: Callable[[float], None] | None = None,
        checkpoint: Checkpoint | None = None,
        note: Callable[[str], None] | None = None,
        compiled: bool | None = None,
    ) -> Iterator[Any]:
        """Frames uint8 [h, w, 3] in order, each as soon as it is final, in memory that does not grow with the clip.

        A model that works on face windows (`face_window`) gives `PaintedWindow`s, packed: uint8 [3 s, s, 3].

        Args:
            frames: driving squares; for face windows: the rectified driving frame.
            local_frames: the same with all but eyes and mouth blank, needed where the model has local control; their
                side is best `local_size`.
            num_inference_steps: None, here and below: the model's own, see `default_options`.
            guidance_scale: 1: no guidance.
            guidance_mode: "control" drops reference and control in the unconditional branch, "balance" blanks the
                control pictures only.
            window: frames denoised together.
            overlap: frames that windows share; less than `window`.
            generator: of the noise.
            start_frames: another reenactment's result to start from in place of the source; for face windows: the
                moved portrait, which must be given.
            count: how many frames there will be, only for `progress`.
            decode_chunk_size: frames decoded at a time; None: as many as there is memory for.
            callback_on_step_end: as in diffusers.
            progress: called with a fraction from 0 to 1.
            checkpoint: keeps what is finished; only the rest is yielded.
            note: gets sentences for the user.
            compiled: let OpenVINO run face windows where it is installed; None: where it pays.

        Raises:
            NotFinite: half precision was not enough.
        """
        plan, scale = self._plan(num_inference_steps, guidance_scale, window, overlap)
        how: dict[str, Any] = {"count": count, "callback": callback_on_step_end, "progress": progress}
        how["compiled"] = (count or 0) >= FEWEST_FRAMES if compiled is None else compiled
        denoiser = XPortraitDenoiser(self, plan, scale, self._sources, guidance_mode=guidance_mode, **how)
        rows = driving_frames(*unfinished(checkpoint, frames, local_frames, start_frames))
        return self._run(denoiser, rows, generator, decode_chunk_size, checkpoint, note)

    def _all_frames(self, frames: Iterable[PictureLike], *more: Any, **options: Any) -> list[Any]:
        """`stream` to its end, behind diffusers' progress bar where the number of frames is known."""
        if not isinstance(frames, Sized) or "progress" in options:
            return list(self.stream(frames, *more, **options))
        with self.progress_bar(total=100) as bar:

            def advance(share: float) -> None:
                bar.update(round(100 * share) - bar.n)

            return list(self.stream(frames, *more, **{"count": len(frames), **options}, progress=advance))

    def cost(
        self,
        frames: int,
        *,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        window: int | None = None,
        overlap: int | None = None,
        **placed: Any,
    ) -> Cost:
        """FLOPs and peak memory to expect; runs nothing.

        Args:
            frames: of the clip.
            num_inference_steps: None, here and below: the model's own.
            guidance_scale: 1: no unconditional branch.
            window: frames denoised together.
            overlap: frames that windows share.
            placed: where the weights will be, see `cost.estimate`.

        Returns:
            The sums and what they are made of.
        """
        plan, scale = self._plan(num_inference_steps, guidance_scale, window, overlap)
        return estimate(self, plan, scale, frames, **{"references": max(1, len(self._sources)), **placed})

    @torch.no_grad()
    def __call__(
        self, image: PictureLike | Sequence[PictureLike], driving_video: Iterable[PictureLike], **options: Any
    ) -> PortraitOutput | tuple[Any]:
        """`set_portrait(image)` and `animate(driving_video, …)` in one call."""
        self.set_portrait(image)
        return self.animate(driving_video, **options)
