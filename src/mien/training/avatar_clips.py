"""Rendered people in shared motions: the source of cross-identity pairs with exact truth.

A folder holds groups of files `group_NNN_frames.npy` [people, motions, 256, 256, 3] uint8, `group_NNN_sources.npy`
[people, 256, 256, 3] and `group_NNN_meta.npz` (landmarks [people, motions, 68, 2] in pixels, pose, expression).
Everyone
in a group performs the same motions; motions 32 to 47 and 48 to 63 are two continuous clips, the others are single
poses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.geometry import local_patches
from mien.training.control_images import Placement, roughen
from mien.training.motion_supervision import regions

CLIPS = ((32, 48), (48, 64))


@dataclass(frozen=True)
class Draw:
    """One training batch: r sources with f targets each. Pictures are [n, 3, h, w] in [-1, 1]."""

    source: Tensor  # [r, 3, h, w]
    target: Tensor  # [r * f, 3, h, w]
    control: Tensor  # [r * f, 3, h, w], another person in the target's motion
    patches: Tensor  # [r * f, 3, h, w], the control's eyes and mouth, blank elsewhere
    weight: Tensor  # [r * f, 1, h / 8, w / 8], what the loss cares for
    regions: Tensor  # [r * f, REGIONS, h / 8, w / 8], where the target's features are


class AvatarClips:
    """Draws batches from the groups in a folder; groups that appear later are found by `refresh`."""

    def __init__(self, folder: Path, hold_out: int = 0, only_held_out: bool = False) -> None:
        self.folder, self.hold_out, self.only_held_out = folder, hold_out, only_held_out
        self.groups: list[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]] = []
        self._names: list[str] = []
        self.refresh()

    def refresh(self) -> int:
        """Look for new groups; returns how many there are now."""
        names = sorted(p.name[:9] for p in self.folder.glob("group_*_meta.npz"))
        names = [n for n in names if (int(n[6:]) >= self.hold_out) == self.only_held_out or not self.hold_out]
        for name in names:
            if name not in self._names:
                frames = np.load(self.folder / f"{name}_frames.npy", mmap_mode="r")
                sources = np.load(self.folder / f"{name}_sources.npy", mmap_mode="r")
                self.groups.append((frames, sources, np.load(self.folder / f"{name}_meta.npz")["landmarks"]))
                self._names.append(name)
        return len(self.groups)

    def draw(
        self, rng: np.random.Generator, sources: int, frames: int, size: int, clip: bool = False, patches: bool = False
    ) -> Draw:
        """`sources` people with `frames` targets each, cut to windows of `size` pixels near the face (256: whole).

        With `clip` the targets are consecutive frames and one person drives them all.
        """
        rows: list[tuple[NDArray[np.uint8], ...]] = []
        starts: list[NDArray[np.uint8]] = []
        weights: list[NDArray[np.float32]] = []
        truth: list[NDArray[np.float32]] = []
        for _ in range(sources):
            source, parts, weight, where = self._one(rng, frames, size, clip, patches)
            starts.append(source)
            rows.extend(parts)
            weights.extend(weight)
            truth.extend(where)
        target, control, patch = (np.stack(column) for column in zip(*rows, strict=True))
        return Draw(
            _tensor(np.stack(starts)),
            _tensor(target),
            _tensor(control),
            _tensor(patch),
            torch.from_numpy(np.stack(weights))[:, None],
            torch.from_numpy(np.stack(truth)),
        )

    def _one(
        self, rng: np.random.Generator, count: int, size: int, clip: bool, patches: bool
    ) -> tuple[
        NDArray[np.uint8], list[tuple[NDArray[np.uint8], ...]], list[NDArray[np.float32]], list[NDArray[np.float32]]
    ]:
        sizes = np.array([len(group[0]) for group in self.groups], float)
        frames, portraits, landmarks = self.groups[rng.choice(len(self.groups), p=sizes / sizes.sum())]
        person = int(rng.integers(len(frames)))
        motions, driver = self._motions(rng, frames.shape[1], count, clip), int(rng.integers(len(frames)))
        start = int(rng.integers(frames.shape[1]))
        portrait = portraits[person] if rng.random() < 0.35 else frames[person, start]
        usual = landmarks.mean(1)  # everyone's place and size, the same motions averaged
        box = _window(landmarks[person, motions[0]], size, rng)
        flip, gain, shift = rng.random() < 0.5, rng.uniform(0.85, 1.15, 3), rng.uniform(-12, 12, 3)
        scale = tuple(rng.uniform(0.9, 1.1, 2))
        rows: list[tuple[NDArray[np.uint8], ...]] = []
        weights: list[NDArray[np.float32]] = []
        where: list[NDArray[np.float32]] = []
        for motion in motions:
            if not clip:
                driver, scale = int(rng.integers(len(frames))), tuple(rng.uniform(0.9, 1.1, 2))
            place = Placement.align(usual[driver], usual[person], scale)
            control = place.image(frames[driver, motion])
            if patches:  # the patches must show what the control shows, so it is roughened before they are cut
                control = roughen(control, rng)
                patch = _cut(local_patches(control, place.points(landmarks[driver, motion])), box, flip)
                shown = _cut(control, box, flip)
            else:
                shown = roughen(_cut(control, box, flip), rng)
                patch = shown[:1, :1]
            rows.append((_tint(_cut(frames[person, motion], box, flip), gain, shift), shown, patch))
            weights.append(_face_weight(landmarks[person, motion], box, flip))
            covered = regions(landmarks[person, motion] - box[:2], size)
            where.append(np.ascontiguousarray(covered[:, :, ::-1]) if flip else covered)
        return _tint(_cut(portrait, box, flip), gain, shift), rows, weights, where

    def _motions(self, rng: np.random.Generator, total: int, count: int, clip: bool) -> list[int]:
        if not clip:
            return [int(m) for m in rng.choice(total, count, replace=False)]
        low, high = CLIPS[int(rng.integers(len(CLIPS)))]
        first = int(rng.integers(low, high - count + 1))
        order = range(first, first + count)
        return list(order) if rng.random() < 0.5 else list(reversed(order))


def _window(points: NDArray[np.float32], size: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """A square window near the face, its corner on the latent grid of 8 pixels."""
    corner = points.mean(0) - size / 2 + rng.uniform(-24, 24, 2)
    x, y = (np.clip(corner / 8, 0, (256 - size) // 8).round() * 8).astype(int)
    return int(x), int(y), size


def _cut(image: NDArray[np.uint8], box: tuple[int, int, int], flip: bool) -> NDArray[np.uint8]:
    x, y, size = box
    piece = image[y : y + size, x : x + size]
    return np.ascontiguousarray(piece[:, ::-1] if flip else piece)


def _tint(image: NDArray[np.uint8], gain: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.uint8]:
    """One light for a source and its targets, so that colours too must come from the source."""
    return np.clip(image * gain + shift, 0, 255).astype(np.uint8)


def _face_weight(points: NDArray[np.float32], box: tuple[int, int, int], flip: bool) -> NDArray[np.float32]:
    """Loss weights on the latent grid: 1 everywhere, 2 inside the face, up to 5 at the eyes and the mouth."""
    x, y, size = box
    cells = size // 8
    local = (points - [x, y]) / 8
    grid = np.zeros((cells, cells), np.float32)
    cv2.fillConvexPoly(grid, cv2.convexHull(local.astype(np.int32)), 1.0)
    for part, spread in ((points[36:42], 1.2), (points[42:48], 1.2), (points[48:68], 1.8)):
        cx, cy = (part.mean(0) - [x, y]) / 8 - 0.5
        yy, xx = np.mgrid[0:cells, 0:cells]
        grid += 3 * np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * spread**2)).astype(np.float32)
    grid = 1 + grid
    return np.ascontiguousarray(grid[:, ::-1] if flip else grid).astype(np.float32)


def _tensor(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, h, w, 3] to [n, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
