"""Pictures with a teacher's labels for training the nano face reader, kept as arrays.

A label set is two files in one folder: `NAME.npz` with index [m] (rows of the pictures that show a face), landmarks
[m, 68, 2] float32 in pixels, rotation [m, 3] axis-angle and expression [m, 52]; and the pictures, uint8
[n, 256, 256, 3], either `NAME_images.npy` or a file elsewhere that `pictures` in the npz names.

    python -m mien.training.face_reader.labels --out data/face_labels \
        --avatars data/avatars --portraits PORTRAITS --clips CLIPS
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.faces import FaceReader, load_face_reader

SIDE = 256
_LOG = logging.getLogger(__name__)


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
        return LabelSet(
            name, pictures, file["index"], file["landmarks"], file["rotation"], file["expression"]
        )


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
        _write(folder / f"{name}_images.npy", lambda file: np.save(file, pictures))
    _write(folder / f"{name}.npz", lambda file: np.savez(file, pictures=np.array(place), **labels))
    return len(labels["index"])


def _write(target: Path, save: Callable[[Any], None]) -> None:
    partial = target.with_name(f".{target.name}")
    with partial.open("wb") as file:
        save(file)
    os.replace(partial, target)


def portrait_pictures(folder: Path) -> np.ndarray:
    """The portraits of a folder that its index.json allows to be trained on (`train_ok`), [n, 256, 256, 3]."""
    index = json.loads((folder / "index.json").read_text())
    entries = [entry for entries in index.values() for entry in entries if entry["train_ok"]]
    return np.stack([_picture(folder / entry["file"]) for entry in entries])


def clip_pictures(folder: Path, step: int = 2) -> np.ndarray:
    """Every second frame of the clips of a folder that its index.json allows to be trained on, [n, 256, 256, 3]."""
    entries = json.loads((folder / "index.json").read_text())
    entries = entries["clips"] if isinstance(entries, dict) else entries
    frames: list[np.ndarray] = []
    for entry in entries:
        if entry["train_ok"]:
            frames.extend(list(_frames(folder / entry["file"]))[::step])
    return np.stack(frames)


def _frames(path: Path) -> Iterator[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            picture = frame.to_image()
            yield np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def _picture(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))


def label_avatars(folder: Path, out: Path, reader: FaceReader, step: int = 1) -> None:
    """Label every complete group of rendered avatars that has no labels yet; validation groups are named `val_`."""
    for people in sorted(folder.glob("group_*_people.json")):
        group = people.name.removesuffix("_people.json")
        validation = bool(json.loads(people.read_text())["validation"])
        name = f"{'val_' if validation else ''}{group}"
        if (out / f"{name}.npz").exists():
            continue
        place = folder / f"{group}_frames.npy"
        frames = np.load(place, mmap_mode="r").reshape(-1, SIDE, SIDE, 3)
        found = write_labels(out, name, reader, frames, str(place.resolve()))
        _LOG.info("%s: %d of %d frames show a face", name, found, len(frames))


def main() -> None:
    """Label whatever of the given folders is not labelled yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--avatars", type=Path)
    parser.add_argument("--portraits", type=Path)
    parser.add_argument("--clips", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    reader = load_face_reader("mesh")
    for name, folder, pictures in (
        ("portraits", options.portraits, portrait_pictures),
        ("clips", options.clips, clip_pictures),
    ):
        if folder is not None and not (options.out / f"{name}.npz").exists():
            _LOG.info("%s: %d labelled", name, write_labels(options.out, name, reader, pictures(folder)))
    if options.avatars is not None:
        label_avatars(options.avatars, options.out, reader)
    reader.close()


if __name__ == "__main__":
    main()
