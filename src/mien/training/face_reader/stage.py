"""Stage `face-reader` (nano): finds faces and reads landmarks, head pose and expression; about 13,000 steps.

--data is a folder of label sets (`scripts/label_faces.py`); sets that appear while it trains are
taken in.
What the finder wrongly takes for a face is kept with the weights, and shown to the reader as no face (hard negatives).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mien.faces.nano_reader import CROP_SCALE
from mien.geometry import TurnedSquare
from mien.media.files import whole_file
from mien.models.face_reader import FaceReaderNetwork, Finder
from mien.training.data.pictures import to_tensor
from mien.training.engine.config import StageConfig
from mien.training.engine.stage import Batch, Losses, OptimizerStep, Stage
from mien.training.face_reader.augmentation import (
    VIEW,
    CropSample,
    ViewSample,
    augment,
    faceless_crop,
    finding_view,
    reading_crop,
    texture,
)
from mien.training.face_reader.losses import FaceDraw, finding_loss, reading_loss
from mien.typing import Picture

_STEPS, _BATCH = 13_000, 32
_FACELESS = 0.2  # share of the crops
_MINE = 0.04  # share of the steps at which pictures are looked through for mistakes of the finder
_LOOKED_AT, _KEPT = 4, 256  # pictures looked through; mistakes that are kept
_BACKGROUNDS = 256  # drawn ahead; they are renewed one by one
_PROBE = 400  # faces whose scores give the mean and the spread to start from


class FaceReaderModel(nn.Module):
    """The networks, the scores' spread, and the finder's mistakes (crops, uint8), newest last."""

    spread: Tensor
    mistakes: Tensor
    known: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.network = FaceReaderNetwork()
        self.register_buffer("spread", torch.ones(52))
        self.register_buffer("mistakes", torch.zeros(_KEPT, VIEW, VIEW, 3, dtype=torch.uint8))
        self.register_buffer("known", torch.zeros((), dtype=torch.long))

    def remember(self, crops: list[np.ndarray]) -> None:
        """Keep crops in which the finder wrongly saw a face; the oldest ones go."""
        for crop in crops:
            self.mistakes[int(self.known) % _KEPT] = torch.from_numpy(crop).to(self.mistakes.device)
            self.known += 1


class FaceReaderStage(Stage):
    """Reader and finder, an optimizer step each; the finder's at every other step."""

    name = "face-reader"
    steps, batch_size = _STEPS, _BATCH
    clip_norm, warmup, ema = 5.0, 200, 0.0  # batch norms' running means belong to the weights, not to their average

    def __init__(self, options: StageConfig) -> None:
        self.options = options
        self._draw: FaceDraw | None = None
        self._step = 0
        self._textures: dict[int, tuple[int, np.ndarray]] = {}
        self.optimizer_steps = (
            OptimizerStep("reader", ("network.reader",), 2e-3, self.reader_loss, (0.9, 0.999), 1e-4),
            OptimizerStep("finder", ("network.finder",), 2e-3, self.finder_loss, (0.9, 0.999), 1e-4, every=2),
        )

    def faces(self) -> FaceDraw:
        """The labelled faces, opened on first use."""
        if self._draw is None:
            ((folder, _),) = self.options.sources()[:1]
            self._draw = FaceDraw(folder)
        return self._draw

    def check(self) -> None:
        """See `Stage.check`."""
        self.faces()

    def build(self) -> nn.Module:
        """Random weights; the last layers begin at the mean face."""
        torch.manual_seed(self.options.loop.seed)
        rng = np.random.default_rng(self.options.loop.seed)
        model = FaceReaderModel()
        mean, spread = self.faces().mean_expression(rng, _PROBE)
        model.spread.copy_(torch.from_numpy(spread.clip(0.03)).float())
        samples = [reading_crop(self.faces().face(rng), rng) for _ in range(64)]
        reader, head = model.network.reader, model.network.finder.head[-1]
        assert isinstance(head, nn.Conv2d) and head.bias is not None
        with torch.no_grad():
            for layer in (reader.landmarks, reader.angles, reader.expression):
                layer.weight.mul_(0.1)
            reader.landmarks.bias.copy_(torch.from_numpy(np.mean([s.landmarks for s in samples], 0)).flatten())
            reader.expression.bias.copy_(torch.logit(torch.from_numpy(mean).float(), eps=1e-3))
            head.bias[0] = -4.0  # few cells hold a face: begin by saying so
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def at_step(self, step: int) -> None:
        """Backgrounds are renewed as time goes on."""
        self._step = step

    def refresh(self) -> None:
        """Label sets that have been completed since are taken in."""
        self.faces().refresh()

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """Crops and views of `rows` draws each, and now and then pictures to look through for mistakes."""
        crops, views = [], []
        for _ in range(batch_size):
            face = self.faces().face(rng)
            faceless = rng.random() < _FACELESS
            crops.append(faceless_crop(self._background(rng), face, rng) if faceless else reading_crop(face, rng))
            count = int(rng.choice(3, p=[0.15, 0.7, 0.15]))
            views.append(finding_view([self.faces().face(rng) for _ in range(count)], self._background(rng), rng))
        batch = {**crop_batch(crops), **view_batch(views)}
        if rng.random() < _MINE:
            looked = [self.faces().face(rng) for _ in range(_LOOKED_AT)]
            batch["looked_at"] = torch.from_numpy(np.stack([augment(face.picture, rng) for face in looked]))
            squares = [TurnedSquare.around(face.landmarks, 1.0) for face in looked]
            batch["squares"] = torch.tensor([[s.x, s.y, s.size] for s in squares], dtype=torch.float32)
        return batch

    def reader_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """Some of the faceless crops give way to mistakes of the finder, where it has made any."""
        assert isinstance(model, FaceReaderModel)
        crops, known = batch["crops"], min(int(model.known), _KEPT)
        if known:
            swap = (torch.rand(len(crops), generator=generator) < 0.6) & ~batch["face"].cpu()
            chosen = torch.randint(known, (len(crops),), generator=generator)
            wrong = model.mistakes[chosen.to(crops.device)].permute(0, 3, 1, 2).float() / 127.5 - 1
            crops = torch.where(swap.to(crops.device)[:, None, None, None], wrong, crops)
        return reading_loss(model.network.reader(crops), batch, model.spread)

    def finder_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """See `finding_loss`; where there are pictures to look through, their mistakes are remembered first."""
        assert isinstance(model, FaceReaderModel)
        if "looked_at" in batch:
            model.network.finder.eval()
            model.remember(find_mistakes(model.network.finder, batch["looked_at"], batch["squares"]))
            model.network.finder.train()
        return finding_loss(model.network.finder(batch["views"]), batch["faces"])

    def pictures(self, model: nn.Module) -> Picture:
        """Eight crops with the landmarks that are read, and eight that were labelled."""
        assert isinstance(model, FaceReaderModel)
        rng = np.random.default_rng(101)
        samples = [reading_crop(self.faces().face(rng), rng) for _ in range(8)]
        device = model.spread.device
        found = model.network.reader(crop_batch(samples)["crops"].to(device)).landmarks.cpu().numpy()
        rows = []
        for points in (found, [sample.landmarks for sample in samples]):
            drawn = []
            for sample, marks in zip(samples, points, strict=True):
                crop = sample.crop.copy()
                for x, y in (np.asarray(marks) + 1) * (VIEW / 2):
                    cv2.circle(crop, (round(float(x)), round(float(y))), 1, (0, 255, 0), -1)
                drawn.append(crop)
            rows.append(np.concatenate(drawn, axis=1))
        return np.concatenate(rows)

    def export(self, model: nn.Module, folder: Path) -> None:
        """model.safetensors (float16) and config.json, as `mien.faces.nano_reader` loads them."""
        assert isinstance(model, FaceReaderModel)
        write_weights(model.network, folder)

    def _background(self, rng: np.random.Generator) -> np.ndarray:
        """A picture of nothing, or the corner of one; renewed all the time: a fixed set would be learnt by heart."""
        slot = int(rng.integers(_BACKGROUNDS))
        age = (self._step + slot) // _BACKGROUNDS
        if slot not in self._textures or self._textures[slot][0] != age:
            self._textures[slot] = (age, texture(np.random.default_rng([self.options.loop.seed, slot, age])))
        if rng.random() >= 0.3:
            return self._textures[slot][1]
        face = self.faces().face(rng)
        side = int(rng.integers(30, 80))
        corner = 0 if rng.random() < 0.5 else VIEW * 2 - side
        piece = np.ascontiguousarray(face.picture[:side, corner:][:, :side])
        return np.asarray(cv2.resize(piece, (VIEW, VIEW)), np.uint8)


def crop_batch(samples: list[CropSample]) -> Batch:
    """crops [b, 3, 128, 128] in [-1, 1]; face [b]; landmarks [b, 68, 2], angles [b, 3], expression [b, 52]."""
    return {
        "crops": to_tensor([s.crop for s in samples]),
        "face": torch.tensor([s.face for s in samples]),
        "landmarks": torch.from_numpy(np.stack([s.landmarks for s in samples]).astype(np.float32)),
        "angles": torch.from_numpy(np.stack([s.angles for s in samples]).astype(np.float32)),
        "expression": torch.from_numpy(np.stack([s.expression for s in samples]).astype(np.float32)),
    }


def view_batch(samples: list[ViewSample]) -> Batch:
    """views [b, 3, 128, 128] in [-1, 1]; faces [b, 2, 4], zeros where there are fewer than two."""
    faces = np.zeros((len(samples), 2, 4), np.float32)
    for row, sample in zip(faces, samples, strict=True):
        row[: len(sample.faces)] = sample.faces
    return {"views": to_tensor([s.view for s in samples]), "faces": torch.from_numpy(faces)}


@torch.no_grad()
def find_mistakes(finder: Finder, pictures: Tensor, squares: Tensor) -> list[np.ndarray]:
    """Crops that the finder proposes in uint8 pictures [n, h, w, 3] and that hold no face (hard negatives).

    squares: [n, 3], centre and size of each picture's face.
    """
    found = finder(to_tensor(list(pictures.cpu().numpy())).to(squares.device))
    score = torch.sigmoid(found.logit.float())
    crops = []
    for index, (face_x, face_y, face_size) in enumerate(squares.tolist()):
        for cell in torch.topk(score[index].flatten(), 12).indices.tolist():
            row, column = divmod(cell, score.shape[2])
            x, y = (float(v) for v in found.centre[index, :, row, column])
            size = float(found.size[index, row, column])
            off = math.hypot(x - face_x, y - face_y) / max(size, face_size)
            if off > 0.4 or not 0.5 < size / face_size < 2:
                roll = math.atan2(*(float(v) for v in found.turn[index, :, row, column].flip(0)))
                square = TurnedSquare(x, y, CROP_SCALE * size, roll)
                crops.append(square.extract(np.ascontiguousarray(pictures[index].cpu().numpy()), VIEW))
    return crops


def write_weights(network: FaceReaderNetwork, folder: Path) -> Path:
    """Write model.safetensors (float16) and config.json; returns the weight file."""
    tensors = {
        name: tensor.cpu().half().contiguous() if tensor.is_floating_point() else tensor.cpu()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")  # counts training steps; says nothing about faces
    }
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(asdict(network.config), indent=2) + "\n")
    return folder / "model.safetensors"
