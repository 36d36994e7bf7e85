"""The start of nano's sampling: the portrait moved by the one-pass reenactor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mien.errors import InputError
from mien.faces import FaceReader, FaceReading, read_portrait
from mien.models.reenactor import Reenactor
from mien.models.x_portrait import WindowChange
from mien.motion.keypoint_motion import FaceMotion, Floats, KeypointMotion
from mien.motion.landmark_residual import MeasuredFace
from mien.pipelines.pictures import PictureLike, to_pixels, to_uint8

_REACH = 1.3  # of the landmarks' box, how far around the face sampling may change a picture
_SOFT = 10.0  # steepness of that region's edge


@dataclass(frozen=True)
class Reenacted:
    """picture [3, s, s] in [-1, 1]; face [1, s, s] in [0, 1]: the region around the face."""

    picture: Tensor
    face: Tensor


@dataclass(frozen=True)
class Start:
    """What a frame starts from.

    Attributes:
        picture: [3, s, s] in [-1, 1].
        latents: of it [1, c, h, w].
        face: [1, s, s], where sampling may change it; None: everywhere.
        change: what a model of face windows has made of it.
    """

    picture: Tensor
    latents: Tensor
    face: Tensor | None = None
    change: WindowChange | None = None


def decoded_from_starts(decode: Callable[[Tensor], Tensor], chunk: Sequence[tuple[Tensor, Start | None]]) -> Tensor:
    """Latents to pixels.

    What started from the reenactor's picture keeps its fine detail: the decoder says what sampling has changed, and
    that is added to the picture, D(z) - D(z_start) + start, so that the autoencoder's own losses cancel; around the
    face only, for nano's networks are trained on windows there.

    Args:
        decode: of the autoencoder, [n, c, h, w] to [n, 3, s, s].
        chunk: latents [c, h, w] with what each started from; None: the source.

    Returns:
        [n, 3, s, s] in [-1, 1].
    """
    decoded = decode(torch.stack([latents for latents, _ in chunk]))
    starts = [start for _, start in chunk if start is not None]
    if len(starts) < len(chunk):
        return decoded
    before = decode(torch.cat([start.latents for start in starts]))
    pictures = torch.stack([start.picture for start in starts]).to(decoded)
    faces = [torch.ones_like(start.picture[:1]) if start.face is None else start.face for start in starts]
    return (pictures + (decoded - before) * torch.stack(faces).to(decoded)).clamp(-1, 1)


def face_region(landmarks: Floats, side: int) -> Tensor:
    """A soft ellipse around a face, a third higher for the forehead.

    Args:
        landmarks: keypoints [k, 2], half sides of the square.
        side: of the result, pixels.

    Returns:
        [1, side, side] in [0, 1].
    """
    points = np.asarray(landmarks, np.float64)
    low, high = points.min(0), points.max(0)
    low = low - [0, (high[1] - low[1]) / 3]
    centre, half = (low + high) / 2, (high - low) / 2 * _REACH
    axis = (torch.arange(side) + 0.5) * (2 / side) - 1
    far = torch.hypot((axis[None, :] - centre[0]) / half[0], (axis[:, None] - centre[1]) / half[1])
    return torch.sigmoid(_SOFT * (1 - far))[None].float()


class Reenactment:
    """One portrait, encoded once, and its pictures with driven landmarks."""

    def __init__(self, reenactor: Reenactor, source: Tensor, keypoints: Floats) -> None:
        """source [1, 3, s, s] in [-1, 1]; its keypoints [70, 2] in half sides, see `KeypointMotion`."""
        self._reenactor = reenactor
        self._source = source.to(reenactor.device, reenactor.dtype)
        self._keypoints = self._tensor(keypoints)
        with torch.no_grad():
            self._features = reenactor.appearance(self._source)

    @torch.no_grad()
    def picture(self, driven: Floats) -> Tensor:
        """The portrait with its keypoints moved.

        Args:
            driven: where they go [70, 2], half sides.

        Returns:
            [3, s, s] in [-1, 1].
        """
        rendered = self._reenactor(self._source, self._features, self._keypoints, self._tensor(driven))
        picture: Tensor = rendered.picture[0].float().clamp(-1, 1)
        return picture

    def start(self, driven: Floats) -> Reenacted:
        """The portrait with its keypoints moved, and the region around the face.

        Args:
            driven: where they go [70, 2], half sides.

        Returns:
            What sampling starts from.
        """
        picture = self.picture(driven)
        return Reenacted(picture, face_region(driven, picture.shape[-1]))

    def _tensor(self, keypoints: Floats) -> Tensor:
        # keypoints stay in single precision: half a pixel matters
        return torch.as_tensor(np.asarray(keypoints, np.float32))[None].to(self._reenactor.device)


def read_motion(reading: FaceReading, side: int) -> FaceMotion:
    """A reading of a square picture as a motion.

    Args:
        reading: in pixels.
        side: of the picture, pixels.

    Returns:
        Landmarks and pupils in half sides of the square, pose and blendshapes.
    """
    pupils = None if reading.pupils is None else reading.pupils / side
    return FaceMotion.read(reading.landmarks / side, reading.pose.rotation, reading.expression, pupils)


def read_driven(
    reader: FaceReader, reenactor: Reenactor, portrait: PictureLike, frames: Iterable[PictureLike]
) -> Iterator[Floats]:
    """Driven keypoints for frames that are aligned to the portrait already; faces are read here.

    Args:
        reader: of faces.
        reenactor: whose basis moves the keypoints.
        portrait: a square picture.
        frames: square pictures; one without a face keeps the motion of the one before.

    Yields:
        [70, 2], half sides.

    Raises:
        InputError: if the portrait shows no face.
    """
    side = int(reenactor.config.image_size)

    def square(picture: PictureLike) -> np.ndarray:
        return to_uint8(to_pixels([picture], side))[0]

    source = read_motion(read_portrait(reader, square(portrait), "the portrait"), side)
    keypoints, hint, last = KeypointMotion(reenactor.basis(), source), None, source
    measured, seen = MeasuredFace(reenactor.basis()), False
    for frame in frames:
        hint = reader.read(square(frame), hint)
        if hint is not None:
            last, seen = read_motion(hint, side), True
            measured.learn([last])
        yield keypoints.driven(measured.of(last) if seen else last)


def portrait_keypoints(reader: FaceReader, reenactor: Reenactor, portrait: PictureLike) -> Floats:
    """Keypoints of a portrait; its face is read here.

    Args:
        reader: of faces.
        reenactor: whose basis they are of.
        portrait: a square picture.

    Returns:
        [70, 2], half sides.

    Raises:
        InputError: if it shows no face.
    """
    side = int(reenactor.config.image_size)
    reading = reader.read(to_uint8(to_pixels([portrait], side))[0])
    if reading is None:
        raise InputError("no face was found in the portrait: both eyes and the mouth must be seen")
    return KeypointMotion(reenactor.basis(), read_motion(reading, side)).keypoints
