"""Fréchet distances of feature sets: FID (Heusel et al. 2017) and FVD (Unterthiner et al. 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def frechet_distance(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Distance of two Gaussians fitted to features (Heusel et al. 2017).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). With C = X^T X / (n - 1) of centred rows X the last trace is the sum of
    the singular values of X1 X2^T / sqrt((n - 1)(m - 1)), so that no root of a singular matrix is taken.

    Args:
        first: [n, d].
        second: [m, d].

    Raises:
        ValueError: for less than two rows.
    """
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if min(len(one), len(two)) < 2:
        raise ValueError(f"a Fréchet distance needs two rows of features at least, not {len(one)} and {len(two)}")
    apart = float(((one.mean(0) - two.mean(0)) ** 2).sum())
    roots = [_root(one), _root(two)]
    spread = sum(float((root**2).sum()) for root in roots)
    shared = float(np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum())
    return max(apart + spread - 2 * shared, 0.0)


def _root(features: Floats) -> Floats:
    """A matrix [at most d, d] whose square R^T R is the covariance."""
    centred: Floats = (features - features.mean(0)) / np.sqrt(len(features) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred, mode="r"), np.float64)
