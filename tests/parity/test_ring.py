"""The published script's loop, which the parity proof stands on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mien.diffusion import XPortraitDDIMScheduler
from parity.ring import animate_by_ring, denoise_ring, official_windows
from tiny import tiny_pipeline


def test_its_windows_are_the_script_s() -> None:
    windows = official_windows(22, 16, 4, 21)
    assert [w[0] for w in windows] == [21, 11]
    assert windows[0][:3] == [21, 0, 1]
    assert official_windows(4, 16, 4, 0) == []


def test_it_refuses_what_the_script_divides_by_zero() -> None:
    scheduler = XPortraitDDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(2)
    with pytest.raises(ValueError, match="cannot animate 4 frames"):
        denoise_ring(torch.zeros(4, 1, 1, 1), scheduler, lambda step, rows, latents: latents, [0, 0])


def test_a_pipeline_s_networks_run_in_it() -> None:
    pipe, rng = tiny_pipeline(), np.random.default_rng(2)
    pictures = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(12)]
    pipe.set_portrait(pictures[:1])
    one, other = (
        animate_by_ring(pipe, pictures, pictures, offsets, torch.Generator().manual_seed(0))
        for offsets in ([3, 5], [4, 9])
    )
    assert np.stack(one).shape == (12, 64, 64, 3)
    assert not np.array_equal(one, other)  # the cuts matter
