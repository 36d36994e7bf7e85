"""The last steps of a recipe: the model folder, and its card."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from mien.errors import InputError, WeightsError
from mien.jobs.recipe.definition import OWN, Step
from mien.jobs.recipe.project import Project, RecipeOptions
from mien.jobs.recipe.report import ledger_table
from mien.jobs.train import EXPORT
from mien.media.files import unwritable, whole_file
from mien.pipelines.int8_storage import store_in_int8

# The hub reads these of a card's front matter; see https://huggingface.co/docs/hub/model-cards.
_LIBRARY, _TASK, _TAGS = "mien", "image-to-video", ("portrait-animation", "face-reenactment")
_NO_DATA = {".md", ".json", ".txt", ".yaml"}  # what lies beside pictures and clips


def export_model(run: Path, out: Path, most_megabytes: float | None = None, in_int8: bool = False) -> Path:
    """Make a model folder of what a run of `mien train` has exported; one that is there is replaced as a whole.

    Args:
        run: the run's folder.
        out: the model folder.
        most_megabytes: that it may have; None: any.
        in_int8: store large weights in 8 bits, see `pipelines.int8_storage`.

    Returns:
        `out`.

    Raises:
        InputError: the run has exported nothing yet, or too much.
        WeightsError: a weight file is damaged.
        OutputError: the folder cannot be written.
    """
    source = run / EXPORT
    if not (source / "training.json").is_file():
        raise InputError(f"{run} has exported nothing: give the folder of a run of mien train that is done.")
    for path in sorted(source.rglob("*.safetensors")):
        _check(path)
    fresh = out.parent / f".{out.name}.{uuid.uuid4().hex[:12]}.part"
    try:
        shutil.copytree(source, fresh, ignore=shutil.ignore_patterns("training.json"))
        if in_int8:
            for path in sorted(fresh.rglob("*.safetensors")):
                store_in_int8(path)
        size = sum(path.stat().st_size for path in fresh.rglob("*") if path.is_file()) / 1e6
        if most_megabytes is not None and size > most_megabytes:
            raise InputError(
                f"{source} has {size:.1f} MB, more than {most_megabytes:g}: train a smaller model, store it in 8 bits "
                "(--int8), or allow more."
            )
        if out.exists():
            shutil.rmtree(out)
        os.replace(fresh, out)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out


def _check(path: Path) -> None:
    try:
        with safe_open(path, "np") as content:
            content.keys()
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is damaged ({error}): train the last steps again.") from error


def front_matter(licence: str | None = None) -> list[str]:
    """The lines of YAML between two `---` by which a hub files a model; ends with an empty line.

    Args:
        licence: the hub's name of it, such as apache-2.0; None: not said.
    """
    told = [] if licence is None else [f"license: {json.dumps(licence)}"]
    return ["---", *told, f"library_name: {_LIBRARY}", f"pipeline_tag: {_TASK}", "tags:"] + [
        *(f"- {tag}" for tag in _TAGS),
        "---",
        "",
    ]


def write_card(runs: Path, out: Path, parts: Sequence[Path] = (), licence: str | None = None) -> Path:
    """Write a model card: what the model is, what it was made of, by which commands, and at what cost.

    Args:
        runs: the folder of `mien train recipe`.
        out: the Markdown file.
        parts: Markdown files that are put at its end, such as tables of scores.
        licence: of the weights, by the hub's name of it; None: the card says none.

    Returns:
        `out`.
    """
    project = opened(runs)
    made = [step for step in project.recipe.steps if step.seed is not None or step.core_hours is not None]
    lines = [*front_matter(licence), f"# {project.recipe.name}", "", project.recipe.about, "", "## Made of", ""]
    lines += [f"- {name}: {words}{_counted(project.inputs.get(name))}" for name, words in project.recipe.inputs.items()]
    lines += ["", "## Recipe", "", f"`mien train recipe {project.recipe.name} --out RUNS`, whose steps are:", ""]
    for number, step in enumerate(made, 1):
        given = " Taken from elsewhere." if step.name in project.use else ""
        lines.append(f"{number}. {step.name}: {step.about}.{given}")
        lines += [f"   `{line}`" for line in _shown(project, step)]
    lines += ["", "## What it cost", "", "Processor time, hours of one core.", "", ledger_table(project, made).rstrip()]
    for part in parts:
        try:
            lines += ["", part.read_text(encoding="utf-8").rstrip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{part} cannot be read ({error}): give a Markdown file.") from error
    with whole_file(out) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out


def opened(runs: Path) -> Project:
    """The recipe that is under way in a folder.

    Args:
        runs: the folder of `mien train recipe`.

    Returns:
        The project.

    Raises:
        InputError: there is none.
    """
    settings = runs / OWN / "settings.json"
    try:
        told = json.loads(settings.read_text(encoding="utf-8"))
        name = str(told["file"] or told["recipe"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{runs} holds no recipe: give the folder of mien train recipe.") from error
    return Project(RecipeOptions(name, runs))


def _shown(project: Project, step: Step) -> list[str]:
    """The command lines of a step without this machine's paths: inputs in capitals, outputs as they lie in RUNS."""
    values: dict[str, object] = {**step.numbers(project.scale), "out": step.out, "runs": "RUNS", "seed": step.seed}
    values |= {"workers": 1, "package": "MIEN", **{name: name.upper() for name in project.recipe.inputs}}
    values |= {one.name: one.out for one in project.recipe.steps}
    return [shlex.join(words if words[0] == "python" else ["mien", *words]) for words in step.filled(values)]


def _counted(path: Path | None) -> str:
    if path is None or not path.is_dir():
        return ""
    return f" ({sum(1 for one in path.rglob('*') if one.is_file() and one.suffix not in _NO_DATA):,} files)"
