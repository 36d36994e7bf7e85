"""The options of `mien batch`; light, so that the command's help waits for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mien.errors import InputError
from mien.options import REQUIRED, Checked, declared


def parse_setting(word: str) -> tuple[str, str]:
    """A column of every job and its value.

    Args:
        word: NAME=VALUE, with the name of an option of `mien animate`.

    Raises:
        InputError: it is no such word, or has a name that each job has for itself.
    """
    from mien.jobs.run.job_table import column_names  # brings media in

    name, sign, value = word.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    if not sign or name not in column_names() or name in ("portrait", "driver", "output"):
        known = ", ".join(column_names()[3:])
        raise InputError(f"--set is {word!r}, but it must be NAME=VALUE, with a name of {known}")
    return name, value


@dataclass(frozen=True)
class BatchOptions(Checked):
    """What to run and where; see the declarations, and `mien.jobs.run.job_table` for tables of jobs.

    Attributes:
        common: options of `mien animate` by name, for every job that does not set them.
        ray: see `mien.jobs.run.workers.spread`.

    Raises:
        InputError: unless there is a table or both of portraits and driving videos.
    """

    out: Path = declared(REQUIRED, "The folder for the results.", flags=("-o", "--output"))
    jobs: Path | None = declared(
        None, "A table of jobs, .csv, .json or .yaml: portrait, driver and any option of mien animate.", argument=True
    )
    portraits: Path | None = declared(None, "All pairs: a folder of portraits, or one.")
    drivers: Path | None = declared(None, "All pairs: a folder of driving videos, or one.")
    common: tuple[tuple[str, str], ...] = declared(
        (),
        "NAME=VALUE for all jobs, such as --set steps=4. Repeat it for more.",
        flags=("--set",),
        parse=parse_setting,
    )
    workers: int = declared(1, "Processes; where there are several GPUs, one for each.", least=1)
    ray: str | None = declared(None, "Run on the Ray cluster at this address, or auto; local: one of --workers here.")

    def __post_init__(self) -> None:
        super().__post_init__()
        pairs = self.portraits is not None and self.drivers is not None
        neither = self.portraits is None and self.drivers is None
        if not (pairs and self.jobs is None) and not (neither and self.jobs is not None):
            raise InputError("give either a table of jobs, or --portraits and --drivers for all pairs")
