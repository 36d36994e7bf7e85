"""A person from a photograph who can be turned and can show any expression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Floats, HeadMotion, Placement, depths, place, project
from mien.avatars.detector import IRISES, LEFT_EYE, RIGHT_EYE, Face, landmark_map
from mien.avatars.eyes import EYE_SIDE, EyeColours, lid_shadow, paint_eye
from mien.avatars.fitting import Fit, FitOptions, deepened, fit_face, fitted_gaze, fitted_shape
from mien.avatars.head_model import EYE_SOCKETS, EYEBALLS, FACE, GUMS, HEAD, SOCKET, TEETH, HeadModel, HeadShape
from mien.avatars.kernels import vertex_normals
from mien.avatars.lids import Lid, paint_lids
from mien.avatars.photo_background import PhotoBackground, cut_background
from mien.avatars.renderer import Coat, Mesh, look_at, shrink
from mien.avatars.texture import ATLAS, atlas_places, bake, empty_atlas, part_tint
from mien.geometry.smooth import smooth_step

_NARROW_FACE = 6706  # the first vertices are the face without scalp, ears and neck
_FADE = 1.4  # cm from the border of the narrow face over which the mesh fades into the photo
_JAW_TOP = -3.0  # cm: what lies lower on the face belongs to jaw and chin
_GAZE_LIMIT = 38.0
# Pairs of landmarks, upper and lower rim, between which a lid's gap is measured; the subject's left eye first.
_LID_PAIRS = (((386, 374), (385, 380), (387, 373)), ((159, 145), (160, 144), (158, 153)))


@dataclass(frozen=True, eq=False)
class View:
    """One rendered picture with its ground truth.

    Attributes:
        image: uint8 [s, s, 3].
        landmarks: [68, 2], pixels.
        placement: of the head in the camera.
        depths: of the landmarks behind the placement's origin [68], in pixels as long as those in the head's plane.
        pupils: pixels and depth [2, 3], the eye of landmarks 36 to 41 first.
    """

    image: NDArray[np.uint8]
    landmarks: Floats
    placement: Placement
    depths: Floats
    pupils: Floats


@dataclass(frozen=True)
class ExpressionGains:
    """Factors on commanded coefficients, by which people differ.

    Attributes:
        blink: left and right, so that the lids meet at 1.
        jaw: so that an open mouth reads alike on everybody.
    """

    blink: tuple[float, float] = (1.0, 1.0)
    jaw: float = 1.0


class PhotoAvatar:
    """Holds everything that is made once from a photograph; `render` then costs about 10 ms at 256 px."""

    def __init__(
        self,
        model: HeadModel,
        photo: NDArray[np.uint8],
        face: Face,
        fit: Fit | None = None,
        jaw_gain: float = 1.0,
        depth_gain: float = 1.0,
        atlas: int = ATLAS,
    ) -> None:
        """Make what a photograph gives once.

        Args:
            model: of the head.
            photo: uint8 [s, s, 3].
            face: as read in the photo.
            fit: if it was made before.
            jaw_gain: see `ExpressionGains`.
            depth_gain: see `deepened`.
            atlas: side of the texture, texels.
        """
        size = photo.shape[0]
        self.model, self.photo, self.face = model, photo, face
        self.fit = fit or fit_face(model, face, size, FitOptions())
        self.rest, self.expression = self.fit.placement, self.fit.expression
        self.shape = deepened(model, fitted_shape(model, self.fit), self.rest, depth_gain)
        self.gains = ExpressionGains(lid_gains(model, self.shape), jaw_gain)
        self.gaze, self.iris_radii = fitted_gaze(self.shape, self.fit, face, size)
        self._rest_posed = model.posed(self.shape, self.expression, self.gaze)
        self._mesh = Mesh.of(model, (FACE, SOCKET, *EYE_SOCKETS, GUMS, TEETH, *EYEBALLS))
        self._face_triangles = np.ascontiguousarray(model.triangles[model.triangle_part == FACE])
        self._coat, self._lids = self._make_coat(atlas)
        hidden = _underside(model, self.rest.apply(self._rest_posed), self._face_triangles)
        self._opacity = self._coat.tint[:, 3] * (1 - hidden[model.corner_vertex])
        self._edge = _edge(model)
        self._unlit = np.ones((len(model.neutral), 3), np.float32)
        self.background: PhotoBackground = cut_background(model, self.rest, self._rest_posed, photo, face)

    def _make_coat(self, atlas: int) -> tuple[Coat, tuple[Lid, Lid]]:
        model = self.model
        baked = bake(model, self.rest.apply(self._rest_posed), self.photo, self.face, atlas)
        texture = empty_atlas(atlas)
        texture[:atlas] = baked
        skin = _skin_colour(self.photo, self.face)
        brightness = float(np.clip(skin.mean() / 185, 0.25, 1.15))
        iris, sclera = _eye_colours(self.photo, self.face, skin, brightness)
        for side in range(2):
            colours = EyeColours(iris, sclera, float(self.iris_radii[side]), 0.4, 235 * min(brightness, 1.05))
            texture[atlas:, side * EYE_SIDE : (side + 1) * EYE_SIDE] = paint_eye(colours)
        cast = np.clip(skin / (skin.mean() + 1e-3), 0.6, 1.5) ** 0.5
        tint = part_tint(model, brightness, cast)
        if float(np.ptp(self.photo.astype(int), axis=2).mean()) < 6:  # a grey picture has no red gums
            tint[:, :3] = tint[:, :3].mean(1, keepdims=True)
        lid_shadow(model, self.shape, tint)
        tint[:, 3] = _opacity(model)[model.corner_vertex]
        return Coat(atlas_places(model, self.shape, atlas), tint, texture), paint_lids(model, baked)

    def render(
        self,
        expression: Floats,
        motion: HeadMotion,
        size: int = 256,
        supersample: int = 2,
        gaze: NDArray[np.floating] | None = None,
    ) -> View:
        """The person in a motion.

        Args:
            expression: [57]; 0: neutral, whatever the photo shows.
            motion: absolute.
            size: side of the picture, pixels.
            supersample: how much larger it is drawn before it is averaged down.
            gaze: degrees [2, 2] from straight ahead; None: what the expression says.
        """
        return self.render_at(expression, place(self.rest, motion), size, supersample, gaze)

    def at_rest(self, size: int = 256, supersample: int = 2) -> View:
        """The photo's own pose, expression and gaze, rendered.

        Args:
            size: side of the picture, pixels.
            supersample: see `render`.
        """
        return self.render_at(self.expression, self.rest, size, supersample, self.gaze)

    def render_at(
        self,
        expression: Floats,
        placement: Placement,
        size: int,
        supersample: int,
        gaze: NDArray[np.floating] | None = None,
    ) -> View:
        """As `render`, with the head placed by hand.

        Args:
            expression: [57].
            placement: of the head.
            size: side of the picture, pixels.
            supersample: see `render`.
            gaze: see `render`.
        """
        amounts = self.commanded(expression)
        looking = self.model.gaze_angles(amounts) if gaze is None else gaze
        looking = np.clip(looking, -_GAZE_LIMIT, _GAZE_LIMIT)
        posed = self.model.posed(self.shape, amounts, looking)
        points = placement.apply(posed)
        large = size * supersample
        image = self.background.draw(placement, posed - self._rest_posed, large).astype(np.float32)
        for side, lid in enumerate(self._lids):
            lid.write(self._coat.texture, float(expression[self.model.index(f"eyeBlink_{'LR'[side]}")]))
        self._fade_far_side(points)
        look_at(self._mesh, points, large).paint(image, self._coat, self._unlit)
        return make_view(self.model, self.shape, shrink(image, size), points, looking, placement)

    def _fade_far_side(self, points: Floats) -> None:
        """Let the mesh's border go where it is seen edge on: the surroundings show the cheek's far side softer."""
        normals = vertex_normals(points, self._face_triangles)
        ways = points / np.linalg.norm(points, axis=1, keepdims=True)
        facing = smooth_step((-np.einsum("vc,vc->v", normals, ways) - 0.02) / 0.28)
        kept = 1 - self._edge * (1 - facing)
        self._coat.tint[:, 3] = self._opacity * kept[self.model.corner_vertex]

    def commanded(self, expression: Floats) -> Floats:
        """The coefficients that the head gets for an expression: with this person's amplitudes, see `ExpressionGains`.

        Args:
            expression: [57].

        Returns:
            [57].
        """
        amounts = np.array(expression, np.float32)
        for side, gain in zip("LR", self.gains.blink, strict=True):
            row = self.model.index(f"eyeBlink_{side}")
            own = float(self.expression[row])
            # Up to the photo's own blink nothing is scaled, so that the rest pose gives the photo.
            beyond = max(float(amounts[row]) - own, 0.0) / max(1 - own, 0.2)
            amounts[row] += beyond * (gain - 1)
        jaw = self.model.index("jawOpen")
        own = float(self.expression[jaw])
        amounts[jaw] += max(float(amounts[jaw]) - own, 0.0) * (self.gains.jaw - 1)
        return amounts


def make_view(
    model: HeadModel,
    shape: HeadShape,
    image: NDArray[np.uint8],
    points: Floats,
    gaze: NDArray[np.floating],
    placement: Placement,
) -> View:
    """A picture with its ground truth.

    Args:
        model: of the head.
        shape: of the person.
        image: uint8 [s, s, 3].
        points: the mesh in the camera [v, 3], cm.
        gaze: [2, 2], degrees.
        placement: of the head.
    """
    size = len(image)
    marked = points[model.landmarks]
    pupils = placement.apply(model.pupils(shape, gaze))[::-1]  # the subject's right eye is on the picture's left
    seen = np.column_stack([project(pupils, size), depths(pupils, placement, size)])
    return View(image, project(marked, size), placement, depths(marked, placement, size), seen)


def neutral_keypoints(model: HeadModel, shape: HeadShape, placement: Placement, size: int) -> Floats:
    """Where keypoints of a placed head would be with a neutral face.

    Args:
        model: of the head.
        shape: of the person.
        placement: of the head.
        size: side of the picture, pixels.

    Returns:
        68 landmarks and both pupils, the eye of landmarks 36 to 41 first [70, 2], pixels.
    """
    calm = model.coefficients()
    points = placement.apply(model.posed(shape, calm))[model.landmarks]
    pupils = placement.apply(model.pupils(shape, model.gaze_angles(calm)))[::-1]
    return project(np.concatenate([points, pupils]), size).astype(np.float32)


def lid_gains(model: HeadModel, shape: HeadShape) -> tuple[float, float]:
    """The factors on eyeBlink_L and eyeBlink_R at which this person's lids just meet."""
    known, found = landmark_map(), []
    for side, pairs in zip("LR", _LID_PAIRS, strict=True):
        closing = model.expressions[model.index(f"eyeBlink_{side}")].astype(np.float32)
        upper, lower = (np.array(rows) for rows in zip(*pairs, strict=True))
        gap = known.on(shape.vertices, upper)[:, 1] - known.on(shape.vertices, lower)[:, 1]
        closed = gap + (known.on(closing, upper) - known.on(closing, lower))[:, 1]
        gain = (gap + 0.06) / np.maximum(gap - closed, 0.2)
        found.append(float(np.clip(np.median(gain), 0.7, 1.8)))
    return found[0], found[1]


def _skin_colour(photo: NDArray[np.uint8], face: Face) -> NDArray[np.float64]:
    """Median RGB of the cheeks."""
    column, row = np.clip(np.round(face.points[[50, 280, 205, 425]]).astype(int), 0, photo.shape[0] - 1).T
    return np.median(photo[row, column].astype(np.float64), 0)


def _eye_colours(
    photo: NDArray[np.uint8], face: Face, skin: NDArray[np.float64], brightness: float
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """RGB of the irises and of the whites, where the photo shows them."""
    size = photo.shape[0]
    y, x = np.mgrid[0:size, 0:size]
    irises, whites = [], []
    for ring, (centre, rim) in zip((LEFT_EYE, RIGHT_EYE), IRISES, strict=True):
        inside = np.zeros((size, size), np.uint8)
        cv2.fillPoly(inside, [np.round(face.points[ring]).astype(np.int32)], 1)
        radius = np.linalg.norm(face.points[rim] - face.points[centre], axis=1).mean()
        distance = np.hypot(x - face.points[centre, 0], y - face.points[centre, 1]) / radius
        iris = photo[(inside > 0) & (distance > 0.5) & (distance < 0.85)].astype(np.float64)
        white = photo[(inside > 0) & (distance > 1.15)].astype(np.float64)
        if len(iris) > 3:
            irises.append(np.median(iris, 0))
        if len(white) > 5:
            bright = white[white.sum(1) >= np.percentile(white.sum(1), 40)]
            whites.append(np.percentile(bright, 55, axis=0))
    iris_colour = np.mean(irises, 0) if irises else np.array([70.0, 50, 40])
    white_colour = np.mean(whites, 0) if whites else np.array([210.0, 205, 200]) * brightness
    white_colour = np.clip(np.maximum(white_colour, skin * 0.75) * 1.06, 0, 250)
    iris_colour = np.clip(iris_colour * 0.95, 0, 255)
    return _triple(iris_colour), _triple(white_colour)


def _triple(colour: NDArray[np.floating]) -> tuple[float, float, float]:
    return float(colour[0]), float(colour[1]), float(colour[2])


@lru_cache(maxsize=2)
def _border_distance(model: HeadModel) -> Floats:
    """[v] cm on the mean head from the border of the narrow face; 0 outside it."""
    from scipy.spatial import cKDTree

    numbers = np.arange(len(model.neutral))
    narrow = (model.vertex_part == FACE) & (numbers < _NARROW_FACE)
    outside = (model.vertex_part == FACE) & ~narrow
    distance = cKDTree(model.neutral[outside]).query(model.neutral)[0]
    return np.where(narrow, distance, 0).astype(np.float32)


def _opacity(model: HeadModel) -> Floats:
    """[v]: 0 at the border of the narrow face, 1 from 1.4 cm on; eyes and mouth are whole."""
    opacity = smooth_step(_border_distance(model) / _FADE).astype(np.float32)
    opacity[model.vertex_part > HEAD] = 1
    return opacity


def _underside(model: HeadModel, points: Floats, triangles: NDArray[np.int32]) -> Floats:
    """[v] in [0, 1]: how far a part of the jaw was turned away in the photo, whose vertices in the camera are points.

    The photo does not show what is under the chin; the neck that it does show is nearer to it than skin carried on.
    """
    normals = vertex_normals(points, triangles)
    facing = -np.einsum("vc,vc->v", normals, points / np.linalg.norm(points, axis=1, keepdims=True))
    low = smooth_step((_JAW_TOP - model.neutral[:, 1]) / 2) * smooth_step((normals[:, 1] - 0.4) / 0.3)
    low = low * (model.vertex_part == FACE)
    return (low * (1 - smooth_step(facing / 0.3))).astype(np.float32)


def _edge(model: HeadModel) -> Floats:
    """[v]: 1 near the border of the narrow face, 0 from 5 cm on: where seeing the mesh edge on shows a rim."""
    edge = 1 - smooth_step((_border_distance(model) - 1.5) / 3.5)
    return (edge * (model.vertex_part == FACE)).astype(np.float32)
