from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.errors import InputError
from mien.jobs.data import prepare
from mien.jobs.data.options import PrepareOptions
from mien.jobs.data.prepare import find_shots, prepare_videos
from mien.jobs.run.progress import Silent
from mien.jobs.run.workers import LOCAL_RAY
from mien.media import open_clip, write_video
from samples import DrawnFaceReader, draw_face

SIZE = 160
RATE = Fraction(25)


def face(step: int, x: float = 0.5) -> np.ndarray:
    """A drawn face that nods and talks, on a background with some texture."""
    centre = (x, 0.45 + 0.02 * np.sin(step))
    image = draw_face(SIZE, SIZE, centre, 0.18, mouth=0.5 + 0.5 * np.sin(step))
    return image


def write(folder: Path, name: str, frames: list[np.ndarray]) -> Path:
    write_video(folder / name, frames, rate=RATE)
    return folder / name


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrepareOptions:
    monkeypatch.setattr(prepare, "load_face_reader", lambda name: DrawnFaceReader())
    (tmp_path / "in").mkdir()
    given = {"side": 64, "workers": 1, "frames": (8, 40), "face": 30, "scale": 1.8, "sharp": 1.0}
    return PrepareOptions(tmp_path / "in", tmp_path / "out", **given)


def test_a_clip_is_cropped_by_one_square(options: PrepareOptions) -> None:
    write(options.videos, "talk.mp4", [face(step) for step in range(20)])
    outcome = prepare_videos(options, Silent())
    assert outcome.done == ["talk"]
    clip = open_clip(options.out / "talk_000.mp4")
    assert clip.count() == 20 and (clip.info.width, clip.info.height) == (64, 64) and clip.info.rate == RATE
    with np.load(options.out / "talk_000.npz") as numbers:
        landmarks = numbers["landmarks"]
        assert landmarks.shape == (20, 68, 2) and numbers["head_pose"].shape == (20, 6)
        assert landmarks.min() > 0 and landmarks.max() < 64, "the face is inside in every frame"
        pupils, neutral = numbers["pupils"], numbers["neutral"]
        assert pupils.shape == (20, 2, 2) and neutral.shape == (20, 70, 2)
        eyes = np.stack([landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)], 1)
        assert pupils == pytest.approx(eyes, abs=1e-3), "this reader sees none"
        assert numbers["seen"].all() and numbers["expression"].shape == (20, 52)
        x, y, size = numbers["crop"]
        reader = DrawnFaceReader()
        for number, frame in enumerate(open_clip(options.videos / "talk.mp4")):
            found = reader.read(frame)
            assert found is not None
            assert landmarks[number] == pytest.approx((found.landmarks - [x, y]) * 64 / size, abs=1e-3)


def test_videos_that_are_to_be_left_out_are(options: PrepareOptions) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write(options.videos, name, [face(step) for step in range(10)])
    (options.videos / "index.json").write_text(json.dumps({"clips": [{"file": "b.mp4", "train_ok": False}]}))
    assert prepare_videos(replace(options, leave_out=("c", "d")), Silent()).done == ["a"]
    (options.videos / "index.json").write_text("[]")
    with pytest.raises(InputError, match="index.json cannot be read"):
        prepare_videos(options, Silent())


def test_cuts_and_moves_end_a_clip(options: PrepareOptions) -> None:
    bright = [255 - face(step) // 3 for step in range(10)]  # no face in this reader's eyes, and another scene
    frames = [face(step) for step in range(12)] + bright + [face(step, 0.35) for step in range(10)]
    path = write(options.videos, "cut.mp4", frames)
    shots = find_shots(path, DrawnFaceReader(), options)
    assert [(shot.first, shot.last) for shot in shots if shot.last - shot.first > 4] == [(0, 12), (22, 32)]
    jump = write(options.videos, "jump.mp4", [face(s, 0.3) for s in range(9)] + [face(s, 0.7) for s in range(9)])
    assert [(shot.first, shot.last) for shot in find_shots(jump, DrawnFaceReader(), options)] == [(0, 9), (9, 18)]


def test_long_shots_are_split(options: PrepareOptions) -> None:
    path = write(options.videos, "long.mp4", [face(step) for step in range(90)])
    assert [shot.last - shot.first for shot in find_shots(path, DrawnFaceReader(), options)] == [40, 40, 10]


def test_bad_videos_are_reported_and_skipped(options: PrepareOptions) -> None:
    rng = np.random.default_rng(0)
    write(options.videos, "good.mp4", [face(step) for step in range(12)])
    write(options.videos, "short.mp4", [face(step) for step in range(5)])
    write(options.videos, "still.mp4", [face(0)] * 12)
    write(options.videos, "nobody.mp4", [np.full((SIZE, SIZE, 3), 40, np.uint8)] * 12)
    write(options.videos, "small.mp4", [draw_face(SIZE, SIZE, (0.5, 0.5), 0.05, mouth=s % 2) for s in range(12)])
    write(options.videos, "close.mp4", [draw_face(SIZE, SIZE, (0.5, 0.5), 0.42 + 0.02 * (s % 2)) for s in range(12)])
    wild = []
    for step in range(12):
        frame = face(step)
        skin = frame[..., 0].astype(int) - frame[..., 2] > 40
        noise = rng.integers(0, 2, (4, 4, 1)).repeat(40, 0).repeat(40, 1).repeat(3, 2) * 60
        frame[~skin] = np.clip(noise + [0, 0, 60], 0, 255)[~skin]
        wild.append(frame)
    write(options.videos, "wild.mp4", wild)
    blurred = [cv2.GaussianBlur(face(step), (0, 0), 12) for step in range(12)]
    write(options.videos, "blurred.mp4", blurred)
    write(options.videos, "tiny.mp4", [face(step)[::4, ::4] for step in range(12)])
    write(options.videos, "odd.mp4", [face(step)[:-1, 2:-1] for step in range(12)])
    whole = (options.videos / "good.mp4").read_bytes()
    (options.videos / "cut_off.mp4").write_bytes(whole[: len(whole) // 3])
    (options.videos / "text.mp4").write_text("Dear reader, this is no video.")
    (options.videos / "damaged.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and nothing more")
    (options.videos / "empty.mov").write_bytes(b"")
    changed = {"background": 8.0, "cut": 60.0, "sharp": 12.0}
    outcome = prepare_videos(PrepareOptions(**{**options.__dict__, **changed}), Silent())
    assert outcome.done == ["good", "odd"]
    expected = {
        "blurred": "blurred",
        "tiny": "pixels high",
        "cut_off": "cut_off.mp4",
        "text": "text.mp4",
        "short": "only 5 frames",
        "still": "nothing moves",
        "nobody": "no face",
        "small": "pixels high",
        "close": "no room for the shoulders",
        "wild": "background changes",
        "damaged": "damaged.mp4",
        "empty": "empty",
    }
    assert set(outcome.failed) == set(expected)
    for name, reason in expected.items():
        assert reason in outcome.failed[name], outcome.failed[name]
    left = sorted(path.name for path in options.out.iterdir() if path.suffix != ".json")
    assert left == ["good_000.mp4", "good_000.npz", "odd_000.mp4", "odd_000.npz"], "nothing is left of what was refused"


def test_a_stopped_run_goes_on(options: PrepareOptions) -> None:
    for name in ("a.mp4", "b.mp4"):
        write(options.videos, name, [face(step) for step in range(10)])
    prepare_videos(options, Silent())
    before = {path.name: path.read_bytes() for path in options.out.iterdir()}
    (options.out / "b.json").unlink()
    (options.out / "b_000.mp4").unlink()
    outcome = prepare_videos(options, Silent())
    assert outcome.kept == ["a"] and outcome.done == ["b"]
    after = {path.name: path.read_bytes() for path in options.out.iterdir()}
    assert set(after) == set(before)
    assert all(after[name] == before[name] for name in before if not name.endswith(".mp4"))
    a, b = (list(open_clip(options.out / f"{name}_000.mp4")) for name in "ab")
    assert len(a) == len(b) and np.abs(np.stack(a).astype(int) - np.stack(b)).mean() < 0.5, "both show the same"
    assert json.loads((options.out / "b.json").read_text())["clips"][0]["frames"] == [0, 10]


def test_two_faces_are_refused(options: PrepareOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    class Crowd(DrawnFaceReader):
        def read_all(self, image: np.ndarray) -> list:
            return super().read_all(image) * 2

    monkeypatch.setattr(prepare, "load_face_reader", lambda name: Crowd())
    write(options.videos, "two.mp4", [face(step) for step in range(10)])
    outcome = prepare_videos(options, Silent())
    assert "2 faces" in outcome.failed["two"]


def test_a_reader_that_is_gone_fails_before_any_video(options: PrepareOptions) -> None:
    write(options.videos, "a.mp4", [face(step) for step in range(10)])
    with pytest.raises(InputError, match="'nano' is gone: give auto"):
        prepare_videos(replace(options, reader="nano"), Silent())
    assert not options.out.exists()
    assert prepare_videos(options, Silent()).done == ["a"]


def test_a_folder_without_videos_is_named(options: PrepareOptions) -> None:
    with pytest.raises(InputError, match="holds no video"):
        prepare_videos(options, Silent())


def test_a_cluster_is_named_or_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    asked = PrepareOptions(tmp_path, tmp_path, ray=True)
    assert (PrepareOptions(tmp_path, tmp_path).cluster, asked.cluster) == (None, LOCAL_RAY)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert asked.cluster == "head:6379"
    assert PrepareOptions(tmp_path, tmp_path, ray_address="auto").cluster == "auto"
