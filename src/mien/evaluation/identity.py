"""Whether two pictures show the same person: cosine of face embeddings, by three networks that are never mixed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import WeightsError

# Eyes, nose tip and mouth corners in the aligned square of face-reidentification-retail-0095, unit square.
_RETAIL_POINTS = np.array(
    [
        [0.31556875, 0.46157411],
        [0.68262292, 0.46157411],
        [0.50026250, 0.64050541],
        [0.34947187, 0.82469196],
        [0.65343646, 0.82469196],
    ]
)
_RETAIL_SIDE = 128
# The same five points in ArcFace's square, pixels, as InsightFace's networks were trained with.
_ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_ARCFACE_SIDE = 112
_SEARCH_SIDES = (320, 640)


class Embedder(Protocol):
    """Turns the face of a picture, uint8 RGB [h, w, 3], into a vector; None if it shows none."""

    def embed(self, image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """The vector; compare by `cosine`."""


def cosine(first: NDArray[np.float64] | None, second: NDArray[np.float64] | None) -> float | None:
    """In [-1, 1]; None if one of the faces was not found."""
    if first is None or second is None:
        return None
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12))


class YuNet:
    """The largest face of a picture, by OpenCV's YuNet."""

    def __init__(self, model: Path) -> None:
        try:
            self._detector = cv2.FaceDetectorYN.create(str(model), "", (320, 320), 0.5)
        except cv2.error as error:
            raise WeightsError(f"{model} is not YuNet: fetch it with mien evaluate weights") from error

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Its row [15] of box, five points (eyes, nose, mouth corners; image left first) and score, in pixels."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        # small squares are enlarged too where that is what it takes to find the face
        for side in (max(image.shape[:2]), *_SEARCH_SIDES):
            zoom = side / max(image.shape[:2])
            size = (round(image.shape[1] * zoom), round(image.shape[0] * zoom))
            self._detector.setInputSize(size)
            found = self._detector.detect(bgr if zoom == 1 else cv2.resize(bgr, size))[1]
            if found is not None:
                row = max(found, key=lambda face: float(face[2] * face[3])).copy()
                row[:14] /= zoom
                return np.asarray(row, np.float32)
        return None


class _OfFoundFace:
    """An embedder of the face that YuNet finds."""

    def __init__(self, yunet: YuNet) -> None:
        self._yunet = yunet

    def embed(self, image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """See `Embedder.embed`."""
        face = self._yunet.find(image)
        return None if face is None else self._of(image, face)

    def _of(self, image: NDArray[np.uint8], face: NDArray[np.float32]) -> NDArray[np.float64]:
        """The vector of a face in a picture. face: its row, see `YuNet.find`."""
        raise NotImplementedError


class Retail(_OfFoundFace):
    """face-reidentification-retail-0095 of Intel's Open Model Zoo, 256 numbers."""

    def __init__(self, yunet: YuNet, model: Path) -> None:
        super().__init__(yunet)
        self._network = _onnx(model)

    def _of(self, image: NDArray[np.uint8], face: NDArray[np.float32]) -> NDArray[np.float64]:
        warp = similarity(face[4:14].reshape(5, 2), _RETAIL_POINTS * _RETAIL_SIDE)
        crop = cv2.warpAffine(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), warp, (_RETAIL_SIDE, _RETAIL_SIDE))
        self._network.setInput(crop.astype(np.float32).transpose(2, 0, 1)[None])
        return np.asarray(self._network.forward().ravel(), np.float64)


class SFace(_OfFoundFace):
    """SFace (Zhong et al. 2021) of OpenCV Zoo, 128 numbers."""

    def __init__(self, yunet: YuNet, model: Path) -> None:
        super().__init__(yunet)
        try:
            self._network = cv2.FaceRecognizerSF.create(str(model), "")
        except cv2.error as error:
            raise WeightsError(f"{model} is not SFace: fetch it with mien evaluate weights") from error

    def _of(self, image: NDArray[np.uint8], face: NDArray[np.float32]) -> NDArray[np.float64]:
        aligned = self._network.alignCrop(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), face)
        return np.asarray(self._network.feature(aligned).ravel(), np.float64)


class ArcFace(_OfFoundFace):
    """ArcFace (Deng et al. 2019), the ResNet-50 w600k_r50.onnx of InsightFace's buffalo_l, 512 numbers.

    Faces are found by YuNet, whose five points InsightFace's template is laid over.
    """

    def __init__(self, yunet: YuNet, model: Path) -> None:
        super().__init__(yunet)
        self._network = _onnx(model)

    def _of(self, image: NDArray[np.uint8], face: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.embed_aligned(aligned_arcface(image, face[4:14].reshape(5, 2)))

    def embed_aligned(self, crop: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Of a face that is aligned already, uint8 RGB [112, 112, 3]."""
        pixels = (crop.astype(np.float32) - 127.5) / 127.5
        self._network.setInput(pixels.transpose(2, 0, 1)[None])
        return np.asarray(self._network.forward().ravel(), np.float64)


def aligned_arcface(image: NDArray[np.uint8], points: NDArray[Any]) -> NDArray[np.uint8]:
    """The square [112, 112, 3] that ArcFace's networks know. points: eyes, nose tip, mouth corners [5, 2], pixels."""
    warp = similarity(points, _ARCFACE_POINTS)
    return np.asarray(cv2.warpAffine(image, warp, (_ARCFACE_SIDE, _ARCFACE_SIDE)), np.uint8)


def similarity(points: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    """The turn, zoom and shift [2, 3] that lays points [n, 2] over targets best (least squares; Umeyama 1991)."""
    one, two = np.asarray(points, np.float64), np.asarray(targets, np.float64)
    first, second = one.mean(0), two.mean(0)
    p, q = one - first, two - second
    left, values, right = np.linalg.svd(q.T @ p)
    sign = np.array([1.0, np.sign(np.linalg.det(left @ right))])
    turn = (left * sign) @ right
    zoom = float((values * sign).sum() / max(float((p**2).sum()), 1e-12))
    return np.c_[zoom * turn, second - zoom * turn @ first]


def _onnx(model: Path) -> Any:
    try:
        return cv2.dnn.readNetFromONNX(str(model))
    except cv2.error as error:
        raise WeightsError(f"{model} cannot be read as an ONNX network: copy it again") from error
