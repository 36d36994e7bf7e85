"""Weights and pictures by a rule, so that a reference implementation elsewhere can have the very same ones."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ASSET = Path(__file__).parent / "assets" / "reference_networks.json"


def random(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers that depend on nothing but name and shape."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)


def filled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """New values for every tensor: weights that keep the size of what passes through, usual statistics."""
    made = {}
    for name, tensor in state.items():
        values = random(name, tuple(tensor.shape))
        if name.endswith("num_batches_tracked"):
            continue  # published files are older than these counters
        if tensor.ndim > 1:
            values *= np.sqrt(2 / np.prod(tensor.shape[1:]))
        elif name.endswith("running_var"):
            values = 1 + 0.1 * np.abs(values)
        elif name.endswith("weight"):
            values = 1 + 0.1 * values
        else:
            values *= 0.1
        made[name] = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    return made


def pictures(name: str, shape: tuple[int, ...]) -> Tensor:
    """Values in [0, 1]: coarse blocks and noise."""
    coarse = torch.from_numpy(random(name, (*shape[:-2], 8, 8))).reshape(-1, 1, 8, 8)
    smooth = torch.nn.functional.interpolate(coarse, shape[-2:], mode="bilinear").reshape(shape)
    return (0.5 + 0.2 * smooth + 0.05 * torch.from_numpy(random(name + " noise", shape))).clamp(0, 1)


def expected(name: str) -> Any:
    """What the reference implementation gave: see the file for which one it was."""
    return json.loads(ASSET.read_text())[name]["values"]
