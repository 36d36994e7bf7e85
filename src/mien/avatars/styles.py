"""Rendered people as cartoons, paintings, statues, drawings; and what cameras and files do to pictures.

A style is fixed for a person, so that all of its frames agree; every function is deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.typing import Picture

StyleName = Literal["plain", "cartoon", "painting", "stone", "wood", "pencil", "posterised"]
STYLE_NAMES: tuple[StyleName, ...] = ("plain", "cartoon", "painting", "stone", "wood", "pencil", "posterised")


@dataclass(frozen=True)
class Style:
    """How pictures of one person are changed; strength in [0, 1], seed for grain and material."""

    name: StyleName = "plain"
    strength: float = 0.7
    seed: int = 0

    @classmethod
    def random(cls, rng: np.random.Generator, plain: float = 0.7) -> Style:
        """Plain with some probability, else any of the others.

        Args:
            rng: draws it.
            plain: the probability.
        """
        name: StyleName = "plain" if rng.random() < plain else STYLE_NAMES[int(rng.integers(1, len(STYLE_NAMES)))]
        return cls(name, float(rng.uniform(0.4, 1)), int(rng.integers(1 << 30)))

    def apply(self, image: Picture) -> Picture:
        """A picture in this style.

        Args:
            image: uint8 [h, w, 3].

        Returns:
            The same shape.
        """
        if self.name == "plain":
            return image
        changed = _STYLES[self.name](image, self.strength, np.random.default_rng(self.seed))
        return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Degradation:
    """What a poor camera does.

    Attributes:
        blur: deviation, pixels.
        noise: deviation, 0 to 255.
        jpeg: quality, 0 for none.
        seed: of the noise, to which the number of the frame is added.
    """

    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    seed: int = 0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Degradation:
        """Mostly light."""
        blur = rng.uniform(0.3, 1.2) if rng.random() < 0.3 else 0.0
        noise = rng.uniform(1, 8) if rng.random() < 0.4 else 0.0
        jpeg = int(rng.integers(35, 95)) if rng.random() < 0.4 else 0
        return cls(float(blur), float(noise), jpeg, int(rng.integers(1 << 30)))

    def apply(self, image: Picture, frame: int = 0) -> Picture:
        """A picture as a poor camera would have stored it.

        Args:
            image: uint8 [h, w, 3].
            frame: its number.

        Returns:
            The same shape.
        """
        if self.blur > 0:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.blur), np.uint8)
        if self.noise > 0:
            grain = np.random.default_rng(self.seed + frame).normal(size=image.shape) * self.noise
            image = np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)
        if self.jpeg > 0:
            stored = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])[1]
            image = np.ascontiguousarray(np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
        return image


def _brightness(image: NDArray[np.floating] | Picture) -> NDArray[np.floating]:
    return image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _posterise(image: NDArray[np.floating] | Picture, levels: float) -> NDArray[np.floating]:
    return np.rint(image.astype(np.float32) / 255 * levels) / levels * 255


def _outline(image: Picture, width: float) -> NDArray[np.floating]:
    """[h, w] in [0, 1]: dark lines where brightness drops against its surroundings (difference of Gaussians)."""
    grey = _brightness(image)
    fine, coarse = cv2.GaussianBlur(grey, (0, 0), width), cv2.GaussianBlur(grey, (0, 0), width * 1.6)
    return np.clip((coarse - fine - 1.0) / 6, 0, 1)


def _cartoon(image: Picture, strength: float, rng: np.random.Generator) -> NDArray[np.floating]:
    flat = image
    for _ in range(2):
        flat = np.asarray(cv2.bilateralFilter(flat, 7, 20 + 40 * strength, 5), np.uint8)
    grey = _brightness(flat)[..., None]
    vivid = grey + (flat - grey) * (1.1 + 0.6 * strength)
    toned = 0.4 * vivid + 0.6 * _posterise(np.clip(vivid, 0, 255), 7 - 2 * strength)
    return toned * (1 - 0.85 * _outline(image, 1.0 + 0.5 * strength))[..., None]


def _painting(image: Picture, strength: float, rng: np.random.Generator) -> NDArray[np.floating]:
    """Kuwahara: every pixel takes the mean of the calmest of the four squares around it; then canvas grain."""
    side = 2 + round(2 * strength)
    exact = cv2.copyMakeBorder(image, side, side, side, side, cv2.BORDER_REFLECT).astype(np.float32)
    mean, square = cv2.blur(exact, (side, side)), cv2.blur(exact * exact, (side, side))
    spread = (square - mean * mean).sum(2)
    best, chosen = None, None
    for dy in (-side // 2, side // 2):
        for dx in (-side // 2, side // 2):
            near, colour = np.roll(spread, (dy, dx), (0, 1)), np.roll(mean, (dy, dx), (0, 1))
            if best is None or chosen is None:
                best, chosen = near, colour
            else:
                better = near < best
                best, chosen = np.where(better, near, best), np.where(better[..., None], colour, chosen)
    assert chosen is not None
    chosen = chosen[side:-side, side:-side]
    grain = cv2.GaussianBlur(rng.normal(size=image.shape[:2]).astype(np.float32), (0, 0), 0.8)
    tint = np.array([1.04, 1.0, 0.92]) ** strength
    return chosen * tint * (1 + 0.10 * strength * grain)[..., None]


def _material(
    image: Picture, dark: tuple[int, int, int], light: tuple[int, int, int], pattern: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Brightness alone, equalised softly, on a scale between two colours, with the material's pattern."""
    grey = _brightness(image)
    spread = np.clip((grey - np.percentile(grey, 2)) / (np.percentile(grey, 98) - np.percentile(grey, 2) + 1), 0, 1)
    level = np.clip(0.15 + 0.85 * spread**0.8 + pattern, 0, 1)[..., None]
    return np.array(dark) * (1 - level) + np.array(light) * level


def _stone(image: Picture, strength: float, rng: np.random.Generator) -> NDArray[np.floating]:
    size = image.shape[:2][::-1]
    pattern = np.zeros(image.shape[:2], np.float32)
    for cells, amount in ((9, 0.03), (40, 0.03), (160, 0.03)):
        small = rng.normal(size=(cells, cells)).astype(np.float32)
        pattern += cv2.resize(small, size, interpolation=cv2.INTER_CUBIC) * amount * strength
    return _material(image, (58, 56, 54), (226, 222, 212), pattern)


def _wood(image: Picture, strength: float, rng: np.random.Generator) -> NDArray[np.floating]:
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width] / width
    bend = cv2.resize(rng.normal(size=(5, 5)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    pattern = 0.07 * strength * np.sin(2 * np.pi * (x * 22 + 0.35 * bend + 0.4 * y))
    return _material(image, (52, 28, 14), (214, 158, 98), pattern)


def _pencil(image: Picture, strength: float, rng: np.random.Generator) -> NDArray[np.floating]:
    grey = _brightness(image)
    dodged = np.minimum(grey * 255 / (cv2.GaussianBlur(grey, (0, 0), 5 + 4 * strength) + 1), 255)
    shaded = 0.75 * dodged + 0.25 * (120 + 0.53 * grey)
    paper = shaded + 5 * rng.normal(size=grey.shape)
    return np.repeat((paper * (1 - 0.6 * _outline(image, 1.0)))[..., None], 3, 2)


def _posterised(image: Picture, strength: float, rng: np.random.Generator) -> NDArray[np.floating]:
    """Few levels, on two to four colours of a random palette."""
    count = int(rng.integers(3, 6))
    palette = np.sort(rng.uniform(10, 245, (count, 3)), 0)
    level = _posterise(cv2.GaussianBlur(image, (0, 0), 0.8), count - 1)
    index = np.rint(_brightness(level) / 255 * (count - 1)).astype(int)
    return (1 - 0.8 * strength) * level + 0.8 * strength * palette[np.clip(index, 0, count - 1)]


_STYLES = {
    "cartoon": _cartoon,
    "painting": _painting,
    "stone": _stone,
    "wood": _wood,
    "pencil": _pencil,
    "posterised": _posterised,
}
