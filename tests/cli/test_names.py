"""Names as disks give them, with bytes that are not UTF-8 or very long: results and records appear, nothing is lost."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from dex_jobs import dex_model
from mien.cli.app import app
from mien.jobs.run.provenance import read_provenance
from mien.media import open_clip
from mien.media.files import json_bytes, readable_name, utf8_path
from samples import DrawnFaceReader, drawn_reader, inputs, tiny_model

__all__ = ["dex_model", "drawn_reader", "inputs", "tiny_model"]  # fixtures

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="this system's names are always Unicode")
runner = CliRunner()


@pytest.fixture(autouse=True)
def _reader(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("faces",):
        monkeypatch.setattr(f"mien.{module}.load_face_reader", lambda *_, **__: DrawnFaceReader())


@pytest.fixture
def odd(inputs: Path, tmp_path: Path) -> Path:
    """A folder with a name that is not UTF-8; in it such a portrait and such a driver."""
    folder = tmp_path / os.fsdecode(b"f\xf6lder")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this disk takes UTF-8 names only")
    shutil.copy(inputs / "portrait.png", folder / os.fsdecode(b"M\xfcller.png"))
    shutil.copy(inputs / "driver.mp4", folder / os.fsdecode(b"\xfcber.mp4"))
    return folder


def mien(*words: object) -> tuple[list[bytes], str]:
    """Run a command that succeeds; the lines of its output as bytes, and what it said besides."""
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    return result.stdout_bytes.splitlines(), result.stderr


def check_result(output: Path, printed: bytes) -> None:
    """The file is there, its name was printed as the disk has it, and the record names it so that it is found again."""
    assert output.is_file() and printed == os.fsencode(output)
    record = json.loads(output.with_suffix(".json").read_bytes())
    assert Path(record["output"]) == output and Path(record["options"]["portraits"][0]).is_file()
    assert read_provenance(output).metadata is not None
    assert not [path.name for path in output.parent.iterdir() if path.name.startswith(".")]


def test_animate(odd: Path, tiny_model: Path) -> None:
    portrait, driver = (odd / os.fsdecode(name) for name in (b"M\xfcller.png", b"\xfcber.mp4"))
    model = shutil.copytree(tiny_model, odd / os.fsdecode(b"m\xf6del"))
    lines, _ = mien("animate", "-s", portrait, "-d", driver, "-o", odd, "--model", model, "--steps", 1, "--preview")
    output = odd / os.fsdecode(b"M\xfcller--\xfcber.mp4")
    assert lines[0] == os.fsencode(odd / os.fsdecode(b"M\xfcller--\xfcber.preview.mp4"))
    check_result(output, lines[1])
    found = read_provenance(output).metadata
    assert found is not None and found.model == "m\\xf6del"
    assert open_clip(output).info.has_audio


def test_dex(odd: Path, dex_model: Path) -> None:
    portrait, driver = (odd / os.fsdecode(name) for name in (b"M\xfcller.png", b"\xfcber.mp4"))
    template = odd / os.fsdecode(b"\xfcber.safetensors")
    lines, _ = mien("motion", driver, "-o", odd, "--model", dex_model)
    assert lines == [os.fsencode(template)]
    with utf8_path(template) as found, safe_open(found, "pt") as file:
        assert file.metadata()["source"] == "\\xfcber.mp4"
    given = ("-s", portrait, "-o", odd, "--model", dex_model, "--system", "dex")
    lines, _ = mien("animate", *given, "-d", template)
    check_result(odd / os.fsdecode(b"M\xfcller--\xfcber.mp4"), lines[0])
    lines, _ = mien("edit", *given, "--yaw", 5)
    check_result(odd / os.fsdecode(b"M\xfcller--M\xfcller.png"), lines[0])


def test_edit(odd: Path) -> None:
    output = odd / os.fsdecode(b"\xfc.png")
    lines, _ = mien("edit", "-s", odd / os.fsdecode(b"M\xfcller.png"), "--yaw", 5, "-o", output, "--device", "cpu")
    check_result(output, lines[0])


def test_batch(odd: Path, inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    (odd / "people").mkdir()
    shutil.copy(odd / os.fsdecode(b"M\xfcller.png"), odd / "people" / os.fsdecode(b"M\xfcller"))
    shutil.copy(inputs / "no_face.png", odd / "people" / os.fsdecode(b"ni\xe9mand.jpg_large"))
    words = ["batch", "--portraits", odd / "people", "--drivers", odd / os.fsdecode(b"\xfcber.mp4"), "-o", odd / "out"]
    words += ["--set", f"model={tiny_model}", "--set", "steps=1"]
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == 1 and "1 results made, 1 left out" in result.stdout_bytes.decode(errors="replace")
    check_result(
        odd / "out" / os.fsdecode(b"M\xfcller--\xfcber.mp4"), os.fsencode(odd / "out") + b"/M\xfcller--\xfcber.mp4"
    )
    with (odd / "out/failures.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["output"] == "ni\\xe9mand--\\xfcber.mp4" and "no face was found" in row["reason"]
    again = runner.invoke(app, [str(word) for word in words])
    assert "0 results made, 1 were there already, 1 left out" in again.stdout_bytes.decode(errors="replace")

    table = tmp_path / "jobs.json"
    job = {
        "portrait": str(odd / "people" / os.fsdecode(b"M\xfcller")),
        "driver": str(odd / os.fsdecode(b"\xfcber.mp4")),
    }
    table.write_bytes(json_bytes([job], indent=1))
    lines, _ = mien("batch", table, "-o", odd / "more", "--set", f"model={tiny_model}", "--set", "steps=1")
    assert (odd / "more" / os.fsdecode(b"M\xfcller--\xfcber.mp4")).is_file() and lines[0].startswith(b"1 results made")


def test_what_is_wrong_with_such_a_file_is_said(odd: Path) -> None:
    gone = odd / os.fsdecode(b"n\xfcll.png")
    result = runner.invoke(app, ["animate", "-s", str(gone), "-d", str(odd / os.fsdecode(b"\xfcber.mp4"))])
    assert result.exit_code == 2
    assert (
        result.stderr == f"mien: {odd.parent}/f\\xf6lder/n\\xfcll.png does not exist; check the spelling of the path.\n"
    )


def test_names_that_are_long_together_are_cut(inputs: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Two names that a disk takes make one that it takes: 255 bytes, which are fewer letters in many languages."""
    portrait = Path(shutil.copy(inputs / "portrait.png", tmp_path / f"{'å' * 120}.png"))
    driver = Path(shutil.copy(inputs / "driver.png", tmp_path / f"{'b' * 240}.png"))
    lines, _ = mien("animate", "-s", portrait, "-d", driver, "-o", tmp_path, "--model", tiny_model, "--steps", 1)
    output = tmp_path / f"{'å' * 50}--{'b' * 100}.png"
    check_result(output, lines[0])


def test_readable_names() -> None:
    assert readable_name("Grüße 日本.mp4") == "Grüße 日本.mp4"
    assert readable_name(os.fsdecode(b"M\xfcller.jpg")) == "M\\xfcller.jpg"
    assert readable_name("\ud800 a") == "\\ud800 a"
    content = {"name": os.fsdecode(b"\xff\xc3\xa9"), "other": "\ud800"}
    assert json.loads(json_bytes(content, indent=1).decode("utf-8")) == content
