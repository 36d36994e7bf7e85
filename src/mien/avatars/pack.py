"""One file to train from: the head model, the people of a cast and a motion library, small enough to send around."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.avatars.cast import Member, load_member, member_from, member_tensors
from mien.avatars.files import open_tensors, write_tensors
from mien.avatars.head_model import HeadModel, assemble, pack_arrays
from mien.avatars.motion import Track

FORMAT = "mien cast 1"
_IDENTITIES = 60  # what fits and random people use
_PARTS = ("angles", "place", "expression", "seen")


@dataclass(frozen=True, eq=False)
class PackedCast:
    """What people who are rendered while training need, and nothing else."""

    model: HeadModel
    people: tuple[Member, ...]
    tracks: tuple[Track, ...]


def write_pack(
    path: Path, head: Path | None, files: Sequence[Path], tracks: Sequence[Track], side: int = 256, quality: int = 88
) -> Path:
    """Write a head model, avatars and tracks to one file.

    Args:
        path: of the file.
        head: a head model's pack, None: the installed one.
        files: of avatars.
        tracks: motions.
        side: of the photos, pixels.
        quality: of the photos' JPEG, to 100.

    Returns:
        The path.

    Raises:
        InputError: if anything cannot be read.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for name, array in pack_arrays(head).items():
        kept = array[:_IDENTITIES] if name == "identity_deltas" else array
        if kept.dtype.kind != "U":  # names go to the metadata
            tensors[f"head.{name}"] = np.ascontiguousarray(kept)
        else:
            shapes = [str(word) for word in kept]
    details = {}
    for file in files:
        member = load_member(file)
        details[member.id] = dict(member.details)
        for name, array in member_tensors(member, side, quality).items():
            tensors[f"people.{member.id}.{name}"] = np.ascontiguousarray(array)
    for track in tracks:
        for part in _PARTS:
            tensors[f"motion.{track.name}.{part}"] = np.ascontiguousarray(getattr(track, part))
    metadata = {
        "format": FORMAT,
        "shapes": json.dumps(shapes),
        "people": json.dumps(details),
        "rates": json.dumps({track.name: track.rate for track in tracks}),
    }
    return write_tensors(path, tensors, metadata)


def load_pack(path: Path) -> PackedCast:
    """Read a packed cast.

    Raises:
        InputError: if it is missing, damaged or something else.
    """
    with open_tensors(path, FORMAT, "packed cast", "mien data pack") as (file, metadata):
        grouped: dict[str, dict[str, NDArray[Any]]] = {}
        for key in file.keys():  # noqa: SIM118
            owner, _, name = key.rpartition(".")
            grouped.setdefault(owner, {})[name] = file.get_tensor(key)
        model = assemble({**grouped["head"], "expression_names": np.array(json.loads(metadata["shapes"]))})
        people = json.loads(metadata["people"])
        members = tuple(member_from(name, grouped[f"people.{name}"], people[name]) for name in sorted(people))
        rates = json.loads(metadata["rates"])
        tracks = [Track(n, rate, *(grouped[f"motion.{n}"][p] for p in _PARTS)) for n, rate in sorted(rates.items())]
    return PackedCast(model, members, tuple(tracks))
