"""Cross-identity pairs: two people in one motion differ by their shape and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from mien.avatars.camera import HeadMotion, Placement, project
from mien.avatars.detector import Detector
from mien.avatars.head_model import HeadModel
from mien.avatars.people import RandomPerson
from mien.avatars.photo import PhotoAvatar
from mien.media import read_image
from samples import RENDERED

SIZE = 64
MOTION = HeadMotion(13, 6, -5, (0.02, -0.01), 1.04)
Actor = RandomPerson | PhotoAvatar


@pytest.fixture(scope="module")
def random_people(model: HeadModel) -> list[Actor]:
    return [RandomPerson(model, seed) for seed in (7006, 7003)]


@pytest.fixture(scope="module")
def photo_people(model: HeadModel) -> list[Actor]:
    files = [RENDERED / f"portrait_{number}.png" for number in (1, 2)]
    people: list[Actor] = []
    with Detector() as detector:
        for number, file in enumerate(files):
            photo, face, _ = detector.crop(read_image(file), 256)
            # different amplitudes, as every member of a cast has its own
            people.append(PhotoAvatar(model, photo, face, jaw_gain=1 + 0.2 * number, depth_gain=1.1, atlas=512))
    return people


def in_the_head(model: HeadModel, actor: Actor, placement: Placement, expression: np.ndarray) -> np.ndarray:
    """Landmarks [68, 3] of an expression in the head's own axes, less those of the neutral face: shape removed."""
    shown = placement.apply(model.posed(actor.shape, actor.commanded(expression)).astype(np.float64))
    assert actor.render(expression, MOTION, SIZE).landmarks == pytest.approx(
        project(shown[model.landmarks], SIZE), abs=0.02
    ), "the landmarks that are given are those of the motion"
    return placement.unapply(shown)[model.landmarks] - actor.shape.vertices[model.landmarks]


@pytest.mark.parametrize("kind", ["random_people", "photo_people"])
def test_one_motion_on_two_people_is_the_same_but_for_their_shape(
    kind: str, model: HeadModel, request: pytest.FixtureRequest
) -> None:
    first, second = request.getfixturevalue(kind)
    # what nobody's amplitude is fitted to: lids and jaw are in the next test
    expression = model.coefficients(mouthSmile_L=0.6, browInnerUp=0.5, mouthPucker=0.3, eyeLookOut_L=0.4, cheekPuff=0.3)
    placements = [actor.render(expression, MOTION, SIZE).placement for actor in (first, second)]
    assert np.allclose(placements[0].rotation, placements[1].rotation), "one head pose"
    offsets = [
        in_the_head(model, actor, placement, expression)
        for actor, placement in zip((first, second), placements, strict=True)
    ]
    assert offsets[0] == pytest.approx(offsets[1], abs=2e-4), "centimetres"
    assert np.abs(offsets[0]).max() > 0.5
    shapes = [actor.shape.vertices[model.landmarks] for actor in (first, second)]
    assert np.abs(shapes[0] - shapes[1]).max() > 0.2, "they are not one person"


@pytest.mark.parametrize("kind", ["random_people", "photo_people"])
def test_lids_and_jaws_follow_one_command_in_everyones_own_measure(
    kind: str, model: HeadModel, request: pytest.FixtureRequest
) -> None:
    """Amplitudes of jaw and lids belong to the shape: along one way for all, so far that the lids meet."""
    first, second = request.getfixturevalue(kind)
    for name in ("jawOpen", "eyeBlink_L"):
        ways = []
        for actor in (first, second):
            placement = actor.render(model.coefficients(), MOTION, SIZE).placement
            offset = in_the_head(model, actor, placement, model.coefficients(**{name: 1.0}))
            ways.append((offset - in_the_head(model, actor, placement, model.coefficients())).ravel())
        lengths = [float(np.linalg.norm(way)) for way in ways]
        assert ways[0] @ ways[1] / (lengths[0] * lengths[1]) > 0.999
        assert 0.6 < lengths[0] / lengths[1] < 1.7
