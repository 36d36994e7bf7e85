"""DeX-Portrait nano's animator: the pose moves the head layer, the code decides what is painted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.animation.animator import animator_of
from mien.animation.config import AnimationConfig
from mien.animation.dex_window import DeXWindowAnimator
from mien.animation.driving_motion import Drivers
from mien.animation.face_edit import FaceChange
from mien.animation.person_run import PersonRun
from mien.geometry.face_window import FaceWindow
from mien.geometry.pose import HeadPose
from mien.media import open_clip, write_video
from mien.models.dex_portrait import Motion
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder
from mien.models.dex_portrait.pose import code_of_head_pose
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from samples import DrawnFaceReader, draw_face
from tiny_dex import tiny_dex_window_pipeline
from window_faces import drawn_basis

SIDE, FRAMES = 96, 5
pytestmark = pytest.mark.usefixtures("drawn_person")


@pytest.fixture(scope="module")
def pipe() -> DeXPortraitPipeline:
    return tiny_dex_window_pipeline(drawn_basis())


@pytest.fixture
def animator(pipe: DeXPortraitPipeline) -> DeXWindowAnimator:
    made = animator_of(pipe, DrawnFaceReader())
    assert isinstance(made, DeXWindowAnimator)
    made.set_source([portrait()])
    return made


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two heads that go different ways."""
    folder = tmp_path_factory.mktemp("clips")
    ways = ((0.03, 0.0), (0.0, 0.03))
    return tuple(  # type: ignore[return-value]
        write_video(
            folder / f"{name}.mp4",
            [draw_face(SIDE, SIDE, (0.4 + dx * i, 0.45 + dy * i), 0.25) for i in range(FRAMES)],
            25,
        )
        for name, (dx, dy) in zip("ab", ways, strict=True)
    )


def portrait() -> np.ndarray:
    return draw_face(2 * SIDE, SIDE, (0.5, 0.5), 0.25)


def posed(animator: DeXWindowAnimator, *moves: FaceChange) -> Motion:
    """Poses as the encoder would see them, the portrait's own first, in the portrait's own expression."""
    from mien.models.dex_portrait import Pose

    own = animator.pipe.portrait
    head = Pose.from_code(own.pose).head_pose()
    codes = np.stack([code_of_head_pose(one.moved(head)) for one in (FaceChange(), *moves)])
    return Motion(torch.from_numpy(codes), own.expression.expand(len(codes), -1))


def parts(animator: DeXWindowAnimator, pose: Motion | None, expression: Motion | None, **more: Any) -> Any:
    from mien.animation.dex_portrait import DeXPortraitMotion

    count = len(pose or expression or ())
    motion = DeXPortraitMotion(None, None, count, {}, 0, pose=pose, expression=expression)  # type: ignore[arg-type]
    return animator._part(PersonRun(animator.source.portraits[0], motion, AnimationConfig(**more), lambda _: None))


def test_the_pose_moves_the_head(animator: DeXWindowAnimator) -> None:
    """The eyes' corners go where the pose takes them; a code of which nothing is read moves nothing."""
    driving = posed(animator, FaceChange(x=0.05), FaceChange(roll=20.0), FaceChange(zoom=1.2))
    still, right, rolled, larger = (face.keypoints for face in parts(animator, driving, driving).faces)
    person = animator.source.portraits[0]
    np.testing.assert_allclose(still, animator.mover(person).keypoints, atol=0.05)
    np.testing.assert_allclose(right - still, np.tile([0.05 * person.crop.size, 0], (70, 1)), atol=0.1)
    eyes = [points[45] - points[36] for points in (still, rolled, larger)]
    turn = np.degrees(np.arctan2(eyes[0][1], eyes[0][0]) - np.arctan2(eyes[1][1], eyes[1][0]))
    assert turn == pytest.approx(20, abs=3)  # the head that random encoders see is turned a little as well
    assert np.linalg.norm(eyes[2]) / np.linalg.norm(eyes[0]) == pytest.approx(1.2, abs=0.01)
    other = Motion(driving.pose, torch.randn(4, 16))
    for one, two in zip(parts(animator, driving, other).faces, (still, right, rolled, larger), strict=True):
        np.testing.assert_array_equal(one.keypoints, two)


def test_a_code_moves_the_face_by_what_it_says_beyond_the_portraits_own(
    animator: DeXWindowAnimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first number of a code is read as a jaw that drops, measured in the head's frame."""
    encoder = FaceExpressionEncoder(code=16)
    with torch.no_grad():
        encoder.keypoints.weight[3 * 8 + 1, 0] = 0.2  # the chin's y
        encoder.keypoints.weight[3 * 30, 0] = 0.2  # the nose's x, which only poses move
    monkeypatch.setattr(animator.pipe, "expression_encoder", encoder)
    still = posed(animator, FaceChange(), FaceChange(roll=90.0))
    codes = animator.pipe.portrait.expression.repeat(3, 1)
    codes[1:, 0] += 1.0
    first, down, rolled = (face.keypoints for face in parts(animator, still, Motion(still.pose, codes)).faces)
    plain = [face.keypoints for face in parts(animator, still, still).faces]
    np.testing.assert_array_equal(first, plain[0])
    head = animator.mover(animator.source.portraits[0]).shape.source.pose
    way = 0.2 * head.scale * animator.source.portraits[0].crop.size / 2
    np.testing.assert_allclose((down - plain[1])[8], [0, way], atol=0.1 * way)
    np.testing.assert_allclose(np.delete(down - plain[1], 8, 0), 0, atol=1e-3)
    assert np.linalg.norm((rolled - plain[2])[8]) == pytest.approx(way, rel=0.1)
    assert abs((rolled - plain[2])[8, 0]) > 0.9 * way, "turned with the head"


def test_a_turned_head_turns_in_depth(animator: DeXWindowAnimator) -> None:
    """By a yaw the nose goes further than the corners of the eyes, which lie deeper."""
    basis = drawn_basis()
    basis.mean[:, 2] = 0.0
    basis.mean[30, 2] = -1.0
    shape = type(animator.mover(animator.source.portraits[0]).shape)
    from mien.motion.rigid_head import RigidHead

    own = animator.mover(animator.source.portraits[0]).shape.source
    head = RigidHead(shape(basis, own))
    before, after = head.keypoints(head.own), head.keypoints(FaceChange(yaw=20.0).moved(head.own))
    np.testing.assert_allclose(before, shape(basis, own).keypoints, atol=1e-5)
    way = (after - before)[:, 0]
    assert way[30] > 0.2 * own.pose.scale and way[30] > abs(way[[36, 45]].mean()) + 0.1 * own.pose.scale


def test_expressions_alone_leave_everything_around_the_face_to_the_pixel(
    animator: DeXWindowAnimator, clips: tuple[Path, Path]
) -> None:
    config = AnimationConfig()
    motion = animator.read_driving(Drivers(None, open_clip(clips[0])), config)
    frames, image = list(animator.frames(motion, config)), portrait()
    window = animator.own_window(animator.source.portraits[0])
    grid = np.stack(np.meshgrid(np.arange(2 * SIDE) + 0.5, np.arange(SIDE) + 0.5), -1)
    outside = (np.abs(window.inside(grid)) > 1).any(-1)
    assert len(frames) == FRAMES and outside.any() and not outside.all()
    for frame in frames:
        np.testing.assert_array_equal(frame[outside], image[outside])
    assert any((frame != image).any() for frame in frames), "and the face is painted"


def test_pose_and_expression_come_each_from_its_own_clip(animator: DeXWindowAnimator, clips: tuple[Path, Path]) -> None:
    config = AnimationConfig()
    first, second = (open_clip(clip) for clip in clips)
    both = animator.read_driving(Drivers(first, second), config)
    alone = animator.read_driving(Drivers(first, None), config)
    other = animator.read_driving(Drivers(None, second), config)
    person = animator.source.portraits[0]
    mixed, posed_only, expressed = (
        animator._part(PersonRun(person, motion, config, lambda _: None)) for motion in (both, alone, other)
    )
    for one, two in zip(mixed.faces, posed_only.faces, strict=True):
        np.testing.assert_array_equal(one.keypoints, two.keypoints)
    torch.testing.assert_close(mixed.driven.expression, expressed.driven.expression)
    own = animator.pipe.portrait.expression
    assert (posed_only.driven.expression == own).all() and not torch.equal(expressed.driven.expression[0], own[0])


def test_gains_scale_each_its_own(animator: DeXWindowAnimator) -> None:
    driving = posed(animator, FaceChange(x=0.05))
    expressive = Motion(driving.pose, torch.randn(2, 16))
    half = parts(animator, driving, expressive, pose_gain=0.5, expression_gain=0.5)
    whole = parts(animator, driving, expressive)
    ways = [part.faces[1].keypoints[30, 0] - part.faces[0].keypoints[30, 0] for part in (half, whole)]
    assert ways[0] == pytest.approx(ways[1] / 2, abs=0.1)
    middle = torch.lerp(animator.pipe.portrait.expression, expressive.expression, 0.5)
    torch.testing.assert_close(half.driven.expression, middle)


def test_a_head_in_its_window_has_the_pose_that_the_window_shows() -> None:
    window = FaceWindow(np.array([40.0, 30.0]), np.array([np.cos(0.3), np.sin(0.3)]), 20.0)
    seen = window.head(HeadPose(np.array([0.0, 0.0, 0.3]), np.array([40.0, 30.0]), 16.0))
    np.testing.assert_allclose(seen.rotation, 0, atol=1e-9)
    np.testing.assert_allclose(seen.translation, 0, atol=1e-6)
    assert seen.scale == pytest.approx(0.8)


def test_stills_change_by_sliders_and_by_the_expression_of_others(animator: DeXWindowAnimator) -> None:
    config = animator.resolved(AnimationConfig())
    image = portrait()
    np.testing.assert_array_equal(animator.edited(FaceChange(), None, config), image)
    codes = Motion(torch.zeros(1, 6), torch.randn(1, 16))
    made = [
        animator.edited(FaceChange(jaw=1.0), None, config),
        animator.edited(FaceChange(), codes, config),
        animator.edited(FaceChange(jaw=1.0), codes, config),
        animator.edited(FaceChange(x=0.1), None, config),
    ]
    assert all(one.shape == image.shape and (one != image).any() for one in made)
    assert len({one.tobytes() for one in made}) == len(made)


def test_codes_from_anywhere_give_squares(animator: DeXWindowAnimator) -> None:
    animator._encode(animator.source.portraits[0])
    driving = posed(animator, FaceChange(x=0.1))
    config = animator.resolved(AnimationConfig())
    squares = list(animator.squares_by_codes(driving, None, 2, config))
    side = round(animator.source.portraits[0].crop.size)
    assert [one.shape for one in squares] == [(side, side, 3)] * 2
    assert np.abs(squares[1].astype(int) - squares[0]).max() > 60
