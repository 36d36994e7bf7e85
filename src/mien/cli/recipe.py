"""`mien train recipe`, `export`, `card`: all of a model, from its data to its card; see docs/train.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.errors import InputError

_WHAT, _WHICH = "What is given", "Which steps, and how"


def recipe(
    name: Annotated[str, typer.Argument(help="A recipe of the package, such as nano, or a file that ends in .yaml.")],
    out: Annotated[Path, typer.Option("--out", help="The folder RUNS; the same command goes on where it stopped.")],
    photos: Annotated[
        Path | None, typer.Option(help="Portraits, of which the cast is made.", rich_help_panel=_WHAT)
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Clips of AI-made people, to learn from.", rich_help_panel=_WHAT)
    ] = None,
    motions: Annotated[
        Path | None, typer.Option(help="A motion library; else one is measured.", rich_help_panel=_WHAT)
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", help="NAME=PATH, another input that the recipe asks for.", rich_help_panel=_WHAT),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(help="STEP=PATH, taken in place of what that step would make.", rich_help_panel=_WHAT),
    ] = None,
    only: Annotated[str | None, typer.Option(help="This step alone.", rich_help_panel=_WHICH)] = None,
    until: Annotated[
        str | None, typer.Option(help="This step and those that it needs.", rich_help_panel=_WHICH)
    ] = None,
    budget_scale: Annotated[
        float | None,
        typer.Option(help="Multiplies budgets and amounts; .001 tries everything out.", rich_help_panel=_WHICH),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Steps side by side.", rich_help_panel=_WHICH)] = 1,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes of each step that makes data.", rich_help_panel=_WHICH)
    ] = 1,
    status: Annotated[bool, typer.Option("--status", help="Show what is done and what remains; run nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the commands that would be run.")] = False,
) -> None:
    """Make all of a model, by a file of steps, budgets and seeds."""
    from mien.jobs.recipe.project import Project, RecipeOptions
    from mien.jobs.recipe.report import status_table
    from mien.jobs.recipe.runner import described, remaining, run_recipe

    if budget_scale is not None and budget_scale <= 0:
        raise InputError(f"--budget-scale is {budget_scale}: give a number above 0.")
    inputs = _named(given, "--input") | {n: p for n, p in (("photos", photos), ("clips", clips)) if p is not None}
    used = _named(use, "--use") | ({} if motions is None else {"motions": motions})
    options = RecipeOptions(name, out, inputs, used, only, until, budget_scale, jobs, workers)
    if status:
        typer.echo(status_table(Project(options)))
    elif dry_run:
        project = Project(options)
        typer.echo(described(project, remaining(project, project.selected(options)), workers))
    else:
        typer.echo(status_table(run_recipe(options, lambda line: typer.echo(f"mien: {line}", err=True))))


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run that is done.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model folder; one that is there is replaced.")],
    largest: Annotated[float | None, typer.Option(help="Megabytes that it may have.", min=0)] = None,
    in_int8: Annotated[bool, typer.Option("--int8", help="Store large weights in 8 bits: half the size.")] = False,
) -> None:
    """Make a model folder of what a run has learned."""
    from mien.jobs.recipe.card import export_model

    typer.echo(export_model(run, output, largest, in_int8))


def card(
    runs: Annotated[Path, typer.Argument(help="The folder of `mien train recipe`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The card, .md.")],
    parts: Annotated[
        list[Path] | None, typer.Option("--add", help="Markdown to put at its end, such as scores.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Of the weights, by the hub's name, such as apache-2.0.")
    ] = None,
) -> None:
    """Write a model card: what went into a recipe, by which commands, and at what cost."""
    from mien.jobs.recipe.card import write_card

    typer.echo(write_card(runs, output, parts or [], licence))


def _named(texts: list[str] | None, flag: str) -> dict[str, Path]:
    found = {}
    for text in texts or []:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise InputError(f"{flag} {text} cannot be read: give NAME=PATH.")
        found[name] = Path(path)
    return found
