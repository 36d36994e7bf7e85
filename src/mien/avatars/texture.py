"""The atlas that colours a head, and baking a photograph into it.

Rows 0 to side - 1 of an atlas are the face's texture; below lie the two eyes and a white patch, which everything that
is coloured by its tint alone uses.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Floats, project
from mien.avatars.detector import INNER_LIPS, LEFT_EYE, OVAL, RIGHT_EYE, Face
from mien.avatars.eyes import EYE_SIDE, eye_places
from mien.avatars.head_model import EYE_SOCKETS, FACE, GUMS, SOCKET, TEETH, TONGUE, HeadModel, HeadShape
from mien.avatars.kernels import vertex_normals
from mien.avatars.renderer import Fragments, Mesh, look_at, rasterize
from mien.geometry.smooth import push_pull, smooth_step

ATLAS = 1024


def empty_atlas(side: int = ATLAS) -> NDArray[np.uint8]:
    """White, uint8 [side + 160, side, 3]."""
    return np.full((side + EYE_SIDE, side, 3), 255, np.uint8)


def atlas_places(model: HeadModel, shape: HeadShape, side: int = ATLAS) -> Floats:
    """Where every corner lies in an atlas.

    Args:
        model: of the head.
        shape: of the person.
        side: of the atlas, texels.

    Returns:
        Texels [n, 2].
    """
    places = np.tile(np.array([2 * EYE_SIDE + 40, side + 60], np.float32), (len(model.corner_vertex), 1))
    places[:] = np.where((_corner_part(model) == FACE)[:, None], face_texels(model, side), places)
    for eye in range(2):
        mine, texels = eye_places(model, shape, eye)
        places[mine] = texels + np.array([eye * EYE_SIDE, side], np.float32)
    return places


def face_texels(model: HeadModel, side: int) -> Floats:
    """Texture coordinates of all corners, rows downwards; meaningful for the face.

    Args:
        model: of the head.
        side: of the texture, texels.

    Returns:
        Texels [n, 2].
    """
    return np.column_stack([model.corner_uv[:, 0] * side, (1 - model.corner_uv[:, 1]) * side]).astype(np.float32)


def part_tint(model: HeadModel, brightness: float = 1.0, cast: NDArray[np.floating] | None = None) -> Floats:
    """Tint that colours gums, tongue, teeth and sockets, darker inwards; 1 elsewhere.

    Args:
        model: of the head.
        brightness: a factor.
        cast: a factor for RGB [3].

    Returns:
        [n, 4].
    """
    part, depth = _corner_part(model), model.neutral[model.corner_vertex, 2]
    tint = np.ones((len(part), 4), np.float32)
    inward = np.clip((depth - 5.5) / 5.2, 0.05, 1) ** 1.4
    for number, colour, shade in (
        (SOCKET, (120, 48, 44), inward * 0.55),
        (GUMS, (186, 88, 84), inward * 0.9),
        (TEETH, (226, 216, 200), np.clip((depth - 6.4) / 3.8, 0.07, 1)),
        *((socket, (150, 95, 85), np.full(len(depth), 0.5)) for socket in EYE_SOCKETS),
    ):
        mine = part == number
        tint[mine, :3] = np.array(colour) / 255 * brightness * shade[mine, None]
    # Between the teeth one looks at gums further in; as dark as those are, a smile would look like a saw.
    near = (_tooth_nearness(model) * np.clip((depth - 7.5) / 2, 0, 1))[:, None]
    between = np.array([200, 172, 156], np.float32) / 255 * brightness
    tint[:, :3] = np.where((part == GUMS)[:, None], tint[:, :3] * (1 - near) + between * near, tint[:, :3])
    out = _tongue_tip(model)[:, None]  # what can be put out is lit as the lips are
    tint[:, :3] = np.maximum(tint[:, :3], out * np.array([204, 106, 104], np.float32) / 255 * brightness)
    inside = np.isin(part, (SOCKET, GUMS, TEETH, *EYE_SOCKETS))
    if cast is not None:
        tint[inside, :3] *= cast
    return tint


@lru_cache(maxsize=2)
def _tooth_nearness(model: HeadModel) -> Floats:
    """[n]: 1 where a corner touches a tooth, 0 from 0.35 cm on."""
    from scipy.spatial import cKDTree

    teeth = model.neutral[model.vertex_part == TEETH]
    distance = cKDTree(teeth).query(model.neutral)[0][model.corner_vertex]
    return smooth_step(1 - distance / 0.35).astype(np.float32)


def _tongue_tip(model: HeadModel) -> Floats:
    """[n]: 1 at the tip of the tongue, 0 where it stays in the mouth."""
    forward = model.expressions[TONGUE][model.corner_vertex, 2].astype(np.float32)
    return np.asarray(forward / max(float(forward.max()), 1e-6), np.float32)


def _corner_part(model: HeadModel) -> NDArray[np.uint8]:
    return model.vertex_part[model.corner_vertex]


@lru_cache(maxsize=4)
def _texels(model: HeadModel, side: int) -> Fragments:
    """Which triangle of the face every texel [side, side] shows."""
    corners = np.ascontiguousarray(model.corners[model.triangle_part == FACE])
    mesh = Mesh(corners, corners, np.zeros(len(corners), np.uint8))
    return rasterize(mesh, face_texels(model, side), np.ones(len(model.corner_uv)), side, cull=False)


def bake(
    model: HeadModel,
    points: Floats,
    photo: NDArray[np.uint8],
    face: Face,
    side: int = ATLAS,
) -> Floats:
    """The face's texture from a photo.

    A texel takes the photo's colour where the surface faces the camera, is not hidden, and lies inside the face's oval
    but outside eyes and mouth; else its mirror image's, adapted in brightness; else what surrounds it.

    Args:
        model: of the head.
        points: its vertices in the camera [v, 3], cm.
        photo: uint8 [s, s, 3].
        face: as read in the photo.
        side: of the texture, texels.

    Returns:
        [side, side, 3], 0 to 255.
    """
    colour, weight = _evidence(model, points, photo, face, side)
    mirrored, mirrored_weight = np.ascontiguousarray(colour[:, ::-1]), np.ascontiguousarray(weight[:, ::-1])
    both = np.minimum(weight, mirrored_weight)
    gain = (_low(colour * both[..., None], side) + 4 * _low(both, side)[..., None] + 1e-3) / (
        _low(mirrored * both[..., None], side) + 4 * _low(both, side)[..., None] + 1e-3
    )
    mirrored = np.clip(mirrored * np.clip(gain, 0.6, 1.6), 0, 255)
    second = (1 - weight) * mirrored_weight
    total = weight + second
    base = (colour * weight[..., None] + mirrored * second[..., None]) / (total[..., None] + 1e-6)
    return np.clip(push_pull(base.astype(np.float32), np.clip(total, 0, 1).astype(np.float32)), 0, 255)


def _low(values: NDArray[np.floating], side: int) -> Floats:
    """Only what varies slowly over the texture."""
    small = cv2.resize(np.asarray(values, np.float32), (128, 128), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), 7.5), (side, side), interpolation=cv2.INTER_LINEAR)


def _evidence(
    model: HeadModel, points: Floats, photo: NDArray[np.uint8], face: Face, side: int
) -> tuple[Floats, Floats]:
    """The photo's colour at every texel [side, side, 3] and how far it can be trusted [side, side]."""
    size = photo.shape[0]
    normals = vertex_normals(points, model.triangles)
    facing = -(normals * points / np.linalg.norm(points, axis=1, keepdims=True)).sum(1)
    values = np.column_stack([project(points, size), points[:, 2], facing]).astype(np.float32)
    at = _texels(model, side).of_vertices(values[model.corner_vertex])  # [side, side, 4]
    x, y = np.ascontiguousarray(at[..., 0] - 0.5), np.ascontiguousarray(at[..., 1] - 0.5)
    colour = cv2.remap(photo.astype(np.float32), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    front = cv2.remap(look_at(Mesh.of(model), points, size).nearest, x, y, cv2.INTER_NEAREST)
    seen = (at[..., 2] < 1 / np.maximum(front, 1e-6) + 0.35) & _texels(model, side).covered
    inside = ((at[..., :2] > 1) & (at[..., :2] < size - 2)).all(2)
    skin = cv2.remap(_skin_mask(face, size), x, y, cv2.INTER_LINEAR)
    weight = smooth_step((at[..., 3] - 0.17) / 0.35) * skin * seen * inside
    return colour, cv2.erode(weight.astype(np.float32), np.ones((3, 3), np.uint8))


def _skin_mask(face: Face, size: int) -> Floats:
    """[size, size] in [0, 1]: where the photo shows the face's own skin, away from its contour, eyes and open mouth."""
    points = face.points
    holes = np.zeros((size, size), np.uint8)
    for ring in (LEFT_EYE, RIGHT_EYE, INNER_LIPS):
        _fill(holes, points[ring])
    mouth = np.zeros((size, size), np.uint8)
    _fill(mouth, points[INNER_LIPS])
    if float(np.ptp(points[[13, 14], 1])) > 3:  # an open mouth's teeth must not become lips
        mouth = cv2.dilate(mouth, np.ones((7, 7), np.uint8))
    holes = np.maximum(cv2.dilate(holes, np.ones((3, 3), np.uint8)), mouth)
    contour = points[OVAL]
    oval = np.zeros((size, size), np.uint8)
    _fill(oval, contour)
    height = float(np.ptp(contour[:, 1]))
    shrink = max(2, int(0.012 * height))  # else neck, hair and background bleed into the jaw
    inner = cv2.erode(oval, np.ones((2 * shrink + 1, 2 * shrink + 1), np.uint8))
    soft = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), shrink * 0.8)
    temples = float(points[[127, 356], 1].mean())
    above = smooth_step((temples - np.arange(size)) / (0.2 * height))[:, None]  # forehead and fringe stay
    return (np.maximum(soft, above) * (1 - holes)).astype(np.float32)


def _fill(mask: NDArray[np.uint8], polygon: NDArray[np.floating]) -> None:
    cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
