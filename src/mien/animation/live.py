"""A portrait that follows a camera: a frame in, a picture out, at once.

    live = LiveAnimator(load_animator("nano"))
    live.set_portrait(read_image("portrait.png"))
    for frame in camera:
        show(live.process(frame))

Nothing here knows of cameras, windows or files; see `mien.jobs.live`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.animation.animator import Animator
from mien.animation.frame_stepper import FrameStepper, LiveControl, LiveFrame
from mien.errors import InputError
from mien.faces import FaceReading
from mien.media.watermark import marked

_LONGEST_STEP = 0.5  # seconds: after a longer pause a filter starts as if that much had passed
_SHORTEST_STEP = 1 / 240
_FORGET = 1.0  # seconds without a face after which it is looked for everywhere again


class LiveAnimator:
    """An `Animator` that is fed frame by frame. Its methods may be called from several threads.

    Attributes:
        control: gains, smoothing and sliders; may be set at any time.
        mirror: whether frames are mirrored before they are read, as people know themselves.
        watermark: whether pictures are marked invisibly as synthetic.
    """

    def __init__(
        self,
        animator: Animator,
        *,
        longest_side: int = 640,
        mirror: bool = True,
        watermark: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take an animator.

        Args:
            animator: its source is set here.
            longest_side: pixels that a portrait may have; larger ones are scaled down.
            mirror: see above.
            watermark: see above.
            clock: gives seconds.
        """
        self.control = LiveControl()
        self.mirror, self.watermark = mirror, watermark
        self._animator, self._longest, self._clock = animator, longest_side, clock
        self._lock = threading.Lock()
        self._stepper: FrameStepper | None = None
        self._reference: LiveFrame | None = None
        self._hint: FaceReading | None = None
        self._wanted = False  # that the next face is the reference
        self._before: float | None = None  # when the last frame came
        self._seen = 0.0  # when the last one with a face did
        self._without = 0.0
        self._picture: NDArray[np.uint8] | None = None

    def set_portrait(self, image: NDArray[np.uint8], *, name: Path = Path("the portrait")) -> None:
        """Animate this picture from now on; the face that motion counts from stays.

        Args:
            image: uint8 [h, w, 3].
            name: for messages.

        Raises:
            InputError: if it shows no face, or if the model cannot follow a camera. The portrait before stays.
        """
        with self._lock:
            before = None if self._stepper is None else self._animator.source
            try:
                self._animator.set_source([_fitted(image, self._longest)], names=[name])
                stepper = self._animator.live()
            except BaseException:
                if before is not None:
                    self._animator.set_source(before)
                raise
            if self._reference is not None:
                stepper.calibrate(self._reference)
            self._stepper = stepper
            self._picture = self._finished(self._animator.source.portraits[0].image)

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The latest picture, uint8 [h, w, 3]; the portrait itself before the first face.

        Raises InputError without a portrait.
        """
        if self._picture is None:
            raise InputError("no portrait is set: call set_portrait first")
        return self._picture

    def calibrate(self) -> None:
        """Let motion count from the next face that is seen: its owner looks straight ahead, the face at rest."""
        self._wanted = True

    @property
    def seconds_without_face(self) -> float:
        """How long the last frames have shown no face; 0: the last one did."""
        return self._without

    def process(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The portrait, doing what the face in a frame does.

        Args:
            frame: the camera's, uint8 [h, w, 3] of any size.

        Returns:
            uint8 [H, W, 3]; where no face is seen, the picture before.

        Raises:
            InputError: without a portrait.
        """
        with self._lock:
            if self._stepper is None:
                raise InputError("no portrait is set: call set_portrait first")
            now = self._clock()
            seconds = self._passed(now)
            image = np.ascontiguousarray(frame[:, ::-1]) if self.mirror else frame
            reading = self._animator.reader.read(image, self._hint)
            if reading is None:
                self._without = now - self._seen
                if self._without > _FORGET:
                    self._hint = None
                return self.picture
            self._hint, self._seen, self._without = reading, now, 0.0
            seen = LiveFrame(image, reading, seconds)
            if self._wanted or self._reference is None:
                self._wanted, self._reference = False, seen
                self._stepper.calibrate(seen)
            self._picture = self._finished(self._stepper.step(seen, self.control))
            return self._picture

    def _passed(self, now: float) -> float:
        """Seconds since the frame before, as far as filters should know."""
        passed = 1 / 25
        if self._before is None:
            self._seen = now  # from here on a face is missed
        else:
            passed = now - self._before
        self._before = now
        return min(max(passed, _SHORTEST_STEP), _LONGEST_STEP)

    def _finished(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return marked(picture) if self.watermark else picture

    def close(self) -> None:
        """Free the animator."""
        self._animator.close()


def _fitted(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """A picture whose sides are at most `longest` pixels."""
    height, width = image.shape[:2]
    zoom = longest / max(height, width)
    if zoom >= 1:
        return image
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
