"""The record of a run: a JSON file beside the output, from which the run can be repeated."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import OutputError
from mien.media import ClipInfo
from mien.media.files import file_digest, json_bytes, whole_file
from mien.version import __version__

if TYPE_CHECKING:
    from mien.jobs.report import AnimateReport

PACKAGES = ("torch", "diffusers", "numpy", "av", "opencv-python-headless")


def record_path(output: Path) -> Path:
    """Where the record of a result stands.

    Args:
        output: OUT.mp4.

    Returns:
        OUT.json.
    """
    return output.with_suffix(".json")


def check_record(path: Path) -> None:
    """Refuse to overwrite what is no record of ours.

    Args:
        path: where the record would go.

    Raises:
        OutputError: if another JSON file is in the way.
    """
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict) or "mien" not in content:
        raise OutputError(f"{path} is in the way of the record of this run and is not one: choose another output name")


def write_record(report: AnimateReport, driver: ClipInfo, request: str | None = None) -> Path:
    """Write what was done. Times are given as parts of the whole, which other machines share.

    Args:
        report: of the run.
        driver: the driving video's.
        request: the digest of what was asked for (`request_digest`), by which a run that is repeated knows its result
            again.

    Returns:
        The record's path.
    """
    path = record_path(report.output)
    content = {
        "mien": __version__,
        "python": platform.python_version(),
        "packages": package_versions(),
        "options": {name: _plain(value) for name, value in asdict(report.options).items()},
        "output": str(report.output),
        "preview": _plain(report.preview),
        "frames": report.frames,
        "rate": str(driver.rate),
        "variable_rate": driver.variable_rate,
        "audio": driver.has_audio and report.output.suffix.lower() != ".gif",
        "size": list(report.size),
        "faces": None if report.faces is None else asdict(report.faces),
        "best_frame": report.best_frame,
        "time_shares": {name: round(share, 4) for name, share in (report.stage_time_fractions or {}).items()},
        "warnings": list(report.warnings),
        "request": request,
        "content": file_digest(report.output),
    }
    with whole_file(path) as temporary:
        temporary.write_bytes(json_bytes(content, indent=2))
    return path


def package_versions(names: Iterable[str] = PACKAGES) -> dict[str, str | None]:
    """Versions of packages.

    Args:
        names: by default of those that shape a result.

    Returns:
        None for those that are not installed.
    """
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _plain(value: object) -> Any:
    if isinstance(value, (Path, Fraction)):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
