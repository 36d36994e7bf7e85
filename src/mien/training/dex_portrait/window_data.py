"""Training batches of DeX-Portrait on face windows: moved portraits, and crops of expressive faces.

The moved portrait is in the target's pose; its keypoints went part of the way to the target's expression, or none of
it. What the face is to do is seen in a crop of another person's face, who does it under any pose and in any light, and
which only the expression encoder is shown (DeX-Portrait, Section 3.1 and Figure 3: leakage is cut off at the inputs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.geometry import HeadPose
from mien.geometry.face_window import FaceWindow, sample, warp_into
from mien.models.dex_portrait.pose import window_code
from mien.motion.inputs import TurnedCrop
from mien.training.data.pictures import to_tensor
from mien.training.data.samples import FaceFrame, SampleSource, SampleSpec, SourceDrivingSample, draw_samples
from mien.training.dex_portrait.encoder_data import EncoderAugmentation, misplaced
from mien.training.engine.stage import Batch
from mien.training.x_portrait.face_windows import nearly_read, relight
from mien.training.x_portrait.window_rows import WindowRow, WindowSpec, drawn_row, nearly_framed, neutral_of
from mien.typing import Picture

# Keypoints of eyes, of brows, of all else; how often they are not moved, and how much of the way otherwise.
_MOVED_TOGETHER = (np.r_[36:48, 68:70], np.r_[17:27], np.r_[0:17, 27:36, 48:68])
_NOT_READ, _READ = 0.15, (0.5, 1.1)
_POSE_ERROR = np.array([0.04, 0.04, 0.04, 0.01, 0.01])  # deviations: radians, and half sides of the window


@dataclass(frozen=True)
class DexWindowBatch:
    """r sources with f targets each. Pictures are [n, 3, h, w] in [-1, 1].

    Attributes:
        source: [r, 3, s, s], the portrait's own window: R's.
        source_pose: [r, 6], the head's pose code in it.
        moved: [r f, 3, s, s], the portrait in the target's pose, with its own expression.
        pose: [r f, 6], the target's pose code in its window.
        driver: [r f, 3, e, e], a crop of a face with the target's expression: the expression encoder's.
        again: another crop of the same face.
        target: [r f, 3, s, s].
        neutral: [r f, 70, 2], where the neutral face's keypoints are, in the window's coordinates [-1, 1].
    """

    source: Tensor
    source_pose: Tensor
    moved: Tensor
    pose: Tensor
    driver: Tensor
    again: Tensor
    target: Tensor
    neutral: Tensor

    def batch(self) -> Batch:
        """As the loop wants it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, batch: Batch) -> DexWindowBatch:
        """From the loop's batch.

        Args:
            batch: tensors by name.

        Returns:
            The same, by attributes.
        """
        return cls(**{field.name: batch[field.name] for field in fields(cls)})


def draw_batch(data: SampleSource, rng: np.random.Generator, spec: WindowSpec, crop: int) -> DexWindowBatch:
    """A batch of samples from the data.

    Args:
        data: where from.
        rng: of everything random.
        spec: what the batch is to be.
        crop: side of the expression encoder's crops, pixels.

    Returns:
        See `DexWindowBatch`.

    Raises:
        InputError: the data do not know neutral keypoints or poses.
    """
    wanted = SampleSpec(spec.frames, spec.clip, drivers=not spec.self_driven, elsewhere=True)
    return collate(draw_samples(data, rng, spec.sources, wanted), rng, spec, crop)


def collate(
    samples: Sequence[SourceDrivingSample], rng: np.random.Generator, spec: WindowSpec, crop: int
) -> DexWindowBatch:
    """A batch of samples.

    Args:
        samples: one a source.
        rng: of everything random.
        spec: what the batch is to be.
        crop: side of the expression encoder's crops, pixels.

    Returns:
        See `DexWindowBatch`.

    Raises:
        InputError: they do not know neutral keypoints or poses.
    """
    rows = [drawn_row(one, rng, spec) for one in samples]
    columns = list(zip(*(frame for row in rows for frame in _frames(row, crop)), strict=True))
    moved, driver, again, target = (to_tensor(list(column)) for column in columns[:4])
    pose, neutral = (torch.from_numpy(np.stack(column).astype(np.float32)) for column in columns[4:])
    source_pose = torch.from_numpy(np.stack([_code(row.source, row.own) for row in rows]))
    return DexWindowBatch(
        to_tensor([row.window for row in rows]), source_pose, moved, pose, driver, again, target, neutral
    )


# moved portrait, two crops, target, pose code, neutral keypoints in the window
_Frame = tuple[Picture, Picture, Picture, Picture, NDArray[np.float32], NDArray[np.float32]]


def _frames(row: WindowRow, crop: int) -> Iterator[_Frame]:
    for target, driver, rng in row.pairs():
        moved, first, again, wanted, pose, neutral = _frame(row.source, target, driver, rng, row.spec, crop)
        yield row.lit(moved), first, again, row.lit(wanted), pose, neutral


def _frame(
    source: FaceFrame, target: FaceFrame, driver: FaceFrame, rng: np.random.Generator, spec: WindowSpec, crop: int
) -> _Frame:
    neutral, driven = neutral_of(target), half_moved(source, target, rng if spec.errors else None)
    window = FaceWindow.around(neutral)
    if spec.errors:
        window = nearly_framed(window, neutral, rng)
        driven = nearly_read(driven, neutral, rng)
    moved = warp_into(window, source.picture, source.keypoints(), driven, spec.side)
    crops = [_crop(driver, rng, spec, crop) for _ in range(2)]
    pose = _code(target, window)
    if spec.errors:
        pose[:5] += (rng.normal(size=5) * _POSE_ERROR).astype(np.float32)
    wanted = sample(target.picture, window.places(spec.side))
    return moved, crops[0], crops[1], wanted, pose, window.inside(neutral)


def half_moved(source: FaceFrame, target: FaceFrame, rng: np.random.Generator | None) -> NDArray[np.float32]:
    """The source's keypoints [70, 2] in the target's pose, its expression part of the way to the target's.

    That far the expression code's linear reading takes them at inference; the rest is what is to be painted.

    Args:
        source: the portrait.
        target: the same person.
        rng: draws how much of the way, for eyes, brows and mouth each; None: all of it.
    """
    own, wanted = posed_as(source, target), np.asarray(target.keypoints(), np.float32)
    if rng is None:
        return wanted
    share = np.zeros((len(own), 1), np.float32)
    for part in _MOVED_TOGETHER:
        share[part] = 0.0 if rng.random() < _NOT_READ else rng.uniform(*_READ)
    return own + share * (wanted - own)


def posed_as(source: FaceFrame, target: FaceFrame) -> NDArray[np.float32]:
    """The source's keypoints in the target's pose and in its own expression.

    What the source's expression does is turned from its pose into the target's, in the plane in which it was seen.

    Args:
        source: with its pose, pupils and neutral keypoints.
        target: with the same.

    Returns:
        [70, 2], pixels of the target.
    """
    before, after = (HeadPose(one.head_pose()[:3], np.zeros(2), float(one.head_pose()[5])) for one in (source, target))
    away = np.asarray(source.keypoints() - neutral_of(source), np.float64)
    lifted = np.column_stack([away, np.zeros(len(away))]) @ before.matrix()  # into the head's frame
    turned = (lifted @ after.matrix().T)[:, :2] * (after.scale * target.side / (before.scale * source.side))
    return np.asarray(neutral_of(target) + turned, np.float32)


def _crop(driver: FaceFrame, rng: np.random.Generator, spec: WindowSpec, side: int) -> Picture:
    """The face as the expression encoder is shown it, in another light, from landmarks that are not quite right."""
    crop = TurnedCrop.upright(driver.landmarks)
    if not spec.errors:
        return crop.extract(driver.picture, side)
    shown = misplaced(crop, EncoderAugmentation(), rng).extract(driver.picture, side)
    return relight(shown, rng, strongly=spec.self_driven)


def _code(frame: FaceFrame, window: FaceWindow) -> NDArray[np.float32]:
    """The pose code [6] of a frame's head in a window of it."""
    pose, half = frame.head_pose(), frame.side / 2
    head = HeadPose(pose[:3], (np.asarray(pose[3:5], np.float64) + 1) * half, float(pose[5]) * half)
    return np.asarray(window_code(window.head(head)), np.float32)
