"""Rows rendered while training, from a packed cast (`mien data pack`): nothing is stored, nothing is seen twice.

`mien.avatars.online.AvatarStream` walks on from sample to sample; a training that must be able to stop and go on needs
what is drawn at a step to depend on the step alone. So here who is at hand depends on the step, and changes by one
person every few steps: making a person costs as much as rendering dozens of frames.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.avatars.groups import Actor
from mien.avatars.motion import head_motion
from mien.avatars.online import StreamOptions
from mien.avatars.pack import PackedCast, load_pack
from mien.avatars.people import RandomPerson
from mien.avatars.performances import Performance, make_performance
from mien.avatars.photo import View
from mien.avatars.styles import Style
from mien.training.data.types import Take, Wish, choose_motions

_TURNOVER = 16  # steps after which somebody leaves and somebody new comes in


class OnlineClips:
    """`PairData` rendered from a packed cast. people: how many are at hand at a time, in each process."""

    def __init__(self, pack: Path, options: StreamOptions | None = None, people: int = 12, seed: int = 0) -> None:
        self.pack, self.options, self.people, self.seed = pack, options or StreamOptions(), people, seed
        self._first = 0
        self._cast: PackedCast | None = None
        self._ready: OrderedDict[int, tuple[Actor, Style]] = OrderedDict()

    def at_step(self, step: int) -> None:
        """Who is at hand: members n to n + people - 1 of an endless row."""
        self._first = step // _TURNOVER

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes make their own people."""
        return {**self.__dict__, "_cast": None, "_ready": OrderedDict()}

    @property
    def cast(self) -> PackedCast:
        """The pack, read on first use."""
        if self._cast is None:
            self._cast = load_pack(self.pack)
        return self._cast

    def refresh(self) -> int:
        """The pack does not grow."""
        return len(self.cast.people)

    def take(self, rng: np.random.Generator, wish: Wish) -> Take:
        """One person's source and targets, and others in the same motions."""
        options = replace(self.options, size=wish.side)
        person, *drivers = [int(n) for n in self._first + rng.integers(self.people, size=1 + wish.frames)]
        if wish.clip:
            drivers = drivers[:1] * wish.frames
        performance = make_performance(self.cast.model, rng, list(self.cast.tracks), options.limits)
        motions, start = choose_motions(rng, len(performance), wish), int(rng.integers(len(performance)))
        actor, style = self._member(person)
        source = self._view(actor, performance, start, options)
        targets = [self._view(actor, performance, motion, options) for motion in motions]
        shown = []
        for number, motion in zip(drivers, motions, strict=True):
            driver, other_style = self._member(number)
            view = self._view(driver, performance, motion, options)
            shown.append((other_style.apply(view.image), np.asarray(view.landmarks, np.float32)))
        landmarks = np.stack([np.asarray(view.landmarks, np.float32) for view in targets])
        marks = np.stack([points for _, points in shown])
        # of a clip the boxes' mean, of single poses each pose's own: both perform the same, so the boxes correspond
        usual = [marks.mean(0)] * wish.frames if wish.clip else list(_without_pose(marks, landmarks))
        return Take(
            style.apply(source.image),
            [style.apply(view.image) for view in targets],
            landmarks,
            landmarks.mean(0),
            [image for image, _ in shown],
            marks,
            usual,
            shown[0][0],
            np.stack([np.concatenate([view.landmarks, view.pupils[:, :2]]) for view in (source, *targets)]),
        )

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

    def _view(self, actor: Actor, performance: Performance, motion: int, options: StreamOptions) -> View:
        moved = head_motion(performance.angles[motion], performance.place[motion])
        return actor.render(performance.expression[motion], moved, options.size, options.supersample)


def _without_pose(marks: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Drivers' boxes carried from their own motion to the mean motion: what `Placement.align` expects of `usual`.

    marks, landmarks: [f, 68, 2] of drivers and target in the same f motions. A driver's box differs from the target's
    by a factor and a shift per axis; the same ones are applied to the target's mean landmarks.
    """
    scale = np.ptp(marks, axis=1) / np.ptp(landmarks, axis=1)  # [f, 2]
    mean = landmarks.mean(0)
    centred = (mean - mean.mean(0))[None] * scale[:, None]
    shift = marks.mean(1) - landmarks.mean(1)
    return np.asarray(centred + mean.mean(0) + shift[:, None], np.float32)
