"""`mien serve`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.grouped import grouped
from mien.cli.quick_start import import_diffusers

_PAGE, _LIMITS, _MODEL = "Page", "Limits", "Model"


@dataclass(frozen=True)
class PageFlags:
    """Where the web UI is served."""

    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: all of this machine's.", rich_help_panel=_PAGE)
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option("-p", "--port", help="0: any that is free.", rich_help_panel=_PAGE)] = 7860
    root_path: Annotated[
        str, typer.Option(help="The path under which a proxy shows the web UI, such as /mien.", rich_help_panel=_PAGE)
    ] = ""
    share: Annotated[
        bool, typer.Option("--share", help="Also lend a public address from gradio.", rich_help_panel=_PAGE)
    ] = False
    browser: Annotated[bool, typer.Option("--browser", help="Open it in the browser.", rich_help_panel=_PAGE)] = False
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where uploads and results lie while it runs.  [default: among temporary files]", rich_help_panel=_PAGE
        ),
    ] = None


@dataclass(frozen=True)
class LimitFlags:
    """How much people may ask for."""

    file_mb: Annotated[int, typer.Option(help="Largest file, megabytes.", rich_help_panel=_LIMITS)] = 200
    clip_seconds: Annotated[int, typer.Option(help="Longest driving video, seconds.", rich_help_panel=_LIMITS)] = 60
    pairs: Annotated[int, typer.Option(help="Pairs in a batch.", rich_help_panel=_LIMITS)] = 20
    queued: Annotated[int, typer.Option(help="Jobs that may wait.", rich_help_panel=_LIMITS)] = 8
    job_seconds: Annotated[int, typer.Option(help="Longest run of a job.", rich_help_panel=_LIMITS)] = 1800
    keep_minutes: Annotated[int, typer.Option(help="Age at which files are deleted.", rich_help_panel=_LIMITS)] = 60


@dataclass(frozen=True)
class ModelFlags:
    """What animates, and where it runs."""

    model: Annotated[str, typer.Option(help="nano (bundled), a folder or a hub id.", rich_help_panel=_MODEL)] = "nano"
    dex_model: Annotated[
        str | None, typer.Option(help="DeX-Portrait's.  [default: the bundled one]", rich_help_panel=_MODEL)
    ] = None
    reader: Annotated[str, typer.Option(help="What reads the faces: auto or mesh.", rich_help_panel=_MODEL)] = "auto"
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=_MODEL)] = "auto"
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16.", rich_help_panel=_MODEL)] = "auto"


@grouped
def serve(where: PageFlags, limits: LimitFlags, models: ModelFlags) -> None:
    """Open a page in the browser: animate, edit stills, batches."""
    from mien.web.options import ServeOptions

    options = ServeOptions(**asdict(where), **asdict(limits), **asdict(models))
    import_diffusers()
    from mien.web.serve import open_page

    page = open_page(options)
    try:
        typer.echo(page.url)
        if page.public_url is not None:
            typer.echo(page.public_url)
        page.wait()
    finally:
        page.close()
