"""Training rows of X-Portrait: a source, targets of the same person, and controls; from whatever data there is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import InputError
from mien.geometry import local_patches
from mien.geometry.draw_landmarks import draw_landmarks
from mien.geometry.mirror import mirrored_landmarks
from mien.training.data.control_images import Placement, roughen
from mien.training.data.types import PairData, Points, Take, Wish
from mien.training.engine.stage import Batch
from mien.training.x_portrait.motion_supervision import regions
from mien.typing import Picture

_FACTOR = 8  # pixels a latent, in both sizes
_OFF = 0.7  # pixels by which landmarks for a reenactor are off


@dataclass(frozen=True)
class Draw:
    """One training batch: r sources with f targets each. Pictures are [n, 3, h, w] in [-1, 1]."""

    source: Tensor  # [r, 3, h, w]
    target: Tensor  # [r * f, 3, h, w]
    control: Tensor  # [r * f, 3, h, w], another person in the target's motion
    patches: Tensor  # [r * f, 3, h, w], the control's eyes and mouth, blank elsewhere
    weight: Tensor  # [r * f, 1, h / 8, w / 8], what the loss cares for
    regions: Tensor  # [r * f, REGIONS, h / 8, w / 8], where the target's features are
    # what a reenactor starts from, where one does
    whole: Tensor | None = None  # [r, 3, s, s], the sources uncut
    keypoints: Tensor | None = None  # [r, 70, 2] of them, half sides
    driven: Tensor | None = None  # [r * f, 70, 2] of the targets, half sides of the whole picture
    corner: Tensor | None = None  # [r, 2], left and top of the window, pixels

    def batch(self) -> Batch:
        """As the loop wants it."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in parts.items() if part is not None}

    @classmethod
    def of(cls, batch: Batch) -> Draw:
        """From the loop's batch."""
        return cls(**{field.name: batch[field.name] for field in fields(cls) if field.name in batch})


def draw(data: PairData, rng: np.random.Generator, wish: Wish) -> Draw:
    """A batch of `wish.sources` rows."""
    rows = [_row(data.take(rng, wish), rng, wish) for _ in range(wish.sources)]
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    pictures = ("source", "target", "control", "patches", "whole")
    made = {name: _tensor(part) if name in pictures else torch.from_numpy(part) for name, part in joined.items()}
    return Draw(**made)


def _row(take: Take, rng: np.random.Generator, wish: Wish) -> dict[str, NDArray[np.generic]]:
    take = _at_side(take, wish.side)
    box = _window(take.landmarks[0], wish, rng)
    flip, gain, shift = rng.random() < 0.5, rng.uniform(0.85, 1.15, 3), rng.uniform(-12, 12, 3)
    controls, points = _controls(take, rng, wish)
    shown, cut = [], []
    for control, place in zip(controls, points, strict=True):
        if not wish.control.landmarks:
            control = roughen(control, rng)
        # the patches must show what the control shows, so they are cut from it when it is finished
        patch = local_patches(control, place) if wish.patches else control[:1, :1]
        shown.append(_cut(control, box, flip))
        cut.append(_cut(patch, box, flip) if wish.patches else patch)
    where = []
    for landmarks in take.landmarks:
        covered = regions(landmarks - box[:2], wish.size)
        where.append(np.ascontiguousarray(covered[:, :, ::-1]) if flip else covered)
    start = _start(take, rng, box, flip) if wish.start else {}
    if wish.start:
        start["whole"] = _tint(_cut(take.source, (0, 0, wish.side), flip), gain, shift)[None]
    return {
        **start,
        "source": _tint(_cut(take.source, box, flip), gain, shift)[None],
        "target": np.stack([_tint(_cut(image, box, flip), gain, shift) for image in take.targets]),
        "control": np.stack(shown),
        "patches": np.stack(cut),
        "weight": np.stack([_face_weight(landmarks, box, flip) for landmarks in take.landmarks])[:, None],
        "regions": np.stack(where),
    }


def _start(take: Take, rng: np.random.Generator, box: tuple[int, int, int], flip: bool) -> dict[str, NDArray[Any]]:
    """Keypoints and window for a reenactor, see `Draw`; a little off, as read ones are."""
    if take.keypoints is None:
        raise InputError("these data do not know the keypoints of their sources: --reenactor needs avatars.")
    side = take.source.shape[0]
    exact = np.asarray(take.keypoints, np.float64)
    marks = exact + rng.normal(size=(len(exact), 1, 2)) * _OFF / 2 + rng.normal(size=exact.shape) * _OFF
    marks = (mirrored_landmarks(marks, side) if flip else marks) * (2 / side) - 1
    left = side - box[0] - box[2] if flip else box[0]
    places = np.asarray(marks, np.float32)
    return {"keypoints": places[:1], "driven": places[1:], "corner": np.array([[left, box[1]]])}


def _controls(take: Take, rng: np.random.Generator, wish: Wish) -> tuple[list[Picture], list[Points]]:
    """Control images laid over the target's face, and their landmarks."""
    kind, count = wish.control, len(take.targets)
    drivers, landmarks, usual = take.drivers, take.driver_landmarks, list(take.driver_usual)
    if kind.source == "face-vid2vid" and kind.reenact is not None and take.other is not None:
        drivers, landmarks = kind.reenact(take.other, take.targets), None
    elif kind.source == "self":
        drivers, landmarks = take.targets, None
    if drivers is None:
        raise InputError(
            "these data show nobody else in the target's motion: give --control-source face-vid2vid or self."
        )
    if landmarks is None:  # F shows the target's pose and place (absolute motion), and itself it is
        landmarks, usual = take.landmarks, [take.usual] * count
    images, points = [], []
    factors = kind.factors(rng)
    for index in range(count):
        factors = factors if wish.clip else kind.factors(rng)
        place = Placement.align(usual[index], take.usual, factors)
        moved = place.points(landmarks[index])
        drawn = draw_landmarks(moved, wish.side) if kind.landmarks else place.image(drivers[index])
        images.append(drawn)
        points.append(moved)
    return images, points


def _at_side(take: Take, side: int) -> Take:
    zoom = side / take.source.shape[0]
    if zoom == 1:
        return take

    def picture(image: Picture) -> Picture:
        method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(image, (side, side), interpolation=method), np.uint8)

    def points(given: Points) -> Points:
        return np.asarray((given + 0.5) * zoom - 0.5, np.float32)

    return Take(
        picture(take.source),
        [picture(image) for image in take.targets],
        points(take.landmarks),
        points(take.usual),
        None if take.drivers is None else [picture(image) for image in take.drivers],
        None if take.driver_landmarks is None else points(take.driver_landmarks),
        [points(given) for given in take.driver_usual],
        None if take.other is None else picture(take.other),
        None if take.keypoints is None else points(take.keypoints),
    )


def _window(points: Points, wish: Wish, rng: np.random.Generator) -> tuple[int, int, int]:
    """A square window near the face, its corner on the latent grid."""
    corner = points.mean(0) - wish.size / 2 + rng.uniform(-24, 24, 2) * wish.side / 256
    x, y = (np.clip(corner / _FACTOR, 0, (wish.side - wish.size) // _FACTOR).round() * _FACTOR).astype(int)
    return int(x), int(y), wish.size


def _cut(image: Picture, box: tuple[int, int, int], flip: bool) -> Picture:
    x, y, size = box
    piece = image[y : y + size, x : x + size]
    return np.ascontiguousarray(piece[:, ::-1] if flip else piece)


def _tint(image: Picture, gain: NDArray[np.float64], shift: NDArray[np.float64]) -> Picture:
    """One light for a source and its targets, so that colours too must come from the source."""
    return np.clip(image * gain + shift, 0, 255).astype(np.uint8)


def _face_weight(points: Points, box: tuple[int, int, int], flip: bool) -> NDArray[np.float32]:
    """Loss weights on the latent grid: 1 everywhere, 2 inside the face, up to 5 at the eyes and the mouth."""
    x, y, size = box
    cells = size // _FACTOR
    local = (points - [x, y]) / _FACTOR
    grid = np.zeros((cells, cells), np.float32)
    cv2.fillConvexPoly(grid, cv2.convexHull(local.astype(np.int32)), 1.0)
    scale = max(1.0, float(np.ptp(points[:27, 0])) / 110)  # a face is about 110 pixels wide in a picture of 256
    for part, spread in ((points[36:42], 1.2), (points[42:48], 1.2), (points[48:68], 1.8)):
        cx, cy = (part.mean(0) - [x, y]) / _FACTOR - 0.5
        yy, xx = np.mgrid[0:cells, 0:cells]
        far = ((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * (spread * scale) ** 2)
        grid += 3 * np.exp(-far).astype(np.float32)
    grid = 1 + grid
    return np.ascontiguousarray(grid[:, ::-1] if flip else grid).astype(np.float32)


def _tensor(images: NDArray[np.generic]) -> Tensor:
    """uint8 [n, h, w, 3] to [n, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.asarray(images, np.uint8)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
