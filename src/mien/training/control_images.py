"""Control images for training (X-Portrait, Sections 3.2 to 3.4): what the motion controls see instead of the target.

The motion-aligned frame of another person is drawn from the avatar data; here it is roughened as the paper says
(heterogeneous scaling) and as the world does (colour, blur, noise), so that only its motion is worth reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Placement:
    """x -> centre_out + scale * (x - centre_in), per axis, in pixels: how a driver is laid over a portrait."""

    centre_in: NDArray[np.float32]
    centre_out: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def align(
        cls, driver: NDArray[np.float32], portrait: NDArray[np.float32], heterogeneous: Sequence[float]
    ) -> Placement:
        """Lay the box of the driver's landmarks [n, 2] over the portrait's (Section 3.4; spec, section 5).

        `heterogeneous` are the random factors for x and y, in [0.9, 1.1] (Section 3.4). Without the alignment a control
        image leaves open where the target's face is, and a model can only blur; inference aligns in the same way.
        """
        half_in, half_out = np.ptp(driver, axis=0) / 2, np.ptp(portrait, axis=0) / 2
        scale = half_out / half_in * np.asarray(heterogeneous)
        return cls(driver.mean(0), portrait.mean(0), scale.astype(np.float32))

    def image(self, picture: Picture) -> Picture:
        """The picture moved, its border repeated outwards."""
        shift = self.centre_out - self.scale * self.centre_in
        matrix = np.array([[self.scale[0], 0, shift[0]], [0, self.scale[1], shift[1]]], np.float32)
        size = (picture.shape[1], picture.shape[0])
        return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where points [n, 2] go."""
        return (self.centre_out + self.scale * (points - self.centre_in)).astype(np.float32)


def roughen(image: Picture, rng: np.random.Generator) -> Picture:
    """Colour, brightness, grey, blur and noise at random: what a driving video's camera may do."""
    x: NDArray[np.floating] = image.astype(np.float32)
    if rng.random() < 0.8:
        x = x * rng.uniform(0.7, 1.3, 3) + rng.uniform(-25, 25, 3)
    if rng.random() < 0.5:
        mean = x.mean()
        x = (x - mean) * rng.uniform(0.6, 1.4) + mean
    if rng.random() < 0.15:
        x = np.repeat(x.mean(2, keepdims=True), 3, axis=2)
    if rng.random() < 0.3:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.5, 1.5)))
    if rng.random() < 0.3:
        x = x + rng.normal(0, rng.uniform(2, 10), x.shape)
    return np.clip(x, 0, 255).astype(np.uint8)
