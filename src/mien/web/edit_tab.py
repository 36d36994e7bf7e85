"""The tab that edits a still: sliders that show at once what they do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from mien.animation.face_edit import FaceChange
from mien.errors import MienError
from mien.jobs.demo import FOLDER
from mien.jobs.edit import EditOptions, edit_options
from mien.jobs.report import AnimateReport
from mien.options import declarations, sliders
from mien.web import style
from mien.web.animate_tab import MODELS
from mien.web.running import Watch
from mien.web.studio import NO_DEX, Studio
from mien.web.widgets import Desk, Values, named, needed, optional, picture, slider

OPTIONS = sliders(FaceChange)
# name of a slider: its label, and how far it goes here: a picture's head looks right only so far from its own place
HEAD = {
    "yaw": ("Turn", -25.0, 25.0),
    "pitch": ("Nod", -20.0, 20.0),
    "roll": ("Tilt", -25.0, 25.0),
    "x": ("Left – right", -0.15, 0.15),
    "y": ("Up – down", -0.15, 0.15),
    "zoom": ("Size", 0.8, 1.25),
}
FACE = {
    "smile": "Smile",
    "jaw": "Open mouth",
    "pucker": "Pucker",
    "blink": "Close eyes",
    "brows": "Raise brows",
    "gaze_x": "Gaze sideways",
    "gaze_y": "Gaze down",
}
FACE_WITHOUT_GAZE = [name for name in FACE if not name.startswith("gaze")]
_BEGIN = "Choose a portrait, or click an example; then move the sliders."


def change_from(inputs: dict[str, Any]) -> FaceChange:
    """What the sliders say. Raises InputError."""
    moved: dict[str, Any] = {name: float(inputs[name]) for name in OPTIONS if name in inputs}
    return FaceChange(**moved)


def options_from(inputs: dict[str, Any], folder: Path) -> EditOptions:
    """The options of the job that writes the picture. Raises InputError."""
    portrait, other = needed(inputs["portrait"], "The portrait"), optional(inputs["expression_from"])
    given: dict[str, Any] = {
        "portrait": portrait,
        "output": folder / f"{portrait.stem}-edited.png",
        "change": change_from(inputs),
        "expression_from": other,
        "expression_gain": float(inputs["expression_gain"]),
    }
    return edit_options(**given, model=MODELS[inputs["system"]])


def build(studio: Studio, desk: Desk) -> None:
    """The tab's widgets and what they do."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320):
            fields, sliders, reset, write = _inputs(studio)
        with gr.Column(scale=1, min_width=320, elem_classes="mien-follows"):
            status = gr.HTML(style.note(_BEGIN), elem_id="edit-status")
            shown = gr.Image(
                label="Result",
                interactive=False,
                format="jpeg",
                height=480,
                buttons=["fullscreen"],
                elem_id="edit-result",
            )
            written = gr.File(label="Download", interactive=False, visible=False, elem_id="edit-files")

    def show(values: Values) -> tuple[Any, ...]:
        return _show(studio, desk, named(values, fields))

    def start_again(values: Values) -> tuple[Any, ...]:
        inputs = {**named(values, fields), **{name: OPTIONS[name].default for name in sliders}}
        return (*_show(studio, desk, inputs), *(OPTIONS[name].default for name in sliders))

    def run(values: Values, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        def work(watch: Watch) -> AnimateReport:
            return studio.edit(options_from(named(values, fields), studio.workspace.result_folder()), watch)

        def finished(report: AnimateReport, watch: Watch) -> tuple[Any, ...]:
            return (
                style.note("Done: the picture is below, to be downloaded.", "done"),
                str(report.output),
                gr.update(value=str(report.output), visible=True),
            )

        yield from desk.run(request, work, finished, 2)

    inputs = set(fields.values())
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    gr.on(
        [*(slider.input for slider in sliders.values()), fields["portrait"].change, fields["expression_from"].change],
        show,
        inputs,
        [status, shown],
        trigger_mode="always_last",
        **quiet,
    )
    gr.on([fields["expression_gain"].input], show, inputs, [status, shown], trigger_mode="always_last", **quiet)
    reset.click(start_again, inputs, [status, shown, *sliders.values()], **quiet)
    write.click(
        run,
        inputs,
        [status, shown, written],
        concurrency_limit=1,
        concurrency_id="jobs",
        show_progress="minimal",
        show_progress_on=status,
        api_visibility="private",
    )


def _show(studio: Studio, desk: Desk, inputs: dict[str, Any]) -> tuple[Any, ...]:
    """Status and picture for what the widgets say now."""
    if not inputs["portrait"]:
        return style.note(_BEGIN), None
    if MODELS[inputs["system"]] == "dex-nano":
        return style.note("DeX-Portrait takes a while: press “Write the picture” to see what it makes."), gr.skip()
    other = optional(inputs["expression_from"])
    try:
        picture = studio.show(Path(inputs["portrait"]), change_from(inputs), other, float(inputs["expression_gain"]))
    except MienError as error:
        return style.note(desk.sentence(error), "error"), None
    except Exception as error:  # told in a sentence, as everywhere
        return style.note(desk.sentence(error), "error"), None
    return style.note("Move the sliders; the picture follows.", "done"), picture


def _inputs(studio: Studio) -> tuple[dict[str, Any], dict[str, Any], gr.Button, gr.Button]:
    fields: dict[str, Any] = {"portrait": picture("Portrait", height=240)}
    gr.Examples(
        [[str(FOLDER / f"portrait_{number}.png")] for number in (1, 2)],
        [fields["portrait"]],
        label="Examples",
        elem_id="edit-examples",
        api_visibility="private",
    )
    sliders: dict[str, Any] = {}
    for title, names in (("Head", HEAD), ("Face", FACE if studio.follows_gaze else FACE_WITHOUT_GAZE)):
        gr.Markdown(f"**{title}**")
        with gr.Group():
            for pair in _in_pairs(names):
                with gr.Row():
                    for name in pair:
                        sliders[name] = _slider(name)
    with gr.Row():
        write = gr.Button("Write the picture", variant="primary", size="lg", scale=3, min_width=160, elem_id="edit-go")
        reset = gr.Button("Reset", size="lg", scale=1, min_width=80, elem_id="edit-reset")
    with gr.Accordion("Expression of another face", open=False):
        fields["expression_from"] = picture("Take over the expression of this face", height=200)
        gain = declarations(EditOptions)["expression_gain"]
        fields["expression_gain"] = slider(gain, "How much of it", maximum=1)
    with gr.Accordion("System", open=False):
        fields["system"] = gr.Radio(list(MODELS), value="X-Portrait", show_label=False, container=False)
        if not studio.has_dex:
            gr.HTML(style.note(f"{NO_DEX}."))
    return {**fields, **sliders}, sliders, reset, write


def _slider(name: str) -> gr.Slider:
    more: dict[str, Any] = {"min_width": 120, "elem_id": f"edit-{name}", "info": None}
    if name in FACE:
        return slider(OPTIONS[name], FACE[name], **more)
    label, least, most = HEAD[name]
    return slider(OPTIONS[name], label, minimum=least, maximum=most, **more)


def _in_pairs(names: Iterable[str]) -> list[list[str]]:
    listed = list(names)
    return [listed[place : place + 2] for place in range(0, len(listed), 2)]
