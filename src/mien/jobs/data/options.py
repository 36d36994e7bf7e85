"""The options of `mien data ...`, each declared once; light, so that the command's help waits for nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from mien.jobs.options import AnimateOptions
from mien.options import REQUIRED, Checked, again, checked_rate, declared, parse_rate


def _head() -> Any:
    return declared(None, "The head model's pack; else the installed one.", flags=("--head-model",))


def _reader() -> Any:
    return again(AnimateOptions, "reader", group="")


def _workers(default: int) -> Any:
    return declared(default, "Processes; 0: one for each core.", least=0)


def _motions() -> Any:
    return declared(None, "A library made by `mien data motion`.")


@dataclass(frozen=True)
class CastOptions(Checked):
    """Of `mien data avatar`.

    A folder with an index.json (docs/train.md) gives only what that allows to be trained on, and says itself which
    pictures are marked.
    """

    photos: Path = declared(REQUIRED, "A photograph or a painting of one face, or a folder of them.", argument=True)
    out: Path = declared(REQUIRED, "The folder for the avatars.", argument=True)
    head: Path | None = _head()
    mark: bool = declared(False, "Paint over artflow.ai's mark.", flags=("--artflow-mark",))
    limit: int | None = declared(None, "Take so many pictures at most.", least=1)
    workers: int = _workers(1)


@dataclass(frozen=True)
class TrackOptions(Checked):
    """Of `mien data motion`."""

    clips: Path = declared(REQUIRED, "A video of one face, or a folder of them.", argument=True)
    output: Path = declared(REQUIRED, "The motion library, .safetensors.", flags=("-o", "--output"))
    head: Path | None = _head()
    reader: str = _reader()
    limit: int | None = declared(None, "Read so many frames of a clip at most.", least=1)


@dataclass(frozen=True)
class PackOptions(Checked):
    """Of `mien data pack`."""

    cast: Path = declared(REQUIRED, "A folder of avatars.", argument=True)
    output: Path = declared(REQUIRED, "The file to write, .safetensors.", flags=("-o", "--output"))
    motions: Path | None = declared(None, "A motion library to put in.")
    head: Path | None = _head()
    side: int = declared(256, "Pixels a side of the photographs.", least=64, most=512)
    held_out: tuple[str, ...] = declared(
        (), "Somebody of the cast who must not be trained on, left out. Repeat it for more.", flags=("--hold-out",)
    )


@dataclass(frozen=True)
class DriverOptions(Checked):
    """Of `mien data driver`: a track of a motion library, or "expressions" or "talking", on a random person.

    Attributes:
        widest: degrees of yaw, where the motion is made up.
        size: of the video, pixels a side.
    """

    track: str = declared(REQUIRED, "A track of the library; without one: expressions or talking.", argument=True)
    output: Path = declared(REQUIRED, "The video to write.", flags=("-o", "--output"))
    motions: Path | None = _motions()
    head: Path | None = _head()
    seconds: float = declared(4.0, "Length of made-up talking.", least=0.1)
    person: int = declared(7018, "Which random person performs it.")
    seed: int = declared(0, "Of made-up talking.")
    widest: float = 45.0
    size: int = 256


@dataclass(frozen=True)
class GroupOptions(Checked):
    """Of `mien data avatars`. People are those of the cast first, random ones after.

    Attributes:
        random_share: of random people, at least, where there is a cast.
        distinct: see `random_distinct_expression`.
        held_out: people of the cast who are in validation groups, if anywhere.
    """

    out: Path = declared(REQUIRED, "The folder for the dataset.", flags=("--out",))
    people: int = declared(REQUIRED, "How many people.", least=1, flags=("--people",))
    cast: Path | None = declared(None, "Avatars made by `mien data avatar`; else random people.")
    motions: Path | None = _motions()
    head: Path | None = _head()
    per_group: int = declared(25, "People who share their motions.", least=1)
    validation_groups: int = declared(1, "Groups kept out of training.", least=0)
    random_share: float = 0.12
    styled: float = declared(0.0, "Share of random people drawn, painted or carved.", least=0, most=1)
    seed: int = declared(20240607, "The same seed makes the same dataset.")
    workers: int = _workers(0)
    paired: bool = declared(False, "Repeat some expressions, and some poses.")
    distinct: float = declared(
        0.0, "Share of motions with winks, averted eyes, one brow, teeth, tongue ...", least=0, most=1
    )
    side: int = declared(256, "Side of the pictures, pixels.", least=64, most=1024)
    held_out: tuple[str, ...] = declared(
        (), "Somebody of the cast who must not be trained on. Repeat it for more.", flags=("--hold-out",)
    )


@dataclass(frozen=True)
class PrepareOptions(Checked):
    """Of `mien data prepare`: what a clip must be.

    Attributes:
        frames: least and most of a clip.
        face: least height of the face in the video, pixels.
        overlap: least of a face's box with the clip's first one, else the clip ends.
        cut: difference of successive frames, 0 to 255, that is a cut.
        sharp: least variance of the Laplacian.
        still: least movement of the landmarks, parts of the face's height.
        background: most change outside the person, 0 to 255.
        seen: least share of frames in which the face was read.
        leave_out: names of videos; nor are those prepared of which index.json says `train_ok: false`.
    """

    videos: Path = declared(
        REQUIRED, "A video, or a folder of videos or of folders of frames, of people who talk.", argument=True
    )
    out: Path = declared(REQUIRED, "The folder for the clips.", argument=True)
    side: int = declared(512, "Pixels a side of the clips.", least=64, most=1024)
    scale: float = declared(2.2, "Side of the square, in extents of the face.", least=1.2)
    fps: Fraction | None = declared(
        None, "Rate of folders of frames, such as 25 or 30000/1001.  [default: 25]", parse=parse_rate
    )
    reader: str = _reader()
    leave_out: tuple[str, ...] = declared(
        (), "A video, by its name without suffix, that is not prepared. Repeat it for more."
    )
    workers: int = _workers(0)
    frames: tuple[int, int] = (24, 250)
    face: float = 96.0
    overlap: float = 0.45
    cut: float = 40.0
    sharp: float = 12.0
    still: float = 0.004
    background: float = 28.0
    seen: float = 0.8
    ray: bool = declared(False, "Run on a Ray cluster: $RAY_ADDRESS, or one of --workers processes here.")
    ray_address: str | None = declared(None, "The Ray cluster to run on, such as auto or HOST:6379.")

    @property
    def cluster(self) -> str | None:
        """The Ray cluster to run on, see `spread`."""
        from mien.jobs.run.workers import LOCAL_RAY

        if self.ray and self.ray_address is None:
            return os.environ.get("RAY_ADDRESS", LOCAL_RAY)
        return self.ray_address

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fps is not None:
            checked_rate(self.fps)


@dataclass(frozen=True)
class ReportOptions(Checked):
    """Of `mien data look`: those measured are drawn by a fixed seed; without a head model there are none."""

    folder: Path = declared(REQUIRED, "A dataset of `mien data avatars`, or a folder of avatars.", argument=True)
    output: Path | None = declared(None, "Where to; else FOLDER/look.", flags=("-o", "--output"))
    responses: int = declared(40, "Avatars that are rendered and read again; 0: none.", least=0)
    head: Path | None = _head()
