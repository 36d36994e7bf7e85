"""Regions of a face as the motion controls' teacher sees them."""

from __future__ import annotations

import numpy as np
import torch

from faces_drawn import face_points
from mien.training.x_portrait.motion_supervision import REGIONS, region_loss, regions


def test_an_opening_mouth_covers_more_and_closed_lids_less() -> None:
    points = face_points()
    closed, opened = points.copy(), points.copy()
    closed[[61, 62, 63, 65, 66, 67], 1] = points[[60], 1]
    opened[[65, 66, 67], 1] += 12
    assert regions(opened, 256)[2].sum() > regions(closed, 256)[2].sum() + 1
    shut = points.copy()
    shut[36:42, 1] = points[36:42, 1].mean()
    assert regions(shut, 256)[0].sum() < regions(points, 256)[0].sum()


def test_coverage_lies_where_the_face_is() -> None:
    covered = regions(face_points(), 256)
    assert covered.shape == (REGIONS, 32, 32)
    assert covered.min() >= 0
    assert covered.max() <= 1
    yy, xx = np.mgrid[0:32, 0:32] * 8 + 4
    for channel, part in ((0, slice(36, 42)), (1, slice(42, 48)), (3, slice(48, 60))):
        weight = covered[channel] / covered[channel].sum()
        centre = np.array([(weight * xx).sum(), (weight * yy).sum()])
        assert np.abs(centre - face_points()[part].mean(0)).max() < 6


def test_loss_is_least_for_the_truth() -> None:
    truth = torch.from_numpy(regions(face_points(), 256))[None]
    right = torch.logit(truth.clamp(1e-4, 1 - 1e-4))
    assert region_loss(right, truth) < 0.5 * region_loss(right.flip(-1).roll(5, -2), truth)
