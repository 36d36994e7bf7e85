"""Pictures with a teacher's labels for training the nano face reader, kept as arrays.

A label set is two files in one folder: `NAME.npz` with index [m] (rows of the pictures that show a face), landmarks
[m, 68, 2] float32 in pixels, rotation [m, 3] axis-angle and expression [m, 52]; and the pictures, uint8
[n, 256, 256, 3], either `NAME_images.npy` or a file elsewhere that `pictures` in the npz names.
`scripts/label_faces.py` writes such sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.faces import FaceReader
from mien.media.files import whole_file

SIDE = 256


@dataclass(frozen=True)
class LabelSet:
    """Pictures [n, 256, 256, 3] uint8 (memory-mapped) and the labels of those that show a face."""

    name: str
    pictures: np.ndarray
    index: np.ndarray
    landmarks: np.ndarray
    rotation: np.ndarray
    expression: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


def label_pictures(reader: FaceReader, pictures: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Read every picture; those without a face are left out of all arrays."""
    rows = []
    for index, picture in enumerate(pictures):
        reading = reader.read(np.ascontiguousarray(picture))
        if reading is not None:
            rows.append((index, reading.landmarks, reading.pose.rotation, reading.expression))
    return {
        "index": np.array([row[0] for row in rows], np.int64),
        "landmarks": np.array([row[1] for row in rows], np.float32).reshape(-1, 68, 2),
        "rotation": np.array([row[2] for row in rows], np.float32).reshape(-1, 3),
        "expression": np.array([row[3] for row in rows], np.float32).reshape(-1, 52),
    }


def load_labels(folder: Path, name: str) -> LabelSet:
    """Open one set of `folder`."""
    with np.load(folder / f"{name}.npz") as file:
        place = str(file["pictures"]) or str(folder / f"{name}_images.npy")
        pictures = np.load(place, mmap_mode="r").reshape(-1, SIDE, SIDE, 3)
        return LabelSet(name, pictures, file["index"], file["landmarks"], file["rotation"], file["expression"])


def available_labels(folder: Path) -> list[str]:
    """The names of the sets that are complete."""
    return sorted(path.stem for path in folder.glob("*.npz"))


def write_labels(folder: Path, name: str, reader: FaceReader, pictures: np.ndarray, place: str = "") -> int:
    """Label `pictures` [n, 256, 256, 3] and write the set; keeps the pictures too unless they lie at `place`.

    Returns how many show a face.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labels: dict[str, Any] = label_pictures(reader, pictures)
    if not place:
        with whole_file(folder / f"{name}_images.npy") as partial, partial.open("wb") as file:
            np.save(file, pictures)
    with whole_file(folder / f"{name}.npz") as partial, partial.open("wb") as file:
        np.savez(file, pictures=np.array(place), **labels)
    return len(labels["index"])
