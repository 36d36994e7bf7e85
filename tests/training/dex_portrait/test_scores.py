"""The encoders' scores, with encoders whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.dex_encoder_scores import Variation, score_encoders

from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.training.data.samples import FaceFrame
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
