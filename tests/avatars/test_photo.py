from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.avatars.camera import HeadMotion, Placement, project
from mien.avatars.detector import Detector, Face, landmark_map
from mien.avatars.fitting import deepened, fit_face, fitted_shape
from mien.avatars.head_model import HeadModel
from mien.avatars.photo import PhotoAvatar
from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES
from mien.geometry.smooth import push_pull
from mien.media import read_image
from samples import RENDERED


@pytest.fixture(scope="module")
def avatar(model: HeadModel) -> PhotoAvatar:
    with Detector() as detector:
        photo, face, _ = detector.crop(read_image(RENDERED / "portrait_1.png"), 256)
    return PhotoAvatar(model, photo, face, atlas=512)


def test_a_known_head_is_fitted(model: HeadModel) -> None:
    """Landmarks projected from the model itself give back the pose, the expression and the places."""
    known, rng = landmark_map(), np.random.default_rng(0)
    identity = rng.normal(size=20) * 0.7
    expression = model.coefficients(jawOpen=0.4, mouthSmile=0.5)
    turned = Placement(HeadMotion(9, -5, 4).rotation(), np.array([0.5, 1.0, 80.0]))
    points = turned.apply(model.posed(model.shape(identity), expression).astype(np.float64))
    landmarks = project(known.on(points), 512)
    known_blendshapes = {"jawOpen": 0.4, "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5}
    blendshapes = np.array([known_blendshapes.get(name, 0.0) for name in EXPRESSION_NAMES], np.float32)
    face = Face(np.concatenate([landmarks, np.zeros((10, 2))]), blendshapes, np.eye(3))
    fit = fit_face(model, face, 512)
    assert fit.placement.angles() == pytest.approx((9, -5, 4), abs=1.5)
    assert float(fit.errors.mean()) < 0.5
    assert fit.expression[model.index("jawOpen")] == pytest.approx(0.4, abs=0.1)
    placed = project(fit.placement.apply(model.posed(fitted_shape(model, fit), fit.expression)), 512)
    after = np.linalg.norm(known.on(placed) - landmarks, axis=1)[known.known]
    assert float(np.median(after)) < 1.0, "pixels of 512"


def test_depth_is_what_a_photograph_does_not_show(model: HeadModel) -> None:
    rest = Placement(HeadMotion(6, 3, -4).rotation(), np.array([0.5, 1.0, 80.0]))
    shape = model.shape(np.random.default_rng(1).normal(size=20) * 0.5)
    deep = deepened(model, shape, rest, 1.25)
    skin = model.vertex_part < 7
    before, after = (project(rest.apply(s.vertices.astype(np.float64)), 512)[skin] for s in (shape, deep))
    assert after == pytest.approx(before, abs=0.01), "the photograph's own view stays"
    nose, eyes = (s.vertices[model.landmarks[30], 2] - s.eye_centres[:, 2].mean() for s in (shape, deep))
    assert eyes > 1.15 * nose, "the nose stands out more"
    ball = slice(*model.eye_range[0])
    radius = [np.linalg.norm(s.vertices[ball] - s.eye_centres[0], axis=1) for s in (shape, deep)]
    assert radius[0] == pytest.approx(radius[1], abs=1e-3), "eyeballs stay round"
    same = deepened(model, shape, rest, 1.0)
    assert same.vertices == pytest.approx(shape.vertices, abs=1e-4)


def test_at_rest_the_photo_comes_back(avatar: PhotoAvatar) -> None:
    view = avatar.at_rest(128)
    photo = cv2.resize(avatar.photo, (128, 128), interpolation=cv2.INTER_AREA)
    error = float(((view.image / 255.0 - photo / 255.0) ** 2).mean())
    assert -10 * np.log10(error) > 26


def test_expressions_change_what_they_name(model: HeadModel, avatar: PhotoAvatar) -> None:
    neutral = avatar.render(model.coefficients(), HeadMotion(), 128)
    blinked = avatar.render(model.coefficients(eyeBlink=1.0), HeadMotion(), 128)
    change = np.abs(neutral.image.astype(int) - blinked.image).mean(2)
    left, top = neutral.landmarks[36:48].min(0).astype(int) - 3
    right, bottom = neutral.landmarks[36:48].max(0).astype(int) + 3
    inside = change[top:bottom, left:right].mean()
    assert inside > 8 and change[bottom + 8 :].mean() < 1
    gap = blinked.landmarks[[43, 44]] - blinked.landmarks[[47, 46]]
    assert np.abs(gap[:, 1]).max() < 2, "the lids meet, pixels of 128"
    opened = avatar.render(model.coefficients(jawOpen=0.8), HeadMotion(), 128)
    assert opened.landmarks[8, 1] > neutral.landmarks[8, 1] + 3


def test_rendering_leaves_no_trace(model: HeadModel, avatar: PhotoAvatar) -> None:
    first = avatar.render(model.coefficients(), HeadMotion(5), 96).image
    avatar.render(model.coefficients(eyeBlink=1.0, jawOpen=1.0), HeadMotion(-20), 96)
    assert np.array_equal(first, avatar.render(model.coefficients(), HeadMotion(5), 96).image)


def test_the_frame_stands_still(model: HeadModel, avatar: PhotoAvatar) -> None:
    first, second = (avatar.render(model.coefficients(), HeadMotion(yaw), 128).image.astype(int) for yaw in (-15, 15))
    border = np.ones((128, 128), bool)
    border[2:-2, 2:-2] = False
    assert np.abs(first - second).mean(2)[border].mean() < 2


def test_a_picture_without_a_face_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    with Detector() as detector, pytest.raises(InputError, match="no face found"):
        detector.crop(noise)


def test_push_pull_keeps_what_is_known() -> None:
    colour = np.zeros((16, 16, 3), np.float32)
    weight = np.zeros((16, 16), np.float32)
    colour[4:6, 4:6], weight[4:6, 4:6] = 100, 1
    filled = push_pull(colour, weight)
    assert filled[4:6, 4:6] == pytest.approx(np.full((2, 2, 3), 100), abs=1e-3)
    assert filled == pytest.approx(np.full((16, 16, 3), 100), abs=1)
