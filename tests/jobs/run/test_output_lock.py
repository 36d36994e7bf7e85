from __future__ import annotations

import os
from pathlib import Path

import pytest

from killed_runs import hold, processes
from mien.errors import InputError, OutputError
from mien.jobs.animate import animate
from mien.jobs.options import AnimateOptions
from mien.jobs.run.output_lock import output_lock, tidy
from samples import DrawnFaceReader, job_pipeline


def test_a_second_run_is_refused_and_changes_nothing(inputs: Path, tmp_path: Path) -> None:
    options = AnimateOptions((inputs / "portrait.png",), inputs / "driver.mp4", tmp_path / "out.mp4")
    with output_lock(tmp_path / "out.mp4") as folder:
        (folder / "frames").mkdir()
        with pytest.raises(OutputError, match=r"out\.mp4 is being written by another run"):
            animate(options, pipe=job_pipeline(), reader=DrawnFaceReader())
        assert (folder / "frames").is_dir()
        with output_lock(tmp_path / "other.mp4"):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "stays"),
    [(None, False), (KeyboardInterrupt, False), (InputError, False), (OutputError, True), (RuntimeError, True)],
)
def test_what_stays_for_the_next_run(tmp_path: Path, error: type[BaseException] | None, stays: bool) -> None:
    try:
        with output_lock(tmp_path / "out.mp4") as folder:
            (folder / "frames").mkdir()
            if error is not None:
                raise error
    except BaseException as caught:
        assert type(caught) is error
    assert folder.is_dir() == stays


def test_an_empty_folder_goes_with_any_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), output_lock(tmp_path / "out.mp4"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleaned_up_for_this_output_only(tmp_path: Path) -> None:
    ours = [".out.0123456789ab.part.mp4", ".out.preview.0123456789ab.part.mp4", ".out.0123456789ab.part.json"]
    others = [".out2.0123456789ab.part.mp4", ".out.0123456789ab.part.mkv", ".out.part.mp4", "out.0123456789ab.part.mp4"]
    for name in ours + others:
        (tmp_path / name).touch()
    with output_lock(tmp_path / "out.mp4"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == set(others)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_run_gives_its_claim_back(tmp_path: Path) -> None:
    ready = processes().Event()
    holder = processes().Process(target=hold, args=(tmp_path / "out.mp4", ready))
    holder.start()
    assert ready.wait(600)
    with pytest.raises(OutputError, match="another run"), output_lock(tmp_path / "out.mp4"):
        pass
    holder.kill()
    holder.join()
    with output_lock(tmp_path / "out.mp4") as folder:
        assert folder.is_dir()


@pytest.mark.parametrize("name", ["file/out.mp4", "x" * 300 + ".mp4", "/proc/mien/out.mp4", "folder"])
def test_places_where_nothing_can_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written"), output_lock(tmp_path / name):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_what_is_left_beside_a_finished_output_is_tidied_up(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    with pytest.raises(RuntimeError), output_lock(output) as folder:
        (folder / "frames").mkdir()
        raise RuntimeError
    with output_lock(tmp_path / "other.mp4") as busy:
        (busy / "frames").mkdir()
        tidy(tmp_path / "other.mp4")
        assert busy.is_dir()
    tidy(output)
    tidy(tmp_path / "never.mp4")
    assert list(tmp_path.iterdir()) == []
