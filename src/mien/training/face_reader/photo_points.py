"""Photographs with read landmarks and pupils, as a group that `face-reader/eyes` trains on beside rendered people.

Rendered eyes are painted by angle; photographed ones are not. Labels are the mesh reader's, the pictures must be free
of real people (see the model card). Written as one group of one motion (see `mien.avatars.groups`), without poses.

    python -m mien.training.face_reader.photo_points PICTURES OUT
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import cv2
import numpy as np

from mien.errors import MienError
from mien.faces import load_face_reader
from mien.geometry import portrait_crop
from mien.media import read_image
from mien.media.files import whole_file

logger = logging.getLogger(__name__)
_SIDE = 256
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def collect(pictures: Path, names: set[str] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squares [n, 256, 256, 3] with landmarks [n, 68, 2] and pupils [n, 2, 2] of the pictures that show a face.

    names: stems of those that may be used; None: all.
    """
    reader, frames, marks, pupils = load_face_reader("mesh"), [], [], []
    for path in sorted(path for path in pictures.rglob("*") if path.suffix.lower() in _SUFFIXES):
        if names is not None and path.stem not in names:
            continue
        try:
            image = read_image(path)
        except MienError as error:
            logger.warning("%s", error)
            continue
        face = reader.read(image)
        if face is None or face.pupils is None:
            continue
        crop = portrait_crop(face.landmarks, image.shape[1], image.shape[0])
        frames.append(cv2.resize(crop.extract(image, 2 * _SIDE), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
        marks.append(crop.points_in(face.landmarks, _SIDE))
        pupils.append(crop.points_in(face.pupils, _SIDE))
    reader.close()
    return np.stack(frames).astype(np.uint8), np.stack(marks), np.stack(pupils)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--names", type=Path, help="a text file with the stems of the pictures to use, a line each")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    names = None if args.names is None else set(args.names.read_text(encoding="utf-8").split())
    frames, marks, pupils = collect(args.pictures, names)
    args.out.mkdir(parents=True, exist_ok=True)
    with whole_file(args.out / "group_000_frames.npy") as temporary, temporary.open("wb") as file:
        np.save(file, frames[:, None])
    with whole_file(args.out / "group_000_sources.npy") as temporary, temporary.open("wb") as file:
        np.save(file, frames)
    with whole_file(args.out / "group_000_meta.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, landmarks=marks[:, None], pupils=pupils[:, None], validation=np.array(False))
    logger.info("%d faces", len(frames))


if __name__ == "__main__":
    main()
