"""Reading faces: one protocol and the reader behind it, tracking over a clip, and a mask of people."""

from __future__ import annotations

from mien.faces.backends import READER_NAMES, load_face_reader
from mien.faces.reading import EXPRESSION_NAMES, FaceReader, FaceReading, read_portrait
from mien.faces.tracking import FaceTracker, TrackedFace, TrackReport, fill_start

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
