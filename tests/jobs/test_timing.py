"""Drivers whose time stamps are not what they seem, from files to files: the result is in step all the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from media_samples import make_video
from mien.animation.motion_template import load_template
from mien.jobs.animate import animate
from mien.jobs.motion import extract_motion
from mien.jobs.options import AnimateOptions, MotionOptions, animate_options
from mien.jobs.report import AnimateReport
from mien.media import open_clip, write_video
from samples import DrawnFaceReader, job_pipeline, talking_frames
from timed_samples import Flashing, flashing, shown, spoilt
from tiny_dex import tiny_dex_pipeline

PIPE, DEX = job_pipeline(), tiny_dex_pipeline()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames at 25 a second with a flash and a beep at 0.88 seconds; frames 4 to 9 cannot be decoded."""
    return spoilt(flashing(tmp_path_factory.mktemp("damaged") / "a.mp4", Flashing(frames=30, flash=22)), 4, 10)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 frames of a talking face in 12 places of 25 a second: three are missing."""
    times = [Fraction(n, 25) for n in (0, 1, 2, 3, 7, 8, 9, 10, 11)]
    return write_video(tmp_path_factory.mktemp("uneven") / "a.mkv", talking_frames(9), 25, times=times)


def run(inputs: Path, driver: Path, output: Path, **changes: Any) -> AnimateReport:
    options = AnimateOptions(portraits=(inputs / "portrait.png",), driver=driver, output=output, align=False, **changes)
    return animate(options, pipe=PIPE, reader=DrawnFaceReader())


def flash_in_preview(path: Path) -> float:
    """Seconds at which the driver's panel of a preview is white."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="gray")
            found.append((float(np.mean(picture > 220)), float(frame.pts * frame.time_base)))
    return max(found)[1]


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_frames_that_cannot_be_decoded_do_not_move_the_rest(
    inputs: Path, damaged: Path, tmp_path: Path, suffix: str
) -> None:
    report = run(inputs, damaged, tmp_path / f"out.{suffix}", preview=True)
    assert report.preview is not None and report.frames == 24
    found = shown(report.output)
    assert found.times[:5] == pytest.approx([0, 0.04, 0.08, 0.12, 0.4], abs=0.002)
    assert found.beeps == pytest.approx([0.88], abs=0.03)
    assert flash_in_preview(report.preview) == pytest.approx(0.88, abs=0.002)
    assert [w for w in report.warnings if "6 of 30 frames are missing" in w]


def test_a_part_of_it_is_in_step_as_well(inputs: Path, damaged: Path, tmp_path: Path) -> None:
    report = run(inputs, damaged, tmp_path / "out.mp4", preview=True, start=0.3, end=1.0)
    assert report.preview is not None and report.frames == 15
    assert shown(report.output).beeps == pytest.approx([0.48], abs=0.03)  # it begins at 0.4, with the first frame left
    assert flash_in_preview(report.preview) == pytest.approx(0.48, abs=0.002)


def test_at_another_rate_too(inputs: Path, damaged: Path, tmp_path: Path) -> None:
    report = run(inputs, damaged, tmp_path / "out.mp4", preview=True, fps=Fraction(25, 2))
    assert report.preview is not None and report.frames == 15
    assert flash_in_preview(report.preview) == pytest.approx(0.88, abs=0.002)
    assert shown(report.output).beeps == pytest.approx([0.88], abs=0.03)


def test_sixty_frames_a_second_as_gif(inputs: Path, tmp_path: Path) -> None:
    driver = make_video(tmp_path / "a.mp4", talking_frames(12), Fraction(60000, 1001))
    report = run(inputs, driver, tmp_path / "out.gif")
    with av.open(str(report.output)) as container:
        delays = [packet.duration for packet in container.demux(video=0) if packet.size]
    assert min(delays) >= 2 and sum(delays) in (20, 21)
    assert report.frames == 12 and any("50 frames a second" in warning for warning in report.warnings)


def test_two_drivers_are_matched_by_time(inputs: Path, uneven: Path, damaged: Path, tmp_path: Path) -> None:
    options = animate_options(
        model="dex-nano",
        portraits=(inputs / "portrait.png",),
        driver=None,
        pose_from=uneven,
        expression_from=inputs / "driver.mp4",
        output=tmp_path / "out.mp4",
    )
    report = animate(options, pipe=DEX, reader=DrawnFaceReader())
    assert report.frames == 9 == open_clip(report.output).count()  # 9 frames of 29.97 a second are in both


def test_dex_keeps_times_that_were_found_late(inputs: Path, tmp_path: Path, uneven: Path) -> None:
    options = animate_options(
        model="dex-nano", portraits=(inputs / "portrait.png",), driver=uneven, output=tmp_path / "out.mp4"
    )
    found = shown(animate(options, pipe=DEX, reader=DrawnFaceReader()).output)
    assert found.times == pytest.approx([i / 25 for i in (0, 1, 2, 3, 7, 8, 9, 10, 11)], abs=0.002)


def test_a_template_of_an_uneven_clip_lasts_as_long(uneven: Path, tmp_path: Path) -> None:
    report = extract_motion(MotionOptions(uneven, tmp_path), pipe=DEX, reader=DrawnFaceReader())
    template = load_template(report.output, DEX.encoder_id, DEX.expression_encoder.config.code)
    assert report.frames == 12 == len(template.motion) and template.rate == 25
