"""Rendered people in shared motions: the source of cross-identity pairs with exact truth.

A folder holds groups of files, see `mien.avatars.groups`: frames [people, motions, 256, 256, 3] uint8, sources and
landmarks [people, motions, 68, 2] in pixels. Everyone in a group performs the same motions; motions 32 to 47 and 48 to
63 are two continuous clips, the others are single poses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.training.data.types import Take, Wish, choose_motions


@dataclass(frozen=True)
class Group:
    """People who share their motions: frames, sources and landmarks as on disk; pupils [p, m, 2, 2], where known."""

    frames: NDArray[np.uint8]
    sources: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    pupils: NDArray[np.float32] | None = None

    def keypoints(self, person: int) -> NDArray[np.float32]:
        """Landmarks and pupils [m, 70, 2] of a person. Raises InputError if these data do not know pupils."""
        if self.pupils is None:
            raise InputError(
                "these avatars were made before pupils were recorded: make them anew by `mien data avatars`."
            )
        return np.concatenate([self.landmarks[person], self.pupils[person]], 1)


class AvatarClips:
    """Rows from the groups in a folder; groups that appear later are found by `refresh`."""

    def __init__(self, folder: Path, hold_out: int = 0, only_held_out: bool = False) -> None:
        """hold_out: groups from this number on are kept for validation; 0: those that are marked so, where any is."""
        self.folder, self.hold_out, self.only_held_out = folder, hold_out, only_held_out
        self.groups: list[Group] = []
        self._names: list[str] = []
        self.refresh()

    def refresh(self) -> int:
        """Look for new groups; returns how many there are now."""
        for meta in sorted(self.folder.glob("group_*_meta.npz")):
            name = meta.name[:9]
            if name in self._names:
                continue
            content = np.load(meta)
            marked = bool(content["validation"]) if "validation" in content else False
            held_out = int(name[6:]) >= self.hold_out if self.hold_out else marked
            if held_out != self.only_held_out:
                continue
            frames = np.load(self.folder / f"{name}_frames.npy", mmap_mode="r")
            sources = np.load(self.folder / f"{name}_sources.npy", mmap_mode="r")
            pupils = content["pupils"][..., :2] if "pupils" in content else None
            self.groups.append(Group(frames, sources, content["landmarks"], pupils))
            self._names.append(name)
        return len(self.groups)

    def at_step(self, step: int) -> None:
        """Every step draws from all groups."""

    def take(self, rng: np.random.Generator, wish: Wish) -> Take:
        """One person's source and targets, and others in the same motions."""
        if not self.groups:
            raise InputError(
                f"{self.folder} holds no groups of avatars to train on: make them with `mien data avatars`."
            )
        sizes = np.array([len(group.frames) for group in self.groups], float)
        group = self.groups[int(rng.choice(len(self.groups), p=sizes / sizes.sum()))]
        people, total = group.frames.shape[:2]
        person, driver = int(rng.integers(people)), int(rng.integers(people))
        motions, start = choose_motions(rng, total, wish), int(rng.integers(total))
        photo = not wish.start and rng.random() < 0.35  # where a photo's landmarks are is not recorded
        source = group.sources[person] if photo else group.frames[person, start]
        usual = group.landmarks.mean(1)  # everyone's place and size, the same motions averaged
        drivers = [driver if wish.clip else int(rng.integers(people)) for _ in motions]
        return Take(
            np.array(source),
            [np.array(group.frames[person, motion]) for motion in motions],
            group.landmarks[person, motions],
            usual[person],
            [np.array(group.frames[d, motion]) for d, motion in zip(drivers, motions, strict=True)],
            np.stack([group.landmarks[d, motion] for d, motion in zip(drivers, motions, strict=True)]),
            [usual[d] for d in drivers],
            np.array(group.frames[driver, start]),
            group.keypoints(person)[[start, *motions]] if wish.start else None,
        )
