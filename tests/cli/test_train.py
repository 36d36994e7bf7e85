"""`mien train`: what it makes of a command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.errors import InputError
from mien.training.engine.config import TrainOptions, parse_seconds

runner = CliRunner()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "stills"
    folder.mkdir()
    np.save(folder / "a.npy", np.random.default_rng(0).integers(0, 255, (3, 256, 256, 3), np.uint8))
    return folder


def test_a_stage_is_trained_exported_and_gone_on_with(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", "vae", "--data", str(pictures), "--out", str(out), "--rows", "1", "--window", "32"]
    arguments += ["--show-every", "0", "--precision", "fp32"]
    first = runner.invoke(app, [*arguments, "--steps", "2"])
    assert first.exit_code == 0, first.output
    options = json.loads((out / "options.json").read_text())
    assert (options["stage"], options["rows"], options["steps"], options["ema"]) == ("vae", 1, 2, 0.995)
    assert (out / "export" / "diffusion_pytorch_model.safetensors").is_file()
    assert json.loads((out / "export" / "training.json").read_text())["step"] == 2
    again = runner.invoke(app, [*arguments, "--steps", "3"])
    assert again.exit_code == 0, again.output
    assert json.loads((out / "export" / "training.json").read_text())["step"] == 3
    other = runner.invoke(app, ["train", "x-portrait/motion", "--data", str(pictures), "--out", str(out)])
    assert (other.exit_code, other.stderr.count("\n")) == (2, 1)
    assert "holds a run of vae" in other.stderr


@pytest.mark.parametrize(("arguments", "said"), [
    (["vaes", "--out", "{out}"], "there is no stage vaes"),
    (["vae"], "--out is missing"),
    (["vae", "--out", "{out}"], "needs --data"),
    (["vae", "--out", "{out}", "--data", "{out}/none"], "none does not exist"),
    (["vae", "--out", "{out}", "--data", "{out}"], "holds no pictures"),
    (["vae", "--out", "{out}", "--size", "full"], "of nano size only"),
    (["vae", "--out", "{out}", "--size", "huge"], "--size is huge"),
    (["vae", "--out", "{out}", "--time-limit", "soon"], "the time limit soon cannot be read"),
    (["vae", "--out", "{out}", "--steps", "0"], "--steps is 0"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--without", "hope"], "--without hope"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--vae", "{out}"], "holds nothing to train on"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--size", "full"], "needs --backbone"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--size", "full", "--backbone", "{out}"], "cannot"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--control-source", "face-vid2vid"], "needs --f"),
    (["x-portrait/motion", "--out", "{out}", "--control-source", "face-vid2vid", "--f", "{out}/f"], "f does not exist"),
    (["x-portrait/few-step", "--out", "{out}", "--data", "{out}"], "needs --start"),
    (["face-reader", "--out", "{out}", "--data", "{out}"], "holds no label sets"),
    (["face-reader", "--out", "{out}", "--dry-run"], "has no dry run"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_sentence_and_code_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = runner.invoke(app, ["train", *[a.format(out=tmp_path) for a in arguments]])
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("mien: ")]
    assert len(lines) == 1 and said in lines[0]


def test_a_dry_run_counts(tmp_path: Path) -> None:
    result = runner.invoke(app, ["train", "vae", "--rows", "2", "--window", "32", "--dry-run"])
    assert result.exit_code == 0, result.output
    for part in ("decoder", "trained", "TFLOP", "24 GB card: --no-checkpointing", "80 GB card", "days"):
        assert part in result.stdout


def test_times_and_shares(tmp_path: Path) -> None:
    assert [parse_seconds(text) for text in ("90s", "9m", "1.5h", "30")] == [90, 540, 5400, 30]
    for text in ("0s", "m", "-3m", "9 m 2"):
        with pytest.raises(InputError, match="cannot be read"):
            parse_seconds(text)
    a, b = tmp_path / "a", tmp_path / "b:0.5"
    a.mkdir(), b.mkdir()
    options = TrainOptions("vae", (f"{a}:3", str(b)), "out")
    assert options.sources() == [(a, 0.75), (b, 0.25)]


def test_options_survive_their_record(tmp_path: Path) -> None:
    options = TrainOptions("vae", ("a",), "out", teach=0.5, scaling=False)
    options.save(tmp_path / "options.json", {"processes": 2})
    assert TrainOptions.read(tmp_path / "options.json") == options
