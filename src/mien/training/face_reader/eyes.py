"""Stage `face-reader/eyes`: eyes read closely, from rendered people whose points are exact, and from photographs
(`scripts/read_photo_points.py`), whose eyes nobody painted by angle.

Crops are placed as a coarse reading would place them, that is a little off; pictures are augmented as cameras do. Loss:
L1 of the points and, several times over, of the lids' opening, which small errors of points hide. (The same for mouths
was tried: from as little training it read lips worse than the reader of whole faces, 3.8 against 2.3 % of the outer
eye corners' distance.)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.avatars.group_files import GroupFolder
from mien.errors import InputError
from mien.faces.eyes import save_eyes
from mien.geometry.eye_squares import EYES, MIRRORED_EYE, eye_squares
from mien.geometry.mirror import mirrored_landmarks
from mien.geometry.turned import TurnedSquare
from mien.models.eye_reader import EyeReader, EyeReaderConfig
from mien.training.data.pictures import augment, to_tensor
from mien.training.engine.config import StageConfig
from mien.training.engine.stage import Batch, Losses, OptimizerStep, Stage
from mien.typing import Picture

_LIDS = ((1, 5), (2, 4))  # upper and lower rim within the eye's seven points
_OPENING = 2.0  # weight of the opening
_PUPIL = 2.0  # weight of a pupil that can be seen


class EyeReaderStage(Stage):
    """Eyes and pupils, learned together."""

    name = "face-reader/eyes"
    steps, batch_size = 6000, 24

    def __init__(self, options: StageConfig, config: EyeReaderConfig | None = None) -> None:
        self.options, self.config = options, config or EyeReaderConfig()
        rate = options.loop.learning_rate or 2e-3
        self.optimizer_steps = (
            OptimizerStep("eyes", ("features", "hidden", "points"), rate, self.loss, weight_decay=1e-4),
        )
        self._clips: list[tuple[GroupFolder, float]] | None = None
        self._odds: dict[tuple[str, int], NDArray[np.float64]] = {}

    def build(self) -> nn.Module:
        """Fresh networks."""
        torch.manual_seed(self.options.loop.seed)
        return EyeReader(self.config).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """`batch_size` faces: eyes [2 r, 3, 48, 48] in [-1, 1], and their points [2 r, 7, 2] in [-1, 1]."""
        sources, eyes = self._sources(), _Eyes()
        for _ in range(batch_size):
            clips = sources[int(rng.choice(len(sources), p=[weight for _, weight in sources]))][0]
            number = int(rng.integers(len(clips.groups)))
            group = clips.groups[number]
            odds = self._odds.setdefault((str(clips.folder), number), _odds(group.landmarks))
            person, motion = divmod(int(rng.choice(len(odds), p=odds)), group.frames.shape[1])
            picture, points = _around(group.frames[person, motion], group.keypoints(person)[motion])
            if rng.random() < 0.5:
                picture, points = picture[:, ::-1], mirrored_landmarks(points, picture.shape[1])
            picture = _coarse(augment(np.ascontiguousarray(picture), rng), rng)
            right, left = (_shaken(square, rng) for square in eye_squares(points))
            eyes.add(picture, right, points[[*EYES[0], 68]], self.config.side)
            eyes.add(picture, left, points[[*MIRRORED_EYE, 69]], self.config.side, mirror=True)
        return eyes.batch()

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """L1, in units of the crops' half sides."""
        eyes = model(batch["eyes"])
        lids, wanted = _opening(eyes), _opening(batch["points"])
        seen = (wanted.detach() > 0.08).float()
        pupil = (eyes[:, 6] - batch["points"][:, 6]).abs().mean(-1)
        return {
            "eye": (eyes[:, :6] - batch["points"][:, :6]).abs().mean(),
            "pupil": _PUPIL * (pupil * (0.1 + 0.9 * seen)).mean(),
            "lids": _OPENING * (lids - wanted).abs().mean(),
        }

    def pictures(self, model: nn.Module) -> Picture:
        """Eyes of people who are not trained on, with what was read."""
        held = EyeReaderStage(self.options, self.config)
        unseen = (GroupFolder(clips.folder, self.options.dataset.hold_out, True) for clips, _ in self._sources())
        kept = [clips for clips in unseen if clips.groups]
        held._clips = [(clips, 1 / len(kept)) for clips in kept] or self._sources()
        batch = held.batch(np.random.default_rng(5), 12)
        device = next(model.parameters()).device
        return np.concatenate([_drawn(eyes, model(eyes.to(device))) for eyes in batch["eyes"].chunk(2)])

    def images(self, batch: Batch) -> int:
        """Faces."""
        return len(batch["eyes"]) // 2

    def export(self, model: nn.Module, folder: Path) -> None:
        """eyes.safetensors and eyes.json, as `mien.faces.eyes` reads them, float16."""
        assert isinstance(model, EyeReader)
        save_eyes(model, folder)

    def _sources(self) -> list[tuple[GroupFolder, float]]:
        if self._clips is None:
            opened = [
                (GroupFolder(path, self.options.dataset.hold_out), weight) for path, weight in self.options.sources()
            ]
            for clips, _ in opened:
                if not clips.groups:
                    raise InputError(f"{clips.folder} holds no groups of faces: see `mien data avatars`.")
            self._clips = opened
        return self._clips


class _Eyes:
    """Crops, collected."""

    def __init__(self) -> None:
        self.crops: list[NDArray[np.uint8]] = []
        self.points: list[NDArray[np.float32]] = []

    def add(
        self,
        picture: NDArray[np.uint8],
        square: TurnedSquare,
        points: NDArray[np.float32],
        side: int,
        mirror: bool = False,
    ) -> None:
        crop, places = square.extract(picture, side), square.points_in(points, side) * (2 / side) - 1
        if mirror:
            crop, places = crop[:, ::-1], places * [-1, 1]
        self.crops.append(crop)
        self.points.append(places.astype(np.float32))

    def batch(self) -> Batch:
        return {"eyes": to_tensor(self.crops), "points": torch.from_numpy(np.stack(self.points))}


def _odds(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Odds [people * motions] from landmarks [p, m, 68, 2]: eyes that are rarely so far open are shown more often."""
    points = landmarks.reshape(-1, *landmarks.shape[-2:])
    size = np.linalg.norm(points[:, 27] - points[:, 33], axis=1)
    opening = np.linalg.norm(points[:, [37, 44]] - points[:, [41, 46]], axis=-1).mean(1) / np.maximum(size, 1e-6)
    counts, edges = np.histogram(opening, 16)
    place = np.clip(np.digitize(opening, edges[1:-1]), 0, 15)
    odds = 0.2 + np.minimum(counts.max() / np.maximum(counts[place], 1), 12) / 12
    return np.asarray(odds / odds.sum(), np.float64)


def _around(picture: NDArray[np.uint8], points: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The square around eyes and mouth: the rest would be augmented for nothing."""
    inner = points[36:]
    extent = 1.9 * float(np.ptp(inner, axis=0).max())
    left, top = (np.clip((inner.min(0) + inner.max(0) - extent) / 2, 0, None)).astype(int)
    right, bottom = left + int(extent), top + int(extent)
    return np.array(picture[top:bottom, left:right]), (points - [left, top]).astype(np.float32)


def _coarse(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Now and then as small as faces in a wide shot are, or as blocky as a compressed one."""
    height, width = picture.shape[:2]
    if rng.random() < 0.25:
        zoom = rng.uniform(0.4, 0.9)
        small = max(8, int(width * zoom)), max(8, int(height * zoom))
        picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        picture = np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    return picture


def _shaken(square: TurnedSquare, rng: np.random.Generator) -> TurnedSquare:
    """As far off as a coarse reading is."""
    x, y = rng.normal(size=2) * 0.04 * square.size
    size, roll = square.size * rng.uniform(0.85, 1.18), square.roll + rng.normal() * 0.07
    return replace(square, x=square.x + x, y=square.y + y, size=size, roll=roll)


def _opening(points: Tensor) -> Tensor:
    """Mean distance between the lids' rims [b] of points [b, 7, 2]."""
    high, low = (points[:, list(rim)] for rim in zip(*_LIDS, strict=True))
    return ((high - low).square().sum(-1) + 1e-8).sqrt().mean(-1)


def _drawn(crops: Tensor, points: Tensor) -> Picture:
    """A row of crops [b, 3, s, s], 128 pixels wide each, with points [b, n, 2] on them."""
    shown = []
    for crop, places in zip(crops.float().cpu(), points.cpu().numpy(), strict=True):
        image = ((crop.permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8)
        image = np.ascontiguousarray(cv2.resize(image, (128, 128), interpolation=cv2.INTER_LINEAR).astype(np.uint8))
        for x, y in (places + 1) * 64:
            cv2.circle(image, (round(float(x)), round(float(y))), 2, (0, 255, 0), -1)
        shown.append(image)
    return np.concatenate(shown, 1)
