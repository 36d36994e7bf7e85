"""The script that trains the ablations: in each run one thing alone is otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import dex_window_ablations
from benchmarks.dex_window_ablations import parsed, train_all

from mien.jobs.train import EXPORT
from mien.training.engine.config import StageConfig


def test_one_thing_alone_is_otherwise_in_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: dict[str, StageConfig] = {}

    def trained(config: StageConfig, *_: object) -> None:
        runs[Path(config.out).parent.name] = config
        (Path(config.out) / EXPORT).mkdir(parents=True)

    monkeypatch.setattr(dex_window_ablations, "run_training", trained)
    wish = ["groups", "pairs", "nano", str(tmp_path), "--clips", "clips", "--minutes", "75"]
    train_all(parsed(wish))
    assert list(runs) == [
        *("encoders", "paper", "no-ray-map", "no-warping"),
        *("encoders-no-augmentation", "no-augmentation"),
    ]
    whole = runs["paper"].flat()
    assert (whole["budget_minutes"], whole["start"], whole["data"][-1]) == (75.0, "nano", "clips:0.2")
    assert whole["encoders"] == str(tmp_path / "encoders" / "0")
    for name in ("no-ray-map", "no-warping", "no-augmentation"):
        other = runs[name].flat()
        differs = {key for key in whole if other[key] != whole[key]} - {"out"}
        assert differs == {"preset"} | ({"encoders"} if name == "no-augmentation" else set())
        assert other["preset"] == name
    first, second = (runs[name].flat() for name in ("encoders", "encoders-no-augmentation"))
    assert {key for key in first if first[key] != second[key]} == {"out", "augmentation"}
    runs.clear()
    train_all(parsed(wish))
    assert not runs, "what is done stays"
