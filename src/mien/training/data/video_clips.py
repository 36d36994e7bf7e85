"""Samples from real videos as `mien data prepare` cuts them: the paper's kind of data.

A clip shows one person, and nobody else in the same motion: controls come from F (`--control-source face-vid2vid`) or
from the target itself (`self`). Landmarks and poses are read ones, not exact.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.media import open_clip
from mien.training.data.samples import FaceFrame, SampleSpec, SourceDrivingSample

_KNOWN = ("head_pose", "pupils", "neutral")  # in the order of `FaceFrame`; clips of the first release lack the last two
_KEPT = 4  # decoded clips that a process holds


def _row(values: NDArray[np.floating] | None, row: int) -> NDArray[np.floating] | None:
    return None if values is None else values[row]


class VideoClips:
    """`SampleSource` over NAME_NNN.mp4 with NAME_NNN.npz (see `mien.jobs.data.prepare`)."""

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
        """Every step draws from all clips.

        Args:
            step: has no influence.
        """

    def sample(self, rng: np.random.Generator, spec: SampleSpec) -> SourceDrivingSample:
        """A source and targets from one clip, and a frame of another one.

        Args:
            rng: of everything random.
            spec: what a sample is to be.

        Returns:
            Frames with what was read of them.

        Raises:
            InputError: a clip shows no face, or is too short.
        """
        chosen = self.clips[int(rng.integers(len(self.clips)))]
        with np.load(chosen) as content:
            landmarks, seen = content["landmarks"].astype(np.float32), np.flatnonzero(content["seen"])
            more = {name: content[name] for name in _KNOWN if name in content}
        if not len(seen):
            raise InputError(f"{chosen.with_suffix('.mp4')} shows no face: cut it anew by mien data prepare.")
        start, *rows = [int(row) for row in rng.choice(seen, spec.frames + 1, replace=len(seen) <= spec.frames)]
        if spec.clip:
            if len(landmarks) < spec.frames:
                raise InputError(f"{chosen.with_suffix('.mp4')} is too short for {spec.frames} frames: cut it anew.")
            first = int(rng.integers(len(landmarks) - spec.frames + 1))
            rows = list(range(first, first + spec.frames))
        frames = self._frames(chosen)
        source, *targets = [
            FaceFrame(np.array(frames[row]), landmarks[row], *(_row(more.get(n), row) for n in _KNOWN))
            for row in (start, *rows)
        ]
        other = None
        if spec.drivers:
            others = self._frames(self.clips[int(rng.integers(len(self.clips)))])
            other = others[int(rng.integers(len(others)))]
        return SourceDrivingSample(source, targets, landmarks[seen].mean(0), other=other)

    def _frames(self, clip: Path) -> NDArray[np.uint8]:
        if clip not in self._ready:
            self._ready[clip] = np.stack(list(open_clip(clip.with_suffix(".mp4"))))
            while len(self._ready) > _KEPT:
                self._ready.popitem(last=False)
        self._ready.move_to_end(clip)
        return self._ready[clip]
