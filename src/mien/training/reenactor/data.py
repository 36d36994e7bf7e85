"""Batches for the reenactor: one person's picture, the same person in other motions, and where the keypoints are.

Data: a folder of groups (see `mien.avatars.groups`). Keypoints are exact; a little noise makes them like read
ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.geometry.mirror import mirrored_landmarks
from mien.training.data.avatar_groups import AvatarClips
from mien.training.engine.stage import Batch

Pixels = NDArray[np.uint8]

_PARTS = (slice(36, 42), slice(42, 48), slice(48, 68), slice(48, 68))


class ReenactorData:
    """Draws batches from the groups of a folder."""

    def __init__(self, folder: Path, hold_out: int = 0, only_held_out: bool = False) -> None:
        self.clips = AvatarClips(folder, hold_out, only_held_out)

    def draw(self, rng: np.random.Generator, sources: int, targets: int, window: int, noise: float) -> Batch:
        """Sources with targets of the same people; keypoints in half sides of the whole picture.

        source [r, 3, s, s] and target [r t, 3, window, window] in [-1, 1]; keypoints [r, 70, 2]; driven [r t, 70, 2];
        weight [r t, 1, window, window]: eyes and mouth count most; corners [r t, 2]: left and top of windows, pixels.

        window: its side, pixels; small ones lie at an eye or the mouth. noise: deviation of the keypoints in
        pixels, half of it shared by all of a face.
        """
        first: list[Pixels] = []
        rest: list[Pixels] = []
        marks, driven, weights, corners = [], [], [], []
        for _ in range(sources):
            group, person = self._person(rng)
            frames, keypoints = self.clips.groups[group].frames[person], self.clips.groups[group].keypoints(person)
            start = int(rng.integers(len(frames)))
            motions = rng.choice(len(frames), targets, replace=False, p=_interest(keypoints))
            side = frames.shape[1]
            flip, gain, shift = rng.random() < 0.5, rng.uniform(0.8, 1.2, 3), rng.uniform(-15, 15, 3)
            picture, points = _flipped(frames[start], keypoints[start], flip)
            first.append(_tint(picture, gain, shift))
            marks.append(_noisy(points, noise, rng) * (2 / side) - 1)
            for motion in motions:
                picture, points = _flipped(frames[motion], keypoints[motion], flip)
                corner = _corner(points, window, side, rng)
                rest.append(_tint(_cut(picture, corner, window), gain, shift))
                driven.append(_noisy(points, noise, rng) * (2 / side) - 1)
                weights.append(_cut(_importance(points, side), corner, window))
                corners.append(corner)
        return {
            "source": _tensor(first),
            "keypoints": _points(marks),
            "target": _tensor(rest),
            "driven": _points(driven),
            "weight": torch.from_numpy(np.stack(weights))[:, None],
            "corners": torch.tensor(corners, dtype=torch.float32),
        }

    def _person(self, rng: np.random.Generator) -> tuple[int, int]:
        sizes = np.array([len(group.frames) for group in self.clips.groups], np.float64)
        group = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
        return group, int(rng.integers(sizes[group]))


def _interest(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Odds [m] of a motion to be a target, from keypoints [m, 70, 2]: open mouths and closed eyes are rare and hard."""
    height = np.linalg.norm(landmarks[:, 27] - landmarks[:, 8], axis=1)
    mouth = np.linalg.norm(landmarks[:, 62] - landmarks[:, 66], axis=1) / height
    eyes = np.linalg.norm(landmarks[:, [37, 44]] - landmarks[:, [41, 46]], axis=-1).mean(1) / height
    odds = 1 + 3.0 * (mouth > 0.06) + 2.0 * (eyes < 0.6 * np.median(eyes))
    return np.asarray(odds / odds.sum(), np.float64)


def _corner(points: NDArray[np.float32], window: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Left and top, multiples of 4, of a window of the face; of an eye or, as often as of both eyes, the mouth if it
    is small."""
    part = points
    if window < side // 2:
        part = points[_PARTS[int(rng.integers(len(_PARTS)))]]
    corner = part.mean(0) - window / 2 + rng.uniform(-window / 4, window / 4, 2)
    left, top = (np.clip(corner, 0, side - window) / 4).round().astype(int) * 4
    return int(left), int(top)


def _cut(picture: NDArray[Any], corner: tuple[int, int], window: int) -> NDArray[Any]:
    left, top = corner
    return picture[top : top + window, left : left + window]


def _flipped(picture: Pixels, points: NDArray[np.float32], flip: bool) -> tuple[Pixels, NDArray[np.float32]]:
    if not flip:
        return picture, points
    return picture[:, ::-1], mirrored_landmarks(points, picture.shape[1])


def _tint(picture: NDArray[Any], gain: NDArray[np.float64], shift: NDArray[np.float64]) -> Pixels:
    return np.clip(picture * gain + shift, 0, 255).astype(np.uint8)


def _noisy(points: NDArray[np.float32], noise: float, rng: np.random.Generator) -> NDArray[np.float32]:
    shared = rng.normal(size=(1, 2)) * noise / 2
    return (points + shared + rng.normal(size=points.shape) * noise).astype(np.float32)


def _importance(points: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Weights of the loss [side, side]: 1 beside the face, 2 inside it, up to 5 at eyes and mouth."""
    cells = side // 4
    local, grid = points / 4, np.ones((cells, cells), np.float32)
    face = np.zeros((cells, cells), np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(local.astype(np.int32)), 1)
    grid += face
    y, x = np.mgrid[0:cells, 0:cells]
    for part, spread in ((points[36:42], 2.4), (points[42:48], 2.4), (points[48:68], 3.6)):
        cx, cy = part.mean(0) / 4 - 0.5
        grid += 3 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2)).astype(np.float32)
    return np.asarray(cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def _tensor(pictures: list[Pixels]) -> Tensor:
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(pictures)))
    return (stacked.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _points(points: list[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.stack(points).astype(np.float32))
