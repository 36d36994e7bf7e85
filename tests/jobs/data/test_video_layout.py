"""The layouts in which VFHQ, CelebV-HQ and HDTF lie on disk, made up small: what is found, and what becomes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError
from mien.jobs.data import prepare
from mien.jobs.data.prepare import PrepareOptions, prepare_videos
from mien.jobs.data.video_layout import find_videos
from mien.jobs.run.progress import Silent
from mien.media import open_clip, write_image, write_video
from mien.training.data.samples import SampleSpec
from mien.training.data.video_clips import VideoClips
from samples import DrawnFaceReader, draw_face

SIZE = 160


def frames(count: int = 10) -> list[np.ndarray]:
    """A drawn face that nods and talks."""
    return [
        draw_face(SIZE, SIZE, (0.5, 0.45 + 0.02 * np.sin(step)), 0.18, mouth=0.5 + 0.5 * np.sin(step))
        for step in range(count)
    ]


def video(path: Path, count: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames(count), rate=Fraction(25))


def pictures(folder: Path, count: int = 10) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames(count)):
        write_image(folder / f"{number:08d}.png", frame)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrepareOptions:
    monkeypatch.setattr(prepare, "load_face_reader", lambda name: DrawnFaceReader())
    (tmp_path / "in").mkdir()
    return PrepareOptions(tmp_path / "in", tmp_path / "out", side=64, frames=(8, 40), face=30, scale=1.8, sharp=1.0)


def learned_from(out: Path) -> int:
    """How many clips training finds, each of which can be drawn from."""
    clips = VideoClips(out)
    clips.sample(np.random.default_rng(0), SampleSpec(frames=2, drivers=1, clip=False))
    return len(clips.clips)


def test_vfhq_is_folders_of_frames(options: PrepareOptions) -> None:
    names = ("Clip+2oDx27NqSgA+P0+C1+F4537-4653", "Clip+2oDx27NqSgA+P1+C0+F100-226")
    for name in names:
        pictures(options.videos / "VFHQ" / name)
    (options.videos / "VFHQ" / "meta_info.txt").write_text("\n".join(names))
    outcome = prepare_videos(replace(options, fps=Fraction(30)), Silent())
    assert sorted(outcome.done) == [f"VFHQ--{name}" for name in names]  # whichever is ready first
    clip = open_clip(options.out / f"VFHQ--{names[0]}_000.mp4")
    assert (clip.count(), clip.info.rate) == (10, Fraction(30))
    assert learned_from(options.out) == 2
    again = prepare_videos(replace(options, fps=Fraction(30)), Silent())
    assert again.kept == sorted(outcome.done) and not again.done


def test_celebv_hq_is_processed_clips_beside_raw_videos(options: PrepareOptions) -> None:
    for place in ("raw/2oDx27NqSgA.mp4", "processed/2oDx27NqSgA_0.mp4", "processed/2oDx27NqSgA_1.mp4"):
        video(options.videos / place)
    (options.videos / "celebvhq_info.json").write_text(json.dumps({"clips": {}}))
    outcome = prepare_videos(replace(options, videos=options.videos / "processed"), Silent())
    assert sorted(outcome.done) == ["2oDx27NqSgA_0", "2oDx27NqSgA_1"], "raw videos are left aside by naming the folder"
    assert learned_from(options.out) == 2


def test_hdtf_is_parts_by_kind_with_raw_videos_kept_apart(options: PrepareOptions) -> None:
    for place in ("RD/Radio1_0.mp4", "WDA/BarackObama_000.mp4", "WRA/TimScott0_000.mp4", "_videos_raw/Radio1.mp4"):
        video(options.videos / place)
    for part in ("RD", "WDA", "WRA"):
        (options.videos / f"{part}_video_url.txt").write_text("Radio1.mp4 https://example.org\n")
    outcome = prepare_videos(options, Silent())
    assert sorted(outcome.done) == ["RD--Radio1_0", "WDA--BarackObama_000", "WRA--TimScott0_000"]
    assert learned_from(options.out) == 3


def test_our_own_clips_hidden_files_and_links_upwards_are_passed_over(tmp_path: Path) -> None:
    video(tmp_path / "in" / "a.mp4")
    video(tmp_path / "in" / "clips" / "a_000.mp4")
    video(tmp_path / "in" / ".cache" / "b.mp4")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    assert find_videos(tmp_path / "in", tmp_path / "in" / "clips") == {"a": tmp_path / "in" / "a.mp4"}


def test_one_folder_of_frames_is_a_video_and_one_picture_is_none(tmp_path: Path) -> None:
    pictures(tmp_path / "talk", 2)
    assert find_videos(tmp_path / "talk", tmp_path / "out") == {"talk": tmp_path / "talk"}
    write_image(tmp_path / "poster.png", frames(1)[0])
    assert list(find_videos(tmp_path, tmp_path / "out")) == ["talk"]
    (tmp_path / "talk" / "00000001.png").unlink()
    with pytest.raises(InputError, match="holds no video"):
        find_videos(tmp_path, tmp_path / "out")


def test_two_of_a_name_are_told(tmp_path: Path) -> None:
    video(tmp_path / "RD--a.mp4")
    video(tmp_path / "RD" / "a.mp4")
    with pytest.raises(InputError, match="two videos of .* are called RD--a"):
        find_videos(tmp_path, tmp_path / "out")
