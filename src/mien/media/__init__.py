"""Video and image files: exact rates, exact frame counts, streaming, colour, audio.

Readers give uint8 RGB arrays ``[height, width, 3]``, upright; writers take them. Nothing here holds a whole video.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.lazy import lazy_names

if TYPE_CHECKING:
    from mien.media.clip import Clip, open_clip, read_video
    from mien.media.image import read_alpha, read_image, write_image
    from mien.media.part import evened, part_of
    from mien.media.probe import ClipInfo
    from mien.media.writer import VideoWriter, write_video

_HOMES = {
    "Clip": "mien.media.clip",
    "ClipInfo": "mien.media.probe",
    "VideoWriter": "mien.media.writer",
    "evened": "mien.media.part",
    "open_clip": "mien.media.clip",
    "part_of": "mien.media.part",
    "read_alpha": "mien.media.image",
    "read_image": "mien.media.image",
    "read_video": "mien.media.clip",
    "write_image": "mien.media.image",
    "write_video": "mien.media.writer",
}

__all__ = [
    "Clip",
    "ClipInfo",
    "VideoWriter",
    "evened",
    "open_clip",
    "part_of",
    "read_alpha",
    "read_image",
    "read_video",
    "write_image",
    "write_video",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
