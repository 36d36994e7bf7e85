"""Half precision that gives no numbers, memory and disks that run out: another way and a sentence, or one sentence."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.errors import InputError, OutputError, WeightsError
from mien.jobs.animate import animate
from mien.jobs.options import AnimateOptions
from mien.jobs.report import AnimateReport
from mien.media import VideoWriter, open_clip
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import DrawnFaceReader, job_pipeline
from tiny_dex import tiny_dex_pipeline


def run(inputs: Path, output: Path, pipe: Any = None, system: str = "x", **changes: Any) -> AnimateReport:
    given = {"portraits": (inputs / "portrait.png",), "driver": inputs / "driver.mp4", "output": output, **changes}
    return animate(AnimateOptions(**given), pipe=pipe, reader=DrawnFaceReader())


PIPELINES: dict[str, tuple[Any, Any]] = {
    "x": (job_pipeline, XPortraitPipeline),
    "dex": (tiny_dex_pipeline, DeXPortraitPipeline),
}
both = pytest.mark.parametrize("system", list(PIPELINES))


def too_large_for_half(pipe: Any) -> Any:
    """A decoder whose inner numbers pass 65504, the largest of float16, and come back: fine in float32, NaN in half."""
    with torch.no_grad():
        weight = pipe.vae.post_quant_conv.weight
        weight *= 4e4 / weight.abs().max()
    return pipe


@both
@pytest.mark.parametrize("given", [True, False])
def test_half_precision_without_numbers_is_done_again_in_single(
    inputs: Path, tmp_path: Path, given: bool, system: str
) -> None:
    make, kind = PIPELINES[system]
    too_large_for_half(make()).save_pretrained(tmp_path / "model")
    model = str(tmp_path / "model")
    plain = run(inputs, tmp_path / "plain.mp4", None, system, model=model, dtype="float32", paste_back=False)
    assert plain.warnings == ()
    pipe = kind.from_pretrained(model, torch_dtype=torch.float16) if given else None
    report = run(inputs, tmp_path / "half.mp4", pipe, system, model=model, dtype="float16", paste_back=False)
    (warning,) = report.warnings
    assert "half precision" in warning and "float32" in warning
    record = json.loads((tmp_path / "half.json").read_text())
    assert record["options"]["dtype"] == "float32" and record["warnings"] == [warning]
    first, second = (np.stack(list(open_clip(r.output))).astype(int) for r in (plain, report))
    assert first.std() > 1 and np.abs(first - second).mean() < 0.2 * first.std()
    assert pipe is None or pipe.unet.dtype == torch.float16, "the caller's stays as it was"
    assert not list(tmp_path.glob(".*"))


def test_no_numbers_in_single_precision_either(inputs: Path, tmp_path: Path) -> None:
    pipe = job_pipeline()
    with torch.no_grad():
        pipe.vae.post_quant_conv.bias += float("nan")
    with pytest.raises(WeightsError, match="float32 too"):
        run(inputs, tmp_path / "out.mp4", pipe)
    assert list(tmp_path.iterdir()) == []


class Small:
    """A machine on which more than so many frames at a time do not fit."""

    def __init__(self, pipe: Any, most: int, error: Exception) -> None:
        networks, self.windows = type(pipe.unet).forward, []

        def forward(unet: Any, sample: torch.Tensor, *more: Any, **named: Any) -> Any:
            self.windows.append(len(sample))
            if len(sample) > most:
                raise error
            return networks(unet, sample, *more, **named)

        pipe.unet.forward = forward.__get__(pipe.unet)


@both
@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_memory_that_runs_out_makes_the_windows_smaller(
    inputs: Path, tmp_path: Path, error: Exception, system: str
) -> None:
    pipe = PIPELINES[system][0]()
    machine = Small(pipe, 3, error)
    report = run(inputs, tmp_path / "out.mp4", pipe, system)
    assert machine.windows[:2] == [8, 4] and set(machine.windows[2:]) <= {1, 2}
    assert (report.options.window, report.frames) == (2, 9)
    assert report.warnings == (
        "memory ran out, so 4 frames at a time were denoised in place of 8",
        "memory ran out, so 2 frames at a time were denoised in place of 4",
    )
    assert open_clip(report.output).count() == 9


def test_memory_that_runs_out_on_a_gpu_sends_weights_to_main_memory_first(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, asked = job_pipeline(), list[str]()
    pipe.save_pretrained(tmp_path / "model")
    plain = run(inputs, tmp_path / "plain.mp4", model=str(tmp_path / "model"), paste_back=False)
    real = XPortraitPipeline.from_pretrained.__func__

    def loaded(kind: Any, *args: Any, **more: Any) -> XPortraitPipeline:
        made: XPortraitPipeline = real(kind, *args, **more)
        forward = type(made.unet).forward

        def fits_last(unet: Any, *given: Any, **named: Any) -> Any:
            if len(asked) < 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return forward(unet, *given, **named)

        made.unet.forward = fits_last.__get__(made.unet)
        return made

    monkeypatch.setattr(XPortraitPipeline, "from_pretrained", classmethod(loaded))
    monkeypatch.setattr("mien.jobs.run.fallbacks.check_placement", lambda *_: None)
    monkeypatch.setattr("mien.jobs.run.fallbacks.place", lambda made, device, offload: asked.append(offload))
    report = run(inputs, tmp_path / "out.mp4", model=str(tmp_path / "model"), paste_back=False)
    assert asked == ["model", "group"] and report.options.offload == "group"
    assert report.options.window == plain.options.window
    assert [warning.partition(" (")[2][:15] for warning in report.warnings] == ["--offload model", "--offload group"]
    assert all("the same frames" in warning for warning in report.warnings)
    first, second = (np.stack(list(open_clip(r.output))).astype(int) for r in (plain, report))
    assert np.abs(first - second).max() == 0


def test_memory_for_not_even_one_frame(inputs: Path, tmp_path: Path) -> None:
    pipe = job_pipeline()
    Small(pipe, 0, torch.cuda.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(InputError, match="not enough memory .* even for one frame") as caught:
        run(inputs, tmp_path / "out.mp4", pipe)
    assert len(str(caught.value)) < 300
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_frames_are_written(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frames stay aside, and once there is room the same command finishes without doing them again."""
    pipe, write = job_pipeline(), VideoWriter._put

    def full(writer: VideoWriter, packet: Any, duration: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(VideoWriter, "_put", full)
    with pytest.raises(OutputError, match=r"out\.mp4 cannot be written: the disk is full"):
        run(inputs, tmp_path / "out.mp4", pipe)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.") and left.name.endswith(".work")
    monkeypatch.setattr(VideoWriter, "_put", write)
    monkeypatch.setattr(pipe, "_finish", lambda chunk: pytest.fail("decoded again"))
    run(inputs, tmp_path / "out.mp4", pipe)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.mp4"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a disk, which only root may")
def test_a_disk_that_is_full(inputs: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(OutputError, match=r"out\.mp4 cannot be written: the disk is full"):
            run(inputs, disk / "out.mp4", job_pipeline(), paste_back=False)
        assert [path.name for path in disk.iterdir() if not path.name.endswith(".work")] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="no permission to write"):
        run(inputs, tmp_path / "out/out.mp4", job_pipeline())
