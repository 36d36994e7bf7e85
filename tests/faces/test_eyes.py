"""The closer look at eyes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from disc_avatars import write_discs
from mien.errors import InputError, WeightsError
from mien.faces.eyes import CloserLook, save_eyes
from mien.geometry.eye_squares import eye_squares
from mien.models.eye_reader import EyeReader, EyeReaderConfig
from mien.training.engine.config import TrainOptions
from mien.training.face_reader.eyes import EyeReaderStage

SMALL = EyeReaderConfig(channels=(4, 4, 8), squeeze=4, hidden=16)


def landmarks() -> np.ndarray:
    """A rough face 100 pixels wide in a picture of 200."""
    points = np.full((68, 2), 100, np.float32)
    for ring, middle in ((range(36, 42), (75, 80)), (range(42, 48), (125, 80)), (range(48, 68), (100, 140))):
        angles = np.linspace(np.pi, 3 * np.pi, len(ring), endpoint=False)
        points[list(ring)] = np.array(middle) + 10 * np.stack([np.cos(angles), np.sin(angles)], 1)
    return points


def test_places_in_the_crops_come_back_to_the_picture_and_the_left_eye_out_of_the_mirror() -> None:
    points, image, network = landmarks(), np.zeros((200, 200, 3), np.uint8), EyeReader(SMALL)
    torch.nn.init.zeros_(network.points.weight)
    network.points.bias.data = torch.tensor((0.5, 0.0)).repeat(7)  # it sees all points in one place of the crop
    ((better, pupils),) = CloserLook(network).refine(image, [points])
    right, left = eye_squares(points)
    np.testing.assert_allclose(pupils[0], [right.x + right.size / 4, right.y], atol=1e-3)
    np.testing.assert_allclose(pupils[1], [left.x - left.size / 4, left.y], atol=1e-3)
    np.testing.assert_allclose(better[36:42], np.tile(pupils[0], (6, 1)), atol=1e-3)
    np.testing.assert_array_equal(np.delete(better, np.s_[36:48], 0), np.delete(points, np.s_[36:48], 0))
    assert CloserLook(network).refine(image, []) == []


def test_it_learns_the_eyes_of_a_fixed_batch(tmp_path: Path) -> None:
    folder = write_discs(tmp_path)
    stage = EyeReaderStage(TrainOptions("face-reader/eyes", (str(folder),), "out"), SMALL)
    model, batch = stage.build(), stage.batch(np.random.default_rng(0), 4)
    assert batch["eyes"].shape == (8, 3, 48, 48) and batch["points"].shape == (8, 7, 2)
    optimizer, losses = torch.optim.Adam(model.parameters(), 3e-3), []
    for _ in range(60):
        loss = torch.stack(list(stage.loss(model, batch, torch.Generator()).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0], losses
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="groups"):
        EyeReaderStage(TrainOptions("face-reader/eyes", (str(empty),), "out"), SMALL).batch(np.random.default_rng(0), 1)


def test_what_is_saved_is_read_again_and_what_is_damaged_is_named(tmp_path: Path) -> None:
    assert CloserLook.load(tmp_path) is None
    network = EyeReader(SMALL).eval()
    save_eyes(network, tmp_path)
    again = CloserLook.load(tmp_path)
    assert again is not None
    eyes = torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(again.network(eyes), network(eyes), atol=2e-2, rtol=2e-2)
    path = tmp_path / "eyes.safetensors"
    parts = load_file(path)
    save_file({name: part for name, part in parts.items() if name != "points.bias"}, path)
    with pytest.raises(WeightsError, match=r"eyes\.safetensors does not fit .*missing: points\.bias"):
        CloserLook.load(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsError, match="eyes.safetensors"):
        CloserLook.load(tmp_path)


def test_the_bundled_reader_sees_pupils() -> None:
    from mien.faces import load_face_reader
    from mien.media import read_image

    portrait = Path(__file__).parents[2] / "src" / "mien" / "demo" / "portrait_1.png"
    face = load_face_reader("nano").read(read_image(portrait))
    assert face is not None and face.pupils is not None
    for ring, pupil in zip((range(36, 42), range(42, 48)), face.pupils, strict=True):
        eye = face.landmarks[list(ring)]
        assert np.linalg.norm(pupil - eye.mean(0)) < 0.4 * np.ptp(eye[:, 0])
