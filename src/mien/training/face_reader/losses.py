"""What the nano face reader learns from: labelled faces, and the losses of its two networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nn_functional

from mien.errors import InputError
from mien.models.face_reader import CropReading, Finder, Finding
from mien.training.engine.stage import Batch, Terms
from mien.training.face_reader.augmentation import Face
from mien.training.face_reader.labels import LabelSet, available_labels, load_labels

# Points whose distances tell how far eyes, lips and brows are open or raised.
_GAPS = torch.tensor(
    [[37, 41], [38, 40], [43, 47], [44, 46], [61, 67], [62, 66], [63, 65], [51, 57], [48, 54], [19, 37], [24, 44]]
)


class FaceDraw:
    """Draws labelled faces: avatars for motion, stills for appearance, clips for both."""

    SHARES = (("portraits", 0.3), ("clips", 0.1), ("group", 0.6))

    def __init__(self, folder: Path) -> None:
        """Raises InputError where the folder holds no label set."""
        self._folder = folder
        self._sets: dict[str, LabelSet] = {}
        self.refresh()
        if not self._kinds:
            raise InputError(
                f"{folder} holds no label sets: make them with python -m mien.training.face_reader.labels."
            )

    def refresh(self) -> None:
        """Take in label sets that have been completed since."""
        for name in available_labels(self._folder):
            if name not in self._sets and not name.startswith("val_"):
                self._sets[name] = load_labels(self._folder, name)
        kinds = [
            (share, [s for n, s in self._sets.items() if n.startswith(prefix) and len(s)])
            for prefix, share in self.SHARES
        ]
        self._kinds = [(share, sets) for share, sets in kinds if sets]

    @property
    def size(self) -> int:
        """How many faces there are."""
        return sum(len(s) for s in self._sets.values())

    def face(self, rng: np.random.Generator) -> Face:
        """One face at random."""
        shares = np.array([share for share, _ in self._kinds])
        sets = self._kinds[int(rng.choice(len(shares), p=shares / shares.sum()))][1]
        return face_at(sets[int(rng.integers(len(sets)))], rng)

    def mean_expression(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [52] of the scores."""
        scores = np.stack([self.face(rng).expression for _ in range(count)])
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


def reading_loss(found: CropReading, truth: Batch, spread: Tensor) -> Terms:
    """Terms of the crop reader's loss; all but confidence over the crops that show a face.

    truth: see `crop_batch`. spread: [52], the scores' standard deviations, by which their errors are measured.
    """
    is_face = truth["face"]
    landmarks, angles = truth["landmarks"][is_face], truth["angles"][is_face]  # [n, 68, 2], [n, 3]
    expression = truth["expression"][is_face]
    weight = torch.ones(68, device=landmarks.device)
    weight[:17], weight[36:] = 0.5, 1.5
    places = found.landmarks[is_face]
    first, second = _GAPS.to(places.device).unbind(1)
    gaps = places[:, first] - places[:, second] - landmarks[:, first] + landmarks[:, second]
    error = (found.expression[is_face] - expression) / spread
    return {
        "landmarks": 10 * ((places - landmarks).abs() * weight[:, None]).mean(),
        "gaps": 10 * gaps.abs().mean(),
        "angles": 4 * (found.angles[is_face] - angles).abs().mean(),
        "expression": nn_functional.smooth_l1_loss(error, torch.zeros_like(error)),
        "confidence": 0.3 * nn_functional.binary_cross_entropy_with_logits(found.logit, is_face.float()),
    }


def finding_loss(found: Finding, faces: Tensor) -> Terms:
    """Terms of the finder's loss: a soft spot at each face's centre, and its place, size and roll around there.

    faces: [b, n, 4], x, y, larger extent and roll; those of size 0 are none.
    """
    batch, height, width = found.logit.shape
    spot = torch.zeros(batch, height, width, device=faces.device)
    truth = torch.zeros(batch, 4, height, width, device=faces.device)
    cells = torch.arange(max(height, width), device=faces.device)
    rows, columns = torch.meshgrid(cells[:height], cells[:width], indexing="ij")
    for face in faces.unbind(1):
        x, y, size, _ = (value[:, None, None] for value in face.unbind(1))
        far = ((columns + 0.5) * Finder.STRIDE - x) ** 2 + ((rows + 0.5) * Finder.STRIDE - y) ** 2
        here = torch.exp(-far / (2 * torch.clamp(0.08 * size, min=0.6 * Finder.STRIDE) ** 2)) * (size > 0)
        nearer = (here > spot)[:, None]
        truth = torch.where(nearer, face[:, :, None, None], truth)
        spot = torch.maximum(spot, here)
    # Generalised focal loss (Li et al. 2020, eq. 4) with exponent 2: cells already right count little.
    entropy = nn_functional.binary_cross_entropy_with_logits(found.logit, spot, reduction="none")
    focus = (torch.sigmoid(found.logit) - spot) ** 2
    near = torch.where(spot > 0.3, spot, torch.zeros_like(spot))
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
