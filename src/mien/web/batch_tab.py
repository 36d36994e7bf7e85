"""The tab that animates several portraits by several driving videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from mien.errors import InputError
from mien.web import style
from mien.web.animate_tab import OPTIONS, paste_back_box
from mien.web.running import Watch
from mien.web.studio import BatchResult, Studio, pairs
from mien.web.widgets import Desk, Values, named, slider


def build(studio: Studio, desk: Desk) -> None:
    """The tab's widgets and what they do."""
    fields: dict[str, Any] = {}
    most = studio.options.pairs
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320):
            gr.HTML(
                style.note(
                    f"Every portrait is animated by every driving video, up to {most} pairs; a zip holds the results."
                )
            )
            fields["portraits"] = gr.File(label="Portraits", file_count="multiple", height=180)
            fields["drivers"] = gr.File(label="Driving videos", file_count="multiple", height=180)
            fields["paste_back"] = paste_back_box()
            fields["smooth"] = slider(OPTIONS["smooth"], "Smoothing")
            with gr.Row():
                go = gr.Button("Animate all", variant="primary", size="lg", scale=3, min_width=160, elem_id="batch-go")
                stop = gr.Button("Stop", size="lg", scale=1, min_width=80, elem_id="batch-stop")
            status = gr.HTML(style.note("Choose portraits and driving videos."), elem_id="batch-status")
        with gr.Column(scale=1, min_width=320):
            shown = gr.Video(label="The first result", interactive=False, loop=True, height=360, elem_id="batch-result")
            archive = gr.File(label="All results", interactive=False, visible=False, elem_id="batch-files")

    def run(values: Values, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        inputs = named(values, fields)

        def work(watch: Watch) -> BatchResult:
            portraits, drivers = ([Path(name) for name in inputs[kind] or []] for kind in ("portraits", "drivers"))
            if not portraits or not drivers:
                raise InputError("a batch needs at least one portrait and one driving video: choose them first")
            more = {"paste_back": inputs["paste_back"], "smooth": inputs["smooth"]}
            return studio.batch(pairs(portraits, drivers, studio.workspace.result_folder(), **more), watch)

        yield from desk.run(request, work, _shown, 2)

    def cancel(request: gr.Request) -> str:
        return desk.stop(request)

    started = go.click(
        run,
        set(fields.values()),
        [status, shown, archive],
        concurrency_limit=1,
        concurrency_id="jobs",
        show_progress="minimal",
        show_progress_on=status,
        api_visibility="private",
    )
    stopped = stop.click(cancel, None, status, queue=False, api_visibility="private")
    stopped.then(None, cancels=[started], queue=False, api_visibility="private")


def _shown(result: BatchResult, watch: Watch) -> tuple[Any, ...]:
    done, failed = len(result.results), len(result.failed)
    text = f"{done} of {done + failed} pairs animated." + (" These failed:" if failed else "")
    reasons = tuple(f"{pair}: {reason}" for pair, reason in result.failed.items())
    status = style.note(text, "done" if done else "error", reasons)
    first = next((str(path) for path in result.results.values()), None)
    archive = None if result.archive is None else str(result.archive)
    return status, first, gr.update(value=archive, visible=archive is not None)
