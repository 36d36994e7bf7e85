"""What a page lets people ask for."""

from __future__ import annotations

from pathlib import Path

from mien.animation.expression_list import load_list
from mien.errors import InputError
from mien.media import open_clip
from mien.web.options import ServeOptions


def check_size(path: Path, options: ServeOptions) -> None:
    """Raise InputError for a file that is larger than the web UI takes."""
    size = path.stat().st_size
    if size > options.file_mb * 10**6:
        raise InputError(f"{path.name} has {size / 1e6:.0f} MB, but files may have {options.file_mb} MB here")


def check_driver(path: Path, options: ServeOptions, start: float | None = None, end: float | None = None) -> None:
    """Raise InputError for a driving video that cannot be read, or is longer than the web UI allows."""
    check_size(path, options)
    clip = open_clip(path)
    seconds = float(clip.info.duration if clip.info.duration is not None else clip.count() / clip.info.rate)
    played = max(0.0, min(seconds, seconds if end is None else end) - (start or 0.0))
    if played > options.clip_seconds + 0.5:
        raise InputError(
            f"{path.name} lasts {played:.0f} seconds, but {options.clip_seconds} are allowed here: set start and end to"
            " play a part of it"
        )


def check_list(path: Path, options: ServeOptions) -> None:
    """Raise InputError for a list of expressions that cannot be read, is too long, or names files of the server."""
    listed = load_list(path)
    last = listed.moments[-1].at
    if last > options.clip_seconds:
        raise InputError(
            f"{path.name} lasts {last:g} seconds, but {options.clip_seconds} are allowed here: leave later moments out"
        )
    if any(moment.picture is not None for moment in listed.moments):
        raise InputError(f"{path.name} names a picture, which is not here: give its scores, or use mien animate")
