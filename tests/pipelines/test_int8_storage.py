"""Weights in 8 bits: what comes back, what is refused, and that a stored file is half as large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mien.errors import WeightsError
from mien.jobs.model_folder import examine_model
from mien.pipelines.int8_storage import SCALE, store_in_int8
from mien.pipelines.loading import WEIGHTS
from mien.pipelines.x_portrait import XPortraitPipeline
from tiny import tiny_pipeline


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_pipeline().to(torch.float16).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def stored(model: Path) -> Path:
    """The same with every weight of 512 numbers or more in 8 bits."""
    for path in model.rglob("*.safetensors"):
        store_in_int8(path, smallest=512)
    return model


def test_weights_come_back_within_half_a_step(model: Path) -> None:
    before = XPortraitPipeline.from_pretrained(model).unet.state_dict()
    size = (model / "unet" / WEIGHTS).stat().st_size
    store_in_int8(model / "unet" / WEIGHTS, smallest=512)
    assert (model / "unet" / WEIGHTS).stat().st_size < 0.75 * size
    after = XPortraitPipeline.from_pretrained(model).unet.state_dict()
    changed = 0
    for name, weight in before.items():
        if torch.equal(weight, after[name]):
            continue
        changed += 1
        step = weight.flatten(1).abs().amax(1) / 127
        assert ((weight - after[name]).flatten(1).abs().amax(1) <= 0.501 * step).all(), name
    assert changed > 10


def test_storing_twice_changes_nothing(stored: Path) -> None:
    once = (stored / "unet" / WEIGHTS).read_bytes()
    store_in_int8(stored / "unet" / WEIGHTS, smallest=512)
    assert (stored / "unet" / WEIGHTS).read_bytes() == once


def test_a_row_of_zeros_stays_zero(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"w": torch.tensor([[0.0, 0.0], [1.0, -2.0]])}, path)
    store_in_int8(path, smallest=1)
    told = load_file(path)
    assert told["w"].tolist() == [[0, 0], [64, -127]] and np.isfinite(told["w" + SCALE]).all()


def test_a_folder_in_eight_bits_is_whole_and_says_so(stored: Path) -> None:
    found = examine_model(stored)
    assert found.faults == [] and "int8" in found.parts["unet"]


@pytest.mark.parametrize("damage", ["missing", "alone", "shape"])
def test_scales_that_do_not_fit_are_named(stored: Path, damage: str) -> None:
    path = stored / "unet" / WEIGHTS
    tensors = {name: value.clone() for name, value in load_file(path).items()}
    scale = next(name for name in tensors if name.endswith(SCALE))
    if damage == "missing":
        del tensors[scale]
    elif damage == "alone":
        tensors[scale.removesuffix(SCALE)] = tensors[scale.removesuffix(SCALE)].float()
    else:
        tensors[scale] = torch.ones(3)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=SCALE):
        XPortraitPipeline.from_pretrained(stored)
    (fault,) = examine_model(stored).faults
    assert SCALE in fault
