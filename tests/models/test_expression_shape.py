"""The linear reading of expression codes that drives keypoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mien.geometry import HeadPose
from mien.models.dex_portrait.expression_shape import ExpressionShape
from mien.motion.keypoint_motion import FaceMotion, KeypointMotion


def test_codes_stand_where_scores_do() -> None:
    torch.manual_seed(0)
    shape = ExpressionShape(6)
    shape.mean.normal_()
    code = torch.randn(2, 6)
    basis = shape.basis()
    np.testing.assert_allclose(basis.moved(code[1].numpy()), shape(code)[1].detach().numpy(), atol=1e-6)
    face = FaceMotion(np.zeros((68, 2)), HeadPose.identity(), code[0].numpy())
    assert KeypointMotion(basis, face).driven(face).shape == (70, 2)
    assert torch.equal(shape(torch.zeros(1, 6)), torch.zeros(1, 70, 3))


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    shape = ExpressionShape(6)
    shape.mean.fill_(0.5)
    shape.save_pretrained(tmp_path)
    again = ExpressionShape.from_pretrained(tmp_path)
    assert torch.equal(again.mean, shape.mean) and torch.equal(again.read.weight, shape.read.weight)
