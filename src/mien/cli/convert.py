"""`mien convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.progress import TerminalProgress

convert = typer.Typer(no_args_is_help=True, help="Turn a foreign checkpoint into a model folder.")


@convert.callback()
def formats() -> None:
    """Turn a foreign checkpoint into a model folder."""


@convert.command("x-portrait")
def x_portrait(
    checkpoint: Annotated[Path, typer.Argument(help="The published checkpoint (.th, .pt, .ckpt or .safetensors).")],
    output: Annotated[Path, typer.Argument(help="The model folder to make.")],
    context: Annotated[
        Path | None,
        typer.Option(help="The empty prompt's context (.safetensors), if the checkpoint has no text encoder."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Leave out keys that belong to no known part; they are reported.")
    ] = False,
) -> None:
    """Convert the published X-Portrait checkpoint: every key is used, or named in conversion_report.json."""
    from mien.jobs.convert import ConvertOptions, convert_x_portrait

    options = ConvertOptions(checkpoint, output, context, dtype, allow_unknown)
    with TerminalProgress(f"nothing was written to {output}; the checkpoint is as it was") as progress:
        report = convert_x_portrait(options, progress)
    typer.echo(report.summary())
    typer.echo(output)
