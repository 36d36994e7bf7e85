from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mien.errors import WeightsError
from mien.faces import FaceReading, FaceTracker, load_face_reader
from mien.faces.canonical_face import CanonicalFace
from mien.faces.face_search import _suppress
from mien.faces.mesh_reader import LANDMARKS_68, MeshReader
from mien.geometry import HeadPose
from mien.geometry.pose import rotation_matrix
from mien.weights import bundled
from samples import RENDERED

FACES = Path(__file__).parents[1] / "assets" / "faces"


def _portrait(number: int) -> np.ndarray:
    with Image.open(RENDERED / f"portrait_{number}.png") as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return _portrait(1)


@pytest.fixture(scope="module")
def reader() -> MeshReader:
    torch.set_num_threads(1)
    found = load_face_reader()
    assert isinstance(found, MeshReader)
    return found


@pytest.fixture(scope="module")
def seen(reader: MeshReader, portrait: np.ndarray) -> FaceReading:
    found = reader.read(portrait)
    assert found is not None
    return found


def _eye_distance(reading: FaceReading) -> float:
    return float(np.linalg.norm(reading.landmarks[36:42].mean(0) - reading.landmarks[42:48].mean(0)))


def _off(reading: FaceReading, points: np.ndarray) -> float:
    """Mean distance of the landmarks to where they should be, over the distance of the eyes."""
    return float(np.linalg.norm(reading.landmarks - points, axis=1).mean()) / _eye_distance(reading)


def _drawn_face() -> np.ndarray:
    """A face of ellipses, 400 pixels."""
    picture = np.full((400, 400, 3), (150, 190, 220), np.uint8)
    cv2.ellipse(picture, (200, 185), (118, 140), 0, 180, 360, (70, 45, 30), -1)
    cv2.ellipse(picture, (200, 210), (105, 135), 0, 0, 360, (225, 180, 150), -1)
    for x in (155, 245):
        cv2.ellipse(picture, (x, 190), (22, 11), 0, 0, 360, (250, 250, 250), -1)
        cv2.circle(picture, (x, 190), 10, (60, 90, 60), -1)
        cv2.circle(picture, (x, 190), 4, (10, 10, 10), -1)
        cv2.ellipse(picture, (x, 192), (24, 14), 0, 190, 350, (90, 50, 30), 2)
        cv2.ellipse(picture, (x, 172), (30, 14), 0, 200, 340, (70, 45, 30), 6)
    cv2.ellipse(picture, (200, 245), (18, 8), 0, 20, 160, (190, 130, 110), 3)
    cv2.line(picture, (196, 200), (188, 240), (205, 155, 130), 3)
    cv2.ellipse(picture, (200, 285), (40, 14), 0, 0, 360, (180, 80, 80), -1)
    cv2.line(picture, (162, 285), (238, 285), (120, 40, 40), 2)
    return cv2.GaussianBlur(picture, (0, 0), 1.5)


def test_a_portrait(seen: FaceReading) -> None:
    assert seen.confidence > 0.95
    assert seen.mesh is not None and seen.mesh.shape == (478, 3) and seen.mesh.dtype == np.float32
    np.testing.assert_array_equal(seen.landmarks, seen.mesh[LANDMARKS_68, :2])
    # The rendered head's eyes, in the picture; its gaze and head are straight ahead.
    eyes = np.array([[204, 229], [308, 229]])
    assert seen.pupils is not None and np.abs(seen.pupils - eyes).max() < 6
    assert max(abs(seen.pose.yaw), abs(seen.pose.pitch), abs(seen.pose.roll)) < 8
    assert seen.mesh[1, 2] < seen.mesh[234, 2] - 50  # the nose is nearer to the camera than the ears
    assert seen.tongue is not None and seen.tongue < 0.1
    assert seen.expression.shape == (52,) and seen.expression.min() >= 0 and seen.expression.max() <= 1


def test_pupils_lie_between_the_lids(seen: FaceReading) -> None:
    assert seen.pupils is not None
    for ring, pupil in zip((range(36, 42), range(42, 48)), seen.pupils, strict=True):
        eye = seen.landmarks[list(ring)]
        assert np.linalg.norm(pupil - eye.mean(0)) < 0.4 * np.ptp(eye[:, 0])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_pose_and_place_of_a_photograph_and_paintings(reader: MeshReader, number: int) -> None:
    entry = json.loads((FACES / "index.json").read_text())["portraits"][number]
    with Image.open(FACES / entry["file"]) as picture:
        found = reader.read(np.asarray(picture.convert("RGB")))
    assert found is not None, entry["id"]
    left, top, right, bottom = np.array(entry["face_box_norm_xyxy"]) * entry["size"][0]
    x, y = (found.box[:2] + found.box[2:]) / 2
    assert left < x < right and top < y < bottom
    angles = (found.pose.yaw, found.pose.pitch, found.pose.roll)
    assert angles == pytest.approx(entry["yaw_pitch_roll_deg"], abs=3)


def test_a_drawn_face(reader: MeshReader) -> None:
    found = reader.read(_drawn_face())
    assert found is not None
    eyes = np.array([found.landmarks[36:42].mean(0), found.landmarks[42:48].mean(0)])
    assert np.abs(eyes - [[155, 190], [245, 190]]).max() < 12
    assert np.abs(found.landmarks[48:60].mean(0) - [200, 285]).max() < 15


def test_a_small_face_in_a_4k_picture(reader: MeshReader, portrait: np.ndarray, seen: FaceReading) -> None:
    picture = np.full((2160, 3840, 3), (120, 130, 140), np.uint8)
    picture[:] += (np.arange(3840) // 64 % 20).astype(np.uint8)[:, None]
    small = np.asarray(Image.fromarray(portrait).resize((200, 200), Image.Resampling.LANCZOS))  # a face of 90 pixels
    picture[1500:1700, 2900:3100] = small
    found = reader.read(picture)
    assert found is not None and _off(found, seen.landmarks * (200 / 512) + [2900, 1500]) < 0.06
    assert [_off(each, found.landmarks) < 0.06 for each in reader.read_all(picture)] == [True]


def test_two_faces(reader: MeshReader, portrait: np.ndarray) -> None:
    wall = np.full((700, 1200, 3), 90, np.uint8)
    wall[100:612, 40:552] = portrait
    wall[300:600, 800:1100] = np.asarray(Image.fromarray(_portrait(2)).resize((300, 300)))
    faces = reader.read_all(wall)
    assert len(faces) == 2 and faces[0].box[2] < 600 < 800 < faces[1].box[0]  # the larger first
    for face in faces:
        followed = reader.read(wall, hint=face)
        assert followed is not None and _off(followed, face.landmarks) < 0.05


def test_a_tilted_face_beside_an_upright_one(reader: MeshReader, portrait: np.ndarray, seen: FaceReading) -> None:
    wall = np.full((700, 1200, 3), 110, np.uint8)
    wall[100:612, 40:552] = portrait
    wall[150:662, 640:1152] = np.asarray(Image.fromarray(portrait).rotate(25, fillcolor=(110, 110, 110)))
    faces = reader.read_all(wall)
    assert len(faces) == 2
    upright, tilted = sorted(faces, key=lambda face: float(face.box[0]))
    assert _off(upright, seen.landmarks + [40, 100]) < 0.05
    assert tilted.pose.roll - upright.pose.roll == pytest.approx(25, abs=5)


def test_no_face(reader: MeshReader) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    stripes = np.zeros((400, 300, 3), np.uint8)
    stripes[::20] = stripes[1::20] = 200
    rows, columns = np.mgrid[:240, :320]
    checks = np.repeat(((rows // 20 + columns // 20) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    for picture in (noise, stripes, checks, np.zeros((64, 64, 3), np.uint8), np.full((1, 5, 3), 255, np.uint8)):
        assert reader.read(picture) is None
        assert reader.read_all(picture) == []


@pytest.mark.parametrize("size", [(303, 384), (384, 303), (331, 331), (257, 999), (40, 701)])
def test_pictures_of_any_shape(reader: MeshReader, portrait: np.ndarray, size: tuple[int, int]) -> None:
    height, width = size
    empty = np.full((height, width, 3), portrait[0, 0], np.uint8)
    assert reader.read_all(empty) == []
    side = min(size)
    if side >= 256:
        empty[-side:, -side:] = np.asarray(Image.fromarray(portrait).resize((side, side)))
        found = reader.read(empty)
        assert found is not None and found.box[0] > width - side and found.box[1] > height - side


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_face_turned_by_quarters(reader: MeshReader, portrait: np.ndarray, seen: FaceReading, quarters: int) -> None:
    found = reader.read(np.ascontiguousarray(np.rot90(portrait, quarters)))
    assert found is not None
    points = seen.landmarks.copy()
    for _ in range(quarters):
        points = np.stack([points[:, 1], 512 - points[:, 0]], 1)
    assert _off(found, points) < 0.05
    turn = HeadPose.from_euler(0, 0, 90 * quarters).matrix() @ seen.pose.matrix()
    assert np.degrees(np.arccos((np.trace(turn.T @ found.pose.matrix()) - 1) / 2)) < 5


def test_tracking_needs_no_detector(
    reader: MeshReader, portrait: np.ndarray, seen: FaceReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = [np.roll(portrait, (2 * i, 3 * i), (0, 1)) for i in range(8)]
    for name in ("near", "further"):
        monkeypatch.setattr(reader._search, name, lambda images, *_: pytest.fail("the detector ran") if images else [])
    track = list(FaceTracker(reader, start=seen).track(clip))
    for index, face in enumerate(track):
        assert face.state == "found" and face.reading is not None
        assert _off(face.reading, seen.landmarks + [3 * index, 2 * index]) < 0.05


@pytest.mark.parametrize("way", [0.3, 0.6, 0.8])
def test_a_face_that_jumps_is_read_where_it_went(
    reader: MeshReader, portrait: np.ndarray, seen: FaceReading, way: float
) -> None:
    """At the rim of the square in which it was expected its points would be off by up to a tenth."""
    eyes = float(np.linalg.norm(seen.landmarks[36] - seen.landmarks[45]))
    shifted = np.roll(portrait, (int(way * eyes / 3), int(way * eyes)), (0, 1))
    followed, fresh = reader.read(shifted, seen), reader.read(shifted)
    assert followed is not None and fresh is not None
    assert np.linalg.norm(followed.landmarks - fresh.landmarks, axis=1).mean() < 0.02 * eyes


def test_a_lost_face_is_searched_for(reader: MeshReader, portrait: np.ndarray, seen: FaceReading) -> None:
    away = np.full((512, 1400, 3), portrait[0, 0], np.uint8)
    away[:, 888:] = portrait
    found = reader.read(away, hint=seen)
    assert found is not None and _off(found, seen.landmarks + [888, 0]) < 0.05
    assert reader.read(np.full((512, 512, 3), 128, np.uint8), hint=seen) is None


def test_a_hint_from_another_reader(reader: MeshReader, portrait: np.ndarray, seen: FaceReading) -> None:
    # as readers of 68 points give it, whose landmarks end at the brows and lie a little elsewhere
    hint = replace(seen, mesh=None, landmarks=seen.landmarks + np.float32(0.05 * _eye_distance(seen)))
    found = reader.read(portrait, hint)
    assert found is not None and _off(found, seen.landmarks) < 0.06


def test_a_batch_is_each_on_its_own(reader: MeshReader, portrait: np.ndarray, seen: FaceReading) -> None:
    images = [portrait, _portrait(2), np.zeros((100, 80, 3), np.uint8), _drawn_face()]
    hints = [seen, None, None, None]
    for together, image, hint in zip(reader.read_batch(images, hints), images, hints, strict=True):
        alone = reader.read(image, hint)
        assert (alone is None) == (together is None)
        if alone is not None and together is not None:
            np.testing.assert_allclose(together.landmarks, alone.landmarks, atol=0.05)
            np.testing.assert_allclose(together.expression, alone.expression, atol=2e-3)
    assert reader.read_batch([]) == []


def test_interpolation_takes_the_mesh_along(seen: FaceReading) -> None:
    assert seen.mesh is not None
    moved = FaceReading(
        seen.box + 10, seen.landmarks + 10, seen.pose, seen.expression, 1.0, seen.pupils, seen.mesh + np.float32(10)
    )
    between = seen.interpolate(moved, 0.3)
    assert between.mesh is not None
    np.testing.assert_allclose(between.mesh, seen.mesh + 3, atol=1e-3)


def test_weighted_suppression() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40]], np.float32)
    (first, first_score), (second, second_score) = _suppress(boxes, np.array([0.6, 0.9, 0.7], np.float32))
    np.testing.assert_allclose(first, [0.6, 0, 10.6, 10], atol=1e-5)
    np.testing.assert_allclose(second, boxes[2])
    assert (first_score, second_score) == pytest.approx((0.9, 0.7))


def test_pose_of_the_canonical_face_itself() -> None:
    """The canonical face, turned and seen by the camera, gives its turn and place back."""
    canonical = CanonicalFace(bundled("face-networks"))
    points = load_file(bundled("face-networks") / "canonical_face.safetensors")["points"].double().numpy()
    turn, place = rotation_matrix(np.array([0.2, -0.4, 0.1])), np.array([4.0, -3.0, -60.0])
    there = points @ turn.T + place
    width, height = 640, 480
    focus = height / 2 / np.tan(np.radians(63 / 2))
    unit = focus / 60  # pixels per centimetre at the head's distance: the mesh's depth is weakly perspective
    mesh = np.stack(
        [
            width / 2 - there[:, 0] / there[:, 2] * focus,
            height / 2 + there[:, 1] / there[:, 2] * focus,
            -(there[:, 2] - place[2]) * unit,
        ],
        1,
    )
    found = canonical.transform(np.concatenate([mesh, np.zeros((10, 3))]), width, height)
    scale = np.linalg.norm(found[:3, 0])
    assert np.degrees(np.arccos((np.trace(found[:3, :3].T @ turn) / scale - 1) / 2)) < 1.0
    assert scale == pytest.approx(1, abs=0.02) and np.abs(found[:3, 3] - place).max() < 1.5


def test_missing_and_damaged_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="short_range_detector"):
        MeshReader(tmp_path)
    for path in bundled("face-networks").glob("*.safetensors"):
        save_file(load_file(path), tmp_path / path.name)
    MeshReader(tmp_path)
    landmarks = tmp_path / "landmarks.safetensors"
    parts = load_file(landmarks)
    first, part = next(iter(parts.items()))
    others = {name: other for name, other in parts.items() if name != first}
    save_file(others | {"mood": part}, landmarks)
    with pytest.raises(WeightsError, match=rf"landmarks.*missing: {re.escape(first)}; unexpected: mood"):
        MeshReader(tmp_path)
    save_file(others | {first: torch.zeros(7, 7, 7)}, landmarks)
    with pytest.raises(WeightsError, match=rf"of another shape: {re.escape(first)}"):
        MeshReader(tmp_path)
    landmarks.write_bytes(landmarks.read_bytes()[:200])
    with pytest.raises(WeightsError, match="landmarks.*cannot be read"):
        MeshReader(tmp_path)
    save_file(parts, landmarks)
    (tmp_path / "canonical_face.safetensors").write_bytes(b"no face")
    with pytest.raises(WeightsError, match="canonical_face"):
        MeshReader(tmp_path)


def test_readings_of_one_picture_agree(reader: MeshReader, portrait: np.ndarray, seen: FaceReading) -> None:
    again = reader.read(portrait)
    assert again is not None
    np.testing.assert_array_equal(again.landmarks, seen.landmarks)
    np.testing.assert_array_equal(again.expression, seen.expression)
