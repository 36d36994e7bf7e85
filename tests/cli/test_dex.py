"""The commands of DeX-Portrait as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dex_jobs import dex_model
from mien.cli.app import app
from mien.media import open_clip, read_image
from samples import DrawnFaceReader, inputs

__all__ = ["dex_model", "inputs"]  # fixtures


@pytest.fixture(autouse=True)
def _reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: DrawnFaceReader())


def mien(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        app([str(word) for word in words])
    return int(left.value.code or 0)


def test_a_clip_becomes_a_template_that_drives(
    inputs: Path, dex_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mien("motion", inputs / "driver.mp4", "-o", tmp_path / "m.safetensors", "--model", dex_model) == 0
    given = ["-s", inputs / "portrait.png", "--model", dex_model, "--system", "dex", "-o", tmp_path / "out.mp4"]
    assert mien("animate", *given, "--pose-from", tmp_path / "m.safetensors", "--absolute") == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "m.safetensors"), str(tmp_path / "out.mp4")]
    assert open_clip(tmp_path / "out.mp4").count() == 9


def test_a_head_is_turned(inputs: Path, dex_model: Path, tmp_path: Path) -> None:
    words = ["edit", "--system", "dex", "-s", inputs / "portrait.png", "--yaw", "-20", "--model", dex_model]
    assert mien(*words, "-o", tmp_path / "out.png") == 0
    assert read_image(tmp_path / "out.png").shape == (53, 61, 3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["animate", "-s", "P", "-o", "O.mp4"], "no driving video was given"),
        (["animate", "-s", "P", "-d", "D", "--pose-only", "-o", "O.mp4"], "give --model dex-nano"),
        (["animate", "-s", "P", "-d", "D", "--system", "dex", "--model", "/no/where", "-o", "O.mp4"], "no model"),
        (["edit", "-s", "P", "-o", "O.png", "--yaw", "5", "--model", "/no/where"], "there is no model /no/where"),
        (["motion", "D", "-o", "O.safetensors", "--model", "/no/where"], "there is no model /no/where"),
        (["edit", "-s", "P", "-o", "O.png"], "nothing is to change"),
        (["edit", "-s", "P", "-o", "O.png", "--system", "dex"], "nothing is to change"),
        (["edit", "-s", "P", "-o", "O.png", "--system", "y", "--smile", "1"], "must be one of x, dex"),
        (["edit", "-s", "P", "-o", "O.png", "--blendshape", "jawOpen"], "jawOpen=0.5"),
    ],
)
def test_mistakes_are_one_sentence(
    inputs: Path, tmp_path: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"P": inputs / "portrait.png", "D": inputs / "driver.mp4"}
    shown = [places.get(word, tmp_path / word if word.startswith("O.") else word) for word in words]
    assert mien(*shown) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
