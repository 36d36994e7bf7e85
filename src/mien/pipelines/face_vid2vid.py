"""FaceVid2VidPipeline: one portrait, any driving video, in one pass (Wang, Mallya, Liu, CVPR 2021); X-Portrait's 𝓕.

pipe = FaceVid2VidPipeline.from_pretrained("runs/f/export")
pipe.set_portrait(picture)
frames = pipe.animate(driving_frames, motion="relative").frames
turned = pipe.animate(views=[(yaw, 0.0, 0.0) for yaw in range(-30, 31)]).frames
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from diffusers import DiffusionPipeline, ModelMixin
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import WeightsError
from mien.models.face_vid2vid import FaceVid2Vid, Motion, Portrait
from mien.pipelines import loading
from mien.pipelines.pictures import PictureLike, as_output, batches, to_pixels, to_uint8
from mien.typing import Reenact

MOTIONS = ("absolute", "relative")
# yaw, pitch and roll in degrees, as in `mien.geometry.HeadPose`; None: as the driver has it
View = tuple[float | None, float | None, float | None]
_PART = "face_vid2vid"


@dataclass
class FaceVid2VidOutput(BaseOutput):
    """All frames of a clip.

    Attributes:
        frames: list of PIL pictures ("pil"), uint8 array [f, h, w, 3] ("np") or tensor [f, 3, h, w] in [-1, 1] ("pt").
    """

    frames: Any


class FaceVid2VidPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Moves a portrait as driving frames move.

    Attributes:
        crop_scale: how large the model knows faces, side of its square over the larger side of the landmarks' box.
    """

    networks_of: ClassVar[dict[str, type[ModelMixin]]] = {_PART: FaceVid2Vid}

    face_vid2vid: FaceVid2Vid

    model_cpu_offload_seq = _PART

    def __init__(self, face_vid2vid: FaceVid2Vid, crop_scale: float = 2.05) -> None:
        super().__init__()
        self.register_modules(face_vid2vid=face_vid2vid)
        self.register_to_config(crop_scale=crop_scale)
        self._portrait: Portrait | None = None

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        torch_dtype: torch.dtype | None = None,
        revision: str | None = None,
        empty: bool = False,
        **parts: Any,
    ) -> FaceVid2VidPipeline:
        """Load a folder or a hub id, strictly; keypoints always in single precision.

        Args:
            name: a folder or a hub id.
            torch_dtype: of all else; None: single precision.
            revision: of a hub id.
            empty: on the meta device, without weights, to count what a run needs.
            parts: a network that is loaded already.

        Returns:
            The pipeline.

        Raises:
            WeightsError: names the file and the keys when anything is missing, unexpected or damaged.
        """
        folder = loading.find_folder(name, revision)
        index = loading.read_json(folder / "model_index.json")
        if index.get("_class_name") != cls.__name__:
            raise WeightsError(f"{folder} holds a {index.get('_class_name')}, not a {cls.__name__}: name another.")
        network = parts.pop(_PART, None) or loading.load_part(FaceVid2Vid, folder / _PART, torch_dtype, empty=empty)
        assert isinstance(network, FaceVid2Vid)
        for exact in (network.keypoint_detector, network.head_pose):  # in half precision a pose would tremble
            exact.float()
        options = {key: index[key] for key in ("crop_scale",) if key in index}
        return cls(network, **options, **parts)

    @property
    def image_size(self) -> int:
        """Side of the square that the model reads and makes, in pixels."""
        return int(self.face_vid2vid.config.image_size)

    @property
    def crop_scale(self) -> float:
        """How large the model knows faces: side of its square over the larger side of the landmarks' box."""
        return float(self.config.crop_scale)

    # -- reading -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def set_portrait(self, image: PictureLike) -> None:
        """Encode a portrait.

        Args:
            image: a square picture of any size: PIL, uint8 [h, w, 3] or tensor [3, h, w] in [-1, 1].
        """
        self._portrait = self.face_vid2vid.encode(self._pixels([image]))

    @property
    def portrait(self) -> Portrait:
        """What is known of the portrait."""
        if self._portrait is None:
            raise ValueError("no portrait is set; call set_portrait first")
        return self._portrait

    @torch.no_grad()
    def read_motion(self, frames: Iterable[PictureLike], chunk_size: int = 8) -> Iterator[Motion]:
        """Motions of driving squares.

        Args:
            frames: square pictures, as for `set_portrait`.
            chunk_size: frames that are read at a time.

        Yields:
            The motion of so many frames.
        """
        for chunk in batches(frames, chunk_size):
            yield self.face_vid2vid.motion(self._pixels(chunk))

    def _pixels(self, pictures: list[PictureLike]) -> Tensor:
        return to_pixels(pictures, self.image_size).to(self._execution_device)

    # -- the animation -------------------------------------------------------------------------------------------------

    def stream(
        self,
        frames: Iterable[PictureLike] | None = None,
        *,
        motion: str = "absolute",
        reference: int | None = None,
        views: Iterable[View] | None = None,
        decode_chunk_size: int = 8,
    ) -> Iterator[NDArray[np.uint8]]:
        """Frames in order, each as soon as it is made.

        Args:
            frames: driving squares; None: the portrait itself is turned by `views`.
            motion: "absolute": the head goes where the driving one is; "relative": the portrait's keypoints move as the
                driving ones do from the frame `reference` on; all frames are then read before the first comes out,
                though none is kept.
            reference: None: the frame most like the portrait.
            views: free view (absolute motion only): angles in place of the driving ones, one for each frame.
            decode_chunk_size: frames that are made at a time.

        Yields:
            uint8 [h, w, 3].

        Raises:
            ValueError: arguments that do not go together.
        """
        if motion not in MOTIONS:
            raise ValueError(f"motion must be {' or '.join(MOTIONS)}, not {motion!r}")
        if motion == "relative" and (views is not None or frames is None):
            raise ValueError('relative motion needs driving frames and no views: use motion="absolute" with views')
        if frames is None and views is None:
            raise ValueError("nothing drives the portrait: pass frames, views or both")
        portrait = self.portrait
        if motion == "relative" and frames is not None:
            whole = Motion.join(list(self.read_motion(frames, decode_chunk_size)))
            placed = self._relative(portrait, whole, reference, decode_chunk_size)
        else:
            placed = self._absolute(portrait, frames, views, decode_chunk_size)
        for keypoints, rotation in placed:
            yield from to_uint8(self._render(portrait, keypoints, rotation))

    @torch.no_grad()
    def _render(self, portrait: Portrait, keypoints: Tensor, rotation: Tensor) -> Tensor:
        picture: Tensor = self.face_vid2vid.render(portrait.repeat(len(keypoints)), keypoints, rotation).picture
        return picture

    def _absolute(
        self, portrait: Portrait, frames: Iterable[PictureLike] | None, views: Iterable[View] | None, size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        turns = None if views is None else iter(views)
        if frames is None:
            assert turns is not None
            own = portrait.motion
            motions = (own.repeat(len(chunk)).turned(self._angles(own, chunk)) for chunk in batches(turns, size))
        else:
            motions = (m if turns is None else self._turned(m, turns) for m in self.read_motion(frames, size))
        for motion in motions:
            yield motion.keypoints(portrait.canonical), motion.matrix()

    def _turned(self, motion: Motion, turns: Iterator[View]) -> Motion:
        views = list(islice(turns, len(motion)))
        if len(views) < len(motion):
            raise ValueError("there are fewer views than frames: pass one for each")
        return motion.turned(self._angles(motion, views))

    def _angles(self, motion: Motion, views: list[View]) -> Tensor:
        """The views' angles [n, 3], the motion's own where a view leaves one open."""
        nan = float("nan")
        wanted = torch.tensor([[nan if angle is None else angle for angle in view] for view in views])
        wanted = wanted.to(motion.angles)
        return torch.where(wanted.isnan(), motion.angles.expand(len(views), 3), wanted)

    def _relative(
        self, portrait: Portrait, whole: Motion, reference: int | None, size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """x = x_s + (x_d,i - x_d,0) sqrt(A_s / A_d,0), A the areas of the keypoints' hulls; R = R_d,i R_d,0^-1 R_s."""
        own, driver = portrait.motion.keypoints(portrait.canonical), whole.keypoints(portrait.canonical)
        chosen = nearest(own[0], driver) if reference is None else reference
        scale = (hull_area(own[0]) / hull_area(driver[chosen])) ** 0.5
        moved = own + (driver - driver[chosen]) * scale
        rotations = whole.matrix()
        turned = rotations @ rotations[chosen].T @ portrait.motion.matrix()
        for first in range(0, len(moved), size):
            yield moved[first : first + size], turned[first : first + size]

    @torch.no_grad()
    def animate(
        self,
        frames: Iterable[PictureLike] | None = None,
        *,
        output_type: str = "pil",
        return_dict: bool = True,
        **options: Any,
    ) -> FaceVid2VidOutput | tuple[Any]:
        """All frames at once.

        Args:
            frames: see `stream`.
            output_type: "pil", "np" or "pt".
            return_dict: False: a plain tuple.
            options: those of `stream`.

        Returns:
            The frames.
        """
        made = as_output(list(self.stream(frames, **options)), output_type)
        return FaceVid2VidOutput(frames=made) if return_dict else (made,)

    def __call__(self, image: PictureLike, frames: Iterable[PictureLike], **options: Any) -> Any:
        """`set_portrait` and `animate` in one call."""
        self.set_portrait(image)
        return self.animate(frames, **options)


def hull_area(keypoints: Tensor) -> float:
    """Area of the convex hull of keypoints in the picture's plane.

    Args:
        keypoints: [K, 3].

    Returns:
        In squared units of the keypoints, above 0.
    """
    flat = np.ascontiguousarray(keypoints[:, :2].float().cpu().numpy())
    return max(float(cv2.contourArea(cv2.convexHull(flat))), 1e-6)


def nearest(own: Tensor, driver: Tensor) -> int:
    """The frame that is most like a face, place and size left aside.

    Args:
        own: keypoints [K, 3].
        driver: keypoints [f, K, 3] of the driving video.

    Returns:
        The frame's number.
    """

    def normed(points: Tensor) -> Tensor:
        return (points - points.mean(0)) / hull_area(points) ** 0.5

    target = normed(own)
    return int(np.argmin([float((normed(points) - target).square().sum()) for points in driver]))


class _Reenactor:
    """𝓕 as control images want it: absolute motion, so that the pair shows the driving video's pose and place."""

    def __init__(self, pipe: FaceVid2VidPipeline) -> None:
        self._pipe = pipe

    def __call__(self, portrait: NDArray[np.uint8], frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        # a forked worker cannot use its parent's GPU
        if torch.utils.data.get_worker_info() is None and torch.cuda.is_available():
            self._pipe.to("cuda")
        self._pipe.set_portrait(portrait)
        side = portrait.shape[0]
        return [_at_side(frame, side) for frame in self._pipe.stream(frames)]


def _at_side(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    have = picture.shape[0]
    how = cv2.INTER_AREA if have > side else cv2.INTER_CUBIC
    return picture if have == side else np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.uint8)


def load_reenactor(folder: Path) -> Reenact:
    """F, the function that makes X-Portrait's control images.

    It runs on the GPU where there is one, but not in worker processes.

    Args:
        folder: what `mien train face-vid2vid` exported.

    Returns:
        From a portrait [s, s, 3] and driving frames to as many pictures [s, s, 3].

    Raises:
        WeightsError: the folder holds no such model.
    """
    return _Reenactor(FaceVid2VidPipeline.from_pretrained(folder))
