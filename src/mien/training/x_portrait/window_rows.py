"""What both systems' face-window batches draw alike: a source with its targets, mirrored, lit and framed.

`mien.training.x_portrait.face_windows` and `mien.training.dex_portrait.window_data` make their pictures of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.geometry.face_window import FaceWindow, sample
from mien.training.data.pictures import color_jitter, draw_color_jitter
from mien.training.data.samples import FaceFrame, Points, SourceDrivingSample
from mien.typing import Picture

_FRAMING, _ZOOM = 0.03, (0.93, 1.08)  # of the window


@dataclass(frozen=True)
class WindowSpec:
    """What a batch is to be.

    Attributes:
        sources: people.
        frames: targets of each.
        side: of the windows, pixels.
        clip: consecutive frames, one driving face for all.
        self_driven: the driving face is always the target itself (the paper's ablation a); else where the data show
            nobody else in the target's motion (videos).
        scaling: the driving face is scaled (X-Portrait, Section 3.4; off: the paper's ablation c).
        landmarks: the networks see the moved portrait's landmarks, drawn, in place of the driving face's pixels (the
            landmark baseline).
        errors: draw the errors of readings and proportions, and the driving face's light; off: what is exact.
    """

    sources: int
    frames: int
    side: int = 192
    clip: bool = False
    self_driven: bool = False
    errors: bool = True
    scaling: bool = True
    landmarks: bool = False


@dataclass(frozen=True)
class WindowRow:
    """A source with its targets, as it was drawn.

    Attributes:
        source: mirrored half of the time, as the others are.
        targets: the source's person.
        drivers: whose face shows each target's expression; the target itself where nobody else does.
        light: see `color_jitter`; of the source and its targets alike.
        seed: of what is drawn for each target.
        spec: what was asked for; `self_driven` as it turned out.
    """

    source: FaceFrame
    targets: Sequence[FaceFrame]
    drivers: Sequence[FaceFrame]
    light: tuple[NDArray[np.floating], NDArray[np.floating]]
    seed: int
    spec: WindowSpec

    @property
    def own(self) -> FaceWindow:
        """The source's window."""
        return FaceWindow.around(neutral_of(self.source))

    @property
    def window(self) -> Picture:
        """What the source shows in it, [s, s, 3]."""
        return self.lit(sample(self.source.picture, self.own.places(self.spec.side)))

    def lit(self, picture: Picture) -> Picture:
        """A picture of the source's person in this row's light."""
        return color_jitter(picture, *self.light)

    def pairs(self) -> Iterator[tuple[FaceFrame, FaceFrame, np.random.Generator]]:
        """Targets, their drivers, and what their errors are drawn from.

        One person is misread in one way throughout a clip, and filmed by one camera.
        """
        for number, (target, driver) in enumerate(zip(self.targets, self.drivers, strict=True)):
            yield target, driver, np.random.default_rng([self.seed, 0 if self.spec.clip else number])


def drawn_row(given: SourceDrivingSample, rng: np.random.Generator, spec: WindowSpec) -> WindowRow:
    """Draw what a source and all of its targets have in common.

    Args:
        given: the sample.
        rng: of everything random.
        spec: what the batch is to be.

    Returns:
        See `WindowRow`.
    """
    others = None if spec.self_driven else given.drivers
    source, targets, drivers = given.source, given.targets, given.targets if others is None else others
    if rng.random() < 0.5:
        source, targets, drivers = source.mirrored(), [t.mirrored() for t in targets], [d.mirrored() for d in drivers]
    light = draw_color_jitter(rng, 0.2, 12)
    seed = int(rng.integers(1 << 31))
    return WindowRow(source, targets, drivers, light, seed, replace(spec, self_driven=others is None))


def nearly_framed(window: FaceWindow, neutral: Points, rng: np.random.Generator) -> FaceWindow:
    """A window that is a little off.

    Args:
        window: the true one.
        neutral: the face's keypoints without expression [70, 2], pixels.
        rng: what place and size are drawn from.

    Returns:
        Another window.
    """
    shift, zoom = rng.normal(size=2) * _FRAMING * half_extent(neutral), rng.uniform(*_ZOOM)
    return replace(window, centre=window.centre + shift, half=window.half * zoom)


def neutral_of(frame: FaceFrame) -> Points:
    """A frame's keypoints without expression. Raises InputError where the data do not know them."""
    if frame.neutral is None:
        raise InputError("these data do not know neutral faces: make them anew by mien data avatars.")
    return frame.neutral


def half_extent(points: Points) -> float:
    """Half the larger side of the box around a face's landmarks."""
    return float(np.ptp(points[:68], axis=0).max()) / 2
