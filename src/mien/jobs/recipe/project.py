"""A recipe under way in a folder RUNS: what is given, what is done, and what remains.

RUNS/recipe/settings.json: recipe, inputs and scale, which later calls take over. RUNS/recipe/steps/NAME.json: what was
made, by digest, or begun. RUNS/recipe/logs/NAME.log: what the step had to say. RUNS/recipe/replaced: what a changed
recipe has made anew, in its former state. The steps' own folders and files lie in RUNS.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.jobs.recipe.definition import OWN, Recipe, Step, content_digest, load_recipe, missing_stages
from mien.jobs.recipe.ledger import Ledger
from mien.media.files import json_bytes, whole_file
from mien.version import __version__

DONE, GIVEN, RUNNING = "done", "given", "running"
INTERRUPTED, FAILED, REDO, TO_DO = "interrupted", "failed", "to redo", "to do"


@dataclass(frozen=True)
class RecipeOptions:
    """What the user asks for.

    Attributes:
        recipe: its name, or a YAML file.
        out: the folder RUNS.
        inputs: what the recipe asks for, by name; what was given before need not be given again.
        use: by the name of a step, what is taken in place of what it would make.
        only: this step alone. until: this step and what it needs.
        budget_scale: of budgets and amounts; None: as before, at first 1.
        jobs: steps side by side.
        workers: processes of each step that makes data.
    """

    recipe: str
    out: Path
    inputs: Mapping[str, Path] = field(default_factory=dict)
    use: Mapping[str, Path] = field(default_factory=dict)
    only: str | None = None
    until: str | None = None
    budget_scale: float | None = None
    jobs: int = 1
    workers: int = 1


@dataclass(frozen=True)
class State:
    """How a step stands: one of the words above, and why."""

    word: str
    why: str = ""


class Project:
    """A recipe, its inputs, and RUNS.

    Attributes:
        recipe: what is to be made.
        out: RUNS, absolute.
        scale: of budgets and amounts.
        ledger: what each step has cost.
        digests: by step, of what it is to make.
    """

    def __init__(self, options: RecipeOptions) -> None:
        """Raises InputError where recipe, inputs or RUNS will not do."""
        self.recipe: Recipe = load_recipe(options.recipe)
        own_file = options.recipe.endswith((".yaml", ".yml"))
        self._file = str(Path(options.recipe).absolute()) if own_file else None
        self.out = options.out.absolute()
        if self.out.is_file():
            raise InputError(f"{self.out} is a file: give --out a folder.")
        before = self._settings()
        if before and before["recipe"] != self.recipe.name:
            raise InputError(
                f"{self.out} holds the recipe {before['recipe']}, not {self.recipe.name}: give another --out."
            )
        self.scale = float(before.get("budget_scale", 1.0) if options.budget_scale is None else options.budget_scale)
        self.inputs = self._paths(before.get("inputs", {}), options.inputs, list(self.recipe.inputs), "input")
        self.use = self._paths(before.get("use", {}), options.use, [s.name for s in self.recipe.steps], "step")
        self.ledger = Ledger(self.out)
        self.digests: dict[str, str] = {}
        self._needs: dict[str, dict[str, str]] = {}
        for step in self.recipe.steps:
            self._needs[step.name] = {name: self._digest_of(name, step) for name in self.recipe.needs(step)}
            self.digests[step.name] = step.digest(self.scale, self._needs[step.name])

    def _settings(self) -> dict[str, Any]:
        file = self.out / OWN / "settings.json"
        if not file.is_file():
            return {}
        try:
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return {"recipe": content["recipe"], **content}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} is damaged ({error}): remove it, and give the inputs again.") from error

    def _paths(
        self, before: Mapping[str, str], given: Mapping[str, Path], known: list[str], what: str
    ) -> dict[str, Path]:
        for name, path in given.items():
            if name not in known:
                raise InputError(
                    f"the recipe {self.recipe.name} has no {what} {name}: give {', '.join(known) or 'none'}."
                )
            if not path.exists():
                raise InputError(f"{path}, which is given as {name}, does not exist: check the path.")
        found = {name: Path(path) for name, path in before.items()} | dict(given)
        return {name: path.absolute() for name, path in found.items() if name in known}

    def _digest_of(self, name: str, step: Step) -> str:
        """Of something that a step needs. Inputs that are not there any more count as they were when it was made."""
        path = self.inputs.get(name) or self.use.get(name)
        if path is not None and path.exists():
            return content_digest(path)
        if path is None and name not in self.recipe.inputs:
            return self.digests[name]
        return str((self.stamp(step) or {}).get("needs", {}).get(name, ""))

    def save_settings(self) -> None:
        """Keep what is given, for later calls."""
        paths = {"inputs": self.inputs, "use": self.use}
        told = {key: {name: str(path) for name, path in found.items()} for key, found in paths.items()}
        file = self.out / OWN / "settings.json"
        for name in ("steps", "logs"):
            (self.out / OWN / name).mkdir(parents=True, exist_ok=True)
        with whole_file(file) as temporary:
            content = {
                "recipe": self.recipe.name,
                "file": self._file,
                "budget_scale": self.scale,
                **told,
                "mien": __version__,
            }
            temporary.write_bytes(json_bytes(content, indent=1))

    def output(self, step: Step) -> Path:
        """What a step makes, or what is used in its place.

        Args:
            step: of the recipe.

        Returns:
            A path below RUNS, or the given one.
        """
        return self.use.get(step.name, self.out / step.out)

    def log(self, step: Step) -> Path:
        """Where what a step says is kept.

        Args:
            step: of the recipe.

        Returns:
            The file.
        """
        return self.out / OWN / "logs" / f"{step.name}.log"

    def commands(self, step: Step, workers: int) -> list[list[str]]:
        """The command lines of a step, ready to run.

        Args:
            step: of the recipe.
            workers: processes that a step may use.

        Returns:
            Words of each.
        """
        values: dict[str, object] = {**step.numbers(self.scale), "out": self.out / step.out, "runs": self.out}
        values |= {"seed": step.seed, "workers": workers, "package": Path(__file__).parents[2]}
        values |= self.inputs | {one.name: self.output(one) for one in self.recipe.steps}
        return step.filled(values)

    def stamp(self, step: Step) -> dict[str, Any] | None:
        """What is known of a step's last attempt.

        Args:
            step: of the recipe.

        Returns:
            Its state, digest and time; None: nothing.
        """
        try:
            content: dict[str, Any] = json.loads(self._stamp_file(step).read_text(encoding="utf-8"))
            return content if isinstance(content.get("digest"), str) else None
        except (OSError, ValueError, AttributeError):
            return None

    def write_stamp(self, step: Step, state: str, why: str = "") -> None:
        """Keep how a step stands.

        Args:
            step: of the recipe.
            state: one of the words of this module.
            why: a few words to it.
        """
        content: dict[str, Any] = {"step": step.name, "state": state, "why": why, "digest": self.digests[step.name]}
        content |= {"needs": self._needs[step.name], "mien": __version__, "time": time.strftime("%Y-%m-%d %H:%M:%S")}
        with whole_file(self._stamp_file(step)) as temporary:
            temporary.write_bytes(json_bytes(content, indent=1))

    def _stamp_file(self, step: Step) -> Path:
        return self.out / OWN / "steps" / f"{step.name}.json"

    def state(self, step: Step, running: bool = False) -> State:
        """How a step stands.

        Args:
            step: of the recipe.
            running: whether somebody is at work in RUNS.

        Returns:
            A word, and why.
        """
        if step.name in self.use:
            return State(GIVEN, str(self.use[step.name]))
        stamp = self.stamp(step)
        if stamp is None:
            return State(TO_DO)
        if stamp["digest"] != self.digests[step.name]:
            return State(REDO, self._why_redo(step, stamp))
        if stamp["state"] == DONE and not self.output(step).exists():
            return State(TO_DO, f"{step.out} is gone")
        if stamp["state"] == RUNNING:
            return State(RUNNING, self._reached(step)) if running else State(INTERRUPTED, self._reached(step))
        return State(str(stamp["state"]), str(stamp["why"]) or (self._reached(step) if stamp["state"] != DONE else ""))

    def _why_redo(self, step: Step, stamp: Mapping[str, Any]) -> str:
        for name, digest in self._needs[step.name].items():
            if stamp.get("needs", {}).get(name) != digest:
                return f"{name} has changed"
        return "the recipe has changed"

    def _reached(self, step: Step) -> str:
        """How far a training has come."""
        found = sorted((self.output(step) / "checkpoints").glob("step_*"))
        return f"at step {int(found[-1].name[5:])}" if found and found[-1].name[5:].isdigit() else ""

    def spent(self, step: Step) -> float:
        """What was spent on that which a step is to make now; what was thrown away does not count.

        Args:
            step: of the recipe.

        Returns:
            Core-hours.
        """
        return self.ledger.core_hours(step.name, None if step.in_place else self.digests[step.name])

    def core_hours(self, step: Step) -> float | None:
        """A step's budget.

        Args:
            step: of the recipe.

        Returns:
            Core-hours; None: it has none.
        """
        return None if step.core_hours is None else step.core_hours * self.scale

    def selected(self, options: RecipeOptions) -> list[Step]:
        """The steps that are asked for.

        Args:
            options: `only`, `until`, or neither for all.

        Returns:
            In order.

        Raises:
            InputError: for both, or an unknown name.
        """
        if options.only is not None and options.until is not None:
            raise InputError("--only and --until exclude each other: give one of them.")
        if options.only is not None:
            return [self.recipe.step(options.only)]
        return list(self.recipe.steps) if options.until is None else self.recipe.up_to(options.until)

    def check(self, steps: list[Step]) -> None:
        """Whether these steps can be run, all of it before the first one begins.

        Args:
            steps: in the order in which they would run.

        Raises:
            InputError: a step needs what is not there, or something is in its way.
        """
        coming = {step.name for step in steps}
        for step in steps:
            if (stage := missing_stages([step]).get(step.name)) is not None:
                raise InputError(
                    f"the step {step.name} of the recipe {self.recipe.name} trains {stage}, a stage that this version "
                    "does not have: stop before it by --until."
                )
            for name in self.recipe.needs(step):
                if name in self.recipe.inputs:
                    if name not in self.inputs or not self.inputs[name].exists():
                        raise InputError(f"the step {step.name} needs {_flag(name)}: {self.recipe.inputs[name]}")
                elif name not in coming and self.state(self.recipe.step(name)).word not in (DONE, GIVEN):
                    raise InputError(f"the step {step.name} needs {name}, which is not done: give --until {step.name}.")
            if self.stamp(step) is None and (self.out / step.out).exists():
                raise InputError(
                    f"{self.out / step.out} is in the way of the step {step.name}, which has not made it: move it away "
                    f"or take it as it is by --use {step.name}={self.out / step.out}."
                )

    def make_room(self, step: Step) -> Path | None:
        """Before a step is made anew: put aside what another recipe or other inputs gave.

        Args:
            step: of the recipe.

        Returns:
            Where it is now; None: there was nothing.
        """
        stamp, output = self.stamp(step), self.out / step.out
        if step.in_place or stamp is None or stamp["digest"] == self.digests[step.name] or not output.exists():
            return None
        folder = self.out / OWN / "replaced"
        folder.mkdir(exist_ok=True)
        number = 1 + sum(1 for _ in folder.glob(f"{step.name}.*"))
        target = folder / f"{step.name}.{number}"
        os.replace(output, target)
        return target


@contextmanager
def at_work(runs: Path) -> Iterator[int | None]:
    """Let one runner work in RUNS at a time.

    Args:
        runs: the folder.

    Yields:
        A handle for the steps, who hold the lock too as long as they live; None: this system has no such locks.

    Raises:
        InputError: another one is at work, or a step that outlived its runner.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield None
        return
    (runs / OWN).mkdir(parents=True, exist_ok=True)
    handle = os.open(runs / OWN / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is at work in {runs}: wait for it, or stop it.") from None
        except OSError:  # a file system without locks
            pass
        yield handle
    finally:
        os.close(handle)


def is_at_work(runs: Path) -> bool:
    """Whether somebody is at work in RUNS.

    Args:
        runs: the folder.

    Returns:
        True while another process holds the lock.
    """
    if not (runs / OWN / "lock").is_file():
        return False
    try:
        with at_work(runs):
            return False
    except InputError:
        return True


def _flag(name: str) -> str:
    return f"--{name}" if name in ("photos", "clips") else f"--input {name}=PATH"
