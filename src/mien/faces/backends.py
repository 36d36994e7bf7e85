"""Choosing a face reader by name."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError
from mien.faces.mediapipe_reader import MediaPipeReader
from mien.faces.reading import FaceReader

READER_NAMES = ("auto", "mesh", "nano", "mediapipe")


def load_face_reader(name: str = "auto", model: Path | None = None, device: str = "cpu") -> FaceReader:
    """Load a face reader.

    Args:
        name: "mesh" (Google's face networks, in the package: 478 points), "nano" (small networks of our own, in the
            package: 68 points), "mediapipe" (Google's library, an optional extra), or "auto": mesh, unless `model` is
            of another reader.
        model: A folder of mesh or nano weights, or MediaPipe's face_landmarker.task; None: the bundled weights, or for
            mediapipe the file that is named by $MIEN_MEDIAPIPE_MODEL, cached, or fetched on first use.
        device: A torch device, for mesh and nano; mediapipe runs on the CPU.

    Raises:
        InputError: For an unknown name, a missing model or a missing package.
        WeightsError: If weights are missing or damaged.
    """
    if name not in READER_NAMES:
        raise InputError(f"there is no face reader {name!r}: choose one of {', '.join(READER_NAMES)}")
    if name == "auto":
        name = _reader_of(model)
    if name == "mediapipe":
        return MediaPipeReader(model)
    if name == "nano":
        from mien.faces.nano_reader import NanoReader

        return NanoReader(model, device)
    from mien.faces.mesh_reader import MeshReader

    return MeshReader(model, device)


def _reader_of(model: Path | None) -> str:
    """Which reader a model is for."""
    if model is None:
        return "mesh"
    if model.suffix == ".task":
        return "mediapipe"
    return "nano" if (model / "config.json").is_file() else "mesh"
