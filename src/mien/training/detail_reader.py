"""Stage `face-reader/details`: eyes and mouths read closely, from rendered people whose points are exact, and photographs
(`photo_points`), whose lips and teeth are not those of a renderer.

Crops are placed as a coarse reading would place them, that is a little off; pictures are roughened as cameras do. Loss:
L1 of the points and, several times over, of the openings of lids and lips, which small errors of points hide.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import InputError
from mien.faces.details import save_details
from mien.geometry.face_parts import EYES, MIRRORED_EYE, MOUTH, part_squares
from mien.geometry.mirror import mirrored_landmarks
from mien.geometry.turned import TurnedSquare
from mien.models.detail_reader import DetailReader, DetailReaderConfig
from mien.training.avatar_clips import AvatarClips
from mien.training.control_images import roughen
from mien.training.options import TrainOptions
from mien.training.stage import Batch, Picture, Stage, Terms, Turn

# Upper and lower rims within the eye's seven points and the mouth's twenty.
_LIDS = ((1, 5), (2, 4))
_LIPS = ((13, 19), (14, 18), (15, 17))
_OPENING = 3.0  # weight of the openings
_PUPIL = 2.0  # weight of a pupil that can be seen


class DetailReaderStage(Stage):
    """Both readers in one turn."""

    name = "face-reader/details"
    steps, rows = 6000, 24

    def __init__(self, options: TrainOptions, config: DetailReaderConfig | None = None) -> None:
        self.options, self.config = options, config or DetailReaderConfig()
        self.turns = (Turn("details", ("eye", "mouth"), options.learning_rate or 2e-3, self.loss, weight_decay=1e-4),)
        self._clips: list[tuple[AvatarClips, float]] | None = None

    def build(self) -> nn.Module:
        """Fresh networks."""
        torch.manual_seed(self.options.seed)
        return DetailReader(self.config).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def batch(self, rng: np.random.Generator, rows: int) -> Batch:
        """`rows` faces: eyes [2 r, 3, 48, 48], mouths [r, 3, 64, 64] in [-1, 1], and their points in [-1, 1]."""
        sources, parts = self._sources(), [_Parts() for _ in range(2)]
        for _ in range(rows):
            clips = sources[int(rng.choice(len(sources), p=[share for _, share in sources]))][0]
            group = clips.groups[int(rng.integers(len(clips.groups)))]
            person, motion = int(rng.integers(len(group.frames))), int(rng.integers(group.frames.shape[1]))
            picture, points = _around(group.frames[person, motion], group.keypoints(person)[motion])
            if rng.random() < 0.5:
                picture, points = picture[:, ::-1], mirrored_landmarks(points, picture.shape[1])
            self._add(parts, _coarse(roughen(np.ascontiguousarray(picture), rng), rng), points, rng)
        return {**parts[0].batch("eye"), **parts[1].batch("mouth")}

    def _add(
        self, parts: list[_Parts], picture: NDArray[np.uint8], points: NDArray[np.float32], rng: np.random.Generator
    ) -> None:
        squares = [_shaken(square, rng) for square in part_squares(points)]
        for side, (square, ring) in enumerate(zip(squares[:2], EYES, strict=True)):
            order = [*ring, 68] if side == 0 else [*MIRRORED_EYE, 69]
            parts[0].add(picture, square, points[order], self.config.eye_side, mirror=side == 1)
        parts[1].add(picture, squares[2], points[list(MOUTH)], self.config.mouth_side)

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Terms:
        """L1, in units of the crops' half sides."""
        eyes, mouths = model(batch["eye"], batch["mouth"])
        lids, wanted = _openings(eyes, _LIDS), _openings(batch["eye_points"], _LIDS)
        seen = (wanted.detach() > 0.08).float()
        pupil = (eyes[:, 6] - batch["eye_points"][:, 6]).abs().mean(-1)
        return {
            "eye": (eyes[:, :6] - batch["eye_points"][:, :6]).abs().mean(),
            "pupil": _PUPIL * (pupil * (0.1 + 0.9 * seen)).mean(),
            "lids": _OPENING * (lids - wanted).abs().mean(),
            "mouth": (mouths - batch["mouth_points"]).abs().mean(),
            "lips": _OPENING * (_openings(mouths, _LIPS) - _openings(batch["mouth_points"], _LIPS)).abs().mean(),
        }

    def pictures(self, model: nn.Module) -> Picture:
        """Eyes and mouths of people who are not trained on, with what was read."""
        held = DetailReaderStage(self.options, self.config)
        unseen = (AvatarClips(clips.folder, self.options.hold_out, True) for clips, _ in self._sources())
        kept = [clips for clips in unseen if clips.groups]
        held._clips = [(clips, 1 / len(kept)) for clips in kept] or self._sources()
        batch = held.batch(np.random.default_rng(5), 12)
        device = next(model.parameters()).device
        eyes, mouths = model(batch["eye"].to(device), batch["mouth"].to(device))
        rows = [_drawn(batch["eye"][::2], eyes[::2]), _drawn(batch["mouth"], mouths)]
        return np.concatenate(rows)

    def images(self, batch: Batch) -> int:
        """Faces."""
        return len(batch["mouth"])

    def export(self, model: nn.Module, folder: Path) -> None:
        """details.safetensors and details.json, as `mien.faces.details` reads them, float16."""
        assert isinstance(model, DetailReader)
        save_details(model, folder)

    def _sources(self) -> list[tuple[AvatarClips, float]]:
        if self._clips is None:
            opened = [(AvatarClips(path, self.options.hold_out), share) for path, share in self.options.sources()]
            for clips, _ in opened:
                if not clips.groups:
                    raise InputError(f"{clips.folder} holds no groups of faces: see `mien data avatars`.")
            self._clips = opened
        return self._clips


class _Parts:
    """Crops of one kind, collected."""

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

    def batch(self, name: str) -> Batch:
        stacked = torch.from_numpy(np.ascontiguousarray(np.stack(self.crops))).permute(0, 3, 1, 2)
        crops = (stacked.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        return {name: crops, f"{name}_points": torch.from_numpy(np.stack(self.points))}


def _around(picture: NDArray[np.uint8], points: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The square around eyes and mouth: the rest would be roughened for nothing."""
    inner = points[36:]
    reach = 1.9 * float(np.ptp(inner, axis=0).max())
    left, top = (np.clip((inner.min(0) + inner.max(0) - reach) / 2, 0, None)).astype(int)
    right, bottom = left + int(reach), top + int(reach)
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


def _openings(points: Tensor, pairs: tuple[tuple[int, int], ...]) -> Tensor:
    """Mean distance between rims [b] of points [b, n, 2]."""
    high, low = (points[:, list(rim)] for rim in zip(*pairs, strict=True))
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
