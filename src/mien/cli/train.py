"""`mien train STAGE`: a command a stage, made from its config's declarations, and all of a model; see docs/train.md."""

from __future__ import annotations

import inspect
import time
from dataclasses import Field
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from mien.cli.grouped import typed
from mien.cli.recipe import card, export, recipe
from mien.errors import InputError
from mien.options import help_of, limits_of
from mien.training.engine.config import StageConfig, options_of
from mien.training.registry import configure, foreign_option, resumed

_WHOLE = {"recipe": recipe, "export": export, "card": card}  # commands among the stages: all of a model


class StageCommand(TyperCommand):
    """Says which stage an option belongs to that this one does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            wrong = getattr(error, "option_name", None)
            if type(error).__name__ != "NoSuchOption" or not wrong:
                raise
            name = str(wrong).lstrip("-").removeprefix("no-").replace("-", "_")
            raise InputError(foreign_option(str(self.name), name)) from error


class StageGroup(TyperGroup):
    """The registered stages as commands; a stage is imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """See click."""
        from mien.training.registry import STAGES

        return [*STAGES, *_WHOLE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """See click."""
        from mien.training.registry import registered

        if cmd_name in _WHOLE:
            return _alone(cmd_name, _WHOLE[cmd_name])
        return _command(cmd_name, f"Train {registered(cmd_name).help}, or go on with it.")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """See click; without importing every stage."""
        from mien.training.registry import STAGES

        with formatter.section("Stages"):
            formatter.write_dl([(name, entry.help) for name, entry in STAGES.items()])
        with formatter.section("All of a model"):
            formatter.write_dl([(name, str(command.__doc__)) for name, command in _WHOLE.items()])

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """See click; typer's own would import every stage."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_commands(ctx, formatter)


train = typer.Typer(
    cls=StageGroup,
    name="train",
    no_args_is_help=True,
    help="Train a stage, or go on with it; `mien train STAGE --help` shows its options. Several devices: accelerate "
    "launch ... -m mien train STAGE ...",
)


@train.callback()
def _stages() -> None:
    """Makes typer build a group."""


def _command(stage: str, help: str) -> Any:
    from mien.training.registry import config_class

    def run(ctx: typer.Context, **given: Any) -> None:
        dry_run = given.pop("dry_run")
        chosen = {name: value for name, value in given.items() if _given(ctx, name)}
        _run(stage, chosen, dry_run)

    parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for one, kind in options_of(config_class(stage)):
        default = None if one.default == () else one.default
        shown = typed(one, kind, _help(one), both=True)
        parameters.append(
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=shown)
        )
    dry = typer.Option(False, "--dry-run", help="Print parts, memory, FLOPs and days; train nothing.")
    parameters.append(inspect.Parameter("dry_run", inspect.Parameter.KEYWORD_ONLY, default=dry, annotation=bool))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return _alone(stage, run, cls=StageCommand, help=help)


def _alone(name: str, run: Any, **more: Any) -> Any:
    """A function as a command."""
    single = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
    single.command(name, **more)(run)
    return typer.main.get_command(single)


def _given(ctx: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _help(one: Field[Any]) -> str:
    """An option's help with its unit and its limits."""
    said = ", ".join(limits_of(one))
    return f"{help_of(one)} ({said})" if said else help_of(one)


def _run(stage: str, chosen: dict[str, Any], dry_run: bool) -> None:
    began = time.monotonic()
    if not chosen.get("out") and not dry_run:
        raise InputError("--out is missing: give the folder of the run.")
    if dry_run:
        from mien.jobs.train import describe_training

        typer.echo(describe_training(configure(stage, **chosen)))
        return
    _train(resumed(stage, **chosen), began)


def _train(config: StageConfig, began: float) -> None:
    import logging

    from mien.cli.progress import TerminalProgress
    from mien.jobs.train import run_training, what_is_left

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for loud in ("PIL", "httpx", "matplotlib"):
        logging.getLogger(loud).setLevel(logging.WARNING)
    with TerminalProgress(lambda: what_is_left(config)) as progress:
        run_training(config, progress, began)
