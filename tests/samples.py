"""Small inputs for tests of whole jobs: drawn faces, a reader that finds them, clips with sound."""

from __future__ import annotations

import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mien.faces import EXPRESSION_NAMES, FaceReading
from mien.geometry import HeadPose
from mien.media import write_image, write_video
from mien.pipelines.x_portrait import XPortraitPipeline
from tiny import TINY, tiny_pipeline

RENDERED = Path(__file__).parent / "assets" / "rendered"  # two people of nobody's likeness
SKIN, BACKGROUND = (220, 170, 140), (30, 40, 90)
RATE = Fraction(30000, 1001)


def draw_face(
    width: int = 96,
    height: int = 80,
    centre: tuple[float, float] = (0.5, 0.5),
    radius: float = 0.25,
    mouth: float = 0.0,
) -> np.ndarray:
    """A disc of skin with two eyes and a mouth that opens; radius as a part of the height."""
    y, x = np.mgrid[0:height, 0:width]
    x, y = (x + 0.5 - centre[0] * width) / (radius * height), (y + 0.5 - centre[1] * height) / (radius * height)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = BACKGROUND
    image[x**2 + y**2 < 1] = SKIN
    eyes = (np.abs(x) - 0.4) ** 2 + (y + 0.3) ** 2 < 0.02
    lips = (x / 0.4) ** 2 + ((y - 0.5) / (0.05 + 0.3 * mouth)) ** 2 < 1
    image[(eyes | lips) & (x**2 + y**2 < 0.9)] = 0
    return image


class DrawnFaceReader:
    """`FaceReader` for `draw_face`: the box of the skin, an open mouth where much of it is dark."""

    name = "drawn"

    def read(self, image: np.ndarray, hint: FaceReading | None = None) -> FaceReading | None:
        skin = image[..., 0].astype(int) - image[..., 2] > 40
        if skin.sum() < 12:
            return None
        rows, columns = np.flatnonzero(skin.any(1)), np.flatnonzero(skin.any(0))
        low, high = np.array([columns[0], rows[0]], float), np.array([columns[-1], rows[-1]], float) + 1
        points = ((low + high) / 2 + _TEMPLATE * (high - low) / 2).astype(np.float32)
        inside = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        expression = np.zeros(len(EXPRESSION_NAMES), np.float32)
        expression[EXPRESSION_NAMES.index("jawOpen")] = float((inside.max(2) < 20).mean())
        return FaceReading(np.concatenate([low, high]).astype(np.float32), points, HeadPose.identity(), expression, 1.0)

    def read_all(self, image: np.ndarray) -> list[FaceReading]:
        face = self.read(image)
        return [] if face is None else [face]

    def close(self) -> None:
        """Nothing is held."""


def _template() -> np.ndarray:
    """68 points of a frontal face in [-1, 1], in iBUG order."""
    turn = np.linspace(np.pi, 0, 17)
    jaw = np.stack([np.cos(turn), np.sin(turn)], 1)
    brows = np.stack([np.r_[np.linspace(-0.7, -0.2, 5), np.linspace(0.2, 0.7, 5)], np.full(10, -1.0)], 1)
    ridge, tip = np.linspace(-0.3, 0.1, 4), np.linspace(-0.2, 0.2, 5)
    nose = np.stack([np.r_[np.zeros(4), tip], np.r_[ridge, np.full(5, 0.2)]], 1)
    turn = np.linspace(0, 2 * np.pi, 6, False)
    ring = 0.14 * np.stack([-np.cos(turn), -np.sin(turn)], 1)
    turn = np.linspace(0, 2 * np.pi, 20, False)
    mouth = np.stack([-0.4 * np.cos(turn), 0.5 + 0.1 * np.sin(turn)], 1)
    return np.concatenate([jaw, brows, nose, ring + [-0.4, -0.3], ring + [0.4, -0.3], mouth])


_TEMPLATE = _template()


def talking_frames(count: int, width: int = 96, height: int = 80) -> list[np.ndarray]:
    """A face that moves to the right and opens and closes its mouth; frame 0 has it closed."""
    mouths = [0.3 + 0.6 * abs(np.sin(i)) if i else 0.0 for i in range(count)]
    return [draw_face(width, height, (0.42 + 0.012 * i, 0.5), mouth=mouth) for i, mouth in enumerate(mouths)]


def write_tone(path: Path, seconds: float) -> Path:
    """A WAV file of a 440 Hz tone, 16 kHz mono."""
    samples = (8000 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * 16000)) / 16000)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    return path


def job_pipeline(seed: int = 0) -> XPortraitPipeline:
    """The tiny pipeline at 32 px: jobs care about what goes in and out, not about the pictures."""
    return tiny_pipeline(seed, config=replace(TINY, image_size=32))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of `job_pipeline`."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    job_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with portrait.png (61 x 53, odd on purpose), driver.mp4 (9 frames, 30000/1001, sound), and more."""
    folder = tmp_path_factory.mktemp("inputs")
    write_image(folder / "portrait.png", draw_face(61, 53))
    write_image(folder / "portrait_2.png", draw_face(60, 60, mouth=0.4))
    write_image(folder / "no_face.png", np.full((64, 64, 3), 60, np.uint8))
    write_image(folder / "driver.png", draw_face(96, 80, mouth=0.8))
    tone = write_tone(folder / "tone.wav", 1.0)
    write_video(folder / "driver.mp4", talking_frames(9), RATE, audio_from=tone)
    write_video(folder / "faceless.mp4", [np.full((64, 64, 3), 60, np.uint8)] * 3, 25)
    return folder


@pytest.fixture
def drawn_reader(monkeypatch: pytest.MonkeyPatch) -> DrawnFaceReader:
    """Jobs read faces with `DrawnFaceReader`."""
    reader = DrawnFaceReader()
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: reader)
    return reader
