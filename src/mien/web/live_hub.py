"""The one live session of a running page: loaded when somebody wants it, shown in one window at a time."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import faces
from mien.animation.animator import animator_of
from mien.animation.config import GAINS, AnimationConfig
from mien.animation.face_edit import FaceChange
from mien.animation.frame_stepper import LiveControl
from mien.animation.live import LiveAnimator
from mien.animation.loading import load_pipeline
from mien.animation.source import read_portrait_image
from mien.errors import InputError
from mien.jobs.live import LiveSession, PictureSink
from mien.jobs.live_options import LiveOptions
from mien.jobs.live_sinks import Recording, VirtualCamera, live_provenance
from mien.options import declarations
from mien.web.edit_tab import FACE, HEAD

_MOST_GAIN = 2.0  # of the sliders here
_LARGEST_FRAME = 4096  # pixels a side
GROUPS = {"Your motion": (*GAINS, "smooth"), "Head": tuple(HEAD), "Face": tuple(FACE)}


class LiveHub:
    """See above. Its methods may be called from several threads."""

    def __init__(self, options: LiveOptions) -> None:
        """Nothing is loaded yet."""
        self.options = options
        self.portrait = "" if options.portrait is None else options.portrait.name
        self._loading, self._window = threading.Lock(), threading.Lock()
        self._session: LiveSession | None = None
        self._closed = False

    def session(self) -> LiveSession:
        """The session, loaded at the first call. Raises WeightsError, InputError or OutputError."""
        with self._loading:
            if self._closed:
                raise InputError("the page is being shut")
            if self._session is None:
                self._session = self._loaded()
            return self._session

    def attach(self) -> bool:
        """Take the session for a window; False: another has it."""
        return self._window.acquire(blocking=False)

    def detach(self) -> None:
        """The window was closed."""
        self._window.release()

    def choose(self, path: Path) -> None:
        """Show another portrait. Raises InputError, and the one before stays."""
        self.session().live.set_portrait(read_portrait_image(path), name=Path(path.name))
        self.portrait = path.name

    def control(self, values: dict[str, Any], mirror: bool) -> None:
        """Take over what the sliders say. Raises InputError for values that make no sense."""
        live, now = self.session().live, self.session().live.control
        given = {name: float(values[name]) for names in GROUPS.values() for name in names if name in values}
        own = {name: value for name, value in given.items() if name in GROUPS["Your motion"]}
        change = FaceChange(**{name: value for name, value in given.items() if name not in own})  # type: ignore[arg-type]
        config = AnimationConfig(relative=now.config.relative, **own)  # type: ignore[arg-type]
        live.control, live.mirror = LiveControl(config, change), mirror

    def sliders(self) -> list[dict[str, Any]]:
        """What the page shows: a group's title and its sliders each, from the declarations of the options."""
        config, change = self.options.config, self.options.change
        declared = {**declarations(AnimationConfig), **declarations(FaceChange)}
        shown = []
        for title, names in GROUPS.items():
            rows = []
            for name in names:
                about = declared[name].metadata
                label, least, most = HEAD.get(name, (FACE.get(name), about["least"], about["most"]))
                value = getattr(config if hasattr(config, name) else change, name)
                rows.append(
                    {
                        "name": name,
                        "label": label or name.removesuffix("_gain").capitalize(),
                        "least": min(least, value),
                        "most": max(min(most, _MOST_GAIN) if name in GAINS else most, value),
                        "step": about["step"],
                        "value": value,
                        "rest": declared[name].default,
                    }
                )
            shown.append({"title": title, "sliders": rows})
        return shown

    def close(self) -> None:
        """End the session, finish its recording, free its models."""
        with self._loading:
            self._closed = True
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def _loaded(self) -> LiveSession:
        options = self.options
        placed = {name: getattr(options, name) for name in ("device", "dtype", "offload", "quantize")}
        pipe = load_pipeline(options.model, **placed)
        with ExitStack() as stack:
            animator = animator_of(pipe, faces.load_face_reader(options.reader))
            stack.callback(animator.close)
            live = LiveAnimator(animator, longest_side=options.size, mirror=options.mirror, watermark=options.watermark)
            live.control = LiveControl(options.config, options.change)
            sinks: list[PictureSink] = []
            if options.portrait is not None:
                live.set_portrait(read_portrait_image(options.portrait), name=options.portrait)
                sinks = self._sinks(live, animator.system)
            stack.pop_all()
        return LiveSession(live, sinks=sinks).start()

    def _sinks(self, live: LiveAnimator, system: str) -> list[PictureSink]:
        options, sinks = self.options, list[PictureSink]()
        size = (live.picture.shape[1], live.picture.shape[0])
        with ExitStack() as stack:
            if options.virtual_camera:
                sinks.append(VirtualCamera(size))
                stack.callback(sinks[-1].close)
            if options.record is not None:
                sinks.append(Recording(options.record, size, live_provenance(options, system).comment()))
            stack.pop_all()
        return sinks


def decoded_frame(data: bytes) -> NDArray[np.uint8]:
    """A frame that a browser sent, uint8 [h, w, 3] RGB. Raises InputError for what is no picture."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None or max(image.shape[:2]) > _LARGEST_FRAME:
        raise InputError("a frame of the camera is no picture, or too large a one")
    return np.asarray(image[..., ::-1], np.uint8)


def encoded_picture(picture: NDArray[np.uint8]) -> bytes:
    """A picture, uint8 [h, w, 3], as JPEG."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return data.tobytes()
