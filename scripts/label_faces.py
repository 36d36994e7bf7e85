"""Labels pictures for the stage `face-reader` by the mesh reader: avatars, portraits, clips; see `face_reader.labels`.

    python scripts/label_faces.py --out data/face_labels --avatars data/avatars \\
        --portraits data/portraits --clips data/clips
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mien.avatars.group_files import GroupFolder
from mien.errors import InputError
from mien.faces import FaceReader, load_face_reader
from mien.training.face_reader.labels import SIDE, write_labels

_LOG = logging.getLogger(__name__)


def portrait_pictures(folder: Path) -> np.ndarray:
    """The portraits of a folder whose index.json allows training on them, [n, 256, 256, 3]."""
    index = json.loads((folder / "index.json").read_text())
    entries = [entry for entries in index.values() for entry in entries if entry["train_ok"]]
    return np.stack([_picture(folder / entry["file"]) for entry in entries])


def clip_pictures(folder: Path, step: int = 2) -> np.ndarray:
    """Every second frame of the clips of the clips whose index.json allows training on them, [n, 256, 256, 3]."""
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
    groups = [
        g for held_out in (False, True) for g in GroupFolder(folder, only_held_out=held_out, complete=True).groups
    ]
    for group in groups:
        name = f"{'val_' if group.validation else ''}{group.name}"
        if (out / f"{name}.npz").exists():
            continue
        if group.side != SIDE:
            raise InputError(f"{folder} has pictures of {group.side} px: face-reader takes {SIDE}.")
        place, frames = folder / f"{group.name}_frames.npy", group.frames.reshape(-1, SIDE, SIDE, 3)
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
