"""DeX-Portrait on face windows from files to files, on a tiny random model: four modes, edits, lists of expressions."""

from __future__ import annotations

import json
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.animation.face_edit import FaceChange
from mien.jobs.animate import animate
from mien.jobs.edit import edit, edit_options
from mien.jobs.options import animate_options
from mien.jobs.report import AnimateReport
from mien.media import open_clip, read_image, write_image, write_video
from samples import DrawnFaceReader, draw_face
from tiny_dex import tiny_dex_window_pipeline
from window_faces import drawn_basis, drawn_person

__all__ = ["drawn_person"]  # a fixture

pytestmark = pytest.mark.usefixtures("drawn_person")
PIPE = tiny_dex_window_pipeline(drawn_basis())
FRAMES, WIDTH, HEIGHT = 3, 144, 96


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait, and two driving videos whose heads go different ways and whose mouths open differently."""
    folder = tmp_path_factory.mktemp("given")
    write_image(folder / "portrait.png", draw_face(WIDTH, HEIGHT, (0.5, 0.5), 0.2))
    for name, (dx, dy, mouth) in {"a": (0.03, 0.0, 0.1), "b": (0.0, 0.03, 0.4)}.items():
        frames = [draw_face(96, 96, (0.45 + dx * i, 0.45 + dy * i), 0.25, mouth=mouth * i) for i in range(FRAMES)]
        write_video(folder / f"{name}.mp4", frames, 25)
    return folder


def run(given: Path, output: Path, **changes: Any) -> AnimateReport:
    wish = {"driver": given / "a.mp4", "relative": True, "watermark": False, **changes}
    options = animate_options(portraits=(given / "portrait.png",), output=output, model="dex-nano", **wish)
    return animate(options, pipe=PIPE, reader=DrawnFaceReader())


def pixels(report: AnimateReport) -> np.ndarray:
    return np.stack(list(open_clip(report.output))).astype(int)


def edited(given: Path, output: Path, expression_from: Path | None = None, **changes: Any) -> np.ndarray:
    options = edit_options(
        portrait=given / "portrait.png", output=output, change=FaceChange(**changes), expression_from=expression_from,
        watermark=False,
    )  # fmt: skip
    return read_image(edit(options, pipe=PIPE, reader=DrawnFaceReader()).output).astype(int)


def test_pose_and_expression_in_all_four_modes(given: Path, tmp_path: Path) -> None:
    modes = {
        "both": {},
        "pose": {"pose_only": True},
        "expression": {"expression_only": True},
        "apart": {"driver": None, "pose_from": given / "a.mp4", "expression_from": given / "b.mp4"},
    }
    reports = {name: run(given, tmp_path / f"{name}.mp4", **changes) for name, changes in modes.items()}
    made = {name: pixels(report) for name, report in reports.items()}
    for name, frames in made.items():
        assert frames.shape == (FRAMES, HEIGHT, WIDTH, 3), name
        assert min(np.abs(frames - other).mean() for key, other in made.items() if key != name) > 0.01, name
    # far from the face nothing happens in a head that keeps its pose, but for what the codec makes of it
    corner, portrait = np.s_[:, :12, :12], read_image(given / "portrait.png").astype(int)
    assert np.abs(made["expression"][corner] - portrait[:12, :12]).max() < 12
    still = made["expression"]
    assert np.abs(np.diff(made["pose"], axis=0)).mean() > np.abs(np.diff(still, axis=0)).mean()
    record = json.loads((tmp_path / "apart.json").read_text())["options"]
    assert (record["pose_from"], record["expression_from"]) == (str(given / "a.mp4"), str(given / "b.mp4"))


def test_every_slider_of_an_edit_changes_the_picture(given: Path, tmp_path: Path) -> None:
    wishes: list[dict[str, Any]] = [{"zoom": 1.4} if name == "zoom" else {name: _far(name)} for name in _sliders()]
    wishes += [{"blendshapes": ((name, 1.0),)} for name in ("tongueOut", "eyeBlinkLeft")]
    wishes += [{"expression_from": given / "b.mp4"}, {"expression_from": given / "b.mp4", "smile": 1.0}]
    seen = [read_image(given / "portrait.png").astype(int)]
    for number, wish in enumerate(wishes):
        picture = edited(given, tmp_path / f"{number}.png", **wish)
        assert picture.shape == (HEIGHT, WIDTH, 3)
        assert min(np.abs(picture - earlier).max() for earlier in seen) > 2, wish
        seen.append(picture)


def test_a_list_of_expressions_is_performed(given: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "open.png", draw_face(96, 96, mouth=0.8))
    (tmp_path / "list.yaml").write_text(
        "fps: 10\nexpressions:\n"
        "  - {at: 0}\n  - {at: 0.2, smile: 1, yaw: 15}\n  - {at: 0.3, picture: open.png, gain: 1}\n"
    )
    wish = {"driver": None, "expressions": tmp_path / "list.yaml", "relative": False}
    report = run(given, tmp_path / "out.mp4", **wish)
    clip = open_clip(report.output)
    assert (clip.info.rate, clip.count(), report.size) == (Fraction(10), 4, (WIDTH, HEIGHT))
    assert np.abs(np.diff(pixels(report), axis=0)).reshape(3, -1).mean(1).min() > 0.05


def _sliders() -> list[str]:
    return [one.name for one in fields(FaceChange) if one.name != "blendshapes"]


def _far(name: str) -> float:
    return {"yaw": 20.0, "pitch": 15.0, "roll": 15.0, "x": 0.1, "y": 0.1}.get(name, 1.0)
