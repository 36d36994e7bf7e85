"""Reading faces: one protocol and the reader behind it, tracking over a clip, and a mask of people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.lazy import lazy_names

if TYPE_CHECKING:
    from mien.faces.backends import READER_NAMES, load_face_reader
    from mien.faces.expression_names import EXPRESSION_NAMES
    from mien.faces.reading import FaceReader, FaceReading, read_portrait
    from mien.faces.tracking import FaceTracker, TrackedFace, TrackReport, fill_start

_HOMES = {
    "EXPRESSION_NAMES": "mien.faces.expression_names",
    "FaceReader": "mien.faces.reading",
    "FaceReading": "mien.faces.reading",
    "FaceTracker": "mien.faces.tracking",
    "READER_NAMES": "mien.faces.backends",
    "TrackReport": "mien.faces.tracking",
    "TrackedFace": "mien.faces.tracking",
    "fill_start": "mien.faces.tracking",
    "load_face_reader": "mien.faces.backends",
    "read_portrait": "mien.faces.reading",
}

__all__ = [
    "EXPRESSION_NAMES",
    "READER_NAMES",
    "FaceReader",
    "FaceReading",
    "FaceTracker",
    "TrackReport",
    "TrackedFace",
    "fill_start",
    "load_face_reader",
    "read_portrait",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
