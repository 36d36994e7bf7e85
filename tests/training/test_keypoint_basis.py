"""How keypoints move with expression scores, found again in heads whose motion is known."""

from __future__ import annotations

import numpy as np

from mien.avatars.camera import FOCAL
from mien.geometry import HeadPose
from mien.geometry.pose import in_half_faces
from mien.training.keypoint_basis import fit_basis, head_shapes


def test_a_basis_is_found_again() -> None:
    rng = np.random.default_rng(0)
    mean, shapes = rng.normal(size=(70, 3)), rng.normal(size=(52, 70, 3))
    blendshapes, person = rng.uniform(size=(600, 52)), np.arange(600) % 6
    own = rng.normal(size=(6, 70, 3)) * 0.01
    own -= own.mean(0)
    seen = mean + own[person] + np.tensordot(blendshapes, shapes, 1)
    got_mean, got = fit_basis(blendshapes, seen, person, 1e-6)
    np.testing.assert_allclose(got, shapes, atol=1e-3)
    np.testing.assert_allclose(got_mean, mean, atol=1e-2)


def test_the_heads_frame_takes_pose_place_size_and_perspective_off() -> None:
    rng, focal = np.random.default_rng(0), FOCAL * 256
    head = in_half_faces(rng.normal(size=(70, 3)))
    rotation = np.stack([HeadPose.from_euler(*rng.uniform(-25, 25, 3)).matrix() for _ in range(5)])
    placed = 60 * (head + [0.3, -0.2, 0.1]) @ rotation.transpose(0, 2, 1)  # [m, 70, 3], pixels
    placed[..., :2] += rng.uniform(-20, 20, (5, 1, 2))
    seen = placed[..., :2] * focal / (focal + placed[..., 2:]) + 128
    meta = {"landmarks": seen[None, :, :68], "depths": placed[None, :, :68, 2], "rotation": rotation}
    meta["pupils"] = np.concatenate([seen, placed[..., 2:]], -1)[None, :, 68:]
    np.testing.assert_allclose(head_shapes(meta)[0], np.tile(head, (5, 1, 1)), atol=1e-6)
