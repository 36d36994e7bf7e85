"""People rendered while training, from a packed cast (`mien data pack`): nothing is stored, nothing is seen twice.

A training that must be able to stop and go on needs what is drawn at a step to depend on the step alone. So who is at
hand depends on the step, and changes by one person every few steps: making a person costs as much as rendering dozens
of frames.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.avatars.camera import head_pose
from mien.avatars.groups import Actor
from mien.avatars.pack import PackedCast, load_pack
from mien.avatars.people import RandomPerson
from mien.avatars.performances import Performance, PerformanceLimits, make_performance
from mien.avatars.styles import Style
from mien.training.data.samples import FaceFrame, Points, SampleSpec, SourceDrivingSample, choose_motions

_TURNOVER = 16  # steps after which somebody leaves and somebody new comes in


@dataclass(frozen=True)
class RenderOptions:
    """How people are rendered.

    Attributes:
        supersample: see `mien.avatars.renderer`.
        random_people: part of the people who are nobody's likeness.
        styled: part of the people who are drawn in another style than their own.
        distinct: see `make_performance`.
        limits: of the motions.
    """

    supersample: int = 1
    random_people: float = 0.15
    styled: float = 0.1
    distinct: float = 0.0
    limits: PerformanceLimits = PerformanceLimits()


class RenderedPeople:
    """`SampleSource` that renders from a packed cast."""

    def __init__(
        self, pack: Path | PackedCast, seed: int = 0, options: RenderOptions | None = None, people: int = 12
    ) -> None:
        """Args: people: how many are at hand at a time, in each process."""
        self.pack, self.options, self.people, self.seed = pack, options or RenderOptions(), people, seed
        self._first = 0
        self._cast = pack if isinstance(pack, PackedCast) else None
        self._ready: OrderedDict[int, tuple[Actor, Style]] = OrderedDict()

    def at_step(self, step: int) -> None:
        """Who is at hand: members n to n + people - 1 of an endless row.

        Args:
            step: the later, the larger n.
        """
        self._first = step // _TURNOVER

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes make their own people."""
        kept = self._cast if isinstance(self.pack, PackedCast) else None
        return {**self.__dict__, "_cast": kept, "_ready": OrderedDict()}

    @property
    def cast(self) -> PackedCast:
        """The pack, read on first use."""
        if self._cast is None:
            assert isinstance(self.pack, Path)
            self._cast = load_pack(self.pack)
        return self._cast

    def refresh(self) -> int:
        """The pack does not grow."""
        return len(self.cast.people)

    def sample(self, rng: np.random.Generator, spec: SampleSpec) -> SourceDrivingSample:
        """One person's source and targets, others in the same motions, and other views of the targets' expressions.

        Args:
            rng: of everything random.
            spec: what a sample is to be.

        Returns:
            Frames with their ground truth.
        """
        person, *drivers = [int(n) for n in self._first + rng.integers(self.people, size=1 + spec.frames)]
        performance = self._performance(rng)
        start, motions = choose_motions(rng, len(performance), spec)
        source, *targets = [self._frame(person, performance, motion, spec.side) for motion in (start, *motions)]
        landmarks = np.stack([frame.landmarks for frame in targets])
        views = None
        if spec.views:
            poses = [int(rng.integers(len(performance))) for _ in motions]
            views = [
                self._frame(person, _expressed(performance, expression), pose, spec.side)
                for expression, pose in zip(motions, poses, strict=True)
            ]
        if not spec.drivers:
            return SourceDrivingSample(source, targets, landmarks.mean(0), views=views)
        drivers = drivers[:1] * spec.frames if spec.clip else drivers
        shown = [
            self._frame(n, *self._elsewhere(rng, performance, motion, spec), spec.side)
            for n, motion in zip(drivers, motions, strict=True)
        ]
        marks = np.stack([frame.landmarks for frame in shown])
        # of a clip the boxes' mean, of single poses each pose's own: both perform the same, so the boxes correspond
        mean = [marks.mean(0)] * spec.frames if spec.clip else list(_without_pose(marks, landmarks))
        return SourceDrivingSample(
            source, targets, landmarks.mean(0), shown, mean, views, other=shown[0].picture
        )  # fmt: skip

    def _elsewhere(
        self, rng: np.random.Generator, performance: Performance, motion: int, spec: SampleSpec
    ) -> tuple[Performance, int]:
        """A motion's expression under any pose, if that is wanted."""
        if not spec.elsewhere or spec.clip:
            return performance, motion
        return _expressed(performance, motion), int(rng.integers(len(performance)))

    def variation(
        self, rng: np.random.Generator, side: int, yaw: float = 20.0
    ) -> tuple[FaceFrame, FaceFrame, FaceFrame]:
        """One person three times, by which encoders are scored.

        Args:
            rng: decides who, and which motion.
            side: of the pictures, pixels.
            yaw: of the second one, degrees.

        Returns:
            As they are; turned by `yaw` one way or the other; in the same pose with another expression.
        """
        person, performance = int(self._first + rng.integers(self.people)), self._performance(rng)
        here, other = (int(m) for m in rng.choice(len(performance), 2, replace=False))
        angles = performance.angles.copy()
        # towards the front and beyond it, so that nobody is turned further than faces are seen
        angles[here, 0] += -yaw if angles[here, 0] > 0 else yaw
        mimic = performance.expression.copy()
        mimic[here] = mimic[other]
        changed = (performance, replace(performance, angles=angles), replace(performance, expression=mimic))
        first, second, third = (self._frame(person, shown, here, side) for shown in changed)
        return first, second, third

    def views(self, rng: np.random.Generator, side: int, turns: Points) -> list[FaceFrame]:
        """One expression of one person from several sides.

        Args:
            rng: decides who, and which expression.
            side: of the pictures, pixels.
            turns: of the head in each picture, yaw, pitch and roll [n, 3], degrees.

        Returns:
            A frame for each turn.
        """
        person, performance = int(self._first + rng.integers(self.people)), self._performance(rng)
        motion, frames = int(rng.integers(len(performance))), []
        for turn in turns:
            angles = performance.angles.copy()
            angles[motion] = turn
            frames.append(self._frame(person, replace(performance, angles=angles), motion, side))
        return frames

    def _performance(self, rng: np.random.Generator) -> Performance:
        options = self.options
        return make_performance(
            self.cast.model, rng, list(self.cast.tracks), options.limits, distinct=options.distinct
        )  # fmt: skip

    def _member(self, number: int) -> tuple[Actor, Style]:
        """Member `number` of the endless row of people that the seed names."""
        if number not in self._ready:
            rng, people = np.random.default_rng([self.seed, number]), self.cast.people
            style = Style.random(rng, 1 - self.options.styled)
            if not people or rng.random() < self.options.random_people:
                self._ready[number] = (RandomPerson(self.cast.model, int(rng.integers(1 << 30))), style)
            else:
                chosen = people[int(rng.integers(len(people)))]
                self._ready[number] = (chosen.avatar(self.cast.model, 512), style)
            while len(self._ready) > self.people:
                self._ready.popitem(last=False)
        self._ready.move_to_end(number)
        return self._ready[number]

    def _frame(self, person: int, performance: Performance, motion: int, side: int) -> FaceFrame:
        actor, style = self._member(person)
        view = actor.render(performance.expression[motion], performance.motion(motion), side, self.options.supersample)
        pose = head_pose(view.placement, view.landmarks, side)
        numbers = np.array([*pose.rotation, *pose.translation, pose.scale], np.float32)
        landmarks = np.asarray(view.landmarks, np.float32)
        return FaceFrame(style.apply(view.image), landmarks, numbers, np.asarray(view.pupils[:, :2], np.float32))


def _expressed(performance: Performance, motion: int) -> Performance:
    """The performance with the expression of one motion throughout."""
    return replace(performance, expression=performance.expression[[motion] * len(performance)])


def _without_pose(marks: Points, landmarks: Points) -> Points:
    """Driving faces' boxes carried from their own motion to the mean motion: what `Placement.align` expects of a mean.

    A driving face's box differs from the target's by a factor and a shift per axis; the same ones are applied to the
    target's mean landmarks.

    Args:
        marks: [f, 68, 2] of the driving faces in f motions, pixels.
        landmarks: the same of the target.

    Returns:
        Points [f, 68, 2].
    """
    scale = np.ptp(marks, axis=1) / np.ptp(landmarks, axis=1)  # [f, 2]
    mean = landmarks.mean(0)
    centred = (mean - mean.mean(0))[None] * scale[:, None]
    shift = marks.mean(1) - landmarks.mean(1)
    return np.asarray(centred + mean.mean(0) + shift[:, None], np.float32)
