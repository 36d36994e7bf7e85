"""Training batches of DeX-Portrait: one picture of a person, others of the same person, and what the encoders see.

Avatars give what the paper could not have: the exact pose of every picture, and the same expression under another pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mien.models.dex_portrait import DeXPortraitConfig
from mien.models.dex_portrait.pose import codes_of_head_poses
from mien.motion.inputs import face_crop, face_oval, masked_frame
from mien.training.data.pictures import color_jitter, draw_color_jitter, resize, to_tensor
from mien.training.data.samples import FaceFrame, SampleSource, SampleSpec, SourceDrivingSample, draw_samples
from mien.training.engine.stage import Batch
from mien.typing import Picture

DRIVERS = 4  # of each source (supplement, B.2)


@dataclass(frozen=True)
class Augmentation:
    """How the expression encoder's crops are changed (paper, Figure 3; the ranges are ours).

    Attributes:
        rotated, other_view: chances.
        degrees: of the turn, either way.
        jitter: of the box's size, a part of it.
        color_jitter: of the colours, a part of them.
        off: leave the crop as it is and show the pose encoder eyes and mouth: the paper's ablation.
    """

    rotated: float = 0.8
    degrees: float = 45.0
    other_view: float = 0.5
    jitter: float = 0.1
    color_jitter: float = 0.15
    off: bool = False

    def none(self) -> Augmentation:
        """Crops as they are; what the pose encoder sees stays."""
        return replace(self, rotated=0.0, other_view=0.0, jitter=0.0, color_jitter=0.0)


@dataclass(frozen=True)
class Collate:
    """Makes batches of samples.

    Attributes:
        config: of the networks.
        side: of the source and target pictures, pixels.
        augmentation: of the crops.
    """

    config: DeXPortraitConfig
    side: int
    augmentation: Augmentation = Augmentation()

    def draw(
        self, data: SampleSource, rng: np.random.Generator, sources: int, drivers: int = DRIVERS, clip: bool = False
    ) -> Batch:
        """A batch of samples from the data.

        Args:
            data: where from.
            rng: of everything random.
            sources: people, r.
            drivers: targets of each.
            clip: whether targets are consecutive frames.

        Returns:
            See `__call__`.
        """
        spec = SampleSpec(drivers, clip, self.side, views=not self.augmentation.off)
        return self(draw_samples(data, rng, sources, spec), rng)

    def __call__(self, samples: Sequence[SourceDrivingSample], rng: np.random.Generator) -> Batch:
        """A batch of r samples with n targets in all, targets of one source neighbours.

        Returns:
            source, source_masked, source_crop, source_pose [r, ...]; target, masked, crop, again (the crop, augmented
            anew), mask (the face's oval [n, 1, side, side]) and pose [n, ...]. Pictures are in [-1, 1], poses codes
            [., 6].
        """
        columns: dict[str, list[NDArray[np.generic]]] = {}
        for sample in samples:
            self._add(columns, "source_", sample.source, sample.source, rng)
            for index, frame in enumerate(sample.targets):
                self._add(columns, "", frame, frame if sample.views is None else sample.views[index], rng)
        columns["source"] = columns.pop("source_target")
        return {name: _stacked(name, column) for name, column in columns.items()}

    def _add(
        self,
        columns: dict[str, list[NDArray[np.generic]]],
        prefix: str,
        frame: FaceFrame,
        view: FaceFrame,
        rng: np.random.Generator,
    ) -> None:
        shown = frame.resized(self.side)
        masked = frame.picture if self.augmentation.off else masked_frame(frame.picture, frame.landmarks)
        put: dict[str, NDArray[np.generic]] = {
            "target": shown.picture,
            "masked": resize(masked, self.config.pose.size),
            "crop": self._crop(frame, view, rng),
            "pose": codes_of_head_poses(frame.head_pose()[None])[0],
        }
        if not prefix:
            put |= {"again": self._crop(frame, view, rng), "mask": face_oval(shown.landmarks, self.side)}
        for name, value in put.items():
            columns.setdefault(prefix + name, []).append(value)

    def _crop(self, frame: FaceFrame, view: FaceFrame, rng: np.random.Generator) -> Picture:
        how, size = self.augmentation, self.config.expression.size
        if how.off:
            return face_crop(frame.picture, frame.landmarks, size)
        shown = view if rng.random() < how.other_view else frame
        degrees = rng.uniform(-how.degrees, how.degrees) if rng.random() < how.rotated else 0.0
        scale = 1.1 * rng.uniform(1 - how.jitter, 1 + how.jitter)
        crop = face_crop(shown.picture, shown.landmarks, size, degrees, scale)
        return color_jitter(crop, *draw_color_jitter(rng, how.color_jitter, 128 * how.color_jitter))


def _stacked(name: str, column: list[NDArray[np.generic]]) -> torch.Tensor:
    if column[0].dtype == np.uint8:
        return to_tensor(np.asarray(column, np.uint8))
    stacked = torch.from_numpy(np.stack(column)).float()
    return stacked[:, None] if name == "mask" else stacked
