"""An invisible mark in pictures that says: this was made by mien. It holds no data beyond that.

Spread spectrum (Cox, Kilian, Leighton, Shamoon, IEEE Trans. Image Processing 1997): a fixed pattern of pseudo-random
signs, drawn out over the whole picture, is added to its brightness, 1 to 2 grey levels; its cells grow with the
picture, so it outlives scaling. Reading correlates the flattened picture with the pattern at once in every place (by
FFT), and at several sizes where edges may have been cut off. The score is the height of the correlation in standard
deviations of itself over all places; pictures without the mark score as a normal distribution does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

_SEED, _CELLS = 20261, 96  # across and down; changing either makes older marks unreadable
_AMPLITUDE = 1.2  # grey levels: 48 dB
_GRID = 2 * _CELLS  # pixels across and down at which pictures are read
_LEAST_SIDE = 96  # pixels; less holds no mark that a codec leaves
_MOST_CUT, _CUT_STEP = 0.2, 0.015  # parts of a side
# In standard deviations. A picture without the mark reaches 5 at the one place where it lies uncut by a chance of 3e-7,
# and 7 anywhere among the hundred thousand places and sizes that are tried for cuts by one of about 1e-7.
SURE, SURE_CUT = 5.0, 7.0
MOST_FRAMES = 24  # that a reading is the mean of


@lru_cache(maxsize=1)
def _signs() -> NDArray[np.float32]:
    # bytes of a seeded generator stay the same in every version of numpy
    drawn = np.frombuffer(np.random.PCG64(_SEED).random_raw(_CELLS * _CELLS // 8).astype("<u8").tobytes(), np.uint8)
    return np.where(drawn[: _CELLS * _CELLS].reshape(_CELLS, _CELLS) < 128, -1, 1).astype(np.float32)


@lru_cache(maxsize=2)
def _pattern(width: int, height: int) -> NDArray[np.int16]:
    """What is added to a picture, [height, width, 3]."""
    drawn_out = cv2.resize(_signs(), (width, height), interpolation=cv2.INTER_CUBIC)
    level = np.rint(_AMPLITUDE * drawn_out).astype(np.int16)
    return np.repeat(level[..., None], 3, axis=2)


def marked(frame: np.ndarray) -> np.ndarray:
    """The picture with the mark; one with a side below 96 pixels is returned as it is.

    Args:
        frame: uint8 [height, width, 3].

    Returns:
        The same shape.
    """
    height, width = frame.shape[:2]
    if min(width, height) < _LEAST_SIDE:
        return frame
    added = cv2.add(np.ascontiguousarray(frame), _pattern(width, height), dtype=cv2.CV_8U)
    return np.asarray(added, np.uint8)


def read_mark(frames: Iterable[np.ndarray], cut: bool = True) -> tuple[bool, float]:
    """Whether pictures hold the mark. They are averaged, so that what moves in them fades while the mark stays.

    Args:
        frames: uint8 [height, width, 3], all of one size.
        cut: look also for a mark whose edges, up to a fifth of each side in all, are cut off; this takes a second or
            two.

    Returns:
        The answer and the score it rests on.

    Raises:
        ValueError: without any picture.
    """
    brightness = _mean_brightness(frames)
    surface = _correlation(brightness, 1.0, 1.0)
    score = float(surface[0, 0])
    if score >= SURE or not cut:
        return score >= SURE, score
    best = max((_best_place(brightness, x, y) for x, y in _sizes()), default=0.0)
    return best >= SURE_CUT, max(best, score) if best >= SURE_CUT else score


def _mean_brightness(frames: Iterable[np.ndarray]) -> NDArray[np.float32]:
    total, count = None, 0
    for frame in frames:
        grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY).astype(np.float32)
        total, count = grey if total is None else total + grey, count + 1
    if total is None:
        raise ValueError("there is no picture to read a mark from")
    return np.asarray(total / count, np.float32)


def _sizes() -> Iterator[tuple[float, float]]:
    """Parts of width and height that may be left of the marked picture."""
    parts = np.arange(1 - _MOST_CUT, 1.001, _CUT_STEP)
    return ((float(x), float(y)) for x in parts for y in parts)


def _best_place(brightness: NDArray[np.float32], x: float, y: float) -> float:
    surface = _correlation(brightness, x, y)
    return float(surface[: _GRID - round(_GRID * y) + 1, : _GRID - round(_GRID * x) + 1].max())


def _correlation(brightness: NDArray[np.float32], x: float, y: float) -> NDArray[np.float64]:
    """Correlation with the pattern at every shift [grid, grid], in its standard deviations.

    x, y: the parts of the marked picture's width and height that this one is taken to be.
    """
    width, height = round(_GRID * x), round(_GRID * y)
    flat = _flattened(cv2.resize(brightness, (width, height), interpolation=cv2.INTER_AREA))
    placed = np.zeros((_GRID, _GRID), np.float32)
    placed[:height, :width] = flat - flat.mean()
    surface = np.fft.irfft2(_spectrum() * np.conj(np.fft.rfft2(placed)), s=(_GRID, _GRID))
    return np.asarray(surface / max(float(surface.std()), 1e-12))


@lru_cache(maxsize=1)
def _spectrum() -> NDArray[np.complexfloating]:
    flat = _flattened(cv2.resize(_signs(), (_GRID, _GRID), interpolation=cv2.INTER_CUBIC))
    return np.asarray(np.fft.rfft2(flat - flat.mean()))


def _flattened(picture: np.ndarray) -> NDArray[np.float32]:
    """What differs from the surroundings, brought to one strength everywhere: edges must not outweigh the rest."""
    rest = picture - cv2.GaussianBlur(picture, (0, 0), 1.5, borderType=cv2.BORDER_REPLICATE)
    strength = np.sqrt(cv2.GaussianBlur(rest * rest, (0, 0), 3.75, borderType=cv2.BORDER_REPLICATE))
    return np.asarray(np.clip(rest / (strength + 0.5), -2, 2), np.float32)
