"""Part and rate of the driver, gains, smoothing, relative motion: what reaches the result."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.animation.driven_face import FaceMover, driven_faces, pupils_in_eyes
from mien.animation.driving import place_driver, read_faces
from mien.animation.motion_transfer import TransferSettings, portrait_motion
from mien.animation.source import find_portrait
from mien.animation.source_video import calm_crops
from mien.errors import InputError
from mien.jobs.animate import animate
from mien.jobs.options import AnimateOptions
from mien.jobs.report import AnimateReport
from mien.jobs.run.progress import Silent
from mien.media import VideoWriter, open_clip, write_image, write_video
from mien.motion.gains import MotionGains
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import RATE, DrawnFaceReader, draw_face, job_pipeline
from window_faces import PairReader, drawn_basis, drawn_person, window_pipeline

__all__ = ["drawn_person"]  # a fixture

pytestmark = pytest.mark.usefixtures("drawn_person")
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


@pytest.fixture(scope="module")
def windows() -> XPortraitPipeline:
    return window_pipeline()


def written(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """What goes to the encoder from now on."""
    frames: list[np.ndarray] = []
    write = VideoWriter.write

    def record(writer: VideoWriter, frame: np.ndarray, *time: Any) -> None:
        frames.append(frame.astype(int))
        write(writer, frame, *time)

    monkeypatch.setattr(VideoWriter, "write", record)
    return frames


def move(inputs: Path, output: Path, pipe: XPortraitPipeline, **changes: Any) -> AnimateReport:
    given = {"portraits": (inputs / "portrait.png",), "driver": inputs / "driver.mp4", "output": output, **changes}
    options = AnimateOptions(**{"watermark": False, **given})
    return animate(options, pipe=pipe, reader=PairReader())


def movement(frames: list[np.ndarray]) -> float:
    return float(np.mean([np.abs(frame - frames[0]).mean() for frame in frames[1:]]))


NO_GAINS = {"eyes_gain": 0.0, "mouth_gain": 0.0, "brows_gain": 0.0, "head_gain": 0.0}


def test_gains_reach_the_result(
    inputs: Path, tmp_path: Path, windows: XPortraitPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = {}
    for name, changes in {
        "plain": {},
        "still": NO_GAINS,
        "mouth": {**NO_GAINS, "mouth_gain": 1.0},
        "more": {**NO_GAINS, "mouth_gain": 2.0},
        "calm": {"smooth": 1.0},
        "relative": {"relative": True},
    }.items():
        frames = written(monkeypatch)
        move(inputs, tmp_path / f"{name}.mp4", windows, **changes)
        moves[name] = movement(frames)
    assert moves["still"] < moves["mouth"] < moves["more"]
    assert len(set(moves.values())) == len(moves) and moves["relative"] > 0


def test_relative_motion_begins_at_the_portrait_and_smoothing_calms(inputs: Path) -> None:
    reader, basis = DrawnFaceReader(), drawn_basis()
    portrait = find_portrait(inputs / "a.png", draw_face(61, 53, mouth=0.7), reader, None)
    clip = open_clip(inputs / "driver.mp4")
    faces, report = read_faces(clip, reader, Silent())
    track = place_driver(faces, report, clip, portrait, best_frame=4, align=True)
    plain, moved, calm = (
        np.stack([face.keypoints for face in driven_faces(portrait, track, basis, control)])
        for control in (
            TransferSettings(),
            TransferSettings(MotionGains(relative=True), 0.0, RATE),
            TransferSettings(MotionGains(), 1.0, RATE),
        )
    )
    source = portrait_motion(portrait)
    own = pupils_in_eyes(FaceMover(basis, source, portrait.crop).placed(source.pose, source.blendshapes)[0])
    np.testing.assert_allclose(moved[4], own, atol=1e-3)
    assert np.abs(plain[4] - own).max() > 0.02
    assert np.abs(np.diff(calm, axis=0)).mean() < 0.9 * np.abs(np.diff(plain, axis=0)).mean()


@pytest.fixture(scope="module")
def two_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    faces = [draw_face(80, 72, radius=0.3), draw_face(80, 72, radius=0.22, mouth=0.5)]
    return write_image(tmp_path_factory.mktemp("people") / "two.png", np.concatenate(faces, 1))


def test_all_faces_of_a_picture_are_animated(
    inputs: Path, two_people: Path, tmp_path: Path, windows: XPortraitPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves: dict[int | str, list[float]] = {}
    for face in (0, 1, "all"):
        frames = written(monkeypatch)
        report = move(inputs, tmp_path / f"{face}.mp4", windows, portraits=(two_people,), face=face)
        assert (report.frames, report.size) == (9, (160, 72))
        # around the middle of each face
        halves[face] = [movement([frame[20:52, at : at + 24] for frame in frames]) for at in (28, 108)]
    assert halves[0][0] > 0 and halves[1][1] > 0
    assert halves["all"] == pytest.approx([halves[0][0], halves[1][1]], rel=0.2)
    [said] = [share for share in (report.stage_time_fractions or {}) if share == "Animating"]
    assert said


def test_a_picture_without_faces_has_none_to_animate(inputs: Path, tmp_path: Path, windows: XPortraitPipeline) -> None:
    with pytest.raises(InputError, match=r"no face was found in .*no_face\.png"):
        move(inputs, tmp_path / "out.mp4", windows, portraits=(inputs / "no_face.png",), face="all")


@pytest.fixture(scope="module")
def source_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face that moves down for 12 frames of 25 a second, above a bar that grows brighter."""
    frames = [draw_face(96, 80, (0.5, 0.4 + 0.01 * i)) for i in range(12)]
    for index, frame in enumerate(frames):
        frame[72:] = 15 * index
    return write_video(tmp_path_factory.mktemp("source") / "person.mp4", frames, 25)


def test_a_source_video_keeps_its_background_and_the_shorter_one_decides(
    inputs: Path, source_video: Path, tmp_path: Path, windows: XPortraitPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = written(monkeypatch)
    report = move(inputs, tmp_path / "out.mp4", windows, portraits=(source_video,))
    clip = open_clip(report.output)
    assert (report.frames, clip.info.rate, report.size) == (9, RATE, (96, 80))
    assert any("the result is as long as the shorter one" in warning for warning in report.warnings)
    shown = list(open_clip(source_video))
    nearest = [min(range(12), key=lambda i: abs(Fraction(i, 25) - k / RATE)) for k in range(9)]
    for frame, index in zip(frames, nearest, strict=True):
        assert np.abs(frame[76:, :8] - shown[index][76:, :8]).mean() < 2
    inside = [frame[24:48, 36:60] for frame in frames]
    assert movement(inside) > 0
    cut = move(inputs, tmp_path / "cut.mp4", windows, portraits=(source_video,), end=0.2, paste_back=False)
    assert cut.frames == 6 and cut.size[0] == cut.size[1] < 96


def test_the_square_of_a_source_video_neither_pumps_nor_trembles(source_video: Path) -> None:
    clip, noise = open_clip(source_video), np.random.default_rng(0)
    base = DrawnFaceReader().read(draw_face(96, 80)).landmarks  # type: ignore[union-attr]
    tracks = [base * (1 + 0.05 * noise.normal()) + noise.normal(size=2) for _ in range(40)]
    crops = calm_crops(tracks, clip, 1.5)
    assert len({crop.size for crop in crops}) == 1
    given = np.diff([track.mean(0) for track in tracks], axis=0)
    calm = np.diff([[crop.x, crop.y] for crop in crops], axis=0)
    assert np.abs(calm).mean() < 0.2 * np.abs(given).mean()
