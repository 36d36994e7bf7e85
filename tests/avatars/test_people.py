from __future__ import annotations

import numpy as np
import pytest

from mien.avatars.camera import HeadMotion, head_pose, project
from mien.avatars.head_model import HeadModel
from mien.avatars.people import PersonTraits, RandomPerson
from mien.avatars.styles import STYLE_NAMES, Degradation, Style

SIZE = 96


@pytest.fixture(scope="module")
def person(model: HeadModel) -> RandomPerson:
    return RandomPerson(model, 7006)


def test_a_seed_is_a_person(model: HeadModel, person: RandomPerson) -> None:
    again = RandomPerson(model, 7006)
    expression, motion = model.coefficients(jawOpen=0.3), HeadMotion(yaw=8)
    first = person.render(expression, motion, SIZE)
    assert np.array_equal(first.image, again.render(expression, motion, SIZE).image)
    other = RandomPerson(model, 7007).render(expression, motion, SIZE)
    assert np.abs(first.image.astype(int) - other.image).mean() > 10


def test_landmarks_are_the_projected_mesh(model: HeadModel, person: RandomPerson) -> None:
    expression = model.coefficients(mouthSmile=0.4)
    view = person.render(expression, HeadMotion(12, -4, 3, (0.02, -0.01), 1.05), SIZE)
    points = view.placement.apply(model.posed(person.shape, expression))[model.landmarks]
    assert view.landmarks == pytest.approx(project(points, SIZE), abs=0.02)
    pose = head_pose(view.placement, view.landmarks, SIZE)
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((12, -4, 3), abs=1e-4)


def test_two_people_of_one_motion_differ_by_their_shape_alone(model: HeadModel, person: RandomPerson) -> None:
    """Cross-identity pairs: but for identity and placement, the landmarks of one motion are the same."""
    other = RandomPerson(model, 7003)
    expression = model.coefficients(jawOpen=0.5, mouthSmile_L=0.6, browInnerUp=0.4)
    left = []
    for who in (person, other):
        placed = who.render(expression, HeadMotion(15, 5, -5), SIZE).placement
        shown = placed.apply(model.posed(who.shape, expression))[model.landmarks]
        neutral = placed.apply(who.shape.vertices)[model.landmarks]
        left.append(shown - neutral)
    assert left[0] == pytest.approx(left[1], abs=1e-3)
    assert np.abs(left[0]).max() > 1, "the expression moves something by more than a centimetre"


def test_shoulders_stay_and_the_head_turns(model: HeadModel, person: RandomPerson) -> None:
    still = person.render(model.coefficients(), HeadMotion(), SIZE).image.astype(int)
    turned = person.render(model.coefficients(), HeadMotion(yaw=20), SIZE).image.astype(int)
    change = np.abs(still - turned).mean(2)
    face = change[SIZE // 3 : SIZE // 2, SIZE // 3 : 2 * SIZE // 3].mean()
    assert change[-3:].mean() < 0.4 * face


def test_traits_vary(model: HeadModel) -> None:
    traits = [PersonTraits.random(np.random.default_rng(seed)) for seed in range(60)]
    assert any(t.hat for t in traits) and any(t.glasses for t in traits) and any(t.face.beard for t in traits)
    assert {t.hair_style for t in traits} >= {0, 1, 2, 3, 4}


def test_the_reader_sees_the_commanded_pose(model: HeadModel, person: RandomPerson) -> None:
    from mien.avatars.detector import Detector

    motions = [HeadMotion(), HeadMotion(yaw=15), HeadMotion(yaw=-15), HeadMotion(pitch=10), HeadMotion(roll=12)]
    with Detector() as detector:
        faces = [detector.read(person.render(model.coefficients(), motion, 256).image) for motion in motions]
    angles = np.array([face.angles() for face in faces if face is not None])
    assert len(angles) == len(motions)
    turned = angles - angles[0]
    assert turned[1:3, 0] == pytest.approx([15, -15], abs=4)
    assert turned[3, 1] == pytest.approx(10, abs=5)
    assert turned[4, 2] == pytest.approx(12, abs=3)


@pytest.mark.parametrize("name", STYLE_NAMES)
def test_styles_change_pictures_and_repeat(name: str, model: HeadModel, person: RandomPerson) -> None:
    image = person.render(model.coefficients(), HeadMotion(), SIZE).image
    style = Style(name, 0.8, 5)  # type: ignore[arg-type]
    changed = style.apply(image)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert np.array_equal(changed, style.apply(image))
    assert (name == "plain") == np.array_equal(changed, image)
    grey = np.ptp(changed.astype(int), axis=2).mean()
    assert grey < 12 if name in ("pencil", "stone") else True


def test_degradation_repeats_by_frame() -> None:
    image = np.full((32, 32, 3), 120, np.uint8)
    poor = Degradation(blur=0.5, noise=6, jpeg=60, seed=1)
    assert np.array_equal(poor.apply(image, 3), poor.apply(image, 3))
    assert not np.array_equal(poor.apply(image, 3), poor.apply(image, 4))
    assert np.array_equal(Degradation().apply(image), image)
