"""Training batches of Face Vid2Vid: a person's picture, others of the same person, head poses, patch corners."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mien.errors import InputError
from mien.geometry import HeadPose
from mien.geometry.patches import patch_boxes
from mien.models.face_vid2vid.config import BIN_DEGREES, BINS, FIRST_BIN
from mien.training.data.pictures import color_jitter, draw_color_jitter, to_tensor
from mien.training.data.samples import FaceFrame, SampleSource, SampleSpec, SourceDrivingSample, draw_samples
from mien.training.engine.stage import Batch
from mien.typing import Picture

_LARGEST = min(-FIRST_BIN, FIRST_BIN + BIN_DEGREES * (BINS - 1))  # degrees that both ways can be told
_GAIN, _SHIFT = 0.1, 13.0  # of the colours, the same for all pictures of a sample


def draw_batch(
    data: SampleSource, rng: np.random.Generator, sources: int, spec: SampleSpec, plain: bool = False
) -> Batch:
    """A batch of samples whose heads are all turned by less than the bins can tell.

    Args:
        data: where from.
        rng: of everything random.
        sources: how many.
        spec: what a sample is to be.
        plain: nothing is augmented.

    Returns:
        Tensors by name, see `collate`.

    Raises:
        InputError: heads in the data are turned too far.
    """
    try:
        samples = draw_samples(data, rng, sources, spec, _within_bins)
    except InputError as error:
        if "hardly any" not in str(error):
            raise
        raise InputError(
            f"heads in the training data are turned by more than {_LARGEST:.0f} degrees: name other data."
        ) from error
    return collate(samples, rng, spec.side, plain)


def collate(samples: Sequence[SourceDrivingSample], rng: np.random.Generator, side: int, plain: bool = False) -> Batch:
    """A batch of samples.

    Args:
        samples: r sources with their targets, n in all.
        rng: for mirrors and colours, which are the same for all pictures of a sample.
        side: of the pictures, pixels.
        plain: neither mirrored nor jittered in colour.

    Returns:
        source [r, 3, s, s] and target [n, 3, s, s] in [-1, 1], targets of one source neighbours; source_angles [r, 3]
        and angles [n, 3]: yaw, pitch and roll in degrees; corners [n, 3, 2]: upper left corners (x, y) of the eye and
        mouth patches, pixels.
    """
    sources: list[tuple[Picture, FaceFrame]] = []
    targets: list[tuple[Picture, FaceFrame]] = []
    for sample in samples:
        flip, light = not plain and bool(rng.random() < 0.5), draw_color_jitter(rng, _GAIN, _SHIFT)
        for frame in (sample.source, *sample.targets):
            shown = frame.resized(side)
            shown = shown.mirrored() if flip else shown
            picture = shown.picture if plain else color_jitter(shown.picture, *light)
            (sources if frame is sample.source else targets).append((picture, shown))
    corners = [[box[:2] for box in patch_boxes(frame.landmarks, side)] for _, frame in targets]
    return {
        "source": to_tensor([picture for picture, _ in sources]),
        "target": to_tensor([picture for picture, _ in targets]),
        "source_angles": torch.from_numpy(np.stack([angles_of(frame) for _, frame in sources])),
        "angles": torch.from_numpy(np.stack([angles_of(frame) for _, frame in targets])),
        "corners": torch.tensor(corners),
    }


def angles_of(frame: FaceFrame) -> NDArray[np.float32]:
    """How a head is turned.

    Args:
        frame: with its pose.

    Returns:
        Yaw, pitch and roll [3], degrees.
    """
    pose = frame.head_pose()
    head = HeadPose(np.asarray(pose[:3]), np.asarray(pose[3:5]), float(pose[5]))
    return np.array([head.yaw, head.pitch, head.roll], np.float32)


def _within_bins(sample: SourceDrivingSample) -> bool:
    return all(np.abs(angles_of(frame)).max() <= _LARGEST for frame in (sample.source, *sample.targets))
