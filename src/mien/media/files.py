"""Files seen from outside: what a path is, and outputs that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from mien.errors import InputError, OutputError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})

_BLOCK = 1 << 20  # bytes read at once
_LONGEST_SHOWN = 60  # characters of a name that is too long
# As pathlib gives it: of two slashes one is left. Not a single letter, which is a disk of Windows.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")

_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space or choose another disk",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another disk",
    errno.EFBIG: "the file would be larger than the file system allows; choose another disk",
    errno.EACCES: "there is no permission to write in its folder; choose another folder",
    errno.EPERM: "there is no permission to write in its folder; choose another folder",
    errno.EROFS: "its folder is on a read-only disk; choose another folder",
    errno.ENOENT: "its folder does not exist and cannot be made; choose another folder",
    errno.ENOTDIR: "a file is in the place of its folder; choose another folder",
    errno.EEXIST: "a file is in the place of its folder; choose another folder",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}


def readable_file(path: Path, what: str = "file") -> Path:
    """The path itself, if it is a file with content that may be read.

    Args:
        path: of the file.
        what: it should be, for the message.

    Raises:
        InputError: otherwise.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give {_a(what)} instead.")
        if not path.exists():
            raise missing(path, what)
        if not path.is_file():
            raise InputError(f"{path} is a device or a pipe; give {_a(what)} instead.")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy or download it again.")
        with path.open("rb"):
            pass
    except OSError as error:
        raise unreadable(path, error) from error
    return path


def _a(what: str) -> str:
    return f"{'an' if what[:1] in 'aeiou' else 'a'} {what}"


def missing(path: Path, what: str) -> InputError:
    """The error that says why there is no such file, and what to give instead.

    Args:
        path: of the file.
        what: it should be, such as "video or image".
    """
    address = _ADDRESS.match(str(path))
    if address:
        rest = str(path)[address.end() :]
        if address[1].lower() == "file":
            return InputError(f"file:///{rest} is an address, which is not read; give the path /{rest} instead.")
        shown = f"{address[1]}://{rest}"
        return InputError(f"{shown} is an address, and nothing is fetched from the net; download it and give the file.")
    if str(path) == "-":
        return InputError(f"- would be what another program writes, which is not read; give {_a(what)} instead.")
    return InputError(f"{path} does not exist; check the spelling of the path.")


def readable_name(name: object) -> str:
    r"""A name as text that any file and any program takes: bytes that are not UTF-8 become ``\xfc`` and the like.

    Disks take any bytes as a name; Python holds those that are not UTF-8 as lone surrogates, which cannot be written.
    """
    text = str(name)
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """A path to the same file for libraries that take UTF-8 names only, such as safetensors, while the block runs.

    Raises:
        OSError: if the file cannot be opened.
    """
    if readable_name(path) == str(path) or os.name == "nt":
        yield path
        return
    with path.open("rb") as file:
        yield Path(f"/dev/fd/{file.fileno()}")


def json_bytes(content: Any, indent: int) -> bytes:
    """JSON as UTF-8. Names that are not UTF-8 are escaped, and come back as they were when the file is loaded.

    Args:
        content: what `json` takes.
        indent: spaces a level.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # of a lone surrogate: \udcfc, as JSON writes it


def unreadable(path: Path, error: OSError) -> InputError:
    """The InputError that says why the system does not let `path` be read."""
    if isinstance(error, PermissionError):
        return InputError(f"{path} cannot be read: there is no permission; change the rights of the file or folder.")
    if error.errno == errno.ENAMETOOLONG:
        return InputError(f"{_short(path)} cannot be read: its name is too long to be a file's; check the path.")
    return InputError(f"{path} cannot be read: {error.strerror or error}; check the path and the disk.")


def unwritable(path: Path, error: BaseException) -> OutputError:
    """The error that says why a file could not be written.

    Args:
        path: of the file.
        error: an OSError or an error of PyAV.
    """
    number = getattr(error, "errno", None)
    cause = _CAUSES.get(number) if isinstance(number, int) else None
    if cause is None:
        cause = f"{getattr(error, 'strerror', None) or error}; choose another place or format"
    name = _short(path) if number == errno.ENAMETOOLONG else path
    return OutputError(f"{name} cannot be written: {cause}.")


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def temporary_beside(path: Path) -> Path:
    """Make an empty file with a fresh hidden name beside another, with the same suffix; the folder is made if missing.

    Writing fails here, before any work is done, where it would fail later.

    Raises:
        OutputError: if it cannot be made.
    """
    try:
        if path.is_dir():
            raise OutputError(f"{path} cannot be written: {_CAUSES[errno.EISDIR]}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.stem[:32]}.{uuid.uuid4().hex[:12]}.part{path.suffix.lower()}"
        # Opened plainly rather than through tempfile, so that the finished file has the rights the user's umask gives.
        with temporary.open("xb"):
            pass
    except OSError as error:
        raise unwritable(path, error) from error
    return temporary


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file's content; None if it is no file that can be read."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        state = path.stat()
        return _digest_of(path.resolve(), state.st_size, state.st_mtime_ns)
    except (OSError, RuntimeError):
        return None


@lru_cache(maxsize=4096)
def _digest_of(path: Path, size: int, changed: int) -> str:
    """size, changed: of the file, so that what is remembered is of this content."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()


def remove_quietly(path: Path) -> None:
    """Remove a temporary file; that it is gone already, or cannot go, must not hide the error that led here."""
    with suppress(OSError):
        path.unlink()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` when the block ends well and vanishes when it does not."""
    temporary = temporary_beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        remove_quietly(temporary)
        raise unwritable(path, error) from error
    except BaseException:
        remove_quietly(temporary)
        raise
