"""The small training: what it draws, what it changes, what it leaves alone, and that it resumes as if never stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.diffusion import GatedDDIMScheduler
from mien.models.x_portrait import VaeConfig
from mien.training.avatar_clips import AvatarClips
from mien.training.x_portrait import STAGES, Options, Stage, fresh, loss_of, train
from tiny import TINY

CONFIG = dataclasses.replace(
    TINY,
    block_out_channels=(16, 16),
    source_in_sample=True,
    prediction_type="sample",
    hint_channels=(4, 4, 8, 8),
    vae=VaeConfig((4, 4, 8, 8), 1, 4, 4, False, 1.0, 256),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three people in 64 motions: discs whose place is the motion and whose colour is the person."""
    out = tmp_path_factory.mktemp("avatars")
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
    np.savez(out / "group_000_meta.npz", landmarks=landmarks.astype(np.float32))
    return out


SMALL = Stage(("empty_prompt", "appearance_reference", "motion_control", "unet"), ("unet",), 64, 2, 2, False, 2e-3, 30)


def options(folder: Path, out: Path, **more) -> Options:
    return Options("joint", str(folder), str(out), minutes=5, ema=0.5, **more)


def test_draws_are_aligned_and_repeatable(folder: Path) -> None:
    data = AvatarClips(folder)
    first, again = (data.draw(np.random.default_rng(5), 2, 3, 64) for _ in range(2))
    assert torch.equal(first.target, again.target)
    assert torch.equal(first.control, again.control)
    assert first.source.shape == (2, 3, 64, 64)
    assert first.target.shape == first.control.shape == (6, 3, 64, 64)
    assert first.weight.shape == (6, 1, 8, 8)
    assert first.weight.min() >= 1
    whole = data.draw(np.random.default_rng(5), 1, 4, 256, clip=True, patches=True)
    assert whole.patches.shape == (4, 3, 256, 256)
    shown = whole.patches > -1
    assert 0.02 < shown.float().mean() < 0.4
    assert torch.equal(whole.patches[shown], whole.control[shown])


def test_hold_out_splits_groups(folder: Path) -> None:
    assert AvatarClips(folder, hold_out=1).refresh() == 1
    assert AvatarClips(folder, hold_out=1, only_held_out=True).refresh() == 0


def test_loss_falls_on_a_fixed_batch(folder: Path) -> None:
    model = fresh(0, CONFIG)
    draw = AvatarClips(folder).draw(np.random.default_rng(1), 2, 2, 64)
    scheduler = GatedDDIMScheduler(1000, 0.00085, 0.012, "scaled_linear")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = loss_of(model, SMALL, draw, scheduler, torch.Generator().manual_seed(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_resumed_run_equals_uninterrupted_and_frozen_parts_stay(folder: Path, tmp_path: Path) -> None:
    stage = dataclasses.replace(SMALL, total_steps=4)
    train(options(folder, tmp_path / "whole"), config=CONFIG, stage=stage)
    for steps in (2, 4):
        part = dataclasses.replace(stage, total_steps=4)
        _stop_after(part, options(folder, tmp_path / "parts"), steps)
    whole = torch.load(tmp_path / "whole" / "last.pt", weights_only=True)
    parts = torch.load(tmp_path / "parts" / "last.pt", weights_only=True)
    assert whole["step"] == parts["step"] == 4
    assert all(torch.equal(value, parts["model"][key]) for key, value in whole["model"].items())
    start = fresh(1, CONFIG).state_dict()
    frozen = [key for key in start if key.startswith(("vae.", "temporal.", "local_control."))]
    assert frozen
    assert all(torch.equal(start[key], whole["model"][key]) for key in frozen)
    assert not torch.equal(start["unet.conv_in.weight"], whole["model"]["unet.conv_in.weight"])


def _stop_after(stage: Stage, chosen: Options, steps: int) -> None:
    """Run until `steps`, as a time limit would end it: the schedule still knows the full length."""
    import mien.training.x_portrait as module

    real = module._steps
    module._steps = lambda start, total, options, began: iter(range(start, steps))
    try:
        train(chosen, config=CONFIG, stage=stage)
    finally:
        module._steps = real


def test_stages_train_only_what_they_name() -> None:
    assert STAGES["temporal"].trained == ("temporal",)
    assert set(STAGES["local"].trained) - set(STAGES["joint"].trained) == {"local_control"}
