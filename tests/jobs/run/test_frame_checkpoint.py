"""kill -9 at any moment: the same command finishes, with the same frames, and little is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from killed_runs import Run, counting, in_a_process
from mien.jobs.animate import animate
from mien.jobs.options import AnimateOptions
from mien.jobs.run.frame_checkpoint import FrameCheckpoint
from mien.media import open_clip, write_video
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import talking_frames

PIECE = 8  # frames that are decoded, and kept, together
COUNT = 27
unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("driver") / "driver.mp4", talking_frames(COUNT), 25)


def the_run(inputs: Path, driver: Path, folder: Path, **changes: Any) -> Run:
    (folder / "out").mkdir(exist_ok=True)
    return Run(inputs / "portrait.png", driver, folder / "out/out.mp4", folder / "log", changes)


def pixels(path: Path) -> np.ndarray:
    return np.stack(list(open_clip(path)))


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@unix
@pytest.mark.parametrize(
    ("system", "changes"),
    [("x", {}), ("x", {"window": 8, "overlap": 0, "steps": 1}), ("x", {"fast": True}), ("dex", {})],
)
def test_killed_between_any_two_changes_of_the_disk(
    inputs: Path, driver: Path, tmp_path: Path, system: str, changes: dict[str, Any]
) -> None:
    run = replace(the_run(inputs, driver, tmp_path, **changes), system=system)
    assert in_a_process(run) == 0
    undisturbed, record = pixels(run.output), run.output.with_suffix(".json")
    assert run.decoded() == COUNT == len(undisturbed)
    run.output.unlink(), record.unlink(), run.log.unlink()
    kills = 0
    for change in [0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0, 0, 1, 2, 3]:
        if in_a_process(run, change) == 0:
            break
        kills += 1
        left = {name for name in listing(run.output.parent) if not name.startswith(".")}
        assert left <= {"out.mp4", "out.json"}
        if "out.mp4" in left:
            assert np.array_equal(pixels(run.output), undisturbed), "whole, or not there"
    else:
        assert in_a_process(run) == 0
    assert kills >= 6
    assert listing(run.output.parent) == ["out.json", "out.mp4"]
    assert np.array_equal(pixels(run.output), undisturbed)
    assert COUNT < run.decoded() <= COUNT + kills * PIECE, "at most one piece a kill is done twice"


@unix
def test_another_wish_does_not_go_on_with_these_frames(inputs: Path, driver: Path, tmp_path: Path) -> None:
    assert in_a_process(the_run(inputs, driver, tmp_path), 5) == -signal.SIGKILL
    other = the_run(inputs, driver, tmp_path, seed=1)
    other.log.unlink()
    assert in_a_process(other) == 0
    assert other.decoded() == COUNT
    assert listing(tmp_path / "out") == ["out.json", "out.mp4"]


@unix
def test_damaged_pieces_are_not_used(inputs: Path, driver: Path, tmp_path: Path) -> None:
    run = the_run(inputs, driver, tmp_path)
    assert in_a_process(run, 8) == -signal.SIGKILL
    (front,) = (tmp_path / "out").rglob("front.safetensors")
    front.write_bytes(front.read_bytes()[:-20])
    run.log.unlink()
    assert in_a_process(run) == 0
    assert run.decoded() == COUNT


def test_a_disk_that_cannot_keep_frames_costs_the_resuming_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    kept = FrameCheckpoint(tmp_path / "file/below", told.append)
    for _ in range(2):
        kept.save([np.zeros((4, 4, 3), np.uint8)], lambda: pytest.fail("not asked for"))
    assert len(told) == 1 and "begins anew" in told[0]


@unix
def test_the_command_itself_killed_from_outside(inputs: Path, tiny_model: Path, tmp_path: Path, driver: Path) -> None:
    """A real process; it is killed as soon as it has kept something, wherever it is then."""
    out = tmp_path / "out"
    out.mkdir()
    words = ["-s", inputs / "portrait.png", "-d", driver, "-o", out / "out.mp4", "--model", tiny_model]
    words += ["--reader", "mesh", "--steps", "20", "--device", "cpu", "--dtype", "float32"]
    code = "import torch; torch.set_num_threads(1); from mien.cli.app import main; main()"
    run = subprocess.Popen([sys.executable, "-c", code, "animate", *map(str, words)])
    deadline = time.monotonic() + 240
    while run.poll() is None and time.monotonic() < deadline:
        if list(out.glob(".*.work/*/front.safetensors")):
            break
        time.sleep(0.005)
    run.kill()
    assert run.wait() == -signal.SIGKILL, "it was still at work"
    (front,) = out.glob(".*.work/*/front.safetensors")
    kept = FrameCheckpoint(front.parent, pytest.fail).state()
    assert kept is not None and kept.emitted >= PIECE

    log = tmp_path / "log"
    pipe = counting(XPortraitPipeline.from_pretrained(tiny_model), log)
    options = AnimateOptions(
        (inputs / "portrait.png",), driver, out / "out.mp4", str(tiny_model), steps=20, reader="mesh", device="cpu",
        dtype="float32",
    )  # fmt: skip
    animate(options, pipe=pipe)
    assert len(log.read_text()) == COUNT - kept.emitted
    assert listing(out) == ["out.json", "out.mp4"]
