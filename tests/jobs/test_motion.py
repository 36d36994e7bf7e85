"""Motion templates: what is in them, and that nobody else's codes are taken for ours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mien.animation.motion_template import FORMAT, MotionTemplate, is_template, load_template, save_template
from mien.errors import InputError, OutputError
from mien.jobs.motion import extract_motion
from mien.jobs.options import MotionOptions
from mien.models.dex_portrait import Motion
from samples import RATE, DrawnFaceReader
from tiny_dex import tiny_dex_pipeline

PIPE = tiny_dex_pipeline()


def test_a_template_holds_codes_rate_and_encoders(inputs: Path, tmp_path: Path) -> None:
    report = extract_motion(MotionOptions(inputs / "driver.mp4", tmp_path), pipe=PIPE, reader=DrawnFaceReader())
    assert report.output == tmp_path / "driver.safetensors"
    assert (report.frames, report.faces.found) == (9, 9)
    with safe_open(report.output, "pt") as file:
        metadata = file.metadata()
    assert (metadata["format"], metadata["encoder"], metadata["rate"]) == (FORMAT, PIPE.encoder_id, str(RATE))
    template = load_template(report.output, PIPE.encoder_id, 16)
    assert template.motion.pose.shape == (9, 6)
    assert template.motion.expression.shape == (9, 16)
    assert template.rate == RATE
    # the driver's mouth moves and its head goes right, at a steady size
    assert template.motion.expression.std(0).max() > 1e-3


def test_other_encoders_are_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_template(MotionTemplate(path, Motion(torch.zeros(2, 6), torch.zeros(2, 16)), "abc", Fraction(25)), "clip.mp4")
    assert load_template(path, "abc", 16).rate == 25
    with pytest.raises(
        InputError, match=r"m\.safetensors was made by other encoders \(abc\) than this model's \(xyz\)"
    ):
        load_template(path, "xyz", 16)


@pytest.mark.parametrize("fault", ["shape", "width", "number", "rate", "length", "truncated"])
def test_damaged_templates_are_named(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "m.safetensors"
    tensors = {"pose": torch.zeros(2, 6), "expression": torch.zeros(2, 16)}
    metadata = {"format": FORMAT, "version": "1", "encoder": "abc", "rate": "25"}
    if fault == "shape":
        tensors["pose"] = torch.zeros(2, 5)
    elif fault == "width":
        tensors["expression"] = torch.zeros(2, 17)
    elif fault == "number":
        tensors["expression"][1, 3] = torch.nan
    elif fault == "rate":
        metadata["rate"] = "fast"
    elif fault == "length":
        tensors["pose"] = torch.zeros(3, 6)
    save_file(tensors, path, metadata)
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="no (whole motion template|motion of a head)"):
        load_template(path, "abc", 16)


def test_other_safetensors_files_are_no_templates(tmp_path: Path, inputs: Path) -> None:
    path = tmp_path / "library.safetensors"
    save_file({"track": torch.zeros(3)}, path, {"format": "something else"})
    assert not is_template(path)
    assert not is_template(inputs / "driver.mp4")
    assert not is_template(tmp_path / "absent.safetensors")


def test_outputs_need_the_right_suffix(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"ends in \.safetensors"):
        extract_motion(MotionOptions(inputs / "driver.mp4", tmp_path / "m.pkl"), pipe=PIPE, reader=DrawnFaceReader())
