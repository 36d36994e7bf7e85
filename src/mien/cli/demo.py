"""`mien demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.animate import presented


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write to.")] = Path("demo-output"),
    apart: Annotated[
        bool, typer.Option("--apart", help="DeX-Portrait: head pose from one video, expression from another.")
    ] = False,
) -> None:
    """Animate a bundled portrait with bundled driving videos; prints the path of the result."""
    from mien.jobs.demo import demo_options

    options = demo_options(output, apart)
    with presented(options) as shown:
        from mien.jobs.animate import animate

        shown.report = animate(options, shown.progress)
