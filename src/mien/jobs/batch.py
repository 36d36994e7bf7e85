"""`mien batch`: many portraits by many driving videos, in several processes or on a Ray cluster; it can be resumed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.animation.loading import load_pipeline
from mien.animation.progress import Progress, Silent
from mien.errors import InputError, MienError, OutputError
from mien.jobs.animate import animate
from mien.jobs.batch_options import BatchOptions
from mien.jobs.options import AnimateOptions
from mien.jobs.run.job_table import Job, make_jobs, read_jobs
from mien.jobs.run.output_lock import tidy
from mien.jobs.run.outputs import checked_place
from mien.jobs.run.request_digest import is_finished, request_digest
from mien.jobs.run.workers import Outcome, spread, work_in
from mien.media.files import missing, readable_name, remove_quietly, unreadable, unwritable, whole_file
from mien.media.kind import Kind, files_of_kind

FAILURES = "failures.csv"


@dataclass(frozen=True)
class BatchReport:
    """How it went. failures: the file that lists what failed, None if all went well."""

    outcome: Outcome
    failures: Path | None


def batch_jobs(options: BatchOptions) -> list[Job]:
    """All jobs, checked as far as that goes without opening portraits and driving videos.

    Args:
        options: a table, or folders for all pairs.

    Returns:
        One job a result.

    Raises:
        InputError: names the row and the column that cannot be used.
    """
    if options.jobs is not None:
        return read_jobs(options.jobs, options.out, dict(options.common))
    assert options.portraits is not None and options.drivers is not None  # as BatchOptions has it
    pictures = _files(options.portraits, ("image", "animation"), "portraits", "pictures")
    drivers = _files(options.drivers, ("image", "animation", "video"), "drivers", "videos or pictures")
    rows = [
        (f"{picture.name} by {driver.name}", {"portrait": [str(picture.absolute())], "driver": str(driver.absolute())})
        for picture in pictures
        for driver in drivers
    ]
    return make_jobs(rows, Path(), options.out, dict(options.common))


def run_batch(options: BatchOptions, progress: Progress) -> BatchReport:
    """Run all jobs that are not finished. What fails is left out, listed, and tried again by the next run.

    Args:
        options: see `BatchOptions`.
        progress: told how many jobs are through.

    Returns:
        What was done, kept and failed.

    Raises:
        InputError: for a table that cannot be used.
        MienError: if the work cannot go on.
    """
    if checked_place(options.out).is_file():
        raise OutputError(f"{options.out} is a file, but the results go into a folder: choose another name")
    jobs = batch_jobs(options)
    outcome = Outcome()
    todo: dict[str, Job] = {}
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(options.out, error) from error
    with work_in(options.out):
        for job in jobs:
            if is_finished(job.options, request_digest(job.options)):
                tidy(job.options.output)
                outcome.kept.append(job.name(options.out))
            else:
                todo[job.name(options.out)] = job
        pieces = [(name, (job.options,)) for name, job in todo.items()]
        spread(run_job, pieces, options.workers, "Animating", outcome, progress, options.ray)
    return BatchReport(outcome, _write_failures(options.out / FAILURES, outcome, todo))


def run_job(options: AnimateOptions) -> str | None:
    """In a worker: one job. What another worker finished before it was lost stays.

    Args:
        options: of the job.

    Returns:
        Why it failed; None: it did not.
    """
    try:
        if is_finished(options, request_digest(options)):
            tidy(options.output)
            return None
        animate(options, Silent(), pipe=_loaded(options))
    except MienError as error:
        return " ".join(str(error).split())
    except Exception as error:  # one job's fault must not cost the others
        return f"a fault of the program ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
    return None


_PIPES: dict[tuple[Any, ...], Any] = {}


def _loaded(options: AnimateOptions) -> Any:
    """One model a process: it takes longer to load than a short clip to animate."""
    key: dict[str, Any] = {"device": options.device, "dtype": options.dtype, "fast": options.fast, "lora": options.lora}
    key |= {"offload": options.offload, "quantize": options.quantize}
    name = (options.model, *key.values())
    if name not in _PIPES:
        _PIPES.clear()  # two may not fit in memory
        _PIPES[name] = load_pipeline(options.model, **key)
    return _PIPES[name]


def _files(place: Path, kinds: tuple[Kind, ...], what: str, holds: str) -> list[Path]:
    """The files of some kinds in a folder, or the one file. Raises InputError."""
    try:
        if place.is_file():
            return [place]
        if not place.is_dir():
            raise InputError(f"--{what}: {missing(place, f'file or a folder of {what}')}")
        found = files_of_kind(place, kinds)
    except OSError as error:
        raise unreadable(place, error) from error
    if not found:
        raise InputError(f"--{what} {place} holds no {holds}: put some there, or name another folder")
    return found


def _write_failures(path: Path, outcome: Outcome, jobs: dict[str, Job]) -> Path | None:
    """The failed jobs as a table of jobs, with the reasons; an older list goes when nothing fails any more."""
    if not outcome.failed:
        remove_quietly(path)
        return None
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["job", "portrait", "driver", "output", "reason"])
        for name, reason in sorted(outcome.failed.items()):
            job = jobs[name]
            portraits = ";".join(map(str, job.options.portraits))
            cells = [job.place, portraits, job.options.driver, name, reason]
            lines.writerow([readable_name(cell) for cell in cells])
    return path
