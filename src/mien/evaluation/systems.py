"""Whatever makes a clip from a case: the protocol of systems, and those that need no model.

`copy-source` repeats the portrait and `copy-driver` returns the driver: the two ends between which every system lies.
`ground-truth` returns the ground truth itself, and so measures the estimators. Ours are built by
`mien.jobs.evaluation_systems`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mien.errors import InputError
from mien.evaluation.benchmark import PROTOCOLS, Medium
from mien.evaluation.footage import Case, Footage, Frames, load_frames
from mien.media.files import IMAGE_SUFFIXES

EVERY = frozenset(PROTOCOLS)
ONE_DRIVER = frozenset({"self", "cross"})
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi", ".gif")


class System(Protocol):
    """Answers cases. protocols: those it can answer; another one is not applicable to it, as in the papers' tables."""

    name: str
    protocols: frozenset[str]

    def describe(self) -> dict[str, Any]:
        """What its answers depend on, for the report and to know whether kept answers are still its own."""

    def key(self, case: Case) -> str:
        """What its answer to this case depends on beside `describe` and the case; "" if nothing."""

    def animate(self, case: Case) -> Frames:
        """uint8 RGB [frames, side, side, 3]. Raises InputError if this case cannot be answered."""

    def close(self) -> None:
        """Free what it holds."""


class CopySource:
    """The portrait, for every frame: identity 1, no motion."""

    name = "copy-source"
    protocols = EVERY

    def describe(self) -> dict[str, Any]:
        """See `System.describe`."""
        return {"system": self.name}

    def key(self, case: Case) -> str:
        """See `System.key`."""
        return ""

    def animate(self, case: Case) -> Frames:
        """See `System.animate`."""
        return np.repeat(case.source[None], case.frames, 0)

    def close(self) -> None:
        """Nothing is held."""


class CopyDriver(CopySource):
    """The driving video as it is: all the motion, nothing of the portrait. With two of them there is no such copy."""

    name = "copy-driver"
    protocols = ONE_DRIVER

    def animate(self, case: Case) -> Frames:
        """See `System.animate`."""
        return case.driver.copy()


class GroundTruth(CopySource):
    """The ground truth, where there is one: what the metrics say of a perfect answer. It alone sees the footage."""

    name = "ground-truth"
    protocols = ONE_DRIVER

    def reveal(self, footage: Footage) -> Frames:
        """The answer. Raises InputError for a pair without ground truth."""
        if footage.ground_truth is None:
            raise InputError(f"pair {footage.case.id} has no ground truth to copy")
        return footage.ground_truth.copy()


class Predictions:
    """Files made by anyone: FOLDER/ID.mp4 (or another video), or a folder FOLDER/ID of pictures, for each pair.

    A clip must have as many frames as the driving video (in "self" with the first one) and show the square that the
    benchmark gives; its size may be another. InputError says which file does not fit.
    """

    protocols = EVERY

    def __init__(self, name: str, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder: give --predictions NAME=FOLDER with a video for each pair")
        self.name, self._folder = name, folder

    def describe(self) -> dict[str, Any]:
        """See `System.describe`."""
        return {"system": "predictions", "name": self.name, "folder": self._folder.name}

    def key(self, case: Case) -> str:
        """The content of its file."""
        path, sha = self.find(case.id), hashlib.sha256()
        for file in [path] if path.is_file() else sorted(path.iterdir()):
            if file.is_file():
                sha.update(os.fsencode(file.name))
                sha.update(file.read_bytes())
        return sha.hexdigest()

    def find(self, pair: str) -> Path:
        """The file or folder for a pair; InputError if there is none."""
        folder = self._folder / pair
        if folder.is_dir() and any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir()):
            return folder
        for suffix in VIDEO_SUFFIXES:
            if (file := self._folder / f"{pair}{suffix}").is_file():
                return file
        raise InputError(f"{self._folder} holds no {pair}.mp4 and no folder {pair} of pictures")

    def animate(self, case: Case) -> Frames:
        """See `System.animate`."""
        path = self.find(case.id)
        frames = load_frames(Medium(path), case.side)
        if len(frames) != case.frames:
            raise InputError(f"{path} has {len(frames)} frames, but pair {case.id} has {case.frames}")
        return frames

    def close(self) -> None:
        """Nothing is held."""


def answer(system: System, footage: Footage) -> Frames:
    """The system's frames, checked."""
    frames = system.reveal(footage) if isinstance(system, GroundTruth) else system.animate(footage.case)
    wanted = footage.case.driver.shape
    if frames.shape != wanted or frames.dtype != np.uint8:
        raise ValueError(f"{system.name} gave {frames.dtype} {frames.shape} for {footage.case.id}, not uint8 {wanted}")
    return frames
