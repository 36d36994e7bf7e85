"""Which of the two systems a command line means: X-Portrait, or DeX-Portrait with pose and expression apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.jobs.animate import animate
from mien.jobs.dex import DexOptions, animate_dex, dex_options
from mien.jobs.options import AnimateOptions
from mien.jobs.report import AnimateReport
from mien.jobs.run.progress import Progress

SYSTEMS = ("x", "dex")
# what DeX-Portrait alone knows
DEX_DEFAULTS: dict[str, Any] = {
    "pose_from": None,
    "expression_from": None,
    "pose_only": False,
    "expression_only": False,
    "pose_gain": 1.0,
    "expression_gain": 1.0,
}


def options_of(system: str, *, driver: Path | None, dex: Mapping[str, Any], **more: Any) -> AnimateOptions:
    """The options of a system. dex: those that DeX-Portrait alone knows, see `dex_options`.

    Raises InputError for an unknown system, without a driver, or for options that the system does not know.
    """
    if system == "dex":
        return dex_options(driver=driver, **dex, **more)
    if system != "x":
        raise InputError(f"--system is {system!r}, but it must be one of {', '.join(SYSTEMS)}")
    for name, value in dex.items():
        if value != DEX_DEFAULTS[name]:
            raise InputError(f"--{name.replace('_', '-')} needs pose and expression apart: give --system dex as well")
    if driver is None:
        raise InputError("no driver was given: name a video, an image or a folder of images with -d DRIVER")
    return AnimateOptions(driver=driver, **more)


def job_of(options: AnimateOptions) -> Callable[[Any, Progress], AnimateReport]:
    """The job that runs these options."""
    return animate_dex if isinstance(options, DexOptions) else animate
