"""Choosing a face reader by name."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError
from mien.faces.reading import FaceReader

READER_NAMES = ("auto", "mesh", "nano")


def load_face_reader(name: str = "auto", model: Path | None = None, device: str = "cpu") -> FaceReader:
    """Load a face reader; all come with the package.

    Args:
        name: "mesh" (the networks of MediaPipe's face landmarker: 478 points, pupils), "nano" (small networks of our
            own: 68 points, pupils), or "auto": mesh, unless `model` is of nano.
        model: A folder of mesh or nano weights; None: the bundled ones.
        device: A torch device.

    Raises:
        InputError: For an unknown name, or a model that is no folder.
        WeightsError: If weights are missing or damaged.
    """
    if name not in READER_NAMES:
        also = ' ("mesh" has the networks of MediaPipe)' if name == "mediapipe" else ""
        raise InputError(f"there is no face reader {name!r}{also}: choose one of {', '.join(READER_NAMES)}")
    if model is not None and not model.is_dir():
        raise InputError(f"the face reader's model {model} is no folder: give a folder of weights, or leave it out")
    if name == "nano" or (name == "auto" and model is not None and (model / "config.json").is_file()):
        from mien.faces.nano_reader import NanoReader

        return NanoReader(model, device)
    from mien.faces.mesh_reader import MeshReader

    return MeshReader(model, device)
