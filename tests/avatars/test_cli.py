from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mien.cli.app import app


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        app(list(arguments))
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err


def test_the_command_line_starts_without_the_heavy_parts() -> None:
    code = "import sys, mien.cli.app; sys.exit(any(name in sys.modules for name in ('numba', 'scipy', 'mediapipe')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_avatar_without_a_head_model_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_HEAD_MODEL", str(tmp_path / "none.npz"))
    code, _, told = run(capsys, "data", "avatars", "--people", "1", "--out", str(tmp_path / "set"))
    assert code == 2 and told.count("\n") == 1 and "mien data head-model" in told
    assert not (tmp_path / "set").exists()


def test_head_model_and_driver_run_from_the_command_line(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told, _ = run(capsys, "data", "head-model", str(pack), "-o", str(tmp_path / "head.npz"))
    assert code == 0 and Path(told.strip()) == tmp_path / "head.npz"
    video = tmp_path / "driver.mp4"
    arguments = ("--head-model", str(tmp_path / "head.npz"), "--seconds", "0.12", "-o", str(video))
    code, told, _ = run(capsys, "data", "driver", "talking", *arguments)
    assert code == 0 and video.is_file() and told.strip() == str(video)


def test_looking_at_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = run(capsys, "data", "look", str(tmp_path))
    assert code == 2 and "holds neither" in told
