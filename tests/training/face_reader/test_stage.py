from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.faces import FaceReading
from mien.faces.nano_reader import NanoReader, load_network
from mien.faces.reading import landmark_bounds
from mien.geometry import HeadPose
from mien.models.face_reader import CropReading, Finding
from mien.training.engine import checkpoints
from mien.training.engine.config import TrainOptions
from mien.training.engine.trainer import train
from mien.training.face_reader.augmentation import CropSample, ViewSample
from mien.training.face_reader.labels import available_labels, load_labels, write_labels
from mien.training.face_reader.losses import finding_loss, reading_loss
from mien.training.face_reader.stage import FaceReaderModel, FaceReaderStage, crop_batch, view_batch, write_weights


class Teacher:
    """Finds a face wherever the picture is not black."""

    name = "teacher"

    def read(self, image: np.ndarray, hint: FaceReading | None = None) -> FaceReading | None:
        if not image.any():
            return None
        rng = np.random.default_rng(int(image[0, 0, 0]))
        points = rng.uniform(80, 180, (68, 2)).astype(np.float32)
        points[36:42], points[42:48] = (110, 120), (150, 120)
        expression = rng.uniform(0, 0.3, 52).astype(np.float32)
        return FaceReading(landmark_bounds(points), points, HeadPose.from_euler(5, 0, 0), expression, 1.0)

    def read_all(self, image: np.ndarray) -> list[FaceReading]:
        return []

    def close(self) -> None: ...


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    pictures = np.random.default_rng(0).integers(1, 256, (5, 256, 256, 3), np.uint8)
    pictures[2] = 0
    assert write_labels(tmp_path / "labels", "portraits", Teacher(), pictures) == 4
    return tmp_path / "labels"


def test_labels_round_trip(labels: Path) -> None:
    assert available_labels(labels) == ["portraits"]
    loaded = load_labels(labels, "portraits")
    assert loaded.index.tolist() == [0, 1, 3, 4] and loaded.landmarks.shape == (4, 68, 2)
    assert loaded.pictures.shape == (5, 256, 256, 3)


def test_the_reading_loss_is_zero_for_the_truth() -> None:
    rng = np.random.default_rng(0)
    sample = CropSample(
        np.zeros((128, 128, 3), np.uint8),
        rng.normal(size=(68, 2)).astype(np.float32),
        rng.normal(size=3).astype(np.float32),
        rng.uniform(size=52).astype(np.float32),
        True,
    )
    nothing = replace(sample, face=False)
    truth = CropReading(
        torch.from_numpy(np.stack([sample.landmarks, sample.landmarks + 9])),
        torch.from_numpy(np.stack([sample.angles, sample.angles + 9])),
        torch.from_numpy(np.stack([sample.expression, 1 - sample.expression])),
        torch.tensor([20.0, -20.0]),
    )
    terms = reading_loss(
        truth, crop_batch([sample, nothing]), torch.ones(52)
    )  # what is no face has no landmarks to be wrong
    assert all(float(value) < 1e-6 for value in terms.values())
    wrong = reading_loss(truth, crop_batch([nothing, sample]), torch.ones(52))
    assert all(float(wrong[name]) > 0.1 for name in ("landmarks", "angles", "expression", "confidence"))


def test_the_finding_loss_prefers_the_truth() -> None:
    view = ViewSample(np.zeros((128, 128, 3), np.uint8), np.array([[60.0, 44.0, 50.0, 0.3]], np.float32))
    faces = view_batch([view])["faces"]
    rows, columns = torch.meshgrid(torch.arange(16) * 8 + 4.0, torch.arange(16) * 8 + 4.0, indexing="ij")
    far = (columns - 60) ** 2 + (rows - 44) ** 2
    spot = torch.exp(-far / (2 * 4.8**2))
    centre = torch.tensor([60.0, 44.0])[None, :, None, None].expand(1, 2, 16, 16)
    turn = torch.tensor([np.cos(0.3), np.sin(0.3)])[None, :, None, None].expand(1, 2, 16, 16)
    truth = Finding(torch.logit(spot, eps=1e-6)[None], centre, torch.full((1, 16, 16), 50.0), turn)
    assert all(float(value) < 1e-3 for value in finding_loss(truth, faces).values())
    flat = replace(truth, logit=torch.zeros(1, 16, 16), size=truth.size * 2, centre=centre + 10, turn=-turn)
    assert all(float(value) > 0.1 for value in finding_loss(flat, faces).values())
    assert float(finding_loss(truth, torch.zeros_like(faces))["spot"]) > 0.1


def test_the_stage_learns_resumes_and_is_exported(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.training.face_reader.stage._PROBE", 8)
    monkeypatch.setattr("mien.training.face_reader.stage._MINE", 1.0)
    options = TrainOptions("face-reader", (str(labels),), str(tmp_path / "run"), rows=2, show_every=0, precision="fp32")
    for steps in (1, 2):
        train(FaceReaderStage(options), replace(options, steps=steps))
    train(FaceReaderStage(options), replace(options, steps=2, out=str(tmp_path / "whole")))
    parts, whole = (checkpoints.find(tmp_path / name).weights() for name in ("run", "whole"))
    assert int(whole["known"]) > 0  # a finder that has learnt nothing is wrong all the time
    unlike = [name for name, value in whole.items() if not torch.equal(value, parts[name])]
    assert all(name.startswith("network.") for name in unlike)  # the cosine knows another end
    model = FaceReaderModel()
    checkpoints.fill(model, whole)
    stage = FaceReaderStage(options)
    with torch.no_grad():
        assert stage.pictures(model.eval()).shape == (256, 1024, 3)
    path = write_weights(model.network, tmp_path / "weights")
    assert path.stat().st_size < 4_000_000
    saved = load_network(tmp_path / "weights").state_dict()
    assert torch.allclose(saved["reader.landmarks.weight"], model.network.reader.landmarks.weight, atol=1e-3)
    assert NanoReader(tmp_path / "weights").read(np.zeros((64, 64, 3), np.uint8)) is None


def test_both_turns_lower_their_loss_on_a_fixed_batch(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.training.face_reader.stage._PROBE", 8)
    stage = FaceReaderStage(TrainOptions("face-reader", (str(labels),), "out"))
    model = stage.build().train()
    batch = stage.batch(np.random.default_rng(0), 3)
    batch.pop("looked_at", None)
    for turn in stage.turns:
        optimizer, losses = torch.optim.AdamW(model.parameters(), 2e-3), []
        for _ in range(16):
            loss = torch.stack(list(turn.loss(model, batch, torch.Generator().manual_seed(0)).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.8 * losses[0], turn.name
