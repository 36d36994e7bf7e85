"""The one reader of rendered groups, whose files `mien.avatars.groups` writes and describes.

Read are schemas 4 (which lacks `neutral`) and 5, and what else has frames and landmarks in these files: groups of
photographs, which have neither poses nor expressions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]
_NEWEST = 5


class RenderedGroup:
    """A group on disk: p people who all perform the same m motions. Pictures are mapped, not read.

    Attributes:
        folder, name: where it lies; its files begin with `folder/name`.
        frames: uint8 [p, m, s, s, 3].
        meta: the arrays of the group's meta file, see `mien.avatars.groups`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        try:
            with np.load(folder / f"{name}_meta.npz", allow_pickle=False) as content:
                self.meta = {key: np.asarray(content[key]) for key in content}
            self.frames: Pixels = np.load(folder / f"{name}_frames.npy", mmap_mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder / name} is not whole ({error}): render it again.") from error
        if int(self.meta.get("schema", 0)) > _NEWEST:
            raise InputError(f"{folder / name} was made by a newer version of mien: update mien.")

    @property
    def number(self) -> int:
        """As in its name."""
        return int(self.name.removeprefix("group_"))

    @property
    def people(self) -> int:
        """How many there are."""
        return len(self.frames)

    @property
    def motions(self) -> int:
        """How many there are."""
        return int(self.frames.shape[1])

    @property
    def side(self) -> int:
        """Of its pictures, pixels."""
        return int(self.frames.shape[2])

    @property
    def landmarks(self) -> NDArray[np.float32]:
        """Of everyone in every motion [p, m, 68, 2], pixels."""
        return self["landmarks"]

    @property
    def validation(self) -> bool:
        """Whether it is marked to be kept out of training."""
        if "validation" not in self.meta and self.complete:
            return bool(self.summary.get("validation", False))
        return bool(self.meta.get("validation", False))

    @property
    def complete(self) -> bool:
        """Whether it has been written to its end."""
        return is_complete(self.folder, self.name)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What is written at its end: its number, its `people`, and who was `rejected` and why."""
        path = self.folder / f"{self.name}_people.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is not whole ({error}): render the group again.") from error
        return found

    @cached_property
    def sources(self) -> Pixels:
        """The people's photographs [p, s, s, 3]."""
        sources: Pixels = np.load(self.folder / f"{self.name}_sources.npy", mmap_mode="r")
        return sources

    def __getitem__(self, key: str) -> NDArray[Any]:
        """An array of the meta file. Raises InputError where an older version left it out."""
        if key not in self.meta:
            raise InputError(f"{self.folder} was made before {key} were recorded: make it anew by mien data avatars.")
        return self.meta[key]

    def keypoints(self, person: int) -> NDArray[np.float32]:
        """Landmarks and pupils of a person in every motion.

        Args:
            person: number in the group.

        Returns:
            [m, 70, 2], pixels.

        Raises:
            InputError: where pupils are not known.
        """
        return np.concatenate([self.landmarks[person], self["pupils"][person, ..., :2]], 1)


class GroupFolder:
    """The groups in a folder that are trained on, or those that are held out; `refresh` finds later ones."""

    def __init__(self, folder: Path, hold_out: int = 0, only_held_out: bool = False, complete: bool = False) -> None:
        """Open what is there.

        Args:
            folder: of `mien data avatars`.
            hold_out: groups from this number on are held out; 0: those that are marked for validation.
            only_held_out: take the held out ones.
            complete: only groups that have been written to their end.
        """
        self.folder, self.hold_out, self.only_held_out, self.complete = folder, hold_out, only_held_out, complete
        self.groups: list[RenderedGroup] = []
        self._seen: set[str] = set()
        self.refresh()

    def refresh(self) -> int:
        """Look for new groups; returns how many there are now."""
        for name in group_names(self.folder):
            if name in self._seen:
                continue
            group = RenderedGroup(self.folder, name)
            if self.complete and not group.complete:
                continue
            self._seen.add(name)
            held_out = group.number >= self.hold_out if self.hold_out else group.validation
            if held_out == self.only_held_out:
                self.groups.append(group)
        return len(self.groups)

    def choose(self, rng: np.random.Generator) -> RenderedGroup:
        """A group, each as likely as it has people.

        Raises:
            InputError: where there is none.
        """
        if not self.groups:
            raise InputError(f"{self.folder} holds no groups of avatars to train on: make them by mien data avatars.")
        sizes = np.array([group.people for group in self.groups], np.float64)
        return self.groups[int(rng.choice(len(sizes), p=sizes / sizes.sum()))]


def group_names(folder: Path) -> Sequence[str]:
    """Names of the groups in a folder, in order."""
    return sorted(path.name.removesuffix("_meta.npz") for path in folder.glob("group_*_meta.npz"))


def is_complete(folder: Path, name: str) -> bool:
    """Whether a group has been written to its end."""
    return (folder / f"{name}_people.json").is_file()
