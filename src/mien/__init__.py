"""Mien: animate a portrait photo with the head motion and the expressions of a driving video.

The names below are the whole public surface; each is loaded when it is first used, so that `import mien` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.lazy import lazy_names
from mien.version import __version__

if TYPE_CHECKING:
    from mien.faces import FaceReader, FaceReading, load_face_reader
    from mien.geometry import HeadPose
    from mien.jobs.animate import animate
    from mien.jobs.options import AnimateOptions
    from mien.media import read_video, write_video
    from mien.pipelines.dex_portrait import DeXPortraitPipeline
    from mien.pipelines.x_portrait import XPortraitPipeline

_HOMES = {
    "AnimateOptions": "mien.jobs.options",
    "DeXPortraitPipeline": "mien.pipelines.dex_portrait",
    "FaceReader": "mien.faces",
    "FaceReading": "mien.faces",
    "HeadPose": "mien.geometry",
    "XPortraitPipeline": "mien.pipelines.x_portrait",
    "animate": "mien.jobs.animate",
    "load_face_reader": "mien.faces",
    "read_video": "mien.media",
    "write_video": "mien.media",
}

__all__ = [
    "AnimateOptions",
    "DeXPortraitPipeline",
    "FaceReader",
    "FaceReading",
    "HeadPose",
    "XPortraitPipeline",
    "__version__",
    "animate",
    "load_face_reader",
    "read_video",
    "write_video",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
