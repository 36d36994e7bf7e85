"""The nano face reader: our own two small networks, in the package, with no dependency beyond torch.

The first network finds faces in the whole picture, the second reads an upright crop around each, and a third looks
closely at the eyes (`eyes`); given the previous frame's reading, the first does not run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from mien.faces.eyes import CloserLook
from mien.faces.networks import as_tensor, load_strictly
from mien.faces.reading import FaceReading, box_overlap, distinct_faces, landmark_bounds
from mien.geometry import HeadPose, TurnedSquare
from mien.geometry.pose import rotation_matrix, rotation_vector
from mien.models.face_reader import FaceReaderConfig, FaceReaderNetwork

BUNDLED = Path(__file__).parents[1] / "weights" / "face_reader"
CROP_SCALE = 1.5  # side of a reading crop over the face's larger extent; the networks were trained with it


@dataclass(frozen=True)
class NanoReaderOptions:
    """When to believe the networks.

    sides: longer sides (pixels, multiples of 32) at which the picture is searched, one after another until a face is
    found. spot: least score of a candidate. face: least confidence of a face; `kept` suffices where one was a frame
    ago. candidates: how many are read at each side.
    """

    sides: tuple[int, ...] = (128, 256, 512)
    spot: float = 0.15
    face: float = 0.6
    kept: float = 0.3
    candidates: int = 6


class NanoReader:
    """`FaceReader` over the bundled networks; no download."""

    name = "nano"

    def __init__(
        self, folder: Path | None = None, device: str = "cpu", options: NanoReaderOptions | None = None
    ) -> None:
        """folder: holds model.safetensors and config.json; None: the bundled weights. Raises WeightsError."""
        self._network = load_network(folder or BUNDLED).to(device)
        self._eyes = CloserLook.load(folder or BUNDLED, device)
        self._device = device
        self._options = options or NanoReaderOptions()

    def read(self, image: np.ndarray, hint: FaceReading | None = None) -> FaceReading | None:
        """See `FaceReader.read`."""
        if hint is not None:
            near = self._read_squares(image, [TurnedSquare.around(hint.landmarks, CROP_SCALE)])[0]
            if near.confidence >= self._options.kept and box_overlap(near.box, hint.box) > 0.2:
                return self._closer(image, [near])[0]
        for found in self._search(image):
            if found and hint is not None:
                return max(found, key=lambda r: box_overlap(r.box, hint.box))
            if found:
                # The most prominent: size decides only between faces that are about as sure.
                return max(found, key=lambda r: r.confidence**2 * math.sqrt(float(r.box[2] - r.box[0])))
        return None

    def read_all(self, image: np.ndarray) -> list[FaceReading]:
        """See `FaceReader.read_all`."""
        return distinct_faces([reading for found in self._search(image) for reading in found])

    def close(self) -> None:
        """Nothing is held that needs freeing."""

    def _search(self, image: np.ndarray) -> Iterator[list[FaceReading]]:
        """The faces found at each side of the picture, coarse to fine."""
        longer = max(image.shape[:2])
        for side in self._options.sides:
            if side > 128 and longer < side / 2:
                return
            candidates = self._candidates(image, side)
            # A second look: the finder's square is rough, the reader's own landmarks give a better one. Off a face the
            # reader dreams up another place each time, so that a face is as sure as its two readings overlap.
            first = self._read_squares(image, [square for square, _ in candidates])
            second = self._read_squares(image, [TurnedSquare.around(r.landmarks, CROP_SCALE) for r in first])
            found = []
            for (_, spot), once, twice in zip(candidates, first, second, strict=True):
                agree = min(1.0, 1.25 * box_overlap(once.box, twice.box)) * min(1.0, 2 * spot) ** 0.5
                sure = agree * math.sqrt(once.confidence * twice.confidence)
                if sure >= self._options.face:
                    found.append(replace(twice, confidence=sure))
            yield self._closer(image, distinct_faces(found))

    def _closer(self, image: np.ndarray, faces: list[FaceReading]) -> list[FaceReading]:
        """The same faces with eyes read from crops of their own, where there are weights for that."""
        if self._eyes is None:
            return faces
        height, width = image.shape[:2]
        seen = []
        refined = self._eyes.refine(image, [face.landmarks for face in faces])
        for face, (points, pupils) in zip(faces, refined, strict=True):
            pose = HeadPose.from_landmarks(face.pose.rotation, points, width, height)
            seen.append(replace(face, box=landmark_bounds(points), landmarks=points, pose=pose, pupils=pupils))
        return seen

    @torch.inference_mode()
    def _candidates(self, image: np.ndarray, side: int) -> list[tuple[TurnedSquare, float]]:
        """Where the finder sees faces, the surest first, each with the finder's score."""
        picture, zoom = _letterbox(image, side)
        found = self._network.finder(as_tensor([picture]).to(self._device))
        score = torch.sigmoid(found.logit)[0]  # [h, w]
        peak = torch.nn.functional.max_pool2d(score[None], 3, 1, 1)[0]
        rows, columns = torch.nonzero((score == peak) & (score > self._options.spot), as_tuple=True)
        order = torch.argsort(score[rows, columns], descending=True)[: self._options.candidates]
        squares = []
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
            x, y = (float(v) / zoom for v in found.centre[0, :, row, column])
            cosine, sine = (float(v) for v in found.turn[0, :, row, column])
            size = CROP_SCALE * float(found.size[0, row, column]) / zoom
            squares.append((TurnedSquare(x, y, size, math.atan2(sine, cosine)), float(score[row, column])))
        return squares

    @torch.inference_mode()
    def _read_squares(self, image: np.ndarray, squares: list[TurnedSquare]) -> list[FaceReading]:
        if not squares:
            return []
        side = self._network.config.side
        found = self._network.reader(as_tensor([s.extract(image, side) for s in squares]).to(self._device))
        sure = torch.sigmoid(found.logit).tolist()
        expressions, angles = found.expression.cpu().numpy(), found.angles.cpu().numpy()
        places = (found.landmarks.cpu().numpy() + 1) * (side / 2)  # [b, 68, 2], pixels of the crops
        height, width = image.shape[:2]
        readings = []
        for index, square in enumerate(squares):
            points = square.points_out(places[index], side)
            pose = HeadPose.from_landmarks(picture_rotation(angles[index], square.roll), points, width, height)
            readings.append(
                FaceReading(landmark_bounds(points), points, pose, expressions[index].copy(), float(sure[index]))
            )
        return readings


def crop_angles(rotation: np.ndarray, roll: float) -> np.ndarray:
    """Yaw, pitch, roll [3] (radians) of a head, axis-angle [3] in the picture, as seen in a square turned by `roll`."""
    turned = rotation_vector(_about_view(roll) @ rotation_matrix(rotation))
    pose = HeadPose(turned, np.zeros(2), 1.0)
    return np.radians([pose.yaw, pose.pitch, pose.roll]).astype(np.float32)


def picture_rotation(angles: np.ndarray, roll: float) -> np.ndarray:
    """The inverse of `crop_angles`: axis-angle [3] in the picture."""
    yaw, pitch, own_roll = (float(a) for a in np.degrees(angles))
    return rotation_vector(_about_view(-roll) @ HeadPose.from_euler(yaw, pitch, own_roll).matrix())


def _about_view(roll: float) -> np.ndarray:
    """Turns clockwise about the view's axis, as a square turned counter-clockwise by `roll` (radians) shows things."""
    c, s = math.cos(roll), math.sin(roll)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def load_network(folder: Path) -> FaceReaderNetwork:
    """The networks of a folder with model.safetensors and config.json, see `load_strictly`."""
    return load_strictly(folder / "model.safetensors", folder / "config.json", FaceReaderConfig, FaceReaderNetwork)


def _letterbox(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The whole picture in the upper left of a grey square [side, side, 3], and the factor it was scaled by."""
    height, width = image.shape[:2]
    zoom = side / max(height, width)
    size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    square = np.full((side, side, 3), 127, np.uint8)
    square[: size[1], : size[0]] = cv2.resize(image, size, interpolation=method)
    return square, zoom
