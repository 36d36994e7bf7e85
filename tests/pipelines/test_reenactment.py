"""A pipeline with a reenactor: what it starts from, and what sampling adds to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.diffusion import GatedDDIMScheduler
from mien.errors import InputError
from mien.models.reenactor import Reenactor, ReenactorConfig
from mien.pipelines import x_portrait as module
from mien.pipelines.pictures import to_pixels
from mien.pipelines.reenactment import Reenactment
from mien.pipelines.x_portrait import PARTS, XPortraitPipeline
from samples import DrawnFaceReader, draw_face
from tiny import TINY, tiny_networks

SMALL = ReenactorConfig(64, (4, 4, 8), (8, 8, 8), (4, 4, 8, 8), 1, 4, 4)


def pipeline(silent: bool = True) -> XPortraitPipeline:
    """Nano's grammar in small; silent: the U-Net changes nothing."""
    networks = tiny_networks(replace(TINY, source_in_sample=True, prediction_type="sample"))
    if silent:
        for parameter in networks.unet.conv_out.parameters():
            parameter.zero_()
    torch.manual_seed(0)
    reenactor = Reenactor.of(SMALL).eval().requires_grad_(False)
    reenactor.mean.normal_()
    made = XPortraitPipeline(
        **{part: getattr(networks, part) for part in PARTS},
        scheduler=GatedDDIMScheduler(1000, prediction_type="sample", timestep_spacing="trailing", clip_sample=False),
        reenactor=reenactor,
        image_size=64,
        defaults={"num_inference_steps": 1, "guidance_scale": 1.0, "window": 4, "overlap": 1},
    )
    made.set_progress_bar_config(disable=True)
    return made


def marks(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.6, 0.6, (70, 2))


def test_sampling_that_changes_nothing_gives_the_reenactors_picture_whole() -> None:
    pipe, face = pipeline(), draw_face(64, 64)
    pipe.set_portrait(face, keypoints=marks())
    driven = [marks() + shift for shift in (0.0, 0.02, 0.05, 0.08, 0.1)]
    drive = [draw_face(64, 64, mouth=0.5)] * 5
    got = pipe.animate(drive, drive, driven=driven, output_type="pt").frames
    one = Reenactment(pipe.reenactor, to_pixels([face], 64), marks())
    wanted = torch.stack([one.picture(landmarks) for landmarks in driven])
    assert (got - wanted).abs().max() < 0.03  # the autoencoder of random weights would leave nothing of it
    assert (wanted[0] - wanted[4]).abs().mean() > 0.05


def test_what_sampling_changes_is_added() -> None:
    pipe = pipeline(silent=False)
    pipe.set_portrait(draw_face(64, 64), keypoints=marks())
    one = Reenactment(pipe.reenactor, to_pixels([draw_face(64, 64)], 64), marks()).picture(marks())
    drive = [draw_face(64, 64, mouth=0.5)]
    assert (pipe.animate(drive, drive, driven=[marks()], output_type="pt").frames[0] - one).abs().mean() > 0.05


def test_only_the_face_is_changed() -> None:
    pipe = pipeline(silent=False)
    small = marks() * 0.4
    pipe.set_portrait(draw_face(64, 64), keypoints=small)
    one = Reenactment(pipe.reenactor, to_pixels([draw_face(64, 64)], 64), small).picture(small)
    drive = [draw_face(64, 64, mouth=0.5)]
    changed = (pipe.animate(drive, drive, driven=[small], output_type="pt").frames[0] - one).abs().mean(0)
    assert changed[28:36, 28:36].mean() > 0.05
    assert changed[:4].max() < 0.02 and changed[:, :4].max() < 0.02


def test_faces_are_read_where_no_landmarks_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_face_reader", lambda name: DrawnFaceReader())
    pipe, drive = pipeline(), [draw_face(64, 64, mouth=mouth) for mouth in (0.0, 0.9)]
    pipe.set_portrait(draw_face(64, 64))
    frames = pipe.animate(drive, drive, output_type="np").frames
    assert frames.shape == (2, 64, 64, 3)
    pipe.set_portrait(np.full((64, 64, 3), 60, np.uint8))
    with pytest.raises(InputError, match="no face was found in the portrait"):
        pipe.animate(drive, drive)


def test_it_is_saved_and_loaded_with_the_pipeline(tmp_path: Path) -> None:
    pipe, drive = pipeline(), [draw_face(64, 64, mouth=0.5)]
    pipe.save_pretrained(tmp_path)
    again = XPortraitPipeline.from_pretrained(tmp_path)
    frames = []
    for one in (pipe, again):
        one.set_portrait(draw_face(64, 64), keypoints=marks())
        frames.append(one.animate(drive, drive, driven=[marks(1)], output_type="np").frames.astype(int))
    assert np.abs(frames[0] - frames[1]).max() <= 1
