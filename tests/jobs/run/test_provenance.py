"""What results say of their making, and the command that reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien import __version__
from mien.cli.app import app
from mien.errors import InputError
from mien.jobs.animate import animate
from mien.jobs.options import AnimateOptions
from mien.jobs.report import AnimateReport
from mien.jobs.run.provenance import Provenance, read_provenance, write_signed_image
from mien.media import read_image, write_image, write_video
from samples import RATE, DrawnFaceReader, draw_face, job_pipeline, talking_frames

MADE = Provenance("x", "nano", __version__, "0123abcd")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait and a driver large enough for the mark, with something in them to hide it in."""
    folder = tmp_path_factory.mktemp("large")
    noise = np.random.default_rng(0).integers(-6, 6, (160, 200, 3))
    write_image(folder / "portrait.png", np.clip(draw_face(200, 160) + noise, 0, 255).astype(np.uint8))
    write_image(folder / "driver.png", draw_face(96, 80, mouth=0.8))
    write_video(folder / "driver.mp4", talking_frames(9), RATE)
    return folder


def run(large: Path, output: Path, driver: str, **changes: Any) -> AnimateReport:
    options = AnimateOptions(portraits=(large / "portrait.png",), driver=large / driver, output=output, **changes)
    return animate(options, pipe=job_pipeline(), reader=DrawnFaceReader())


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
def test_a_video_tells_what_made_it(large: Path, tmp_path: Path, name: str) -> None:
    report = run(large, tmp_path / name, "driver.mp4")
    found = read_provenance(report.output)
    record = json.loads((tmp_path / "a.json").read_text())
    assert found.metadata == Provenance("x", "nano", __version__, record["request"])
    assert found.marked and found.score > 8


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_a_picture_tells_what_made_it(large: Path, tmp_path: Path, name: str) -> None:
    report = run(large, tmp_path / name, "driver.png")
    found = read_provenance(report.output)
    assert found.metadata is not None and found.metadata.system == "x"
    assert found.marked


def test_a_picture_without_a_place_for_metadata_has_the_mark(large: Path, tmp_path: Path) -> None:
    found = read_provenance(write_signed_image(tmp_path / "a.bmp", read_image(large / "portrait.png"), MADE, True))
    assert found.metadata is None and found.marked


def test_the_mark_is_left_out_where_nobody_wants_it(large: Path, tmp_path: Path) -> None:
    plain = run(large, tmp_path / "plain.png", "driver.png", watermark=False).output
    found = read_provenance(plain)
    assert found.metadata is not None and not found.marked
    signed = run(large, tmp_path / "marked.png", "driver.png").output
    change = read_image(signed).astype(int) - read_image(plain)
    assert 0 < np.abs(change).max() <= 2  # nothing else differs


def test_a_models_place_on_the_disk_is_kept_secret(large: Path, tmp_path: Path) -> None:
    options = AnimateOptions(
        portraits=(large / "portrait.png",), driver=large / "driver.png", output=tmp_path, model=str(tmp_path)
    )
    assert Provenance.of(options, "x", "d").model == tmp_path.name


@pytest.mark.parametrize(
    "comment", [None, "", "holiday", "{", '{"made_by": "other"}', '{"made_by": "mien"}', "[1]", '{"a": ' * 5000]
)
def test_other_comments_are_nobodys(comment: str | None) -> None:
    assert Provenance.parse(comment) is None
    assert Provenance.parse(MADE.comment()) == MADE


def mien(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        app([str(word) for word in words])
    return int(left.value.code or 0)


def test_the_command_reads_both(large: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_signed_image(tmp_path / "a.png", read_image(large / "portrait.png"), MADE, True)
    assert mien("provenance", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"metadata   mien {__version__}, system x", "model      nano", "options    0123abcd"]
    assert lines[3].startswith("watermark  found")
    assert mien("provenance", large / "portrait.png", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metadata"] is None and told["marked"] is False
    assert mien("provenance", tmp_path / "gone.png") == 2
    with pytest.raises(InputError, match="is a folder"):
        read_provenance(tmp_path)
