"""What was asked for, as a digest: by it a finished result, or one that was begun, is known again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from mien.animation.driving import motion_of
from mien.errors import InputError
from mien.jobs.options import AnimateOptions
from mien.jobs.run.record import package_versions, record_path
from mien.media.files import file_digest
from mien.version import __version__

# where it goes, what lies beside it, and where weights wait meanwhile
_NOT_ASKED = frozenset({"output", "preview", "dry_run", "offload"})


def request_digest(options: AnimateOptions) -> str:
    """A digest of the options as they were given, the content of every input, and this program's version.

    It is the same for the same request wherever files lie. An input that cannot be read counts as missing: the run will
    say so.

    Args:
        options: as they were given.

    Returns:
        SHA-256, hexadecimal.
    """
    asked: dict[str, Any] = {"system": type(options).__name__, "mien": __version__, "packages": package_versions()}
    for field in fields(options):
        if field.name not in _NOT_ASKED:
            asked[field.name] = _content(getattr(options, field.name))
    if options.expressions is not None:
        asked["listed"] = [_content(path) for path in _listed_pictures(options.expressions)]
    asked["model"] = _model_content(options.model)
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def is_finished(options: AnimateOptions, request: str) -> bool:
    """Whether a result is there and whole, as its record says.

    Args:
        options: whose `output` is a file.
        request: the digest of what was asked for.

    Returns:
        True if nothing is to be done.
    """
    try:
        record = json.loads(record_path(options.output).read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("request") != request:
            return False
        preview = record.get("preview")
        if options.preview and (preview is None or not Path(preview).is_file()):
            return False
        return record.get("content") == file_digest(options.output)
    except (OSError, ValueError, RecursionError):
        return False


def _listed_pictures(path: Path) -> list[Path]:
    """The pictures that a list of expressions names; none where it cannot be read: the run will say so."""
    from mien.animation.expression_list import load_list

    try:
        return [moment.picture for moment in load_list(path).moments if moment.picture is not None]
    except InputError:
        return []


def _content(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_content(item) for item in value]
    if not isinstance(value, Path):
        return value
    motion = motion_of(value)
    if motion is not None:
        return [file_digest(motion[0]), motion[1]]
    try:
        if value.is_dir():
            return sorted([path.name, file_digest(path)] for path in value.iterdir() if path.is_file())
    except OSError:
        return None
    return file_digest(value)


def _model_content(name: str) -> Any:
    """A model by its name, and a folder by its files' sizes and times too: reading gigabytes would take too long."""
    try:
        folder = Path(name)
        if not folder.is_dir():
            return name
        found = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
        return [[str(path.relative_to(folder)), state.st_size, state.st_mtime_ns] for path, state in found]
    except OSError:
        return name
