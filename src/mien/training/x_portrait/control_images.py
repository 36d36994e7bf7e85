"""Control images for training (X-Portrait, Sections 3.2 to 3.4): what the motion controls see instead of the target.

Where they come from (`--control-source`):

- avatars: a rendered frame of another person in the target's motion, exact.
- face-vid2vid: the paper's way, F(another person's frame -> target), by a network.
- self: the target itself (the paper's ablation a: nothing forces the controls to leave the identity alone).

And what they show (`--control`): the picture, or its 68 landmarks drawn (the MagicDance-type baseline). All are scaled
by random factors, apart for x and y (Section 3.4; off: ablation c), and augmented as the world does (colour, blur,
noise), so that only their motion is worth reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.typing import Picture, Reenact


@dataclass(frozen=True)
class ControlKind:
    """What control images are made of.

    Attributes:
        source: avatars, face-vid2vid or self.
        landmarks: draw them instead of the picture.
        scaling: heterogeneous.
        reenact: F, where it is the source.
    """

    source: str = "avatars"
    landmarks: bool = False
    scaling: bool = True
    reenact: Reenact | None = None

    def factors(self, rng: np.random.Generator) -> tuple[float, float]:
        """Factors of the heterogeneous scaling (Section 3.4).

        Args:
            rng: draws them.

        Returns:
            For x and y in [0.9, 1.1]; 1 where there is no scaling.
        """
        x, y = rng.uniform(0.9, 1.1, 2)
        return (float(x), float(y)) if self.scaling else (1.0, 1.0)


def face_vid2vid(folder: str | None) -> Reenact:
    """F, which makes control images of the source itself.

    Args:
        folder: what `mien train face-vid2vid` exported.

    Returns:
        From a portrait and driving frames to as many pictures.

    Raises:
        InputError: there is no such folder.
    """
    if folder is None:
        raise InputError("--control-source face-vid2vid needs --f: the folder that `mien train face-vid2vid` exported.")
    if not Path(folder).is_dir():
        raise InputError(f"{folder} does not exist: give --f the folder that `mien train face-vid2vid` exported.")
    from mien.pipelines.face_vid2vid import load_reenactor

    return load_reenactor(Path(folder))


@dataclass(frozen=True)
class Placement:
    """x -> centre_out + scale * (x - centre_in), per axis, in pixels: how a driving face is laid over a portrait."""

    centre_in: NDArray[np.float32]
    centre_out: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def align(
        cls, driver: NDArray[np.float32], portrait: NDArray[np.float32], heterogeneous: Sequence[float]
    ) -> Placement:
        """Lay the box of the driving landmarks over the portrait's (X-Portrait, Section 3.4).

        Without the alignment a control image leaves open where the target's face is, and a model can only blur;
        inference aligns in the same way.

        Args:
            driver: landmarks [n, 2].
            portrait: landmarks [n, 2].
            heterogeneous: random factors for x and y, in [0.9, 1.1].

        Returns:
            The map.
        """
        half_in, half_out = np.ptp(driver, axis=0) / 2, np.ptp(portrait, axis=0) / 2
        scale = half_out / half_in * np.asarray(heterogeneous)
        return cls(driver.mean(0), portrait.mean(0), scale.astype(np.float32))

    def image(self, picture: Picture) -> Picture:
        """The picture moved, its border repeated outwards.

        Args:
            picture: uint8 [h, w, 3].

        Returns:
            uint8 [h, w, 3].
        """
        shift = self.centre_out - self.scale * self.centre_in
        matrix = np.array([[self.scale[0], 0, shift[0]], [0, self.scale[1], shift[1]]], np.float32)
        size = (picture.shape[1], picture.shape[0])
        return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where points go.

        Args:
            points: [n, 2], pixels.

        Returns:
            [n, 2], pixels.
        """
        return (self.centre_out + self.scale * (points - self.centre_in)).astype(np.float32)
