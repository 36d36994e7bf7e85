"""The motions that everyone in a group of the dataset performs: 32 single moments and two clips of 16 frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Floats, HeadMotion
from mien.avatars.expressions import (
    random_angles,
    random_blink,
    random_distinct_expression,
    random_expression,
    random_place,
)
from mien.avatars.head_model import TONGUE, HeadModel
from mien.avatars.motion import Track, generated_track, head_motion
from mien.geometry.smooth import smooth_step

MOTIONS = 64
CLIPS = ((32, 48), (48, 64))
_LENGTH = 16
_RATE = 25.0


@dataclass(frozen=True)
class PerformanceLimits:
    """How far made up motions go.

    Attributes:
        yaw: degrees either way.
        pitch: degrees either way.
        roll: degrees either way.
        shift: parts of the side.
        scale: furthest and nearest.
    """

    yaw: float = 25.0
    pitch: float = 15.0
    roll: float = 15.0
    shift: float = 0.06
    scale: tuple[float, float] = (0.9, 1.1)


@dataclass(frozen=True, eq=False)
class Performance:
    """m motions, see `Track`.

    Attributes:
        angles: [m, 3], degrees.
        place: [m, 3].
        expression: [m, 57].
        kind: where each comes from.
    """

    angles: Floats
    place: Floats
    expression: Floats
    kind: tuple[str, ...]

    def motion(self, index: int) -> HeadMotion:
        """The head in one motion."""
        return head_motion(self.angles[index], self.place[index])

    def __len__(self) -> int:
        return len(self.kind)


def make_performance(
    model: HeadModel,
    rng: np.random.Generator,
    library: list[Track],
    limits: PerformanceLimits | None = None,
    paired: bool = False,
    distinct: float = 0.0,
) -> Performance:
    """64 motions: even ones up to 30 made up, odd ones measured (made up without a library), then the two clips.

    Args:
        model: of the head.
        rng: draws all.
        library: measured tracks; may be empty.
        limits: of what is made up, None for the defaults.
        paired: motions 16 to 31 repeat the expressions of 0 to 15 under poses of their own, and the second clip repeats
            the poses of the first with expressions of its own.
        distinct: the chance that a single motion shows what landmarks tell badly, see `random_distinct_expression`; in
            the second clip such expressions then come and go one after another.
    """
    limits = limits or PerformanceLimits()
    angles, place, expression = np.zeros((MOTIONS, 3)), np.zeros((MOTIONS, 3)), np.zeros((MOTIONS, len(model.names)))
    kind = []
    for index in range(CLIPS[0][0]):
        place[index] = random_place(rng)
        if index % 2 and library:
            track = library[int(rng.integers(len(library)))]
            frame = int(rng.choice(np.flatnonzero(track.seen)))
            angles[index] = track.angles[frame] + rng.normal(size=3) * [7, 3, 3]
            expression[index] = _enriched(model, track.expression[frame].copy(), rng)
            kind.append(f"measured:{track.name}:{frame}")
        else:
            angles[index], expression[index] = random_angles(rng, limits.yaw), random_expression(model, rng)
            kind.append("random")
        if rng.random() < distinct:
            expression[index] = random_distinct_expression(model, rng)
            kind[-1] = "distinct"
    if paired:
        half = CLIPS[0][0] // 2
        expression[half : 2 * half] = expression[:half]
        kind[half:] = [f"paired:{index}" for index in range(half)]
    for number, (first, last) in enumerate(CLIPS):
        parts, source = _clip(model, rng, library, measured=number == 0 or rng.random() < 0.5, widest=limits.yaw)
        angles[first:last], place[first:last], expression[first:last] = parts
        if number and rng.random() < distinct:
            expression[first:last], source = _distinct_clip(model, rng), "distinct_clip"
        kind += [source] * _LENGTH
    if paired:
        (here, there), (first, last) = CLIPS
        angles[first:last], place[first:last] = angles[here:there], place[here:there]
    return _limited(angles, place, expression, tuple(kind), limits)


def _enriched(model: HeadModel, face: Floats, rng: np.random.Generator) -> Floats:
    """A measured expression; some mouths are opened and some eyes closed, which clips seldom show."""
    row = model.index
    if rng.random() < 0.22:
        face[row("jawOpen")], face[row("mouthClose")] = rng.uniform(0.45, 0.9), 0
        face[row("mouthPucker")] *= 0.3
    left, right = face[row("eyeBlink_L")], face[row("eyeBlink_R")]
    if max(left, right) < 0.5:
        random_blink(model, face, rng, both=0.2, single=0.03)
    elif min(left, right) > 0.5 and rng.random() < 0.6:
        face[row("eyeBlink_L")] = face[row("eyeBlink_R")] = 0.95
    return face


def _distinct_clip(model: HeadModel, rng: np.random.Generator) -> Floats:
    """Expressions [16, 57] that go from one distinct expression to the next, a few frames each."""
    marks = np.arange(0, _LENGTH + 4, 4)
    shown = np.stack([random_distinct_expression(model, rng) for _ in marks])
    time = np.arange(_LENGTH) + rng.uniform(0, 4)
    share = smooth_step((time % 4) / 4 * 1.5)[:, None]  # a third of the time is held
    before = (time // 4).astype(int)
    return (shown[before] * (1 - share) + shown[np.minimum(before + 1, len(marks) - 1)] * share).astype(np.float32)


def _clip(
    model: HeadModel, rng: np.random.Generator, library: list[Track], measured: bool, widest: float
) -> tuple[tuple[Floats, Floats, Floats], str]:
    stride = int(rng.integers(1, 3))
    if not (measured and library):
        track = generated_track(model, rng, _LENGTH * stride, _RATE, widest)
        frames = np.arange(0, _LENGTH * stride, stride)
        return (track.angles[frames], track.place[frames], track.expression[frames]), f"generated_clip::{stride}"
    track = library[int(rng.integers(len(library)))]
    frames = track.lively_stretch(rng, _LENGTH, stride)
    angles, place, expression = track.smoothed(frames)
    angles = (angles + rng.normal(size=3) * [6, 2, 2]).astype(np.float32)
    shift = (place[:, :2] - place[:, :2].mean(0)) * 0.5 + rng.uniform(-0.02, 0.02, 2)
    scale = 1 + (place[:, 2:] / place[:, 2:].mean() - 1) * 0.4 + rng.uniform(-0.05, 0.05)
    parts = (angles, np.column_stack([shift, scale]).astype(np.float32), expression)
    return parts, f"measured_clip:{track.name}:{frames[0]}:{stride}"


def _limited(
    angles: NDArray[np.floating],
    place: NDArray[np.floating],
    expression: NDArray[np.floating],
    kind: tuple[str, ...],
    limits: PerformanceLimits,
) -> Performance:
    turn = np.array([limits.yaw, limits.pitch, limits.roll])
    low = np.array([-limits.shift, -limits.shift, limits.scale[0]])
    high = np.array([limits.shift, limits.shift, limits.scale[1]])
    shown = np.clip(expression, 0, 1).astype(np.float32)
    shown[:, TONGUE + 1 :] = 0
    return Performance(
        np.clip(angles, -turn, turn).astype(np.float32), np.clip(place, low, high).astype(np.float32), shown, kind
    )
