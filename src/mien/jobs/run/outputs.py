"""Where results go, and what their frames are put together from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mien.animation.compositing import fit
from mien.animation.driving import motion_of
from mien.errors import OutputError
from mien.jobs.options import AnimateOptions
from mien.jobs.run.record import check_record, record_path
from mien.media.files import unwritable

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".gif")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_PREVIEW_HEIGHT = 512
_LONGEST = 100  # bytes of a name of which the result's is made, so that two and what is added stay below 255


def resolve_output(options: AnimateOptions, driver_is_image: bool) -> Path:
    """The file to write.

    Args:
        options: as they were given.
        driver_is_image: whether one picture drives the portrait, and the result is one as well.

    Returns:
        The file; in a folder its name is made of the portrait's and the driving video's.

    Raises:
        OutputError: for a name whose suffix is not known, or in whose place something stands that must be kept.
    """
    try:
        output = output_file(options, driver_is_image)
        inputs = [p for p in (*options.portraits, options.driver, options.start_from, options.lora) if p is not None]
        for written in (output, record_path(output), *([preview_path(output)] if options.preview else [])):
            _check_place(written, inputs)
        check_record(record_path(output))
    except OSError as error:  # such as a name that is too long to be looked up
        raise unwritable(options.output, error) from error
    return output


def output_file(options: AnimateOptions, driver_is_image: bool) -> Path:
    """The file that `options.output` means: itself, or one inside that folder.

    Args:
        options: as they were given.
        driver_is_image: whether the result is a picture.

    Returns:
        The file; whether it may be written is not looked at.

    Raises:
        OutputError: for a name whose suffix is not known.
    """
    output = checked_place(options.output)
    if output.is_dir() or output.suffix == "":
        if output.is_file():
            raise OutputError(
                f"{output} is a file, so results cannot go into a folder of that name: choose another name, which ends"
                " in .mp4 or .png for a file"
            )
        suffix, motion = ".png" if driver_is_image else ".mp4", motion_of(options.driver)
        driver = (motion and motion[1]) or options.driver.stem
        output = output / f"{pair_name(options.portraits[0].stem, driver)}{suffix}"
    known = VIDEO_SUFFIXES + (IMAGE_SUFFIXES if driver_is_image else ())
    if output.suffix.lower() in IMAGE_SUFFIXES and not driver_is_image:
        raise OutputError(
            f"{output} cannot be written: it would be one picture, but the driving video {options.driver} moves; choose"
            f" a name that ends in one of {', '.join(known)}"
        )
    if output.suffix.lower() not in known:
        raise OutputError(f"{output} cannot be written: choose a name that ends in one of {', '.join(known)}")
    return output


def pair_name(portrait: str, driver: str) -> str:
    """The name of a result, each part cut off where the two would be too long for a disk to take as a name.

    Args:
        portrait: its stem.
        driver: the driving video's stem.

    Returns:
        PORTRAIT--DRIVER.
    """
    return f"{_cut(portrait)}--{_cut(driver)}"


def _cut(name: str) -> str:
    while len(os.fsencode(name)) > _LONGEST:
        name = name[:-1]
    return name


def checked_place(output: Path) -> Path:
    """Refuse -, by which other programs mean their standard output.

    Args:
        output: as it was given.

    Returns:
        The same path.

    Raises:
        OutputError: for -.
    """
    if str(output) == "-":
        raise OutputError("-o - would write to standard output, which is for the result's name: name a file or folder")
    return output


def _check_place(written: Path, inputs: list[Path]) -> None:
    if any(_same(written, path) for path in inputs):
        raise OutputError(f"{written} is one of the inputs: choose another name for the output")
    in_the_way = next((folder for folder in written.parents if folder.is_file()), None)
    if in_the_way is not None:
        raise OutputError(f"{written} cannot be written: {in_the_way} is a file and no folder; choose another folder")
    if written.is_dir():
        raise OutputError(f"{written} is a folder: choose another name for the output")
    # A read-only file could be replaced nevertheless, which nobody expects.
    if written.exists() and not written.stat().st_mode & 0o222:
        raise OutputError(f"{written} exists and is read-only: choose another name for the output")


def preview_path(output: Path) -> Path:
    """Where the preview of a result stands.

    Args:
        output: OUT.mp4.

    Returns:
        OUT.preview.mp4.
    """
    return output.with_name(f"{output.stem}.preview{output.suffix}")


def preview_frame(driver: np.ndarray, portrait: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Driving frame, portrait and result side by side, all of one height.

    Args:
        driver: uint8 [h, w, 3].
        portrait: the same.
        result: the same.

    Returns:
        uint8 [h, w, 3].
    """
    height = min(result.shape[0], _PREVIEW_HEIGHT) // 2 * 2
    panels = []
    for picture in (driver, portrait, result):
        width = max(2, round(picture.shape[1] * height / picture.shape[0] / 2) * 2)
        panels.append(fit(picture, width, height))
    return np.concatenate(panels, axis=1)


def _same(written: Path, given: Path) -> bool:
    if written.exists() and given.exists():
        return written.samefile(given)
    return written.absolute() == given.absolute()
