"""Training batches of the reenactor: a person's picture, the same person in other motions, and where keypoints are.

Data: a folder of groups (see `mien.avatars.groups`). Keypoints are exact; a little noise makes them like read ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.avatars.group_files import GroupFolder
from mien.training.data.pictures import Points, color_jitter, draw_color_jitter, face_importance, to_tensor
from mien.training.data.samples import FaceFrame
from mien.training.engine.stage import Batch

_PARTS = (slice(36, 42), slice(42, 48), slice(48, 68), slice(48, 68))
_CELL = 4  # pixels of a cell of the loss's weights


@dataclass(frozen=True)
class BatchSpec:
    """What a batch is to be.

    Attributes:
        sources: people.
        targets: of each.
        window: side of what is seen of a target, pixels; small ones lie at an eye or the mouth.
        noise: deviation of the keypoints, pixels, half of it shared by all of a face.
    """

    sources: int
    targets: int
    window: int
    noise: float


def draw_batch(folder: GroupFolder, rng: np.random.Generator, spec: BatchSpec) -> Batch:
    """A batch of people; motions with open mouths or closed eyes are drawn more often.

    Args:
        folder: of rendered groups.
        rng: of everything random.
        spec: what the batch is to be.

    Returns:
        See `collate`.
    """
    samples = []
    for _ in range(spec.sources):
        group = folder.choose(rng)
        person = int(rng.integers(group.people))
        frames, keypoints = group.frames[person], group.keypoints(person)
        start = int(rng.integers(group.motions))
        motions = rng.choice(group.motions, spec.targets, replace=False, p=_interest(keypoints))
        samples.append(
            [FaceFrame(frames[m], keypoints[m, :68], pupils=keypoints[m, 68:]) for m in (start, *motions)]
        )  # fmt: skip
    return collate(samples, rng, spec)


def collate(samples: Sequence[Sequence[FaceFrame]], rng: np.random.Generator, spec: BatchSpec) -> Batch:
    """A batch of r samples, each a source and t targets of one person.

    Args:
        samples: source and targets of each.
        rng: of everything random.
        spec: what the batch is to be.

    Returns:
        source [r, 3, s, s] and target [r t, 3, window, window] in [-1, 1]; keypoints [r, 70, 2] and driven [r t, 70, 2]
        in half sides of the whole picture; weight [r t, 1, window, window]: eyes and mouth count most; corners [r t,
        2]: left and top of the windows, pixels.
    """
    columns: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("source", "keypoints", "target", "driven", "weight", "corners")
    }
    for sample in samples:
        flip, light = bool(rng.random() < 0.5), draw_color_jitter(rng, 0.2, 15)
        for index, given in enumerate(sample):
            frame = given.mirrored() if flip else given
            points, side = np.asarray(frame.keypoints(), np.float32), frame.side
            places = (_noisy(points, spec.noise, rng) * (2 / side) - 1).astype(np.float32)
            if not index:
                columns["source"].append(color_jitter(frame.picture, *light))
                columns["keypoints"].append(places)
                continue
            left, top = _corner(points, spec.window, side, rng)
            seen = np.s_[top : top + spec.window, left : left + spec.window]
            columns["target"].append(color_jitter(frame.picture[seen], *light))
            columns["driven"].append(places)
            columns["weight"].append(_importance(points, side)[seen][None])
            columns["corners"].append(np.array([left, top], np.float32))
    return {
        name: to_tensor(column) if name in ("source", "target") else torch.from_numpy(np.stack(column))
        for name, column in columns.items()
    }


def _interest(landmarks: Points) -> NDArray[np.float64]:
    """Odds [m] of a motion to be a target, from keypoints [m, 70, 2]: open mouths and closed eyes are rare and hard."""
    height = np.linalg.norm(landmarks[:, 27] - landmarks[:, 8], axis=1)
    mouth = np.linalg.norm(landmarks[:, 62] - landmarks[:, 66], axis=1) / height
    eyes = np.linalg.norm(landmarks[:, [37, 44]] - landmarks[:, [41, 46]], axis=-1).mean(1) / height
    odds = 1 + 3.0 * (mouth > 0.06) + 2.0 * (eyes < 0.6 * np.median(eyes))
    return np.asarray(odds / odds.sum(), np.float64)


def _corner(points: Points, window: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Left and top, multiples of 4, of a window of the face.

    Small windows lie at an eye or, as often as at both eyes, at the mouth.
    """
    part = points
    if window < side // 2:
        part = points[_PARTS[int(rng.integers(len(_PARTS)))]]
    corner = part.mean(0) - window / 2 + rng.uniform(-window / 4, window / 4, 2)
    left, top = (np.clip(corner, 0, side - window) / 4).round().astype(int) * 4
    return int(left), int(top)


def _noisy(points: Points, noise: float, rng: np.random.Generator) -> Points:
    shared = rng.normal(size=(1, 2)) * noise / 2
    return np.asarray(points + shared + rng.normal(size=points.shape) * noise)


def _importance(points: Points, side: int) -> NDArray[np.float32]:
    """Weights of the loss [side, side]."""
    grid = face_importance(points, side, _CELL, (2.4, 2.4, 3.6))
    return np.asarray(cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
