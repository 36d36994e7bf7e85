"""Eyeballs: irises and pupils painted by angle, and where they lie in the atlas."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Floats
from mien.avatars.head_model import EYEBALLS, HeadModel, HeadShape
from mien.geometry.smooth import smooth_step

EYE_SIDE = 160  # texels of an eye's square in the atlas; it shows the front half of the ball
_REACH = 0.49 * EYE_SIDE  # texels from the middle to 90 degrees


@dataclass(frozen=True)
class EyeColours:
    """How an eye looks.

    Attributes:
        iris: RGB, 0 to 255.
        sclera: RGB, 0 to 255.
        radius: of the iris, degrees.
        pupil: part of the iris.
        glint: brightness of a painted window's reflection, 0 to 255; 0 for none.
        seed: of the iris's streaks.
    """

    iris: tuple[float, float, float]
    sclera: tuple[float, float, float] = (228.0, 222.0, 216.0)
    radius: float = 22.0
    pupil: float = 0.4
    glint: float = 0.0
    seed: int = 0


def paint_eye(colours: EyeColours) -> NDArray[np.uint8]:
    """The front half of an eyeball, uint8 [160, 160, 3]; the angle from the optical axis grows with the radius."""
    rng = np.random.default_rng(colours.seed)
    y, x = ((np.mgrid[0:EYE_SIDE, 0:EYE_SIDE] + 0.5 - EYE_SIDE / 2) / _REACH).astype(np.float64)
    degrees, turn = np.hypot(x, y) * 90, np.arctan2(y, x)
    image = np.ones((EYE_SIDE, EYE_SIDE, 3)) * colours.sclera
    image *= 1 - 0.25 * np.clip((degrees - 30) / 40, 0, 1)[..., None]
    image *= np.array([1, 0.97, 0.95]) ** np.clip((degrees - 25) / 40, 0, 1)[..., None]
    noise = cv2.resize(rng.normal(size=(1, 64)).astype(np.float32), (256, 1), interpolation=cv2.INTER_CUBIC)[0]
    streaks = noise[((turn + np.pi) / (2 * np.pi) * 255).astype(int)]
    depth = 0.75 + 0.5 * np.clip(1 - degrees / colours.radius, 0, 1)
    rim = 0.45 + 0.55 * np.clip((colours.radius - degrees) / 4, 0, 1)
    iris = np.array(colours.iris) * ((1 + 0.15 * streaks) * depth * rim)[..., None]
    image = _over(image, iris, 1 / (1 + np.exp((degrees - colours.radius) / 0.7)))
    image = _over(image, np.array([12.0, 10, 10]), 1 / (1 + np.exp((degrees - colours.radius * colours.pupil) / 0.8)))
    if colours.glint > 0:
        spot = np.zeros((EYE_SIDE, EYE_SIDE), np.float32)
        cv2.circle(spot, (EYE_SIDE // 2 - 7, EYE_SIDE // 2 - 10), 4, 1.0, -1, cv2.LINE_AA)
        image = _over(image, np.full(3, colours.glint), cv2.GaussianBlur(spot, (0, 0), 1.0) * 0.8)
    return np.clip(image, 0, 255).astype(np.uint8)


def eye_places(model: HeadModel, shape: HeadShape, side: int) -> tuple[NDArray[np.bool_], Floats]:
    """Where an eyeball lies in its square of the atlas.

    Args:
        model: of the head.
        shape: of the person.
        side: 0 left, 1 right.

    Returns:
        Which corners [n] belong to the eyeball, and their texels [k, 2] within the square.
    """
    first, last = model.part_range[EYEBALLS[side]]
    ways = shape.vertices[first:last] - shape.eye_centres[side]
    ways = ways / np.linalg.norm(ways, axis=1, keepdims=True)
    angle = np.arccos(np.clip(ways[:, 2], -1, 1)) / (np.pi / 2)
    flat = ways[:, :2] / (np.linalg.norm(ways[:, :2], axis=1, keepdims=True) + 1e-9) * angle[:, None]
    texels = EYE_SIDE / 2 + flat * [_REACH, -_REACH]
    mine = (model.corner_vertex >= first) & (model.corner_vertex < last)
    return mine, texels[model.corner_vertex[mine] - first].astype(np.float32)


def lid_shadow(model: HeadModel, shape: HeadShape, tint: Floats) -> None:
    """Darken the eyeballs under the upper lid and at the corners of the eye, in place.

    Args:
        model: of the head.
        shape: of the person.
        tint: of the corners [n, 4], changed.
    """
    for side, part in enumerate(EYEBALLS):
        first, last = model.part_range[part]
        mine = (model.corner_vertex >= first) & (model.corner_vertex < last)
        way = (shape.vertices[model.corner_vertex[mine]] - shape.eye_centres[side]) / 1.4
        shade = 1 - 0.30 * smooth_step((way[:, 1] + 0.05) / 0.36) - 0.25 * smooth_step((np.abs(way[:, 0]) - 0.45) / 0.4)
        tint[mine, :3] *= np.clip(shade, 0.4, 1)[:, None]


def _over(image: NDArray[np.floating], colour: NDArray[np.floating], share: NDArray[np.floating]) -> NDArray:
    return image * (1 - share[..., None]) + colour * share[..., None]
