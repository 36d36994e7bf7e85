"""The pictures of a pair, at the benchmark's size: what a system is given, and what its answer is compared with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.evaluation.benchmark import Medium, Pair
from mien.geometry import SquareCrop
from mien.media import open_clip

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """What a system is given: uint8 RGB squares of one size.

    Attributes:
        id: of the pair.
        protocol: of the pair.
        source: the portrait [s, s, 3]; in "self" the driving video's first frame.
        driver: of whom the head pose comes [n, s, s, 3].
        expression: of whom the expression comes [n, s, s, 3]; the driving video itself but in "disentangled".
        rate: frames a second.
    """

    id: str
    protocol: str
    source: Frames
    driver: Frames
    expression: Frames
    rate: Fraction = Fraction(25)

    @property
    def frames(self) -> int:
        """How many frames a system must return."""
        return len(self.driver)

    @property
    def side(self) -> int:
        """Pixels a side."""
        return int(self.source.shape[0])


@dataclass(frozen=True)
class Footage:
    """A case and what the answer is compared with.

    Attributes:
        case: what the system is given.
        ground_truth: [n, s, s, 3], where there is one.
        first: the frame with which scoring begins: 1 where the ground truth's first frame is the source.
        digest: changes with every pixel that a score may depend on.
    """

    case: Case
    ground_truth: Frames | None
    first: int
    digest: str = field(default="")


def load_footage(pair: Pair, side: int) -> Footage:
    """Read all pictures of a pair.

    Args:
        pair: of a benchmark.
        side: of the squares, pixels.

    Raises:
        InputError: where a file is missing, too short, or not what it should be.
    """
    source = load_frames(_still(pair.source), side)[0]
    driver = load_frames(pair.driver, side)
    expression = driver if pair.expression is None else load_frames(pair.expression, side)
    if pair.protocol == "self":
        ground_truth: Frames | None = driver
    else:
        ground_truth = None if pair.ground_truth is None else load_frames(pair.ground_truth, side)
    if pair.expression is not None:  # two clips of their own lengths: as long as the shorter one
        length = min(len(driver), len(expression))
        driver, expression = driver[:length], expression[:length]
    if ground_truth is not None and len(ground_truth) != len(driver):
        counts = f"{len(ground_truth)} frames, but the driving video {len(driver)}"
        raise InputError(f"pair {pair.id}: the ground truth has {counts}")
    # what a system was given is no answer of its own
    given = ground_truth is not None and np.array_equal(ground_truth[0], source)
    first = 1 if pair.protocol == "self" or given else 0
    if len(driver) <= first:
        raise InputError(f"pair {pair.id}: {pair.driver.path} gives one frame, but a self pair needs two at least")
    case = Case(pair.id, pair.protocol, source, driver, expression, pair.rate)
    return Footage(case, ground_truth, first, _digest(pair, source, driver, expression, ground_truth))


def load_frames(medium: Medium, side: int) -> Frames:
    """The chosen frames as squares.

    Args:
        medium: of a pair.
        side: of the squares, pixels.

    Returns:
        uint8 [n, side, side, 3].

    Raises:
        InputError: where the file is too short or no pictures.
    """
    if medium.path.suffix == ".npy":
        return np.stack([_square(image, medium, side) for image in _rows(medium)])
    stop = None if medium.frames is None else medium.first + (medium.frames - 1) * medium.step
    kept = []
    for index, image in enumerate(open_clip(medium.path)):
        if index >= medium.first and (index - medium.first) % medium.step == 0:
            kept.append(_square(image, medium, side))
        if index == stop:
            break
    _check_length(medium, len(kept))
    return np.stack(kept)


def _still(medium: Medium) -> Medium:
    return Medium(medium.path, medium.first, 1, 1, medium.row, medium.crop)


def _rows(medium: Medium) -> Frames:
    try:
        stored = np.load(medium.path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{medium.path} cannot be read as a NumPy array ({error}): render it again") from error
    if stored.ndim == 5 and medium.row is not None and medium.row < len(stored):
        stored = stored[medium.row]
    elif stored.ndim == 4 and medium.row is not None and medium.row < len(stored):
        stored = stored[medium.row][None]  # one picture of each person
    if stored.ndim != 4 or stored.shape[-1] != 3 or stored.dtype != np.uint8:
        raise InputError(f"{medium.path} does not hold pictures [rows, frames, h, w, 3] with a row {medium.row}")
    kept = stored[medium.first :: medium.step][: medium.frames]
    _check_length(medium, len(kept))
    return kept


def _check_length(medium: Medium, found: int) -> None:
    if found < (medium.frames or 1):
        wanted = f"{medium.frames or 1} frames from frame {medium.first} in steps of {medium.step}"
        raise InputError(f"{medium.path} has only {found} of the {wanted}: change the benchmark or the file")


def _square(image: NDArray[np.uint8], medium: Medium, side: int) -> Frames:
    height, width = image.shape[:2]
    if medium.crop is not None:
        return np.asarray(SquareCrop(*medium.crop).extract(image, side), np.uint8)
    if (height, width) == (side, side):
        return np.array(image)
    size = min(height, width)
    return np.asarray(SquareCrop((width - size) / 2, (height - size) / 2, size).extract(image, side), np.uint8)


def _digest(pair: Pair, *pictures: Frames | None) -> str:
    """Changes with every pixel that a score may depend on."""
    sha = hashlib.sha256(f"{pair.id} {pair.protocol} {pair.rate}".encode())
    for picture in pictures:
        sha.update(b"-" if picture is None else f"{picture.shape}".encode())
        if picture is not None:
            sha.update(np.ascontiguousarray(picture).data)
    return sha.hexdigest()


def folder_digest(path: Path) -> str:
    """Changes with the files of a folder (or the file): names, sizes, and the first and last mebibyte of each."""
    sha, edge = hashlib.sha256(), 1 << 20
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        size = file.stat().st_size
        sha.update(f"{file.relative_to(path).as_posix()} {size} ".encode())
        with file.open("rb") as stream:
            sha.update(stream.read(edge))
            if size > edge:
                stream.seek(max(size - edge, edge))
                sha.update(stream.read(edge))
    return sha.hexdigest()[:16]
