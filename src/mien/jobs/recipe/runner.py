"""Runs the steps of a recipe, each command line in a process of its own; what was begun goes on."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mien.errors import InputError, MienError
from mien.jobs.recipe.definition import Step, trained
from mien.jobs.recipe.ledger import Attempt
from mien.jobs.recipe.project import DONE, FAILED, GIVEN, INTERRUPTED, RUNNING, Project, RecipeOptions, State, at_work
from mien.jobs.recipe.report import write_table
from mien.training.engine.core_time import core_seconds
from mien.training.engine.signals import stop_when_told

Say = Callable[[str], None]
_SOON, _LATER = 0.05, 1.0  # seconds between looks at the processes: at first, and in the long run
_KEPT = 30.0  # seconds between entries into the ledger


class RecipeError(MienError):
    """Steps have failed; the text names the first and its log."""


def run_recipe(options: RecipeOptions, say: Say) -> Project:
    """Run what remains of a recipe.

    Args:
        options: what is asked for.
        say: is told in a line what begins and what ends.

    Returns:
        The recipe as it stands then.

    Raises:
        InputError: recipe, inputs or RUNS will not do; nothing has begun.
        RecipeError: a step has failed; those that do not need it have been run.
        KeyboardInterrupt: Ctrl-C or SIGTERM; what was running has saved its state.
    """
    project = Project(options)
    todo = remaining(project, project.selected(options))
    _check_packages(todo)
    project.check(todo)
    with at_work(project.out) as lock, stop_when_told(_interrupt):
        project.save_settings()
        runner = _Runner(project, todo, options, say, lock)
        try:
            runner.go()
        finally:
            runner.stop()
            project.ledger.save()
            write_table(project)
    if runner.failed:
        name, why = next(iter(runner.failed.items()))
        log = project.log(project.recipe.step(name))
        raise RecipeError(
            f"the step {name} failed: {why} (its log: {log}). What is done is kept; the same command goes on."
        )
    return project


def remaining(project: Project, steps: list[Step]) -> list[Step]:
    """The steps that are neither done nor given.

    Args:
        project: a recipe in a folder.
        steps: of it.

    Returns:
        Some of them.
    """
    return [step for step in steps if project.state(step).word not in (DONE, GIVEN)]


def described(project: Project, steps: list[Step], workers: int) -> str:
    """The command lines of steps, as one would type them.

    Args:
        project: a recipe in a folder.
        steps: of it.
        workers: processes that a step may use.

    Returns:
        A line each, with comments.
    """
    lines = []
    for step in steps:
        lines.append(f"# {step.name}: {step.about}")
        for words in project.commands(step, workers):
            lines.append(shlex.join(words if words[0] == "python" else ["mien", *words]))
    return "\n".join(lines)


def _check_packages(todo: list[Step]) -> None:
    from importlib.util import find_spec

    for name in ("psutil", *(("accelerate",) if any(step.stages() for step in todo) else ())):
        if find_spec(name) is None:
            raise InputError(f"a recipe needs {name}: pip install 'mien[train]'.")


@dataclass
class _Running:
    """A step at work. spent: core seconds of its commands that have ended; now: of the one that runs, as last seen."""

    step: Step
    attempt: Attempt
    commands: list[list[str]]
    log: IO[bytes]
    began: float
    process: subprocess.Popen[bytes] | None = None
    spent: float = 0.0
    now: float = 0.0
    noted: float = field(default_factory=time.monotonic)


class _Runner:
    def __init__(self, project: Project, todo: list[Step], options: RecipeOptions, say: Say, lock: int | None) -> None:
        self.project, self.waiting, self.options, self.say, self.lock = project, list(todo), options, say, lock
        self.running: list[_Running] = []
        self.failed: dict[str, str] = {}

    def go(self) -> None:
        """Run until nothing is left that can be run."""
        pause = _SOON
        while True:
            while len(self.running) < self.options.jobs and (step := self._ready()) is not None:
                self._begin(step)
                pause = _SOON
            if not self.running:
                return
            time.sleep(pause)
            pause = min(_LATER, 1.3 * pause)
            for one in list(self.running):
                self._look_at(one)

    def _ready(self) -> Step | None:
        """The first step all of whose needs are there."""
        left = {one.step.name for one in self.running} | {step.name for step in self.waiting} | set(self.failed)
        for step in self.waiting:
            if not left & set(self.project.recipe.needs(step)):
                self.waiting.remove(step)
                return step
        return None

    def _begin(self, step: Step) -> None:
        state = self.project.state(step)
        aside = self.project.make_room(step)
        if aside is not None:
            self.say(f"{step.name}: {state.why}; what there was is in {aside}")
        (self.project.out / step.out).parent.mkdir(parents=True, exist_ok=True)
        self.project.write_stamp(step, RUNNING)
        log = self.project.log(step).open("ab")
        attempt = self.project.ledger.begin(step.name, self.project.digests[step.name])
        one = _Running(step, attempt, self.project.commands(step, self.options.workers), log, time.monotonic())
        self.running.append(one)
        self.say(f"{step.name}: {_how(state)}")
        self.project.ledger.save()
        self._next_command(one)

    def _next_command(self, one: _Running) -> None:
        words = one.commands.pop(0)
        line = [sys.executable, *words[1:]] if words[0] == "python" else [sys.executable, "-m", "mien", *words]
        one.log.write(f"\n$ {shlex.join(words)}\n".encode("utf-8", "surrogateescape"))
        one.log.flush()
        threads = str(one.step.threads)
        env = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        one.process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=one.log, stderr=subprocess.STDOUT, env=env,
            start_new_session=True,  # Ctrl-C is ours to pass on, as the signal upon which trainings save
            pass_fds=() if self.lock is None else (self.lock,),
        )  # fmt: skip

    def _look_at(self, one: _Running) -> None:
        code = self._ended(one)
        if code is None:
            if time.monotonic() - one.noted > _KEPT and one.process is not None:
                one.noted, one.now = time.monotonic(), core_seconds(one.process.pid)
                self._enter(one)
                self.project.ledger.save()
            return
        words_left = one.commands
        if code == 0 and words_left:
            self._next_command(one)
            return
        why = "" if code == 0 else _last_words(self.project.log(one.step), code)
        if code == 0:
            why = self._unfinished(one.step)
        self._close(one, FAILED if why else DONE, why)
        if why:
            self.failed[one.step.name] = why
            self.say(f"{one.step.name}: failed: {why}")
            return
        self.say(f"{one.step.name}: done, {self.project.spent(one.step):.2f} core-hours")

    def _ended(self, one: _Running) -> int | None:
        """The exit code of the command that runs, and its time into the books; None while it runs."""
        process = one.process
        assert process is not None
        if process.returncode is None:
            if hasattr(os, "wait4"):
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid == 0:
                    return None
                process.returncode = os.waitstatus_to_exitcode(status)
                one.now = usage.ru_utime + usage.ru_stime
            elif process.poll() is None:
                return None
            one.spent, one.now = one.spent + one.now, 0.0
            self._enter(one)
        return process.returncode

    def _enter(self, one: _Running) -> None:
        one.attempt.core_seconds = round(one.spent + one.now, 2)
        one.attempt.seconds = round(time.monotonic() - one.began, 2)

    def _unfinished(self, step: Step) -> str:
        """Why a step whose commands ended well is not done; empty: it is."""
        for words in self.project.commands(step, 1):
            out = Path(words[words.index("--out") + 1]) if trained(words) and "--out" in words else None
            if out is not None and not (out / "export" / "training.json").is_file():
                return "it was stopped from outside before its end."
        output = self.project.output(step)
        return "" if output.exists() else f"its commands have not made {output}."

    def _close(self, one: _Running, state: str, why: str = "") -> None:
        one.attempt.end = state
        one.log.close()
        self.running.remove(one)
        self.project.write_stamp(one.step, state, why)
        self.project.ledger.save()
        write_table(self.project)

    def stop(self) -> None:
        """End what runs: it saves its state and leaves. A second Ctrl-C meanwhile kills it."""
        if not self.running:
            return
        self.say(f"stopping {', '.join(one.step.name for one in self.running)}; press Ctrl-C again to kill")
        for one in list(self.running):
            if one.process is None:
                self._close(one, INTERRUPTED)
            else:
                one.process.terminate()  # the process, not its group: workers go with it, after it has saved
        try:
            self._wait_for_all()
        except KeyboardInterrupt:
            for one in self.running:
                with suppress(ProcessLookupError):
                    assert one.process is not None
                    os.killpg(one.process.pid, signal.SIGKILL)
            self._wait_for_all()

    def _wait_for_all(self) -> None:
        while self.running:
            for one in list(self.running):
                if self._ended(one) is not None:
                    self._close(one, INTERRUPTED)
            time.sleep(_SOON)


def _how(state: State) -> str:
    return "goes on" if state.word in (INTERRUPTED, FAILED) else "begins"


def _last_words(log: Path, code: int) -> str:
    """What a command said before it failed: the sentence for the user, or its last line."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line.removeprefix("mien: ") for line in lines if line.startswith("mien: ")]
    if code == 2 and told:
        return told[-1]
    if code < 0:
        return f"it was ended by signal {-code}, perhaps for want of memory."
    last = lines[-1] if lines else ""
    return f"it ended with code {code}" + (f": {last}" if last and not last.startswith("$ ") else ".")


def _interrupt() -> None:
    raise KeyboardInterrupt
