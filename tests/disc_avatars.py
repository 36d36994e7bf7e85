"""Avatars of a few bytes: discs whose place is the motion and whose colour is the person; and networks as small."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from mien.models.x_portrait import VaeConfig
from tiny import TINY

CONFIG = dataclasses.replace(
    TINY,
    image_size=64,
    block_out_channels=(16, 16),
    source_in_sample=True,
    prediction_type="sample",
    hint_channels=(4, 4, 8, 8),
    vae=VaeConfig((4, 4, 8, 8), 1, 4, 4, False, 1.0, 64),
)


def write_discs(out: Path) -> Path:
    """Three people in 64 motions."""
    rng = np.random.default_rng(0)
    places = rng.uniform(90, 166, (64, 2)).astype(np.float32)
    colours = rng.integers(60, 255, (3, 3))
    yy, xx = np.mgrid[0:256, 0:256]
    frames = np.full((3, 64, 256, 256, 3), 30, np.uint8)
    for person in range(3):
        for motion, (x, y) in enumerate(places):
            frames[person, motion, np.hypot(xx - x, yy - y) < 50] = colours[person]
    landmarks = places[None, :, None] + rng.uniform(-30, 30, (3, 64, 68, 2)).astype(np.float32)
    np.save(out / "group_000_frames.npy", frames)
    np.save(out / "group_000_sources.npy", frames[:, 0])
    pupils = np.concatenate([landmarks[:, :, 36:48].reshape(3, 64, 2, 6, 2).mean(3), np.zeros((3, 64, 2, 1))], -1)
    np.savez(out / "group_000_meta.npz", landmarks=landmarks, pupils=pupils.astype(np.float32), validation=False)
    return out
