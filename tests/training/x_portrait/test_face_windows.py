"""Batches of face windows: what is moved, what is rectified, and what is got wrong on purpose."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from mien.errors import InputError
from mien.training.data.samples import FaceFrame, SampleSpec, SourceDrivingSample
from mien.training.x_portrait.face_windows import (
    WindowBatch,
    collate,
    draw_batch,
    misread,
    of_other_proportions,
    partly_read,
    relight,
)
from mien.training.x_portrait.window_rows import WindowSpec
from plain_face import plain_keypoints

SIDE = 240


def neutral_face(centre: tuple[float, float] = (120.0, 116.0)) -> np.ndarray:
    return plain_keypoints(centre, 52.0).astype(np.float32)


def frame(gaze: float, skin: tuple[int, int, int], centre: tuple[float, float] = (120.0, 116.0)) -> FaceFrame:
    """Somebody who looks `gaze` pixels aside."""
    neutral = neutral_face(centre)
    points = neutral.copy()
    points[68:, 0] += gaze
    picture = np.full((SIDE, SIDE, 3), 40, np.uint8)
    cv2.ellipse(picture, (int(centre[0]), int(centre[1])), (56, 68), 0, 0, 360, skin, -1)
    for x, y in neutral[68:]:
        cv2.ellipse(picture, (round(float(x)), round(float(y))), (9, 4), 0, 0, 360, (250, 250, 250), -1)
    for x, y in points[68:]:
        cv2.circle(picture, (round(float(x)), round(float(y))), 3, (0, 0, 0), -1)
    return FaceFrame(picture, points[:68], None, points[68:], neutral)


def a_sample() -> SourceDrivingSample:
    portrait = (200, 150, 120)
    targets = [frame(6, portrait), frame(-6, portrait)]
    drivers = [frame(6, (90, 60, 50), (132, 124)), frame(-6, (90, 60, 50), (108, 120))]
    return SourceDrivingSample(
        frame(0, portrait), targets, targets[0].landmarks, drivers, [d.landmarks for d in drivers]
    )


class OneSample:
    """Data that always give the same."""

    def sample(self, rng: np.random.Generator, spec: SampleSpec) -> SourceDrivingSample:
        return a_sample()

    def at_step(self, step: int) -> None:
        pass

    def refresh(self) -> int:
        return 1


def test_shapes_and_ranges() -> None:
    batch = draw_batch(OneSample(), np.random.default_rng(0), WindowSpec(3, 2, 48))
    assert batch.source.shape == (3, 3, 48, 48)
    assert batch.moved.shape == batch.target.shape == (6, 3, 48, 48)
    assert batch.driver.shape == (6, 3, 48, 48) and batch.local.shape == (6, 3, 96, 96)
    assert batch.neutral.shape == (6, 70, 2) and batch.neutral.abs().max() < 1.2
    assert all(float(part.min()) >= -1 and float(part.max()) <= 1 for part in (batch.source, batch.moved, batch.driver))
    assert torch.equal(WindowBatch.of(batch.batch()).driver, batch.driver)


def test_a_batch_is_its_seeds() -> None:
    one, two, other = (
        draw_batch(OneSample(), np.random.default_rng(seed), WindowSpec(2, 2, 32)).driver for seed in (5, 5, 6)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_the_landmark_baseline_sees_lines_where_the_moved_portrait_has_its_landmarks() -> None:
    spec = WindowSpec(1, 2, 96, errors=False, landmarks=True)
    rng = np.random.default_rng
    drawn, driven = (collate([a_sample()], rng(0), replace(spec, landmarks=on)) for on in (True, False))
    assert torch.equal(drawn.moved, driven.moved) and not torch.equal(drawn.driver, driven.driver)
    black = (drawn.driver == -1).all(1)
    assert black.float().mean() > 0.8, "lines on black"
    lip = ((drawn.neutral[0, 48] + 1) / 2 * 96).round().long()
    assert drawn.driver[0, :, lip[1], lip[0]].max() > 0


def pupil(picture: torch.Tensor, neutral: torch.Tensor) -> float:
    """How far to the right of its neutral place the right eye's pupil is seen, of the picture's side."""
    side = picture.shape[-1]
    x, y = ((neutral[68] + 1) / 2 * side).round().int().tolist()
    reach = side // 24
    patch = picture.mean(0)[y - reach // 3 : y + reach // 3 + 1, x - reach : x + reach + 1]
    dark = (patch < patch.min() + 0.3).float()
    return float((dark.sum(0) * torch.arange(-reach, reach + 1)).sum() / dark.sum()) / side


def test_rectified_driver_looks_where_the_target_looks() -> None:
    """The driver has other colours and another place; both targets look to different sides."""
    batch = collate([a_sample()], np.random.default_rng(3), WindowSpec(1, 2, 96, errors=False))
    wanted = [pupil(picture, neutral) for picture, neutral in zip(batch.target, batch.neutral, strict=True)]
    seen = [pupil(picture, neutral) for picture, neutral in zip(batch.driver, batch.neutral, strict=True)]
    assert seen == pytest.approx(wanted, abs=0.008) and wanted[0] * wanted[1] < 0
    away = (batch.moved - batch.target).abs().mean(1)
    assert float((away > 0.2).float().mean()) < 0.02, "but for the eyes the moved source is the target already"


def test_a_reader_takes_winks_for_half_shut_eyes_and_lids_never_cross() -> None:
    neutral = neutral_face()
    wink = neutral.copy()
    wink[[37, 38]] = wink[[41, 40]]  # the right eye's upper lid lies on the lower one
    both_half, heights = 0, []
    for seed in range(60):
        read = misread(wink, neutral, np.random.default_rng(seed))
        right, left = read[[41, 40], 1] - read[[37, 38], 1], read[[47, 46], 1] - read[[43, 44], 1]
        heights.append(right.min())
        both_half += abs(float(right.mean() - left.mean())) < 1.0
    assert min(heights) > -1e-3
    assert both_half > 15


def test_proportions_differ_between_people_and_within_bounds() -> None:
    neutral = neutral_face()
    drawn = np.stack([of_other_proportions(neutral, np.random.default_rng(s), 0.012) for s in range(40)])
    away = np.linalg.norm(drawn - neutral, axis=2)
    assert 0.6 < away.mean() < 4.0, "pixels, of a face 114 high"
    strong = np.stack([of_other_proportions(neutral, np.random.default_rng(s), 0.03) for s in range(40)])
    assert np.linalg.norm(strong - neutral, axis=2).mean() > away.mean()


def test_light_changes_what_colours_a_driver_has_and_keeps_what_it_shows() -> None:
    picture = frame(6, (200, 150, 120)).picture
    lit = np.stack([relight(picture, np.random.default_rng(s)) for s in range(30)]).astype(float)
    assert lit.shape == (30, SIDE, SIDE, 3) and lit.mean((1, 2)).std(0).min() > 8
    brightness = picture.astype(float).mean(2).ravel()
    same = [np.corrcoef(brightness, other.mean(2).ravel())[0, 1] for other in lit]
    assert np.mean(same) > 0.85


def test_data_without_neutral_faces_are_refused() -> None:
    plain = a_sample()
    with pytest.raises(InputError, match="neutral faces"):
        collate(
            [replace(plain, source=replace(plain.source, neutral=None))], np.random.default_rng(0), WindowSpec(1, 2, 32)
        )


def test_videos_of_one_person_drive_themselves() -> None:
    alone = replace(a_sample(), drivers=None)
    one, other = (
        collate([sample], np.random.default_rng(0), WindowSpec(1, 2, 32, self_driven=own))
        for sample, own in ((alone, False), (a_sample(), True))
    )
    assert torch.equal(one.driver, other.driver) and one.local.shape == (2, 3, 64, 64)


def test_parts_that_nobody_has_read_are_without_expression() -> None:
    neutral = neutral_face()
    moved = neutral + 6
    read = np.stack([partly_read(moved, neutral, np.random.default_rng(seed)) for seed in range(80)]) - neutral
    eyes, mouths = read[:, 36:42].mean((1, 2)), read[:, 48:68].mean((1, 2))
    for part in (eyes, mouths):
        unread = part < 3
        assert 0.4 < unread.mean() < 0.8
        assert part[unread].mean() == pytest.approx(0, abs=0.5) and part[~unread].mean() == pytest.approx(6, abs=0.5)
    assert ((eyes < 3) != (mouths < 3)).mean() > 0.2


def test_the_draw_that_changes_more_is_taken() -> None:
    class Two(OneSample):
        drawn = 0

        def sample(self, rng: np.random.Generator, spec: SampleSpec) -> SourceDrivingSample:
            self.drawn += 1
            still = [frame(0, (200, 150, 120))] * 2
            return a_sample() if self.drawn % 2 else replace(a_sample(), targets=still, drivers=still)

    batch = draw_batch(Two(), np.random.default_rng(0), WindowSpec(3, 2, 96, errors=False))
    assert all(
        abs(pupil(picture, neutral)) > 0.01 for picture, neutral in zip(batch.target, batch.neutral, strict=True)
    )
