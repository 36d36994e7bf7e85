"""A recipe: the steps of which a model is made, as its file in `mien/training/recipes` says.

    about: What the model is.
    inputs:
      photos: Portraits for the cast.
    steps:
      - name: groups
        about: people in shared motions
        run: data avatars --people {people} --cast {cast} --seed {seed} --workers {workers} --out {out}
        seed: 20261125
        core_hours: 1.2
        scaled: {people: 570}

A step's `run` is one command line or a list of them, each of `mien` or `python -m mien.MODULE`. In braces stand:
`{out}`, what the step makes (RUNS/NAME, or RUNS/ and what `out` says); another step's name, for what that one makes; an
input's name; `{runs}`, the folder RUNS; `{package}`, that of mien; `{seed}`, `{workers}`; `{core_minutes}`, the step's
`core_hours` in minutes; and the numbers under `scaled`. `--budget-scale` multiplies the last two. What a step needs is
read off its command lines; steps that do not need each other may run side by side. `in_place`: the command keeps what
is there and adds what is lacking, so what there is stays when an input has grown. `threads`: of its process.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mien.errors import InputError
from mien.media.files import file_digest, readable_file, unreadable
from mien.training.registry import STAGES

FOLDER = Path(__file__).parents[2] / "training" / "recipes"
OWN = "recipe"  # RUNS/recipe is the runner's own folder
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_BRACES = re.compile(r"\{([\w-]+)\}")
_GENERAL = ("out", "runs", "package", "seed", "workers", "core_minutes")
_NO_STAGES = ("recipe", "export", "card")  # what stands beside stages in `mien train`
_KEYS = {"name", "about", "run", "out", "seed", "threads", "core_hours", "scaled", "in_place"}


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: of letters, digits and hyphens.
        about: a few words.
        commands: words of each command line, what is in braces still in them.
        out: what it makes, below RUNS.
        seed: of everything random; None: nothing is.
        threads: of its process.
        core_hours: its budget, before scaling.
        scaled: numbers that --budget-scale multiplies.
        in_place: what is there stays when an input or the step has changed.
    """

    name: str
    about: str
    commands: tuple[tuple[str, ...], ...]
    out: str
    seed: int | None = None
    threads: int = 1
    core_hours: float | None = None
    scaled: Mapping[str, float] = field(default_factory=dict)
    in_place: bool = False

    def mentioned(self) -> list[str]:
        """What stands in braces, each once, in order."""
        return list(dict.fromkeys(name for words in self.commands for w in words for name in _BRACES.findall(w)))

    def stages(self) -> list[str]:
        """The training stages that it runs."""
        return [stage for words in self.commands if (stage := trained(words)) is not None]

    def numbers(self, scale: float) -> dict[str, float]:
        """What --budget-scale multiplies, as it is put into the command lines; whole numbers stay whole, above 0.

        Args:
            scale: of --budget-scale.

        Returns:
            Numbers by their names in braces; core_minutes among them.
        """
        found = {n: max(1, round(v * scale)) if isinstance(v, int) else v * scale for n, v in self.scaled.items()}
        if self.core_hours is not None:
            found["core_minutes"] = float(f"{60 * self.core_hours * scale:.6g}")
        return found

    def digest(self, scale: float, needs: Mapping[str, str]) -> str:
        """What decides what comes out: the command lines, the numbers in them, and what they need.

        Folders do not count, so RUNS may be moved.

        Args:
            scale: of --budget-scale.
            needs: digests of what the step needs, by name.

        Returns:
            SHA-256, hexadecimal.
        """
        mentioned = set(self.mentioned())
        numbers = {name: value for name, value in self.numbers(scale).items() if name in mentioned}
        content = [self.commands, self.out, self.seed, numbers, dict(needs)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def filled(self, values: Mapping[str, object]) -> list[list[str]]:
        """The command lines with what is in braces put in.

        Args:
            values: by name.

        Returns:
            Words of each.
        """
        return [[_BRACES.sub(lambda found: _plain(values[found[1]]), w) for w in words] for words in self.commands]


@dataclass(frozen=True)
class Recipe:
    """A model's recipe. inputs: what the user gives, by name, with a few words each. steps: in an order that works."""

    name: str
    about: str
    inputs: Mapping[str, str]
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """A step by its name.

        Args:
            name: as in the file.

        Returns:
            The step.

        Raises:
            InputError: there is none of that name.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise InputError(
            f"the recipe {self.name} has no step {name}: give one of {', '.join(s.name for s in self.steps)}."
        )

    def needs(self, step: Step) -> list[str]:
        """The steps and the inputs that a step needs.

        Args:
            step: of this recipe.

        Returns:
            Their names, in the order in which the step mentions them.
        """
        known = {*self.inputs, *(s.name for s in self.steps)}
        return [name for name in step.mentioned() if name in known]

    def up_to(self, name: str) -> list[Step]:
        """A step and all that it needs.

        Args:
            name: of the step.

        Returns:
            In the file's order.

        Raises:
            InputError: there is none of that name.
        """
        wanted, waiting = set[str](), [self.step(name).name]
        while waiting:
            one = waiting.pop()
            if one not in wanted and one not in self.inputs:
                wanted.add(one)
                waiting += self.needs(self.step(one))
        return [step for step in self.steps if step.name in wanted]


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """A recipe of the package by its name, or from a YAML file.

    Args:
        name: such as nano, or a path that ends in .yaml.

    Returns:
        The recipe.

    Raises:
        InputError: names what is wrong in it.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file() and path.parent == FOLDER:
        raise InputError(
            f"there is no recipe {name}: give {' or '.join(recipe_names())}, or a file that ends in .yaml."
        )
    readable_file(path, "recipe")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as YAML: {error}.") from error
    if not isinstance(content, dict) or set(content) - {"about", "inputs", "steps"} or not content.get("steps"):
        raise InputError(f"{path} is no recipe: give it about, inputs and steps, and nothing else.")
    inputs = {str(key): str(value) for key, value in (content.get("inputs") or {}).items()}
    steps: list[Step] = []
    for entry in content["steps"]:
        step = _step(path, entry)
        _check(path, step, inputs, steps)
        steps.append(step)
    return Recipe(path.stem, str(content.get("about", "")).strip(), inputs, tuple(steps))


def _step(path: Path, entry: Any) -> Step:
    if not isinstance(entry, dict) or not {"name", "run"} <= set(entry):
        raise InputError(f"{path}: every step needs name and run; {entry!r:.60} has not.")
    name = str(entry["name"])
    if foreign := sorted(set(entry) - _KEYS):
        raise InputError(f"{path}: the step {name} has {foreign[0]}; known are {', '.join(sorted(_KEYS))}.")
    lines = entry["run"] if isinstance(entry["run"], list) else [entry["run"]]
    try:
        commands = tuple(tuple(shlex.split(str(line))) for line in lines)
        return Step(
            name, str(entry.get("about", "")), commands, str(entry.get("out", name)),
            None if entry.get("seed") is None else int(entry["seed"]), int(entry.get("threads", 1)),
            None if entry.get("core_hours") is None else float(entry["core_hours"]),
            {str(key): _number(value) for key, value in (entry.get("scaled") or {}).items()},
            bool(entry.get("in_place", False)),
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: the step {name} cannot be read ({error}): check its numbers and quotation marks."
        ) from error


def _check(path: Path, step: Step, inputs: Mapping[str, str], before: Sequence[Step]) -> None:
    """Raise InputError for a step that could not be run."""

    def wrong(said: str) -> InputError:
        return InputError(f"{path}: the step {step.name} {said}")

    taken = {*inputs, *_GENERAL, OWN, *(one.name for one in before)}
    if not _NAME.fullmatch(step.name) or step.name in taken:
        raise wrong("needs another name, of small letters, digits and hyphens, that nothing else has.")
    out = Path(step.out)
    if out.is_absolute() or ".." in out.parts or out.parts[:1] in ((), (OWN,)) or step.out in {s.out for s in before}:
        raise wrong(f"cannot write to {step.out}: give a name in RUNS that no other step has.")
    if step.threads < 1 or (step.core_hours is not None and step.core_hours <= 0) or not all(step.commands):
        raise wrong("needs a command, threads from 1 and core_hours above 0.")
    for words in step.commands:
        if words[0] == "python" and not (words[1:2] == ("-m",) and words[2].startswith("mien.")):
            raise wrong("runs a program that is not mien's: give a command of mien, or python -m mien.MODULE.")
    mentioned = set(step.mentioned())
    own = {*step.scaled, *({"seed"} if step.seed is not None else ()), *({"core_minutes"} if step.core_hours else ())}
    known = {*inputs, *(one.name for one in before), *own, "out", "runs", "package", "workers"}
    if unknown := sorted(mentioned - known):
        raise wrong(f"speaks of {{{unknown[0]}}}, which no input and no step before it gives.")
    unused = sorted(({*step.scaled} | ({"seed"} if step.seed is not None else set())) - mentioned)
    if unused:
        raise wrong(f"has a {unused[0]} that its command lines do not use: put {{{unused[0]}}} into them.")


def trained(words: Sequence[str]) -> str | None:
    """The stage that a command line trains.

    Args:
        words: of the command line, without mien.

    Returns:
        The stage's name; None: it trains none.
    """
    return words[1] if words[0] == "train" and words[1:2] and words[1] not in _NO_STAGES else None


def missing_stages(steps: Sequence[Step]) -> dict[str, str]:
    """Training stages that this version of mien does not have.

    Args:
        steps: of a recipe.

    Returns:
        The first such stage of each step, by the step's name.
    """
    found: dict[str, str] = {}
    for step in steps:
        for stage in step.stages():
            if stage not in STAGES:
                found.setdefault(step.name, stage)
    return found


def content_digest(path: Path) -> str:
    """What a file or a folder holds.

    Args:
        path: any.

    Returns:
        SHA-256 of a file's content, or of the names and sizes of all files of a folder.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if path.is_file():
            return file_digest(path) or ""
        files = [p for p in sorted(path.rglob("*")) if p.is_file()]
        listed = [[p.relative_to(path).as_posix(), p.stat().st_size] for p in files]
    except OSError as error:
        raise unreadable(path, error) from error
    return hashlib.sha256(json.dumps(listed).encode("utf-8", "backslashreplace")).hexdigest()


def _number(value: Any) -> float:
    """An int stays one. Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise ValueError(f"{value!r} is no number above 0")
    return value


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
