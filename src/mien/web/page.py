"""The page: its tabs, put together."""

from __future__ import annotations

import gradio as gr

from mien.web import animate_tab, batch_tab, edit_tab, live_tab, reading, style
from mien.web.about import about_sections
from mien.web.studio import Studio
from mien.web.widgets import Desk


def build_page(studio: Studio, desk: Desk) -> gr.Blocks:
    """All tabs; limits of the queue are set."""
    age = studio.options.keep_minutes * 60
    with gr.Blocks(title="Mien", analytics_enabled=False, delete_cache=(max(60, age // 4), age)) as page:
        gr.HTML(style.HEAD)
        with gr.Tabs():
            with gr.Tab("Animate"):
                animate_tab.build(studio, desk)
            with gr.Tab("Edit"):
                edit_tab.build(studio, desk)
            with gr.Tab("Live"):
                live_tab.build(studio)
            with gr.Tab("Batch"):
                batch_tab.build(studio, desk)
            with gr.Tab("About"):
                for number, (title, text) in enumerate(about_sections(studio.options).items()):
                    with gr.Accordion(title, open=number < 2):
                        gr.Markdown(text, elem_classes="mien-text")

        def leave(request: gr.Request) -> None:
            desk.leave(request)

        page.unload(leave)
        page.load(None, js=reading.SCRIPT, queue=False, api_visibility="private")
    page.queue(max_size=studio.options.queued)
    return page


def theme() -> gr.themes.Base:
    """Fonts of the visitor's own system, so that nothing is fetched from elsewhere."""
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
    return gr.themes.Soft(primary_hue="indigo", font=sans, font_mono=("ui-monospace", "Consolas", "monospace"))
