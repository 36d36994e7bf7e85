"""`mien animate` by DeX-Portrait from files to files, on a tiny random model."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import InputError, WeightsError
from mien.jobs.animate import animate
from mien.jobs.motion import extract_motion
from mien.jobs.options import MotionOptions, animate_options
from mien.jobs.report import AnimateReport
from mien.media import open_clip, read_image, write_image, write_video
from samples import RATE, DrawnFaceReader, draw_face, talking_frames
from tiny_dex import tiny_dex_pipeline

PIPE = tiny_dex_pipeline()


def run(inputs: Path, output: Path, **changes: Any) -> AnimateReport:
    given = {"portraits": (inputs / "portrait.png",), "driver": inputs / "driver.mp4", "output": output, **changes}
    return animate(animate_options(**given, model="dex-nano"), pipe=PIPE, reader=DrawnFaceReader())


def pixels(path: Path) -> np.ndarray:
    return np.stack(list(open_clip(path))).astype(int)


@pytest.fixture(scope="module")
def nodding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second driver: 12 frames at 25 a second, a face that goes down and gets larger."""
    folder = tmp_path_factory.mktemp("nodding")
    faces = [draw_face(96, 80, (0.5, 0.4 + 0.02 * i), 0.2 + 0.005 * i) for i in range(12)]
    return write_video(folder / "nodding.mp4", faces, 25)


def test_the_result_has_the_drivers_time_base_and_sound(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.mp4", preview=True)
    clip = open_clip(report.output)
    assert (clip.info.rate, clip.count(), clip.info.has_audio) == (RATE, 9, True)
    assert report.size == (61, 53)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.mp4", "out.preview.mp4"]
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["faces"]["found"] == 9
    options = record["options"]
    assert (options["steps"], options["guidance"], options["window"], options["relative"]) == (2, 2.0, 8, False)
    assert options["pose_from"] == options["expression_from"] == options["driver"]


def test_every_option_changes_the_result(inputs: Path, tmp_path: Path, nodding: Path) -> None:
    seen = [pixels(run(inputs, tmp_path / "plain.mp4", paste_back=False).output)]
    for changes in (
        {"pose_only": True},
        {"expression_only": True},
        {"pose_from": nodding},
        {"expression_from": inputs / "driver.png"},
        {"relative": True},
        {"pose_gain": 2.0},
        {"expression_gain": 0.5},
        {"relative": True, "best_frame": 8},
        {"progressive": False, "steps": 6},
        {"seed": 1},
    ):
        seen.append(pixels(run(inputs, tmp_path / "changed.mp4", paste_back=False, **changes).output))
        assert min(np.abs(seen[-1] - earlier).mean() for earlier in seen[:-1]) > 0.02, changes


def test_the_pose_of_one_clip_and_the_expression_of_another(inputs: Path, tmp_path: Path, nodding: Path) -> None:
    """Times and sound are the expression's; the pose is brought to its rate, and the shorter one ends the result."""
    report = run(inputs, tmp_path / "a.mp4", driver=None, pose_from=nodding, expression_from=inputs / "driver.mp4")
    clip = open_clip(report.output)
    assert (clip.info.rate, clip.count(), clip.info.has_audio) == (RATE, 9, True)
    report = run(inputs, tmp_path / "b.mp4", driver=None, pose_from=inputs / "driver.mp4", expression_from=nodding)
    clip = open_clip(report.output)
    # 9 frames at 30000/1001 last 7.5 frames at 25
    assert (clip.info.rate, clip.count(), clip.info.has_audio) == (Fraction(25), 7, False)


def test_a_still_face_lends_its_expression_to_a_moving_head(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.mp4", expression_from=inputs / "driver.png")
    assert open_clip(report.output).count() == 9
    assert report.options.driver == inputs / "driver.mp4"


def test_a_picture_drives_a_picture(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.png", driver=inputs / "driver.png")
    assert read_image(report.output).shape == (53, 61, 3)


def test_expression_only_leaves_the_surroundings_alone(inputs: Path, tmp_path: Path) -> None:
    image = draw_face(300, 200, (0.3, 0.5), 0.15)
    portrait = write_image(tmp_path / "wide.png", image)
    given = {"portraits": (portrait,), "driver": inputs / "driver.png", "watermark": False}
    report = run(inputs, tmp_path / "out.png", expression_only=True, **given)
    made = read_image(report.output).astype(int)
    np.testing.assert_array_equal(made[:, 200:], image[:, 200:])
    assert np.abs(made[60:140, 50:130] - image[60:140, 50:130]).mean() > 5


def test_a_template_drives_as_its_clip_does(inputs: Path, tmp_path: Path) -> None:
    template = tmp_path / "m.safetensors"
    extract_motion(MotionOptions(inputs / "driver.mp4", template), pipe=PIPE, reader=DrawnFaceReader())
    direct = run(inputs, tmp_path / "direct.mp4", paste_back=False)
    by_template = run(inputs, tmp_path / "template.mp4", driver=template, paste_back=False)
    np.testing.assert_array_equal(pixels(direct.output), pixels(by_template.output))
    clip = open_clip(by_template.output)
    assert (clip.info.rate, clip.info.has_audio) == (RATE, False)
    assert by_template.faces is None
    with pytest.raises(InputError, match="holds motion only"):
        run(inputs, tmp_path / "preview.mp4", driver=template, preview=True)


def test_a_dry_run_writes_nothing(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.mp4", dry_run=True)
    assert (report.frames, list(tmp_path.iterdir())) == (9, [])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pose_only": True, "expression_only": True}, "exclude each other"),
        ({"pose_only": True, "expression_from": Path("x.mp4")}, "leave --expression-from out"),
        ({"expression_only": True, "pose_from": Path("x.mp4")}, "leave --pose-from out"),
        ({"driver": None}, "nothing drives the portrait"),
        ({"pose_gain": -1.0}, "--pose-gain is -1"),
        ({"expression_gain": float("nan")}, "--expression-gain is nan"),
        ({"fast": True}, "--fast is for models that take"),
        ({"best_frame": 9}, "has 9 frames"),
    ],
)
def test_contradictions_are_told_in_a_sentence(
    inputs: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        run(inputs, tmp_path / "out.mp4", **changes)
    assert not list(tmp_path.iterdir())


def test_drivers_without_a_face_are_named(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no face was found in any frame of .*faceless\.mp4"):
        run(inputs, tmp_path / "out.mp4", driver=inputs / "faceless.mp4")


def test_without_weights_one_sentence_says_so(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.pipelines.dex_portrait._BUNDLED", tmp_path / "none")
    options = animate_options(
        model="dex-nano",
        driver=inputs / "driver.mp4",
        portraits=(inputs / "portrait.png",),
        output=tmp_path / "out.mp4",
    )
    with pytest.raises(WeightsError, match=r"name a model folder, --model DIR\.$"):
        animate(options)


def test_the_options_of_one_system_are_refused_by_the_other(inputs: Path) -> None:
    given = {"portraits": (inputs / "portrait.png",), "output": Path("out.mp4"), "driver": inputs / "driver.mp4"}
    assert animate_options(system="dex", **given).model == "dex-nano"
    assert animate_options(system="x", **given).model == animate_options(**given).model == "nano"
    for name, value in (("pose_from", Path("a.mp4")), ("pose_only", True), ("pose_gain", 0.5)):
        with pytest.raises(InputError, match=f"--{name.replace('_', '-')} needs .* --model dex-nano"):
            animate_options(**given, **{name: value})
    with pytest.raises(InputError, match="no driving video was given"):
        animate_options(**{**given, "driver": None})
    with pytest.raises(InputError, match="--system is 'y'"):
        animate_options(system="y", **given)
    with pytest.raises(InputError, match="a model of the other system"):
        animate_options(system="x", model="dex-nano", **given)


def test_frames_without_a_face_have_codes_between_their_neighbours(inputs: Path, tmp_path: Path) -> None:
    frames = talking_frames(7)
    frames[3] = np.full_like(frames[3], 60)
    driver = write_video(tmp_path / "gap.mp4", frames, 25)
    report = run(inputs, tmp_path / "out.mp4", driver=driver)
    assert report.faces is not None
    assert (report.faces.found, report.faces.interpolated) == (6, 1)
    assert open_clip(report.output).count() == 7
