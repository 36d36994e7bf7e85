"""Training data of DeX-Portrait: one picture of a person, four others of the same person, and what the encoders see.

Avatars give what the paper could not have: the exact pose of every picture, and the same expression under another pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.avatars.camera import head_pose
from mien.avatars.performances import CLIPS, make_performance
from mien.avatars.photo import View
from mien.avatars.styles import Style
from mien.errors import InputError
from mien.models.dex_portrait import DeXPortraitConfig
from mien.models.dex_portrait.pose import codes_of_head_poses
from mien.motion.inputs import face_crop, face_oval, masked_frame
from mien.training.data.rendered_clips import OnlineClips
from mien.training.engine.config import TrainOptions
from mien.training.engine.stage import Batch

Picture = NDArray[np.uint8]
DRIVERS = 4  # of each source (supplement, B.2)
_OFF = 0.7  # pixels by which keypoints for a reenactor are off


@dataclass(frozen=True)
class Moment:
    """One picture of a person: uint8 [s, s, 3], landmarks [68, 2] in its pixels, `HeadPose` as six numbers; pupils
    [2, 2] like the landmarks, where they are known."""

    picture: Picture
    landmarks: NDArray[np.floating]
    pose: NDArray[np.floating]
    pupils: NDArray[np.floating] | None = None

    def keypoints(self) -> NDArray[np.float32]:
        """Landmarks and pupils [70, 2], half sides. Raises InputError where these data do not know pupils."""
        if self.pupils is None:
            raise InputError(
                "these avatars were made before pupils were recorded: make them anew by mien data avatars."
            )
        points = np.concatenate([self.landmarks, self.pupils])
        return (points * (2 / self.picture.shape[0]) - 1).astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """A source and drivers of one person. views: the drivers' expressions under other poses, where they can be had."""

    source: Moment
    drivers: list[Moment]
    views: list[Moment] | None = None


class SceneData(Protocol):
    """Where scenes come from."""

    def at_step(self, step: int) -> None:
        """Which step the next scenes are for."""

    def refresh(self) -> int:
        """Look for new data; how many people or groups there are."""

    def scene(self, rng: np.random.Generator, drivers: int, clip: bool, views: bool) -> Scene:
        """One scene; with `clip` the drivers are consecutive frames."""


class GroupScenes:
    """Scenes from the groups of avatars in a folder (`mien.avatars.groups`); they hold no other views."""

    def __init__(self, folder: Path, hold_out: int = 0, only_held_out: bool = False) -> None:
        """hold_out: groups from this number on are kept for validation; 0: those that are marked so."""
        self.folder, self.hold_out, self.only_held_out = folder, hold_out, only_held_out
        self._groups: dict[str, tuple[NDArray[np.uint8], dict[str, NDArray[np.floating]]]] = {}
        self.refresh()

    def at_step(self, step: int) -> None:
        """Every step draws from all groups."""

    def refresh(self) -> int:
        """Look for new groups."""
        for meta in sorted(self.folder.glob("group_*_meta.npz")):
            name = meta.name.removesuffix("_meta.npz")
            if name in self._groups:
                continue
            with np.load(meta) as content:
                marked = bool(content["validation"]) if "validation" in content else False
                held_out = int(name[6:]) >= self.hold_out if self.hold_out else marked
                if held_out != self.only_held_out or "head_pose" not in content:
                    continue
                frames = np.load(self.folder / f"{name}_frames.npy", mmap_mode="r")
                truth = {"landmarks": content["landmarks"], "pose": content["head_pose"]}
                if "pupils" in content:
                    truth["pupils"] = content["pupils"][..., :2]
                self._groups[name] = (frames, truth)
        return len(self._groups)

    def scene(self, rng: np.random.Generator, drivers: int, clip: bool, views: bool) -> Scene:
        """See `SceneData.scene`."""
        if not self._groups:
            raise InputError(
                f"{self.folder} holds no groups of avatars with head poses: make them by mien data avatars."
            )
        names = sorted(self._groups)
        sizes = np.array([len(self._groups[name][0]) for name in names], float)
        frames, truth = self._groups[names[int(rng.choice(len(names), p=sizes / sizes.sum()))]]
        person, total = int(rng.integers(len(frames))), frames.shape[1]
        start, *motions = [int(m) for m in rng.choice(total, drivers + 1, replace=total <= drivers)]
        if clip:
            motions = _stretch(rng, drivers, total)
        made = [
            Moment(np.array(frames[person, m]), **{name: values[person, m] for name, values in truth.items()})
            for m in (start, *motions)
        ]
        return Scene(made[0], made[1:])


class OnlineScenes(OnlineClips):
    """Scenes rendered while training from a packed cast, with other views of every expression."""

    def __init__(self, pack: Path, side: int, people: int = 12, seed: int = 0) -> None:
        super().__init__(pack, people=people, seed=seed)
        self.side = side

    def scene(self, rng: np.random.Generator, drivers: int, clip: bool, views: bool) -> Scene:
        """See `SceneData.scene`."""
        actor, style = self._member(int(self._first + rng.integers(self.people)))
        performance = make_performance(self.cast.model, rng, list(self.cast.tracks), self.options.limits)
        count = len(performance)
        start, *motions = [int(m) for m in rng.choice(count, drivers + 1, replace=False)]
        if clip:
            motions = _stretch(rng, drivers, count)

        def shoot(expression: int, pose: int) -> Moment:
            mixed = replace(performance, expression=performance.expression[[expression] * count])
            view = self._view(actor, mixed, pose, replace(self.options, size=self.side))
            return self._moment(style, view)

        source, targets = shoot(start, start), [shoot(m, m) for m in motions]
        others = [shoot(m, int(rng.integers(count))) for m in motions] if views else None
        return Scene(source, targets, others)

    def variation(self, rng: np.random.Generator, yaw: float = 20.0) -> tuple[Moment, Moment, Moment]:
        """One person as they are, the same turned by `yaw` degrees one way or the other, and in the same pose with
        another expression: what `scores.py` measures by."""
        actor, style = self._member(int(self._first + rng.integers(self.people)))
        performance = make_performance(self.cast.model, rng, list(self.cast.tracks), self.options.limits)
        here, other = (int(m) for m in rng.choice(len(performance), 2, replace=False))
        angles = performance.angles.copy()
        # towards the front and beyond it, so that nobody is turned further than faces are seen
        angles[here, 0] += -yaw if angles[here, 0] > 0 else yaw
        mimic = performance.expression.copy()
        mimic[here] = mimic[other]
        options = replace(self.options, size=self.side)
        made = []
        for changed in (performance, replace(performance, angles=angles), replace(performance, expression=mimic)):
            view = self._view(actor, changed, here, options)
            made.append(self._moment(style, view))
        return made[0], made[1], made[2]

    def _moment(self, style: Style, view: View) -> Moment:
        pose = head_pose(view.placement, view.landmarks, self.side)
        numbers = np.array([*pose.rotation, *pose.translation, pose.scale], np.float32)
        return Moment(style.apply(view.image), np.asarray(view.landmarks), numbers, np.asarray(view.pupils[:, :2]))


def _stretch(rng: np.random.Generator, length: int, total: int) -> list[int]:
    """Consecutive motions of one of the continuous clips, forwards or backwards.

    Clips shorter than wished are walked there and back, so that windows of 24 can be had of clips of 16.
    """
    low, high = CLIPS[int(rng.integers(len(CLIPS)))] if total >= CLIPS[-1][1] else (0, total)
    there = list(range(low, high))
    walk = there + there[-2:0:-1] if len(there) > 2 else there
    first = int(rng.integers(len(walk)))
    order = [walk[(first + i) % len(walk)] for i in range(length)]
    return order if rng.random() < 0.5 else order[::-1]


def open_scenes(options: TrainOptions, side: int) -> list[tuple[SceneData, float]]:
    """The data that the options name, with shares: folders of groups, or packed casts. Raises InputError."""
    opened: list[tuple[SceneData, float]] = []
    for path, share in options.sources():
        data: SceneData = GroupScenes(path, options.hold_out) if path.is_dir() else OnlineScenes(path, side)
        opened.append((data, share))
    return opened


@dataclass(frozen=True)
class Augmentation:
    """How the expression encoder's crops are roughened (DeX-Portrait, Figure 3; the ranges are ours).

    rotated, other_view: chances. degrees: either way. jitter: of the box's size. tint: of the colours. `off` leaves the
    crop as it is and shows the pose encoder eyes and mouth: the paper's ablation.
    """

    rotated: float = 0.8
    degrees: float = 45.0
    other_view: float = 0.5
    jitter: float = 0.1
    tint: float = 0.15
    off: bool = False


class SceneBatches:
    """Batches of scenes: pictures in [-1, 1] and what the encoders see of them."""

    def __init__(
        self,
        data: Sequence[tuple[SceneData, float]],
        config: DeXPortraitConfig,
        side: int,
        augmentation: Augmentation | None = None,
        keypoints: bool = False,
    ) -> None:
        """side: of the source and target pictures, pixels. keypoints: whether what a reenactor needs is given too."""
        self.data, self.config, self.side = data, config, side
        self.augmentation = augmentation or Augmentation()
        self.keypoints = keypoints

    def draw(self, rng: np.random.Generator, sources: int, drivers: int = DRIVERS, clip: bool = False) -> Batch:
        """`sources` people with `drivers` targets each; rows of targets of one source are neighbours.

        source, source_masked, source_crop, source_pose [r, ...]; target, masked, crop, again (the crop, roughened
        anew), mask (the face's oval [n, 1, side, side]) and pose [n, ...], n = r * drivers. Poses are codes [., 6].
        With `keypoints`: source_keypoints [r, 70, 2], keypoints [n, 70, 2], half sides, a little off as read ones are.
        """
        shares = [share for _, share in self.data]
        columns: dict[str, list[NDArray[np.generic]]] = {}
        for _ in range(sources):
            data = self.data[int(rng.choice(len(self.data), p=np.array(shares) / sum(shares)))][0]
            scene = data.scene(rng, drivers, clip, not self.augmentation.off)
            self._add(columns, "source", scene.source, scene.source, rng)
            for index, moment in enumerate(scene.drivers):
                view = moment if scene.views is None else scene.views[index]
                self._add(columns, "", moment, view, rng)
        return {name: _stacked(name, column) for name, column in columns.items()}

    def _add(
        self,
        columns: dict[str, list[NDArray[np.generic]]],
        prefix: str,
        moment: Moment,
        view: Moment,
        rng: np.random.Generator,
    ) -> None:
        picture, points = _resized(moment.picture, moment.landmarks, self.side)
        shown = moment.picture if self.augmentation.off else masked_frame(moment.picture, moment.landmarks)
        put = {
            f"{prefix}_masked": _resized(shown, moment.landmarks, self.config.pose.size)[0],
            f"{prefix}_crop": self._crop(moment, view, rng),
            f"{prefix}_pose": codes_of_head_poses(np.asarray(moment.pose)[None])[0],
        }
        if prefix:
            put[prefix] = picture
        else:
            put |= {"_target": picture, "_again": self._crop(moment, view, rng), "_mask": face_oval(points, self.side)}
        if self.keypoints:
            off = _OFF * 2 / moment.picture.shape[0]
            put[f"{prefix}_keypoints"] = (moment.keypoints() + rng.normal(0, off, (70, 2))).astype(np.float32)
        for name, value in put.items():
            columns.setdefault(name.removeprefix("_"), []).append(value)

    def _crop(self, moment: Moment, view: Moment, rng: np.random.Generator) -> Picture:
        how, size = self.augmentation, self.config.expression.size
        if how.off:
            return face_crop(moment.picture, moment.landmarks, size)
        shown = view if rng.random() < how.other_view else moment
        degrees = rng.uniform(-how.degrees, how.degrees) if rng.random() < how.rotated else 0.0
        scale = 1.1 * rng.uniform(1 - how.jitter, 1 + how.jitter)
        crop = face_crop(shown.picture, shown.landmarks, size, degrees, scale).astype(np.float32)
        gain, shift = rng.uniform(1 - how.tint, 1 + how.tint, 3), rng.uniform(-128 * how.tint, 128 * how.tint, 3)
        return np.clip(crop * gain + shift, 0, 255).astype(np.uint8)


def _resized(picture: Picture, landmarks: NDArray[np.floating], side: int) -> tuple[Picture, NDArray[np.floating]]:
    have = picture.shape[0]
    if have == side:
        return picture, landmarks
    how = cv2.INTER_AREA if have > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.uint8), landmarks * (side / have)


def _stacked(name: str, column: list[NDArray[np.generic]]) -> torch.Tensor:
    stacked = torch.from_numpy(np.stack(column))
    if stacked.dtype == torch.uint8:
        return stacked.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return stacked[:, None].float() if name == "mask" else stacked.float()
