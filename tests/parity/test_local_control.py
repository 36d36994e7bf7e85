"""The official code's own local control images, from the golden kit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.geometry import local_patches

pytestmark = pytest.mark.parity

KIT = Path(__file__).parent / "kit" / "inputs.npz"


def test_local_control_images_of_the_kit() -> None:
    kit = np.load(KIT)
    frames, golden, points = kit["driving_u8"], kit["local_u8"], kit["landmarks"]
    side = frames.shape[-1]
    for frame, local, landmarks in zip(frames, golden, points, strict=True):
        ours = local_patches(np.ascontiguousarray(frame.transpose(1, 2, 0)), landmarks * (side / 256))
        assert np.array_equal(ours.transpose(2, 0, 1), local)
