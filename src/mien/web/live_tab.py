"""The tab that follows a camera: the live page, in a frame."""

from __future__ import annotations

import gradio as gr

from mien.web.studio import Studio


def build(studio: Studio) -> None:
    """The tab's frame; it makes itself as high as what it shows."""
    address = f"{studio.options.root_path}/live/"
    gr.HTML(
        f'<iframe src="{address}" title="Live" allow="camera" loading="lazy" id="live-frame"'
        ' style="width: 100%; height: 900px; border: 0"></iframe>'
    )
