from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faces_drawn import unit_face
from mien.animation.driving import DriverTrack, control_frames, place_driver, read_faces
from mien.animation.source import Portrait, find_portrait, read_portrait_image
from mien.errors import InputError
from mien.faces import TrackReport
from mien.geometry import SquareCrop
from mien.jobs.run.progress import Silent
from mien.media import Clip, open_clip, write_image
from mien.motion.motion_limits import MotionLimits
from samples import DrawnFaceReader, draw_face

SIDE = 64


def portrait_of(image: np.ndarray) -> Portrait:
    return find_portrait(Path("portrait.png"), image, DrawnFaceReader(), None)


def clip_of(folder: Path, frames: list[np.ndarray]) -> Clip:
    for index, frame in enumerate(frames):
        write_image(folder / f"{index}.png", frame)
    return open_clip(folder)


def placed(clip: Clip, portrait: Portrait, best_frame: int | str = "auto", align: bool = True) -> DriverTrack:
    faces, report = read_faces(clip, DrawnFaceReader(), Silent())
    return place_driver(faces, report, clip, portrait, best_frame=best_frame, align=align)


def test_the_frame_most_like_the_portrait_lies_over_it(tmp_path: Path) -> None:
    portrait = portrait_of(draw_face(120, 120, (0.5, 0.5), 0.22))
    frames = [draw_face(200, 160, (0.4, 0.55), 0.3, mouth=m) for m in (0.9, 0.5, 0.0, 0.7)]
    clip = clip_of(tmp_path, frames)
    track = placed(clip, portrait)
    assert track.best_frame == 2
    whole, _ = control_frames(clip, track, SIDE)
    shown = DrawnFaceReader().read(list(whole)[2])
    wanted = DrawnFaceReader().read(portrait.square(SIDE))
    assert shown is not None
    assert wanted is not None
    np.testing.assert_allclose(shown.box, wanted.box, atol=1.5)


def test_motion_of_the_head_is_kept(tmp_path: Path) -> None:
    portrait = portrait_of(draw_face(120, 120))
    clip = clip_of(tmp_path, [draw_face(200, 160, (x, 0.5), 0.3) for x in (0.4, 0.5)])
    whole, _ = control_frames(clip, placed(clip, portrait, best_frame=0), SIDE)
    first, second = (DrawnFaceReader().read(frame) for frame in whole)
    assert first is not None
    assert second is not None
    moved = second.box - first.box
    # 0.1 of 200 px, of a face 96 px wide: the same part of the face's width in the aligned frames
    np.testing.assert_allclose(moved[[0, 2]] / (first.box[2] - first.box[0]), 20 / 96, atol=0.03)
    np.testing.assert_allclose(moved[[1, 3]], 0, atol=1)


def test_alignment_shows_what_the_driver_has_beside_the_crop(tmp_path: Path) -> None:
    """The head moves to the right, so the crop lies to the right of what the first frame's alignment looks at."""
    frames = [draw_face(300, 300, (x, 0.5), 0.12) for x in (0.3, 0.6)]
    for frame in frames:
        frame[:, :25] = (0, 255, 0)
    clip = clip_of(tmp_path, frames)
    portrait = portrait_of(draw_face(240, 240, (0.5, 0.5), 0.12))
    assert placed(clip, portrait, align=False).crop.x > 25
    whole, _ = control_frames(clip, placed(clip, portrait, best_frame=0), SIDE)
    np.testing.assert_allclose(next(whole)[:, 2].mean(0), [0, 255, 0], atol=8)


def test_local_frames_keep_eyes_and_mouth_only(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, [draw_face(200, 160, mouth=m) for m in (0.0, 0.5)])
    whole, local = control_frames(clip, placed(clip, portrait_of(draw_face(120, 120))), SIDE)
    for full, part in zip(whole, local, strict=True):
        kept = part.any(2)
        assert 0.05 < kept.mean() < 0.5
        np.testing.assert_array_equal(part[kept], full[kept])


def test_without_alignment_the_clip_gives_one_still_square(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, [np.full((60, 90, 3), 50, np.uint8)])
    track = placed(clip, portrait_of(draw_face(120, 120)), align=False)
    assert (track.matrix, track.best_frame) == (None, None)
    assert (track.crop.x, track.crop.y, track.crop.size) == (15, 0, 60)
    whole, local = control_frames(clip, track, SIDE)
    assert next(whole).mean() == 50
    assert not next(local).any()


def test_a_driver_without_any_face_is_refused(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, [np.full((60, 90, 3), 50, np.uint8)])
    with pytest.raises(InputError, match="no face was found in any frame"):
        placed(clip, portrait_of(draw_face(120, 120)))


def test_a_best_frame_beyond_the_end_is_refused(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, [draw_face(), draw_face()])
    with pytest.raises(InputError, match="2 frames, counted from 0"):
        placed(clip, portrait_of(draw_face(120, 120)), best_frame=2)


def test_lost_faces_are_filled_and_never_chosen(tmp_path: Path) -> None:
    blank = np.full((160, 200, 3), 50, np.uint8)
    clip = clip_of(tmp_path, [blank, draw_face(200, 160, mouth=0.6), blank, draw_face(200, 160, mouth=0.9)])
    track = placed(clip, portrait_of(draw_face(120, 120)))
    assert track.best_frame == 1
    assert (track.report.found, track.report.interpolated, track.report.held) == (2, 1, 1)
    assert all(face.reading is not None for face in track.faces)
    whole, _ = control_frames(clip, track, SIDE)
    assert sum(1 for _ in whole) == 4


def test_a_tiny_portrait_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "one.png", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(InputError, match="1 x 1 pixels"):
        read_portrait_image(path)


def test_a_wandering_head_is_held_within_reach() -> None:
    matrix, anchor = np.array([[1.0, 0, 0], [0, 1.0, 0]]), np.array([0.5, 0.5])
    crop, report = SquareCrop(0, 0, 64), TrackReport()
    free = DriverTrack([], report, 0, crop, matrix)
    face = unit_face() * 0.2
    held = DriverTrack([], report, 0, crop, matrix, face + anchor, MotionLimits(0.1, 0.15))
    near, far = face + 0.51, face + 0.9
    assert free.placement(far) is matrix
    assert np.abs(held.placement(near)[:, 2]).max() < 0.001
    moved = (far @ held.placement(far)[:, :2].T + held.placement(far)[:, 2]).mean(0) - face.mean(0)
    assert np.all((moved > 0.59) & (moved <= 0.6))
    large = 2 * face + 0.5
    shrunk = large @ held.placement(large)[:, :2].T + held.placement(large)[:, 2]
    assert 1.1 < np.ptp(shrunk) / np.ptp(face) < 1.17
    assert held.placement(None) is matrix
    roomy = replace(held, limits=MotionLimits(0.1, 0.15, room=(0.0, 0.0, 0.5, 0.0)))
    further = (far @ roomy.placement(far)[:, :2].T + roomy.placement(far)[:, 2]).mean(0) - face.mean(0)
    assert 0.8 < further[0] < 0.9 and further[1] == pytest.approx(moved[1])


def test_a_portraits_room_is_counted_in_its_square_up_to_the_pictures_border() -> None:
    portrait = portrait_of(draw_face(400, 200, (0.25, 0.5), 0.2))
    limits = portrait.with_room(MotionLimits(0.1, 0.15), whole=True)
    assert (limits.shift, limits.zoom) == (0.1, 0.15)
    left, _, right, _ = limits.room
    (low, top), (_, bottom) = portrait.reading.landmarks.min(0), portrait.reading.landmarks.max(0)
    margin = 0.25 * (bottom - top)
    assert left * portrait.crop.size == pytest.approx(low - margin, abs=0.01)
    assert right == 0.3, "as far as a head goes whose shoulders stay"
    cut = portrait.with_room(MotionLimits(0.1, 0.15), whole=False).room
    assert cut[0] <= left and cut[2] < 0.25, "of a square that is cut out only its own room counts"
