"""What is told without a terminal while it runs, and what is told after Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from mien.cli import progress as module
from mien.cli.app import app
from mien.cli.progress import TerminalProgress
from mien.training.engine import checkpoints
from parity.official_model import OFFICIAL, official_state


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_without_a_terminal_a_line_comes_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    with TerminalProgress() as progress:
        progress.stage("reading", None)
        progress.stage("writing", 200)
        for done in range(1, 101):
            clock.now += 1
            progress.update(done)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "writing 30 of 200 (15 %), 3 min left",
        "writing 60 of 200 (30 %), 2 min left",
        "writing 90 of 200 (45 %), 2 min left",
    ]


def test_what_takes_seconds_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress() as progress:
        progress.stage("writing", 3)
        progress.update(3)
    assert capsys.readouterr().err == ""


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_conversion_says_that_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({name: value.contiguous() for name, value in official_state().items()}, tmp_path / "model.safetensors")
    import torch

    save_file({"context": torch.zeros(1, OFFICIAL.context_tokens, OFFICIAL.context_dim)}, tmp_path / "c.safetensors")
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("mien.jobs.convert.write_sums", interrupt)
    names = [str(tmp_path / name) for name in ("model.safetensors", "out", "c.safetensors")]
    result = CliRunner().invoke(app, ["convert", "x-portrait", names[0], names[1], "--context", names[2]])
    assert result.exit_code == 130
    assert result.stderr == f"mien: interrupted; nothing was written to {names[1]}; the checkpoint is as it was\n"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("step", [None, 250])
def test_an_interrupted_training_says_where_the_run_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int | None
) -> None:
    if step is not None:
        checkpoints.save(tmp_path, step, {}, {}, {})
    monkeypatch.setattr("mien.jobs.train.run_training", interrupt)
    result = CliRunner().invoke(app, ["train", "vae", "--out", str(tmp_path), "--data", str(tmp_path)])
    assert result.exit_code == 130
    told = "no checkpoint has been written" if step is None else "holds all up to step 250"
    (line,) = result.stderr.splitlines()
    assert told in line and str(tmp_path) in line and "the same command" in line


def test_an_interrupted_animation_says_that_nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mien.jobs.animate.animate", interrupt)
    result = CliRunner().invoke(app, ["animate", "-s", "a.png", "-d", "b.mp4", "-o", str(tmp_path / "out.mp4")])
    assert (result.exit_code, result.stderr) == (
        130, "mien: interrupted; nothing was written, and nothing is left behind\n",
    )  # fmt: skip
