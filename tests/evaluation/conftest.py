"""Noise."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def frames() -> np.ndarray:
    """Five noisy frames, uint8 [5, 64, 64, 3]."""
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
