"""The explicit pose of DeX-Portrait: the sanity tests of the specification."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mien.geometry import HeadPose
from mien.models.dex_portrait import FACE_WINDOW, FULL, NANO, Gains, Motion, Pose, drive_expression, drive_pose
from mien.models.dex_portrait.driving import limited_motion, limited_pose, smooth_motion
from mien.models.dex_portrait.pose import (
    backward_matrix,
    code_of_head_pose,
    codes_of_head_poses,
    rotation_matrices,
    rotation_vectors,
    sampling_grid,
    warp,
)
from mien.models.dex_portrait.ray_map import ray_map
from mien.models.dex_portrait.reference_warp import to_volume
from mien.motion.motion_limits import MotionLimits


def poses(count: int, seed: int = 0, spread: float = 0.3) -> Pose:
    return Pose.from_code(torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)) * spread)


def test_equal_poses_give_the_volume_back_bit_for_bit() -> None:
    pose, volume = poses(3), torch.randn(3, 4, 8, 16, 16)
    assert torch.equal(warp(volume, sampling_grid(backward_matrix(pose, pose), (8, 16, 16))), volume)


def test_a_pose_times_its_inverse_is_the_identity() -> None:
    pose = poses(5)
    got = pose.matrix() @ pose.inverse_matrix()
    torch.testing.assert_close(got, torch.eye(4).expand(5, 4, 4), atol=1e-6, rtol=0)


def test_the_relative_motion_does_not_depend_on_the_canonical_pose() -> None:
    """(P_d G)(P_s G)^-1 = P_d P_s^-1 for any similarity G."""
    source, driving, gauge = (poses(4, seed).matrix() for seed in range(3))
    got = driving @ gauge @ torch.linalg.inv(source @ gauge)
    want = torch.linalg.inv(torch.cat([backward_matrix(poses(4, 0), poses(4, 1)), torch.eye(4)[3:].expand(4, 1, 4)], 1))
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


def test_features_move_from_the_source_to_the_driving_pose() -> None:
    """A dot at P_s X is found at P_d X after the warp: right and down by 4 cells, and turned by a quarter."""
    volume = torch.zeros(1, 1, 8, 16, 16)
    volume[0, 0, 4, 8, 11] = 1.0
    still = Pose.from_code(torch.zeros(1, 6))
    moved = Pose.from_code(torch.tensor([[0.0, 0, 0, 0.5, 0.25, 0]]))
    got = warp(volume, sampling_grid(backward_matrix(still, moved), (8, 16, 16)))
    assert torch.nonzero(got[0, 0]).tolist() == [[4, 10, 15]]
    quarter = Pose.from_code(torch.tensor([[0.0, 0, torch.pi / 2, 0, 0, 0]]))
    got = warp(volume, sampling_grid(backward_matrix(still, quarter), (8, 16, 16)))
    # (x, y) -> (-y, x): from 3.5 and 0.5 cells off the middle
    assert torch.nonzero(got[0, 0] > 0.9).tolist() == [[4, 11, 7]]
    assert got.sum() == pytest.approx(1, abs=1e-4)


def test_what_comes_from_outside_is_zero() -> None:
    away = Pose.from_code(torch.tensor([[0.0, 0, 0, 3.0, 0, 0]]))
    grid = sampling_grid(backward_matrix(Pose.from_code(torch.zeros(1, 6)), away), (4, 8, 8))
    assert warp(torch.ones(1, 2, 4, 8, 8), grid).abs().sum() == 0


def test_the_pose_is_learned_from_where_it_does_nothing() -> None:
    """Encoders start at the identity; the warp must hand a gradient on there too."""
    code = torch.zeros(1, 6, requires_grad=True)
    still = Pose.from_code(torch.zeros(1, 6))
    volume = torch.randn(1, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    got = warp(volume, sampling_grid(backward_matrix(still, Pose.from_code(code)), (8, 8, 8)))
    (got * torch.randn(got.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert code.grad is not None
    assert (code.grad.abs() > 1e-3).all()


def test_the_ray_map_of_a_pure_translation_is_the_translation() -> None:
    pose = Pose.from_code(torch.tensor([[0.0, 0, 0, 0.3, -0.2, 0]]))
    want = torch.tensor([0.3, -0.2, 0.0])[None, :, None, None].expand(1, 3, 8, 8)
    assert torch.equal(ray_map(pose, 8), want)
    assert ray_map(pose, 8, w=0).abs().max() == 0  # what the printed formula would give


def test_the_ray_map_is_where_the_pose_takes_every_pixel() -> None:
    pose = poses(2)
    u = (torch.arange(4) + 0.5) / 2 - 1
    place = torch.tensor([float(u[3]), float(u[1]), 0, 1])
    want = (pose.matrix() @ place)[:, :3] - place[:3]
    torch.testing.assert_close(ray_map(pose, 4)[:, :, 1, 3], want)


@pytest.mark.parametrize(("config", "latent"), [(FULL, 64), (FULL, 32), (NANO, 32), (FACE_WINDOW, 48)])
def test_tokens_and_volumes_are_the_same_numbers_at_every_level(config: object, latent: int) -> None:
    shapes = set()
    for _, channels, side in config.injection()["places"]:  # type: ignore[attr-defined]
        side = side * latent // config.backbone.latent_size  # type: ignore[attr-defined]
        tokens = torch.arange(side**2 * channels).float().view(1, side**2, channels)
        volume = to_volume(tokens, side)
        shapes.add(tuple(volume.shape[1:]))
        assert torch.equal(volume.flatten(3).flatten(1, 2).transpose(1, 2), tokens)
        # a channel and depth of the volume is one channel of the tokens, laid out as the picture is
        assert torch.equal(volume[0].flatten(0, 1)[3], tokens[0, :, 3].view(side, side))
    if (config, latent) == (FULL, 64):  # the specification's table (4.2)
        assert shapes == {(10, 32, 64, 64), (40, 16, 32, 32), (160, 8, 16, 16), (320, 4, 8, 8)}
    if (config, latent) == (FULL, 32):
        assert shapes == {(20, 16, 32, 32), (80, 8, 16, 16), (320, 4, 8, 8), (640, 2, 4, 4)}
    if config is FACE_WINDOW:  # half of 12 does not divide 128
        assert shapes == {(8, 12, 24, 24), (32, 4, 12, 12)}


def test_rotations_there_and_back() -> None:
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    vectors = vectors * (3 / vectors.norm(dim=1, keepdim=True)).clamp(max=1)  # less than half a turn
    torch.testing.assert_close(rotation_vectors(rotation_matrices(vectors)), vectors, atol=1e-4, rtol=1e-4)
    assert torch.equal(rotation_matrices(torch.zeros(1, 3)), torch.eye(3)[None])


def test_head_poses_are_the_same_poses() -> None:
    head = HeadPose.from_euler(20, -10, 5, (0.1, -0.2), 0.35)
    pose = Pose.from_code(torch.from_numpy(code_of_head_pose(head))[None])
    np.testing.assert_allclose(pose.rotation[0].numpy(), head.matrix(), atol=1e-6)
    back = pose.head_pose()
    assert (back.yaw, back.pitch, back.roll, back.scale) == pytest.approx((20, -10, 5, 0.35), abs=1e-4)
    rows = np.array([[*head.rotation, *head.translation, head.scale]], np.float32)
    np.testing.assert_allclose(codes_of_head_poses(rows), pose.code().numpy(), atol=1e-6)


def angle(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(rotation_vectors(a.transpose(1, 2) @ b).norm(dim=1).max())


def test_absolute_driving_goes_where_the_driver_is() -> None:
    source, driving = poses(1, 1), poses(4, 2)
    got = drive_pose(source, driving, driving[:1], Gains())
    assert torch.equal(got.matrix(), driving.matrix())
    still = drive_pose(source, driving, driving[:1], Gains(pose=0.0))
    torch.testing.assert_close(still.matrix(), source.matrix().expand(4, 4, 4), atol=1e-6, rtol=0)


def test_half_the_gain_is_half_the_way() -> None:
    source, driving = poses(1, 1), poses(4, 2)
    half = drive_pose(source, driving, driving[:1], Gains(pose=0.5))
    whole = angle(source.rotation.expand(4, 3, 3), driving.rotation)
    assert angle(source.rotation.expand(4, 3, 3), half.rotation) == pytest.approx(whole / 2, abs=1e-3)
    torch.testing.assert_close(half.translation, (source.translation + driving.translation) / 2)
    torch.testing.assert_close(half.scale, (source.scale * driving.scale).sqrt())


@pytest.mark.parametrize("gain", [0.5, 1.0])
def test_relative_driving_starts_at_the_portrait_and_moves_as_the_driver(gain: float) -> None:
    source, driving = poses(1, 1), poses(4, 2)
    got = drive_pose(source, driving, driving[1:2], Gains(pose=gain, relative=True))
    torch.testing.assert_close(got.matrix()[1:2], source.matrix(), atol=1e-6, rtol=0)
    if gain == 1:
        for frame in range(4):
            turn = driving.rotation[frame] @ driving.rotation[1].T
            torch.testing.assert_close(got.rotation[frame], turn @ source.rotation[0], atol=1e-6, rtol=0)


def test_relative_driving_of_heads_in_one_place_is_the_product_of_the_poses() -> None:
    """P_i P_0^-1 P_s, as the specification has it (6), where reference and portrait are in the middle."""
    source, driving = poses(1, 1), poses(4, 2)
    source, reference = Pose(source.rotation, torch.zeros(1, 2), source.scale), poses(1, 3)
    reference = Pose(reference.rotation, torch.zeros(1, 2), reference.scale)
    got = drive_pose(source, driving, reference, Gains(relative=True)).matrix()
    want = driving.matrix() @ reference.inverse_matrix() @ source.matrix()
    torch.testing.assert_close(got[:, :3, :3], want[:, :3, :3], atol=1e-5, rtol=1e-5)
    travel = (source.scale / reference.scale)[:, None] * driving.translation
    torch.testing.assert_close(got[:, :2, 3], travel)


def test_expression_gain() -> None:
    own, other = torch.randn(1, 8), torch.randn(3, 8)
    assert torch.equal(drive_expression(own, other, 1.0), other)
    torch.testing.assert_close(drive_expression(own, other, 0.0), own.expand(3, 8))
    torch.testing.assert_close(drive_expression(own, other, 2.0), 2 * other - own)


def test_a_smoothed_motion_keeps_its_course_and_loses_its_jitter() -> None:
    time = torch.arange(40.0)
    course = torch.stack([0.01 * time] * 6, 1)
    rough = course + 0.002 * torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    even = smooth_motion(Motion(rough, rough[:, :4], reference=7))
    assert even.reference == 7 and even.expression.shape == (40, 4)
    assert (even.pose - course)[4:-4].std() < 0.6 * (rough - course).std()
    still = smooth_motion(Motion(course, course))
    assert torch.allclose(still.pose[4:-4], course[4:-4], atol=1e-5)  # no delay
    nod = torch.zeros(9, 6)
    nod[4] = 0.2
    assert torch.allclose(smooth_motion(Motion(nod, nod)).pose[4], nod[4], atol=0.005)  # a frame long, and stays


def test_a_head_is_held_within_reach_and_small_ways_are_left() -> None:
    source = Pose.from_code(torch.tensor([[0.1, 0.0, 0.0, 0.2, -0.1, 0.0]]))
    driven = Pose.from_code(torch.tensor([[0.3, 0.2, 0.1, 0.21, -0.1, 0.01], [0.0, 0.0, 0.0, 1.4, -0.1, 1.0]]))
    held = limited_pose(source, driven, MotionLimits(0.1, 0.15))
    assert torch.equal(held.rotation, driven.rotation)
    assert torch.allclose(held.translation[0], driven.translation[0], atol=1e-4)
    assert float(held.scale[0]) == pytest.approx(float(driven.scale[0]), rel=1e-3)
    assert float(held.translation[1, 0]) == pytest.approx(0.4, abs=1e-3)
    assert float(held.scale[1] / source.scale[0]) == pytest.approx(np.exp(0.15), rel=1e-3)
    roomy = limited_pose(source, driven, MotionLimits(0.1, 0.15, room=(0.0, 0.0, 0.6, 0.0)))
    assert float(roomy.translation[1, 0]) == pytest.approx(0.2 + 1.2 * math.tanh(1.0), abs=1e-3)


def test_absolute_motion_is_brought_as_near_as_reach_allows() -> None:
    source = Pose.from_code(torch.tensor([[0.0, -0.5, 0.0, 0.2, -0.1, 0.0]]))
    codes = torch.tensor([[0.0, 0.1, 0.0, 0.9, 0.5, 0.3], [0.0, 0.4, 0.0, 0.92, 0.5, 0.3]])
    held = Pose.from_code(limited_motion(source, Motion(codes, codes), MotionLimits(0.1, 0.15, 0.1)).pose)
    assert torch.allclose(held.translation[0], source.translation[0], atol=1e-5)  # place counts from the reference
    assert float(held.translation[1, 0]) == pytest.approx(0.2 + 0.02 * np.exp(-0.3), abs=1e-3)
    yaw = rotation_vectors(held.rotation)[:, 1]
    assert float(yaw[0]) == pytest.approx(-0.4, abs=1e-3) and float(yaw[1] - yaw[0]) == pytest.approx(0.3, abs=1e-3)
    free = Pose.from_code(limited_motion(source, Motion(codes, codes), MotionLimits(0.1, 0.15)).pose)
    assert torch.allclose(free.rotation, Pose.from_code(codes).rotation, atol=1e-4)


def test_no_turn_at_all_has_a_finite_gradient() -> None:
    rotation = torch.eye(3)[None].requires_grad_()
    rotation_vectors(rotation).sum().backward()
    assert rotation.grad is not None and bool(rotation.grad.isfinite().all())
