"""Mouths and eyes that close further than the portrait shows them: rims meet, and what was between them is gone.

One smooth map from closed lips to open ones would have to tear where they meet; it takes that seam to the middle of the
open mouth instead, and a dark slit stays; of closed lids it shows the open eye, as large as it was. Hence two maps:
above the seam the lower rim counts for nothing, below it the upper one. Lids are thin and travel far: they are drawn
out evenly, from the seam to where the face stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.geometry.moving_least_squares import moving_least_squares
from mien.geometry.smooth import smooth_step

Floats = NDArray[np.floating]

# Over how many times the way that they have come lids are drawn out, and at least: below one the map would fold, and
# the portrait be shown twice.
_DRAWN_OUT, _NOT_FOLDED = 1.5, 1.05
_BELOW_BROW = 0.85  # of the way to the brow: else no further
_OF_LID = 0.25  # of the lid's height: the most that counts as lashes, not as skin
_BESIDE_SEAM = 2.0  # pixels


@dataclass(frozen=True)
class RimPair:
    """Two rims of a face that may meet, the lips' or the lids' of one eye, by numbers of the 70 keypoints.

    Attributes:
        upper, lower: both rims from corner to corner, from left to right.
        above, below: keypoints that count for nothing below and above the seam.
        between: keypoints between the rims, which count for nothing on either side.
        outline: both corners first, then all that goes as high and as low as the rims do.
        facing: pairs of points on the rims that face each other.
        closes: lengths, in extents of the face, by which the rims have come together: at the first there is one map, at
            the second there are two.
        remaining: the same by the part of the portrait's gap that remains; None: however much remains.
        beside: part of the width, next to a corner, in which one map becomes two.
        around: parts of the width and of the outline's height, above and below it, in which two maps become one.
        bow: how far a lid's rim bows out between a corner and the next keypoint, in heights of that; 0: no lids.
        brow: keypoints that stay where they are above the lid.
        skin: parts of the portrait's gap, above and below it, where skin begins: lids meet, not what is behind lashes.
    """

    upper: tuple[int, ...]
    lower: tuple[int, ...]
    above: tuple[int, ...]
    below: tuple[int, ...]
    between: tuple[int, ...]
    outline: tuple[int, ...]
    facing: tuple[tuple[int, int], ...]
    closes: tuple[float, float]
    remaining: tuple[float, float] | None
    beside: float
    around: tuple[float, float]
    bow: float = 0.0
    brow: tuple[int, ...] = ()
    skin: tuple[float, float] = (0.0, 0.0)


MOUTH = RimPair(
    upper=(60, 61, 62, 63, 64),
    lower=(60, 67, 66, 65, 64),
    above=(49, 50, 51, 52, 53, 61, 62, 63),
    below=(55, 56, 57, 58, 59, 65, 66, 67),
    between=(),
    outline=(48, 54, *range(49, 54), *range(55, 60)),
    facing=((62, 66),),
    closes=(0.01, 0.05),
    remaining=None,
    beside=0.04,
    around=(0.0, 0.6),
)
EYES = tuple(
    RimPair(
        upper=(first, first + 1, first + 2, first + 3),
        lower=(first, first + 5, first + 4, first + 3),
        above=(first + 1, first + 2),
        below=(first + 4, first + 5),
        between=(pupil,),
        outline=(first, first + 3, first + 1, first + 2, first + 4, first + 5),
        facing=((first + 1, first + 5), (first + 2, first + 4)),
        closes=(0.008, 0.025),
        remaining=(0.45, 0.12),
        beside=0.03,
        around=(0.4, 0.0),
        bow=0.55,
        brow=tuple(range(brow, brow + 5)),
        skin=(0.2, 0.16),
    )
    for first, pupil, brow in ((36, 68, 17), (42, 69, 22))
)


class ClosingPart:
    """The seam along which two rims of one moved face meet. All points are pixels.

    Attributes:
        amount: how far there are two maps instead of one, in [0, 1].
    """

    def __init__(self, part: RimPair, own: Floats, driven: Floats, axes: Floats, extent: float, zoom: float) -> None:
        """Look at the rims.

        Args:
            part: mouth or eye.
            own: keypoints of the portrait [70, 2].
            driven: where they go [70, 2].
            axes: of the driven face, rows: across and down [2, 2].
            extent: size of the driven face.
            zoom: sizes of the driven face over the portrait's.
        """
        self._part, self._axes, self._zoom = part, axes, zoom
        gap, left = (
            float(np.mean([np.linalg.norm(points[high] - points[low]) for high, low in part.facing]))
            for points in (own, driven)
        )
        self.amount = _between(part.closes, (gap * zoom - left) / extent)
        if part.remaining is not None:
            self.amount *= _between(part.remaining, left / max(gap * zoom, 1e-6))
        if self.amount == 0:
            return  # as in most frames: there is no seam, and nothing more is asked
        upper, lower = (driven[list(line)] @ axes.T for line in (part.upper, part.lower))
        middle = (upper + lower) / 2
        self._across = np.maximum.accumulate(middle[:, 0])
        self._upper, self._lower = np.minimum(upper[:, 1], middle[:, 1]), np.maximum(lower[:, 1], middle[:, 1])
        if part.bow:  # lids meet wholly
            self._upper += (middle[:, 1] - self._upper) * self.amount
            self._lower += (middle[:, 1] - self._lower) * self.amount
        outline = driven[list(part.outline)] @ axes.T
        self._left, self._width = outline[0, 0], max(float(outline[1, 0] - outline[0, 0]), 1e-6)
        wide, high = part.around
        self._reach = max(wide * self._width + high * float(np.ptp(outline[:, 1])), 1e-6)
        # two maps in any case where the one would show what was between the lids
        hidden = _DRAWN_OUT * gap * zoom if part.bow else 0.0
        self._edges = outline[:, 1].min() - hidden, outline[:, 1].max() + hidden
        self._rims = []
        if part.bow:
            self._seam = _with_middles(np.column_stack([self._across, middle[:, 1]]))  # across and down [7, 2]
            brow = driven[list(part.brow)] @ axes.T
            self._brow = brow[np.argsort(brow[:, 0])]  # the far one's order turns in profile
            lid = float(np.linalg.norm(own[list(part.brow)].mean(0) - own[list(part.above)].mean(0)))
            skin = [min(beyond * gap, _OF_LID * lid) * self.amount for beyond in part.skin]
            lines = ((part.upper, -1, skin[0]), (part.lower, 1, skin[1]))
            self._rims = [_rim(own, line, sign, part.bow, beyond) for line, sign, beyond in lines]

    def _share(self, spots: Floats) -> Floats:
        """How far spots [..., 2] have one of two maps, [...]."""
        across, down = np.moveaxis(spots @ self._axes.T, -1, 0)
        along = (across - self._left) / self._width
        inside = smooth_step(along / self._part.beside) * smooth_step((1 - along) / self._part.beside)
        above, below = (self._edges[0] - down) / self._reach, (down - self._edges[1]) / self._reach
        return np.asarray(self.amount * inside * smooth_step(1 - above) * smooth_step(1 - below))

    def grid_slice(self, places: Floats) -> tuple[slice, slice] | None:
        """The part of a grid that has two maps.

        Args:
            places: of the grid [h, w, 2], pixels.

        Returns:
            Rows and columns among which all such places lie; None: there are none.
        """
        if self.amount == 0:
            return None
        near = self._share(places) > 0
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        if not len(rows):
            return None
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def box(self) -> NDArray[np.float64]:
        """Where the seam is.

        Returns:
            Left and top, right and bottom, pixels [2, 2].
        """
        lines = [np.column_stack([self._across, down]) @ self._axes for down in (self._upper, self._lower)]
        around = np.concatenate(lines)
        return np.stack([around.min(0) - _BESIDE_SEAM, around.max(0) + _BESIDE_SEAM])

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
        for number, side in enumerate(
            (down < np.interp(across, self._across, self._upper), down > np.interp(across, self._across, self._lower))
        ):
            side &= share > 0
            if side.any():
                apart = self._mapped(spots[side], number, driven, own, weights)
                made[side] += (apart - made[side]) * share[side, None]
        return made

    def _mapped(self, spots: Floats, number: int, driven: Floats, own: Floats, weights: Floats) -> Floats:
        """Where spots come from by the map above the seam (0) or by that below it (1)."""
        part, counting = self._part, np.array(weights)
        if not self._rims:
            counting[list(part.above if number else part.below)] = 0
            return moving_least_squares(driven, own, spots, counting)
        counting[[*part.above, *part.below, *part.between]] = 0
        line = self._seam
        here = moving_least_squares(driven, own, np.concatenate([spots, line @ self._axes]), counting)
        rest, away = here[: len(spots)], self._rims[number] - here[len(spots) :]
        across, down = (spots @ self._axes.T).T
        meeting = np.interp(across, line[:, 0], line[:, 1])
        high = np.abs(down - meeting)
        way = max(float(np.linalg.norm(away, axis=1).max()) * self._zoom, 1e-6)
        most = np.full(len(spots), _DRAWN_OUT * way)
        if number == 0:
            brow = meeting - np.interp(across, self._brow[:, 0], self._brow[:, 1])
            most = np.clip(_BELOW_BROW * brow, _NOT_FOLDED * way, most)
        drawn = np.stack([np.interp(across, line[:, 0], away[:, axis]) for axis in (0, 1)], 1)
        return np.asarray(rest + drawn * np.clip(1 - high / most, 0, 1)[:, None])


def _between(ends: tuple[float, float], value: float) -> float:
    return float(smooth_step(np.asarray((value - ends[0]) / (ends[1] - ends[0]))))


def _rim(points: Floats, line: tuple[int, ...], sign: int, bow: float, beyond: float) -> Floats:
    """Points along a lid's rim [7, 2], from corner to corner; `beyond` pixels further out than its keypoints."""
    first, one, two, last = points[list(line)]
    along = (last - first) / max(float(np.linalg.norm(last - first)), 1e-6)
    out = sign * np.array([-along[1], along[0]])
    height = max(float(((one + two) / 2 - (first + last) / 2) @ out), 0.0)
    bows = np.array([0.0, bow, 0.0, bow / 5, 0.0, bow, 0.0]) * height
    skin = beyond * np.array([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    return _with_middles(np.stack([first, one, two, last])) + (bows + skin)[:, None] * out


def _with_middles(line: Floats) -> Floats:
    """Four points with those half way between them, [7, 2]."""
    half = (line[1:] + line[:-1]) / 2
    return np.stack([line[0], half[0], line[1], half[1], line[2], half[2], line[3]])
