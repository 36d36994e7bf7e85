"""Work spread over processes, or over a Ray cluster, a piece each; and what runs that were killed leave behind."""

from __future__ import annotations

import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import InputError, MienError
from mien.jobs.run.progress import Progress

Work = Callable[..., str | None]
Piece = tuple[str, tuple[Any, ...]]

LOCAL_RAY = "local"  # in place of an address: start a cluster on this machine
_RETRIES = 5  # of a piece whose worker died
_UNFINISHED = re.compile(r"\..*\.[0-9a-f]{12}\.part(\.\w+)?")  # the names that `media.files.temporary_beside` gives


@dataclass
class Outcome:
    """How a run over many pieces went: what was done, what was there already, and what failed, with the reason."""

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self, what: str) -> str:
        """One sentence for people.

        Args:
            what: the pieces in the plural, such as clips.

        Returns:
            Such as "3 clips made, 1 left out".
        """
        parts = [f"{len(self.done)} {what} made"]
        if self.kept:
            parts.append(f"{len(self.kept)} were there already")
        if self.failed:
            parts.append(f"{len(self.failed)} left out")
        return ", ".join(parts)

    def enter(self, name: str, reason: str | None) -> None:
        """A piece is through.

        Args:
            name: its name.
            reason: why it failed; None: it did not.
        """
        if reason is None:
            self.done.append(name)
        else:
            self.failed[name] = reason


@contextmanager
def work_in(folder: Path) -> Iterator[None]:
    """Make a folder to write into and, where no other run works in it, remove what killed ones left half written.

    Args:
        folder: of the outputs.

    Yields:
        Nothing; the folder is locked for others' cleaning meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: nobody can tell whether another run is alive, so everything stays
        yield
        return
    handle = os.open(folder, os.O_RDONLY)  # closed by the system, and the lock with it, however this run ends
    try:
        with suppress(OSError):  # held by another run, or a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in folder.iterdir():
                if _UNFINISHED.fullmatch(path.name):
                    path.unlink()
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def spread(
    work: Work,
    todo: Iterable[Piece],
    workers: int,
    title: str,
    outcome: Outcome,
    progress: Progress,
    ray: str | None = None,
) -> None:
    """Do work(*arguments) for every piece, in this process, in several, or on a Ray cluster.

    The machines of a cluster must see the same files and have mien installed. Where there are several GPUs each process
    sees one of them, in turn; on a cluster with GPUs each task has one.

    Args:
        work: a function of a module; it returns why it failed, None if it went well.
        todo: names with arguments.
        workers: processes; 0: one for each core.
        title: of the stage, for progress.
        outcome: gets what was done and what failed.
        progress: told how many pieces are through.
        ray: an address, or "local" for one of `workers` processes here; None: no cluster.

    Raises:
        MienError: if the work cannot go on.
    """
    pieces, workers = list(todo), workers or os.cpu_count() or 1
    progress.stage(title, len(pieces))
    if ray is not None:
        through = _on_ray(work, pieces, ray, workers)
    elif workers <= 1 or len(pieces) <= 1:
        through = ((name, work(*arguments)) for name, arguments in pieces)
    else:
        through = _in_processes(work, pieces, workers)
    for number, (name, reason) in enumerate(through, 1):
        outcome.enter(name, reason)
        progress.update(number)


def _in_processes(work: Work, pieces: list[Piece], workers: int) -> Iterator[tuple[str, str | None]]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes are the threads
    spawned = multiprocessing.get_context("spawn")
    places = spawned.Queue()
    for place in range(workers):
        places.put(place)
    with ProcessPoolExecutor(workers, spawned, initializer=_begin_worker, initargs=(places, _gpus())) as pool:
        running = {pool.submit(work, *arguments): name for name, arguments in pieces}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool as error:
            raise MienError(
                "a worker process was ended from outside, perhaps for want of memory: start again with fewer --workers;"
                " what is done is kept"
            ) from error
        finally:
            for future in running:
                future.cancel()


def _gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _begin_worker(places: Any, gpus: list[str]) -> None:
    """places: a queue with a number for each worker, by which they share the GPUs out."""
    if len(gpus) > 1:  # read by CUDA when it starts, which it has not done yet
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[places.get() % len(gpus)]
    _end_with_parent()


def _end_with_parent() -> None:
    """Let this worker end when its parent is killed; it would wait for more work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _on_ray(work: Work, pieces: list[Piece], address: str, workers: int) -> Iterator[tuple[str, str | None]]:
    """A task a piece, on one processor; a task whose worker or machine dies is given to another."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs the package ray: pip install 'mien[scale]'") from error

    started = not ray.is_initialized()
    if started:
        _connect(ray, address, workers)
    try:
        # A task that asks for no GPU is shown none.
        gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES)(work)
        running = {task.remote(*arguments): name for name, arguments in pieces}
        while running:
            (ready,), _ = ray.wait(list(running), num_returns=1)
            name = running.pop(ready)
            try:
                yield name, ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                raise cause if isinstance(cause, MienError) else error from None
            except ray.exceptions.RayError as error:
                yield name, f"its workers died {_RETRIES + 1} times ({type(error).__name__}): too little memory?"
    finally:
        if started:
            ray.shutdown()


def _connect(ray: Any, address: str, workers: int) -> None:
    try:
        if address == LOCAL_RAY:
            ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"there is no Ray cluster at {address} ({error}): start one with `ray start --head`, or give local"
        ) from error
