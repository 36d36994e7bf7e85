"""Part and rate of the driver, gains, smoothing, relative motion: what reaches the result."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mien.errors import InputError
from mien.jobs.animate import AnimateReport, animate
from mien.jobs.options import AnimateOptions
from mien.media import open_clip
from samples import RATE, DrawnFaceReader, job_pipeline

PIPE = job_pipeline()


def run(inputs: Path, output: Path, **changes: Any) -> AnimateReport:
    given = {"portraits": (inputs / "portrait.png",), "driver": inputs / "driver.mp4", "output": output, **changes}
    return animate(AnimateOptions(**given), pipe=PIPE, reader=DrawnFaceReader())


def test_a_part_of_the_driver_is_animated_with_its_sound(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.mp4", start=0.1, end=0.2)
    clip = open_clip(report.output)
    # frames 3 (0.1001 s), 4 and 5 of nine
    assert (report.frames, clip.count(), clip.info.rate, clip.info.has_audio) == (3, 3, RATE, True)


@pytest.mark.parametrize("rate", [Fraction(12), Fraction(60)])
def test_a_result_at_another_rate_lasts_as_long(inputs: Path, tmp_path: Path, rate: Fraction) -> None:
    clip = open_clip(run(inputs, tmp_path / "out.mp4", fps=rate, preview=True).output)
    assert clip.info.rate == rate and clip.info.has_audio
    assert abs(clip.info.duration - 9 / RATE) <= 1 / (2 * rate)
    assert open_clip(tmp_path / "out.preview.mp4").count() == clip.count()


def test_the_best_frame_counts_from_the_start(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 3 frames, counted from 0"):
        run(inputs, tmp_path / "out.mp4", start=0.1, end=0.2, best_frame=3)


@pytest.mark.parametrize("changes", [{"head_gain": 0.0}, {"mouth_gain": 2.0}, {"smooth": 0.3}, {"relative": True}])
def test_what_needs_read_motion_is_refused_by_a_model_that_sees_pixels(
    inputs: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    [name] = changes
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} needs a model that moves by read landmarks"):
        run(inputs, tmp_path / "out.mp4", **changes)
    assert not list(tmp_path.iterdir())
