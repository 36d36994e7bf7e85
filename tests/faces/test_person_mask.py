from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.errors import WeightsError
from mien.faces.person_mask import PersonMask
from samples import RENDERED


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    with Image.open(RENDERED / "portrait_1.png") as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="module")
def mask() -> PersonMask:
    torch.set_num_threads(1)
    return PersonMask()


def test_a_person_before_a_background(mask: PersonMask, portrait: np.ndarray) -> None:
    alpha = mask(portrait)
    assert alpha.shape == portrait.shape[:2] and alpha.dtype == np.float32
    assert alpha.min() >= 0 and alpha.max() <= 1
    assert alpha[250:400, 180:330].min() > 0.95  # the face
    assert alpha[:40].max() < 0.05 and alpha[:300, :60].max() < 0.05 and alpha[:300, -60:].max() < 0.05  # the wall


def test_other_sizes_in_one_batch(mask: PersonMask, portrait: np.ndarray) -> None:
    wide = np.pad(portrait, [(0, 0), (300, 200), (0, 0)], mode="edge")
    small = portrait[::4, ::4]
    alone, among, little = mask(portrait), *mask.batch([wide, small])
    assert among.shape == wide.shape[:2] and little.shape == small.shape[:2]
    assert np.abs(among[:, 300:812] - alone).mean() < 0.05
    assert np.abs(little - alone[::4, ::4]).mean() < 0.05
    assert mask.batch([]) == []


def test_nobody(mask: PersonMask) -> None:
    sky = np.linspace(120, 220, 200, dtype=np.uint8)[:, None, None].repeat(300, 1).repeat(3, 2)
    assert mask(sky).mean() < 0.1


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"person_mask\.safetensors do not exist"):
        PersonMask(tmp_path)
