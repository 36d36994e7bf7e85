"""The one folder of a running web UI: uploads and results lie in it, nothing else is read, and it goes with it."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mien.errors import InputError, OutputError
from mien.jobs.demo import FOLDER
from mien.media.files import readable_name, unwritable


class Workspace:
    """Made when it is built, removed by `close`. root: the folder, for this user's eyes alone."""

    def __init__(self, parent: Path | None = None, keep_minutes: float = 60) -> None:
        """Raises OutputError if the folder cannot be made, or if browsers cannot be told its name."""
        if parent is not None and readable_name(parent.absolute()) != str(parent.absolute()):
            raise OutputError(
                f"{parent} has a name that is not UTF-8, which browsers do not take: choose another folder"
            )
        try:
            self.root = Path(tempfile.mkdtemp(prefix="mien-serve-", dir=parent)).resolve()
        except OSError as error:
            raise unwritable(parent or Path(tempfile.gettempdir()), error) from error
        self._keep = keep_minutes * 60

    def own(self, path: str | Path) -> Path:
        """The path, if it is a file below the root or one of the demo's; else InputError."""
        gone = InputError(f"{Path(path).name} is not there any more: upload it again")
        try:
            place = Path(path).resolve()
            found = place.is_file()
        except (OSError, RuntimeError, ValueError):  # links in a circle, names that no disk takes
            raise gone from None
        if not found or not any(place.is_relative_to(folder) for folder in (self.root, FOLDER)):
            raise gone
        return place

    def result_folder(self) -> Path:
        """A fresh folder for the results of one job."""
        folder = self.root / "results" / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise unwritable(folder, error) from error
        return folder

    def without_paths(self, text: str) -> str:
        """A sentence that names files by their names alone: where they lie is nobody's business."""
        for folder in (self.root, FOLDER):
            text = re.sub(rf"{re.escape(str(folder))}/(?:[^\s/]+/)*", "", text)
        return text

    def sweep(self, in_use: Iterable[Path] = ()) -> int:
        """Delete files that nobody has touched for the time that files are kept; returns how many."""
        kept, oldest, removed = {path.resolve() for path in in_use}, time.time() - self._keep, 0
        for path in sorted(self.root.rglob("*"), reverse=True):  # what lies in a folder before the folder
            with suppress(OSError):  # gone meanwhile, or not empty
                if path.is_dir():
                    if path.stat().st_mtime < oldest:
                        path.rmdir()
                elif path not in kept and path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
        return removed

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)
