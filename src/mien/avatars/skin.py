"""Painted faces: skin, lips, brows, lashes and beard for people who were never photographed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Doubles, Floats
from mien.avatars.head_model import HeadModel
from mien.avatars.texture import face_texels
from mien.geometry.smooth import smooth_step

_UNIT = 1024  # the lengths below are texels of a texture this wide
Colour = tuple[float, float, float]
# fmt: off
SKINS: tuple[Colour, ...] = (
    (236, 196, 172), (222, 176, 146), (198, 148, 116), (160, 112, 82), (112, 74, 54), (82, 54, 42), (244, 210, 190),
    (210, 160, 128),
)
HAIRS: tuple[Colour, ...] = (
    (24, 18, 16), (52, 34, 24), (90, 58, 34), (150, 108, 62), (190, 160, 110), (120, 50, 28), (128, 126, 124),
)
IRISES: tuple[Colour, ...] = ((92, 62, 38), (60, 40, 28), (70, 96, 128), (88, 112, 84), (110, 88, 52), (96, 104, 112))
# fmt: on


@dataclass(frozen=True)
class FaceTraits:
    """What a painted face looks like; amounts in [0, 1].

    Attributes:
        skin: RGB, 0 to 255.
        hair: RGB, 0 to 255.
        lips: RGB, 0 to 255.
        flush: of cheeks, nose and chin.
        eye_shade: around the eyes.
        make_up: how far the lips are coloured.
        brow: height of the brows, texels of a texture 1024 wide.
        beard: density, 0 for none.
        age: wrinkles and blotches.
    """

    skin: Colour
    hair: Colour
    lips: Colour
    flush: float
    eye_shade: float
    make_up: float
    brow: float
    beard: float
    age: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> FaceTraits:
        """Wide on purpose: what varies in training does not matter in the world."""
        skin = np.array(SKINS[rng.integers(len(SKINS))]) * rng.uniform(0.92, 1.05)
        dark = skin.mean() < 120
        hair = HAIRS[rng.integers(2 if dark else len(HAIRS))]
        lips = skin * [0.90, 0.60, 0.60] * rng.uniform(0.85, 1.1) + rng.uniform() ** 2 * np.array([20, -15, -10])
        beard = rng.uniform(0.1, 0.6) if rng.random() < 0.3 else 0.0
        return cls(
            skin=_triple(skin),
            hair=hair,
            lips=_triple(np.clip(lips, 0, 255)),
            flush=rng.uniform(0.6, 1.6),
            eye_shade=rng.uniform(0.2, 0.6),
            make_up=rng.uniform(0.55, 1),
            brow=rng.uniform(5, 13),
            beard=beard,
            age=rng.uniform() ** 2,
        )


def paint_face(model: HeadModel, traits: FaceTraits, rng: np.random.Generator, side: int = 512) -> NDArray[np.uint8]:
    """A face's texture.

    Args:
        model: of the head.
        traits: of the face.
        rng: draws the rest.
        side: of the texture, texels.

    Returns:
        uint8 [side, side, 3].
    """
    canvas = _Canvas(model, side, rng)
    texture = np.ones((side, side, 3), np.float32) * np.array(traits.skin, np.float32)
    layers = ((6, 0.02), (20, 0.015 + 0.02 * traits.age), (90, 0.015 + 0.02 * traits.age), (400, 0.015))
    blotches = np.sum([canvas.noise(cells) * amount for cells, amount in layers], axis=0)
    texture *= (1 + blotches)[..., None]
    texture = _flush(canvas, texture, traits)
    lips = canvas.lip_mask() * traits.make_up
    colour = np.array(traits.lips, np.float32) * (1 + 2 * blotches)[..., None]
    texture = texture * (1 - lips[..., None]) + colour * lips[..., None]
    hair = np.array(traits.hair, np.float32)
    for eye in range(2):
        line = canvas.eye_line(eye)[..., None] * float(rng.uniform(0.45, 0.95))
        texture = texture * (1 - line) + hair * 0.5 * line
        brow = canvas.brow_mask(eye, traits.brow)[..., None] * float(rng.uniform(0.6, 0.95))
        texture = texture * (1 - brow) + hair * brow
    if traits.beard > 0:
        beard = (canvas.beard_mask() * (1 - lips) * traits.beard)[..., None]
        texture = np.asarray(texture * (1 - beard) + hair * beard, np.float32)
    return np.clip(texture, 0, 255).astype(np.uint8)


def _flush(canvas: _Canvas, texture: Floats, traits: FaceTraits) -> Floats:
    marks = canvas.marks
    spots = (
        ((marks[1] + 2 * marks[31]) / 3, (90, 80), 0.16),
        ((marks[15] + 2 * marks[35]) / 3, (90, 80), 0.16),
        (marks[30], (40, 40), 0.12),
        (marks[8], (60, 40), 0.06),
    )
    for centre, spread, amount in spots:
        share = canvas.blob(centre, spread)[..., None] * amount * traits.flush
        texture = texture * (1 - share) + texture * np.array([1.05, 0.80, 0.78], np.float32) * share
    for eye in (slice(36, 42), slice(42, 48)):
        centre = marks[eye].mean(0) + [0, 6 * canvas.scale]
        share = canvas.blob(centre, (62, 36))[..., None] * traits.eye_shade
        texture = texture * (1 - share) + texture * np.array([0.78, 0.72, 0.74], np.float32) * share
    return texture


class _Canvas:
    """Masks [side, side] in [0, 1] of the parts of a face, placed by the landmarks' texels."""

    def __init__(self, model: HeadModel, side: int, rng: np.random.Generator) -> None:
        texels = face_texels(model, side)
        first = [int(np.argmax(model.corner_vertex == vertex)) for vertex in model.landmarks]
        self.marks: Doubles = texels[first].astype(np.float64)
        self.side, self.scale, self._rng = side, side / _UNIT, rng

    def noise(self, cells: int) -> Floats:
        """Smooth normal noise with so many cells a side."""
        small = self._rng.normal(size=(cells, cells)).astype(np.float32)
        return cv2.resize(small, (self.side, self.side), interpolation=cv2.INTER_CUBIC)

    def blob(self, centre: Doubles, spread: tuple[float, float]) -> Floats:
        """A soft spot."""
        y, x = np.mgrid[0 : self.side, 0 : self.side].astype(np.float32)
        dx, dy = (x - centre[0]) / (spread[0] * self.scale), (y - centre[1]) / (spread[1] * self.scale)
        return np.exp(-(dx * dx + dy * dy)).astype(np.float32)

    def lip_mask(self) -> Floats:
        """Between the outer contour of the lips and the mouth."""
        closing = np.concatenate([self.marks[54:60], self.marks[48:49]])
        outer = np.concatenate([curve(self.marks[48:55]), curve(closing)])
        return self._filled(outer, 4.0)

    def eye_line(self, eye: int) -> Floats:
        """Lashes around an open eye; 0 is at the picture's left."""
        ring = self.marks[36 + 6 * eye : 42 + 6 * eye]
        line = self._blank()
        width = max(1, round(5 * self.scale))
        cv2.polylines(line, [_fixed(np.concatenate([ring, ring[:1]]))], False, 1.0, width, cv2.LINE_AA, 4)
        return cv2.GaussianBlur(line, (0, 0), 1.6 * self.scale + 0.3)

    def brow_mask(self, eye: int, height: float) -> Floats:
        """Single hairs along the brow, slanted outwards."""
        line, rng, scale = curve(self.marks[17 + 5 * eye : 22 + 5 * eye], 60), self._rng, self.scale
        mask = self._blank()
        for step, (x, y) in enumerate(line):
            inwards = step / 59 if eye == 0 else 1 - step / 59
            narrow = float(np.clip(1.15 - 0.4 * abs(2 * inwards - 1), 0.4, 1))
            for _ in range(14):
                slant = np.radians(rng.uniform(-12, 12) + (-25 - 50 * inwards if eye == 0 else -155 + 50 * inwards))
                start = np.array([x + rng.uniform(-4, 4) * scale, y + rng.normal() * height * 0.45 * narrow * scale])
                length = rng.uniform(8, 15) * scale
                end = start + length * np.array([np.cos(slant), np.sin(slant) * 0.5])
                first, last = _fixed(np.stack([start, end]))
                cv2.line(mask, first.tolist(), last.tolist(), 1.0, 1, cv2.LINE_AA, 4)
        return np.clip(cv2.GaussianBlur(mask, (0, 0), 0.6 + 0.6 * scale), 0, 1)

    def beard_mask(self) -> Floats:
        """From ear to ear below the nose, uneven."""
        upper = self.marks[[35, 33, 31]] + [0, 14 * self.scale]
        area = self._filled(np.concatenate([curve(self.marks[3:14], 60), upper]), 18)
        return area * np.clip(0.8 + 0.5 * self.noise(500), 0, 1)

    def _blank(self) -> Floats:
        return np.zeros((self.side, self.side), np.float32)

    def _filled(self, polygon: Doubles, blur: float) -> Floats:
        mask = self._blank()
        cv2.fillPoly(mask, [_fixed(polygon)], 1.0, cv2.LINE_AA, 4)
        return cv2.GaussianBlur(mask, (0, 0), blur * self.scale)


def curve(points: Doubles, count: int = 40) -> Doubles:
    """Points on a smooth line.

    Args:
        points: through which it goes [n, 2].
        count: how many.

    Returns:
        [count, 2].
    """
    from scipy.interpolate import make_interp_spline

    spline = make_interp_spline(np.linspace(0, 1, len(points)), points, k=min(3, len(points) - 1))
    return np.asarray(spline(np.linspace(0, 1, count)), np.float64)


def _fixed(points: Doubles) -> NDArray[np.int32]:
    return np.round(points * 16).astype(np.int32)


def _triple(colour: NDArray[np.floating]) -> Colour:
    return float(colour[0]), float(colour[1]), float(colour[2])


def random_background(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A blurred room of nothing in particular: gradients, boxes, grain.

    Args:
        rng: draws it.
        side: pixels.

    Returns:
        uint8 [side, side, 3].
    """
    corners = [rng.uniform(20, 235, 3) for _ in range(3)]
    y, x = np.mgrid[0:side, 0:side] / side
    image = (corners[0] * (1 - x)[..., None] + corners[1] * x[..., None]) * (1 - y)[..., None] * 0.6
    image = np.ascontiguousarray(image + y[..., None] * corners[2] * 0.6 + 40)
    for _ in range(rng.integers(0, 8)):
        left, top = (rng.uniform(0, side, 2)).astype(int)
        width, height = (rng.uniform(0.05, 0.5, 2) * side).astype(int)
        colour = tuple(float(v) for v in rng.uniform(10, 245, 3))
        cv2.rectangle(image, (int(left), int(top)), (int(left + width), int(top + height)), colour, -1)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 14) * side / 512)
    vignette = 1 - rng.uniform(0, 0.25) * smooth_step(((x - 0.5) ** 2 + (y - 0.5) ** 2) * 2)
    return np.clip(image * vignette[..., None] + rng.normal(size=image.shape) * 2, 0, 255).astype(np.uint8)
