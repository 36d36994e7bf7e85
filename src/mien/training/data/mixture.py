"""Where X-Portrait's rows come from: folders of avatars, packed casts, prepared videos, or a mix of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.errors import InputError
from mien.training.data.avatar_groups import AvatarClips
from mien.training.data.types import PairData, Take, Wish
from mien.training.engine.config import TrainOptions


class Mixture:
    """Rows from several places, each with its share of the draws."""

    def __init__(self, places: Sequence[tuple[PairData, float]]) -> None:
        self.places = list(places)

    def at_step(self, step: int) -> None:
        """See `PairData`."""
        for data, _ in self.places:
            data.at_step(step)

    def refresh(self) -> int:
        """See `PairData`."""
        return sum(data.refresh() for data, _ in self.places)

    def take(self, rng: np.random.Generator, wish: Wish) -> Take:
        """See `PairData`."""
        chosen = int(rng.choice(len(self.places), p=[share for _, share in self.places]))
        return self.places[chosen][0].take(rng, wish)


def open_pairs(options: TrainOptions) -> PairData:
    """The data of `--data`. Raises InputError where a place holds nothing that can be trained on."""
    places = [(_open(path, options), share) for path, share in options.sources()]
    return places[0][0] if len(places) == 1 else Mixture(places)


def _open(path: Path, options: TrainOptions) -> PairData:
    if path.is_file():
        from mien.training.data.rendered_clips import OnlineClips

        online = OnlineClips(path, seed=options.seed)
        _ = online.cast  # says at once what is wrong with the file
        return online
    if any(path.glob("group_*_meta.npz")):
        clips = AvatarClips(path, options.hold_out)
        if not clips.groups:
            raise InputError(f"{path}: all groups are held out of the training; give --hold-out a larger number.")
        return clips
    if any(path.glob("*_[0-9][0-9][0-9].npz")):
        from mien.training.data.video_clips import VideoClips

        return VideoClips(path)
    raise InputError(
        f"{path} holds nothing to train on: give a folder of `mien data avatars` or `mien data prepare`, "
        "or a file of `mien data pack`."
    )
