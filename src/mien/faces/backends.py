"""Choosing a face reader by name."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError
from mien.faces.mediapipe_reader import MediaPipeReader, mediapipe_is_installed
from mien.faces.model_file import find_model
from mien.faces.reading import FaceReader

READER_NAMES = ("auto", "nano", "mediapipe")


def load_face_reader(name: str = "auto", model: Path | None = None, device: str = "cpu") -> FaceReader:
    """Load a reader: "nano" (in the package), "mediapipe" (optional extra), or "auto".

    model: a folder of nano weights or MediaPipe's face_landmarker.task; None: the bundled weights, or the file that is
    named by $MIEN_MEDIAPIPE_MODEL, cached, or fetched on first use. "auto" takes mediapipe where it can be imported
    and its model is already on this machine, else nano. device is for nano; mediapipe runs on the CPU.
    Raises InputError for an unknown name, a missing model or a missing package.
    """
    if name not in READER_NAMES:
        raise InputError(f"there is no face reader {name!r}: choose one of {', '.join(READER_NAMES)}")
    if name == "auto":
        for_mediapipe = model is None or model.suffix == ".task"
        found = find_model(model) if for_mediapipe else None
        name = "mediapipe" if found is not None and mediapipe_is_installed() else "nano"
        model = found if name == "mediapipe" else (None if for_mediapipe else model)
    if name == "mediapipe":
        return MediaPipeReader(model)
    from mien.faces.nano_reader import NanoReader

    return NanoReader(model, device)
