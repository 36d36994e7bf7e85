"""`mien live`."""

from __future__ import annotations

import webbrowser
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from mien.animation.config import AnimationConfig
from mien.animation.face_edit import FaceChange
from mien.cli.grouped import flags_of, grouped
from mien.cli.quick_start import import_diffusers, placed
from mien.errors import InputError
from mien.jobs.live_options import LiveOptions


@dataclass(frozen=True)
class PortraitFlags:
    """Who is animated."""

    portrait: Annotated[Path, typer.Option("-s", "--source", help="The portrait; others can be chosen on the page.")]


if TYPE_CHECKING:
    GainFlags: TypeAlias = Any  # a dataclass with a field for each option, as the others
    LiveFlags: TypeAlias = Any
else:
    GainFlags = flags_of(AnimationConfig, "eyes_gain", "mouth_gain", "brows_gain", "head_gain", "smooth")
    LiveFlags = flags_of(LiveOptions)


@grouped
def live(source: PortraitFlags, flags: LiveFlags, gains: GainFlags, change: FaceChange) -> None:
    """Let a portrait follow your camera, in a page of the browser, until Ctrl-C."""
    config = AnimationConfig(relative=flags.relative, **asdict(gains))
    options = LiveOptions(portrait=source.portrait, config=config, change=change, **asdict(flags))
    try:
        from mien.web.options import ServeOptions
        from mien.web.serve import open_page
    except ImportError as error:
        raise InputError(f"mien live needs the package {error.name}: pip install 'mien[web]'") from error
    same = {
        name: getattr(options, name)
        for name in ("host", "port", "model", "reader", "device", "dtype", "offload", "quantize")
    }
    served = ServeOptions(**same)
    import_diffusers(whole=placed(options))
    page = open_page(served, live=options)
    try:
        address = f"{page.url}live/"
        typer.echo(address)
        if options.browser:
            webbrowser.open(address)
        page.wait()
    finally:
        page.close()
    if options.record is not None and options.record.is_file():
        typer.echo(options.record)
