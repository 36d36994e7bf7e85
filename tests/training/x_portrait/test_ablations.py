"""The script that trains the ablations, and what the landmark baseline is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks import ablations
from benchmarks.ablations import CONTROLS, F_SHARED, parsed, train_all

from mien.geometry.draw_landmarks import draw_landmarks, drawn_in_window
from mien.geometry.face_window import FaceWindow
from mien.jobs.train import EXPORT
from mien.training.engine.config import StageConfig

ABLATED = {"self": "self_driven", "no-local": "local", "no-scaling": "scaling", "landmarks": "control"}


def test_one_thing_alone_is_otherwise_in_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: dict[str, StageConfig] = {}

    def trained(config: StageConfig, *_: object) -> None:
        runs[Path(config.out).parent.name] = config
        (Path(config.out) / EXPORT).mkdir(parents=True)

    monkeypatch.setattr(ablations, "run_training", trained)
    nano = tmp_path / "nano"
    for part in (*CONTROLS, "unet"):
        (nano / part).mkdir(parents=True)
    wish = ["groups", str(nano), str(tmp_path / "out"), "--clips", "clips", "--minutes", "75", "--f-more", "5"]
    train_all(parsed(wish))
    assert list(runs) == ["full", *ABLATED, *F_SHARED, "face-vid2vid", "face-vid2vid-plus"]
    start = tmp_path / "out" / "start"
    assert [path.name for path in start.iterdir()] == ["unet"], "controls begin anew"
    whole = runs["full"].flat()
    assert (whole["budget_minutes"], whole["start"], whole["data"][-1]) == (75.0, str(start), "clips:0.3")
    for name, key in ABLATED.items():
        other = runs[name].flat()
        assert {one for one in whole if other[one] != whole[one]} == {"out", key}
    first, second = (runs[name].flat() for name in ("face-vid2vid", "face-vid2vid-plus"))
    assert {key for key in first if first[key] != second[key]} == {"out"}
    assert first["start"] == str(tmp_path / "out" / "f-first" / "0")
    shared = [runs[name].flat() for name in F_SHARED]
    assert [(run["side"], run["budget_minutes"]) for run in shared] == [(128, 22.5), (None, 37.5)]
    assert first["adversarial_from"] > 10**6, "F Plus would differ in more than its patches"
    runs.clear()
    train_all(parsed(wish))
    assert not runs, "what is done stays"


def test_landmarks_are_drawn_where_they_lie_in_the_window() -> None:
    points = np.random.default_rng(0).uniform(40, 160, (70, 2))
    window = FaceWindow(np.array([100.0, 100.0]), np.array([1.0, 0.0]), 100.0)
    small, large = drawn_in_window(window, points, (100, 100)), drawn_in_window(window, points, (100, 200))
    np.testing.assert_array_equal(small, draw_landmarks(points[:68] / 2, 100))
    np.testing.assert_array_equal(large[::2, ::2], small)
    np.testing.assert_array_equal(large[1::2, 1::2], small)
