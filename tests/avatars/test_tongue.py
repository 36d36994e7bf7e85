"""The shape that puts the tongue out: the tongue moves forward, and nothing but the tongue moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.avatars.group_files import RenderedGroup
from mien.avatars.head_model import GUMS, TONGUE, HeadModel
from mien.avatars.tongue import tongue_out
from mien.cli.app import app

ROWS, ACROSS = 40, 5


def test_a_strip_of_tongue_comes_forward_and_the_rest_stays() -> None:
    z, x = np.meshgrid(np.linspace(2.0, 9.8, ROWS), np.linspace(-0.5, 0.5, ACROSS), indexing="ij")
    strip = np.stack([x, np.full_like(x, -3.7), z], -1).reshape(-1, 3)
    vertices = np.concatenate([strip, [[0.0, 0.0, 12.0]]]).astype(np.float32)  # a tongue, and the tip of a nose
    corner = (np.arange(ROWS - 1)[:, None] * ACROSS + np.arange(ACROSS - 1)).reshape(-1)
    quads = np.stack([corner, corner + 1, corner + ACROSS, corner + ACROSS + 1], 1)
    triangles = np.concatenate([quads[:, :3], quads[:, 1:]]).astype(np.int32)
    moved = tongue_out(vertices, triangles).astype(np.float32)
    forward = moved[:-1, 2].reshape(ROWS, ACROSS)
    assert not moved[-1].any(), "what is not gums or tongue"
    assert not forward[: ROWS // 4].any(), "the root"
    assert forward[-1].min() > 3 and (np.diff(forward.mean(1)) >= -1e-3).all(), "the further forward, the further out"


def test_the_tongue_of_the_head_model_moves_alone(model: HeadModel) -> None:
    assert model.names[TONGUE] == "tongueOut" and len(model.names) == 57
    shape = model.expressions[TONGUE].astype(np.float32)
    gums = model.part_range[GUMS]
    others = np.delete(shape, np.s_[gums[0] : gums[1]], 0)
    assert not others.any(), "neither face nor teeth nor eyes"
    tip = int(shape[:, 2].argmax())
    assert shape[tip, 2] > 3
    assert not shape[model.landmarks].any()


def test_the_command_renders_at_any_side_and_with_distinct_motions(pack: Path, tmp_path: Path) -> None:
    arguments = ["data", "avatars", "--people", "1", "--per-group", "1", "--validation-groups", "0"]
    arguments += ["--side", "96", "--distinct", "0.5", "--head-model", str(pack), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    group = RenderedGroup(tmp_path, "group_000")
    assert group.frames.shape == (1, 64, 96, 96, 3) and group.sources.shape == (1, 96, 96, 3)
    kinds = group["motion_kind"].astype(str)
    assert any("distinct" in kind for kind in kinds) and not all("distinct" in kind for kind in kinds)
    assert float(group.landmarks.max()) < 110


@pytest.mark.parametrize("side", ["0", "7"])
def test_sides_that_cannot_be_are_refused(pack: Path, tmp_path: Path, side: str) -> None:
    result = CliRunner().invoke(app, ["data", "avatars", "--people", "1", "--side", side, "--out", str(tmp_path)])
    assert result.exit_code == 2
