"""`mien serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from mien.cli.grouped import flags_of, grouped
from mien.web.options import ServeOptions

if TYPE_CHECKING:
    ServeFlags: TypeAlias = Any  # a dataclass with a field for every option
else:
    ServeFlags = flags_of(ServeOptions)


@grouped
def serve(flags: ServeFlags) -> None:
    """Open a page in the browser: animate, edit stills, batches."""
    from mien.web.serve import open_page

    page = open_page(ServeOptions(**vars(flags)))
    try:
        typer.echo(page.url)
        if page.public_url is not None:
            typer.echo(page.public_url)
        page.wait()
    finally:
        page.close()
