from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluation_samples import make_benchmark
from mien.cli.app import app, describe
from mien.errors import InputError
from mien.evaluation.benchmark import read_benchmark
from mien.evaluation.footage import load_footage
from mien.media import write_video

runner = CliRunner()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_benchmark(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("command", [[], ["run"], ["build"], ["build", "heads"], ["table1"], ["report"], ["weights"]])
def test_help(command: list[str]) -> None:
    result = runner.invoke(app, ["evaluate", *command, "--help"])
    assert result.exit_code == 0 and "Usage" in result.stdout


@pytest.mark.parametrize("name", ["table1", "table2", "dex-table1", "dex-table2"])
def test_tables_print_what_papers_say(name: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["evaluate", name, "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "| published |" in result.stdout and "measured here |" not in result.stdout
    assert json.loads((tmp_path / f"{name}.json").read_text())["table"] == name


def test_a_run_and_its_table(bench: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    out = tmp_path / "out"
    words = ["run", bench, "-o", out, "--system", "still=copy-source", "--metric", "l1", "--metric", "ssim"]
    result = runner.invoke(app, ["evaluate", *map(str, words)])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"4 clips made: {out / 'report.html'}"
    theirs = tmp_path / "theirs"
    for pair in read_benchmark(bench).pairs:
        write_video(theirs / f"{pair.id}.mp4", list(load_footage(pair, 64).case.driver), 25)
    words = ["table1", out, "--predictions", f"TPS={theirs}", "--benchmark", bench, "-o", tmp_path / "tables"]
    result = runner.invoke(app, ["evaluate", *map(str, words)])
    assert result.exit_code == 0, result.output
    assert "| measured here | still |" in result.stdout and "| measured here | TPS |" in result.stdout
    result = runner.invoke(app, ["evaluate", "report", str(out), "-o", str(tmp_path / "page")])
    assert result.exit_code == 0 and result.stdout.splitlines()[-1] == str(tmp_path / "page" / "report.html")


def test_metrics_tell_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    result = runner.invoke(app, ["evaluate", "metrics"])
    assert result.exit_code == 0, result.output
    assert "lpips:" in result.stdout and "not computed: needs" in result.stdout and "higher is better" in result.stdout


def failure(*words: object) -> str:
    """The sentence a command ends with."""
    with pytest.raises(InputError) as caught:
        app(["evaluate", *(str(word) for word in words)], standalone_mode=False)
    assert describe(caught.value)[0] == 2
    return str(caught.value)


def test_errors_are_one_sentence(bench: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out")
    assert "nobody is to be scored" in failure("run", bench, *out)
    assert "there is no system 'magic'" in failure("run", bench, *out, "--system", "magic")
    assert "landmarks:FOLDER" in failure("run", bench, *out, "--system", "landmarks")
    assert "no metric 'beauty'" in failure("run", bench, *out, "--system", "copy-source", "--metric", "beauty")
    assert "multiple of 8" in failure("run", bench, *out, "--system", "copy-source", "--side", "250")
    assert "does not exist" in failure("run", tmp_path / "none.json", *out, "--system", "copy-source")
    assert "give --benchmark" in failure("table1", "--predictions", f"x={tmp_path}")
    assert "index.json" in failure("build", "real", tmp_path, tmp_path / "b.json")
    assert "holds no run" in failure("table2", tmp_path)
    assert not (tmp_path / "out").exists()
