from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import mien
from mien.cli import app as app_module
from mien.cli.app import app
from mien.jobs.options import AnimateOptions
from mien.jobs.report import AnimateReport
from samples import DrawnFaceReader

runner = CliRunner()


def test_version() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"mien {mien.__version__}\n")


@pytest.mark.parametrize("command", [[], ["animate"], ["demo"], ["doctor"]])
def test_help(command: list[str]) -> None:
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_animate_writes_and_prints_the_path(
    inputs: Path, tiny_model: Path, drawn_reader: DrawnFaceReader, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    arguments = ["animate", "-s", inputs / "portrait.png", "-s", inputs / "portrait_2.png", "-d", inputs / "driver.mp4"]
    arguments += ["-o", output, "--model", tiny_model, "--steps", 1, "--guidance", 1.5, "--seed", 3, "--preview"]
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(tmp_path / "out.preview.mp4"), str(output)]
    assert result.stderr == ""
    options = json.loads((tmp_path / "out.json").read_text())["options"]
    assert (options["steps"], options["guidance"], options["seed"], options["preview"]) == (1, 1.5, 3, True)
    assert options["portraits"] == [str(inputs / "portrait.png"), str(inputs / "portrait_2.png")]


def test_lost_frames_are_told_after_success(
    inputs: Path, tiny_model: Path, drawn_reader: DrawnFaceReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = drawn_reader.read, iter(range(100))
    monkeypatch.setattr(drawn_reader, "read", lambda *given: None if next(calls) == 3 else read(*given))
    arguments = ["animate", "-s", inputs / "portrait.png", "-d", inputs / "driver.mp4", "-o", tmp_path / "out.mp4"]
    result = runner.invoke(app, [str(a) for a in [*arguments, "--model", tiny_model, "--steps", 1]])
    assert result.exit_code == 0, result.output
    assert result.stderr == "mien: a face was found in 8 of 9 frames, 1 interpolated (longest gap 1)\n"


def test_a_dry_run_prints_the_plan(
    inputs: Path, tiny_model: Path, drawn_reader: DrawnFaceReader, tmp_path: Path
) -> None:
    arguments = ["animate", "-s", inputs / "portrait.png", "-d", inputs / "driver.mp4", "-o", tmp_path / "out.mp4"]
    result = runner.invoke(app, [str(a) for a in [*arguments, "--model", tiny_model, "--dry-run"]])
    assert result.exit_code == 0, result.output
    for part in ("9 frames", "2 steps", "guidance 2", "windows of 8 frames that share 2", "61 x 53", "FLOP", "GiB"):
        assert part in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_demo_runs_the_bundled_files_into_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[AnimateOptions] = []

    def animated(options: AnimateOptions, progress: object) -> AnimateReport:
        given.append(options)
        return AnimateReport(options, options.output, None, None, 0, (1, 1))

    monkeypatch.setattr("mien.jobs.animate.animate", animated)
    result = runner.invoke(app, ["demo", "-o", str(tmp_path / "demo-output")])
    assert result.exit_code == 0, result.output
    (options,) = given
    assert options.output == tmp_path / "demo-output" / "demo.mp4"
    assert options.model == "nano"
    assert options.driver.is_file() and options.portraits[0].is_file()


def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mien.weights.HERE", tmp_path)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert "torch" in result.stdout and "-> " in result.stdout and "not ready" in result.stdout


def test_a_fault_of_the_program_is_one_sentence_and_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ZeroDivisionError("the cause")

    monkeypatch.setattr("mien.jobs.doctor.examine", fails)
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    log = Path(line.rsplit(" ", 1)[1])
    assert "the cause" in log.read_text() and "Traceback" in log.read_text()
    log.unlink()


def test_an_interruption_is_130_and_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.jobs.doctor.examine", interrupted)
    result = runner.invoke(app, ["doctor"])
    assert (result.exit_code, result.stderr) == (130, "")


def test_an_exit_code_of_a_command_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves() -> None:
        raise typer.Exit(7)

    monkeypatch.setattr("mien.jobs.doctor.examine", leaves)
    assert runner.invoke(app, ["doctor"]).exit_code == 7


def test_errors_over_several_lines_become_one() -> None:
    code, sentence = app_module.describe(mien.errors.InputError("one\n  two"))
    assert (code, sentence) == (2, "one two")


def test_help_does_not_load_torch() -> None:
    script = "import sys; from mien.cli.app import app; app({}, standalone_mode=False); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script.format(["-h"])], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("False")
