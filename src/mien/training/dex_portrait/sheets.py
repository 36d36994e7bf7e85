"""Contact sheets of DeX-Portrait's stages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mien.pipelines.pictures import to_uint8
from mien.training.engine.stage import Picture


def grid(columns: Sequence[Tensor]) -> Picture:
    """Columns of pictures [n, 3, h, w] in [-1, 1] as one picture of n rows, uint8."""
    shown = [np.concatenate(to_uint8(column), axis=0) for column in columns]
    return np.concatenate(shown, axis=1)
