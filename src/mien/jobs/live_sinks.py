"""Where the pictures of `mien live` go beside its window: a video, and a camera that other programs see."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.jobs.live_options import LiveOptions
from mien.jobs.run.output_lock import output_lock
from mien.jobs.run.provenance import Provenance
from mien.media import VideoWriter
from mien.media.files import readable_name
from mien.version import __version__

_RATE = 30  # frames a second that files and cameras name; frames of a file have their own times


class Recording:
    """A video of what is shown, with each picture's own time; it appears whole when it is closed."""

    def __init__(self, path: Path, size: tuple[int, int], comment: str) -> None:
        """Open a file.

        Args:
            path: to write.
            size: width and height; pictures of other sizes are fitted in.
            comment: its provenance.

        Raises:
            OutputError: if it cannot be written.
        """
        self._stack = ExitStack()
        with self._stack:
            self._stack.enter_context(output_lock(path))
            writer = VideoWriter(path, rate=_RATE, size=size, timestamps=True, metadata={"comment": comment})
            self._writer = self._stack.enter_context(writer)
            self._stack = self._stack.pop_all()
        self._size = size
        self._last = Fraction(-1)

    def write(self, picture: NDArray[np.uint8], seconds: float) -> None:
        """See `PictureSink.write`."""
        time = max(Fraction(round(seconds * 90_000), 90_000), self._last + Fraction(1, 1000))
        self._last = time
        self._writer.write(fitted_in(picture, *self._size), time)

    def close(self) -> None:
        """Finish the file; one that got no picture is not made."""
        if self._writer.frames:
            self._stack.close()
        else:
            self._stack.__exit__(InputError, InputError("nothing was recorded"), None)


class VirtualCamera:
    """A camera that other programs see, by pyvirtualcam."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Open it; size: width and height. Raises InputError where there is none."""
        try:
            import pyvirtualcam
        except ImportError as error:
            raise InputError("--virtual-camera needs the package pyvirtualcam: pip install 'mien[camera]'") from error
        self._size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        try:
            self._camera: Any = pyvirtualcam.Camera(*self._size, _RATE, fmt=pyvirtualcam.PixelFormat.RGB)
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(
                "there is no virtual camera on this machine: install OBS Studio (Windows, macOS) or v4l2loopback"
                f" (Linux) first, or leave --virtual-camera out ({' '.join(str(error).split())[:80].rstrip('.')})"
            ) from error

    def write(self, picture: NDArray[np.uint8], seconds: float) -> None:
        """See `PictureSink.write`."""
        try:
            self._camera.send(fitted_in(picture, *self._size))
        except (RuntimeError, OSError) as error:
            raise InputError("the virtual camera was taken away: the window goes on without it") from error

    def close(self) -> None:
        """Take the camera away."""
        self._camera.close()


def fitted_in(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A picture as large as it goes in the middle of one of another size, on black.

    Args:
        picture: uint8 [h, w, 3].
        width: pixels.
        height: pixels.

    Returns:
        uint8 [height, width, 3].
    """
    high, wide = picture.shape[:2]
    if (wide, high) == (width, height):
        return np.ascontiguousarray(picture)
    zoom = min(width / wide, height / high)
    size = (min(width, max(1, round(wide * zoom))), min(height, max(1, round(high * zoom))))
    out = np.zeros((height, width, 3), np.uint8)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    out[y : y + size[1], x : x + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return out


def live_provenance(options: LiveOptions, system: str) -> Provenance:
    """What a recording says of itself; its options are those that it began with.

    Args:
        options: of the session.
        system: of the model.

    Returns:
        The same as of an animation's result.
    """
    asked = json.dumps(asdict(options), default=str, sort_keys=True)
    model = options.model if not Path(options.model).is_dir() else Path(options.model).resolve().name
    return Provenance(system, readable_name(model), __version__, hashlib.sha256(asked.encode()).hexdigest())
