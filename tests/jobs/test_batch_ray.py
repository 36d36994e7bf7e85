"""A Ray cluster of two workers, one of them killed in the middle of a job: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from mien.jobs.batch import run_batch
from mien.jobs.batch_options import BatchOptions
from mien.jobs.run.progress import Silent
from mien.jobs.run.workers import LOCAL_RAY
from mien.media import write_image, write_video
from samples import draw_face, talking_frames

pytest.importorskip("ray", reason="needs the extra `scale`")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc"),
]


def at_work(out: Path) -> list[int]:
    """The processes of Ray's workers that have a file of `out` open: they are in the middle of a job."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if not (process / "cmdline").read_bytes().startswith(b"ray::"):
                continue
            if any(os.readlink(file).startswith(str(out)) for file in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def states(out: Path) -> dict[str, tuple[int, int]]:
    """The finished files of `out`, each with what changes when it is written anew. Hidden files are of jobs at work."""
    found = {}
    for path in out.glob("[!.]*"):
        try:
            found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
        except OSError:  # renamed meanwhile
            continue
    return found


def test_a_killed_worker_costs_no_job_and_repeats_none(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else the workers wait for whatever else runs on the machine
    for number in range(3):
        write_image(tmp_path / f"people/{number}.png", draw_face(61 + number, 53))
        (tmp_path / "drivers").mkdir(exist_ok=True)
        write_video(tmp_path / f"drivers/{number}.mp4", talking_frames(10 + number), 25)
    out = tmp_path / "out"
    common = {"model": str(tiny_model), "steps": "4", "reader": "mesh", "device": "cpu"}
    options = BatchOptions(
        out,
        portraits=tmp_path / "people",
        drivers=tmp_path / "drivers",
        common=tuple(common.items()),
        workers=2,
        ray=LOCAL_RAY,
    )
    killed: list[int] = []
    before: dict[str, tuple[int, int]] = {}

    def kill_one() -> None:
        deadline = time.monotonic() + 300
        while not killed and time.monotonic() < deadline:
            finished = {name: state for name, state in states(out).items() if name.endswith(".json")}
            workers = at_work(out) if len(finished) >= 2 else []
            if workers:
                before.update(finished)
                os.kill(workers[0], signal.SIGKILL)
                killed.append(workers[0])
            time.sleep(0.005)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    report = run_batch(options, Silent())
    killer.join()
    assert len(killed) == 1, "a worker was at work and was killed"
    wanted = [f"{person}--{driver}.mp4" for person in range(3) for driver in range(3)]
    assert sorted(report.outcome.done) == wanted and report.failures is None
    after = states(out)
    assert sorted(after) == sorted([*wanted, *(name.replace(".mp4", ".json") for name in wanted)])
    assert {name: after[name] for name in before} == before and len(before) >= 2, "what was done was not done again"
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")], "nothing half written stays"

    again = run_batch(BatchOptions(**{**vars(options), "ray": None}), Silent())
    assert sorted(again.outcome.kept) == wanted and not again.outcome.done
    assert states(out) == after
