"""Training the nano face reader: twenty-odd minutes of one CPU thread, resumable.

    taskset -c 1 python -m mien.training.face_reader --labels data/face_labels --run runs/face_reader --minutes 22
    ... --export src/mien/weights/face_reader       (writes the weights of the run; trains no further)

The learning rate follows the share of the processor time that is spent, so that a slow or busy machine sees fewer
samples or takes longer, and nothing else changes. Labels that appear while it trains (see `face_labels`) are taken in.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as nn_functional

from mien.faces.nano_reader import CROP_SCALE
from mien.geometry import TurnedSquare
from mien.models.face_reader import CropReading, FaceReaderConfig, FaceReaderNetwork, Finder, Finding
from mien.training.face_labels import LabelSet, available_labels, load_labels
from mien.training.face_views import (
    VIEW,
    CropSample,
    Face,
    ViewSample,
    faceless_crop,
    finding_view,
    reading_crop,
    roughen,
    texture,
)

_LOG = logging.getLogger(__name__)

# Points whose distances tell how far eyes, lips and brows are open or raised.
_GAPS = torch.tensor(
    [[37, 41], [38, 40], [43, 47], [44, 46], [61, 67], [62, 66], [63, 65], [51, 57], [48, 54], [19, 37], [24, 44]]
)


@dataclass(frozen=True)
class FaceReaderTraining:
    """Options of one run; saved beside it."""

    minutes: float = 22.0  # of processor time
    batch: int = 32
    rate: float = 2e-3
    weight_decay: float = 1e-4
    faceless: float = 0.2  # share of the crops
    mine_every: int = 50  # steps between looks for what the finder wrongly takes for a face
    backgrounds: int = 256  # drawn ahead; they are renewed one by one
    probe: int = 400  # faces whose scores give the mean and the spread to start from
    finder_every: int = 2  # steps of the reader for one of the finder
    half: bool = True  # bfloat16 arithmetic, where the processor has it twice as fast
    seed: int = 7


class FaceDraw:
    """Draws labelled faces: avatars for motion, stills for appearance, clips for both."""

    SHARES = (("portraits", 0.3), ("clips", 0.1), ("group", 0.6))

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self._folder, self._rng = folder, rng
        self._sets: dict[str, LabelSet] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take in label sets that have been completed since."""
        for name in available_labels(self._folder):
            if name not in self._sets and not name.startswith("val_"):
                self._sets[name] = load_labels(self._folder, name)
        self._kinds = [
            (share, [s for n, s in self._sets.items() if n.startswith(prefix) and len(s)])
            for prefix, share in self.SHARES
        ]
        self._kinds = [(share, sets) for share, sets in self._kinds if sets]

    @property
    def size(self) -> int:
        """How many faces there are."""
        return sum(len(s) for s in self._sets.values())

    def face(self) -> Face:
        """One face at random."""
        shares = np.array([share for share, _ in self._kinds])
        sets = self._kinds[int(self._rng.choice(len(shares), p=shares / shares.sum()))][1]
        return face_at(sets[int(self._rng.integers(len(sets)))], self._rng)

    def mean_expression(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [52] of the scores."""
        scores = np.stack([self.face().expression for _ in range(count)])
        return scores.mean(0), scores.std(0)


def face_at(labels: LabelSet, rng: np.random.Generator) -> Face:
    """A random face of one set."""
    row = int(rng.integers(len(labels)))
    picture = np.array(labels.pictures[labels.index[row]])
    return Face(picture, labels.landmarks[row], labels.rotation[row], labels.expression[row])


def to_tensor(pictures: list[np.ndarray]) -> Tensor:
    """uint8 [h, w, 3] pictures as float [b, 3, h, w] in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # [b, 3, h, w]
    return stacked.float().div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)


def reading_loss(found: CropReading, samples: list[CropSample], spread: Tensor) -> dict[str, Tensor]:
    """Terms of the crop reader's loss; all but confidence over the crops that show a face.

    spread: [52], the scores' standard deviations, by which their errors are measured.
    """
    is_face = torch.tensor([s.face for s in samples])
    landmarks = torch.from_numpy(np.stack([s.landmarks for s in samples]))[is_face]  # [n, 68, 2]
    angles = torch.from_numpy(np.stack([s.angles for s in samples]))[is_face]
    expression = torch.from_numpy(np.stack([s.expression for s in samples]))[is_face]
    weight = torch.ones(68)
    weight[:17], weight[36:] = 0.5, 1.5
    places = found.landmarks[is_face]
    gaps = places[:, _GAPS[:, 0]] - places[:, _GAPS[:, 1]] - landmarks[:, _GAPS[:, 0]] + landmarks[:, _GAPS[:, 1]]
    error = (found.expression[is_face] - expression) / spread
    return {
        "landmarks": 10 * ((places - landmarks).abs() * weight[:, None]).mean(),
        "gaps": 10 * gaps.abs().mean(),
        "angles": 4 * (found.angles[is_face] - angles).abs().mean(),
        "expression": nn_functional.smooth_l1_loss(error, torch.zeros_like(error)),
        "confidence": 0.3 * nn_functional.binary_cross_entropy_with_logits(found.logit, is_face.float()),
    }


def finding_loss(found: Finding, samples: list[ViewSample]) -> dict[str, Tensor]:
    """Terms of the finder's loss: a soft spot at each face's centre, and its place, size and roll around there."""
    batch, height, width = found.logit.shape
    spot = torch.zeros(batch, height, width)
    truth = torch.zeros(batch, 4, height, width)  # x, y, size, roll
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for index, sample in enumerate(samples):
        for x, y, size, roll in torch.from_numpy(sample.faces):
            far = ((columns + 0.5) * Finder.STRIDE - x) ** 2 + ((rows + 0.5) * Finder.STRIDE - y) ** 2
            here = torch.exp(-far / (2 * max(0.6 * Finder.STRIDE, 0.08 * float(size)) ** 2))
            nearer = here > spot[index]
            truth[index] = torch.where(nearer, torch.stack([x, y, size, roll])[:, None, None], truth[index])
            spot[index] = torch.maximum(spot[index], here)
    # Generalised focal loss (Li et al. 2020, eq. 4) with exponent 2: cells already right count little.
    entropy = nn_functional.binary_cross_entropy_with_logits(found.logit, spot, reduction="none")
    focus = (torch.sigmoid(found.logit) - spot) ** 2
    near = torch.where(spot > 0.3, spot, torch.zeros(()))
    total = near.sum().clamp_min(1.0)
    size = truth[:, 2].clamp_min(1.0)
    off = (found.centre - truth[:, :2]).abs().sum(1) / size
    turn = torch.stack([torch.cos(truth[:, 3]), torch.sin(truth[:, 3])], 1)
    return {
        "spot": 4 * (focus * entropy).sum() / total,
        "place": 2 * (off * near).sum() / total,
        "size": 2 * ((found.size.log() - size.log()).abs() * near).sum() / total,
        "turn": ((found.turn - turn).abs().sum(1) * near).sum() / total,
    }


class FaceReaderTrainer:
    """One run: networks, optimiser, random state and the time spent, all kept in `run`/state.pt."""

    def __init__(self, labels: Path, run: Path, options: FaceReaderTraining) -> None:
        self.options, self.run = options, run
        self.rng = np.random.default_rng(options.seed)
        torch.manual_seed(options.seed)
        self.network = FaceReaderNetwork()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.draw = FaceDraw(labels, self.rng)
        self.backgrounds = [texture(self.rng) for _ in range(options.backgrounds)]
        self.mistakes: list[np.ndarray] = []
        mean, spread = self.draw.mean_expression(options.probe)
        self.spread = torch.from_numpy(spread.clip(0.03)).float()
        self._start_at_the_mean(mean)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=options.rate, weight_decay=options.weight_decay
        )
        self.spent, self.step = 0.0, 0
        self._resume()

    def _start_at_the_mean(self, expression: np.ndarray) -> None:
        samples = [reading_crop(self.draw.face(), self.rng) for _ in range(64)]
        reader = self.network.reader
        with torch.no_grad():
            for layer in (reader.landmarks, reader.angles, reader.expression):
                layer.weight.mul_(0.1)
            reader.landmarks.bias.copy_(torch.from_numpy(np.mean([s.landmarks for s in samples], 0)).flatten())
            reader.expression.bias.copy_(torch.logit(torch.from_numpy(expression).float(), eps=1e-3))
            # Few cells hold a face: begin by saying so.
            head = self.network.finder.head[-1]
            assert isinstance(head, torch.nn.Conv2d) and head.bias is not None
            head.bias[0] = -4.0

    def train(self) -> None:
        """Train until the processor time is spent; saves every minute."""
        self.network.train()
        before = saved = time.process_time()
        limit = self.options.minutes * 60
        sums: dict[str, float] = {}
        while self.spent < limit:
            rate = self._rate(self.spent / limit)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            terms = self._reader_step()
            if self.step % self.options.finder_every == 0:
                terms |= self._finder_step()
            for name, value in terms.items():
                sums[name] = 0.98 * sums.get(name, value) + 0.02 * value
            if self.step % self.options.mine_every == 0:
                self._mine()
            self.step += 1
            now = time.process_time()
            self.spent, before = self.spent + now - before, now
            if now - saved > 60:
                saved = now
                self.save()
                self.draw.refresh()
                shown = " ".join(f"{name} {value:.3f}" for name, value in sums.items())
                _LOG.info("%4.0f s step %d faces %d: %s", self.spent, self.step, self.draw.size, shown)
        self.save()
        _LOG.info("done after %.0f s and %d steps", self.spent, self.step)

    def _rate(self, share: float) -> float:
        warm = min(1.0, (self.step + 1) / 200)
        return self.options.rate * warm * (0.5 + 0.5 * math.cos(math.pi * min(share, 1.0))) + 1e-6

    def _reader_step(self) -> dict[str, float]:
        samples = []
        for _ in range(self.options.batch):
            face = self.draw.face()
            if self.rng.random() < self.options.faceless:
                known = self.mistakes if self.mistakes and self.rng.random() < 0.6 else None
                background = known[int(self.rng.integers(len(known)))] if known else self._background()
                samples.append(faceless_crop(background, None if known else face, self.rng))
            else:
                samples.append(reading_crop(face, self.rng))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.half):
            found = self.network.reader(to_tensor([s.crop for s in samples]))
        return self._descend(reading_loss(found, samples, self.spread))

    def _mine(self, count: int = 8) -> None:
        """Collect crops that the finder proposes in training pictures and that hold no face (hard negatives)."""
        faces = [self.draw.face() for _ in range(count)]
        self.network.eval()
        pictures = [roughen(face.picture, self.rng) for face in faces]
        with torch.no_grad():
            found = self.network.finder(to_tensor(pictures))
        self.network.train()
        score = torch.sigmoid(found.logit)
        for index, (face, picture) in enumerate(zip(faces, pictures, strict=True)):
            square = TurnedSquare.around(face.landmarks, 1.0)
            for cell in torch.topk(score[index].flatten(), 12).indices.tolist():
                row, column = divmod(cell, score.shape[2])
                x, y = (float(v) for v in found.centre[index, :, row, column])
                size = float(found.size[index, row, column])
                off = math.hypot(x - square.x, y - square.y) / max(size, square.size)
                if off > 0.4 or not 0.5 < size / square.size < 2:
                    roll = math.atan2(*(float(v) for v in found.turn[index, :, row, column].flip(0)))
                    self.mistakes.append(TurnedSquare(x, y, CROP_SCALE * size, roll).extract(picture, VIEW))
        self.mistakes = self.mistakes[-1024:]

    def _finder_step(self) -> dict[str, float]:
        samples = []
        for _ in range(self.options.batch):
            count = int(self.rng.choice(3, p=[0.15, 0.7, 0.15]))
            faces = [self.draw.face() for _ in range(count)]
            samples.append(finding_view(faces, self._background(), self.rng))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.half):
            found = self.network.finder(to_tensor([s.view for s in samples]))
        return self._descend(finding_loss(found, samples))

    def _descend(self, terms: dict[str, Tensor]) -> dict[str, float]:
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        return {name: float(value.detach()) for name, value in terms.items()}

    def _background(self) -> np.ndarray:
        # A few fresh ones all the time: a fixed set would be learnt by heart.
        slot = int(self.rng.integers(len(self.backgrounds)))
        if self.rng.random() < 0.1:
            self.backgrounds[slot] = texture(self.rng)
        picture = self.backgrounds[slot]
        if self.rng.random() < 0.3:
            face = self.draw.face()
            side = int(self.rng.integers(30, 80))
            corner = 0 if self.rng.random() < 0.5 else VIEW * 2 - side
            picture = cv2.resize(np.ascontiguousarray(face.picture[:side, corner:][:, :side]), (VIEW, VIEW))
        return picture

    def save(self) -> None:
        """Write the state; whole or not at all."""
        self.run.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": self.rng.bit_generator.state,
            "spent": self.spent,
            "step": self.step,
            "spread": self.spread,
            "faces": self.draw.size,
        }
        partial = self.run / ".state.pt"
        torch.save(state, partial)
        os.replace(partial, self.run / "state.pt")
        (self.run / "options.json").write_text(json.dumps(asdict(self.options), indent=2) + "\n")

    def _resume(self) -> None:
        path = self.run / "state.pt"
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = state["random"]
        self.spent, self.step, self.spread = state["spent"], state["step"], state["spread"]
        _LOG.info("resumed at step %d, %.0f s", self.step, self.spent)


def export(run: Path, folder: Path) -> Path:
    """Write the weights of a run as model.safetensors (float16) and config.json; returns the weight file."""
    state = torch.load(run / "state.pt", weights_only=True)["network"]
    network = FaceReaderNetwork(FaceReaderConfig())
    network.load_state_dict(state)
    tensors = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")  # counts training steps; says nothing about faces
    }
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".model.safetensors"
    save_file(tensors, partial, metadata={"format": "pt"})
    os.replace(partial, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(network.config), indent=2) + "\n")
    return folder / "model.safetensors"


def main() -> None:
    """Train, resume or export."""
    parser = argparse.ArgumentParser(description="Train the nano face reader.")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=FaceReaderTraining.minutes)
    parser.add_argument("--seed", type=int, default=FaceReaderTraining.seed)
    parser.add_argument("--export", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    if options.export is not None:
        _LOG.info("wrote %s", export(options.run, options.export))
        return
    if options.labels is None:
        parser.error("--labels is needed to train")
    settings = FaceReaderTraining(minutes=options.minutes, seed=options.seed)
    FaceReaderTrainer(options.labels, options.run, settings).train()


if __name__ == "__main__":
    main()
