"""What the sliders of an edit mean, as numbers."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from mien.animation.face_edit import SLIDERS, FaceChange, parse_blendshape
from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES
from mien.geometry import HeadPose

OWN = np.full(52, 0.2)


def score(scores: np.ndarray, name: str) -> float:
    return float(scores[EXPRESSION_NAMES.index(name)])


def test_nothing_changes_nothing() -> None:
    change = FaceChange()
    head = HeadPose.from_euler(10, -4, 3, (0.1, -0.05), 0.42)
    assert change.is_nothing
    np.testing.assert_array_equal(change.moved(head).rotation, head.rotation)
    np.testing.assert_array_equal(change.moved(head).translation, head.translation)
    np.testing.assert_array_equal(change.expressed(OWN), OWN)


def test_the_head_turns_from_its_own_pose_and_moves_in_sides_of_the_square() -> None:
    head = HeadPose.from_euler(10, -4, 3, (0.1, -0.05), 0.42)
    got = FaceChange(yaw=20, pitch=-5, x=0.1, y=-0.2, zoom=1.5).moved(head)
    assert (got.yaw, got.pitch, got.roll) == pytest.approx((30, -9, 3), abs=1e-6)
    assert tuple(got.translation) == pytest.approx((0.3, -0.45))  # a side is two half sides
    assert got.scale == pytest.approx(0.63)


@pytest.mark.parametrize("name", SLIDERS)
def test_a_slider_goes_from_one_end_of_a_face_to_the_other(name: str) -> None:
    up, down = SLIDERS[name]
    raised, half, lowered = (FaceChange(**{name: value}).expressed(OWN) for value in (1.0, 0.5, -1.0))
    for shape, weight in up.items():
        assert score(raised, shape) == pytest.approx(0.2 + 0.8 * weight)
        assert score(half, shape) == pytest.approx(0.2 + 0.4 * weight)
        assert score(lowered, shape) == 0
    for shape, weight in down.items():
        assert score(raised, shape) == 0
        assert score(lowered, shape) == pytest.approx(0.2 + 0.8 * weight)
    untouched = [place for place, shape in enumerate(EXPRESSION_NAMES) if shape not in {*up, *down}]
    np.testing.assert_array_equal(raised[untouched], OWN[untouched])


def test_left_and_right_are_the_subjects_own() -> None:
    looking = FaceChange(gaze_x=1.0).expressed(np.zeros(52))  # to the picture's right, which is the subject's left
    assert score(looking, "eyeLookOutLeft") == score(looking, "eyeLookInRight") == 1


def test_named_scores_are_set_as_they_are() -> None:
    change = FaceChange(
        smile=1.0, blendshapes=(parse_blendshape("mouthSmileLeft=0.3"), parse_blendshape("jawOpen = 1"))
    )
    got = change.expressed(OWN)
    assert (score(got, "mouthSmileLeft"), score(got, "mouthSmileRight"), score(got, "jawOpen")) == (0.3, 1, 1)


def test_every_slider_is_a_field_and_has_shapes_that_exist() -> None:
    assert set(SLIDERS) <= {part.name for part in fields(FaceChange)}
    assert {shape for pair in SLIDERS.values() for side in pair for shape in side} <= set(EXPRESSION_NAMES)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"yaw": 91.0}, "--yaw is 91"),
        ({"zoom": 0.0}, "--scale is 0"),
        ({"gaze_x": 1.5}, "--gaze-x is 1.5"),
        ({"smile": float("nan")}, "--smile is nan"),
        ({"blendshapes": (("jawOpened", 0.5),)}, "--blendshape jawOpened is not known"),
        ({"blendshapes": (("jawOpen", 2.0),)}, "--blendshape jawOpen is 2"),
    ],
)
def test_what_makes_no_sense_is_told(wish: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        FaceChange(**wish)  # type: ignore[arg-type]


def test_a_score_must_be_a_name_and_a_number() -> None:
    with pytest.raises(InputError, match="jawOpen=0.5"):
        parse_blendshape("jawOpen")
