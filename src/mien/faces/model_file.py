"""Finding MediaPipe's model file: given, named by the environment, cached, or fetched once."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from mien.errors import InputError

MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/latest/face_landmarker.task"
)
MODEL_VARIABLE = "MIEN_MEDIAPIPE_MODEL"
CACHE_VARIABLE = "MIEN_CACHE"
_NEEDED_PARTS = {"face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite"}


def cache_folder() -> Path:
    """Where fetched files are kept: $MIEN_CACHE, else ~/.cache/mien."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given).expanduser() if given else Path.home() / ".cache" / "mien"


def cached_model() -> Path:
    """Where the model is kept once it has been fetched; it need not exist."""
    return cache_folder() / "face_landmarker.task"


def find_model(given: Path | None = None) -> Path | None:
    """The model on this machine: `given`, else $MIEN_MEDIAPIPE_MODEL, else the cached one; None if there is none.

    Raises InputError if a file that was named does not exist or is no face landmarker bundle.
    """
    named = os.environ.get(MODEL_VARIABLE)
    if given is None and named:
        given = Path(named).expanduser()
    if given is not None:
        _check(given, "give the path of a face_landmarker.task file")
        return given
    return cached_model() if cached_model().is_file() else None


def obtain_model(given: Path | None = None, url: str = MODEL_URL) -> Path:
    """`find_model`, and where there is none, fetch it from `url` into the cache (about 4 MB, once)."""
    found = find_model(given)
    return found if found is not None else _fetch(url, cached_model())


def _fetch(url: str, target: Path) -> Path:
    by_hand = f"download {url} yourself and name it by {MODEL_VARIABLE}, or use the nano reader"
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=60) as answer:
            data = answer.read()
        with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as file:
            partial = Path(file.name)
            file.write(data)
        _check(partial, by_hand)
        os.replace(partial, target)
    except (urllib.error.URLError, OSError) as error:
        raise InputError(f"MediaPipe's face model could not be fetched ({error}): {by_hand}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return target


def _check(path: Path, mend: str) -> None:
    if not path.is_file():
        raise InputError(f"the MediaPipe face model {path} does not exist: {mend}")
    parts: set[str] = set()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as bundle:
            parts = set(bundle.namelist())
    if not parts >= _NEEDED_PARTS:
        raise InputError(f"{path} is no MediaPipe face landmarker with blendshapes: {mend}")
