"""Nano's animator: layers at the portrait's own size around a window that a model paints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.animation.animator import animator_of
from mien.animation.config import AnimationConfig
from mien.animation.driven_face import driven_faces
from mien.animation.face_edit import FaceChange
from mien.animation.image_edit import still_editor
from mien.animation.motion_transfer import TransferSettings
from mien.animation.multi_face import find_people
from mien.animation.source import Source, find_portrait
from mien.animation.window_animator import LandmarksWindowAnimator, WindowAnimator
from mien.animation.window_engine import WindowCheckpoint, finished_window, window_driver
from mien.geometry.face_window import PaintedWindow
from mien.jobs.run.frame_checkpoint import FrameCheckpoint
from mien.media import open_clip, write_video
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import BACKGROUND, DrawnFaceReader, draw_face
from window_faces import PairReader, window_pipeline

SIDE, FRAMES = 96, 6
pytestmark = pytest.mark.usefixtures("drawn_person")


class UnpaintedPipeline:
    """What a model for face windows must know, and windows in which nothing is painted."""

    def __init__(self, pipe: XPortraitPipeline) -> None:
        self._pipe, self.seen = pipe, list[tuple[np.ndarray, np.ndarray, np.ndarray]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)

    def stream(self, frames: Any, local_frames: Any, *, start_frames: Any, **_: Any) -> Iterator[np.ndarray]:
        for row in zip(frames, local_frames, start_frames, strict=True):
            self.seen.append(row)
            still, side = row[2], len(row[2])
            share, flow = np.zeros((side, side), np.float32), np.zeros((side, side, 2), np.float32)
            yield PaintedWindow(np.zeros_like(still), share, flow).packed()


@pytest.fixture(scope="module")
def pipe() -> XPortraitPipeline:
    return window_pipeline()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head that goes to the right."""
    path = tmp_path_factory.mktemp("driver") / "driver.mp4"
    write_video(path, [draw_face(SIDE, SIDE, (0.4 + 0.03 * i, 0.5), 0.25) for i in range(FRAMES)], 25)
    return path


def animated(animator: WindowAnimator, source: Any, driver: Path, **more: Any) -> list[np.ndarray]:
    config = AnimationConfig(paste_back=more.pop("paste_back", True))
    animator.set_source(source)
    motion = animator.read_driving(open_clip(driver), config)
    return list(animator.frames(motion, config, **more))


def skin(picture: np.ndarray) -> float:
    """Column of the middle of the skin."""
    return float(np.flatnonzero((picture[..., 0].astype(int) - picture[..., 2] > 40).any(0)).mean()) + 0.5


def test_a_model_for_face_windows_gets_an_animator_of_its_own(pipe: XPortraitPipeline) -> None:
    assert isinstance(animator_of(pipe, DrawnFaceReader()), WindowAnimator)


def test_the_head_follows_over_a_background_that_stands_still(pipe: XPortraitPipeline, driver: Path) -> None:
    bare = UnpaintedPipeline(pipe)
    portrait = draw_face(2 * SIDE, SIDE, (0.5, 0.5), 0.25)
    portrait[:, ::6] = np.where(portrait[:, ::6] == BACKGROUND, np.uint8(70), portrait[:, ::6])  # stripes
    frames = animated(WindowAnimator(bare, DrawnFaceReader()), [portrait], driver)
    assert len(frames) == FRAMES and frames[0].shape == portrait.shape
    ways = [skin(frame) - skin(portrait) for frame in frames]
    assert ways[-1] - ways[0] > 6 and np.all(np.diff(ways) > 0.5)
    for frame in frames:
        assert np.array_equal(frame[:, :40], portrait[:, :40]) and np.array_equal(frame[:, -40:], portrait[:, -40:])
    side, local = pipe.face_window, pipe.local_size
    assert {one.shape for one in bare.seen[0]} == {(side, side, 3), (local, local, 3)}


def test_what_is_painted_is_seen_in_the_face_only(pipe: XPortraitPipeline, driver: Path) -> None:
    portrait = draw_face(2 * SIDE, SIDE, (0.5, 0.5), 0.25)
    plain = animated(WindowAnimator(UnpaintedPipeline(pipe), DrawnFaceReader()), [portrait], driver)
    made = animated(WindowAnimator(pipe, DrawnFaceReader()), [portrait], driver)
    changed = np.abs(np.stack(made).astype(int) - np.stack(plain)).max(-1) > 2
    assert changed.any()
    columns = np.flatnonzero(changed.any((0, 1)))
    assert columns[0] > 50 and columns[-1] < 150


def test_the_driver_is_laid_over_the_portraits_face(pipe: XPortraitPipeline, driver: Path) -> None:
    """A spot on the driver's nose is seen in the middle of every window, wherever both heads are."""
    animator = WindowAnimator(pipe, DrawnFaceReader())
    animator.set_source([draw_face(SIDE, SIDE, (0.6, 0.5), 0.2)])
    config = AnimationConfig()
    motion = animator.read_driving(open_clip(driver), config)
    person = animator.source.portraits[0]
    faces = driven_faces(person, motion.tracks[0], animator.basis, TransferSettings())
    for face, image in zip(faces, open_clip(driver), strict=True):
        spotted = image.copy()
        x, y = face.driving[27:36].mean(0)
        spotted[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = (0, 0, 255)
        seen = window_driver(face, animator.layer(person), spotted, (32, 64)).whole.astype(int)
        at = np.argwhere(seen[..., 2] - seen[..., 0] > 120).mean(0)[::-1] + 0.5
        np.testing.assert_allclose(at, (face.window.inside(face.neutral[27:36].mean(0)) + 1) * 16, atol=1.5)


def test_squares_are_cut_out_of_the_pictures_at_their_own_size(pipe: XPortraitPipeline, driver: Path) -> None:
    animator = WindowAnimator(UnpaintedPipeline(pipe), DrawnFaceReader())
    portrait = draw_face(2 * SIDE, SIDE, (0.5, 0.5), 0.15)
    whole = animated(animator, [portrait], driver)
    squares = animated(animator, [portrait], driver, paste_back=False)
    crop = animator.source.portraits[0].crop
    side = round(crop.size)
    assert squares[0].shape == (side, side, 3)
    assert animator.size(AnimationConfig(paste_back=False)) == (side, side)
    np.testing.assert_array_equal(squares[-1], crop.extract(whole[-1], side))


def test_everybody_of_a_picture_moves(pipe: XPortraitPipeline, driver: Path) -> None:
    portrait = np.concatenate([draw_face(SIDE, SIDE, radius=0.3), draw_face(SIDE, SIDE, radius=0.2)], 1)
    animator = WindowAnimator(UnpaintedPipeline(pipe), PairReader())
    people = [one.framed(pipe.crop_scale) for one in find_people(Path("two.png"), portrait, animator.reader)]
    frames = animated(animator, Source((people[0],), others=tuple(people[1:])), driver)
    for half in (np.s_[:, :SIDE], np.s_[:, SIDE:]):
        assert skin(frames[-1][half]) - skin(frames[0][half]) > 4


def test_a_source_video_keeps_its_own_frames_around_the_head(
    pipe: XPortraitPipeline, driver: Path, tmp_path: Path
) -> None:
    path = write_video(
        tmp_path / "source.mp4", [draw_face(2 * SIDE, SIDE, (0.5, 0.4 + 0.03 * i)) for i in range(6)], 25
    )
    animator = WindowAnimator(UnpaintedPipeline(pipe), DrawnFaceReader())
    source = open_clip(path)
    animator.set_source_video(source)
    config = AnimationConfig()
    motion = animator.read_driving(open_clip(driver), config)
    frames = list(animator.frames(motion, config))
    own = list(source)
    assert len(frames) == FRAMES
    for frame, image in zip(frames, own, strict=True):
        assert np.array_equal(frame[:, :30], image[:, :30])
    assert skin(frames[-1]) - skin(frames[0]) > 4, "across as the driver"


def test_another_reenactments_pictures_are_painted_where_they_are(
    pipe: XPortraitPipeline, driver: Path, tmp_path: Path
) -> None:
    portrait = draw_face(2 * SIDE, SIDE, (0.5, 0.5), 0.25)
    start = write_video(tmp_path / "start.mp4", [draw_face(2 * SIDE, SIDE, (0.55, 0.5), 0.25)] * FRAMES, 25)
    bare = UnpaintedPipeline(pipe)
    frames = animated(WindowAnimator(bare, DrawnFaceReader()), [portrait], driver, start_from=open_clip(start))
    np.testing.assert_array_equal(np.stack(frames), np.stack(list(open_clip(start))))
    assert bare.seen[0][2].std() > 5, "and the model is shown them"


def test_where_nobody_is_seen_the_whole_picture_is_bent_and_that_is_said(
    pipe: XPortraitPipeline, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mien.animation.cutting.PersonMask", lambda: lambda image: np.zeros(image.shape[:2], np.float32)
    )
    said: list[str] = []
    portrait = draw_face(2 * SIDE, SIDE, (0.5, 0.5), 0.25)
    frames = animated(WindowAnimator(UnpaintedPipeline(pipe), DrawnFaceReader()), [portrait], driver, note=said.append)
    assert skin(frames[-1]) - skin(frames[0]) > 4
    assert len(said) == 1 and "no person could be told from the background of the portrait" in said[0]


def test_a_run_that_was_stopped_goes_on_with_the_same_pictures(
    pipe: XPortraitPipeline, driver: Path, tmp_path: Path
) -> None:
    portrait = draw_face(SIDE, SIDE)

    def run(keep: Callable[[Any], Any] | None, count: int | None = None) -> list[np.ndarray]:
        animator = WindowAnimator(pipe, DrawnFaceReader())
        animator.set_source([portrait])
        config = animator.resolved(AnimationConfig())
        motion = animator.read_driving(open_clip(driver), config)
        return list(islice(animator.frames(motion, config, checkpoint=keep), count))

    def keep(_: Any) -> FrameCheckpoint:
        return FrameCheckpoint(tmp_path / "kept", lambda text: pytest.fail(text))

    whole, begun = run(None), run(keep, 1)
    np.testing.assert_array_equal(begun[0], whole[0])
    assert WindowCheckpoint(keep(None)).state() is not None
    again = run(keep)
    assert len(again) == FRAMES and np.abs(again[-1].astype(int) - whole[-1]).max() <= 2


def test_a_still_is_edited_by_layers(pipe: XPortraitPipeline) -> None:
    portrait = find_portrait(Path("p.png"), draw_face(2 * SIDE, SIDE, (0.5, 0.5), 0.25), DrawnFaceReader(), None)
    editor = still_editor(pipe, portrait)
    assert editor.layered
    before = pipe._sources
    moved = editor.picture(FaceChange(x=0.1))
    assert pipe._sources is before, "the pipeline's own portrait stays"
    assert skin(moved) - skin(portrait.image) == pytest.approx(0.1 * editor.portrait.crop.size, abs=1.5)
    assert np.array_equal(moved[:, :30], portrait.image[:, :30])
    np.testing.assert_array_equal(moved, editor.picture(FaceChange(x=0.1)))
    side = round(editor.portrait.crop.size)
    assert editor.square(replace(FaceChange(), smile=1.0)).shape == (side, side, 3)


def test_skin_is_painted_only_where_the_model_is_sure(pipe: XPortraitPipeline) -> None:
    from mien.animation.driven_face import FaceMover
    from mien.animation.motion_transfer import portrait_motion

    image = draw_face(SIDE, SIDE)
    person = find_portrait(Path("p.png"), image, DrawnFaceReader(), None).framed(pipe.crop_scale)
    basis = pipe.face_basis
    assert basis is not None
    mover = FaceMover(basis, portrait_motion(person), person.crop)
    face = mover.driven(portrait_motion(person), None, None)
    side, flow = 64, np.zeros((64, 64, 2), np.float32)
    left, right = (face.window.inside(face.neutral[place]).mean(0) for place in (slice(36, 42), slice(48, 68)))
    at = [tuple(((point[::-1] + 1) / 2 * side).astype(int)) for point in (left, right)]
    for share, skin, eye in ((0.05, 0.0, 0.0), (0.25, 0.0, 0.3), (0.9, 0.9, 0.99)):
        painted = PaintedWindow(np.zeros((side, side, 3), np.uint8), np.full((side, side), share, np.float32), flow)
        held = finished_window(painted.packed(), face).share
        assert held[1, 1] == pytest.approx(skin, abs=0.01)  # a corner is neither eye nor mouth
        assert held[at[0]] == pytest.approx(eye, abs=0.03), "between lids more than the model says"
        assert min(share, 0.6 * eye) <= held[at[1]] + 0.03 and held[at[1]] <= eye + 0.03, "closed lips a little"


def test_the_landmark_baseline_is_shown_lines_and_no_driving_pixel(pipe: XPortraitPipeline, driver: Path) -> None:
    shown = {}
    for kind in (WindowAnimator, LandmarksWindowAnimator):
        bare = UnpaintedPipeline(pipe)
        animated(kind(bare, DrawnFaceReader()), [draw_face(2 * SIDE, SIDE, (0.5, 0.5), 0.25)], driver)
        shown[kind] = bare.seen
    for seen, drawn in zip(*shown.values(), strict=True):
        assert np.array_equal(seen[2], drawn[2]), "the same moved portrait"
        assert (drawn[0] == 0).all(-1).mean() > 0.5 > (seen[0] == 0).all(-1).mean(), "lines on black"
        assert drawn[0].shape == seen[0].shape and drawn[1].shape == seen[1].shape
