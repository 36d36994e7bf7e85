"""Augmented views for training the nano face reader: crops to read, pictures to find faces in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from mien.faces.nano_reader import CROP_SCALE, crop_angles
from mien.faces.reading import EXPRESSION_NAMES
from mien.geometry import TurnedSquare
from mien.geometry.mirror import MIRROR

VIEW = 128


def _mirrored(name: str) -> str:
    return name.replace("Left", "?").replace("Right", "Left").replace("?", "Right")


MIRROR_EXPRESSION = np.array(
    [
        EXPRESSION_NAMES.index(
            {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}.get(
                name, _mirrored(name)
            )
        )
        for name in EXPRESSION_NAMES
    ]
)


@dataclass(frozen=True)
class Face:
    """A picture [256, 256, 3] uint8 with its labels: landmarks [68, 2] px, rotation [3], expression [52]."""

    picture: np.ndarray
    landmarks: np.ndarray
    rotation: np.ndarray
    expression: np.ndarray

    def mirrored(self) -> Face:
        """The face in a mirror; left and right of the labels change places."""
        points = self.landmarks[MIRROR].copy()
        points[:, 0] = self.picture.shape[1] - points[:, 0]
        # In a mirror that flips x, turns about y and z run the other way.
        rotation = self.rotation * [1, -1, -1]
        picture = np.ascontiguousarray(self.picture[:, ::-1])
        return Face(picture, points, rotation, self.expression[MIRROR_EXPRESSION])


@dataclass(frozen=True)
class CropSample:
    """crop [128, 128, 3] uint8; landmarks [68, 2] in [-1, 1]; angles [3] radians; face: whether there is one."""

    crop: np.ndarray
    landmarks: np.ndarray
    angles: np.ndarray
    expression: np.ndarray
    face: bool


@dataclass(frozen=True)
class ViewSample:
    """view [128, 128, 3] uint8 and its faces [n, 4]: x, y, larger extent in pixels, roll in radians."""

    view: np.ndarray
    faces: np.ndarray


def reading_crop(face: Face, rng: np.random.Generator) -> CropSample:
    """A crop as the finder, or the previous frame, would give it: a little off in place, size and roll."""
    if rng.random() < 0.5:
        face = face.mirrored()
    square = TurnedSquare.around(face.landmarks, CROP_SCALE)
    rough = 1.0 if rng.random() < 0.6 else 2.0
    x, y = np.array([square.x, square.y]) + rng.normal(0, 0.03 * rough, 2) * square.size
    size = square.size * math.exp(rng.normal(0, 0.06 * rough))
    roll = square.roll + rng.normal(0, math.radians(6 * rough))
    square = TurnedSquare(float(x), float(y), size, roll)
    crop = square.extract(face.picture, VIEW)
    points = square.points_in(face.landmarks, VIEW) / (VIEW / 2) - 1
    return CropSample(augment(crop, rng), points, crop_angles(face.rotation, roll), face.expression, True)


def faceless_crop(background: np.ndarray, face: Face | None, rng: np.random.Generator) -> CropSample:
    """What the reader must not take for a face: background, a piece of a face, one far too small, one upside down.

    Without `face` it is always the background [128, 128, 3].
    """
    crop = background if face is None else _spoilt(background, face, rng)
    nothing = np.zeros((68, 2), np.float32)
    return CropSample(augment(crop, rng), nothing, np.zeros(3, np.float32), np.zeros(52, np.float32), False)


def _spoilt(background: np.ndarray, face: Face, rng: np.random.Generator) -> np.ndarray:
    kind = rng.random()
    square = TurnedSquare.around(face.landmarks, CROP_SCALE)
    if kind < 0.25:
        crop = background
    elif kind < 0.6:
        # Hair, neck, clothes and halves of faces, at any size: what a finder takes for a face.
        size = square.size * math.exp(rng.uniform(math.log(0.2), math.log(1.2)))
        angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 0.8) * max(square.size / 1.5, size)
        x, y = square.x + far * math.cos(angle), square.y + far * math.sin(angle)
        roll = square.roll + rng.normal(0, 0.4)
        crop = TurnedSquare(x, y, size, roll).extract(face.picture, VIEW)
    elif kind < 0.75:
        size = square.size * rng.uniform(0.15, 0.35)
        x, y = np.array([square.x, square.y]) + rng.uniform(-0.3, 0.3, 2) * square.size
        crop = TurnedSquare(float(x), float(y), size, square.roll).extract(face.picture, VIEW)
    elif kind < 0.85:
        upside = TurnedSquare(square.x, square.y, square.size, square.roll + math.pi + rng.normal(0, 0.5))
        crop = upside.extract(face.picture, VIEW)
    else:
        small = cv2.resize(square.extract(face.picture, VIEW), (32, 32), interpolation=cv2.INTER_AREA)
        crop = background.copy()
        x, y = (int(v) for v in rng.integers(0, VIEW - 32, 2))
        crop[y : y + 32, x : x + 32] = small
    return crop


def finding_view(faces: list[Face], background: np.ndarray, rng: np.random.Generator) -> ViewSample:
    """A picture with any of `faces` at any place, 10 to 110 % of the view large and rolled by up to 45 degrees."""
    view = background
    placed: list[np.ndarray] = []
    for number, face in enumerate(faces):
        if rng.random() < 0.5:
            face = face.mirrored()
        square = TurnedSquare.around(face.landmarks, 1.0)
        part = math.exp(rng.uniform(math.log(0.1), math.log(1.1 if len(faces) == 1 else 0.5)))
        target_roll = float(np.clip(rng.normal(0, math.radians(20)), -0.9, 0.9))
        extent = max(0.5 - 0.35 * part, 0.12)
        target = 0.5 + rng.uniform(-extent, extent, 2)
        window = _window_for(square, part, target_roll, target)
        layer, mask = _cut_out(face, window, whole=number == 0 and rng.random() < 0.4, rng=rng)
        view = cv2.blendLinear(layer, view, mask, 1 - mask)
        kept = [p for p in placed if np.linalg.norm(p[:2] - target * VIEW) > 0.6 * (p[2] + part * VIEW)]
        placed = [*kept, np.array([*(target * VIEW), part * VIEW, target_roll])]
    return ViewSample(augment(view, rng), np.array(placed, np.float32).reshape(-1, 4))


def _window_for(square: TurnedSquare, part: float, roll: float, target: np.ndarray) -> TurnedSquare:
    """The window on the face's picture in which the face lies at `target` (0..1), `part` large, rolled by `roll`."""
    turn, side = square.roll - roll, square.size / part
    away = (0.5 - target) * side
    c, s = math.cos(turn), math.sin(turn)
    return TurnedSquare(square.x + c * away[0] + s * away[1], square.y - s * away[0] + c * away[1], side, turn)


def _cut_out(face: Face, window: TurnedSquare, whole: bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The face's picture through `window`, and how much of it to lay over what is there [128, 128] in 0..1."""
    layer = window.extract(face.picture, VIEW)
    if whole:
        return layer, np.ones((VIEW, VIEW), np.float32)
    height, width = face.picture.shape[:2]
    points = window.points_in(np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32), VIEW)
    mask = np.zeros((VIEW, VIEW), np.float32)
    cv2.fillConvexPoly(mask, np.round(points).astype(np.int32), 1.0)
    if rng.random() < 0.5:
        # Head and shoulders only: an ellipse over the head, so that a picture's frame is no sign of a face.
        inner = window.points_in(face.landmarks, VIEW)
        centre, extent = inner.mean(0), float(np.ptp(inner, axis=0).max())
        head = np.zeros_like(mask)
        axes = (int(extent * rng.uniform(0.6, 0.9)) + 1, int(extent * rng.uniform(0.75, 1.1)) + 1)
        cv2.ellipse(head, (int(centre[0]), int(centre[1] - 0.1 * extent)), axes, 0, 0, 360, 1.0, -1)
        mask *= head
    soft = rng.uniform(0.4, 3.0)
    return layer, cv2.GaussianBlur(mask, (0, 0), soft)


def augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other light, colours, sharpness, noise, compression and things in front: uint8 [128, 128, 3] in and out."""
    side = image.shape[0]
    if rng.random() < 0.2:
        image = _cover(image, rng)
    if rng.random() < 0.3:
        angle = rng.uniform(0, 2 * math.pi)
        ramp = np.linspace(-1, 1, side, dtype=np.float32)
        light = rng.uniform(0.1, 0.6) * (math.cos(angle) * ramp[None, :] + math.sin(angle) * ramp[:, None])
        light = (1 + light).astype(np.float32)
        image = cv2.multiply(image, cv2.merge([light, light, light]), dtype=cv2.CV_8U)
    if rng.random() < 0.8:
        levels = np.arange(256, dtype=np.float32)[:, None] / 255
        gamma = math.exp(rng.normal(0, 0.3))
        color_jitter = np.exp(rng.normal(0, 0.1, 3))
        table = (levels**gamma - 0.5) * rng.uniform(0.6, 1.3) + 0.5 + rng.normal(0, 0.08)
        image = cv2.LUT(image, np.clip(table * color_jitter * 255, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.3:
        amount = 0.0 if rng.random() < 0.3 else rng.uniform(0.2, 1.7)
        grey = np.tile(np.array([0.299, 0.587, 0.114]), (3, 1))
        image = cv2.transform(image, amount * np.eye(3) + (1 - amount) * grey)
    if rng.random() < 0.3:
        small = int(side * rng.uniform(0.3, 0.8))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
    elif rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.3:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 14))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.25:
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 90))])
        image = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return image


def _cover(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image, side = image.copy(), image.shape[0]
    x, y = (int(v) for v in rng.integers(0, side, 2))
    w, h = (int(v) for v in rng.integers(side // 12, side // 3, 2))
    colour = [int(v) for v in rng.integers(0, 256, 3)]
    if rng.random() < 0.5:
        cv2.ellipse(image, (x, y), (w // 2, h // 2), float(rng.uniform(0, 180)), 0, 360, colour, -1)
    else:
        cv2.rectangle(image, (x - w // 2, y - h // 2), (x + w // 2, y + h // 2), colour, -1)
    return image


def texture(rng: np.random.Generator) -> np.ndarray:
    """A picture of nothing, uint8 [128, 128, 3]: flat, gradients, clouds, stripes, shapes or noise."""
    base = rng.uniform(0, 255, 3).astype(np.float32)
    image = np.tile(base, (VIEW, VIEW, 1))
    ramp = np.linspace(-1, 1, VIEW, dtype=np.float32)
    image += ramp[:, None, None] * rng.normal(0, 40, 3).astype(np.float32)
    kind = rng.random()
    if kind < 0.45:
        for cells in (2, 4, 8, 16, 32):
            noise = rng.normal(0, 70 / cells**0.5, (cells + 1, cells + 1, 3)).astype(np.float32)
            image += cv2.resize(noise, (VIEW, VIEW), interpolation=cv2.INTER_CUBIC)
    elif kind < 0.6:
        angle, period = rng.uniform(0, math.pi), rng.uniform(3, 40)
        wave = np.sin((math.cos(angle) * ramp[None, :] + math.sin(angle) * ramp[:, None]) * VIEW / period * 3)
        image += wave[..., None] * rng.normal(0, 50, 3).astype(np.float32)
    elif kind < 0.7:
        image += rng.normal(0, rng.uniform(5, 60), image.shape).astype(np.float32)
    image = np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(0, 9))):
        colour = [int(v) for v in rng.integers(0, 256, 3)]
        x, y, w, h = (int(v) for v in rng.integers(0, VIEW, 4))
        shape = rng.random()
        if shape < 0.4:
            cv2.ellipse(image, (x, y), (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1)
        elif shape < 0.7:
            cv2.rectangle(image, (x, y), (x + w // 2, y + h // 2), colour, -1)
        else:
            cv2.line(image, (x, y), (w, h), colour, int(rng.integers(1, 9)))
    return image
