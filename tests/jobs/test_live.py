"""The session behind `mien live`: always the newest frame, never a queue; and where pictures go beside the window."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mien.errors import InputError, OutputError
from mien.jobs.live import LiveSession
from mien.jobs.live_options import LiveOptions
from mien.jobs.live_sinks import Recording, VirtualCamera, fitted_in, live_provenance
from mien.jobs.run.provenance import Provenance
from mien.media import open_clip
from mien.media.probe import read_tags

PATIENCE = 30.0


class Live:
    """An animator whose picture is the frame; it works when it is let."""

    def __init__(self) -> None:
        self.let, self.begun = threading.Semaphore(0), threading.Event()
        self.seconds_without_face = 0.0
        self.error: Exception | None = None
        self.closed = False

    def process(self, frame: np.ndarray) -> np.ndarray:
        self.begun.set()
        assert self.let.acquire(timeout=PATIENCE)
        if self.error is not None:
            raise self.error
        return frame

    def close(self) -> None:
        self.closed = True


class Sink:
    def __init__(self) -> None:
        self.written: list[int] = []
        self.error: Exception | None = None
        self.closed = 0

    def write(self, picture: np.ndarray, seconds: float) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(int(picture[0, 0, 0]))

    def close(self) -> None:
        self.closed += 1


def frame(value: int) -> Any:
    return lambda: np.full((4, 4, 3), value, np.uint8)


@pytest.fixture
def live() -> Live:
    return Live()


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def session(live: Live, sink: Sink) -> Iterator[LiveSession]:
    made = LiveSession(live, sinks=[sink]).start()  # type: ignore[arg-type]
    yield made
    live.let.release(100)
    made.close()


def test_frames_that_come_while_it_works_take_each_others_place(session: LiveSession, live: Live, sink: Sink) -> None:
    session.offer(1, frame(1))
    assert live.begun.wait(PATIENCE)
    for number in range(2, 7):  # all while the first is worked on
        session.offer(number, frame(number))
    live.let.release(2)
    first = session.next(0, PATIENCE)
    newest = session.next(first.number, PATIENCE) if first is not None and first.number == 1 else first
    assert newest is not None and newest.number == 6 and newest.picture[0, 0, 0] == 6
    assert session.state().dropped == 4
    assert session.latest == 6 and sink.written == [1, 6]
    # the second was waiting while the first was made; older than two pictures none can be
    assert newest.behind == session.state().behind == 2


def test_offering_never_waits_and_frames_that_are_left_out_are_not_even_read(session: LiveSession, live: Live) -> None:
    read: list[int] = []

    def reading(number: int) -> Any:
        return lambda: read.append(number) or np.zeros((4, 4, 3), np.uint8)

    session.offer(1, reading(1))
    assert live.begun.wait(PATIENCE)
    for number in range(2, 200):
        session.offer(number, reading(number))
    live.let.release(2)
    while (made := session.next(1, PATIENCE)) is not None and made.number < 199:
        pass
    assert read == [1, 199]


def test_a_picture_is_waited_for_and_no_longer_than_told(session: LiveSession, live: Live) -> None:
    assert session.next(0, 0.01) is None
    session.offer(1, frame(1))
    live.let.release()
    assert session.next(0, PATIENCE) is not None
    assert session.next(1, 0.01) is None


def test_rates_and_latency_are_of_the_last_seconds() -> None:
    clock = SimpleNamespace(now=100.0)
    live = Live()
    live.let.release(100)
    session = LiveSession(live, clock=lambda: clock.now).start()  # type: ignore[arg-type]
    for number in range(1, 7):
        clock.now += 0.5
        session.offer(number, frame(number))
        assert session.next(number - 1, PATIENCE) is not None
    state = session.state()
    assert (state.rate, state.camera_rate) == (pytest.approx(2), pytest.approx(2))
    assert (state.latency, state.behind, state.sentence, state.face) == (0, 1, "", True)
    clock.now += 10
    state = session.state()
    assert (state.rate, state.camera_rate) == (0, 0)
    assert state.sentence.startswith("No picture comes from the camera")
    session.close()


def test_a_face_that_is_missed_is_told_after_a_while(session: LiveSession, live: Live) -> None:
    live.seconds_without_face = 1.0
    assert session.state().sentence == "" and not session.state().face
    live.seconds_without_face = 5.0
    session.offer(1, frame(1))
    assert session.state().sentence == "No face has been seen for 5 seconds: look into the camera."


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(InputError("the frame is bad"), "The frame is bad."), (RuntimeError("oh"), "This is a fault of the program")],
)
def test_one_bad_frame_is_told_and_ends_nothing(
    session: LiveSession, live: Live, error: Exception, sentence: str
) -> None:
    live.error = error
    live.let.release()
    session.offer(1, frame(1))
    deadline = time.monotonic() + PATIENCE
    while not session.state().sentence and time.monotonic() < deadline:
        time.sleep(0.01)
    assert session.state().sentence.startswith(sentence)
    live.error = None
    live.let.release()
    session.offer(2, frame(2))
    assert session.next(1, PATIENCE) is not None
    assert session.state().sentence == ""


def test_a_sink_that_fails_is_left_out_and_told(session: LiveSession, live: Live, sink: Sink) -> None:
    sink.error = OutputError("the disk is full")
    live.let.release(2)
    session.offer(1, frame(1))
    assert session.next(0, PATIENCE) is not None
    assert session.state().sentence == "The disk is full." and sink.closed == 1
    session.offer(2, frame(2))
    assert session.next(1, PATIENCE) is not None
    assert session.state().sentence == "The disk is full."  # for a while, so that it can be read


def test_closing_ends_the_thread_the_sinks_and_the_animator(live: Live, sink: Sink) -> None:
    session = LiveSession(live, sinks=[sink]).start()  # type: ignore[arg-type]
    waiting = threading.Thread(target=lambda: session.next(0, PATIENCE))
    waiting.start()
    session.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive() and not session._thread.is_alive()
    assert (sink.closed, live.closed, session.closed) == (1, True, True)


# -- beside the window -----------------------------------------------------------------------------------------------


def test_a_recording_has_the_times_of_its_pictures_and_says_where_it_comes_from(tmp_path: Path) -> None:
    path, made = tmp_path / "shown.mp4", live_provenance(LiveOptions(), "x")
    recording = Recording(path, (64, 48), made.comment())
    for second, size in ((0.0, (48, 64)), (0.5, (48, 64)), (0.5, (100, 64)), (2.0, (48, 64))):
        recording.write(np.full((*size, 3), 200, np.uint8), second)
    assert not path.exists()  # whole or not at all
    recording.close()
    clip = open_clip(path)
    times = [time - clip.start for _, time in clip.timed()]
    assert [round(float(time), 2) for time in times] == [0.0, 0.5, 0.5, 2.0] and times[2] > times[1]
    assert Provenance.parse(read_tags(path)["comment"]) == made
    assert list(tmp_path.iterdir()) == [path]


def test_a_recording_without_a_picture_leaves_nothing(tmp_path: Path) -> None:
    Recording(tmp_path / "shown.mp4", (64, 48), "").close()
    assert not list(tmp_path.iterdir())


def test_a_recording_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(OutputError):
        Recording(tmp_path / "file" / "shown.mp4", (64, 48), "")


def test_pictures_of_another_shape_are_fitted_in() -> None:
    out = fitted_in(np.full((10, 20, 3), 255, np.uint8), 40, 40)
    assert out.shape == (40, 40, 3)
    assert out[20].min() == 255 and out[:10].max() == 0 and out[30:].max() == 0


class _Camera:
    sent: list[tuple[int, ...]] = []

    def __init__(self, width: int, height: int, fps: float, fmt: str) -> None:
        if width > 1000:
            raise RuntimeError("'v4l2loopback' backend: no device found.")

    def send(self, picture: np.ndarray) -> None:
        self.sent.append(picture.shape)

    def close(self) -> None:
        self.sent.append(())


@pytest.fixture
def pyvirtualcam(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("pyvirtualcam")
    module.Camera, module.PixelFormat = _Camera, SimpleNamespace(RGB="rgb")
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    monkeypatch.setattr(_Camera, "sent", [])


def test_a_virtual_camera_gets_even_pictures(pyvirtualcam: None) -> None:
    camera = VirtualCamera((63, 48))
    camera.write(np.zeros((48, 63, 3), np.uint8), 0)
    camera.close()
    assert _Camera.sent == [(48, 64, 3), ()]


def test_no_virtual_camera_is_one_sentence(pyvirtualcam: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no virtual camera on this machine: install OBS Studio"):
        VirtualCamera((2000, 2000))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(InputError, match=r"pip install 'mien\[camera\]'"):
        VirtualCamera((64, 48))


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"record": Path("x.gif")}, "--record is x.gif"),
        ({"size": 10}, "--size is 10"),
        ({"port": 70000}, "--port is 70000"),
        ({"device": "tpu"}, "--device is 'tpu'"),
        ({"reader": "nano"}, "the face reader 'nano' is gone"),
    ],
)
def test_options_that_make_no_sense_are_told(wish: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LiveOptions(**wish)
