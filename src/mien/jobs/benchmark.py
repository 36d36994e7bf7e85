"""`mien benchmark`: what this machine does, as one table to paste into an issue."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien import faces
from mien.animation.animator import Animator, animator_of
from mien.animation.frame_stepper import LiveControl, LiveFrame
from mien.animation.loading import load_pipeline
from mien.animation.progress import SILENT, Progress
from mien.animation.source import read_portrait_image
from mien.errors import InputError
from mien.faces import FaceReader
from mien.jobs.animate import animate, resolve_options
from mien.jobs.benchmark_options import BenchmarkOptions
from mien.jobs.demo import FOLDER
from mien.jobs.options import AnimateOptions
from mien.media import Clip, open_clip
from mien.media.part import part_of
from mien.version import __version__

_PORTRAIT, _DRIVER = FOLDER / "portrait_1.png", FOLDER / "driver.mp4"
_MEGABYTE = 1e6


@dataclass(frozen=True)
class BenchmarkReport:
    """machine: facts by name. rows: what was measured: its name, its value with a unit, and what that is of."""

    machine: dict[str, str]
    rows: tuple[tuple[str, str, str], ...]

    def markdown(self) -> str:
        """The table."""
        lines = [f"**mien {__version__}** · " + " · ".join(f"{name} {value}" for name, value in self.machine.items())]
        lines += ["", "| part | measured | of |", "|---|---|---|"]
        return "\n".join(lines + [f"| {name} | {value} | {of} |" for name, value, of in self.rows])


def benchmark(options: BenchmarkOptions, progress: Progress = SILENT) -> BenchmarkReport:
    """Measure with the demo's portrait and driving video.

    Args:
        options: what, and how often.
        progress: told what is measured.

    Raises:
        InputError: for a model or a device that is not there, as WeightsError.
    """
    with ExitStack() as stack:
        progress.stage("Loading", None)
        began = time.perf_counter()
        pipe = load_pipeline(options.model, device=options.device, dtype=options.dtype)
        reader = stack.enter_context(closing(faces.load_face_reader()))
        loading = time.perf_counter() - began
        clip = part_of(open_clip(_DRIVER), end=options.frames / open_clip(_DRIVER).info.rate)
        animator = animator_of(pipe, reader)
        animator.set_source([read_portrait_image(_PORTRAIT)])
        of = f"{clip.count()} frames of {clip.info.width} x {clip.info.height}"
        rows = [("loading", f"{loading:.2f} s", "model and reader, once Python runs")]
        progress.stage("Face reader", None)
        rows.append(("face reader", _rate(clip.count(), _median(options.repeats, lambda: _read(reader, clip))), of))
        progress.stage("Engine", None)
        rows += _engine(animator, clip, options)
        progress.stage("Whole command", None)
        rows += _whole(pipe, reader, clip.count(), options)
        if options.start:
            progress.stage("Start", None)
            rows.append(
                ("start", f"{_median(options.repeats, lambda: _still(options)):.2f} s", "one picture, a new process")
            )
        rows.append(("memory", _memory(), "most that this process has held"))
        return BenchmarkReport(machine(pipe), tuple(rows))


def machine(pipe: Any) -> dict[str, str]:
    """What a pipeline runs on, for people.

    Args:
        pipe: loaded.

    Returns:
        Device, cores, system, Python and backend by name.
    """
    device = torch.device(pipe.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    dtype = str(getattr(pipe, "unet", pipe).dtype).removeprefix("torch.")
    compiled = any(getattr(pipe, "programs", {}).values())
    windows = f"face windows by OpenVINO {version('openvino')}" if compiled else "not compiled"
    return {
        "on": name,
        "cores": f"{_cores()}, {torch.get_num_threads()} threads",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "backend": f"torch {torch.__version__}, {device.type}, {dtype}, {windows}",
    }


def _engine(animator: Animator, clip: Clip, options: BenchmarkOptions) -> Iterator[tuple[str, str, str]]:
    """The model without files: squares of a clip, and pictures one by one."""
    asked = AnimateOptions(portraits=(_PORTRAIT,), driver=_DRIVER, output=Path("none.mp4"), paste_back=False)
    config = resolve_options(asked, animator)
    motion = animator.read_driving(clip, config)
    side = animator.pipe.image_size
    seconds = _median(options.repeats, lambda: _used(animator.frames(motion, config)))
    yield "engine, clip", _rate(motion.frames, seconds), f"{motion.frames} squares of {side} x {side}, faces known"
    try:
        stepper = animator.live()
    except InputError:
        yield "engine, live", "cannot", "needs windows of frames"
        return
    seen = [(image, animator.reader.read(image)) for image in islice(clip, 10)]
    known = [LiveFrame(image, reading) for image, reading in seen if reading is not None]
    stepper.calibrate(known[0])
    seconds = _median(options.repeats, lambda: _used(stepper.step(frame, LiveControl()) for frame in known))
    width, height = animator.source.portraits[0].size
    yield "engine, live", _rate(len(known), seconds), f"whole pictures of {width} x {height}, faces known"


def _whole(pipe: Any, reader: FaceReader, frames: int, options: BenchmarkOptions) -> Iterator[tuple[str, str, str]]:
    """A clip from file to file, without loading."""
    seconds = frames / float(open_clip(_DRIVER).info.rate)

    def run() -> None:
        with tempfile.TemporaryDirectory(prefix="mien-benchmark-") as folder:
            asked: dict[str, Any] = {"portraits": (_PORTRAIT,), "driver": _DRIVER, "output": Path(folder) / "out.mp4"}
            animate(AnimateOptions(**asked, end=seconds), pipe=pipe, reader=reader)

    median = _median(options.repeats, run)
    yield "whole pipeline", _rate(frames, median), f"{frames} frames from file to file in {median:.1f} s, models loaded"


def _read(reader: FaceReader, clip: Iterable[np.ndarray]) -> None:
    hint = None
    for image in clip:
        hint = reader.read(image, hint)


def _used(frames: Iterable[Any]) -> None:
    for _ in frames:
        pass


def _still(options: BenchmarkOptions) -> None:
    with tempfile.TemporaryDirectory(prefix="mien-benchmark-") as folder:
        given = ["-s", str(_PORTRAIT), "-d", str(FOLDER / "portrait_2.png"), "-o", str(Path(folder) / "out.png")]
        given += ["--model", options.model, "--device", options.device, "--dtype", options.dtype]
        program = "from mien.cli.app import main; main()"
        done = subprocess.run([sys.executable, "-c", program, "animate", *given], capture_output=True, text=True)
        if done.returncode:
            raise InputError(f"mien animate of one picture failed: {done.stderr.strip()[-200:]}")


def _median(repeats: int, run: Callable[[], None]) -> float:
    """Seconds of a run, the median."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _rate(frames: int, seconds: float) -> str:
    return f"{frames / seconds:.1f} a second ({1000 * seconds / frames:.0f} ms each)"


def _memory() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return "unknown here"
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, kilobytes elsewhere
    held = f"{most * (1 if sys.platform == 'darwin' else 1024) / _MEGABYTE:.0f} MB"
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        held += f", {torch.cuda.max_memory_allocated() / _MEGABYTE:.0f} MB of the GPU"
    return held


def _cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
