"""An output that one run at a time may write, and a hidden folder beside it for what that run keeps meanwhile."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mien.errors import MienError, OutputError
from mien.media.files import remove_quietly, unwritable

_LOCK = "lock"


@contextmanager
def output_lock(output: Path) -> Iterator[Path]:
    """Give this run's hidden folder for an output; nobody else has it meanwhile.

    The folder is what killed runs left, or fresh; it vanishes when the block ends well, when the user interrupts it,
    and where the user has to fix an input. It stays where the disk or the program failed, for the next run to go on.

    Args:
        output: an absolute or relative file.

    Yields:
        The folder.

    Raises:
        OutputError: if another run is writing the same file, or if nothing can be written there.
    """
    folder = _folder_of(output)
    try:
        if output.is_dir():
            raise IsADirectoryError(21, "a folder is in the way")
        handle = _locked(folder, output)
    except OSError as error:
        raise unwritable(output, error) from error
    keep = False
    try:
        _remove_unfinished(output)
        yield folder
    except OutputError:
        keep = True
        raise
    except MienError:
        raise
    except Exception:
        keep = True
        raise
    finally:
        if not keep or not _holds_work(folder):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def tidy(output: Path) -> None:
    """Remove what a run left that was killed after its output was finished, unless another run is at it.

    Args:
        output: the finished file.
    """
    if _folder_of(output).is_dir():
        with suppress(OutputError), output_lock(output):
            pass


def _folder_of(output: Path) -> Path:
    """Beside the output, hidden, with a name that is short and its own."""
    name = hashlib.sha256(output.name.encode(errors="surrogateescape")).hexdigest()[:12]
    return output.parent / f".{output.stem[:32]}.{name}.work"


def _holds_work(folder: Path) -> bool:
    return any(path.is_dir() for path in folder.iterdir()) if folder.is_dir() else False


def _locked(folder: Path, output: Path) -> int:
    """An open handle on the folder's lock, which the system gives back however this run ends."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the run that had it has just ended
            continue
        try:
            if not _lock(handle):
                raise OutputError(f"{output} is being written by another run: wait for it, or choose another name")
            if _is_still(handle, folder / _LOCK):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int) -> bool:
    """False if another process holds it; True too where the file system has no locks, for whole files stay whole."""
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _lock_on_windows(handle: int) -> bool:
    import msvcrt

    windows: Any = msvcrt
    try:
        windows.locking(handle, windows.LK_NBLCK, 1)
    except OSError:
        return False
    return True


def _is_still(handle: int, path: Path) -> bool:
    """Whether the file that was locked has not been removed meanwhile by the run that had it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _remove_unfinished(output: Path) -> None:
    """Remove what killed runs left of this output, its preview and its record: names of `temporary_beside`."""
    names = [output.name, f"{output.stem}.preview{output.suffix}", f"{output.stem}.json"]
    for name in names:
        stem, suffix = Path(name).stem, Path(name).suffix.lower()
        if len(stem) > 32:  # cut off in the temporary name, so it could be another output's
            continue
        unfinished = re.compile(rf"\.{re.escape(stem)}\.[0-9a-f]{{12}}\.part{re.escape(suffix)}")
        with suppress(OSError):
            for path in output.parent.iterdir():
                if unfinished.fullmatch(path.name):
                    remove_quietly(path)
