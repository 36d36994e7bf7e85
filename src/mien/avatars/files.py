"""Files of tensors that `mien data` writes: avatars, motion libraries and packed casts, each of a format of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mien.errors import InputError
from mien.media.files import utf8_path, whole_file


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Path:
    """Write a file, whole or not at all. metadata: with its "format". Returns the path."""
    with whole_file(path) as temporary:
        temporary.write_bytes(save(dict(tensors), dict(metadata)))
    return path


@contextmanager
def open_tensors(path: Path, file_format: str, what: str, command: str) -> Iterator[tuple[Any, dict[str, str]]]:
    """A file's open tensors and its metadata.

    Args:
        path: the file.
        file_format: what its metadata must say as "format".
        what: what it is, for messages.
        command: what makes one, for messages.

    Raises:
        InputError: it is missing, damaged or something else, or what the block looks for is not in it.
    """
    if not path.is_file():
        raise InputError(f"the {what} {path} does not exist: make one with `{command}`")
    try:
        with utf8_path(path) as found, safe_open(found, "np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != file_format:
                raise InputError(f"{path} is no {what}: make one with `{command}`")
            yield file, metadata
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"the {what} {path} cannot be read ({error}): make it anew") from error
