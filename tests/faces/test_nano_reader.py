from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mien.errors import WeightsError
from mien.faces import FaceReading, load_face_reader
from mien.faces.nano_reader import BUNDLED, NanoReader, crop_angles, load_network, picture_rotation
from mien.geometry import HeadPose
from mien.models.face_reader import FaceReaderConfig, FaceReaderNetwork

FACES = Path(__file__).parents[1] / "assets" / "faces"
TINY = FaceReaderConfig(side=32, finder_channels=(4, 4, 4, 4), reader_channels=(4, 4, 4, 4), squeeze=2, hidden=8)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    tensors = {k: v for k, v in FaceReaderNetwork(TINY).state_dict().items() if "num_batches" not in k}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(asdict(TINY)))
    return tmp_path


@pytest.fixture(scope="module")
def reader() -> NanoReader:
    torch.set_num_threads(1)
    found = load_face_reader("nano")
    assert isinstance(found, NanoReader)
    return found


def _portrait(number: int) -> tuple[np.ndarray, dict]:
    entry = json.loads((FACES / "index.json").read_text())["portraits"][number]
    return np.asarray(Image.open(FACES / entry["file"]).convert("RGB")), entry


def test_crop_angles_and_back() -> None:
    pose = HeadPose.from_euler(22, -9, 31)
    angles = crop_angles(pose.rotation, np.radians(31))
    assert abs(np.degrees(angles[2])) < 12  # the square takes most of the roll away
    back = HeadPose(picture_rotation(angles, np.radians(31)), np.zeros(2), 1.0)
    assert (back.yaw, back.pitch, back.roll) == pytest.approx((22, -9, 31), abs=1e-3)


def test_strict_loading(tiny: Path) -> None:
    load_network(tiny)
    tensors = load_file(tiny / "model.safetensors")
    spare = tensors.pop("reader.angles.bias")
    save_file(tensors | {"reader.mood.bias": spare}, tiny / "model.safetensors")
    with pytest.raises(WeightsError, match=r"missing: reader\.angles\.bias; unexpected: reader\.mood\.bias"):
        load_network(tiny)
    save_file(tensors | {"reader.angles.bias": torch.zeros(4)}, tiny / "model.safetensors")
    with pytest.raises(WeightsError, match="of another shape: reader.angles.bias"):
        load_network(tiny)
    (tiny / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_network(tiny)
    (tiny / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="do not exist"):
        load_network(tiny)


def test_any_weights_give_readings_or_none(tiny: Path) -> None:
    reader = NanoReader(tiny)
    for shape in ((1, 1), (40, 300), (333, 57)):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        reading = reader.read(image)
        assert reading is None or isinstance(reading, FaceReading)
        assert isinstance(reader.read_all(image), list)


def test_bundled_weights_are_small_and_have_a_card() -> None:
    assert (BUNDLED / "model.safetensors").stat().st_size <= 4_000_000
    assert "artflow.ai" in (BUNDLED / "README.md").read_text()


def test_pose_and_place_of_real_portraits(reader: NanoReader) -> None:
    for number in (0, 1, 2):
        image, entry = _portrait(number)
        reading = reader.read(image)
        assert reading is not None, entry["id"]
        left, top, right, bottom = np.array(entry["face_box_norm_xyxy"]) * entry["size"][0]
        centre = (reading.box[:2] + reading.box[2:]) / 2
        assert left < centre[0] < right and top < centre[1] < bottom
        angles = (reading.pose.yaw, reading.pose.pitch, reading.pose.roll)
        assert angles == pytest.approx(entry["yaw_pitch_roll_deg"], abs=12)


def test_small_tilted_and_several_faces(reader: NanoReader) -> None:
    first, _ = _portrait(0)
    second, _ = _portrait(1)
    wall = np.full((700, 1100, 3), 110, np.uint8)
    wall[100:407, 80:387] = first
    tilted = Image.fromarray(second).resize((300, 300)).rotate(25, fillcolor=(110, 110, 110))
    wall[300:600, 700:1000] = np.asarray(tilted)
    faces = reader.read_all(wall)
    assert len(faces) == 2
    rolls = sorted(face.pose.roll for face in faces)
    assert rolls[1] - rolls[0] == pytest.approx(25, abs=8)
    for face in faces:
        followed = reader.read(wall, hint=face)
        assert followed is not None and np.abs(followed.box - face.box).max() < 0.1 * np.ptp(face.box[::2])


def test_no_face(reader: NanoReader) -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:240, :320]
    checks = np.repeat(((rows // 20 + columns // 20) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    for image in (
        np.full((120, 160, 3), 128, np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        rng.integers(0, 256, (200, 300, 3), np.uint8),
        checks,
    ):
        assert reader.read(image) is None
        assert reader.read_all(image) == []


def test_two_runs_agree(reader: NanoReader) -> None:
    image = np.random.default_rng(1).integers(0, 256, (90, 90, 3), np.uint8)
    a, b = reader.read(image), reader.read(image)
    assert (a is None) == (b is None)
