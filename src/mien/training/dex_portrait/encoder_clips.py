"""Faces of real clips for the training of DeX-Portrait's expression encoder (`mien data prepare`).

Nobody knows exact poses or expressions of them. But two crops of one frame, turned, lit and framed differently, show
one expression, which a code must not tell apart; and a frozen face reader says roughly which.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.geometry import driver_crop
from mien.media import open_clip
from mien.motion.inputs import TurnedCrop
from mien.training.data.pictures import to_tensor
from mien.training.data.video_clips import VideoClips
from mien.training.dex_portrait.encoder_data import EncoderAugmentation, augmented_crop, flipped
from mien.training.engine.stage import Batch

_SIDE, _AROUND = 224, 1.8  # pixels of the square that is kept of a face, and its side over the face's: room to turn
_OF_CLIP, _IN_ALL = 64, 4096  # faces that are kept, evenly over a clip and over all clips


class ClipFaces:
    """Faces of all clips of some folders, read once, on first use."""

    def __init__(self, folders: Mapping[Path, float]) -> None:
        """folders: with their parts of the draws."""
        self._folders = dict(folders)
        self._faces: list[list[tuple[NDArray[np.uint8], NDArray[np.floating]]]] | None = None

    @property
    def part(self) -> float:
        """Of the draws, all folders together."""
        return sum(self._folders.values())

    def draw(self, rng: np.random.Generator, count: int, size: int, augmentation: EncoderAugmentation) -> Batch:
        """Faces of any clips.

        Args:
            rng: of all that is random.
            count: n.
            size: side of the crops, pixels.
            augmentation: of the crops.

        Returns:
            clip_crop, clip_again [n, 3, size, size]: two views of each face; clip_plain: the same face, as it is.
        """
        if self._faces is None:
            self._faces = _faces(self._folders)
        odds = np.array(list(self._folders.values()))
        views: dict[str, list[NDArray[np.uint8]]] = {"clip_crop": [], "clip_again": [], "clip_plain": []}
        for _ in range(count):
            faces = self._faces[int(rng.choice(len(odds), p=odds / odds.sum()))]
            picture, marks = flipped(*faces[int(rng.integers(len(faces)))], bool(rng.random() < 0.5))
            for name in ("clip_crop", "clip_again"):
                views[name].append(augmented_crop(picture, marks, size, augmentation, rng))
            views["clip_plain"].append(TurnedCrop.upright(marks).extract(picture, size))
        return {name: to_tensor(pictures) for name, pictures in views.items()}


def is_clips(folder: Path) -> bool:
    """Whether a folder holds clips as `mien data prepare` cuts them.

    Args:
        folder: any path.

    Returns:
        True if it holds at least one.
    """
    return bool(VideoClips(folder).clips)


def _faces(folders: Mapping[Path, float]) -> list[list[tuple[NDArray[np.uint8], NDArray[np.floating]]]]:
    """Faces of each folder. Raises InputError where one shows none."""
    clips = {folder: VideoClips(folder).clips for folder in folders}
    most = min(_OF_CLIP, max(1, _IN_ALL // sum(len(of_folder) for of_folder in clips.values())))
    found = []
    for folder, of_folder in clips.items():
        faces = [face for clip in of_folder for face in _of_clip(clip, most)]
        if not faces:
            raise InputError(f"no clip of {folder} shows a face: cut them anew by mien data prepare.")
        found.append(faces)
    return found


def _of_clip(numbers: Path, most: int) -> list[tuple[NDArray[np.uint8], NDArray[np.floating]]]:
    """Squares around the face with its landmarks, of at most so many frames, evenly over a clip."""
    with np.load(numbers) as content:
        landmarks, seen = content["landmarks"].astype(np.float32), np.flatnonzero(content["seen"])
    wanted = set(seen[np.linspace(0, len(seen) - 1, min(most, len(seen))).astype(int)].tolist())
    kept = []
    for row, frame in enumerate(open_clip(numbers.with_suffix(".mp4"))):
        if row in wanted:
            square = driver_crop([landmarks[row]], frame.shape[1], frame.shape[0], _AROUND)
            kept.append((square.extract(frame, _SIDE), square.points_in(landmarks[row], _SIDE)))
    return kept
