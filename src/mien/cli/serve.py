"""`mien serve`."""

from __future__ import annotations

import typer

from mien.cli.grouped import grouped
from mien.cli.quick_start import import_diffusers, placed
from mien.web.options import ServeOptions


@grouped
def serve(options: ServeOptions) -> None:
    """Open a page in the browser: animate, edit stills, batches."""
    import_diffusers(whole=placed(options))
    from mien.web.serve import open_page

    page = open_page(options)
    try:
        typer.echo(page.url)
        if page.public_url is not None:
            typer.echo(page.public_url)
        page.wait()
    finally:
        page.close()
