"""A motion library as the driver of `mien animate`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mien.animation.driving import motion_of, open_driver
from mien.avatars.head_model import HeadModel, load_head_model
from mien.avatars.motion import Track, save_tracks
from mien.errors import InputError
from mien.jobs.animate import animate
from mien.jobs.options import AnimateOptions
from mien.media import open_clip
from samples import DrawnFaceReader, job_pipeline

FRAMES = 5


def track(model: HeadModel, name: str, yaw: float) -> Track:
    """The head turns to `yaw` and the mouth opens."""
    amount = np.linspace(0, 1, FRAMES, dtype=np.float32)
    angles = np.zeros((FRAMES, 3), np.float32)
    angles[:, 0] = yaw * amount
    place = np.tile(np.array([0, 0, 1], np.float32), (FRAMES, 1))
    expression = np.stack([model.coefficients(jawOpen=float(value)) for value in amount])
    return Track(name, 30000 / 1001, angles, place, expression, np.ones(FRAMES, bool))


@pytest.fixture
def library(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_HEAD_MODEL", str(pack))
    model = load_head_model()
    return save_tracks(tmp_path / "m.safetensors", [track(model, "left", -15), track(model, "right", 15)], model.names)


def options(driver: Path | str, inputs: Path, output: Path, **changes: object) -> AnimateOptions:
    return AnimateOptions((inputs / "portrait.png",), Path(driver), output, **changes)  # type: ignore[arg-type]


def test_the_place_of_a_track_is_told_from_a_file() -> None:
    assert motion_of(Path("a/m.safetensors#talk")) == (Path("a/m.safetensors"), "talk")
    assert motion_of(Path("m.safetensors")) == (Path("m.safetensors"), None)
    assert motion_of(Path("take#2.mp4")) is None and motion_of(Path("d.mp4")) is None


def test_a_track_animates_a_portrait(library: Path, inputs: Path, tmp_path: Path) -> None:
    job = options(f"{library}#right", inputs, tmp_path / "out")
    (tmp_path / "out").mkdir()
    report = animate(job, pipe=job_pipeline(), reader=DrawnFaceReader())
    assert report.output.name == "portrait--right.mp4" and report.frames == FRAMES
    clip = open_clip(report.output)
    assert (clip.count(), clip.info.rate) == (FRAMES, Fraction(30000, 1001))
    assert report.faces is not None and report.faces.found == FRAMES


def test_every_pass_shows_the_same_motion(library: Path) -> None:
    left, right = (open_driver(Path(f"{library}#{name}")) for name in ("left", "right"))
    first, again, other = list(left), list(left), list(right)
    assert len(first) == left.count() == FRAMES and first[0].shape == (512, 512, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(first[0], other[0]), "both begin with the neutral face"
    assert np.abs(first[-1].astype(int) - other[-1]).mean() > 2
    mirrored = np.abs(first[-1][:, ::-1].astype(int) - other[-1]).mean()
    assert mirrored < np.abs(first[-1].astype(int) - other[-1]).mean(), "they turn to opposite sides"
    times = [time for _, time in left.timed()]
    assert times[1] - times[0] == Fraction(1001, 30000)


def test_motion_is_cut_and_brought_to_another_rate_like_a_video(library: Path) -> None:
    whole = open_driver(Path(f"{library}#left"))
    part = open_driver(Path(f"{library}#left"), start=0.05, fps=Fraction(15))
    assert part.info.rate == 15 and part.start >= Fraction(1, 20)
    assert part.count() == round((whole.info.duration - part.start) * 15)


def test_what_is_unclear_or_missing_is_said(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="holds 2 tracks: name one as .*m.safetensors#TRACK, of left, right"):
        open_driver(library)
    with pytest.raises(InputError, match="no track up: it holds left, right"):
        open_driver(Path(f"{library}#up"))
    with pytest.raises(InputError, match="does not exist"):
        open_driver(tmp_path / "none.safetensors")
    monkeypatch.setenv("MIEN_HEAD_MODEL", str(tmp_path / "none.npz"))
    with pytest.raises(InputError, match="run `mien data head-model`"):
        open_driver(Path(f"{library}#left"))
