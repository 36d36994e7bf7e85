"""Which videos a folder of a dataset holds, whatever its layout: files, files in folders, folders of frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mien.errors import InputError
from mien.media.kind import kind_of

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")  # not opened: a dataset has millions
_PASSED_OVER = (".", "_")  # hidden things, and the raw downloads that scripts keep as _videos_raw


def find_videos(place: Path, out: Path) -> dict[str, Path]:
    """Videos by the names of their clips: of a file, or of a folder and the folders in it, in order of their names.

    A folder without videos that holds two pictures or more is one video, frame by frame. What begins with a dot or an
    underscore is passed over. A video of the folder itself is called by its stem; one further down has the names of its
    folders before it, RD--talk for RD/talk.mp4.

    Args:
        place: the file or the folder.
        out: where clips are written; what lies in it is passed over.

    Returns:
        Paths by name.

    Raises:
        InputError: there is none, or two are called the same.
        OSError: the folder cannot be read.
    """
    if place.is_file():
        return {place.stem: place}
    found: dict[str, Path] = {}
    for path in _videos_below(place, out.resolve()) if place.is_dir() else ():
        parts = path.relative_to(place).parts
        name = "--".join((*parts[:-1], path.name if path.is_dir() else path.stem)) if parts else place.resolve().name
        if name in found:
            raise InputError(f"two videos of {place} are called {name}: give them different names")
        found[name] = path
    if not found:
        raise InputError(f"{place} holds no video: give a video or a folder of videos")
    return found


def _videos_below(place: Path, out: Path) -> Iterator[Path]:
    seen = set()
    for root, folders, names in os.walk(place, followlinks=True, onerror=_raise):
        here = Path(root).resolve()
        folders[:] = sorted(name for name in folders if not name.startswith(_PASSED_OVER))
        if here in seen or here == out:  # a link back upwards, or our own clips
            folders.clear()
            continue
        seen.add(here)
        files = [Path(root) / name for name in sorted(names) if not name.startswith(_PASSED_OVER)]
        pictures = [file for file in files if file.suffix.lower() in _PICTURES]
        videos = [file for file in files if file not in set(pictures) and kind_of(file) in ("video", "animation")]
        if videos:
            yield from videos
        elif len(pictures) > 1:
            yield Path(root)


def _raise(error: OSError) -> None:
    raise error
