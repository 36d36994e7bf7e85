"""`mien demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.animate import presented


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write to.")] = Path("demo-output"),
) -> None:
    """Animate the bundled portrait with the bundled driving video; prints the path of the result."""
    from mien.jobs.demo import demo_options

    options = demo_options(output)
    with presented(options) as shown:
        from mien.jobs.animate import animate

        shown.report = animate(options, shown.progress)
