"""Where faces are in a picture of any size: both detectors, on the whole of it, on its parts, and turned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.faces.networks import as_tensor, for_pictures, load_weights
from mien.geometry import TurnedSquare
from mien.models.face_networks import Candidates, Detector, FullRangeDetector, ShortRangeDetector
from mien.typing import Picture

SCALE = 1.5  # side of the square around a face over the face's larger extent; the landmark network was trained with it
_OVERLAP = 0.3  # intersection over union from which two candidates are one face
_LEAST_PART = 160  # pixels; smaller parts of a picture are not searched
_BATCH = 16

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Spot:
    """A face that a detector sees.

    Attributes:
        square: to read it in, upright by its eyes.
        score: how sure the detector is, in [0, 1].
    """

    square: TurnedSquare
    score: float


@dataclass(frozen=True)
class _Part:
    """A square part of a picture as a detector sees it: its corner and side, pixels."""

    x: float
    y: float
    side: float


class FaceSearch:
    """The two detectors of MediaPipe and how pictures are shown to them."""

    def __init__(self, folder: Path, device: str, least: float) -> None:
        """Load both detectors.

        Args:
            folder: holds their weights.
            device: of torch.
            least: score from which a candidate counts, in [0, 1].

        Raises:
            WeightsError: if weights are missing or damaged.
        """
        self._short = _load(ShortRangeDetector(), folder / "short_range_detector.safetensors", device)
        self._full = _load(FullRangeDetector(), folder / "full_range_detector.safetensors", device)
        self._device, self._least = device, least

    def near(self, images: Sequence[Picture]) -> list[list[Spot]]:
        """The faces that fill a good part of their picture, in one pass.

        Args:
            images: uint8 [h, w, 3].

        Returns:
            The faces of each picture, the surest first.
        """
        parts = [_whole(image) for image in images]
        return self._detect(self._short, list(images), parts)

    def further(self, image: Picture, thorough: bool) -> Iterator[list[Spot]]:
        """What `near` may miss, by ever closer looks, the cheapest first.

        Args:
            image: [h, w, 3] uint8.
            thorough: Whether also to look at parts of the picture and at the picture turned by quarters.

        Yields:
            The faces seen at each look; the same face may come again.
        """
        yield self._detect(self._full, [image], [_whole(image)])[0]
        if not thorough:
            return
        for parts in _tiles(image.shape[1], image.shape[0]):
            yield _merge([spot for found in self._detect(self._full, [image] * len(parts), parts) for spot in found])
        for quarters in (1, 3, 2):
            turned = np.ascontiguousarray(np.rot90(image, quarters))
            found = self.near([turned])[0] or self._detect(self._full, [turned], [_whole(turned)])[0]
            yield [Spot(_turned_back(spot.square, quarters, image.shape), spot.score) for spot in found]

    def _detect(self, network: Detector, images: list[Picture], parts: list[_Part]) -> list[list[Spot]]:
        found: list[list[Spot]] = []
        for start in range(0, len(parts), _BATCH):
            some = list(zip(images[start : start + _BATCH], parts[start : start + _BATCH], strict=True))
            shown = as_tensor([_cut(image, part, network.SIDE) for image, part in some])
            with torch.inference_mode():
                candidates = network(shown.to(self._device))
            found += [self._spots(candidates, index, part) for index, (_, part) in enumerate(some)]
        return found

    def _spots(self, candidates: Candidates, index: int, part: _Part) -> list[Spot]:
        scores = candidates.logit[index].clamp(-100, 100).sigmoid()
        sure = torch.nonzero(scores >= self._least)[:, 0]
        if not len(sure):
            return []
        boxes, points = (v[index, sure].cpu().numpy() for v in (candidates.box, candidates.points))
        eyes = points[:, :2]
        corners = np.concatenate(
            [boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2, eyes.reshape(-1, 4)], 1
        )
        return [
            Spot(_square(numbers * part.side + np.tile([part.x, part.y], 4)), score)
            for numbers, score in _suppress(corners, scores[sure].cpu().numpy())
        ]


def square_around(low: Floats, high: Floats, right_eye: Floats, left_eye: Floats) -> TurnedSquare:
    """The square in which a face is read, upright by its eyes; all in pixels.

    Args:
        low: upper left corner of its box [2].
        high: lower right corner of its box [2].
        right_eye: [2], the subject's.
        left_eye: [2], the subject's.
    """
    across = left_eye - right_eye
    x, y = (low + high) / 2
    return TurnedSquare(
        float(x), float(y), SCALE * float((high - low).max()), math.atan2(-float(across[1]), float(across[0]))
    )


def _square(numbers: Floats) -> TurnedSquare:
    """Around box and eyes: left, top, right, bottom, x and y of the right eye, of the left."""
    return square_around(numbers[:2], numbers[2:4], numbers[4:6], numbers[6:8])


def _load(network: Detector, path: Path, device: str) -> Detector:
    return for_pictures(load_weights(network, path), device)


def _suppress(boxes: Floats, scores: Floats) -> list[tuple[Floats, float]]:
    """Candidates of one face as one: their mean, weighted by score (BlazeFace, section 3.4: less jitter over time).

    boxes: [n, 4 or more], corners first; everything is averaged. The surest comes first.
    """
    made: list[tuple[Floats, float]] = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        same = _overlaps(boxes[left[0], :4], boxes[left, :4]) > _OVERLAP
        same[0] = True
        chosen = left[same]
        weights = scores[chosen] / scores[chosen].sum()
        made.append((weights @ boxes[chosen], float(scores[left[0]])))
        left = left[~same]
    return made


def _overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of a box [4] with others [n, 4]."""
    sides = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None)
    shared = sides.prod(1)
    areas = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1)
    return shared / np.maximum(areas - shared, 1e-12)


def _merge(spots: list[Spot]) -> list[Spot]:
    """Spots of overlapping parts, one a face: the surest."""
    kept: list[Spot] = []
    for spot in sorted(spots, key=lambda s: -s.score):
        square = spot.square
        if all(math.hypot(square.x - k.square.x, square.y - k.square.y) > 0.35 * k.square.size for k in kept):
            kept.append(spot)
    return kept


def _whole(image: Picture) -> _Part:
    height, width = image.shape[:2]
    side = float(max(height, width))
    return _Part((width - side) / 2, (height - side) / 2, side)


def _tiles(width: int, height: int) -> Iterator[list[_Part]]:
    """Overlapping square parts of a picture, large ones first."""
    for share in (1.0, 0.5, 0.25):
        side = min(width, height) * share
        if side < _LEAST_PART or (share == 1.0 and max(width, height) < 1.2 * side):
            continue
        steps = [np.linspace(0, v - side, max(math.ceil(2 * (v - side) / side - 1e-6) + 1, 1)) for v in (width, height)]
        yield [_Part(float(x), float(y), side) for y in steps[1] for x in steps[0]]


def _cut(image: Picture, part: _Part, side: int) -> Picture:
    """The part at [side, side, 3]; what lies beyond the picture is black."""
    height, width = image.shape[:2]
    left, top = max(round(part.x), 0), max(round(part.y), 0)
    right, bottom = min(round(part.x + part.side), width), min(round(part.y + part.side), height)
    zoom = side / part.side
    x, y = max(round((left - part.x) * zoom), 0), max(round((top - part.y) * zoom), 0)
    size = (min(max(round((right - left) * zoom), 1), side - x), min(max(round((bottom - top) * zoom), 1), side - y))
    square = np.zeros((side, side, 3), np.uint8)
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    square[y : y + size[1], x : x + size[0]] = cv2.resize(image[top:bottom, left:right], size, interpolation=method)
    return square


def _turned_back(square: TurnedSquare, quarters: int, shape: tuple[int, ...]) -> TurnedSquare:
    """A square of a picture turned counter-clockwise by quarters, on the picture [h, w] itself."""
    height, width = shape[:2]
    x, y = square.x, square.y
    if quarters == 1:
        x, y = width - y, x
    elif quarters == 2:
        x, y = width - x, height - y
    else:
        x, y = y, height - x
    return TurnedSquare(x, y, square.size, square.roll - quarters * math.pi / 2)
