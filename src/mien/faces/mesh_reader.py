"""The face reader of the package: Google's face networks in torch, 478 points, on the CPU or a GPU.

As in MediaPipe's face landmarker, a detector finds faces in the whole picture, the landmark network reads an upright
crop of each, and its points give the blendshapes and the head's pose; given the previous frame's reading, the
detector does not run. Beyond it, small faces are looked for in parts of the picture, and faces that lie on their side.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mien.faces.canonical_face import CanonicalFace
from mien.faces.face_search import FaceSearch, square_around
from mien.faces.networks import for_pictures, load_weights
from mien.faces.reading import FaceReading, box_overlap, distinct_faces, landmark_bounds
from mien.geometry import HeadPose, TurnedSquare
from mien.models.face_networks import BLENDSHAPE_POINTS, BlendshapeNetwork, LandmarkNetwork
from mien.weights import bundled

# iBUG's 68 points among the 478: contour, brows, nose, eyes, outer and inner lips. fmt keeps a group a line.
# fmt: off
LANDMARKS_68 = np.array([
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
])
# fmt: on
PUPILS = np.array([468, 473])  # middles of the irises, the subject's right one first
_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners
_BATCH = 16
_JUMP = 0.25  # distances of the eyes that a face may go from one picture to the next without being looked at twice


@dataclass(frozen=True)
class MeshReaderOptions:
    """When to believe the networks.

    Attributes:
        spot: least score of a detector's candidate, in [0, 1].
        face: least presence of a face that was searched for, in [0, 1].
        kept: least presence of a face that was there a frame ago, in [0, 1].
        candidates: how many of a picture's spots are read at most.
        looks: how often a face that was searched for is read, each time in the square around its own points, as the
            frames after it will be; MediaPipe's image mode looks once.
        steady: how far its points may move at the last look, over the distance of the eyes; where they move further,
            the face may be turned otherwise, and the search goes on.
    """

    spot: float = 0.5
    face: float = 0.5
    kept: float = 0.5
    candidates: int = 24
    looks: int = 3
    steady: float = 0.025


class MeshReader:
    """`FaceReader` over the bundled face networks; no download. Its readings have `mesh` and `pupils`."""

    name = "mesh"

    def __init__(
        self, folder: Path | None = None, device: str = "cpu", options: MeshReaderOptions | None = None
    ) -> None:
        """Load the networks.

        Args:
            folder: Holds the weights (see the model card of `mien/weights/face_networks`); None: those of the package.
            device: A torch device.
            options: When a face counts as one.

        Raises:
            WeightsError: If a file is missing or does not fit.
        """
        folder = folder or bundled("face-networks")
        self._options = options or MeshReaderOptions()
        self._search = FaceSearch(folder, device, self._options.spot)
        landmarks = load_weights(LandmarkNetwork(), folder / "landmarks.safetensors")
        self._landmarks = for_pictures(landmarks, device)
        self._blendshapes = load_weights(BlendshapeNetwork(), folder / "blendshapes.safetensors").to(device)
        self._canonical = CanonicalFace(folder)
        self._device = device

    def read(self, image: NDArray[np.uint8], hint: FaceReading | None = None) -> FaceReading | None:
        """See `FaceReader.read`."""
        return self.read_batch([image], [hint])[0]

    def read_batch(
        self, images: Sequence[NDArray[np.uint8]], hints: Sequence[FaceReading | None] | None = None
    ) -> list[FaceReading | None]:
        """One face of each picture, in as few passes of the networks as possible.

        Args:
            images: RGB, [h, w, 3] uint8 each, any sizes.
            hints: Near which face to look in each; None: for none of them.

        Returns:
            As `read` would give for each.
        """
        hints = hints or [None] * len(images)
        found: list[FaceReading | None] = [None] * len(images)
        known = [index for index, hint in enumerate(hints) if hint is not None]
        squares = [_square_of(hint) for hint in hints if hint is not None]
        for index, near in zip(known, self._read_squares([images[i] for i in known], squares), strict=True):
            hint = hints[index]
            assert hint is not None
            if near.confidence >= self._options.kept and box_overlap(near.box, hint.box) > 0.1:
                found[index] = near
        self._read_jumps(images, hints, found)
        missing = [index for index in range(len(images)) if found[index] is None]
        spots = self._search.near([images[i] for i in missing])
        pairs = [(images[i], spot.square) for i, some in zip(missing, spots, strict=True) for spot in some]
        owners = [i for i, some in zip(missing, spots, strict=True) for _ in some]
        believed = list(zip(owners, self._look_again(pairs), strict=True))
        for index in missing:
            first = [sighting for owner, sighting in believed if owner == index and sighting is not None]
            found[index] = self._choose(images[index], first, hints[index])
        return found

    def _read_jumps(
        self,
        images: Sequence[NDArray[np.uint8]],
        hints: Sequence[FaceReading | None],
        found: list[FaceReading | None],
    ) -> None:
        """Read faces again, in place, that are far from where they were: at the rim of a square points are guessed."""
        jumped = [
            (index, near)
            for index, (near, hint) in enumerate(zip(found, hints, strict=True))
            if near is not None and hint is not None and _move(near, hint) > _JUMP
        ]
        squares = [_square_of(near) for _, near in jumped]
        again = self._read_squares([images[index] for index, _ in jumped], squares)
        for (index, _), closer in zip(jumped, again, strict=True):
            found[index] = closer if closer.confidence >= self._options.kept else None

    def read_all(self, image: NDArray[np.uint8]) -> list[FaceReading]:
        """See `FaceReader.read_all`."""
        found: list[_Sighting] = []
        for spots in itertools.chain(self._search.near([image]), self._search.further(image, thorough=True)):
            # Another look at a face that is read well already brings nothing.
            sure = [sighting.reading.box for sighting in found if sighting.move <= self._options.steady]
            squares = [s.square for s in spots if not any(_inside(s.square.x, s.square.y, box) for box in sure)]
            found += self._believed(image, squares)
        return distinct_faces([sighting.reading for sighting in sorted(found, key=lambda s: s.move)])

    def close(self) -> None:
        """Nothing is held that needs freeing."""

    def _choose(self, image: NDArray[np.uint8], first: list[_Sighting], hint: FaceReading | None) -> FaceReading | None:
        """The face nearest to the hint, else the most prominent: of those seen at once, else by ever closer looks."""
        doubted: list[_Sighting] = []
        levels = (
            self._believed(image, [s.square for s in spots]) for spots in self._search.further(image, hint is None)
        )
        for sightings in itertools.chain([first], levels):
            steady = [sighting.reading for sighting in sightings if sighting.move <= self._options.steady]
            doubted += sightings
            if steady and hint is not None:
                return max(steady, key=lambda r: box_overlap(r.box, hint.box))
            if steady:
                return max(steady, key=lambda r: r.confidence**2 * float(r.box[2] - r.box[0]) ** 0.5)
        return min(doubted, key=lambda s: s.move).reading if doubted else None

    def _believed(self, image: NDArray[np.uint8], squares: list[TurnedSquare]) -> list[_Sighting]:
        """The faces in squares that a detector proposes."""
        pairs = [(image, square) for square in squares[: self._options.candidates]]
        return [sighting for sighting in self._look_again(pairs) if sighting is not None]

    def _look_again(self, pairs: Sequence[tuple[NDArray[np.uint8], TurnedSquare]]) -> list[_Sighting | None]:
        """What is read at the last look into pictures where a detector proposes faces; None if it is no face."""
        images, squares = [image for image, _ in pairs], [square for _, square in pairs]
        readings = self._read_squares(images, squares)
        moves = [0.0] * len(readings)
        for _ in range(self._options.looks - 1):
            again = self._read_squares(images, [_square_of(reading) for reading in readings])
            moves = [_move(one, other) for one, other in zip(readings, again, strict=True)]
            readings = again
        least = self._options.face
        return [
            _Sighting(reading, move) if reading.confidence >= least else None
            for reading, move in zip(readings, moves, strict=True)
        ]

    @torch.inference_mode()
    def _read_squares(self, images: Sequence[NDArray[np.uint8]], squares: Sequence[TurnedSquare]) -> list[FaceReading]:
        """What the networks see in each square, whether or not it is a face."""
        readings: list[FaceReading] = []
        side = LandmarkNetwork.SIDE
        for start in range(0, len(squares), _BATCH):
            pairs = list(zip(images[start : start + _BATCH], squares[start : start + _BATCH], strict=True))
            crops = torch.from_numpy(np.stack([square.extract(image, side) for image, square in pairs]))
            seen = self._landmarks(crops.to(self._device).permute(0, 3, 1, 2).float().div_(255))
            places = seen.points.cpu().numpy()
            meshes = [_mesh_out(square, points) for (_, square), points in zip(pairs, places, strict=True)]
            outputs = zip(
                self._read_blendshapes(meshes),
                seen.presence.sigmoid().tolist(),
                seen.tongue.sigmoid().tolist(),
                strict=True,
            )
            readings += [
                self._reading(image, mesh, blendshapes, confidence, tongue)
                for (image, _), mesh, (blendshapes, confidence, tongue) in zip(pairs, meshes, outputs, strict=True)
            ]
        return readings

    def _read_blendshapes(self, meshes: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Blendshapes [b, 52] in the order of EXPRESSION_NAMES."""
        chosen = np.stack([mesh[list(BLENDSHAPE_POINTS), :2] for mesh in meshes])
        shapes = self._blendshapes(torch.from_numpy(chosen).to(self._device)).cpu().numpy()
        # The network's first score is "_neutral", which nobody needs; ours end with tongueOut, which it lacks.
        return np.concatenate([shapes[:, 1:], np.zeros((len(meshes), 1), np.float32)], 1)

    def _reading(
        self,
        image: NDArray[np.uint8],
        mesh: NDArray[np.float32],
        blendshapes: NDArray[np.float32],
        confidence: float,
        tongue: float,
    ) -> FaceReading:
        height, width = image.shape[:2]
        landmarks = mesh[LANDMARKS_68, :2]
        rotation = HeadPose.from_matrix(self._canonical.transform(mesh, width, height)).rotation
        pose = HeadPose.from_landmarks(rotation, landmarks, width, height)
        box, pupils = landmark_bounds(landmarks), mesh[PUPILS, :2]
        return FaceReading(box, landmarks, pose, blendshapes, confidence, pupils, mesh, tongue)


@dataclass(frozen=True)
class _Sighting:
    """A face that was searched for, and how far its points moved at the last look, over the distance of the eyes."""

    reading: FaceReading
    move: float


def _move(one: FaceReading, other: FaceReading) -> float:
    eyes = np.linalg.norm(one.landmarks[36:42].mean(0) - one.landmarks[42:48].mean(0))
    return float(np.linalg.norm(one.landmarks - other.landmarks, axis=1).mean() / max(float(eyes), 1e-6))


def _mesh_out(square: TurnedSquare, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points [478, 3] of the landmark network's crop in the picture's pixels."""
    side = LandmarkNetwork.SIDE
    flat = square.points_out(points[:, :2], side)
    return np.concatenate([flat, points[:, 2:] * (square.size / side)], 1).astype(np.float32)


def _square_of(reading: FaceReading) -> TurnedSquare:
    """The square in which a face is to be looked for a frame later."""
    if reading.mesh is None:  # from another reader: its landmarks end at the brows
        return TurnedSquare.around(reading.landmarks, 1.7)
    points = reading.mesh[:, :2]
    return square_around(points.min(0), points.max(0), points[_RIGHT_EYE], points[_LEFT_EYE])


def _inside(x: float, y: float, box: NDArray[np.float32]) -> bool:
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])
