"""Single pictures for the stage `vae`: stills, avatars' frames, the photographs of a packed cast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.media import read_image
from mien.media.files import IMAGE_SUFFIXES

Pool: TypeAlias = "Sequence[NDArray[np.uint8]] | NDArray[np.uint8]"  # pictures by their number

SIDE = 256


class PicturePools:
    """Pictures [n, 256, 256, 3] uint8 in pools; a pool has a share of the draws, and its pictures share that evenly."""

    def __init__(self, sources: Sequence[tuple[Path, float]]) -> None:
        """sources: .npy files, folders of them or of pictures, or packed casts, with shares. Raises InputError."""
        self.pools: list[Pool] = []
        shares: list[float] = []
        for path, share in sources:
            found = _pools(path)
            self.pools += found
            shares += [share / len(found)] * len(found)
        self._shares = np.array(shares) / sum(shares)

    def picture(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """One picture at random.

        Args:
            rng: chooses the folder by its share, and the picture in it.

        Returns:
            uint8 [h, w, 3].
        """
        pool = self.pools[int(rng.choice(len(self.pools), p=self._shares))]
        return np.asarray(pool[int(rng.integers(len(pool)))])


def _pools(path: Path) -> list[Pool]:
    if path.suffix == ".npy":
        return [_array(path)]
    if path.is_file():
        from mien.avatars.pack import load_pack

        return [[_square(member.photo) for member in load_pack(path).people]]
    arrays = sorted(file for file in path.glob("*.npy") if not file.name.startswith("."))
    pictures = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not arrays and not pictures:
        raise InputError(f"{path} holds no pictures: give .npy files [n, 256, 256, 3], pictures, or a packed cast.")
    pools: list[Pool] = [_array(file) for file in arrays]
    return [*pools, _Files(pictures)] if pictures else pools


class _Files(Sequence[NDArray[np.uint8]]):
    """Picture files, read when they are asked for."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return _square(read_image(self._files[index]))


def _array(path: Path) -> NDArray[np.uint8]:
    array = np.load(path, mmap_mode="r")
    if array.dtype != np.uint8 or array.ndim not in (4, 5) or array.shape[-3:] != (SIDE, SIDE, 3):
        raise InputError(f"{path} is {array.dtype} {list(array.shape)}: give uint8 pictures [n, 256, 256, 3].")
    pictures: NDArray[np.uint8] = array.reshape(-1, SIDE, SIDE, 3)
    return pictures


def _square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle square, at 256 pixels."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    cut = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
