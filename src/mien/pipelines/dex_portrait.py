"""DeXPortraitPipeline: one portrait, the head pose of one clip, the expression of another (DeX-Portrait, CVPR 2026).

    pipe = DeXPortraitPipeline.from_pretrained("FOLDER")
    pipe.set_portrait(picture, landmarks)
    frames = pipe.animate(pose_from=pipe.read_motion(clip_a), expression_from=pipe.read_motion(clip_b)).frames

Whatever is left out stays as the portrait has it. `stream` gives the frames one by one, in flat memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, ModelMixin, SchedulerMixin
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import WeightsError
from mien.models.dex_portrait import DeXPortraitNetworks, Gains, Motion, Pose, drive_expression, drive_pose
from mien.models.dex_portrait.denoiser import DeXDenoisingUNet
from mien.models.dex_portrait.driving import limited_pose
from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder, FacePoseEncoder
from mien.models.dex_portrait.injection import MotionInjection
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.models.keypoint_basis import KeypointBasis
from mien.models.sd_backbone.appearance_reference import AppearanceReference
from mien.models.sd_backbone.empty_prompt import EmptyPrompt
from mien.models.sd_backbone.patch_autoencoder import PatchAutoencoder
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait import ReferenceFeatures, WindowHead
from mien.motion.keypoint_motion import FaceBasis
from mien.motion.motion_limits import MotionLimits
from mien.pipelines import loading
from mien.pipelines.base import PortraitPipeline
from mien.pipelines.dex_portrait_denoiser import DeXPortraitDenoiser, Driven
from mien.pipelines.dex_portrait_encoders import read_expressions, read_poses
from mien.pipelines.finishing import Checkpoint, unfinished
from mien.pipelines.pictures import PictureLike, as_uint8, batches
from mien.pipelines.sampling import Start
from mien.pipelines.window_denoiser import packed_windows
from mien.weights import FOLDERS, HERE

PARTS: dict[str, type[ModelMixin] | tuple[type[ModelMixin], ...]] = {
    "pose_encoder": (PoseEncoder, FacePoseEncoder),
    "expression_encoder": (ExpressionEncoder, FaceExpressionEncoder),
    "vae": (AutoencoderKL, PatchAutoencoder),
    "empty_prompt": EmptyPrompt,
    "appearance_reference": AppearanceReference,
    "unet": DeXDenoisingUNet,
    "injection": MotionInjection,
    "temporal": TemporalModules,
}
# of models for face windows; both or none
WINDOW_PARTS: dict[str, type[ModelMixin]] = {"window_head": WindowHead, "keypoint_basis": KeypointBasis}
# small, and a pose in half precision would tremble
ENCODERS = ("pose_encoder", "expression_encoder")
_BUNDLED = HERE / FOLDERS["dex-nano"]
# a square picture and its 68 landmarks, 0 to 1 across it
Frame = tuple[PictureLike, NDArray[np.floating]]
StepCallback = Callable[[Any, int, int, dict[str, Any]], dict[str, Any] | None]


def paper_scheduler() -> DDIMScheduler:
    """DDIM with the betas of X-NeMo, whose sampler DeX-Portrait's numbers are (35 steps, guidance 2.5)."""
    return DDIMScheduler(
        1000, 0.00085, 0.02, "scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )


class DeXPortraitPipeline(PortraitPipeline):
    """Animates a portrait with an explicit head pose and a latent expression, each from a source of its own.

    `image_size`: side of the square the model works at. `crop_scale`: side of that square over the face's size.
    `defaults`: this model's sampling options. `ray_maps`, `warping`: which branches of the pose it was trained with.
    With a `window_head` the model works on face windows, as nano does: see `face_window`, and `mien.animation` for what
    is around them.
    """

    networks_of = {**PARTS, **WINDOW_PARTS}
    exact_parts = (*ENCODERS, "keypoint_basis")
    own_options = (*PortraitPipeline.own_options, "ray_maps", "warping")
    own_defaults = {"num_inference_steps": 35, "guidance_scale": 2.5, "window": 24, "overlap": 4}
    bundled_name = "dex-nano"
    large_parts = ("appearance_reference", "unet", "temporal")
    model_cpu_offload_seq = "pose_encoder->expression_encoder->vae->appearance_reference->unet"
    # they run between the U-Net's layers, or are one small tensor
    _exclude_from_cpu_offload = ["injection", "temporal", "empty_prompt", *WINDOW_PARTS]
    _optional_components = ["temporal", *WINDOW_PARTS]

    unet: DeXDenoisingUNet
    pose_encoder: PoseEncoder | FacePoseEncoder
    expression_encoder: ExpressionEncoder | FaceExpressionEncoder

    def __init__(
        self,
        pose_encoder: PoseEncoder | FacePoseEncoder,
        expression_encoder: ExpressionEncoder | FaceExpressionEncoder,
        vae: AutoencoderKL | PatchAutoencoder,
        empty_prompt: EmptyPrompt,
        appearance_reference: AppearanceReference,
        unet: DeXDenoisingUNet,
        injection: MotionInjection,
        scheduler: SchedulerMixin,
        temporal: TemporalModules | None = None,
        window_head: WindowHead | None = None,
        keypoint_basis: KeypointBasis | None = None,
        image_size: int = 512,
        defaults: Mapping[str, Any] | None = None,
        crop_scale: float = 2.05,
        ray_maps: bool = True,
        warping: bool = True,
        motion_limits: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if (window_head is None) != (keypoint_basis is None):
            raise ValueError("window_head and keypoint_basis belong together: give both or neither")
        self.register_modules(
            pose_encoder=pose_encoder,
            expression_encoder=expression_encoder,
            vae=vae,
            empty_prompt=empty_prompt,
            appearance_reference=appearance_reference,
            unet=unet,
            injection=injection,
            temporal=temporal,
            window_head=window_head,
            keypoint_basis=keypoint_basis,
            scheduler=scheduler,
        )
        options = {"image_size": image_size, "defaults": dict(defaults or {}), "crop_scale": crop_scale}
        self.register_to_config(**options, ray_maps=ray_maps, warping=warping, motion_limits=motion_limits)
        self._sources: list[Tensor] = []
        self._own: Motion | None = None
        self._encoder_id: str | None = None
        self._reference: ReferenceFeatures | None = None
        self.keeps_reference = False

    @classmethod
    def find(cls, name: str | Path, revision: str | None = None) -> Path:
        """See `PortraitPipeline.find`."""
        if str(name) not in ("nano", cls.bundled_name):
            return loading.find_folder(name, revision)
        if not (_BUNDLED / "model_index.json").is_file():
            raise WeightsError(
                "no DeX-Portrait weights come with this version of mien: name a model folder, --model DIR."
            )
        return _BUNDLED

    @property
    def networks(self) -> DeXPortraitNetworks:
        """The parts as training uses them."""
        return DeXPortraitNetworks(**{part: getattr(self, part) for part in PARTS}, window_head=self.window_head)

    @property
    def face_window(self) -> int | None:
        """See `PortraitPipeline.face_window`."""
        return None if self.window_head is None else self.image_size

    @property
    def face_basis(self) -> FaceBasis | None:
        """See `PortraitPipeline.face_basis`."""
        return None if self.keypoint_basis is None else self.keypoint_basis.basis()

    @property
    def encoder_id(self) -> str:
        """What the codes of this model are known by: codes of other encoders mean nothing to it."""
        if self._encoder_id is None:
            digest = hashlib.sha256()
            for part in ENCODERS:
                for name, tensor in sorted(getattr(self, part).state_dict().items()):
                    digest.update(f"{part}.{name}".encode())
                    digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
            self._encoder_id = digest.hexdigest()[:16]
        return self._encoder_id

    # -- reading -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def set_portrait(
        self,
        images: PictureLike | Sequence[PictureLike],
        landmarks: NDArray[np.floating],
        generator: torch.Generator | None = None,
        windows: Sequence[PictureLike] | None = None,
    ) -> None:
        """Encode one portrait, or several pictures of the same person.

        Args:
            images: square pictures of any size: PIL, uint8 [h, w, 3] or tensors [3, h, w] in [-1, 1].
            landmarks: [68, 2] of the first one, 0 to 1 across it.
            generator: latents are drawn from the VAE's posterior; None: its mode.
            windows: what the face windows of the same pictures show, for models that work on them; the encoders still
                read the squares.

        Raises:
            ValueError: the model works on face windows, and none are given.
        """
        if self.window_head is not None and windows is None:
            raise ValueError("this model works on face windows: pass those of the portrait")
        pictures: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
        self._encode_sources(pictures if windows is None else list(windows), generator)
        first, self._reference = pictures[0], None
        self._own = self.read_motion([(first, landmarks)])

    def read_reference(self, sources: Sequence[Tensor]) -> ReferenceFeatures:
        """What the reference U-Net sees of the portrait that is set.

        With `keeps_reference` it is kept from one stream to the next, for pictures that are made one at a time.

        Args:
            sources: the portrait's latents, as the networks take them.
        """
        known = self._reference
        if known is None:
            known = self.networks.read_appearance(sources)
            self._reference = known if self.keeps_reference else None
        return known

    @property
    def portrait(self) -> Motion:
        """The portrait's own pose and expression, one frame."""
        if self._own is None:
            raise ValueError("no portrait is set; call set_portrait first")
        return self._own

    @torch.no_grad()
    def read_motion(
        self, frames: Iterable[Frame], reference: int = 0, progress: Callable[[float], None] | None = None
    ) -> Motion:
        """Pose and expression codes of frames.

        Args:
            frames: square pictures with their landmarks [68, 2], 0 to 1 across them.
            reference: the frame from which relative motion is measured.
            progress: called with the number of frames read.

        Returns:
            Codes of every frame, on the CPU.

        Raises:
            ValueError: there is no frame.
        """
        poses: list[Tensor] = []
        expressions: list[Tensor] = []
        for chunk in batches(frames, 8):
            shown = [as_uint8(picture) for picture, _ in chunk]
            places = [np.asarray(marks, np.float64) * len(one) for one, (_, marks) in zip(shown, chunk, strict=True)]
            poses.append(read_poses(self.pose_encoder, shown, places))
            expressions.append(read_expressions(self.expression_encoder, shown, places))
            if progress is not None:
                progress(sum(len(part) for part in poses))
        if not poses:
            raise ValueError("read_motion needs at least one frame")
        return Motion(torch.cat(poses), torch.cat(expressions), reference)

    # -- the animation -----------------------------------------------------------------------------------------------

    def drive(
        self,
        pose_from: Motion | None,
        expression_from: Motion | None,
        gains: Gains,
        frames: int | None = None,
        limits: MotionLimits | None = None,
    ) -> Driven:
        """Poses and expressions of every frame of the result.

        Args:
            pose_from: codes of the head pose; one frame is held; None: the portrait's own.
            expression_from: the same for the expression.
            gains: how much of them, and whether they are relative.
            frames: how many; None: as many as the motions have.
            limits: how far relative motion takes the head; None: as far as the model's own limits.

        Returns:
            What drives the networks, the portrait's own among it.

        Raises:
            ValueError: neither is given, or their lengths do not fit.
        """
        lengths = {len(motion) for motion in (pose_from, expression_from) if motion is not None}
        if not lengths:
            raise ValueError("nothing drives the portrait: pass pose_from, expression_from or both")
        count = max(lengths) if frames is None else frames
        if any(length != 1 and length < count for length in lengths) or (frames is None and lengths - {1, count}):
            raise ValueError(f"motions of {sorted(lengths)} frames do not fit {count}: make them equal")
        own, own_pose = self.portrait, Pose.from_code(self.portrait.pose)
        pose, expression = own_pose, own.expression
        if pose_from is not None:
            reference = Pose.from_code(pose_from.pose[pose_from.reference][None])
            pose = drive_pose(own_pose, Pose.from_code(pose_from.pose[:count]), reference, gains)
            if gains.relative and (most := limits or self.motion_limits) is not None:
                pose = limited_pose(own_pose, pose, most)
        if expression_from is not None:
            expression = drive_expression(own.expression, expression_from.expression[:count], gains.expression)
        pose = pose if len(pose) == count else pose.repeat(count)
        return Driven(pose, expression.expand(count, -1), own_pose, own.expression)

    def stream(
        self,
        pose_from: Motion | Iterable[Frame] | None = None,
        expression_from: Motion | Iterable[Frame] | None = None,
        *,
        frames: int | None = None,
        gains: Gains | None = None,
        driven: Driven | None = None,
        start_frames: Iterable[PictureLike] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance: str = "progressive",
        hold: int | None = None,
        null_expression: str = "learned",
        window: int | None = None,
        overlap: int | None = None,
        generator: torch.Generator | None = None,
        decode_chunk_size: int | None = None,
        callback_on_step_end: StepCallback | None = None,
        progress: Callable[[float], None] | None = None,
        checkpoint: Checkpoint | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Iterator[NDArray[Any]]:
        """Frames uint8 [h, w, 3] in order, each as soon as it is final; packed `PaintedWindow`s of face windows.

        Args:
            pose_from: a motion, or pictures for `read_motion`; None: the portrait's own.
            expression_from: the same for the expression.
            frames: how many to make; None: as many as the motions have.
            gains: see `Gains`.
            driven: in place of all the above, for models of face windows: heads' poses in them, and expressions.
            start_frames: the moved portrait in the window of every frame, for those models.
            num_inference_steps: None, here and below: the model's own, see `default_options`.
            guidance_scale: 1: none.
            guidance: "progressive" (paper, Eq. 5) or "plain".
            hold: the steps S in which the expression is held back; None: scaled to the steps.
            null_expression: what stands for no expression: "learned", "zeros" or the portrait's own, "source".
            window: frames denoised together.
            overlap: frames that windows share.
            generator: of the noise.
            decode_chunk_size: frames decoded at a time; None: as many as there is memory for.
            callback_on_step_end: as in diffusers.
            progress: called with a fraction from 0 to 1.
            checkpoint: keeps what is finished; only the rest is yielded.
            note: gets sentences for the user.

        Raises:
            NotFinite: half precision was not enough.
        """
        plan, scale = self._plan(num_inference_steps, guidance_scale, window, overlap)
        if self.window_head is not None and (driven is None or start_frames is None):
            raise ValueError("this model paints over moved portraits: pass driven and start_frames")
        if driven is None:
            driven = self.drive(self._motion(pose_from), self._motion(expression_from), gains or Gains(), frames)
        how: dict[str, Any] = {"guidance": guidance, "hold": hold, "null_expression": null_expression}
        how |= {"callback": callback_on_step_end, "progress": progress}
        denoiser = DeXPortraitDenoiser(self, plan, scale, self._sources, driven, **how)
        (starts,) = unfinished(checkpoint, repeat(None, len(driven)) if start_frames is None else start_frames)
        return self._run(denoiser, starts, generator, decode_chunk_size, checkpoint, note)

    def _finish(self, chunk: Sequence[tuple[Tensor, Start | None]]) -> Tensor:
        if self.window_head is not None:
            return packed_windows([start for _, start in chunk])
        return super()._finish(chunk)

    @torch.no_grad()
    def __call__(self, image: PictureLike, landmarks: NDArray[np.floating], driver: Motion, **options: Any) -> Any:
        """`set_portrait` and `animate`, pose and expression from one driving video, in one call."""
        self.set_portrait(image, landmarks)
        return self.animate(driver, driver, **options)

    def _motion(self, given: Motion | Iterable[Frame] | None) -> Motion | None:
        return given if given is None or isinstance(given, Motion) else self.read_motion(given)
