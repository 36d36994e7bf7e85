"""`mien edit`: what the numbers mean, and what is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.animation.face_edit import FaceChange
from mien.errors import InputError, OutputError
from mien.geometry import HeadPose
from mien.jobs.edit import edit, edit_options, turned_pose
from mien.jobs.report import AnimateReport
from mien.media import read_image, write_image
from mien.models.dex_portrait import Motion, Pose
from mien.models.dex_portrait.pose import code_of_head_pose
from samples import DrawnFaceReader, draw_face
from tiny_dex import tiny_dex_pipeline

PIPE = tiny_dex_pipeline()


def run(inputs: Path, output: Path, **changes: Any) -> AnimateReport:
    face = changes.pop("expression_from", None)
    options = edit_options(
        portrait=inputs / "portrait.png", output=output, change=FaceChange(**changes), expression_from=face
    )
    return edit(options, pipe=PIPE, reader=DrawnFaceReader())


def own(yaw: float = 10, pitch: float = -4, roll: float = 3) -> Motion:
    head = HeadPose.from_euler(yaw, pitch, roll, (0.1, -0.05), 0.42)
    return Motion(torch.from_numpy(code_of_head_pose(head))[None], torch.zeros(1, 16))


def test_angles_are_added_to_the_portraits_own() -> None:
    change = FaceChange(yaw=20, pitch=-5, x=0.1, zoom=1.2)
    got = Pose.from_code(turned_pose(own(), change).pose).head_pose()
    assert (got.yaw, got.pitch, got.roll) == pytest.approx((30, -9, 3), abs=1e-3)
    # a tenth of the square is a fifth of the way from -1 to 1
    assert tuple(got.translation) == pytest.approx((0.3, -0.05), abs=1e-5)
    assert got.scale == pytest.approx(0.42 * 1.2, rel=1e-5)


def test_a_move_alone_does_not_touch_the_rotation() -> None:
    got = turned_pose(own(), FaceChange(y=-0.1)).pose
    torch.testing.assert_close(got[:, :3], own().pose[:, :3], atol=1e-6, rtol=0)


def test_every_slider_changes_the_picture_and_the_record_tells(inputs: Path, tmp_path: Path) -> None:
    seen = []
    for changes in (
        {"yaw": 20.0},
        {"pitch": 20.0},
        {"roll": 20.0},
        {"x": 0.2},
        {"y": 0.2},
        {"zoom": 1.5},
        {"expression_from": inputs / "driver.png"},
        {"expression_from": inputs / "driver.png", "yaw": 20.0},
    ):
        report = run(inputs, tmp_path / "out.png", **changes)
        seen.append(read_image(report.output).astype(int))
        assert seen[-1].shape == (53, 61, 3)
        assert all(np.abs(seen[-1] - earlier).mean() > 0.01 for earlier in seen[:-1]), changes
    record = json.loads((tmp_path / "out.json").read_text())
    assert (record["options"]["change"]["yaw"], record["frames"]) == (20.0, 1)


def test_an_expression_alone_keeps_the_pose_and_the_surroundings(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = draw_face(300, 200, (0.3, 0.5), 0.15)
    portrait = write_image(tmp_path / "wide.png", image)
    given = {"portrait": portrait, "output": tmp_path / "out.png", "expression_from": inputs / "driver.png"}
    options = edit_options(**given, change=FaceChange(), watermark=False)
    driven = []
    real = PIPE.drive
    monkeypatch.setattr(PIPE, "drive", lambda *args, **more: driven.append(real(*args, **more)) or driven[-1])
    edit(options, pipe=PIPE, reader=DrawnFaceReader())
    assert torch.equal(driven[0].pose.matrix(), driven[0].source_pose.matrix())
    np.testing.assert_array_equal(read_image(tmp_path / "out.png")[:, 200:], image[:, 200:])


def test_unusable_wishes_are_told_in_a_sentence(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is to change"):
        run(inputs, tmp_path / "out.png")
    with pytest.raises(InputError, match="--yaw is 120"):
        run(inputs, tmp_path / "out.png", yaw=120.0)
    with pytest.raises(InputError, match="--scale is 0"):
        run(inputs, tmp_path / "out.png", zoom=0.0)
    with pytest.raises(OutputError, match="is one of the inputs"):
        run(inputs, inputs / "portrait.png", yaw=5.0)
