"""Training pictures rendered while training: an IterableDataset, a worker a core, seeded.

loader = DataLoader(AvatarStream(load_pack(path), seed=0), batch_size=4, num_workers=16)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from mien.avatars.camera import Floats, HeadMotion, head_pose
from mien.avatars.groups import Actor
from mien.avatars.motion import head_motion
from mien.avatars.pack import PackedCast
from mien.avatars.people import RandomPerson
from mien.avatars.performances import MotionLimits, make_performance
from mien.avatars.photo import View
from mien.avatars.styles import Degradation, Style
from mien.geometry import local_patches


@dataclass(frozen=True)
class StreamOptions:
    """size: of the pictures, pixels. frames: targets of a sample, consecutive if more than one. supersample: see
    `renderer`. random_people: their share. styled: share of people in another style than their own. degraded: whether
    driver pictures are blurred, noisy and compressed. kept: people a worker holds ready; turnover: samples after which
    one of them is replaced."""

    size: int = 256
    frames: int = 1
    supersample: int = 1
    random_people: float = 0.15
    styled: float = 0.1
    degraded: bool = True
    kept: int = 12
    turnover: int = 8
    limits: MotionLimits = MotionLimits()


class AvatarStream(IterableDataset[dict[str, torch.Tensor]]):
    """Endless samples: a person's source and target pictures, and another person in the target's motion.

    Each is a dict: source [3, s, s], target, control and patches [f, 3, s, s] in [-1, 1]; landmarks and
    control_landmarks [f, 68, 2] in pixels; pose and control_pose [f, 6] (rotation vector, translation, scale of
    `HeadPose`), source_pose [6]; expression [f, 57]; identity and control_identity: numbers of the people.

    Worker w of n with the same seed gives the same samples in every run; an epoch number changes them all.
    """

    def __init__(self, cast: PackedCast, seed: int, options: StreamOptions | None = None, epoch: int = 0) -> None:
        super().__init__()
        self.cast, self.seed, self.epoch, self.options = cast, seed, epoch, options or StreamOptions()

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        info = get_worker_info()
        torch.set_num_threads(1)
        rng = np.random.default_rng([self.seed, self.epoch, info.id if info is not None else 0])
        troupe = _Troupe(self.cast, self.options, rng)
        while True:
            performance = make_performance(self.cast.model, rng, list(self.cast.tracks), self.options.limits)
            for _ in range(self.options.turnover):
                yield self._sample(troupe, performance, rng)
            troupe.renew()

    def _sample(self, troupe: _Troupe, performance: Any, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        (who, actor, style), (other, driver, other_style) = troupe.pick(), troupe.pick()
        if self.options.frames == 1:
            motions = rng.integers(len(performance), size=1)
        else:
            first = int(rng.integers(32, len(performance) - self.options.frames + 1))
            motions = np.arange(first, first + self.options.frames)
        poor = Degradation.random(rng) if self.options.degraded else Degradation()
        start = int(rng.integers(len(performance)))
        source = self._view(actor, performance.expression[start], performance.motion(start))
        targets, controls = [], []
        for motion in motions:
            moved = head_motion(performance.angles[motion], performance.place[motion])
            targets.append(self._view(actor, performance.expression[motion], moved))
            controls.append(self._view(driver, performance.expression[motion], moved))
        shown = [poor.apply(other_style.apply(view.image), index) for index, view in enumerate(controls)]
        patches = [local_patches(image, view.landmarks) for image, view in zip(shown, controls, strict=True)]
        return {
            "source": _picture(style.apply(source.image)),
            "target": torch.stack([_picture(style.apply(view.image)) for view in targets]),
            "control": torch.stack([_picture(image) for image in shown]),
            "patches": torch.stack([_picture(image) for image in patches]),
            "landmarks": torch.from_numpy(np.stack([view.landmarks for view in targets]).astype(np.float32)),
            "control_landmarks": torch.from_numpy(np.stack([view.landmarks for view in controls]).astype(np.float32)),
            "pose": torch.stack([self._pose(view) for view in targets]),
            "control_pose": torch.stack([self._pose(view) for view in controls]),
            "source_pose": self._pose(source),
            "expression": torch.from_numpy(performance.expression[motions]),
            "identity": torch.tensor(who),
            "control_identity": torch.tensor(other),
        }

    def _view(self, actor: Actor, expression: Floats, motion: HeadMotion) -> View:
        return actor.render(expression, motion, self.options.size, self.options.supersample)

    def _pose(self, view: View) -> torch.Tensor:
        pose = head_pose(view.placement, view.landmarks, self.options.size)
        return torch.tensor([*pose.rotation, *pose.translation, pose.scale], dtype=torch.float32)


class _Troupe:
    """The people a worker holds ready; making one costs as much as rendering some dozens of frames."""

    def __init__(self, cast: PackedCast, options: StreamOptions, rng: np.random.Generator) -> None:
        self._cast, self._options, self._rng = cast, options, rng
        self._ready: OrderedDict[int, tuple[Actor, Style]] = OrderedDict()
        self.renew()
        self.renew()

    def renew(self) -> None:
        """Bring in one more person; the one who has been here longest leaves when there are too many."""
        rng, people = self._rng, self._cast.people
        if not people or rng.random() < self._options.random_people:
            seed = int(rng.integers(1 << 30))
            number, actor = len(people) + seed, RandomPerson(self._cast.model, seed)
            self._ready[number] = (actor, Style.random(rng, 1 - self._options.styled))
        else:
            number = int(rng.integers(len(people)))
            member = people[number].avatar(self._cast.model, 512 if self._options.size <= 256 else 1024)
            self._ready[number] = (member, Style.random(rng, 1 - self._options.styled))
        while len(self._ready) > self._options.kept:
            self._ready.popitem(last=False)

    def pick(self) -> tuple[int, Actor, Style]:
        """Anybody who is ready: number, person, style."""
        number = list(self._ready)[int(self._rng.integers(len(self._ready)))]
        return number, *self._ready[number]


def _picture(image: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [h, w, 3] to [3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float().div_(127.5).sub_(1)
