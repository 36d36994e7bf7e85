"""`mien live`: a thread that always works on the newest frame of a camera, and where its pictures go.

There is no queue anywhere: a frame that comes while another is worked on takes the place of the one that waits. So a
slow machine shows fewer pictures, never older ones.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.animation.live import LiveAnimator
from mien.errors import MienError

_SPAN = 3.0  # seconds over which rates are measured
_MISSED = 2.0  # seconds without a face after which it is told
_NO_CAMERA = 3.0  # seconds without a frame
_READ = 10.0  # seconds for which it is told that a file or a camera failed

_log = logging.getLogger("mien.live")


class PictureSink(Protocol):
    """Where pictures go beside the window: a file, a virtual camera."""

    def write(self, picture: NDArray[np.uint8], seconds: float) -> None:
        """The next picture.

        Args:
            picture: uint8 [h, w, 3] of any size.
            seconds: when, on a clock that only goes forward.
        """

    def close(self) -> None:
        """Finish; nothing is written afterwards."""


@dataclass(frozen=True)
class LivePicture:
    """A picture and what it was made of.

    Attributes:
        number: of the frame, as the camera's side counts.
        picture: uint8 [h, w, 3].
        seconds: from the frame's coming to the picture.
        behind: pictures that have come out since the frame came, this one among them: 1 or 2.
    """

    number: int
    picture: NDArray[np.uint8]
    seconds: float
    behind: int


@dataclass(frozen=True)
class LiveState:
    """How it goes.

    Attributes:
        rate: pictures a second.
        camera_rate: frames a second that came.
        latency: seconds from a frame's coming to its picture, the mean.
        behind: the same in pictures, the most, see `LivePicture`.
        dropped: frames that came and were not worked on, so far.
        face: whether the last frame showed one.
        sentence: what the user should know; "" for nothing.
    """

    rate: float
    camera_rate: float
    latency: float
    behind: int
    dropped: int
    face: bool
    sentence: str


class LiveSession:
    """Works on the newest frame in a thread of its own, from `start` until `close`."""

    def __init__(
        self,
        live: LiveAnimator,
        *,
        sinks: Sequence[PictureSink] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take an animator and sinks, which are closed with the session."""
        self.live = live
        self._sinks, self._clock = list(sinks), clock
        self._changed = threading.Condition()
        self._waiting: tuple[int, Callable[[], NDArray[np.uint8]], float, int] | None = None
        self._newest: LivePicture | None = None
        self._shut, self._latest = False, 0
        self._dropped = 0
        self._came: deque[float] = deque(maxlen=1000)
        self._made: deque[tuple[float, float, int]] = deque(maxlen=1000)  # when, its latency, pictures behind
        self._count = 0  # of pictures
        self._trouble, self._lost, self._lost_at = "", "", 0.0
        self._begun = clock()
        self._thread = threading.Thread(target=self._work, name="mien-live", daemon=True)

    def start(self) -> LiveSession:
        """Begin; returns itself."""
        self._thread.start()
        return self

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._shut

    @property
    def latest(self) -> int:
        """The largest number of a frame that has come."""
        return self._latest

    def offer(self, number: int, read: Callable[[], NDArray[np.uint8]]) -> None:
        """A frame has come; never waits.

        Args:
            number: counts up.
            read: gives the frame, uint8 [h, w, 3]; called in the session's thread, and only if the frame is worked on.
        """
        now = self._clock()
        with self._changed:
            self._came.append(now)
            self._dropped += self._waiting is not None
            self._waiting, self._latest = (number, read, now, self._count), max(self._latest, number)
            self._changed.notify_all()

    def next(self, after: int, timeout: float) -> LivePicture | None:
        """The newest picture of a later frame, as soon as there is one.

        Args:
            after: the number of the frame that was seen last.
            timeout: seconds.

        Returns:
            The picture; None: not in time, or the session is over.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._shut or (self._newest is not None and self._newest.number > after), timeout
            )
            newest = self._newest
            return newest if newest is not None and newest.number > after and not self._shut else None

    def state(self) -> LiveState:
        """How it goes just now."""
        now = self._clock()
        with self._changed:
            made = [one for one in self._made if now - one[0] <= _SPAN] or list(self._made)[-1:]
            came = [one for one in self._came if now - one <= _SPAN]
            last = self._came[-1] if self._came else self._begun
            span = max(min(_SPAN, now - self._begun), 1e-3)
            latency = float(np.mean([seconds for _, seconds, _ in made])) if made else 0.0
            behind = max((pictures for _, _, pictures in made), default=0)
            without = self.live.seconds_without_face
            sentence = self._trouble or (self._lost if now - self._lost_at < _READ else "")
            if now - last > _NO_CAMERA:
                sentence = (
                    "No picture comes from the camera: is it plugged in, and free? This goes on as soon as one does."
                )
            elif not sentence and without > _MISSED:
                sentence = f"No face has been seen for {without:.0f} seconds: look into the camera."
            rate = _rate([when for when, _, _ in self._made], now)
            return LiveState(rate, len(came) / span, latency, behind, self._dropped, without == 0, sentence)

    def close(self) -> None:
        """End the thread and the sinks."""
        with self._changed:
            self._shut = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        sinks, self._sinks = self._sinks, []
        with ExitStack() as stack:
            stack.callback(self.live.close)
            for sink in sinks:
                stack.callback(sink.close)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._shut or self._waiting is not None)
                if self._shut or self._waiting is None:
                    return
                (number, read, came, count), self._waiting = self._waiting, None
            picture = self._made_of(read)
            now = self._clock()
            with self._changed:
                if picture is not None:
                    self._count += 1
                    self._newest = LivePicture(number, picture, now - came, self._count - count)
                    self._made.append((now, now - came, self._newest.behind))
                self._changed.notify_all()

    def _made_of(self, read: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
        """The picture, or None with a sentence in its place: one bad frame ends nothing."""
        try:
            picture = self.live.process(read())
            self._trouble = ""
        except MienError as error:
            self._trouble = _sentence(error)
            return None
        except Exception as error:  # told once a frame, so that the user sees it pass
            _log.error("a fault of the program", exc_info=error)
            self._trouble = f"This is a fault of the program ({type(error).__name__}); its log says more."
            return None
        for sink in list(self._sinks):
            try:
                sink.write(picture, self._clock() - self._begun)
            except MienError as error:  # the window goes on without it
                self._sinks.remove(sink)
                self._lost, self._lost_at = _sentence(error), self._clock()
                _closed(sink)
        return picture


def _rate(moments: Sequence[float], now: float) -> float:
    """How many a second: those of the last seconds, or the last three where they are rare; 0 after a long pause."""
    last = [moment for moment in moments if now - moment <= _SPAN]
    last = list(moments[-3:]) if len(last) < 3 else last
    if len(last) < 2:
        return 0.0
    pause = (last[-1] - last[0]) / (len(last) - 1)
    if now - last[-1] > max(3 * pause, _SPAN):
        return 0.0
    return 1 / max(pause, 1e-6)


def _sentence(error: MienError) -> str:
    text = str(error).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _closed(sink: PictureSink) -> None:
    try:
        sink.close()
    except MienError as error:
        _log.warning("%s", error)
