"""The tab that follows a camera: the live page, in a frame."""

from __future__ import annotations

from importlib.util import find_spec

import gradio as gr

from mien.web import style
from mien.web.studio import Studio

NO_STREAM = "live needs the package websockets, with which the server speaks to the browser: pip install 'mien[web]'"


def can_stream() -> bool:
    """Whether the server has what WebSockets need."""
    return any(find_spec(name) is not None for name in ("websockets", "wsproto"))


def build(studio: Studio) -> None:
    """The tab's frame; the page in it makes it as high as what it shows."""
    if not can_stream():
        gr.HTML(style.note(f"{NO_STREAM[0].upper()}{NO_STREAM[1:]}.", "error"))
        return
    address = f"{studio.options.root_path}/live/"
    gr.HTML(
        f'<iframe src="{address}" title="Live" allow="camera" loading="lazy" id="live-frame"'
        ' style="width: 100%; height: 900px; border: 0"></iframe>'
    )
