"""Rows from real videos as `mien data prepare` cuts them: the paper's kind of data.

A clip shows one person, and nobody else in the same motion: controls come from F (`--control-source face-vid2vid`) or
from the target itself (`self`).
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.media import open_clip
from mien.training.data.types import Take, Wish

_KEPT = 4  # decoded clips that a process holds


class VideoClips:
    """Rows from NAME_NNN.mp4 with NAME_NNN.npz (see `mien.jobs.data.prepare`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clips: list[Path] = []
        self._ready: OrderedDict[Path, NDArray[np.uint8]] = OrderedDict()
        self.refresh()

    def refresh(self) -> int:
        """Take in clips that have been cut since; returns how many there are."""
        found = sorted(path for path in self.folder.glob("*.npz") if path.with_suffix(".mp4").is_file())
        self.clips += [path for path in found if path not in set(self.clips)]
        return len(self.clips)

    def at_step(self, step: int) -> None:
        """Every step draws from all clips."""

    def take(self, rng: np.random.Generator, wish: Wish) -> Take:
        """A source and targets from one clip, and a frame of another one."""
        chosen = self.clips[int(rng.integers(len(self.clips)))]
        with np.load(chosen) as content:
            landmarks, seen = content["landmarks"].astype(np.float32), np.flatnonzero(content["seen"])
        if len(landmarks) < wish.frames or not len(seen):
            raise InputError(f"{chosen.with_suffix('.mp4')} is too short for {wish.frames} frames: cut it anew.")
        if wish.clip:
            first = int(rng.integers(len(landmarks) - wish.frames + 1))
            rows = list(range(first, first + wish.frames))
        else:
            rows = [int(row) for row in rng.choice(seen, wish.frames, replace=len(seen) < wish.frames)]
        frames, start = self._frames(chosen), int(rng.choice(seen))
        other = self._frames(self.clips[int(rng.integers(len(self.clips)))])
        return Take(
            frames[start],
            [frames[row] for row in rows],
            landmarks[rows],
            landmarks[seen].mean(0),
            other=other[int(rng.integers(len(other)))],
        )

    def _frames(self, clip: Path) -> NDArray[np.uint8]:
        if clip not in self._ready:
            self._ready[clip] = np.stack(list(open_clip(clip.with_suffix(".mp4"))))
            while len(self._ready) > _KEPT:
                self._ready.popitem(last=False)
        self._ready.move_to_end(clip)
        return self._ready[clip]
