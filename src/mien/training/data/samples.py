"""One sample type for all models: a source and targets of one person, and whatever else data can give; its sources.

Where samples come from: rendered groups, people rendered while training, prepared videos, or a mixture of them. A
model's `collate` makes a batch of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.avatars.performances import CLIPS
from mien.errors import InputError
from mien.geometry.mirror import mirrored_landmarks
from mien.training.data.pictures import mirror, resize
from mien.typing import Picture

Points = NDArray[np.floating]
_TRIES = 20


@dataclass(frozen=True)
class FaceFrame:
    """One picture of a person and what is known of the face in it.

    Attributes:
        picture: uint8 [s, s, 3].
        landmarks: [68, 2], pixels of the picture.
        pose: `HeadPose` as six numbers: rotation vector, translation, scale; None: unknown.
        pupils: [2, 2], like the landmarks; None: unknown.
        neutral: [70, 2], where landmarks and pupils would be in the same pose without expression; None: unknown.
    """

    picture: Picture
    landmarks: Points
    pose: NDArray[np.floating] | None = None
    pupils: Points | None = None
    neutral: Points | None = None

    @property
    def side(self) -> int:
        """Of the picture, pixels."""
        return int(self.picture.shape[0])

    def keypoints(self) -> Points:
        """Landmarks and pupils [70, 2], pixels. Raises InputError where pupils are not known."""
        if self.pupils is None:
            raise InputError("these data do not know where pupils are: make them anew by mien data avatars.")
        return np.concatenate([self.landmarks, self.pupils])

    def head_pose(self) -> NDArray[np.floating]:
        """The pose's six numbers. Raises InputError where they are not known."""
        if self.pose is None:
            raise InputError("these data do not know head poses: make them anew by mien data avatars.")
        return np.asarray(self.pose)

    def resized(self, side: int) -> FaceFrame:
        """The same at another side.

        Args:
            side: pixels.

        Returns:
            Picture and points, scaled.
        """
        if side == self.side:
            return self
        zoom = side / self.side
        pupils, neutral = (None if points is None else points * zoom for points in (self.pupils, self.neutral))
        landmarks = self.landmarks * zoom
        return replace(self, picture=resize(self.picture, side), landmarks=landmarks, pupils=pupils, neutral=neutral)

    def mirrored(self) -> FaceFrame:
        """The face in a mirror: left and right of points and angles change places."""
        points = self.landmarks if self.pupils is None else self.keypoints()
        moved = mirrored_landmarks(np.asarray(points, np.float32), self.side)
        pose = None if self.pose is None else np.asarray(self.pose) * [1, -1, -1, -1, 1, 1]
        neutral = None
        if self.neutral is not None:
            neutral = mirrored_landmarks(np.asarray(self.neutral, np.float32), self.side)
        pupils = None if self.pupils is None else moved[68:]
        return FaceFrame(mirror(self.picture), moved[:68], pose, pupils, neutral)


@dataclass(frozen=True)
class SampleSpec:
    """What a sample is to be.

    Attributes:
        frames: targets.
        clip: consecutive ones, and one driving face for all of them.
        side: at which people are rendered who are rendered while training, pixels.
        drivers: other people in the targets' motions are wanted.
        views: the targets' expressions under other poses are wanted, where they can be had.
        photo: the person's photograph is wanted now and then.
        elsewhere: driving faces show the targets' expressions under other poses, where they can be had.
    """

    frames: int
    clip: bool = False
    side: int = 256
    drivers: bool = False
    views: bool = False
    photo: bool = False
    elsewhere: bool = False


@dataclass(frozen=True)
class SourceDrivingSample:
    """A source and targets of one person.

    Attributes:
        source: the person's picture.
        targets: the same person in other motions.
        mean_landmarks: [68, 2], where the person's landmarks are on average, pixels: what driving faces are laid over.
        drivers: other people in the targets' motions; None: there are none.
        driver_mean_landmarks: [68, 2] of each driving face.
        views: the targets' expressions under other poses; None: there are none.
        photo: a picture to take in the source's place, in which landmarks are not known; None: take the source.
        other: a picture of somebody else, for F.
    """

    source: FaceFrame
    targets: Sequence[FaceFrame]
    mean_landmarks: Points
    drivers: Sequence[FaceFrame] | None = None
    driver_mean_landmarks: Sequence[Points] = ()
    views: Sequence[FaceFrame] | None = None
    photo: Picture | None = None
    other: Picture | None = None

    def resized(self, side: int) -> SourceDrivingSample:
        """All pictures and points at another side.

        Args:
            side: pixels.

        Returns:
            The sample, scaled.
        """
        if side == self.source.side:
            return self
        zoom = side / self.source.side

        def several(frames: Sequence[FaceFrame] | None) -> list[FaceFrame] | None:
            return None if frames is None else [frame.resized(side) for frame in frames]

        return SourceDrivingSample(
            self.source.resized(side),
            several(self.targets) or [],
            self.mean_landmarks * zoom,
            several(self.drivers),
            [points * zoom for points in self.driver_mean_landmarks],
            several(self.views),
            None if self.photo is None else resize(self.photo, side),
            None if self.other is None else resize(self.other, side),
        )


class SampleSource(Protocol):
    """Anything that samples can be drawn from."""

    def sample(self, rng: np.random.Generator, spec: SampleSpec) -> SourceDrivingSample:
        """One sample.

        Args:
            rng: of everything random.
            spec: what it is to be.

        Returns:
            Frames with their ground truth.
        """

    def at_step(self, step: int) -> None:
        """Told which step the samples that follow are for.

        Args:
            step: its number, from 0.
        """

    def refresh(self) -> int:
        """Look for new data; how much there is."""


class Mixture:
    """Samples from several sources, each with its part of the draws."""

    def __init__(self, sources: Sequence[tuple[SampleSource, float]]) -> None:
        """Args: sources: with their parts, which sum to 1."""
        self.sources = [source for source, _ in sources]
        self.weights = [weight for _, weight in sources]

    def at_step(self, step: int) -> None:
        """See `SampleSource`."""
        for source in self.sources:
            source.at_step(step)

    def refresh(self) -> int:
        """See `SampleSource`."""
        return sum(source.refresh() for source in self.sources)

    def sample(self, rng: np.random.Generator, spec: SampleSpec) -> SourceDrivingSample:
        """See `SampleSource`."""
        if len(self.sources) == 1:
            return self.sources[0].sample(rng, spec)
        return self.sources[int(rng.choice(len(self.sources), p=self.weights))].sample(rng, spec)


def draw_samples(
    data: SampleSource,
    rng: np.random.Generator,
    count: int,
    spec: SampleSpec,
    fits: Callable[[SourceDrivingSample], bool] | None = None,
) -> list[SourceDrivingSample]:
    """Samples; those that do not fit are drawn again.

    Args:
        data: where from.
        rng: of everything random.
        count: how many.
        spec: what they are to be.
        fits: whether one can be used; None: all can.

    Returns:
        `count` samples.

    Raises:
        InputError: none of many fits.
    """
    samples: list[SourceDrivingSample] = []
    for _ in range(count):
        tried = (data.sample(rng, spec) for _ in range(_TRIES))
        found = next((sample for sample in tried if fits is None or fits(sample)), None)
        if found is None:
            raise InputError("hardly any of the training data can be used here: name other data.")
        samples.append(found)
    return samples


def choose_motions(rng: np.random.Generator, total: int, spec: SampleSpec) -> tuple[int, list[int]]:
    """The source's motion and the targets': any, or a piece of one of the continuous clips, either way.

    Clips that are shorter than what is asked for are walked there and back.

    Args:
        rng: chooses.
        total: how many motions there are.
        spec: what a sample is to be.

    Returns:
        Numbers from 0 to total - 1: the source's, and the targets'.
    """
    start, *motions = [int(m) for m in rng.choice(total, spec.frames + 1, replace=total <= spec.frames)]
    if not spec.clip:
        return start, motions
    low, high = CLIPS[int(rng.integers(len(CLIPS)))] if total >= CLIPS[-1][1] else (0, total)
    there = list(range(low, high))
    if spec.frames <= len(there):
        first = int(rng.integers(len(there) - spec.frames + 1))
        order = there[first : first + spec.frames]
    else:
        walk = there + there[-2:0:-1] if len(there) > 2 else there
        first = int(rng.integers(len(walk)))
        order = [walk[(first + i) % len(walk)] for i in range(spec.frames)]
    return start, order if rng.random() < 0.5 else order[::-1]
