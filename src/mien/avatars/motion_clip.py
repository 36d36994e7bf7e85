"""A track of a motion library as a clip: somebody neutral performs it, rendered frame by frame as frames are asked for.

A track drives whatever takes a video, without anybody's picture: its performer is the head model's mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from mien.avatars.head_model import HeadModel
from mien.avatars.motion import Track, load_tracks
from mien.avatars.people import PersonTraits, RandomPerson
from mien.avatars.skin import FaceTraits
from mien.errors import InputError
from mien.media import Clip, ClipInfo

_SIDE = 512
_FINEST = 1001  # denominators of the rates that videos have
_FACE = FaceTraits(
    skin=(214.0, 172.0, 146.0),
    hair=(60.0, 42.0, 32.0),
    lips=(178.0, 108.0, 98.0),
    flush=1.0,
    eye_shade=0.3,
    make_up=0.8,
    brow=9.0,
    beard=0.0,
    age=0.1,
)
_TRAITS = PersonTraits(
    face=_FACE,
    iris=(92.0, 62.0, 38.0),
    iris_radius=22.0,
    pupil=0.4,
    hair_style=0,
    hair_volume=0.8,
    hair_line=9.8,
    hat=None,
    glasses=None,
    clothes=(90.0, 100.0, 115.0),
    depth=80.0,
    low=0.9,
)


def neutral_person(model: HeadModel) -> RandomPerson:
    """The mean head in plain skin, before a plain grey wall: nobody."""
    return RandomPerson(model, 0, spread=0.0, traits=_TRAITS, background=np.full((_SIDE, _SIDE, 3), 150, np.uint8))


class MotionClip(Clip):
    """A track, rendered: see `Clip`. side: of the square pictures, pixels; the same in every iteration."""

    def __init__(self, path: Path, track: Track, model: HeadModel, side: int = _SIDE) -> None:
        rate = Fraction(track.rate).limit_denominator(_FINEST)
        info = ClipInfo(path, "video", side, side, rate, frames=len(track), duration=len(track) / rate)
        super().__init__(info)
        self._track, self._person = track, neutral_person(model)

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        """See `Clip.timed`."""
        for moment in range(len(self._track)):
            motion = self._track.motion(moment)
            view = self._person.render(self._track.expression[moment], motion, self.info.width, supersample=1)
            yield view.image, moment / self.info.rate

    def count(self) -> int:
        """See `Clip.count`."""
        return len(self._track)


def choose_track(library: Path, name: str | None) -> Track:
    """A track of a library.

    Args:
        library: the file.
        name: of the track; None: its only one.

    Raises:
        InputError: if there is none, or if it is unclear which.
    """
    tracks = {track.name: track for track in load_tracks(library)}
    known = ", ".join(sorted(tracks))
    if name is None:
        if len(tracks) != 1:
            raise InputError(f"{library} holds {len(tracks)} tracks: name one as {library}#TRACK, of {known}")
        return next(iter(tracks.values()))
    if name not in tracks:
        raise InputError(f"{library} has no track {name}: it holds {known}")
    return tracks[name]
