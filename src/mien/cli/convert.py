"""`mien convert`."""

from __future__ import annotations

import typer

from mien.cli.grouped import grouped
from mien.jobs.options import ConvertOptions

convert = typer.Typer(no_args_is_help=True, help="Turn a foreign checkpoint into a model folder.")


@convert.callback()
def formats() -> None:
    """Turn a foreign checkpoint into a model folder."""


@convert.command("x-portrait")
@grouped
def x_portrait(options: ConvertOptions) -> None:
    """Convert the published X-Portrait checkpoint: every key is used, or named in conversion_report.json."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.convert import convert_x_portrait

    with TerminalProgress(f"nothing was written to {options.output}; the checkpoint is as it was") as progress:
        report = convert_x_portrait(options, progress)
    typer.echo(report.summary())
    typer.echo(options.output)
