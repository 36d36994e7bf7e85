"""Choosing a face reader by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import InputError

if TYPE_CHECKING:  # options name readers, and numpy is a fifth of the time until a command's help is there
    from mien.faces.reading import FaceReader

READER_NAMES = ("auto", "mesh")
_ASIDE = {
    "nano": "the face reader 'nano' is gone: give auto (or mesh, which auto means), or leave the reader out",
    "mediapipe": "there is no face reader 'mediapipe': give mesh, which has the networks of MediaPipe",
}


def check_reader_name(name: str) -> None:
    """Refuse a name that is none of READER_NAMES, and say what to give instead of one that once was.

    Raises:
        InputError: for such a name.
    """
    if name in READER_NAMES:
        return
    raise InputError(_ASIDE.get(name, f"there is no face reader {name!r}: choose one of {', '.join(READER_NAMES)}"))


def load_face_reader(name: str = "auto", model: Path | None = None, device: str = "cpu") -> FaceReader:
    """Load a face reader; it comes with the package.

    Args:
        name: "mesh" (the networks of MediaPipe's face landmarker: 478 points, pupils), or "auto", which is mesh.
        model: A folder of mesh's weights; None: the bundled ones.
        device: A torch device.

    Raises:
        InputError: For an unknown name, or a model that is no folder.
        WeightsError: If weights are missing or damaged.
    """
    check_reader_name(name)
    if model is not None and not model.is_dir():
        raise InputError(f"the face reader's model {model} is no folder: give a folder of weights, or leave it out")
    from mien.faces.mesh_reader import MeshReader

    return MeshReader(model, device)
