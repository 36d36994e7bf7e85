"""The animated picture of the first page: it fits, keeps its time, and says when it cannot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from benchmarks.animated_picture import fitted, main

from mien.media import open_clip, write_video
from samples import talking_frames


def test_a_preview_becomes_an_animation_with_the_same_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "preview.mp4", talking_frames(12, 240, 80), Fraction(25))
    for name in ("front.webp", "front.gif"):
        main(["--preview", str(tmp_path / "preview.mp4"), "-o", str(tmp_path / name), "--megabytes", "0.5"])
        times = [time for _, time in open_clip(tmp_path / name).timed()]
        assert len(times) == 12 and [round(float(time), 2) for time in times[:3]] == [0, 0.04, 0.08]
        assert "480 pixels wide, 25 a second" in capsys.readouterr().out


def test_what_is_too_large_is_made_smaller_or_refused() -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (8, 90, 270, 3), np.uint8))
    whole, best = fitted(noise, Fraction(25), "webp", 10**7)
    fewer, told = fitted(noise, Fraction(25), "webp", int(len(whole) * 0.6))
    assert len(fewer) <= len(whole) * 0.6 and told != best
    with pytest.raises(SystemExit, match="give a shorter driving video"):
        fitted(noise, Fraction(25), "webp", 1000)
    with pytest.raises(SystemExit, match=r"name it \.webp or \.gif"):
        main(["-o", "front.png"])
