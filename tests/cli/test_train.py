"""`mien train`: what it makes of a command line."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from mien.cli.app import app
from mien.errors import InputError
from mien.training.engine.config import StageConfig, option, options_of, parse_seconds
from mien.training.registry import STAGES, Registered, config_class, configure, resumed
from toy_stage import Toy

runner = CliRunner()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "stills"
    folder.mkdir()
    np.save(folder / "a.npy", np.random.default_rng(0).integers(0, 255, (3, 256, 256, 3), np.uint8))
    return folder


def test_a_stage_is_trained_exported_and_gone_on_with(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", "vae", "--data", str(pictures), "--out", str(out), "--batch-size", "1", "--window", "32"]
    arguments += ["--show-every", "0", "--precision", "fp32"]
    first = runner.invoke(app, [*arguments, "--steps", "2"])
    assert first.exit_code == 0, first.output
    config = json.loads((out / "config.json").read_text())
    assert (config["stage"], config["window"], config["loop"]["batch_size"]) == ("vae", 32, 1)
    assert (config["loop"]["steps"], config["loop"]["ema"]) == (2, 0.995)
    assert (out / "export" / "diffusion_pytorch_model.safetensors").is_file()
    assert json.loads((out / "export" / "training.json").read_text())["step"] == 2
    again = runner.invoke(app, ["train", "vae", "--out", str(out), "--steps", "3"])  # the rest is as it was
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
    (["vae", "--out", "{out}", "--size", "full"], "--size is an option of face-vid2vid"),
    (["dex/motion", "--out", "{out}", "--size", "huge"], "--size is 'huge', but it must be one of nano, full"),
    (["vae", "--out", "{out}", "--time-limit", "soon"], "the time limit soon cannot be read"),
    (["vae", "--out", "{out}", "--steps", "0"], "--steps is 0, but it must be a whole number from 1 up"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--without", "local"], "give --no-local"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--vae", "{out}"], "holds nothing to train on"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--size", "full"], "needs --backbone"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--size", "full", "--backbone", "{out}"], "cannot"),
    (["x-portrait/motion", "--out", "{out}", "--data", "{out}", "--control-source", "face-vid2vid"], "needs --f"),
    (["x-portrait/motion", "--out", "{out}", "--control-source", "face-vid2vid", "--f", "{out}/f"], "f does not exist"),
    (["x-portrait/few-step", "--out", "{out}", "--data", "{out}"], "needs --start"),
    (["vae", "--out", "{out}", "--only-motion-supervision"], "of x-portrait/motion, x-portrait/local, and not of vae"),
    (["vae", "--out", "{out}", "--rows", "2"], "--rows is called --batch-size now"),
    (["vae", "--out", "{out}", "--nonsense"], "there is no option --nonsense"),
    (["dex/animator", "--out", "{out}", "--preset", "rich"], "--preset is 'rich', but it must be one of paper"),
    (["dex/animator", "--out", "{out}", "--dry-run"], "has no dry run"),
    (["reenactor", "--out", "{out}"], "there is no stage reenactor"),
    (["face-reader", "--out", "{out}"], "there is no stage face-reader: give one of vae,"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_sentence_and_code_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = runner.invoke(app, ["train", *[a.format(out=tmp_path) for a in arguments]])
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("mien: ")]
    assert len(lines) == 1 and said in lines[0]


def test_a_dry_run_counts(tmp_path: Path) -> None:
    result = runner.invoke(app, ["train", "vae", "--batch-size", "2", "--window", "32", "--dry-run"])
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
    options = configure("vae", data=(f"{a}:3", str(b)), out="out")
    assert options.sources() == [(a, 0.75), (b, 0.25)]


def test_a_config_survives_its_record_and_is_resumed(tmp_path: Path) -> None:
    config = configure("x-portrait/motion", data=("a",), out=str(tmp_path), scaling=False)
    config.changed(time_limit=60.0).save(tmp_path, {"processes": 2})
    assert resumed("x-portrait/motion", str(tmp_path)) == config, "but for the time limit, which is a call's own"
    assert resumed("x-portrait/motion", str(tmp_path), scaling=True, steps=7) == config.changed(scaling=True, steps=7)
    assert resumed("x-portrait/temporal", str(tmp_path)).get("scaling"), "another stage's record is not taken over"


def test_records_of_the_first_release_are_read(tmp_path: Path) -> None:
    old = {"stage": "x-portrait/motion", "data": ["a"], "out": "o", "rows": 3, "teach": 0.2, "only_teach": True}
    old |= {"joint": True, "decoder_only": False, "vgg": None, "control": "landmarks", "seed": 4, "time_limit": 9.0}
    (tmp_path / "options.json").write_text(json.dumps(old))
    config = resumed("x-portrait/motion", str(tmp_path))
    read = {name: config.get(name) for name in ("data", "batch_size", "motion_supervision_weight", "joint", "control")}
    assert read == {
        "data": ("a",), "batch_size": 3, "motion_supervision_weight": 0.2, "joint": True, "control": "landmarks"
    }  # fmt: skip
    assert (config.get("only_motion_supervision"), config.loop.seed, config.loop.time_limit) == (True, 4, None)


def test_every_stage_has_a_config_of_its_own_with_help(tmp_path: Path) -> None:
    for name in STAGES:
        declared = list(options_of(config_class(name)))
        names = [one.name for one, _ in declared]
        assert len(set(names)) == len(names), "a plain name stands in one component only"
        assert all(one.metadata["help"].endswith(".") for one, _ in declared)
        assert {"data", "out", "steps", "seed"} <= set(names)
    with pytest.raises(InputError, match="--window is an option of .*and not of dex/motion"):
        configure("dex/motion", window=3)
    with pytest.raises(InputError, match="--window is 3, but it must be a whole number from 16 to 256"):
        configure("vae", window=3)


def test_help_shows_a_stages_own_options_only() -> None:
    shown = runner.invoke(app, ["train", "vae", "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0 and "--decoder-only" in shown.output and "--batch-size" in shown.output
    assert "--joint" not in shown.output and "--vgg" not in shown.output
    listed = runner.invoke(app, ["train", "--help"])
    assert all(name in listed.output for name in STAGES)


@dataclass(frozen=True)
class AddedConfig(StageConfig):
    """What only the added stage knows."""

    stiffness: float = option(0.5, "Of the toy.", unit="N/m", above=0)


class AddedStage(Toy):
    """The toy stage, as a file of somebody's would define it."""

    def __init__(self, options: AddedConfig) -> None:
        super().__init__()
        self.options = options

    def export(self, model: nn.Module, folder: Path) -> None:
        folder.mkdir()
        (folder / "stiffness.txt").write_text(str(self.options.stiffness))


def test_a_new_stage_is_a_file_and_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mien.training.added", sys.modules[__name__])
    monkeypatch.setitem(STAGES, "added", Registered("a toy", "added", "AddedStage", "AddedConfig"))
    shown = runner.invoke(app, ["train", "added", "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0 and "--stiffness" in shown.output and "Of the toy. (N/m, above 0)" in shown.output
    command = ["train", "added", "--out", str(tmp_path / "run"), "--steps", "2", "--show-every", "0"]
    result = runner.invoke(app, [*command, "--stiffness", "2.5"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "export" / "stiffness.txt").read_text() == "2.5"
    refused = runner.invoke(app, ["train", "vae", "--stiffness", "1"])
    assert refused.exit_code == 2 and "--stiffness is an option of added, and not of vae" in refused.stderr
