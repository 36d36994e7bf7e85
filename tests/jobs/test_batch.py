from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.errors import InputError, MienError
from mien.jobs import batch
from mien.jobs.batch import FAILURES, batch_jobs, run_batch
from mien.jobs.batch_options import BatchOptions, parse_setting
from mien.jobs.run.progress import Silent
from mien.jobs.run.workers import Outcome, spread
from samples import DrawnFaceReader


@pytest.fixture
def folder(inputs: Path, tmp_path: Path) -> Path:
    """Two portraits with a face, one without, and two drivers."""
    for name in ("portrait.png", "portrait_2.png", "no_face.png"):
        (tmp_path / "people").mkdir(exist_ok=True)
        shutil.copy(inputs / name, tmp_path / "people" / name)
    (tmp_path / "drivers").mkdir()
    shutil.copy(inputs / "driver.mp4", tmp_path / "drivers")
    shutil.copy(inputs / "driver.png", tmp_path / "drivers/still.png")
    return tmp_path


def pairs(folder: Path, model: Path, **changes: str) -> BatchOptions:
    common = {"model": str(model), "steps": "1", **changes}
    given = {"portraits": folder / "people", "drivers": folder / "drivers"}
    return BatchOptions(folder / "out", **given, common=tuple(common.items()))


def states(out: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.iterdir()}


def test_all_pairs_what_fails_and_what_is_kept(
    folder: Path, tiny_model: Path, drawn_reader: DrawnFaceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run_batch(pairs(folder, tiny_model), Silent())
    good = [f"{person}--{driver}" for person in ("portrait", "portrait_2") for driver in ("driver.mp4", "still.png")]
    bad = ["no_face--driver.mp4", "no_face--still.png"]
    assert (sorted(report.outcome.done), sorted(report.outcome.failed)) == (good, bad)
    assert all("no face was found in" in reason for reason in report.outcome.failed.values())
    assert report.failures == folder / "out" / FAILURES
    rows = list(csv.DictReader(report.failures.open(encoding="utf-8")))
    assert [row["output"] for row in rows] == bad and rows[0]["job"] == "no_face.png by driver.mp4"
    records = [Path(name).with_suffix(".json").name for name in good]
    before = states(folder / "out")
    assert set(before) == {*good, *records, FAILURES}

    (folder / "people/no_face.png").unlink()
    monkeypatch.setattr(batch, "animate", None)  # nothing is left to do
    again = run_batch(pairs(folder, tiny_model), Silent())
    assert (sorted(again.outcome.kept), again.outcome.done, again.failures) == (good, [], None)
    before.pop(FAILURES)
    assert states(folder / "out") == before


def test_another_wish_another_input_or_a_damaged_result_is_done_again(
    folder: Path, tiny_model: Path, drawn_reader: DrawnFaceReader
) -> None:
    (folder / "people/no_face.png").unlink()
    (folder / "people/portrait_2.png").unlink()
    (folder / "drivers/still.png").unlink()

    def done(**changes: str) -> list[str]:
        return run_batch(pairs(folder, tiny_model, **changes), Silent()).outcome.done

    all_ = ["portrait--driver.mp4"]
    assert done() == all_ and done() == []
    assert done(seed="4") == all_ and done(seed="4") == []
    assert done() == all_
    assert done(preview="yes") == all_ and done(preview="yes") == [] and done() == []
    with (folder / "out/portrait--driver.mp4").open("ab") as file:
        file.write(b"x")
    assert done() == all_
    shutil.copy(folder / "drivers/driver.mp4", folder / "drivers/copy.mp4")
    os.replace(folder / "drivers/copy.mp4", folder / "drivers/driver.mp4")
    assert done() == [], "the same content"
    shutil.copy(folder / "people/portrait.png", folder / "people/other.png")
    with (folder / "people/portrait.png").open("ab") as file:
        file.write(b"\0")
    assert done() == ["other--driver.mp4", *all_]


def test_what_is_unexpected_costs_one_job_only(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, drawn_reader: DrawnFaceReader
) -> None:
    (folder / "people/no_face.png").unlink()
    (folder / "drivers/still.png").unlink()
    real = batch.animate

    def breaks(options, *more, **named):  # type: ignore[no-untyped-def]
        if options.portraits[0].name == "portrait.png":
            raise RuntimeError("a\nfault")
        return real(options, *more, **named)

    monkeypatch.setattr(batch, "animate", breaks)
    outcome = run_batch(pairs(folder, tiny_model), Silent()).outcome
    assert outcome.done == ["portrait_2--driver.mp4"]
    assert outcome.failed == {"portrait--driver.mp4": "a fault of the program (RuntimeError: a fault)"}


def test_the_command(folder: Path, tiny_model: Path, drawn_reader: DrawnFaceReader) -> None:
    rows = [
        {"portrait": "people/portrait.png", "driver": "drivers/driver.mp4", "steps": 1},
        {"portrait": "people/gone.png", "driver": "drivers/driver.mp4"},
    ]
    (folder / "jobs.json").write_text(json.dumps(rows))
    words = ["batch", str(folder / "jobs.json"), "-o", str(folder / "out"), "--set", f"model={tiny_model}"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert result.stdout == f"1 results made, 1 left out: {folder / 'out'}\n"
    assert "gone--driver.mp4" in result.stderr and "does not exist" in " ".join(result.stderr.split())
    (folder / "jobs.json").write_text(json.dumps(rows[:1]))
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stdout) == (0, f"0 results made, 1 were there already: {folder / 'out'}\n")
    (folder / "jobs.json").write_text(json.dumps([{**rows[0], "stepz": 1}]))
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "jobs.json, row 1: there is no column 'stepz'" in result.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "either a table"),
        ({"portraits": "people"}, "either a table"),
        ({"jobs": "a.csv", "portraits": "people", "drivers": "drivers"}, "either a table"),
        ({"portraits": "gone", "drivers": "drivers"}, "gone does not exist"),
        ({"portraits": "drivers/driver.mp4", "drivers": "drivers", "out": "people/portrait.png"}, "is a file, but"),
        ({"portraits": ".", "drivers": "drivers"}, "holds no pictures"),
        ({"jobs": "gone.csv"}, "gone.csv does not exist"),
        ({"jobs": "people"}, "no table of jobs"),
        ({"jobs": "a.csv", "workers": 0}, "--workers"),
    ],
)
def test_wishes_that_cannot_be_met(folder: Path, changes: dict[str, str], sentence: str) -> None:
    given = {name: value if name == "workers" else folder / value for name, value in changes.items()}
    with pytest.raises(Exception, match=sentence):
        run_batch(BatchOptions(**{"out": folder / "out", **given}), Silent())  # type: ignore[arg-type]
    assert not (folder / "out").exists()


def test_addresses_and_standard_output_are_no_folders(folder: Path) -> None:
    for given, sentence in (
        ({"portraits": Path("https://example.com/people")}, "--portraits: https://example.com/people is an address"),
        ({"out": Path("-")}, "standard output"),
    ):
        options = {"out": folder / "out", "portraits": folder / "people", "drivers": folder / "drivers", **given}
        with pytest.raises(MienError, match=sentence):
            run_batch(BatchOptions(**options), Silent())


def test_a_folder_s_files_are_known_by_their_content(folder: Path) -> None:
    (folder / "people/portrait.png").rename(folder / "people/portrait.jpg_large")
    (folder / "drivers/still.png").rename(folder / "drivers/still")
    (folder / "people/list.txt").write_text("no portrait")
    jobs = batch_jobs(BatchOptions(folder / "out", portraits=folder / "people", drivers=folder / "drivers"))
    names = [job.options.output.name for job in jobs]
    assert names == [
        f"{person}--{driver}"
        for person in ("no_face", "portrait", "portrait_2")
        for driver in ("driver.mp4", "still.png")
    ]


def test_two_pictures_of_one_name_need_names(folder: Path) -> None:
    shutil.copy(folder / "people/portrait.png", folder / "people/portrait.bmp")
    with pytest.raises(InputError, match=r"portrait.png by .*both write"):
        batch_jobs(BatchOptions(folder / "out", portraits=folder / "people", drivers=folder / "drivers"))


def test_common_options() -> None:
    assert [parse_setting(word) for word in ("steps=4", "--paste-back=no")] == [("steps", "4"), ("paste_back", "no")]
    for word in ("steps", "stepz=4", "portrait=a"):
        with pytest.raises(InputError, match="--set"):
            parse_setting(word)


def test_several_processes(folder: Path, tiny_model: Path) -> None:
    options = pairs(folder, tiny_model, reader="mesh")
    report = run_batch(BatchOptions(**{**vars(options), "workers": 2}), Silent())
    assert (len(report.outcome.done), len(report.outcome.failed)) == (4, 2)
    assert all("no_face.png" in reason for reason in report.outcome.failed.values())
    assert all((folder / "out" / name).is_file() for name in report.outcome.done)


def test_processes_share_the_gpus_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, two GPUs: none sees both. The reason of a failure carries what a process sees."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-77")
    outcome = Outcome()
    spread(os.getenv, [(str(n), ("CUDA_VISIBLE_DEVICES",)) for n in range(6)], 2, "pieces", outcome, Silent())
    assert len(outcome.failed) == 6 and set(outcome.failed.values()) <= {"3", "GPU-77"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    outcome = Outcome()
    spread(os.getenv, [(str(n), ("CUDA_VISIBLE_DEVICES",)) for n in range(2)], 2, "pieces", outcome, Silent())
    assert set(outcome.failed.values()) == {"3"}
