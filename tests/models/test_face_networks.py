"""The torch face networks against what the .tflite files they were converted from gave; see tests/assets/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.faces.networks import load_weights
from mien.models.face_networks import PersonMaskNetwork
from mien.weights import bundled

NEAR = 1e-3


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "assets" / "face_networks.npz") as file:
        return dict(file)


def _picture(recorded: dict[str, np.ndarray], side: int, low: float = 0.0) -> torch.Tensor:
    times = side // 64
    picture = recorded["picture"].repeat(times, 0).repeat(times, 1)[None] / 255 * (1 - low) + low
    return torch.from_numpy(picture.transpose(0, 3, 1, 2).astype(np.float32))


@torch.inference_mode()
def test_person_mask(recorded: dict[str, np.ndarray]) -> None:
    network = load_weights(PersonMaskNetwork(), bundled("face-networks") / "person_mask.safetensors")
    mask = network(_picture(recorded, 256))
    assert mask.shape == (1, 1, 256, 256)
    np.testing.assert_allclose(mask[0, 0, ::8, ::8], recorded["person_mask"], atol=NEAR)
    assert recorded["person_mask"].max() > 0.99 and recorded["person_mask"].min() < 0.01  # there is something to tell
