"""Training batches of X-Portrait: sources, targets of the same people, and controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.errors import InputError
from mien.geometry import local_patches
from mien.geometry.draw_landmarks import draw_landmarks
from mien.training.data.pictures import (
    Points,
    augment,
    color_jitter,
    draw_color_jitter,
    face_importance,
    mirror,
    to_tensor,
)
from mien.training.data.samples import SampleSource, SampleSpec, SourceDrivingSample, draw_samples
from mien.training.engine.stage import Batch
from mien.training.x_portrait.control_images import ControlKind, Placement
from mien.training.x_portrait.motion_supervision import regions
from mien.typing import Picture

_FACTOR = 8  # pixels a latent, in both sizes
_PICTURES = ("source", "target", "control", "patches")


@dataclass(frozen=True)
class BatchSpec:
    """What a batch is to be.

    Attributes:
        sources: people.
        frames: targets of each.
        size: side of the window cut near the face, pixels.
        side: of the whole pictures, pixels.
        clip: consecutive frames, one driving face for all.
        patches: whether local ones are made.
        control: what the controls show.
    """

    sources: int
    frames: int
    size: int
    side: int = 256
    clip: bool = False
    patches: bool = False
    control: ControlKind = ControlKind()


@dataclass(frozen=True)
class TrainingBatch:
    """One training batch: r sources with f targets each. Pictures are [n, 3, h, w] in [-1, 1].

    Attributes:
        source: [r, 3, h, w].
        target: [r f, 3, h, w].
        control: [r f, 3, h, w], another person in the target's motion.
        patches: [r f, 3, h, w], the control's eyes and mouth, blank elsewhere.
        weight: [r f, 1, h / 8, w / 8], what the loss cares for.
        regions: [r f, REGIONS, h / 8, w / 8], where the target's features are.
    """

    source: Tensor
    target: Tensor
    control: Tensor
    patches: Tensor
    weight: Tensor
    regions: Tensor

    def batch(self) -> Batch:
        """As the loop wants it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, batch: Batch) -> TrainingBatch:
        """From the loop's batch.

        Args:
            batch: tensors by name.

        Returns:
            The same, by attributes.
        """
        return cls(**{field.name: batch[field.name] for field in fields(cls)})


def draw_batch(data: SampleSource, rng: np.random.Generator, spec: BatchSpec) -> TrainingBatch:
    """A batch of samples from the data.

    Args:
        data: where from.
        rng: of everything random.
        spec: what the batch is to be.

    Returns:
        See `TrainingBatch`.

    Raises:
        InputError: the data lack what is asked for.
    """
    others = spec.control.source != "self"
    wanted = SampleSpec(spec.frames, spec.clip, spec.side, drivers=others, photo=True)
    return collate(draw_samples(data, rng, spec.sources, wanted), rng, spec)


def collate(samples: Sequence[SourceDrivingSample], rng: np.random.Generator, spec: BatchSpec) -> TrainingBatch:
    """A batch of samples, augmented.

    Args:
        samples: one a source.
        rng: of everything random.
        spec: what the batch is to be.

    Returns:
        See `TrainingBatch`.

    Raises:
        InputError: they lack what is asked for.
    """
    rows = [_row(sample.resized(spec.side), rng, spec) for sample in samples]
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return TrainingBatch(
        **{
            name: to_tensor(np.asarray(part, np.uint8)) if name in _PICTURES else torch.from_numpy(part)
            for name, part in joined.items()
        }
    )


def _row(sample: SourceDrivingSample, rng: np.random.Generator, spec: BatchSpec) -> dict[str, NDArray[np.generic]]:
    source = sample.source.picture if sample.photo is None else sample.photo
    box = _window(sample.targets[0].landmarks, spec, rng)
    flip, light = bool(rng.random() < 0.5), draw_color_jitter(rng, 0.15, 12)
    controls, points = _controls(sample, rng, spec)
    shown, cut = [], []
    for control, place in zip(controls, points, strict=True):
        if not spec.control.landmarks:
            control = augment(control, rng)
        # the patches must show what the control shows, so they are cut from it when it is finished
        patch = local_patches(control, place) if spec.patches else control[:1, :1]
        shown.append(_cut(control, box, flip))
        cut.append(_cut(patch, box, flip) if spec.patches else patch)
    local = [np.asarray(frame.landmarks - box[:2], np.float32) for frame in sample.targets]
    covered = [regions(points, spec.size) for points in local]
    scales = [max(1.0, float(np.ptp(points[:27, 0])) / 110) for points in local]  # a face is 110 wide in 256 pixels
    weights = [
        face_importance(points, spec.size, _FACTOR, (1.2 * scale, 1.2 * scale, 1.8 * scale))
        for points, scale in zip(local, scales, strict=True)
    ]
    return {
        "source": color_jitter(_cut(source, box, flip), *light)[None],
        "target": np.stack([color_jitter(_cut(frame.picture, box, flip), *light) for frame in sample.targets]),
        "control": np.stack(shown),
        "patches": np.stack(cut),
        "weight": np.stack([weight[:, ::-1] if flip else weight for weight in weights])[:, None],
        "regions": np.stack([cover[:, :, ::-1] if flip else cover for cover in covered]),
    }


def _controls(
    sample: SourceDrivingSample, rng: np.random.Generator, spec: BatchSpec
) -> tuple[list[Picture], list[Points]]:
    """Control images laid over the target's face, and their landmarks."""
    kind, targets = spec.control, [frame.picture for frame in sample.targets]
    # F shows the target's pose and place (absolute motion), and itself it is
    landmarks, means = [frame.landmarks for frame in sample.targets], [sample.mean_landmarks] * len(targets)
    if kind.source == "face-vid2vid" and kind.reenact is not None and sample.other is not None:
        pictures = list(kind.reenact(sample.other, targets))
    elif kind.source == "self":
        pictures = targets
    elif sample.drivers is None:
        raise InputError(
            "these data show nobody else in the target's motion: give --control-source face-vid2vid or self."
        )
    else:
        pictures, landmarks = [d.picture for d in sample.drivers], [d.landmarks for d in sample.drivers]
        means = list(sample.driver_mean_landmarks)
    images, points = [], []
    factors = kind.factors(rng)
    for picture, marks, mean in zip(pictures, landmarks, means, strict=True):
        factors = factors if spec.clip else kind.factors(rng)
        place = Placement.align(mean, sample.mean_landmarks, factors)
        moved = place.points(marks)
        images.append(draw_landmarks(moved, spec.side) if kind.landmarks else place.image(picture))
        points.append(moved)
    return images, points


def _window(points: Points, spec: BatchSpec, rng: np.random.Generator) -> tuple[int, int, int]:
    """A square window near the face, its corner on the latent grid."""
    corner = points.mean(0) - spec.size / 2 + rng.uniform(-24, 24, 2) * spec.side / 256
    x, y = (np.clip(corner / _FACTOR, 0, (spec.side - spec.size) // _FACTOR).round() * _FACTOR).astype(int)
    return int(x), int(y), spec.size


def _cut(image: Picture, box: tuple[int, int, int], flip: bool) -> Picture:
    x, y, size = box
    return mirror(image[y : y + size, x : x + size], flip)
