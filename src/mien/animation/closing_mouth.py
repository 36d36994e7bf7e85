"""A mouth that closes further than the portrait shows it: lips meet, and what was between them is gone.

One smooth map from a closed mouth to an open one would have to tear where the lips meet; it takes that seam to the
middle of the open mouth instead, and a dark slit stays. Hence two maps: above the seam the lower lip counts for
nothing, below it the upper one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.geometry.moving_least_squares import moving_least_squares
from mien.geometry.smooth import smooth_step

Floats = NDArray[np.floating]

_UPPER, _LOWER = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)  # inner lips from corner to corner
_UPPER_LIP, _LOWER_LIP = (49, 50, 51, 52, 53, 61, 62, 63), (55, 56, 57, 58, 59, 65, 66, 67)
_CORNERS, _OUTER = (48, 54), slice(48, 60)
_CLOSES = (0.01, 0.05)  # extents of the face by which a mouth closes: from nothing to all of this
_BESIDE = 0.04  # of the mouth's width: where the corners' one map has become two
_AROUND = 0.6  # of the lips' height: how far above and below them two maps become one


class ClosingMouth:
    """The seam of one moved face. All points are pixels."""

    def __init__(self, own: Floats, driven: Floats, axes: Floats, extent: float, zoom: float) -> None:
        """Look at the lips.

        Args:
            own: keypoints of the portrait [70, 2].
            driven: where they go [70, 2].
            axes: of the driven face, rows: across and down [2, 2].
            extent: size of the driven face.
            zoom: sizes of the driven face over the portrait's.
        """
        self._axes = axes
        upper, lower = (driven[list(line)] @ axes.T for line in (_UPPER, _LOWER))
        middle = (upper + lower) / 2
        self._across = np.maximum.accumulate(middle[:, 0])
        self._upper, self._lower = np.minimum(upper[:, 1], middle[:, 1]), np.maximum(lower[:, 1], middle[:, 1])
        gaps = [np.linalg.norm(points[62] - points[66]) for points in (own, driven)]
        closes = (gaps[0] * zoom - gaps[1]) / extent
        self.amount = float(smooth_step((closes - _CLOSES[0]) / (_CLOSES[1] - _CLOSES[0])))
        corners, outer = driven[list(_CORNERS)] @ axes.T, driven[_OUTER] @ axes.T
        self._left, self._width = corners[0, 0], max(float(corners[1, 0] - corners[0, 0]), 1e-6)
        self._sides = (self._left, self._left + self._width)
        self._lips = outer[:, 1].min(), outer[:, 1].max()

    def _share(self, spots: Floats) -> Floats:
        """How far spots [..., 2] have one of two maps, [...]."""
        across, down = np.moveaxis(spots @ self._axes.T, -1, 0)
        along = (across - self._left) / self._width
        inside = smooth_step(along / _BESIDE) * smooth_step((1 - along) / _BESIDE)
        reach = _AROUND * (self._lips[1] - self._lips[0])
        around = smooth_step(1 - (self._lips[0] - down) / reach) * smooth_step(1 - (down - self._lips[1]) / reach)
        return np.asarray(self.amount * inside * around)

    def part(self, places: Floats) -> tuple[slice, slice] | None:
        """Rows and columns of a grid of places [h, w, 2] among which all lie that a seam has to do with; None: none."""
        if self.amount == 0:
            return None
        near = self._share(places) > 0
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if not len(rows):
            return None
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def rows(self) -> tuple[float, float]:
        """From where to where two maps matter, down an upright picture, pixels."""
        reach = _AROUND * (self._lips[1] - self._lips[0])
        corners = [(x, y) for x in self._sides for y in (self._lips[0] - reach, self._lips[1] + reach)]
        down = (np.array(corners) @ self._axes)[:, 1]
        return float(down.min()), float(down.max())

    def origin(self, spots: Floats, moved: Floats, driven: Floats, own: Floats, weights: Floats) -> Floats:
        """Where spots come from.

        Args:
            spots: [n, 2] of the moved picture.
            moved: where they come from by the one smooth map [n, 2].
            driven: anchors of that map [k, 2], the keypoints first.
            own: where those come from [k, 2].
            weights: how much they count [k].

        Returns:
            [n, 2].
        """
        if self.amount == 0:
            return moved
        across, down = (spots @ self._axes.T).T
        share, made = self._share(spots), np.array(moved)
        for lips, side in (
            (_LOWER_LIP, down < np.interp(across, self._across, self._upper)),
            (_UPPER_LIP, down > np.interp(across, self._across, self._lower)),
        ):
            side &= share > 0
            if side.any():
                counting = np.array(weights)
                counting[list(lips)] = 0
                apart = moving_least_squares(driven, own, spots[side], counting)
                made[side] += (apart - made[side]) * share[side, None]
        return made
