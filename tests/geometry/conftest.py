"""Faces for tests of geometry."""

from __future__ import annotations

import numpy as np
import pytest

from faces_drawn import unit_face


@pytest.fixture
def face() -> np.ndarray:
    """A rough frontal face [68, 2] around (0, 0), about 2 x 2 in size, in the order of iBUG 68."""
    return unit_face()
