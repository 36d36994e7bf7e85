"""Options in groups reach the command as their dataclasses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from mien.cli.grouped import grouped
from mien.jobs.options import AnimateOptions
from mien.options import field_types


@dataclass(frozen=True)
class Size:
    """Options of a group."""

    width: Annotated[int, typer.Option(help="How wide.")]
    place: Annotated[Path | None, typer.Option(help="Where.")] = None
    round: Annotated[bool, typer.Option("--round/--square")] = False


@grouped
def draw(name: Annotated[str, typer.Argument()], size: Size, times: Annotated[int, typer.Option()] = 1) -> None:
    """Draw it."""
    typer.echo(f"{name} {size} {times}")


def run(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(draw)
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.output


def test_a_groups_fields_are_options_of_their_own() -> None:
    code, said = run("box", "--width", "3", "--round", "--times", "2")
    assert (code, said.strip()) == (0, f"box {Size(3, None, True)} 2")
    assert run("box", "--width", "3", "--place", "a/b")[1].strip() == f"box {Size(3, Path('a/b'))} 1"


def test_what_has_no_default_must_be_given_and_help_knows_all() -> None:
    assert run("box")[0] == 2
    help_text = run("--help")[1]
    assert "Draw it." in help_text and "How wide." in help_text and "--square" in help_text


def test_marks_between_fields_are_no_types() -> None:
    """Python 3.10 alone refuses `_: KW_ONLY` where it reads types."""
    hints = field_types(AnimateOptions)
    assert "_" not in hints and hints["output"] is Path and hints["seed"] is int
    assert set(hints) >= {one.name for one in dataclasses.fields(AnimateOptions)}
