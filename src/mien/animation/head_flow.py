"""Where the pixels of a picture come from whose head has moved: the face as its keypoints say, all else with it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.animation import closing_parts
from mien.animation.closing_parts import ClosingPart
from mien.geometry.face_window import RIGID, in_sight
from mien.geometry.moving_least_squares import moving_least_squares, similarity
from mien.geometry.smooth import smooth_step
from mien.motion.keypoint_motion import EYES, LANDMARKS, eye_opening

Floats = NDArray[np.floating]
Box = tuple[int, int, int, int]  # left, top, right, bottom, pixels, half open

_CHIN, _EYE_CORNERS = 8, (36, 45)
# In extents of the 68 landmarks: the ellipse around the head that goes rigidly with it, its shift up, where the local
# map has gone over into the rigid one (parts of the ellipse), how far below the chin the neck begins to come
# to rest, how far beside it shoulders do and how much further they all do.
_HEAD, _UP, _LOCAL, _NECK, _SIDE = (0.82, 0.95), 0.12, (0.9, 1.4), 0.045, (0.4, 0.7)
# Over which length below the chin the neck comes to rest, and what hangs beside it, extents; and at least how many
# times as long as the way the head has gone: hair and cloth would fold where it is shorter.
_COMING_TO_REST, _LEAST_RATIO = np.array([0.75, 0.375]), 3.5
_BESIDE_EARS, _EARS = (range(0, 4), range(13, 17)), 0.8  # of the jaw; how far ears go with it
_RING = 32  # anchors on that ellipse
# An iris's radius in widths of its eye, the part of the lids' gap that its rim reaches at most, and the gaps in widths
# between which an eye goes from shut to open.
_IRIS, _IN_LIDS, _OPEN = 0.2, 0.35, (0.1, 0.22)
_REST = (1.4, 3.0)  # parts of the ellipse: where a picture without layers comes to rest
_BORDER = 0.4  # extents: how far from the picture's borders it does so as well
_FINE, _COARSE = 1 / 40, 1 / 14  # extents between the places at which the flow is computed, in the face and elsewhere
_SEAM = 48  # the most such places beside each other around a seam
_FACE = 0.62  # half side of what counts as the face there, extents
_STILL = 0.02  # pixels; where nothing moves further nothing is made anew


class HeadFlow:
    """One picture's flow. All points are pixels, the first pixel's centre at (0.5, 0.5)."""

    def __init__(self, own: Floats, driven: Floats, size: tuple[int, int], everything: bool = False) -> None:
        """Set up.

        Args:
            own: the picture's keypoints [70, 2].
            driven: where they go [70, 2].
            size: width and height of the picture.
            everything: the surroundings are bent along and come to rest around the head, as there is no background.
        """
        self._own, self._driven = np.asarray(own, np.float64), np.asarray(driven, np.float64)
        self._size, self._everything = size, everything
        self._matrix, self._shift = similarity(self._driven[list(RIGID)], self._own[list(RIGID)])
        self._extent = max(float(np.ptp(self._driven[:68], axis=0).max()), 1.0)
        along = self._driven[_EYE_CORNERS[1]] - self._driven[_EYE_CORNERS[0]]
        along = along / max(float(np.linalg.norm(along)), 1e-6)
        self._axes = np.stack([along, [-along[1], along[0]]])
        zoom = 1 / max(float(np.sqrt(abs(np.linalg.det(self._matrix)))), 1e-6)
        self.closing = [
            ClosingPart(part, self._own, self._driven, self._axes, self._extent, zoom)
            for part in (closing_parts.MOUTH, *closing_parts.EYES)
        ]
        across = self._driven[:68] @ self._axes.T
        self._centre = ((across.min(0) + across.max(0)) / 2 - [0, _UP * self._extent]) @ self._axes

    @cached_property
    def _anchors(self) -> tuple[Floats, Floats, Floats]:
        """Driven keypoints, a ring around the head and rims of irises, where all come from, and how much they count."""
        turns = np.linspace(0, 2 * np.pi, _RING, endpoint=False)
        radii = np.array(_HEAD) * self._extent
        ring = self._centre + (np.stack([np.cos(turns), np.sin(turns)], 1) * radii) @ self._axes
        origins = ring @ self._matrix.T + self._shift + self._sideways(turns)
        (rims, seen), (own_rims, own_seen) = (iris_rims(points) for points in (self._driven, self._own))
        weights = [in_sight(self._own) * in_sight(self._driven), np.ones(_RING), np.minimum(seen, own_seen)]
        return (
            np.concatenate([self._driven, ring, rims]),
            np.concatenate([self._own, origins, own_rims]),
            np.concatenate(weights),
        )

    def _sideways(self, turns: Floats) -> Floats:
        """How far the ring's points come from elsewhere than a rigid head has them: ears go with the jaw beside them.

        Args:
            turns: of the ring's points.

        Returns:
            [n, 2], pixels.
        """
        rest = self._own[:68] - (self._driven[:68] @ self._matrix.T + self._shift)
        right, left = (rest[list(side)].mean(0) for side in _BESIDE_EARS)
        across = np.cos(turns)[:, None]
        return np.asarray(_EARS * np.where(across < 0, right, left) * across**2)

    def origin(self, places: Floats) -> NDArray[np.float32]:
        """Where places [..., 2] of the moved picture come from, [..., 2]."""
        spots = np.asarray(places, np.float64).reshape(-1, 2)
        moved = spots @ self._matrix.T + self._shift
        out = np.linalg.norm((spots - self._centre) @ self._axes.T / (np.array(_HEAD) * self._extent), axis=1)
        near = out < _LOCAL[1]
        if near.any():
            driven, own, weights = self._anchors
            local = moving_least_squares(driven, own, spots[near], weights)
            for part in self.closing:
                local = part.origin(spots[near], local, driven, own, weights)
            far = smooth_step((out[near] - _LOCAL[0]) / (_LOCAL[1] - _LOCAL[0]))
            moved[near] = local + (moved[near] - local) * far[:, None]
        beside, below = ((spots - self._driven[_CHIN]) @ self._axes.T / self._extent).T
        neck, side = np.maximum(_COMING_TO_REST, _LEAST_RATIO * self._way)
        shoulder = smooth_step((np.abs(beside) - _SIDE[0]) / _SIDE[1]) * smooth_step(below / side)
        going = smooth_step(1 - (below - _NECK) / neck) * (1 - shoulder)
        if self._everything:
            going = going * self._ease(spots, out)
        eased = spots + (moved - spots) * going[:, None]
        return np.asarray(eased, np.float32).reshape(np.shape(places))

    @cached_property
    def _way(self) -> float:
        """How far the head goes around the chin, extents."""
        chin = self._driven[_CHIN] + np.array([[0.0], [-1.0], [1.0]]) * _SIDE[0] * self._extent * self._axes[0]
        away = chin @ self._matrix.T + self._shift - chin
        return float(np.linalg.norm(away, axis=1).max() / self._extent)

    def _ease(self, spots: Floats, out: Floats) -> Floats:
        """How far spots [n, 2] are bent along that lie `out` [n] from the head: not at the picture's borders."""
        inside = np.minimum(spots, np.array(self._size) - spots).min(1) / (_BORDER * self._extent)
        head = 1 - smooth_step((out - _LOCAL[0]) / (_LOCAL[1] - _LOCAL[0]))
        away = smooth_step(1 - (out - _REST[0]) / (_REST[1] - _REST[0]))
        return np.asarray(np.maximum(head, away * smooth_step(inside)))

    # -- all pixels ------------------------------------------------------------------------------------------------

    @cached_property
    def _nodes(self) -> tuple[Floats, Floats, NDArray[np.float32]]:
        """Columns [n], rows [m] and the displacements [m, n, 2] between which all others lie."""
        # rims meet along a seam, which a coarse grid would smear
        seams = [part.box() for part in self.closing if part.amount]
        columns, rows = (
            _finer(
                _steps(self._centre_of_face[axis], self._extent, self._size[axis], self._own_range[axis]),
                [box[:, axis] for box in seams],
            )
            for axis in (0, 1)
        )
        places = np.stack(np.meshgrid(columns, rows), -1)
        return columns, rows, self.origin(places) - places.astype(np.float32)

    @cached_property
    def _centre_of_face(self) -> Floats:
        return np.asarray((self._driven[:68].min(0) + self._driven[:68].max(0)) / 2)

    @cached_property
    def _own_range(self) -> Floats:
        return np.stack([self._own[:68].min(0), self._own[:68].max(0)], 1)

    def box(self, *shown: NDArray[np.uint8] | None) -> Box:
        """The part of the picture outside which nothing changes.

        Args:
            shown: masks [h, w] of the picture: the person, which is moved, and what is filled behind; None: all of it.
        """
        columns, rows, away = self._nodes
        width, height = self._size
        moving = np.abs(away).max(-1) > _STILL
        masks = [mask for mask in shown if mask is not None]
        if masks:
            step = max(2.0, _COARSE * self._extent)
            small = [_most(mask, step) for mask in masks]
            places = np.stack(np.meshgrid(columns, rows), -1)
            seen = _near(small[0], places + away, step)
            for one in small:
                seen |= _near(one, places, step)
            moving &= seen
        if not moving.any():
            return 0, 0, 0, 0
        across, down = np.flatnonzero(moving.any(0)), np.flatnonzero(moving.any(1))
        # a step further on each side, for what lies between the places
        left, right = columns[max(across[0] - 1, 0)], columns[min(across[-1] + 1, len(columns) - 1)]
        top, bottom = rows[max(down[0] - 1, 0)], rows[min(down[-1] + 1, len(rows) - 1)]
        return max(int(left), 0), max(int(top), 0), min(int(np.ceil(right)), width), min(int(np.ceil(bottom)), height)

    def away(self, box: Box) -> NDArray[np.float32]:
        """How far off the pixels of a part of the picture come from, [height, width, 2] of the box."""
        left, top, right, bottom = box
        return between(self._rows_of(left, right), self._nodes[1], np.arange(top, bottom) + 0.5)

    def _rows_of(self, left: int, right: int) -> NDArray[np.float32]:
        """The displacements at all columns from `left` to `right`, at the computed rows only."""
        if self._stretch is None or self._stretch[0] != (left, right):
            columns, _, away = self._nodes
            across = between(np.ascontiguousarray(away.swapaxes(0, 1)), columns, np.arange(left, right) + 0.5)
            self._stretch = (left, right), np.ascontiguousarray(across.swapaxes(0, 1))
        return self._stretch[1]

    _stretch: tuple[tuple[int, int], NDArray[np.float32]] | None = None


def iris_rims(keypoints: Floats) -> tuple[Floats, Floats]:
    """Points on the rims of both irises: a pupil alone would be held back by the lids around it, and its iris bent.

    Args:
        keypoints: [70, 2].

    Returns:
        Right, left, lower and upper points [8, 2], and how far the eye that each belongs to is open, in [0, 1].
    """
    rims, seen = [], []
    for side, eye in enumerate(EYES):
        pupil, gap = keypoints[LANDMARKS + side], eye_opening(keypoints, side)
        along = (keypoints[eye[3]] - keypoints[eye[0]]) * _IRIS
        down = np.array([-along[1], along[0]]) * min(1.0, _IN_LIDS * gap / _IRIS)
        rims += [pupil + way for way in (along, -along, down, -down)]
        seen += [np.clip((gap - _OPEN[0]) / (_OPEN[1] - _OPEN[0]), 0, 1)] * 4
    return np.array(rims), smooth_step(np.array(seen))


def _steps(centre: float, extent: float, length: int, own: Floats) -> NDArray[np.float64]:
    """Places along one side of a picture, dense in the face, from border to border."""
    low, high = (float(np.clip(centre + sign * _FACE * extent, 0, length)) for sign in (-1, 1))
    parts = []
    for start, end, step in ((0.0, low, _COARSE), (low, high, _FINE), (high, float(length), _COARSE)):
        if end > start:
            parts.append(np.linspace(start, end, max(2, round((end - start) / (step * extent)) + 1))[:-1])
    return np.concatenate([*parts, [float(length)]])


def _finer(nodes: Floats, ranges: Sequence[Floats]) -> Floats:
    """Places along one side of a picture with more of them in some ranges, amid pixels: where none is left between."""
    more = []
    for low, high in ranges:
        first, last = max(int(low), 0), min(int(high), int(nodes[-1]))
        more.append(np.arange(first, last, max(1, int(np.ceil((last - first) / _SEAM)))) + 0.5)
    return np.unique(np.concatenate([nodes, *more])) if more else nodes


def between(values: NDArray[np.float32], nodes: Floats, at: Floats) -> NDArray[np.float32]:
    """Values between nodes, linearly.

    Args:
        values: [n, ...] at the nodes.
        nodes: [n], growing.
        at: places [m].

    Returns:
        [m, ...].
    """
    first = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, len(nodes) - 2)
    share = ((at - nodes[first]) / (nodes[first + 1] - nodes[first])).astype(np.float32)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    made = values[first + 1] - values[first]
    made *= share
    made += values[first]
    return np.asarray(made, np.float32)


def _most(mask: NDArray[np.uint8], step: float) -> NDArray[np.bool_]:
    """Whether anything of a mask [h, w] lies in or beside a cell of `step` pixels."""
    size = tuple(max(1, int(np.ceil(n / step))) for n in mask.shape[::-1])
    cells = cv2.resize((mask > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.dilate((cells > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _near(cells: NDArray[np.bool_], places: Floats, step: float) -> NDArray[np.bool_]:
    """The cells' answer at places [..., 2]; those beyond the border ask the border."""
    x, y = (np.clip((places[..., axis] / step).astype(int), 0, cells.shape[1 - axis] - 1) for axis in (0, 1))
    return np.asarray(cells[y, x])
