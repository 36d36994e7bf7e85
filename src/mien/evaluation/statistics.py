"""From clips to one figure: means over clips with bootstrap intervals, and distances over all clips."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.distributions import frechet_distance

Verdict = Literal["agrees", "no difference", "differs", "apart", "unknown"]
_DIGITS = 9  # of differences; two more than numbers in files have
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
        low: of the 95 % interval over clips, and over seeds where there are several; None where there is none.
        high: of the same.
        clips: how many were measured.
        why: for those without a value.
        seeds: over how many trainings.
    """

    value: float | None
    kind: Kind
    metric: str
    low: float | None = None
    high: float | None = None
    clips: int = 0
    why: str = ""
    seeds: int = 1


def bootstrap(values: Sequence[float], seed: str) -> tuple[float, float] | None:
    """The percentile interval of the mean over clips (Efron 1979); None for less than two clips.

    Args:
        values: one a clip.
        seed: a name, so that every figure always gets the same interval.
    """
    if len(values) < 2:
        return None
    known = np.asarray(values, np.float64)
    return _limits(known[_random(seed).integers(len(known), size=(RESAMPLES, len(known)))].mean(1))


def seed_figure(metric: str, values: NDArray[np.float64], seed: str) -> Figure:
    """The mean of a metric over seeds and clips. values: [seeds, clips], the same clips for each seed."""
    low, high = _limits(_resampled_means(values, _random(f"{seed} {metric}")))
    return Figure(float(values.mean()), "measured", metric, low, high, values.shape[1], seeds=len(values))


def difference(metric: str, first: NDArray[np.float64], second: NDArray[np.float64], seed: str) -> Figure:
    """By how much the mean of one system is above another's, over the same clips.

    Clips are drawn for both systems together, so that an easy clip cancels out; seeds for each by itself, because
    nothing binds the first seed of one system to the first of another.

    Args:
        metric: the metric's name.
        first: [seeds, clips].
        second: [seeds, clips], as many clips.
        seed: a name, so that the same figures always get the same interval.

    Returns:
        The difference; without an interval where there is a single clip, for nothing can be said of others then.
    """
    value, clips, seeds = float(first.mean() - second.mean()), first.shape[1], min(len(first), len(second))
    if clips < 2:
        return Figure(value, "measured", metric, clips=clips, seeds=seeds)
    rng = _random(f"{seed} {metric}")
    chosen = rng.integers(clips, size=(RESAMPLES, clips))
    apart = _resampled_means(first, rng, chosen) - _resampled_means(second, rng, chosen)
    low, high = _limits(apart.round(_DIGITS))  # else equal systems would differ in the last bits
    return Figure(value, "measured", metric, low, high, clips, seeds=seeds)


def verdict(published: float | None, measured: Figure) -> Verdict:
    """Whether a measured difference goes the way of a published one, by its interval and nothing else.

    "agrees": the interval lies on the published side of 0 (for a published 0: it holds 0). "differs": it lies on the
    other side (for a published 0: on either). "no difference": it holds 0 though the paper does not print 0. "apart":
    the paper prints nothing, and the interval leaves 0 out. "unknown": there is no interval.
    """
    if measured.low is None or measured.high is None:
        return "unknown"
    if measured.low <= 0 <= measured.high:
        return "agrees" if published == 0 else "no difference"
    if published is None:
        return "apart"
    return "agrees" if published * measured.low > 0 else "differs"


def _resampled_means(
    values: NDArray[np.float64], rng: np.random.Generator, clips: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Means [RESAMPLES] of [seeds, clips] with seeds and clips drawn with replacement, every seed with the same clips.

    The levels are crossed, not nested: each seed has seen each clip. So both are drawn, and their cells taken (the
    pigeonhole bootstrap, Owen 2007, which is rather too wide than too narrow). Clips alone would tell how a model does
    on other clips, not how another training of it would.
    """
    seeds, count = values.shape
    if clips is None:
        clips = rng.integers(count, size=(RESAMPLES, count))
    rows = rng.integers(seeds, size=(RESAMPLES, seeds))
    return np.asarray(values[rows[:, :, None], clips[:, None, :]].mean((1, 2)), np.float64)


def _random(seed: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(seed.encode()))


def _limits(means: NDArray[np.float64]) -> tuple[float, float]:
    """The percentile interval (Efron 1979)."""
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
