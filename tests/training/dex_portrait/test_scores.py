"""The encoders' scores, with encoders whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.dex_encoder_scores import (
    EncoderScores,
    Variation,
    load_encoders,
    score_encoders,
    table,
    turned,
    variations,
)

from mien.avatars.head_model import load_head_model
from mien.avatars.pack import PackedCast
from mien.errors import WeightsError
from mien.geometry.pose import rotation_matrix, rotation_vector
from mien.models.dex_portrait import FACE_WINDOW, NANO
from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder, FacePoseEncoder
from mien.models.dex_portrait.networks import expression_encoder, pose_encoder
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.training.data.samples import FaceFrame
from mien.training.engine import checkpoints
from samples import _TEMPLATE, draw_face


def frame(mouth: float, pose: list[float], seed: int) -> FaceFrame:
    picture = draw_face(64, 64, mouth=mouth)
    picture = np.clip(picture.astype(int) + 10 * seed, 0, 255).astype(np.uint8)
    return FaceFrame(picture, (0.5 + 0.25 * _TEMPLATE) * 64, np.array(pose))


def test_encoders_that_know_nothing_are_scored_so() -> None:
    """Poses that never leave the identity are wrong by the ground truth's angle, and leak nothing."""
    torch.manual_seed(0)
    pose = PoseEncoder(32, (1, 1), (8, 16)).eval()
    expression = ExpressionEncoder(32, (8, 8, 16), 2, 6, 16, 0, "group").eval()
    angle = np.radians(12)
    heads = [[0, angle, 0, 0.3, 0.4, 0.4], [0, -angle, 0, 0.3, -0.4, 0.4]]
    variations = [
        Variation(frame(0.2 * i, head, i), frame(0.2 * i, head, i), frame(0.9, head, i)) for i, head in enumerate(heads)
    ]
    scores = score_encoders(pose, expression, variations)
    assert (scores.degrees, scores.place, scores.zoom, scores.leak) == pytest.approx((12, 0.5, 0, 0), abs=1e-3)
    assert scores.turned_away == pytest.approx(1, abs=1e-5)  # the same pictures
    assert scores.turned_in_plane < scores.turned_away
    assert scores.different < 1 - 1e-6


def test_a_turned_picture_takes_its_landmarks_along() -> None:
    """Encoders of upright crops hardly notice, those of the paper do, and places of the face follow."""
    torch.manual_seed(0)
    base = frame(0.3, [0, 0, 0, 0, 0, 0.4], 0)
    there = turned(base, 30)
    middle = base.landmarks.mean(0)
    along = (base.landmarks - middle) @ np.array([[np.cos(np.pi / 6), -np.sin(np.pi / 6)], [0.5, np.cos(np.pi / 6)]])
    np.testing.assert_allclose(there.landmarks - middle, along, atol=1e-3)
    scores = score_encoders(
        FacePoseEncoder().eval(), FaceExpressionEncoder(code=16).eval(), [Variation(base, base, base)]
    )
    assert scores.turned_in_plane > 0.97 and scores.turned_away == pytest.approx(1, abs=1e-5)


def test_a_pose_that_moves_with_the_mouth_is_a_leak() -> None:
    torch.manual_seed(0)
    pose = PoseEncoder(32, (1, 1), (8, 16)).eval()
    torch.nn.init.normal_(pose.head.weight, std=0.1)
    expression = ExpressionEncoder(32, (8, 8, 16), 2, 6, 16, 0, "group").eval()
    head = [0, 0, 0, 0, 0, 0.4]
    base = frame(0.0, head, 0)
    hidden = score_encoders(pose, expression, [Variation(base, base, frame(0.5, head, 0))])
    seen = score_encoders(pose, expression, [Variation(base, base, frame(0.0, head, 6))])  # another light
    assert hidden.leak < 0.2 * seen.leak


def test_encoders_are_found_in_runs_and_folders(tmp_path: Path) -> None:
    pose = PoseEncoder(32, (1, 1), (8, 16))
    expression = ExpressionEncoder(32, (8, 8, 16), 2, 6, 16, 0, "group")
    for folder in (tmp_path / "model", tmp_path / "run" / "export"):
        pose.save_pretrained(folder / "pose_encoder")
        expression.save_pretrained(folder / "expression_encoder")
    for place in (tmp_path / "model", tmp_path / "run"):
        found, _ = load_encoders(place)
        assert torch.equal(found.head.weight, pose.head.weight) and not found.training
    for config in (FACE_WINDOW, NANO):
        both = {"pose_encoder": pose_encoder(config), "expression_encoder": expression_encoder(config)}
        started = {f"{part}.{n}": v for part, one in both.items() for n, v in one.state_dict().items()}
        checkpoints.save(tmp_path / config.name, 1, started, {}, {})
        found, code = load_encoders(tmp_path / config.name)
        assert isinstance(code, type(both["expression_encoder"]))
        assert torch.equal(found.head.weight, both["pose_encoder"].head.weight)
    checkpoints.save(tmp_path / "other", 1, {"unet.weight": torch.zeros(1)}, {}, {})
    with pytest.raises(WeightsError, match="no encoders of nano size"):
        load_encoders(tmp_path / "other")


def test_promises_stand_beside_the_scores() -> None:
    told = table(EncoderScores(3.9, 0.1, 0.1, 0.96, 0.94, 0.3, 1.2))
    assert "| degrees | 3.900 | <= 4 | yes |" in told and "| turned_in_plane | 0.960 | >= 0.97 | no |" in told
    assert "| turned_away | 0.940 | >= 0.93 | yes |" in told and "| leak | 1.200 | <= 1 | no |" in told


def test_people_are_shown_as_they_are_turned_and_with_another_expression(pack: Path) -> None:
    cast = PackedCast(load_head_model(pack), (), ())
    first, second = variations(cast, 2, yaw=20.0)
    assert not np.array_equal(first.base.picture, second.base.picture)
    before, after, mimic = (one.head_pose() for one in (first.base, first.turned, first.mimic))
    turn = rotation_matrix(before[:3]).T @ rotation_matrix(after[:3])
    assert np.degrees(np.linalg.norm(rotation_vector(turn))) == pytest.approx(20, abs=3)
    np.testing.assert_allclose(mimic[:3], before[:3], atol=1e-4)
    assert np.abs(first.mimic.landmarks - first.base.landmarks).max() > 1
