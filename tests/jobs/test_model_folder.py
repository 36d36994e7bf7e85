"""A model folder that is whole, and every way in which it can be damaged, told in one sentence with the fix."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from mien.cli.app import app
from mien.errors import InputError, WeightsError
from mien.jobs.model_folder import SUMS, examine_model, write_sums
from mien.pipelines.x_portrait import XPortraitPipeline
from tiny import tiny_pipeline

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def _model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def model(_model: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder that a test may damage."""
    for name, content in _model.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def fault(folder: Path) -> str:
    """The only fault."""
    (told,) = examine_model(folder).faults
    assert "\n" not in told and told.endswith(".")
    return told


def change(file: Path, name: str, value: torch.Tensor | None) -> None:
    tensors = {key: held.clone() for key, held in load_file(file).items()}
    tensors.pop(name, None)
    save_file({**tensors, **({} if value is None else {name: value})}, file)


def test_a_whole_folder_has_no_faults(model: Path) -> None:
    found = examine_model(model)
    assert (found.kind, found.faults) == ("XPortraitPipeline", [])
    assert "float32" in found.parts["unet"] and found.parts["window_head"].startswith("none")
    assert found.parts["scheduler"] == "XPortraitDDIMScheduler"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("conv_in.bias", None, "conv_in.bias is missing"),
        ("conv_in.bias", torch.zeros(3), "conv_in.bias has shape [3], the configuration wants [16]"),
        ("conv_in.bias", torch.zeros(16, dtype=torch.int32), "conv_in.bias holds I32"),
        ("conv_sideways.bias", torch.zeros(1), "conv_sideways.bias is unknown"),
    ],
)
def test_every_tensor_is_looked_at(model: Path, name: str, value: torch.Tensor | None, told: str) -> None:
    change(model / "unet" / WEIGHTS, name, value)
    assert told in fault(model) and str(model / "unet" / WEIGHTS) in fault(model)


def test_files_that_are_missing_cut_off_or_not_what_they_should_be_are_named(model: Path) -> None:
    (model / "unet" / WEIGHTS).unlink()
    file = model / "vae" / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])
    (model / "temporal" / "config.json").write_text("{")
    (model / "motion_control" / "config.json").write_text(json.dumps({"block_out_channels": "many"}))
    (model / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": "Guess"}))
    told = examine_model(model).faults
    kinds = ("is missing", "not a whole", "cannot be read as JSON", "not describe a MotionControl", "'Guess'")
    for wanted in kinds:
        assert sum(wanted in fault for fault in told) == 1, (wanted, told)
    assert len(told) == 5


def test_stated_sums_are_checked_and_are_those_of_sha256sum(model: Path) -> None:
    write_sums(model)
    assert examine_model(model).faults == []
    assert subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=model, capture_output=True).returncode == 0
    file = model / "unet" / WEIGHTS
    tensors = {name: value.clone() for name, value in load_file(file).items()}
    tensors["conv_in.bias"] += 1e-3
    save_file(tensors, file)
    assert f"{file} is not the file that {SUMS} states" in fault(model)
    stated = (model / SUMS).read_text()
    (model / SUMS).write_text(f"{hashlib.sha256().hexdigest()}  gone.bin\n")
    assert "gone.bin, which SHA256SUMS names, is missing" in fault(model)
    (model / SUMS).write_text(stated[:10])
    assert "cannot be read" in fault(model)


def test_what_is_no_model_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model_index.json"):
        examine_model(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(InputError, match="holds a StableDiffusionPipeline"):
        examine_model(tmp_path)


def test_nano_models_of_the_first_release_are_refused(model: Path) -> None:
    file = model / "model_index.json"
    for part in ("reenactor", "expression_shape"):
        file.write_text(json.dumps({**json.loads(file.read_text()), part: [None, None]}))  # as later ones had it
        assert examine_model(model).faults == []
    file.write_text(json.dumps({**json.loads(file.read_text()), "reenactor": ["mien.models.reenactor", "Reenactor"]}))
    said = f"{model} is a nano model of release 0.1, whose reenactor this version does not have: give"
    with pytest.raises(WeightsError, match=re.escape(said)):
        XPortraitPipeline.from_pretrained(model)
    told = CliRunner().invoke(app, ["doctor", str(model)])
    assert told.exit_code == 2 and told.stderr.count("release 0.1") == 1 and told.stderr.count("\n") == 1


def test_the_command_tells_faults_and_leaves_with_2(model: Path) -> None:
    good = CliRunner().invoke(app, ["doctor", str(model)])
    assert (good.exit_code, good.stdout.splitlines()[-1]) == (0, "whole: every tensor is there and fits")
    change(model / "unet" / WEIGHTS, "conv_in.bias", None)
    bad = CliRunner().invoke(app, ["doctor", str(model)])
    assert bad.exit_code == 2 and "1 fault, see above" in bad.stdout and "-> " in bad.stdout


@pytest.mark.parametrize("name", ["nano", "dex-nano"])
def test_the_bundled_models_are_whole(name: str) -> None:
    from mien.weights import bundled

    assert examine_model(bundled(name)).faults == []
