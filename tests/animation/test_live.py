"""A portrait behind a camera: the frame-by-frame path of nano, and what `LiveAnimator` does around any model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mien.animation.animator import animator_of
from mien.animation.config import AnimationConfig
from mien.animation.driven_face import driven_faces, out_of, pupils_in_eyes
from mien.animation.face_edit import FaceChange
from mien.animation.frame_stepper import LiveControl, LiveFrame
from mien.animation.live import LiveAnimator
from mien.animation.live_motion import LiveMotion
from mien.animation.motion_transfer import TransferSettings
from mien.animation.source import find_portrait
from mien.errors import InputError
from mien.faces import TrackedFace, TrackReport
from mien.media.watermark import read_mark
from samples import DrawnFaceReader, draw_face, job_pipeline
from tiny_dex import tiny_dex_window_pipeline
from window_faces import drawn_basis, window_pipeline

PORTRAIT = draw_face(160, 200)
STRAIGHT, ASIDE = draw_face(200, 150), np.roll(draw_face(200, 150), 12, axis=1)
EMPTY = np.zeros((150, 200, 3), np.uint8)
PLAIN = LiveControl(AnimationConfig(relative=True))


class Stepper:
    """A model that paints the portrait in the colour of how far the face has gone since calibration."""

    def __init__(self, portrait: Any) -> None:
        self.portrait, self.start, self.steps = portrait, None, []

    def calibrate(self, frame: LiveFrame) -> None:
        self.start = frame

    def step(self, frame: LiveFrame, control: LiveControl) -> np.ndarray:
        self.steps.append((frame, control))
        gone = frame.reading.landmarks.mean(0) - self.start.reading.landmarks.mean(0)
        return np.full_like(self.portrait.image, 100 + round(float(gone[0])))


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def fake_animator() -> Any:
    """An animator around `Stepper`."""
    reader = DrawnFaceReader()
    made = SimpleNamespace(reader=reader, steppers=[], closed=False)

    def set_source(images: Any, names: Any = None) -> None:
        if not isinstance(images, list):
            made.source = images
            return
        portrait = find_portrait(names[0], images[0], reader, None)
        made.source = SimpleNamespace(portraits=(portrait,))

    def live() -> Stepper:
        made.steppers.append(Stepper(made.source.portraits[0]))
        return made.steppers[-1]

    made.set_source, made.live = set_source, live
    made.close = lambda: setattr(made, "closed", True)
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(clock: Clock) -> LiveAnimator:
    made = LiveAnimator(fake_animator(), mirror=False, watermark=False, clock=clock)
    made.set_portrait(PORTRAIT)
    return made


def test_motion_counts_from_the_first_face_and_from_a_new_one_after_calibrate(live: LiveAnimator) -> None:
    assert live.process(STRAIGHT).mean() == 100
    assert live.process(ASIDE).mean() == 112
    live.calibrate()
    assert live.process(ASIDE).mean() == 100
    assert live.process(STRAIGHT).mean() == 88


def test_a_mirrored_camera_moves_the_other_way(live: LiveAnimator) -> None:
    live.mirror = True
    live.process(STRAIGHT)
    assert live.process(ASIDE).mean() == 88


def test_without_a_face_the_last_picture_stays_and_the_time_is_told(live: LiveAnimator, clock: Clock) -> None:
    before = live.process(ASIDE)
    assert live.seconds_without_face == 0
    for _ in range(3):
        clock.now += 1
        assert live.process(EMPTY) is before
    assert live.seconds_without_face == 3
    clock.now += 1
    live.process(STRAIGHT)
    assert live.seconds_without_face == 0


def test_before_any_face_the_portrait_itself_is_shown(live: LiveAnimator, clock: Clock) -> None:
    clock.now += 5
    np.testing.assert_array_equal(live.process(EMPTY), PORTRAIT)
    clock.now += 2
    live.process(EMPTY)
    assert live.seconds_without_face == 2


def test_another_portrait_goes_on_from_the_same_reference(live: LiveAnimator) -> None:
    live.process(STRAIGHT)
    live.set_portrait(draw_face(120, 120))
    picture = live.process(ASIDE)
    assert (picture.shape, picture.mean()) == ((120, 120, 3), 112)


def test_a_portrait_without_a_face_is_told_and_the_one_before_stays(live: LiveAnimator) -> None:
    live.process(STRAIGHT)
    with pytest.raises(InputError, match=r"no face was found in bad\.png"):
        live.set_portrait(EMPTY, name=Path("bad.png"))
    assert live.process(ASIDE).shape == PORTRAIT.shape


def test_large_portraits_are_made_smaller_and_pictures_carry_the_mark() -> None:
    live = LiveAnimator(fake_animator(), longest_side=300, mirror=False)
    live.set_portrait(draw_face(500, 600))
    for picture in (live.picture, live.process(STRAIGHT)):
        assert picture.shape == (300, 250, 3) or picture.shape == (250, 300, 3)
        assert read_mark([picture], cut=False)[0]


def test_time_between_frames_is_told_within_reason(live: LiveAnimator, clock: Clock) -> None:
    for seconds in (0.0, 0.1, 60.0):
        clock.now += seconds
        live.process(STRAIGHT)
    told = [frame.seconds for frame, _ in live._animator.steppers[0].steps]
    assert told == [pytest.approx(1 / 25), pytest.approx(0.1), 0.5]


def test_without_a_portrait_it_says_so() -> None:
    live = LiveAnimator(fake_animator())
    with pytest.raises(InputError, match="no portrait is set"):
        live.process(STRAIGHT)
    live.close()
    assert live._animator.closed


def _portrait() -> Any:
    return find_portrait(Path("p.png"), PORTRAIT, DrawnFaceReader(), None).framed(1.6)


def _seen(image: np.ndarray, seconds: float = 1 / 25) -> LiveFrame:
    reading = DrawnFaceReader().read(image)
    assert reading is not None
    return LiveFrame(image, reading, seconds)


@pytest.mark.parametrize("relative", [False, True])
def test_one_frame_goes_where_a_clip_of_it_goes(relative: bool) -> None:
    """The same face, and the same face of the driver, as `driven_faces` gives for a clip of one frame."""
    portrait, basis, still = _portrait(), drawn_basis(), _seen(STRAIGHT)
    live, config = LiveMotion(portrait, basis, 1.6, None), AnimationConfig(relative=relative, mouth_gain=0.5)
    live.calibrate(still)
    face = live.face(still, LiveControl(config))
    track = replace(live._track, faces=[TrackedFace(0, still.reading, "found")], report=TrackReport(1, 1))
    wanted = driven_faces(portrait, track, basis, TransferSettings.of(config, 25))[0]
    for name in ("keypoints", "neutral", "driving"):
        np.testing.assert_allclose(getattr(face, name), getattr(wanted, name), atol=1e-3)


def _goes(live: LiveMotion, image: np.ndarray, control: LiveControl) -> np.ndarray:
    """Keypoints, in pixels of the portrait."""
    return live.face(_seen(image), control).keypoints


def test_gains_and_sliders_work_on_what_the_camera_shows() -> None:
    portrait = _portrait()
    live = LiveMotion(portrait, drawn_basis(), 1.6, None)
    live.calibrate(_seen(STRAIGHT))
    own = pupils_in_eyes(out_of(portrait.crop, live.keypoints.keypoints))
    still = _goes(live, ASIDE, LiveControl(AnimationConfig(relative=True, head_gain=0)))
    moved = _goes(live, ASIDE, PLAIN)
    assert abs(still - own).mean() < 0.2 * abs(moved - own).mean()
    turned = _goes(live, ASIDE, LiveControl(PLAIN.config, FaceChange(yaw=20)))
    smiling = _goes(live, ASIDE, LiveControl(PLAIN.config, FaceChange(smile=1)))
    assert abs(turned - moved).mean() > 0.5 and abs(smiling - moved).mean() > 0.05


def test_smoothing_holds_back_and_is_forgotten_when_it_is_switched_off() -> None:
    live = LiveMotion(_portrait(), drawn_basis(), 1.6, None)
    live.calibrate(_seen(STRAIGHT))
    smooth = LiveControl(AnimationConfig(relative=True, smooth=1))
    first = _goes(live, STRAIGHT, smooth)
    held, free = _goes(live, ASIDE, smooth), _goes(live, ASIDE, PLAIN)
    assert 0 < abs(held - first).mean() < abs(free - first).mean()


@pytest.mark.usefixtures("drawn_person")
def test_a_model_for_face_windows_follows_a_camera_in_the_portraits_own_size() -> None:
    live = LiveAnimator(animator_of(window_pipeline(), DrawnFaceReader()), mirror=False, watermark=False)
    live.set_portrait(PORTRAIT)
    first, again, aside = live.process(STRAIGHT), live.process(STRAIGHT), live.process(ASIDE)
    assert first.shape == aside.shape == PORTRAIT.shape and first.dtype == np.uint8
    assert abs(first.astype(int) - again).mean() < 0.2 * abs(first.astype(int) - aside).mean()
    live.control = LiveControl(PLAIN.config, FaceChange(yaw=25))
    assert abs(live.process(ASIDE).astype(int) - aside).mean() > 0.1


@pytest.mark.usefixtures("drawn_person")
def test_dex_portrait_on_face_windows_follows_a_camera() -> None:
    """What one frame gives is what a clip of it gives; gains, sliders and smoothing work as a camera needs them."""
    animator = animator_of(tiny_dex_window_pipeline(drawn_basis()), DrawnFaceReader())
    live = LiveAnimator(animator, mirror=False, watermark=False)
    live.set_portrait(PORTRAIT)
    live.control = PLAIN
    first, aside = live.process(STRAIGHT), live.process(ASIDE)
    assert first.shape == aside.shape == PORTRAIT.shape and first.dtype == np.uint8

    def away(change: FaceChange | None = None, **changes: Any) -> float:
        """How far a picture of ASIDE goes from that of STRAIGHT."""
        live.control = LiveControl(AnimationConfig(relative=True, **changes), change or FaceChange())
        return float(np.abs(live.process(ASIDE).astype(int) - first).mean())

    moved = away()
    assert moved > 0.1 and moved == np.abs(aside.astype(int) - first).mean(), "nothing is kept from frame to frame"
    still = away(eyes_gain=0, mouth_gain=0, brows_gain=0, head_gain=0)
    assert 0 < still != moved
    assert len({moved, still, away(FaceChange(yaw=25)), away(FaceChange(jaw=1.0)), away(mouth_gain=3.0)}) == 5
    live.control = LiveControl(AnimationConfig(relative=True, smooth=1))
    live.process(STRAIGHT)
    assert np.abs(live.process(ASIDE).astype(int) - first).mean() < moved


def test_a_dex_portrait_that_follows_a_camera_keeps_its_portrait(drawn_person: None) -> None:
    animator = animator_of(tiny_dex_window_pipeline(drawn_basis()), DrawnFaceReader())
    animator.set_source([PORTRAIT])
    stepper = animator.live()
    with pytest.raises(InputError, match="call calibrate first"):
        stepper.step(_seen(STRAIGHT), PLAIN)
    seen: list[int] = []
    hook = animator.pipe.appearance_reference.register_forward_hook(lambda *_: seen.append(1))
    stepper.calibrate(_seen(STRAIGHT))
    stepper.step(_seen(STRAIGHT), PLAIN)
    before = stepper.step(_seen(ASIDE), PLAIN)
    hook.remove()
    assert len(seen) == 1, "the portrait is read once"
    animator.set_source([np.ascontiguousarray(PORTRAIT[::-1, ::-1][::-1])])
    animator.live()
    np.testing.assert_array_equal(stepper.step(_seen(ASIDE), PLAIN), before)


def test_models_that_need_windows_say_so() -> None:
    animator = animator_of(job_pipeline(), DrawnFaceReader())
    with pytest.raises(InputError, match="cannot follow a camera: use nano"):
        LiveAnimator(animator).set_portrait(PORTRAIT)
