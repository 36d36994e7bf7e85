"""From clips to one figure: means over clips with bootstrap intervals, and distances over all clips."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.distributions import frechet_distance

RESAMPLES = 2000
LEVEL = 0.95
Kind = Literal["measured", "published", "missing", "inapplicable", "unknown"]


@dataclass(frozen=True)
class Figure:
    """One cell of a table.

    Attributes:
        value: None where there is none.
        kind: "measured" here, "published" by a paper, "missing" (something is needed that is not here), "inapplicable"
            (this system has no such figure) or "unknown" (nobody has told it).
        metric: which metric it really is.
        low: of the 95 % interval over clips, None where there is none.
        high: of the same.
        clips: how many were measured.
        why: for those without a value.
    """

    value: float | None
    kind: Kind
    metric: str
    low: float | None = None
    high: float | None = None
    clips: int = 0
    why: str = ""


def bootstrap(values: Sequence[float], seed: str) -> tuple[float, float] | None:
    """The percentile interval of the mean over clips (Efron 1979); None for less than two clips.

    Args:
        values: one a clip.
        seed: a name, so that every figure always gets the same interval.
    """
    if len(values) < 2:
        return None
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    known = np.asarray(values, np.float64)
    means = known[rng.integers(len(known), size=(RESAMPLES, len(known)))].mean(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def clip_figure(metric: str, values: Sequence[float], seed: str) -> Figure:
    """The mean of one number a clip."""
    interval = bootstrap(values, f"{seed} {metric}")
    low, high = interval or (None, None)
    return Figure(float(np.mean(values)), "measured", metric, low, high, len(values))


def set_figure(metric: str, result: Sequence[NDArray[Any]], ground_truth: Sequence[NDArray[Any]]) -> Figure:
    """A Fréchet distance over the features of all clips.

    It has no interval: resampled clips repeat frames, and distances of repeated frames are larger than the one that is
    estimated.

    Args:
        metric: its key.
        result: features [n, d] of each clip.
        ground_truth: features [n, d] of each clip.
    """
    one, two = np.concatenate(list(result)), np.concatenate(list(ground_truth))
    if min(len(one), len(two)) < 2:
        return Figure(None, "missing", metric, why="the clips are too short for two rows of features")
    return Figure(frechet_distance(one, two), "measured", metric, clips=len(result))
