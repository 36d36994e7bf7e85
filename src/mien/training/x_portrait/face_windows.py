"""Training batches of the face-window model: moved portraits, rectified driving frames, and what they should look like.

Another person in the target's motion is laid over the target by where both faces would be without expression
(`mien.geometry.face_window`), as the driving video is when a portrait is animated. What a driving face may not bring
along is
changed at random: light, colours, sharpness, proportions (X-Portrait, Section 3.4, scales driving faces for the same
    reason).
What a face reader gets wrong is drawn, so that the driving face's pixels are believed where they say more than points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.geometry.draw_landmarks import drawn_in_window
from mien.geometry.face_window import FaceWindow, local_view, rectified_driver, sample, warp_into
from mien.training.data.pictures import resize, to_tensor
from mien.training.data.samples import FaceFrame, Points, SampleSource, SampleSpec, SourceDrivingSample, draw_samples
from mien.training.engine.stage import Batch
from mien.training.x_portrait.window_rows import (
    WindowRow,
    WindowSpec,
    drawn_row,
    half_extent,
    nearly_framed,
    neutral_of,
)
from mien.typing import Picture

LOCAL_ZOOM = 2  # the rectified driver has so many times the window's pixels a side: C_l sees eyes and mouth larger
_RIGHT_EYE, _LEFT_EYE = list(range(36, 42)), list(range(42, 48))
_MIRRORED_LEFT = [45, 44, 43, 42, 47, 46]  # the left eye's points in the order of the right one's
_BROWS = (list(range(17, 22)), list(range(22, 27)))
_MOUTH, _CHIN, _PUPILS = list(range(48, 68)), list(range(5, 12)), slice(68, 70)
_RIMS = ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65))  # upper and lower: they never cross
_REGIONS = (slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68))  # move apart between people
# In half extents of the face: shift of all points, noise of each; errors of a person's proportions, and how much larger
# they are where the driver is the target itself, whose proportions would otherwise give the answer away.
_SHIFT, _NOISE, _PROPORTIONS, _OWN_PROPORTIONS = 0.004, 0.006, 0.012, 0.03
_READ = (0.25, 0.35, 0.4)  # of the targets: read well, misread, parts not read at all
_UNREAD = 0.6  # of the parts then, the pupils' both together half of the time
_EXPRESSIVE = slice(17, 70)
_SCALING = 0.05  # of the driver


@dataclass(frozen=True)
class WindowBatch:
    """r sources with f targets each. Pictures are [n, 3, h, w] in [-1, 1].

    Attributes:
        source: [r, 3, s, s], the portrait's own window: R's.
        moved: [r f, 3, s, s], the portrait moved to the driven keypoints: what denoising starts from.
        driver: [r f, 3, s, s], the rectified driver: C's.
        local: [r f, 3, 2 s, 2 s], its eyes and mouth: C_l's.
        target: [r f, 3, s, s].
        neutral: [r f, 70, 2], where the neutral face's keypoints are, in the window's coordinates [-1, 1].
    """

    source: Tensor
    moved: Tensor
    driver: Tensor
    local: Tensor
    target: Tensor
    neutral: Tensor

    def batch(self) -> Batch:
        """As the loop wants it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, batch: Batch) -> WindowBatch:
        """From the loop's batch.

        Args:
            batch: tensors by name.

        Returns:
            The same, by attributes.
        """
        return cls(**{field.name: batch[field.name] for field in fields(cls)})


def draw_batch(data: SampleSource, rng: np.random.Generator, spec: WindowSpec) -> WindowBatch:
    """A batch of samples from the data: of two draws each the one whose targets differ more from the source.

    Args:
        data: where from.
        rng: of everything random.
        spec: what the batch is to be.

    Returns:
        See `WindowBatch`.

    Raises:
        InputError: the data lack what is asked for.
    """
    wanted = SampleSpec(spec.frames, spec.clip, drivers=not spec.self_driven)
    pairs = [draw_samples(data, rng, 2, wanted) for _ in range(spec.sources)]
    return collate([max(pair, key=_changes) for pair in pairs], rng, spec)


def _changes(sample: SourceDrivingSample) -> float:
    """How far brows, eyes, pupils and lips of the targets are from where the source's expression has them."""

    def expression(frame: FaceFrame) -> Points:
        neutral = neutral_of(frame)
        return (frame.keypoints() - neutral)[_EXPRESSIVE] / half_extent(neutral)

    own = expression(sample.source)
    return float(sum(np.abs(expression(target) - own).mean() for target in sample.targets))


def collate(samples: Sequence[SourceDrivingSample], rng: np.random.Generator, spec: WindowSpec) -> WindowBatch:
    """A batch of samples.

    Args:
        samples: one a source.
        rng: of everything random.
        spec: what the batch is to be.

    Returns:
        See `WindowBatch`.

    Raises:
        InputError: they do not know neutral keypoints, or show no driving face.
    """
    rows = [drawn_row(one, rng, spec) for one in samples]
    frames = [frame for row in rows for frame in _frames(row)]
    return WindowBatch(
        to_tensor([row.window for row in rows]),
        to_tensor([frame.moved for frame in frames]),
        to_tensor([resize(frame.driver, spec.side) for frame in frames]),
        to_tensor([local_view(frame.driver, frame.neutral) for frame in frames]),
        to_tensor([frame.target for frame in frames]),
        torch.from_numpy(np.stack([frame.neutral for frame in frames])),
    )


@dataclass(frozen=True)
class _WindowFrame:
    """One target, see `WindowBatch`; uint8 pictures."""

    moved: Picture
    driver: Picture
    target: Picture
    neutral: NDArray[np.float32]


def _frames(row: WindowRow) -> Iterator[_WindowFrame]:
    for target, driver, rng in row.pairs():
        made = _frame(row.source, target, driver, rng, row.spec)
        yield replace(made, moved=row.lit(made.moved), target=row.lit(made.target))


def _frame(
    source: FaceFrame, target: FaceFrame, driver: FaceFrame, rng: np.random.Generator, spec: WindowSpec
) -> _WindowFrame:
    neutral, driving, driven = neutral_of(target), neutral_of(driver), target.keypoints()
    window = FaceWindow.around(neutral)
    if spec.errors:
        window = nearly_framed(window, neutral, rng)
        reader = _READERS[int(rng.choice(len(_READERS), p=_READ))]
        driven = reader(driven, neutral, rng)
        amount = _OWN_PROPORTIONS if spec.self_driven else _PROPORTIONS
        driving = of_other_proportions(driving, rng, amount, _SCALING if spec.scaling else 0.0)
    moved = warp_into(window, source.picture, source.keypoints(), driven, spec.side)
    if spec.landmarks:
        seen = drawn_in_window(window, driven, (spec.side, LOCAL_ZOOM * spec.side))
    else:
        seen = rectified_driver(window, driver.picture, driving, neutral, LOCAL_ZOOM * spec.side)
        if spec.errors:
            seen = relight(seen, rng, strongly=spec.self_driven)
    wanted = sample(target.picture, window.places(spec.side))
    return _WindowFrame(moved, seen, wanted, window.inside(neutral))


def misread(keypoints: Points, neutral: Points, rng: np.random.Generator) -> NDArray[np.float32]:
    """Keypoints as a face reader would give them.

    Every part of the face shows its expression more or less, often not at all; both eyes are often taken for equally
    shut, crossed pupils for parallel ones; everything is a little off.

    Args:
        keypoints: the true ones [70, 2], pixels.
        neutral: the same without expression [70, 2].
        rng: what all errors are drawn from.

    Returns:
        [70, 2].
    """
    true = np.asarray(keypoints - neutral, np.float64)
    read = true.copy()

    def strength(exact: float, low: float, high: float) -> float:
        return 1.0 if rng.random() < exact else float(rng.uniform(low, high))

    for eye in (_RIGHT_EYE, _LEFT_EYE):
        read[eye] = true[eye] * strength(0.35, -0.1, 1.15)
    if rng.random() < 0.4:
        both = (read[_RIGHT_EYE] + read[_MIRRORED_LEFT]) / 2
        read[_RIGHT_EYE] = read[_MIRRORED_LEFT] = both
    brows = strength(0.4, -0.1, 1.1)
    for brow in _BROWS:
        read[brow] = true[brow] * (brows * rng.uniform(0.8, 1.2) if rng.random() < 0.6 else rng.uniform(-0.1, 1.1))
    sideways, open_ = strength(0.4, 0, 1.15), strength(0.5, 0.5, 1.25)
    for part in (_MOUTH, _CHIN):
        read[part] = true[part] * [sideways, open_]
    gaze = strength(0.3, -0.2, 1.2)
    read[_PUPILS] = (true[_PUPILS].mean(0) if rng.random() < 0.3 else true[_PUPILS]) * gaze
    placed = nearly_read(neutral + read, neutral, rng)
    for upper, lower in _RIMS:
        if placed[upper, 1] > placed[lower, 1]:
            placed[[upper, lower]] = placed[[upper, lower]].mean(0)
    return placed


def nearly_read(keypoints: Points, neutral: Points, rng: np.random.Generator) -> NDArray[np.float32]:
    """Keypoints as of a reader that sees everything, a little off.

    Args:
        keypoints: as they are [70, 2].
        neutral: the same face without expression [70, 2].
        rng: draws how far off.

    Returns:
        [70, 2].
    """
    half = half_extent(neutral)
    away = rng.normal(size=2) * _SHIFT * half + rng.normal(size=np.shape(keypoints)) * _NOISE * half
    return np.asarray(keypoints + away, np.float32)


def partly_read(keypoints: Points, neutral: Points, rng: np.random.Generator) -> NDArray[np.float32]:
    """Keypoints whose expression nobody has read in some parts: there the driving pixels are all that tells it.

    Args:
        keypoints: as they are [70, 2].
        neutral: the same face without expression [70, 2].
        rng: draws which parts, and how far off the others are.

    Returns:
        [70, 2].
    """
    read = np.array(keypoints, np.float64)
    for part in ([*_RIGHT_EYE, 68], [*_LEFT_EYE, 69], [*_BROWS[0], *_BROWS[1]], _MOUTH):
        if rng.random() < _UNREAD:
            read[part] = neutral[part]
    if rng.random() < 0.5:
        read[_PUPILS] = neutral[_PUPILS]
    return nearly_read(read, neutral, rng)


_READERS = (nearly_read, misread, partly_read)


def of_other_proportions(
    neutral: Points, rng: np.random.Generator, amount: float, scaling: float = _SCALING
) -> NDArray[np.float32]:
    """Neutral keypoints as of somebody whose brows, eyes, nose and mouth lie and measure a little otherwise.

    Args:
        neutral: [70, 2].
        rng: draws the differences.
        amount: their deviation, of half the face.
        scaling: by how much the whole is larger or smaller at most.

    Returns:
        [70, 2].
    """
    half, points = half_extent(neutral), np.array(neutral, np.float64)
    for region in _REGIONS:
        middle = points[region].mean(0)
        points[region] = middle + (points[region] - middle) * (1 + rng.normal(size=2) * 1.5 * amount)
        points[region] += rng.normal(size=2) * amount * half
    middle = points[:68].mean(0)
    points = middle + (points - middle) * rng.uniform(1 - scaling, 1 + scaling)
    points += rng.normal(size=2) * 0.5 * amount * half + rng.normal(size=points.shape) * 0.25 * amount * half
    return points.astype(np.float32)


def relight(picture: Picture, rng: np.random.Generator, strongly: bool = False) -> Picture:
    """Another light, other colours, another camera: nothing of the driving face's looks may be worth copying.

    Args:
        picture: uint8 [h, w, 3].
        rng: draws them.
        strongly: any hue, and grey more often, for driving faces that are the target itself.

    Returns:
        uint8 [h, w, 3].
    """
    seen = picture
    if rng.random() < (0.45 if strongly else 0.25):
        seen = cv2.cvtColor(cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    elif rng.random() < 0.6:
        seen = _other_hue(seen, rng, 90 if strongly else 8)
    seen = _other_contrast(seen, rng)
    if rng.random() < 0.4:
        seen = _lit_from_a_side(seen, rng)
    if rng.random() < 0.35:
        seen = cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(0.4, 2.2)))
    if rng.random() < 0.25:
        grain = rng.standard_normal((seen.shape[0] // 2, seen.shape[1] // 2, 3), dtype=np.float32)
        larger = cv2.resize(grain * np.float32(rng.uniform(2, 10)), seen.shape[1::-1])
        seen = cv2.add(seen, larger, dtype=cv2.CV_8U)
    if rng.random() < 0.2:
        _, code = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 70))])
        seen = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(seen, np.uint8)


def _other_hue(picture: Picture, rng: np.random.Generator, most: int) -> Picture:
    """Hue turned by up to `most` of OpenCV's 180 steps either way, saturation scaled."""
    levels = np.arange(256, dtype=np.float32)
    turned = (levels + int(rng.integers(-most, most + 1))) % 180
    table = np.stack([turned, np.clip(levels * rng.uniform(0.3, 1.6), 0, 255), levels], 1)
    changed = cv2.LUT(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV), table.astype(np.uint8)[None].reshape(256, 1, 3))
    return np.asarray(cv2.cvtColor(changed, cv2.COLOR_HSV2RGB), np.uint8)


def _other_contrast(picture: Picture, rng: np.random.Generator) -> Picture:
    """Gamma, contrast about the mean, brightness, and a shift of each colour, by one table."""
    mean = np.array(cv2.mean(picture)[:3])
    levels = np.arange(256, dtype=np.float64)[:, None]
    if rng.random() < 0.3:
        levels = 255 * (levels / 255) ** rng.uniform(0.6, 1.6)
    shift = rng.uniform(-20, 20) + rng.uniform(-9, 9, 3)  # all colours, and each
    levels = (levels - mean) * rng.uniform(0.7, 1.3) + mean * rng.uniform(0.7, 1.3) + shift
    return np.asarray(cv2.LUT(picture, np.clip(levels, 0, 255).astype(np.uint8).reshape(256, 1, 3)), np.uint8)


def _lit_from_a_side(picture: Picture, rng: np.random.Generator) -> Picture:
    """Brighter on one side than on the other, by up to 45 %."""
    turn, steps = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, picture.shape[0], dtype=np.float32)
    slope = np.cos(turn) * steps[None] + np.sin(turn) * steps[:, None]
    light = (1 + 0.45 * rng.uniform() * slope).astype(np.float32)
    return np.asarray(cv2.multiply(picture, cv2.merge([light, light, light]), dtype=cv2.CV_8U), np.uint8)
