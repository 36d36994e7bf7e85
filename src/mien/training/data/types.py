"""What is asked of training data of X-Portrait, and what they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.avatars.performances import CLIPS
from mien.errors import InputError
from mien.training.data.control_images import ControlKind
from mien.typing import Picture

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Wish:
    """What a batch is to be. sources: people. frames: targets of each. size: side of the window cut near the face;
    side: of the whole pictures. clip: consecutive frames, one driver for all. patches: whether local ones are made.
    start: whether what a reenactor needs is given too."""

    sources: int
    frames: int
    size: int
    side: int = 256
    clip: bool = False
    patches: bool = False
    control: ControlKind = ControlKind()
    start: bool = False


@dataclass(frozen=True)
class Take:
    """What data give for one row, all of the same side. source: picture. targets: f pictures with landmarks
    [f, 68, 2]. drivers, driver_landmarks: other people in the same motions; None: there are none. usual,
    driver_usual: landmarks [68, 2] whose boxes are laid over each other, of the target's person and each driver. other:
    a picture of somebody else, for F. keypoints [1 + f, 70, 2]: of the source and the targets; None: unknown."""

    source: Picture
    targets: Sequence[Picture]
    landmarks: Points
    usual: Points
    drivers: Sequence[Picture] | None = None
    driver_landmarks: Points | None = None
    driver_usual: Sequence[Points] = ()
    other: Picture | None = None
    keypoints: Points | None = None


class PairData(Protocol):
    """Anything that rows can be drawn from."""

    def take(self, rng: np.random.Generator, wish: Wish) -> Take:
        """The material of one row."""

    def at_step(self, step: int) -> None:
        """Told which step the rows that follow are for."""

    def refresh(self) -> int:
        """Look for new data; how much there is."""


def choose_motions(rng: np.random.Generator, total: int, wish: Wish) -> list[int]:
    """Which of a performance's motions the targets show: any, or a piece of one of its clips, either way round."""
    if not wish.clip:
        return [int(m) for m in rng.choice(total, wish.frames, replace=False)]
    low, high = CLIPS[int(rng.integers(len(CLIPS)))]
    if wish.frames > high - low:
        raise InputError(f"a clip of the avatars has {high - low} frames: --frames {wish.frames} is too many.")
    first = int(rng.integers(low, high - wish.frames + 1))
    order = range(first, first + wish.frames)
    return list(order) if rng.random() < 0.5 else list(reversed(order))
