"""`mien provenance`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def provenance(
    file: Annotated[Path, typer.Argument(help="A video or an image.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what made a file: the metadata it carries, and whether the invisible watermark is in its pictures."""
    from mien.jobs.run.provenance import read_provenance

    report = read_provenance(file)
    if as_json:
        typer.echo(json.dumps({**asdict(report), "path": str(report.path)}))
    else:
        typer.echo(report.describe())
