"""Fitting the head model to a face: where the head is, whose it is, and what it shows.

Recipe: pose first, then bounded least squares over pose, identity and expression with the analytic Jacobian, then a
smooth displacement in the picture that takes the landmarks the rest of the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import FLIP, FOCAL, Doubles, Floats, Placement, project
from mien.avatars.detector import IRISES, LEFT_EYE, RIGHT_EYE, Face, landmark_map
from mien.avatars.head_model import EYEBALLS, HEAD, PUPIL_DISTANCE, HeadModel, HeadShape, gaze_rotation
from mien.avatars.kernels import vertex_normals
from mien.geometry.pose import rotation_matrix

_EXPRESSIONS = 53
_WARP_NODES = 33  # a side of the grid that stores the displacement


@dataclass(frozen=True)
class FitOptions:
    """Weights count against a residual in % of the eye distance.

    Attributes:
        identities: how many identity coefficients.
        identity_weight: of identity, per unit.
        expression_weight: of expression, per unit away from the detector's blendshapes.
        limit: bound of the identity coefficients.
        smoothing: of the thin plate that displaces the landmarks.
    """

    identities: int = 60
    identity_weight: float = 0.6
    expression_weight: float = 6.0
    limit: float = 3.0
    smoothing: float = 3.0


@dataclass(frozen=True, eq=False)
class Fit:
    """A head that fits a face in a square picture.

    Attributes:
        placement: the pose in the picture.
        identity: coefficients [k].
        expression: coefficients [57].
        warp: displacement over the picture [33, 33, 2], parts of its side.
        errors: distances of the landmarks before the warp [n], % of the eye distance.
    """

    placement: Placement
    identity: Floats
    expression: Floats
    warp: Floats
    errors: Floats


def fit_face(model: HeadModel, face: Face, size: int, options: FitOptions | None = None) -> Fit:
    """Fit a face. Deterministic; about 2 s on one core.

    Args:
        model: of the head.
        face: read in a square picture.
        size: side of the picture, pixels.
        options: weights, None for the defaults.
    """
    from scipy.optimize import least_squares

    options = options or FitOptions()
    problem = _Problem(model, face, size, options)
    start = problem.start()
    pose = least_squares(lambda p: problem.residuals(np.concatenate([p, start[6:]])), start[:6], max_nfev=30)
    start[:6] = pose.x
    found = least_squares(
        problem.residuals,
        start,
        jac=problem.jacobian,  # type: ignore[arg-type]
        bounds=problem.bounds(),
        max_nfev=25,
        x_scale="jac",
    ).x
    placement = Placement(rotation_matrix(found[:3]), found[3:6].copy())
    expression = np.zeros(len(model.names), np.float32)
    expression[:_EXPRESSIONS] = np.clip(found[6 + options.identities :], 0, 1)
    identity = found[6 : 6 + options.identities].astype(np.float32)
    errors = np.linalg.norm(problem.predicted(found) - problem.observed, axis=1) * problem.unit
    warp = _residual_warp(model, placement, identity, expression, face, size, options.smoothing)
    return Fit(placement, identity, expression, warp, errors.astype(np.float32))


def fitted_shape(model: HeadModel, fit: Fit) -> HeadShape:
    """The person of a fit: identity coefficients plus the displacement, without expression."""
    shape = model.shape(fit.identity)
    posed = fit.placement.apply(model.posed(shape, fit.expression).astype(np.float64))
    seen = project(posed, 1.0)
    displaced = sample_warp(fit.warp, seen)
    for side, ring in enumerate((LEFT_EYE, RIGHT_EYE)):  # an eyeball stays a ball: it moves with its lids as a whole
        first, last = model.part_range[EYEBALLS[side]]
        displaced[first:last] = sample_warp(fit.warp, landmark_map().on(seen, ring)).mean(0)
    displaced[model.vertex_part == HEAD] *= 0.0
    in_camera = np.column_stack([displaced * posed[:, 2:3] / FOCAL, np.zeros(len(posed))])
    moved = shape.vertices + (in_camera @ (fit.placement.rotation @ FLIP)).astype(np.float32)
    return model.shape_of(moved)


def deepened(model: HeadModel, shape: HeadShape, placement: Placement, gain: float) -> HeadShape:
    """The person with all depths, counted from the eyes along the view, times a gain.

    One frontal photograph does not show how deep a face is, and a prior towards the mean makes it flat: it then turns
    less than it is told. Every point stays on its ray, so that the photograph's own view does not change.

    Args:
        model: of the head.
        shape: of the person.
        placement: of the view.
        gain: of the depths.
    """
    points = placement.apply(shape.vertices.astype(np.float64))
    eyes = float(placement.apply(shape.eye_centres.astype(np.float64))[:, 2].mean())
    factor = (eyes + gain * (points[:, 2] - eyes)) / points[:, 2]
    moved = placement.unapply(points * factor[:, None]).astype(np.float32)
    for side, centre in enumerate(shape.eye_centres):  # eyeballs stay round
        first, last = model.part_range[EYEBALLS[side]]
        there = placement.apply(centre[None].astype(np.float64))
        new = there * ((eyes + gain * (there[:, 2:] - eyes)) / there[:, 2:])
        shift = (placement.unapply(new)[0] - centre).astype(np.float32)
        moved[first:last] = shape.vertices[first:last] + shift
    return model.shape_of(moved)


def sample_warp(warp: Floats, places: NDArray[np.floating]) -> Doubles:
    """The displacement at places; 0 outside the picture.

    Args:
        warp: of a `Fit`.
        places: [n, 2], parts of the picture's side.

    Returns:
        [n, 2], parts of the picture's side.
    """
    grid = np.asarray(places, np.float32) * (_WARP_NODES - 1)
    inside = ((grid >= 0) & (grid <= _WARP_NODES - 1)).all(1)
    columns, rows = grid[:, :1], grid[:, 1:]
    taken = cv2.remap(np.asarray(warp, np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return taken[:, 0].astype(np.float64) * np.asarray(inside)[:, None]


def _residual_warp(
    model: HeadModel,
    placement: Placement,
    identity: Floats,
    expression: Floats,
    face: Face,
    size: int,
    smoothing: float,
) -> Floats:
    """Thin plate through the landmarks' residuals, fading out away from them, on a grid [33, 33, 2]."""
    from scipy.interpolate import RBFInterpolator
    from scipy.spatial import cKDTree

    known = landmark_map()
    points = placement.apply(model.posed(model.shape(identity), expression).astype(np.float64))
    seen = known.on(project(points, size))
    normals = vertex_normals(points.astype(np.float32), model.triangles)
    facing = -normals[known.vertices, 2].mean(1)
    good = known.known & (known.spread < 0.6) & (facing > 0.15)
    _, first = np.unique(np.round(seen[good], 1), axis=0, return_index=True)
    at, missing = seen[good][first], (face.points[: len(seen)] - seen)[good][first]
    plate = RBFInterpolator(at, missing, kernel="thin_plate_spline", smoothing=smoothing)
    line = np.linspace(0, size, _WARP_NODES)
    nodes = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    distance = cKDTree(at).query(nodes)[0]
    near = distance < 0.2 * size
    warp = np.zeros_like(nodes)
    warp[near] = plate(nodes[near]) * np.exp(-((distance[near] / (0.06 * size)) ** 2))[:, None]
    # Far outside its points a plate may run away: nothing moves further than the landmarks themselves do.
    limit = float(np.abs(missing).max())
    return (np.clip(warp, -limit, limit) / size).reshape(_WARP_NODES, _WARP_NODES, 2).astype(np.float32)


class _Problem:
    """The least squares: x = rotation vector [3], offset [3], identity [k], expression [53]."""

    def __init__(self, model: HeadModel, face: Face, size: int, options: FitOptions) -> None:
        known = landmark_map()
        rows = np.flatnonzero(known.known)
        self.observed = face.points[rows]
        self.size, self.options, self.face = size, options, face
        self.unit = 100 / face.eye_distance  # pixels to % of the eye distance
        trust = np.clip(1 / (1 + (known.spread[rows] / 0.15) ** 2), 0.1, 1)
        self._weight = trust * self.unit / np.sqrt(len(rows) / 68)
        self._mean = known.on(model.neutral, rows)
        identity = known.on(model.identity[: options.identities], rows)
        expressions = known.on(model.expressions[:_EXPRESSIONS], rows)
        self._shapes = np.concatenate([identity, expressions])  # [k + 53, n, 3]
        self._prior = model.from_blendshapes(face.blendshapes)[:_EXPRESSIONS].astype(np.float64)

    def start(self) -> Doubles:
        """Frontal, where the nose is, as far as eyes 6.4 cm apart would be, with the detector's expression."""
        depth = 6.4 * FOCAL * self.size * self.unit / 100
        nose = (self.face.points[4] - self.size / 2) / (FOCAL * self.size) * depth
        unknown = np.zeros(self.options.identities)
        return np.concatenate([np.zeros(3), nose, [depth], unknown, np.clip(self._prior, 0, 1)])

    def bounds(self) -> tuple[Doubles, Doubles]:
        """Least and largest x."""
        k = self.options.identities
        low = np.concatenate([np.full(6, -np.inf), np.full(k, -self.options.limit), np.full(_EXPRESSIONS, -0.001)])
        high = np.concatenate([np.full(6, np.inf), np.full(k, self.options.limit), np.full(_EXPRESSIONS, 1.001)])
        return low, high

    def _surface(self, x: Doubles) -> Doubles:
        return self._mean + np.tensordot(x[6:], self._shapes, 1)

    def predicted(self, x: Doubles) -> Doubles:
        """Landmarks [n, 2] in pixels."""
        seen = project(Placement(rotation_matrix(x[:3]), x[3:6]).apply(self._surface(x)), self.size)
        return seen.astype(np.float64)

    def residuals(self, x: Doubles) -> Doubles:
        """Weighted distances, then the two priors."""
        k = self.options.identities
        apart = (self.predicted(x) - self.observed) * self._weight[:, None]
        towards = self.options.expression_weight * (x[6 + k :] - self._prior)
        return np.concatenate([apart.ravel(), self.options.identity_weight * x[6 : 6 + k], towards])

    def jacobian(self, x: Doubles) -> Doubles:
        """Of `residuals`: exact but for the rotation, which is differenced."""
        k, step = self.options.identities, 1e-5
        surface, turn = self._surface(x), rotation_matrix(x[:3]) @ FLIP
        points = surface @ turn.T + x[3:6]
        shapes = self._shapes @ turn.T  # [k + 53, n, 3]
        moves = np.broadcast_to(np.eye(3)[:, None], (3, *points.shape))
        turns = [surface @ (rotation_matrix(x[:3] + step * axis) @ FLIP).T + x[3:6] - points for axis in np.eye(3)]
        change = np.concatenate([np.stack(turns) / step, moves, shapes])  # [6 + k + 53, n, 3]
        z = points[:, 2:3]
        pixels = FOCAL * self.size * (change[..., :2] / z - points[:, :2] * change[..., 2:] / z**2)
        top = (pixels * self._weight[:, None]).reshape(len(change), -1).T
        priors = np.zeros((k + _EXPRESSIONS, len(x)))
        priors[:, 6:] = np.diag(
            np.repeat([self.options.identity_weight, self.options.expression_weight], [k, _EXPRESSIONS])
        )
        return np.concatenate([top, priors])


def fitted_gaze(shape: HeadShape, fit: Fit, face: Face, size: int) -> tuple[Floats, Floats]:
    """Where the eyes look and how large the irises are.

    Args:
        shape: of the person.
        fit: of the face.
        face: as read.
        size: side of the picture, pixels.

    Returns:
        Gaze [2, 2] as `HeadModel.gaze_angles`, and radii [2], degrees.
    """
    from scipy.optimize import least_squares

    gaze, radii = np.zeros((2, 2), np.float32), np.zeros(2, np.float32)
    for side, (centre_point, rim) in enumerate(IRISES):
        centre = shape.eye_centres[side].astype(np.float64)

        def miss(angles: Doubles, centre: Doubles = centre, point: int = centre_point) -> Doubles:
            pupil = centre + PUPIL_DISTANCE * gaze_rotation(float(angles[0]), float(angles[1]))[:, 2]
            seen = project(fit.placement.apply(pupil[None].astype(np.float64)), size)[0]
            return np.concatenate([seen - face.points[point], 0.02 * angles])

        gaze[side] = np.clip(least_squares(miss, np.zeros(2), diff_step=1e-3).x, -35, 35)
        rim_pixels = np.linalg.norm(face.points[rim] - face.points[centre_point], axis=1).mean()
        depth = float(fit.placement.apply(centre[None])[0, 2])
        sine = min(0.6, float(rim_pixels) * depth / (FOCAL * size) / PUPIL_DISTANCE)
        radii[side] = np.clip(np.degrees(np.arcsin(sine)), 18, 28)
    return gaze, radii
