"""kill -9 at any moment: the same command finishes, with the same frames, and little is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.jobs.animate import animate
from mien.jobs.options import AnimateOptions
from mien.jobs.resume import KeptFrames
from mien.media import open_clip, write_video
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import DrawnFaceReader, job_pipeline, talking_frames

PIECE = 8  # frames that are decoded, and kept, together
COUNT = 27
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("driver") / "driver.mp4", talking_frames(COUNT), 25)


def wanted(inputs: Path, driver: Path, output: Path, **changes: Any) -> AnimateOptions:
    return AnimateOptions(**{"portraits": (inputs / "portrait.png",), "driver": driver, "output": output, **changes})


def counting(pipe: XPortraitPipeline, log: Path) -> XPortraitPipeline:
    """The pipeline, which writes down how many frames it decodes."""
    finish = pipe._finish

    def counted(chunk: Any) -> Any:
        with log.open("a") as file:
            file.write("x" * len(chunk))
        return finish(chunk)

    pipe._finish = counted  # type: ignore[method-assign]
    return pipe


def in_a_child(work: Callable[[], object]) -> int:
    """Run `work` in a fork of this process; the signal that ended it, or minus its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def killed_at(change: int, work: Callable[[], object]) -> Callable[[], None]:
    """`work` in a process that is killed before (even) or after (odd) its n-th file gets its name."""

    def run() -> None:
        seen, replace = 0, os.replace

        def counted(*paths: Any) -> None:
            nonlocal seen
            if seen == change:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)
            if seen + 1 == change:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 2

        os.replace = counted
        work()

    return run


def pixels(path: Path) -> np.ndarray:
    return np.stack(list(open_clip(path)))


@pytest.mark.parametrize("changes", [{}, {"window": 8, "overlap": 0, "steps": 1}, {"fast": True}])
def test_killed_between_any_two_changes_of_the_disk(
    inputs: Path, driver: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    (tmp_path / "out").mkdir()
    log, output = tmp_path / "log", tmp_path / "out/out.mp4"

    def work() -> None:
        pipe = counting(job_pipeline(), log)
        if "fast" in changes:
            pipe.use_few_steps()
        animate(wanted(inputs, driver, output, **changes), pipe=pipe, reader=DrawnFaceReader())

    in_a_child(work)
    undisturbed, record = pixels(output), output.with_suffix(".json")
    assert len(log.read_text()) == COUNT == len(undisturbed)
    output.unlink(), record.unlink(), log.unlink()
    # each run gets a little further than the one before; every run that is killed has named up to four more files
    kills = 0
    for change in [0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0, 0, 1, 2, 3]:
        if in_a_child(killed_at(change, work)) == 0:
            break
        kills += 1
        left = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
        assert left <= {"out.mp4", "out.json"}
        if "out.mp4" in left:
            assert np.array_equal(pixels(output), undisturbed), "whole, or not there"
    else:
        assert in_a_child(work) == 0
    assert kills >= 6
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["out.json", "out.mp4"]
    assert np.array_equal(pixels(output), undisturbed)
    assert COUNT < len(log.read_text()) <= COUNT + kills * PIECE, "at most one piece a kill is done twice"


def test_another_wish_does_not_go_on_with_these_frames(inputs: Path, driver: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    log, output = tmp_path / "log", tmp_path / "out/out.mp4"

    def work(**changes: Any) -> None:
        pipe = counting(job_pipeline(), log)
        animate(wanted(inputs, driver, output, **changes), pipe=pipe, reader=DrawnFaceReader())

    assert in_a_child(killed_at(5, work)) == signal.SIGKILL
    log.unlink()
    assert in_a_child(lambda: work(seed=1)) == 0
    assert len(log.read_text()) == COUNT
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["out.json", "out.mp4"]


def test_damaged_pieces_are_not_used(inputs: Path, driver: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    log, output = tmp_path / "log", tmp_path / "out/out.mp4"

    def work() -> None:
        animate(wanted(inputs, driver, output), pipe=counting(job_pipeline(), log), reader=DrawnFaceReader())

    assert in_a_child(killed_at(8, work)) == signal.SIGKILL
    (front,) = (tmp_path / "out").rglob("front.safetensors")
    front.write_bytes(front.read_bytes()[:-20])
    log.unlink()
    assert in_a_child(work) == 0
    assert len(log.read_text()) == COUNT


def test_a_disk_that_cannot_keep_frames_costs_the_resuming_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    kept = KeptFrames(tmp_path / "file/below", told.append)
    for _ in range(2):
        kept.keep([np.zeros((4, 4, 3), np.uint8)], lambda: pytest.fail("not asked for"))
    assert len(told) == 1 and "begins anew" in told[0]


def test_the_command_itself_killed_from_outside(inputs: Path, tiny_model: Path, tmp_path: Path, driver: Path) -> None:
    """A real process; it is killed as soon as it has kept something, wherever it is then."""
    (tmp_path / "out").mkdir()
    words = ["-s", inputs / "portrait.png", "-d", driver, "-o", tmp_path / "out/out.mp4", "--model", tiny_model]
    words += ["--reader", "nano", "--steps", "20", "--device", "cpu"]
    code = "import torch; torch.set_num_threads(1); from mien.cli.app import main; main()"
    run = subprocess.Popen([sys.executable, "-c", code, "animate", *map(str, words)], env={**os.environ})
    deadline = time.monotonic() + 240
    while run.poll() is None and time.monotonic() < deadline:
        if list((tmp_path / "out").glob(".*.work/*/front.safetensors")):
            break
        time.sleep(0.005)
    run.kill()
    assert run.wait() == -signal.SIGKILL, "it was still at work"
    (front,) = (tmp_path / "out").glob(".*.work/*/front.safetensors")
    kept = KeptFrames(front.parent, pytest.fail).begun()
    assert kept is not None and kept.emitted >= PIECE

    log = tmp_path / "log"
    pipe = counting(XPortraitPipeline.from_pretrained(tiny_model), log)
    options = wanted(
        inputs, driver, tmp_path / "out/out.mp4", model=str(tiny_model), reader="nano", steps=20, device="cpu"
    )
    animate(options, pipe=pipe)
    assert len(log.read_text()) == COUNT - kept.emitted
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["out.json", "out.mp4"]
    report = animate(wanted(inputs, driver, tmp_path / "b.mp4", reader="nano", steps=20), pipe=pipe)
    assert np.abs(pixels(report.output).astype(int) - pixels(options.output)).max() <= 1
