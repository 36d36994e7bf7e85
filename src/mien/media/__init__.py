"""Video and image files: exact rates, exact frame counts, streaming, colour, audio.

Readers give uint8 RGB arrays ``[height, width, 3]``, upright; writers take them. Nothing here holds a whole video.
"""

from mien.media.clip import Clip, open_clip, read_video
from mien.media.image import read_alpha, read_image, write_image
from mien.media.part import evened, part_of
from mien.media.probe import ClipInfo
from mien.media.writer import VideoWriter, write_video

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
