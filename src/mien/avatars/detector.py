"""What building an avatar needs to know of a photograph: 478 points, 52 blendshapes and the head's rotation.

68 points fit a head worse: they overfit its identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Doubles, Floats
from mien.avatars.head_model import HeadModel
from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES
from mien.faces.mesh_reader import MeshReader
from mien.geometry import HeadPose

# fmt: off
LEFT_EYE = np.array([362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382])
RIGHT_EYE = np.array([33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7])
INNER_LIPS = np.array([78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95])
OVAL = np.array([
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
])
# fmt: on
# Iris centre and the four points of its rim, the subject's left eye first (MediaPipe counts the picture's left first).
IRISES = ((473, np.array([474, 475, 476, 477])), (468, np.array([469, 470, 471, 472])))
BROW_TOP, CHIN = 10, 152
_MESH_POINTS = 468  # the others are the irises


@dataclass(frozen=True, eq=False)
class Face:
    """A face as read in a photograph.

    Attributes:
        points: [478, 2], pixels.
        blendshapes: [52] in [0, 1], in EXPRESSION_NAMES' order.
        rotation: [3, 3] as `HeadPose.matrix`.
    """

    points: Doubles
    blendshapes: Floats
    rotation: Doubles

    def blendshape(self, name: str) -> float:
        """One blendshape by its name."""
        return float(self.blendshapes[EXPRESSION_NAMES.index(name)])

    def angles(self) -> tuple[float, float, float]:
        """Yaw, pitch, roll in degrees, by the conventions of `HeadPose`."""
        flip = np.diag([1.0, -1.0, -1.0])
        pose = HeadPose.from_matrix(flip @ self.rotation @ flip)
        return pose.yaw, pose.pitch, pose.roll

    @property
    def eye_distance(self) -> float:
        """Between the middles of the eyes, pixels."""
        right, left = (self.points[list(pair)].mean(0) for pair in ((33, 133), (263, 362)))
        return float(np.linalg.norm(right - left))


class Cut(NamedTuple):
    """A square cut out of a picture, uint8 [s, s, 3]; the face as read in it; its pixels per pixel of the picture."""

    photo: NDArray[np.uint8]
    face: Face
    zoom: float


class Detector:
    """The bundled mesh reader, for one face a picture, on the CPU; a context manager."""

    def __init__(self) -> None:
        self._reader = MeshReader()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free what the reader holds."""
        self._reader.close()

    def read(self, image: NDArray[np.uint8]) -> Face | None:
        """The face of a picture, None if there is none.

        Args:
            image: uint8 [h, w, 3] RGB.
        """
        found = self._reader.read(image)
        if found is None or found.mesh is None:
            return None
        return Face(found.mesh[:, :2].astype(np.float64), found.expression, found.pose.matrix())

    def heights(self, image: NDArray[np.uint8]) -> list[float]:
        """How high the faces of a picture are.

        Args:
            image: uint8 [h, w, 3] RGB.

        Returns:
            Pixels, the largest first.
        """
        meshes = [found.mesh for found in self._reader.read_all(image) if found.mesh is not None]
        return sorted((float(np.ptp(mesh[:, 1])) for mesh in meshes), reverse=True)

    def crop(self, image: NDArray[np.uint8], side: int = 512, margin: float = 1.8) -> Cut:
        """A square around the face and the face as read in it; it stays inside the picture.

        Args:
            image: uint8 [h, w, 3] RGB.
            side: of the result, pixels.
            margin: side of the square over the larger extent of the points.

        Raises:
            InputError: if no face is found, or not found again in the square.
        """
        face = self.read(image)
        if face is not None:
            cut, zoom = _square(image, face.points, side, margin)
            again = self.read(cut)
            height = float(np.ptp(face.points[:, 1])) * zoom
            if (
                again is not None
                and abs(float(again.points[:, 0].mean()) - side / 2) < 0.3 * side
                and 0.6 < float(np.ptp(again.points[:, 1])) / height < 1.6
            ):
                return Cut(cut, again, zoom)
        raise InputError("no face found: use a picture in which both eyes and the mouth can be seen")


def _square(image: NDArray[np.uint8], points: Doubles, side: int, margin: float) -> tuple[NDArray[np.uint8], float]:
    """The square around points [n, 2] as [side, side, 3], and its pixels per pixel of the picture."""
    height, width = image.shape[:2]
    low, high = points.min(0), points.max(0)
    size = min(float((high - low).max()) * margin, width, height)
    x = float(np.clip((low[0] + high[0]) / 2, size / 2, width - size / 2))
    y = float(np.clip((low[1] + high[1]) / 2 - 0.03 * size, size / 2, height - size / 2))
    zoom = side / size
    if zoom < 0.5:  # averages where a plain warp would alias
        image = cv2.resize(image, None, fx=2 * zoom, fy=2 * zoom, interpolation=cv2.INTER_AREA)
        x, y, inner = x * 2 * zoom, y * 2 * zoom, 0.5
    else:
        inner = zoom
    matrix = np.array([[inner, 0, side / 2 - x * inner], [0, inner, side / 2 - y * inner]])
    method = cv2.INTER_AREA if inner < 1 else cv2.INTER_CUBIC
    cut = cv2.warpAffine(image, matrix, (side, side), flags=method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8), zoom


@dataclass(frozen=True, eq=False)
class LandmarkMap:
    """Where MediaPipe's first 468 points lie on the head.

    Made by rendering random people near the front, reading them, and taking the surface under each point; the median
    over people.

    Attributes:
        vertices: of the triangle that each point lies on [468, 3].
        shares: barycentric coordinates in that triangle [468, 3].
        spread: how far a point wandered [468], cm, over the 24 rendered heads from which the map was measured.
        known: whether it was seen at all [468].
    """

    vertices: NDArray[np.int32]
    shares: Doubles
    spread: Doubles
    known: NDArray[np.bool_]

    def on(self, points: NDArray[np.floating], rows: NDArray[np.integer] | slice = slice(None)) -> Doubles:
        """What vertices carry, at the landmarks.

        Args:
            points: values of vertices [v, c], or of shapes [k, v, c].
            rows: which landmarks.

        Returns:
            [n, c], or [k, n, c].
        """
        picked = points[..., self.vertices[rows], :].astype(np.float64)
        return (picked * self.shares[rows][..., None]).sum(-2)

    def on_texture(self, model: HeadModel, rows: NDArray[np.integer]) -> Doubles:
        """Texture coordinates of landmarks on the face.

        Args:
            model: of the head.
            rows: which landmarks.

        Returns:
            [n, 2], v up.
        """
        first_corner = np.zeros(len(model.neutral), np.int64)
        first_corner[model.corner_vertex[::-1]] = np.arange(len(model.corner_vertex))[::-1]
        return self.on(model.corner_uv[first_corner], rows)


@lru_cache(maxsize=1)
def landmark_map() -> LandmarkMap:
    """The map that comes with the package."""
    with np.load(Path(__file__).with_name("landmark_map.npz")) as data:
        shares = data["shares"][:_MESH_POINTS].astype(np.float64)
        spread = data["spread"][:_MESH_POINTS].astype(np.float64)
        return LandmarkMap(data["vertices"][:_MESH_POINTS], shares, spread, shares.sum(1) > 0)
