"""Runs of `animate` in processes that are killed, for tests of what is left and of going on.

The processes are forked from a clean one (multiprocessing's forkserver): the tests' own has threads, whose locks a fork
would inherit.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeVar

import torch

from mien.jobs.animate import animate
from mien.jobs.options import AnimateOptions
from mien.jobs.run.output_lock import output_lock
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import DrawnFaceReader, job_pipeline
from tiny_dex import tiny_dex_pipeline

Pipe = TypeVar("Pipe", XPortraitPipeline, DeXPortraitPipeline)


@dataclass(frozen=True)
class Run:
    """What to animate; log: where to write down the frames that are decoded, an x each; changes: of the options."""

    portrait: Path
    driver: Path
    output: Path
    log: Path
    changes: dict[str, Any] = field(default_factory=dict)
    system: str = "x"

    def options(self) -> AnimateOptions:
        given = {"portraits": (self.portrait,), "driver": self.driver, "output": self.output, **self.changes}
        return AnimateOptions(**given)

    def decoded(self) -> int:
        return len(self.log.read_text())


def counting(pipe: Pipe, log: Path) -> Pipe:
    """The pipeline, which writes down how many frames it decodes."""
    finish = pipe._finish

    def counted(chunk: Any) -> Any:
        with log.open("a") as file:
            file.write("x" * len(chunk))
        return finish(chunk)

    pipe._finish = counted  # type: ignore[method-assign]
    return pipe


def do(run: Run, killed_at: int | None = None) -> None:
    """In a process of its own: the run. killed_at: it ends just before (even) or after (odd) its n-th file is named."""
    torch.set_num_threads(1)
    if killed_at is not None:
        _die_at(killed_at)
    make = tiny_dex_pipeline if run.system == "dex" else job_pipeline
    animate(run.options(), pipe=counting(make(), run.log), reader=DrawnFaceReader())


def _die_at(change: int) -> None:
    seen, replace = 0, os.replace

    def counted(*paths: Any) -> None:
        nonlocal seen
        if seen == change:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)
        if seen + 1 == change:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 2

    os.replace = counted  # type: ignore[assignment]


def hold(output: Path, ready: Any) -> None:
    """In a process of its own: claim an output for ever."""
    with output_lock(output):
        ready.set()
        signal.pause()


def processes() -> Any:
    """The context whose processes are clean and have everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_runs"])
    # Before Python 3.13 the server looks for what it imports where any new Python would, not where this one does.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


def in_a_process(run: Run, killed_at: int | None = None) -> int:
    """The exit code, or minus the signal that ended the process."""
    process = processes().Process(target=do, args=(run, killed_at))
    process.start()
    process.join()
    return int(process.exitcode)
